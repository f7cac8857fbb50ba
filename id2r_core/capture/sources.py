"""What lies in the data directory, and which half of it training may see."""

import os
import zlib
from pathlib import Path

import cv2
import numpy as np

from ..errors import Id2rError

# All that the capture stage reads. `capture bundle` packs exactly this, and `list_sources` refuses anything else.
PATTERNS = ("makehuman/skins*/*.jpg", "hdri/*.exr")
PLAIN = ".npy"  # in a capture bundle the environments are arrays: not every OpenCV reads EXR
SPLITS = ("train", "validation")
VALIDATION_SHARE = 5  # one name in five


def split_of(name: str) -> str:
    """The split that a subject, skin or environment of that name belongs to, for ever: by the CRC-32 of the name."""
    return SPLITS[zlib.crc32(name.encode()) % VALIDATION_SHARE == 0]


def list_sources(data_dir: Path, pattern: str, split: str) -> list[Path]:
    """The files of one split that match, sorted by name. Raises Id2rError when there are none."""
    if pattern not in PATTERNS:
        raise ValueError(f"'{pattern}' is not among PATTERNS, so capture bundles would lack it")
    found = [path for path in source_files(data_dir, pattern) if split_of(path.stem) == split]
    if not found:
        raise Id2rError(
            f"The data directory '{Path(data_dir).name}' holds no '{pattern}' of the {split} split.",
            "Give the directory that holds makehuman/, hdri/ and the other training data.",
        )
    return found


def source_files(data_dir: Path, pattern: str) -> list[Path]:
    """The files of both splits that match, sorted by name; none where there are none."""
    folder = Path(data_dir)
    return sorted([*folder.glob(pattern), *folder.glob(str(Path(pattern).with_suffix(PLAIN)))])


def read_srgb(path: Path) -> np.ndarray:
    """An 8-bit image as float32 sRGB [H, W, 3]. Raises Id2rError when it cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(_read(image, path)[..., ::-1], dtype=np.float32) / 255.0


def read_environment(path: Path) -> np.ndarray:
    """An equirectangular EXR as float32 linear RGB [H, W, 3], row 0 up. Raises Id2rError when it cannot be read."""
    if path.suffix == PLAIN:
        return np.load(path).astype(np.float32)
    # OpenCV asks this switch when it meets its first EXR.
    os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return np.ascontiguousarray(_read(image, path)[..., 2::-1], dtype=np.float32)


def _read(image, path: Path) -> np.ndarray:
    if image is None:
        raise Id2rError(f"'{path.name}' cannot be read as an image.", "Copy the training data again.")
    return image
