"""The capture stage's torch renderer against Cycles: the same heads, maps, cameras and lights, skin pixels compared.

    python -m tests.blender.crosscheck DIR DATA [SIZE SAMPLES]

DIR is a validation set of `capture validation`.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
import torch

from addon import batch, contact_sheet, mesh_io, photograph
from addon.lookdev import set_hdri, set_render
from id2r_core.capture.light import LUMINANCE, gather_environments
from id2r_core.capture.sources import read_environment
from id2r_core.capture.stage import CaptureStage
from id2r_core.capture.validation import camera_of, from_blender_panorama


@dataclass(frozen=True)
class Difference:
    """One frame, over its skin pixels: mean absolute difference and mean signed difference of linear radiance, both as
    shares of Cycles' mean; correlation of the luminances."""

    photo: str
    absolute: float
    signed: float
    correlation: float


def compare(folder: Path, stage: CaptureStage, samples: int, wanted=slice(None), keep=None) -> list[Difference]:
    """Render the set's photographs both ways at the stage's size; `keep` collects the pairs [H, W, 3]."""
    index = json.loads((folder / "validation.json").read_text())
    numbers = {each["name"]: each["index"] for each in index["subjects"]}
    pairs = [(scene, photo) for scene in index["scenes"] for photo in scene["photos"]][wanted]
    found = []
    for scene, photo in pairs:
        traced = _by_cycles(folder, scene, photo, index["size"], stage.size, samples)
        shaded, skin = _by_torch(folder, scene, photo, index["size"], stage, numbers[photo["subject"]])
        if keep is not None:
            keep.append((traced, shaded))
        a, b = traced[skin], shaded[skin]
        luminance = (a @ np.array(LUMINANCE), b @ np.array(LUMINANCE))
        found.append(
            Difference(
                photo["file"],
                float(np.abs(a - b).mean() / a.mean()),
                float((b - a).mean() / a.mean()),
                float(np.corrcoef(*luminance)[0, 1]),
            )
        )
    return found


def _by_cycles(folder, scene, photo, set_size, size, samples) -> np.ndarray:
    subject = folder / "subjects" / photo["subject"]
    made = batch.open_result(subject, batch.silent)
    photograph.pose(made, mesh_io.read_head(subject / "head.npz"), photo, set_size)
    set_render(bpy.context.scene, (size, size), samples)
    set_hdri(bpy.context.scene, str(folder / scene["light"]))
    return contact_sheet.render(bpy.context.scene, "OPEN_EXR")[..., :3]


def _by_torch(folder, scene, photo, set_size, stage, number) -> tuple[np.ndarray, np.ndarray]:
    panorama = from_blender_panorama(read_environment(folder / scene["light"]))
    environments = gather_environments((scene["name"],), [panorama])
    names = stage.head.expression_names
    expression = torch.tensor([[photo["expression"].get(name, 0.0) for name in names]])
    camera = camera_of(photo, set_size).resized(stage.size, stage.size)
    radiance, skin = stage.relit(stage.subjects([number]), expression, camera, environments)
    inner = -torch.nn.functional.max_pool2d(-skin.float(), 3, stride=1, padding=1)[0, 0] > 0.5  # edges are mixtures
    return radiance[0].permute(1, 2, 0).numpy(), inner.numpy()


def main(folder: str, data: str, size: str = "128", samples: str = "32") -> None:
    index = json.loads((Path(folder) / "validation.json").read_text())
    stage = CaptureStage(data, int(size), seed=index["seed"], split="validation")
    every = compare(Path(folder), stage, int(samples))
    for each in every:
        print(f"{each.photo}: {each.absolute:.3f} {each.signed:+.3f} {each.correlation:.3f}")
    mean = np.mean([(each.absolute, each.signed, each.correlation) for each in every], axis=0)
    print(f"mean of {len(every)}: absolute {mean[0]:.3f}, signed {mean[1]:+.3f}, correlation {mean[2]:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
