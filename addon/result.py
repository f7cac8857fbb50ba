"""A result folder to a lit, textured head in a scene: the add-on's side of the main path, one stage a line."""

import json
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from . import image_io, lookdev, material, mesh_io
from .core import conventions, errors, protocol
from .groom import HairShown
from .steps import Steps, all_or_nothing, run

HAIR_MAP = "hair.png"  # results of older versions have none
# How many numbers a report has of each of these, when it tells them.
NUMBERS = {
    "tone_linear": 3,
    "hair_linear": 3,
    "beard_linear": 3,
    "hair_metres": 2,
    "fringe": len(conventions.FRINGE_COLUMNS),
}
DEFAULT_HDRI = next(iter(lookdev.HDRIS))  # which the Lookdev panel shows, too
DEFAULT_SAMPLES = 128
LONG_SIDE = 1280  # pixels of a render, whatever size the photo has


@dataclass(frozen=True)
class Result:
    """What one reconstruction put into the scene."""

    collection: bpy.types.Collection
    objects: mesh_io.HeadObjects
    portrait: bpy.types.Object
    photo: bpy.types.Object


def load_result(folder: Path, scene: bpy.types.Scene, name: str, set_up_scene: bool = True) -> Result:
    """Bring the head of a result folder into `scene` in one go, all of it or nothing; the rest as for `bring_in`."""
    return run(all_or_nothing(bring_in(folder, scene, name, set_up_scene), scene))


def bring_in(folder: Path, scene: bpy.types.Scene, name: str, set_up_scene: bool = True) -> Steps[Result]:
    """Bring the head of a result folder into `scene` step by step, in a collection called `name`.

    set_up_scene: also bind frames 1 and 2 to the two cameras, set the world's light and the render settings,
    and hide the cube and the lamp of a new file.
    Only the last steps touch what was there before. Raises Id2rError when a file of the result is missing or foreign.
    """
    check_own(scene)
    data = mesh_io.read_head(folder / "head.npz")
    yield
    images = yield from image_io.load_maps(folder, name)
    photo_image = image_io.load_image(folder / protocol.PHOTO, "sRGB")
    yield
    report = read_report(folder)
    pores = 0.0 if report.get("detail", {}).get("pores", 0.0) > 0.0 else material.PORE_STRENGTH
    glasses = mesh_io.read_glasses(folder / protocol.GLASSES)
    materials = yield from material.build_materials(
        images,
        data,
        pores,
        red_of(report),
        report.get("hair_linear"),
        glasses.frame_linear.tolist() if glasses else None,
        report.get("beard_linear"),
    )
    hair = read_hair(folder, report)
    yield
    collection = bpy.data.collections.new(name)
    objects = yield from mesh_io.build_head(data, materials, collection, name, hair, glasses)
    material.show_folds(materials[mesh_io.SKIN], mesh_io.keys_of(objects.head).key_blocks[mesh_io.PHOTO_KEY])
    yield
    portrait = lookdev.add_portrait_camera(collection, objects.head)
    photo = lookdev.add_photo_camera(collection, data, photo_image)
    yield
    scene.collection.children.link(collection)
    if set_up_scene:
        lookdev.bind_views(scene, objects, portrait, photo)
        lookdev.clear_stage(scene)
        yield  # Blender has worked out all strands to show the frame: that is enough for one turn
        if not lookdev.is_lit(scene):  # a light that was chosen for an earlier head stays
            lookdev.set_hdri(scene, DEFAULT_HDRI, background="GREY")
        yield
        lookdev.set_render(scene, render_size(data.photo_size), DEFAULT_SAMPLES)
    yield  # whoever takes the head has a turn of its own
    return Result(collection, objects, portrait, photo)


def render_size(photo_size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) in pixels of a render with the aspect ratio of a photo."""
    width, height = (max(1, round(side * LONG_SIDE / max(photo_size))) for side in photo_size)
    return width, height


def read_hair(folder: Path, report: dict) -> HairShown | None:
    """The hair of a result folder; None without. Older results do not tell how far it stands off and hangs, nor of curls."""
    if not (folder / HAIR_MAP).is_file():
        return None
    grown = image_io.read_pixels(folder / HAIR_MAP)[..., :3] * [1.0, *report.get("hair_metres", (0.0, 0.0))]
    combed = mesh_io.read_combed(folder / protocol.STRANDS)
    return HairShown(grown, read_fringe(report), float(report.get("hair_curl", 0.0)), combed)


def read_fringe(report: dict) -> np.ndarray | None:
    """Metres above the eyes down to which hair hangs over the forehead at each of FRINGE_COLUMNS, NaN where none does; None
    without a fringe, of which older results do not tell."""
    edge = report.get("fringe")
    return None if edge is None else np.array(edge, np.float32)  # null becomes NaN


def read_report(folder: Path) -> dict:
    """The report.json of a result folder; an empty one when it is missing. Raises Id2rError for a damaged one."""
    path = folder / "report.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        for key, count in NUMBERS.items():
            if report.get(key) is not None and np.array(report[key], np.float32).shape != (count,):
                raise ValueError(key)
        float(report.get("detail", {}).get("pores", 0.0))
        if not 0.0 <= float(report.get("hair_curl", 0.0)) <= 1.0:
            raise ValueError("hair_curl")
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise errors.Id2rError(
            f"{path} is damaged.", "Delete it (the head opens without), or copy it again."
        ) from error
    return report


def check_own(scene: bpy.types.Scene) -> None:
    """Raises Id2rError for a scene that this file only shows."""
    if scene.library:
        raise errors.Id2rError(
            f"The scene '{scene.name}' is linked from another file.", "Work in a scene of this file, or open that one."
        )


def red_of(report: dict) -> float | None:
    """The red albedo of the person's skin, linear; None when the report is of a version that did not say it."""
    tone = report.get("tone_linear")
    return float(tone[0]) if tone else None
