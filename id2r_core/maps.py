"""Write the result: maps, mesh, report. All files appear together or not at all."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .conventions import Domain, decode_normal, encode_normal
from .errors import Id2rError
from .geometry.mesh import tangent_frames, vertex_normals
from .geometry.rasterize import interpolate
from .geometry.texture import blur_inside, soften
from .head.atlas import SKIN_PARTS, HeadAtlas
from .head.fit import FittedHead
from .head.irises import Irises
from .head.model import PARTS
from .photo import Photo
from .stitch import Maps

STEEPEST = 0.35  # of the normal map's slopes: pores and wrinkles, not form
MESO_BAND = 0.02  # share of the atlas: slower slopes belong to the mesh, faster ones to the normal map


def save_maps(
    folder: Path, maps: Maps, head: FittedHead, atlas: HeadAtlas, photo: Photo, irises: Irises, keep_expression: bool
) -> None:
    """Write the four maps, the coverage map, the upright photo and the mesh into `folder`.

    diffuse.png 8 bit sRGB; specular.png, roughness.png, normal.png 16 bit, Non-Color; coverage.png 8 bit; photo.png;
    head.obj (head-tile uv) and head.npz (all that the add-on needs).
    """
    _write_png(folder / "diffuse.png", maps.images[Domain.DIFFUSE], np.uint8)
    _write_png(folder / "specular.png", maps.images[Domain.SPECULAR].mean(0, keepdim=True), np.uint16)
    _write_png(folder / "roughness.png", maps.images[Domain.ROUGHNESS].mean(0, keepdim=True), np.uint16)
    _write_png(folder / "normal.png", tangent_normals(maps.images[Domain.NORMAL], head, atlas), np.uint16)
    _write_png(folder / "coverage.png", maps.coverage[None], np.uint8)
    _write_png(folder / "photo.png", torch.from_numpy(photo.srgb.copy()).permute(2, 0, 1), np.uint8)
    shown = head.vertices if keep_expression else head.neutral_vertices
    _write_obj(folder / "head.obj", head, shown)
    np.savez_compressed(folder / "head.npz", **_mesh_arrays(head, shown, photo, irises))


def save_report(folder: Path, report: dict) -> None:
    """Write report.json into `folder`."""
    (folder / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def check_writable(out: Path) -> None:
    """Make the folder, or raise Id2rError: before the work, not after it."""
    with all_or_nothing(out):
        pass


@contextmanager
def all_or_nothing(out: Path) -> Iterator[Path]:
    """A working folder inside `out` whose files move into it when the block succeeds, and vanish when it fails.

    Raises Id2rError when `out` cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".partial-", dir=out))
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        yield folder
        _move_all(folder, out)
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move_all(folder: Path, out: Path) -> None:
    """Move the files of `folder` into `out`; when one cannot be moved, none is and what was there before stays."""
    with tempfile.TemporaryDirectory(prefix=".replaced-", dir=out) as aside:
        replaced, moved = Path(aside), []
        try:
            for path in sorted(folder.iterdir()):
                if (out / path.name).is_file():
                    os.replace(out / path.name, replaced / path.name)
                os.replace(path, out / path.name)
                moved.append(out / path.name)
        except OSError:
            for path in moved:
                path.unlink()
            for path in replaced.iterdir():
                os.replace(path, out / path.name)
            raise


def _unwritable(out: Path, error: OSError) -> Id2rError:
    return Id2rError(
        f"The output folder '{out}' cannot be written ({error.strerror or error}).",
        "Check the free space of the disk, or choose another folder with --out.",
    )


def tangent_normals(normal_image: Tensor, head: FittedHead, atlas: HeadAtlas) -> Tensor:
    """Head-frame normals [3, T, T] as an image -> tangent-space map [3, T, T] (+y up) over the fitted head's own normals.

    The mesh carries the form; the map keeps what is finer than the mesh, so that an error of the networks in the slow
    part cannot bend the head's shading.
    """
    model = head.model
    vertices = head.fine_neutral_vertices()[None]
    frames = tangent_frames(vertices, model.faces, model.fine_uv, model.faces_uv)[0]
    of_skin = model.faces_of(*SKIN_PARTS)
    tangent = interpolate(frames, model.faces_uv[of_skin], atlas.fragments)[0]
    normal = functional.normalize(atlas.bake(vertex_normals(vertices, model.faces)[0]), dim=0)
    along_u = functional.normalize(tangent[:3] - (tangent[:3] * normal).sum(0) * normal, dim=0)
    along_v = torch.linalg.cross(normal, along_u, dim=0) * tangent[3:].sign()
    wanted = functional.normalize(decode_normal(normal_image), dim=0)
    local = torch.stack([(wanted * axis).sum(0) for axis in (along_u, along_v, normal)])
    fine = local[:2] - blur_inside(local[:2], atlas.mask.float(), MESO_BAND)
    # Lids, lips and ears fold within a few texels: the views' pixels there show a neighbour's slope.
    folded = torch.stack([atlas.region(name) for name in ("eyelid", "lip", "ear")]).amax(0)
    fine = (fine * (1 - soften(folded, 0.006)) * atlas.mask).clamp(-STEEPEST, STEEPEST)
    upright = torch.cat([fine, torch.ones_like(fine[:1])])
    return encode_normal(functional.normalize(upright, dim=0))


def _write_png(path: Path, image: Tensor, dtype: type) -> None:
    """[C, H, W] in [0, 1] as an 8 or 16 bit PNG."""
    top = np.iinfo(dtype).max
    pixels = (image.clamp(0, 1).permute(1, 2, 0).numpy(force=True) * top + 0.5).astype(dtype)
    if not cv2.imwrite(str(path), pixels[..., ::-1] if pixels.shape[2] == 3 else pixels):
        raise Id2rError(f"{path.name} could not be written.", "Check the free space of the disk.")


def _write_obj(path: Path, head: FittedHead, vertices: Tensor) -> None:
    """Wavefront OBJ of the coarse quads with the head-tile uv, one group a part; metres, y up."""
    model = head.model
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices.tolist()]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in model.uv.tolist()]
    for index, name in enumerate(PARTS):
        lines.append(f"g {name}")
        chosen = model.part == index
        for quad, quad_uv in zip(model.quads[chosen].tolist(), model.quads_uv[chosen].tolist(), strict=True):
            lines.append("f " + " ".join(f"{v + 1}/{t + 1}" for v, t in zip(quad, quad_uv, strict=True)))
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _mesh_arrays(head: FittedHead, shown: Tensor, photo: Photo, irises: Irises) -> dict[str, np.ndarray]:
    """The arrays of head.npz; all points in metres in the head frame (y up)."""
    model, camera = head.model, head.camera
    centres, radii = model.eyes(shown)
    tensors = {
        "vertices": shown,
        "photo_vertices": head.vertices,
        "quads": model.quads.int(),
        "part": model.part.to(torch.uint8),
        "uv": model.uv,
        "quads_uv": model.quads_uv.int(),
        "uv_makehuman": model.uv_makehuman,
        "quads_uv_makehuman": model.quads_uv_makehuman.int(),
        "expressions": model.expression.half(),
        "camera_view_from_world": camera.view_from_world[0],
        "camera_focal": camera.focal[0],
        "camera_principal": camera.principal[0],
        "eye_centres": centres,
        "eye_radius": radii,
        "iris_radius": irises.radius,
        "iris_colour_linear": irises.colour_linear,
    }
    arrays = {name: tensor.numpy(force=True) for name, tensor in tensors.items()}
    arrays["part_names"] = np.array(PARTS)
    arrays["expression_names"] = np.array(model.expression_names)
    arrays["photo_size"] = np.array([photo.width, photo.height])
    return arrays
