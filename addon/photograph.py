"""`python -m addon.photograph DIR`: the photographs of a validation set, path-traced (Blender as a module).

DIR is what `python -m id2r_core capture validation` has written. A photograph that exists is kept, so that the command
can be interrupted and called again; none appears half-written.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np

from . import batch, image_io, mesh_io
from .contact_sheet import render
from .core import conventions, errors
from .lookdev import PORTRAIT_FRAME, add_photo_camera, lens_of, set_hdri, set_render
from .material import principled
from .result import Result

SAMPLES = 20
SHOULDER = 0.8  # linear value from which on the camera rolls highlights off
# The shirt: what counts as the end of the neck and half the width and depth of the shoulders, metres; and its rings, as
# the share of the way from the neck's outline to the shoulders', and the height over the end of the neck.
NECK_END, SHOULDERS, SHIRT_COLUMNS = 0.012, (0.21, 0.11), 48
SHIRT_RINGS = (
    (0.02, 0.008), (0.06, 0.006), (0.15, -0.003), (0.35, -0.017), (0.65, -0.030), (0.88, -0.050), (1.0, -0.085), (1.0, -0.4),
)  # fmt: skip
CORNER_SHADE = 0.1  # how much darker than their middle the corners of a photograph are


def photograph(folder: Path, samples: int, progress) -> int:
    """Render what is missing of the set's photographs; returns how many were made. Raises Id2rError for a foreign folder."""
    index = read_index(folder)
    missing = [
        (scene, photo)
        for scene in index["scenes"]
        for photo in scene["photos"]
        if not (folder / photo["file"]).is_file()
    ]
    missing.sort(key=lambda pair: pair[1]["subject"])  # each head is opened once
    opened = None
    for number, (scene, photo) in enumerate(missing):
        progress("photograph", number, len(missing))
        if photo["subject"] != opened:
            subject = folder / "subjects" / photo["subject"]
            made, data = batch.open_result(subject, batch.silent), mesh_io.read_head(subject / "head.npz")
            opened = photo["subject"]
            dress(made, data, photo["cloth_linear"])
        pose(made, data, photo, index["size"])
        set_render(bpy.context.scene, (index["size"],) * 2, samples)
        set_hdri(bpy.context.scene, str(folder / scene["light"]))
        write_photo(folder / photo["file"], develop(render(bpy.context.scene, "OPEN_EXR")[..., :3], scene["gain"]))
    if missing:
        progress("photograph", len(missing), len(missing))
    return len(missing)


def read_index(folder: Path) -> dict:
    """validation.json of a set. Raises Id2rError when it is missing or not one."""
    path = folder / "validation.json"
    if not path.is_file():
        raise errors.Id2rError(
            f"There is no validation.json in '{folder}'.", "Run: python -m id2r_core capture validation"
        )
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise errors.Id2rError(f"'{path}' is not JSON ({error}).", "Write the set again.") from error
    if not {"size", "subjects", "scenes"} <= set(index):
        raise errors.Id2rError(f"'{path}' lists no scenes.", "Write the set again with this version of ID2R.")
    return index


def pose(made: Result, data: mesh_io.HeadFile, photo: dict, size: int) -> None:
    """Give the head the photograph's expression and look through the photograph's camera."""
    scene = bpy.context.scene
    scene.frame_set(PORTRAIT_FRAME)
    for key in mesh_io.keys_of(made.objects.head).key_blocks[1:]:
        if key.name != mesh_io.PHOTO_KEY:
            key.value = photo["expression"].get(key.name, 0.0)
    if made.objects.lashes:
        made.objects.lashes.hide_render = True  # the capture stage, whose photographs these are, knows none
    scene.timeline_markers.clear()  # they would bring their own cameras back
    at = replace(
        data,
        camera_view_from_world=np.array(photo["view_from_world"]),
        camera_focal=photo["focal"],
        camera_principal=np.array(photo["principal"]),
        photo_size=(size, size),
    )
    scene.camera = add_photo_camera(made.collection, at, lens_of(made.photo).background_images[0].image)


def dress(made: Result, data: mesh_io.HeadFile, colour: Sequence[float]) -> None:
    """A plain shirt under the head, lofted from the end of the neck over the shoulders."""
    lowest = data.vertices[data.vertices[:, 2] < data.vertices[:, 2].min() + NECK_END]
    middle, spread = lowest.mean(0), np.ptp(lowest, axis=0)[:2] / 2
    turn = np.linspace(0, 2 * np.pi, SHIRT_COLUMNS, endpoint=False)
    rings = []
    for share, height in SHIRT_RINGS:
        wide, deep = spread + (np.array(SHOULDERS, np.float32) - spread) * share
        x, y = (np.sign(f) * np.abs(f) ** (1 - 0.4 * share) for f in (np.cos(turn), np.sin(turn)))
        rings.append(np.stack([x * wide + middle[0], y * deep + middle[1], np.full_like(x, middle[2] + height)], -1))
    row, column = (each.ravel() for each in np.mgrid[: len(rings) - 1, :SHIRT_COLUMNS])
    beside = (column + 1) % SHIRT_COLUMNS
    quads = np.stack([row * SHIRT_COLUMNS + column, row * SHIRT_COLUMNS + beside], 1)
    quads = np.concatenate([quads, quads[:, ::-1] + SHIRT_COLUMNS], 1)
    mesh = bpy.data.meshes.new("Shirt")
    mesh.from_pydata(np.concatenate(rings).tolist(), [], quads.tolist())
    mesh.polygons.foreach_set("use_smooth", np.ones(len(quads), bool))
    mesh.materials.append(principled("Cloth", {"Base Color": (*colour, 1.0), "Roughness": 0.9})[0])
    made.collection.objects.link(bpy.data.objects.new("Shirt", mesh))


def develop(linear: np.ndarray, gain: Sequence[float]) -> np.ndarray:
    """What the camera stores, sRGB [H, W, 3]: exposure and white balance, a soft shoulder, darker corners."""
    size = linear.shape[0]
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    corners = 1 - CORNER_SHADE / 2 * (axis[:, None] ** 2 + axis[None] ** 2)
    exposed = linear * np.array(gain, np.float32) * corners[..., None]
    over = (exposed - SHOULDER).clip(0) / (1 - SHOULDER)
    return conventions.linear_to_srgb(exposed.clip(0, SHOULDER) + (1 - SHOULDER) * np.tanh(over))


def write_photo(path: Path, srgb: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial.png")
    image_io.write_png(partial, srgb)
    os.replace(partial, path)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m addon.photograph", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="what `id2r_core capture validation` has written")
    parser.add_argument("--samples", type=int, default=SAMPLES, metavar="N", help="a pixel (default: %(default)s)")
    options = parser.parse_args(arguments)
    folder = options.folder.absolute()  # Blender reads relative paths in its own way
    batch.end_at_interrupt(folder / "photos")
    try:
        with batch.take_standard_output() as own:
            made = photograph(folder, options.samples, batch.print_progress)
            print(f"{made} photographs made in {folder / 'photos'}.", file=own)
    except errors.Id2rError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return batch.EXIT_CANCELLED
    finally:
        batch.remove_partials(folder / "photos")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
