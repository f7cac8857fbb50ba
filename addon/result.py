"""A result folder to a lit, textured head in a scene: the add-on's side of the main path, one stage a line."""

import json
from dataclasses import dataclass
from pathlib import Path

import bpy

from . import image_io, lookdev, material, mesh_io
from .core import protocol

DEFAULT_HDRI = "studio"
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
    """Bring the head of a result folder into `scene`, in a collection called `name`.

    set_up_scene: also bind frames 1 and 2 to the two cameras, set the world's light and the render settings,
    and hide the cube and the lamp of a new file.
    Raises Id2rError when a file of the result is missing or foreign; the scene is then unchanged.
    """
    data = mesh_io.read_head(folder / "head.npz")
    images = image_io.load_maps(folder)
    photo_image = image_io.load_image(folder / protocol.PHOTO, "sRGB")
    has_pores = read_report(folder).get("detail", {}).get("pores", 0.0) > 0.0
    materials = material.build_materials(images, data, 0.0 if has_pores else material.PORE_STRENGTH)
    collection = bpy.data.collections.new(name)
    objects = mesh_io.build_head(data, materials, collection, name)
    portrait = lookdev.add_portrait_camera(collection, objects.head)
    photo = lookdev.add_photo_camera(collection, data, photo_image)
    scene.collection.children.link(collection)
    if set_up_scene:
        lookdev.bind_views(scene, objects, portrait, photo)
        lookdev.clear_stage(scene)
        if not lookdev.is_lit(scene):  # a light that was chosen for an earlier head stays
            lookdev.set_hdri(scene, DEFAULT_HDRI, background="GREY")
        lookdev.set_render(scene, data.photo_size, DEFAULT_SAMPLES)
        scene.render.resolution_percentage = max(1, round(100 * LONG_SIDE / max(data.photo_size)))
    return Result(collection, objects, portrait, photo)


def read_report(folder: Path) -> dict:
    """The report.json of a result folder; an empty one when it is missing."""
    path = folder / "report.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
