"""One picture of a result: the photo, the head over it, the head under several environments, and the four maps."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import radians
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from . import image_io, lookdev
from .core import protocol
from .result import Result

COLUMNS = 5
ORBITS = (0.0, 35.0, 0.0, -35.0)  # degrees: front, three-quarter, front, the other three-quarter
MAPS = ("diffuse", "specular", "roughness", "normal")
BACKDROP = 0.32  # grey behind the renders, sRGB
PAPER = 0.12  # grey between the pictures, sRGB
GAP = 1 / 64  # between pictures, of their side
STRIP = 1 / 14  # height of a label, of a picture's side
HEAD_IN_PHOTO = 1.5  # side of the cut-out of the photo, of the height of the head in it

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Tile:
    """One labelled picture, srgb [size, size, 3]."""

    label: str
    srgb: np.ndarray


def contact_sheet(made: Result, folder: Path, scene, environments, samples: int, size: int, progress: Progress):
    """Render and tile; returns srgb [H, W, 3], first row at the top. Leaves the scene with changed render settings."""
    lookdev.set_render(scene, (size, size), samples)
    scene.render.film_transparent = True
    tiles = []
    total = len(environments) + 1
    for index, name in enumerate(environments):
        progress("render", index, total)
        orbit = ORBITS[index % len(ORBITS)]
        tiles.append(Tile(Path(name).stem, portrait(made, scene, name, size, orbit)))
    progress("render", total - 1, total)
    photo, over = photo_pair(made, folder, scene, size)
    progress("render", total, total)
    tiles = [Tile("photo", photo), Tile("over the photo", over), *tiles]
    tiles += [Tile(name, fit_square(image_io.read_pixels(folder / f"{name}.png")[..., :3], size)) for name in MAPS]
    return tile(tiles, size)


def portrait(made: Result, scene, environment: str, size: int, orbit: float = 0.0) -> np.ndarray:
    """The head as reconstructed, by the portrait camera turned by `orbit` degrees: srgb [size, size, 3]."""
    scene.frame_set(lookdev.PORTRAIT_FRAME)
    lookdev.set_hdri(scene, environment)
    made.portrait.parent.rotation_euler.z = radians(orbit)
    scene.render.resolution_x = scene.render.resolution_y = size
    rendered = render(scene)
    return over_backdrop(rendered, np.full((size, size, 3), BACKDROP, np.float32))


def photo_pair(made: Result, folder: Path, scene, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The photo cut out around the head, and the same with the photographed head over it, in the photo's own light."""
    photo = image_io.read_pixels(folder / protocol.PHOTO)[..., :3]
    height, width, _ = photo.shape
    scene.frame_set(lookdev.PHOTO_FRAME)
    lookdev.set_hdri(scene, str(folder / protocol.LIGHT))
    scene.render.resolution_x, scene.render.resolution_y = width, height
    left, top, side = _cut_out(made, scene, width, height)
    shot = fit_square(photo[top : top + side, left : left + side], size)
    with _only(scene, (left / width, 1.0 - (top + side) / height, (left + side) / width, 1.0 - top / height)):
        scene.render.resolution_percentage = max(1, round(100 * size / side))
        with lookdev.developed_plainly(scene):
            rendered = fit_square(render(scene), size)
    return shot, over_backdrop(rendered, shot)


@contextmanager
def _only(scene, border: tuple[float, float, float, float]) -> Iterator[None]:
    """Render but a part of the picture: left, bottom, right and top in [0, 1]. Then all of it, at its own size."""
    at = scene.render
    at.border_min_x, at.border_min_y, at.border_max_x, at.border_max_y = border
    at.use_border = at.use_crop_to_border = True
    try:
        yield
    finally:
        at.use_border = at.use_crop_to_border = False
        at.resolution_percentage = 100


def _cut_out(made: Result, scene, width: int, height: int) -> tuple[int, int, int]:
    """Left, top and side in pixels of a square in the photo around the head."""
    head = made.objects.head
    corners = [world_to_camera_view(scene, made.photo, head.matrix_world @ Vector(each)) for each in head.bound_box]
    x, y = np.array([(each.x * width, (1.0 - each.y) * height) for each in corners]).T
    side = int(min(HEAD_IN_PHOTO * (y.max() - y.min()), width, height))
    left = np.clip((x.max() + x.min() - side) / 2, 0, width - side)
    top = np.clip((y.max() + y.min() - side) / 2, 0, height - side)
    return int(left), int(top), side


def render(scene, file_format: str = "PNG") -> np.ndarray:
    """Render the scene, [H, W, 4]: display values and alpha, not premultiplied; as "OPEN_EXR" linear radiance."""
    scene.render.image_settings.file_format = file_format
    scene.render.image_settings.color_mode = "RGBA"
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = str(Path(folder) / f"render{scene.render.file_extension}")
        bpy.ops.render.render(write_still=True, scene=scene.name)
        return image_io.read_pixels(Path(scene.render.filepath))


def over_backdrop(rgba: np.ndarray, backdrop: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:]
    return rgba[..., :3] * alpha + backdrop * (1.0 - alpha)


def fit_square(image: np.ndarray, size: int) -> np.ndarray:
    return image_io.resized(image, size, size)


def tile(tiles: list[Tile], size: int) -> np.ndarray:
    """Pictures in rows of COLUMNS, each over its label: srgb [H, W, 3]."""
    gap, strip = max(2, int(GAP * size)), max(12, int(STRIP * size))
    rows = -(-len(tiles) // COLUMNS)
    columns = min(COLUMNS, len(tiles))
    sheet = np.full((gap + rows * (size + strip + gap), gap + columns * (size + gap), 3), PAPER, np.float32)
    labels = draw_labels([each.label for each in tiles], size, strip)  # [tiles, strip, size]
    for index, each in enumerate(tiles):
        top = gap + index // COLUMNS * (size + strip + gap)
        left = gap + index % COLUMNS * (size + gap)
        sheet[top : top + size, left : left + size] = each.srgb
        below = sheet[top + size : top + size + strip, left : left + size]
        below += (1.0 - below) * 0.85 * labels[index][..., None]
    return sheet.clip(0.0, 1.0)


def draw_labels(labels: list[str], width: int, height: int) -> np.ndarray:
    """Coverage [labels, height, width] of each text, drawn by Cycles with Blender's own font (needs no window)."""
    scene = bpy.data.scenes.new("id2r labels")
    made: list[bpy.types.ID] = [scene]
    try:
        scene.render.engine = "CYCLES"  # type: ignore[assignment]
        scene.cycles.samples = 16
        scene.cycles.use_denoising = False  # coverage is not denoised anyway, and not every Blender can
        scene.render.film_transparent = True
        scene.render.resolution_x, scene.render.resolution_y = width, height * len(labels)
        lens = bpy.data.cameras.new("id2r labels")
        lens.type, lens.sensor_fit, lens.ortho_scale = "ORTHO", "HORIZONTAL", width
        scene.camera = bpy.data.objects.new("id2r labels", lens)
        scene.collection.objects.link(scene.camera)
        scene.camera.location = (width / 2, -height * len(labels) / 2, 10.0)
        made += [scene.camera, lens]
        for row, label in enumerate(labels):
            made += _text(scene, label, 0.6 * height, (0.2 * height, -(row + 0.68) * height, 0.0))
        return render(scene)[..., 3].reshape(len(labels), height, width)
    finally:
        bpy.data.batch_remove(made)


def _text(scene, text: str, size: float, location: tuple[float, float, float]) -> list:
    curve: Any = bpy.data.curves.new(text, "FONT")
    curve.body, curve.size = text, size
    made = bpy.data.objects.new(text, curve)
    made.location = location
    scene.collection.objects.link(made)
    return [made, curve]
