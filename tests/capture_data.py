"""A tiny synthetic data directory for the capture stage: painted skins and flat environments of both splits."""

import os
from pathlib import Path

import cv2
import numpy as np

from id2r_core.capture.skins import CROP_HEIGHT, CROP_WIDTH
from id2r_core.capture.sources import SPLITS, split_of


def names_of(split: str, stem: str, count: int) -> list[str]:
    """File names that fall into a split."""
    return [name for name in (f"{stem}{i}" for i in range(200)) if split_of(name) == split][:count]


def paint_skin(seed: int) -> np.ndarray:
    """A skin with low-frequency blotches and fine grain, [H, W, 3] uint8 BGR."""
    random = np.random.default_rng(seed)
    height, width = CROP_WIDTH // 4, CROP_HEIGHT // 4
    blotches = cv2.resize(random.normal(0, 6, (6, 10, 1)).astype(np.float32), (width, height))[..., None]
    grain = random.normal(0, 3, (height, width, 1))
    base = np.array([120.0, 145.0, 190.0]) - 60 * (seed % 2)
    return (base + blotches + grain).clip(0, 255).astype(np.uint8)


def write_data(root: Path) -> Path:
    """Fill `root` with what the stage reads: skins and environments, three and two of each split."""
    os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"
    (root / "makehuman" / "skins").mkdir(parents=True)
    (root / "hdri").mkdir()
    for split in SPLITS:
        for i, name in enumerate(
            names_of(split, "young_lightskinned_female", 2) + names_of(split, "old_darkskinned_male", 1)
        ):
            cv2.imwrite(str(root / "makehuman" / "skins" / f"{name}.jpg"), paint_skin(i))
        for i, name in enumerate(names_of(split, "sky", 2)):
            sky = np.full((32, 64, 3), 0.3, np.float32)
            sky[:16] *= 3
            sky[8, 20 + 20 * i] = 50.0
            cv2.imwrite(str(root / "hdri" / f"{name}.exr"), sky)
    return root
