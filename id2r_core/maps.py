"""What a result consists of: maps, mesh, report."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .conventions import HEAD_FORMAT, Domain, encode_normal, yup_to_zup
from .detail import Detailed, stored, tangent_slopes
from .files import write_exr, write_image
from .head.atlas import HeadAtlas
from .head.fit import FittedHead
from .head.frame import FrameMesh
from .head.irises import Irises
from .head.model import PARTS
from .orientation import Orientation
from .photo import Photo
from .protocol import GLASSES, LIGHT, PHOTO, STRANDS
from .relight import Light
from .stitch import Maps

SMILE = "as_photographed.obj"
OPTIONAL_FILES = (GLASSES, STRANDS, SMILE)
PANORAMA_HEIGHT = 128
UNTOLD, TOLD = -0.6, -0.1  # how far forward light must come from to light nothing, and all it can, of a face
LOBE = 24.0  # exponent of the cosine with which a solved direction of light spreads over its neighbourhood
# A solved radiance is what a direction adds to albedo times shading, cosine and the mean over the sphere included; a
# sphere of radiance 1 lights a white diffuser to 1 when the mean of its cosine, a quarter, is divided out.
RADIANCE_PER_SOLVED = 0.25


def save_result(
    folder: Path,
    detailed: Detailed,
    light: Light,
    head: FittedHead,
    photo: Photo,
    irises: Irises,
    keep_expression: bool,
) -> None:
    """Write the finished maps (<stem>.png each), the photo's light (light.exr) and all that `save_maps` writes too."""
    _save_images(folder, detailed.images)
    write_exr(folder / LIGHT, panorama(light))
    _save_head(folder, head, photo, irises, keep_expression)


def save_maps(
    folder: Path, maps: Maps, head: FittedHead, atlas: HeadAtlas, photo: Photo, irises: Irises, keep_expression: bool
) -> None:
    """Write maps as they are, the upright photo and the mesh into `folder`.

    diffuse.png 8 bit sRGB; specular.png, roughness.png, normal.png 16 bit, Non-Color; coverage.png 8 bit; photo.png;
    head.obj (neutral, head-tile uv), as_photographed.obj if `keep_expression`, and head.npz (all that the add-on needs).
    """
    grey = lambda domain: maps.images[domain].mean(0, keepdim=True)
    images = {
        "diffuse": stored(maps.images[Domain.DIFFUSE], np.uint8),
        "specular": stored(grey(Domain.SPECULAR), np.uint16),
        "roughness": stored(grey(Domain.ROUGHNESS), np.uint16),
        "normal": stored(tangent_normals(maps.images[Domain.NORMAL], head, atlas), np.uint16),
        "coverage": stored(maps.coverage[None], np.uint8),
    }
    _save_images(folder, images)
    _save_head(folder, head, photo, irises, keep_expression)


def tangent_normals(normal_image: Tensor, head: FittedHead, atlas: HeadAtlas) -> Tensor:
    """Head-frame normals [3, T, T] as an image -> tangent-space map [3, T, T] (+y up) over the fitted head's own normals.

    The mesh carries the form; the map keeps what is finer than the mesh, so that an error of the networks in the slow
    part cannot bend the head's shading.
    """
    slopes = tangent_slopes(normal_image, head, atlas)
    return encode_normal(functional.normalize(torch.cat([slopes, torch.ones_like(slopes[:1])]), dim=0))


def _save_images(folder: Path, images: dict[str, np.ndarray]) -> None:
    """Each as <stem>.png, the largest first; OpenCV lets other threads run while it packs a picture."""
    largest_first = sorted(images, key=lambda stem: -images[stem].nbytes)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for _ in pool.map(lambda stem: write_image(folder / f"{stem}.png", images[stem]), largest_first):
            pass


def _save_head(folder: Path, head: FittedHead, photo: Photo, irises: Irises, keep_expression: bool) -> None:
    write_image(folder / PHOTO, stored(torch.tensor(photo.srgb).permute(2, 0, 1), np.uint8))
    _write_obj(folder / "head.obj", head, head.neutral_vertices)
    if keep_expression:
        _write_obj(folder / SMILE, head, head.vertices)
    shows = {"keep_expression": np.array(keep_expression)}
    np.savez_compressed(folder / "head.npz", **_mesh_arrays(head, photo, irises), **shows)


def save_glasses(folder: Path, frame: FrameMesh, frame_linear: np.ndarray) -> None:
    """Write glasses.npz: vertices [N, 3] metres in the head frame, quads [Q, 4], is_lens [Q], frame_linear [3] albedo."""
    np.savez_compressed(
        folder / GLASSES,
        vertices=frame.vertices,
        quads=frame.quads,
        is_lens=frame.is_lens,
        frame_linear=frame_linear.astype(np.float32),
    )


def save_strands(folder: Path, strands: Orientation) -> None:
    """Write strands.npz: combed int8 [4, h, w] (127 is 1): twice the angle from the vertical in which hair runs in the photo as
    cosine and sine, as long as that is certain, how much lighter strands are than those around, and 1 where skin is bare,
    -1 on the background; box [4]: its left, top, right and bottom in pixels of the photo."""
    combed = np.rint(strands.combed() * 127.0).astype(np.int8)
    np.savez_compressed(folder / STRANDS, combed=combed, box=np.array(strands.box, np.float32))


def panorama(light: Light) -> np.ndarray:
    """The light as an equirectangular environment [128, 256, 3], linear RGB, as Blender's world texture takes it.

    Convention: Blender's world frame (z up, the face looks along -y), an Environment Texture without rotation. Row 0 is
    up; the middle column is +x, the subject's left, and columns run on through -y (what the face looks at, at three
    quarters of the width). Radiance 1 all round shows a diffuse albedo as it is.
    """
    height, width = PANORAMA_HEIGHT, 2 * PANORAMA_HEIGHT
    elevation = (0.5 - (np.arange(height, dtype=np.float32) + 0.5) / height) * np.pi
    azimuth = (0.5 - (np.arange(width, dtype=np.float32) + 0.5) / width) * 2 * np.pi
    ring = np.cos(elevation)[:, None]
    seen = np.stack(
        [ring * np.cos(azimuth), ring * np.sin(azimuth), np.repeat(np.sin(elevation)[:, None], width, 1)], -1
    )
    lights = yup_to_zup(light.directions.numpy(force=True))
    closeness = np.clip(seen @ lights.T, 0, None) ** LOBE  # [128, 256, L]
    closeness /= closeness.sum(-1, keepdims=True)
    return (closeness @ _told_by_the_face(light) * RADIANCE_PER_SOLVED).astype(np.float32)


def _told_by_the_face(light: Light) -> np.ndarray:
    """Radiance [L, 3]; the more a direction lies behind the head, the more it is the mean of those before it.

    What the photo shows of the face says nothing of light from behind, and a solve may leave anything there.
    """
    radiance, forward = light.radiance.numpy(force=True), light.directions[:, 2:].numpy(force=True)
    told = np.clip((forward - UNTOLD) / (TOLD - UNTOLD), 0, 1)
    mean = (radiance * told).sum(0) / told.sum()
    return radiance * told + mean * (1 - told)


def save_report(folder: Path, report: dict) -> None:
    """Write report.json into `folder`."""
    (folder / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


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


def _mesh_arrays(head: FittedHead, photo: Photo, irises: Irises) -> dict[str, np.ndarray]:
    """The arrays of head.npz; all points in metres in the head frame (y up)."""
    model, camera = head.model, head.camera
    centres, radii = model.eyes(head.neutral_vertices)
    tensors = {
        "vertices": head.neutral_vertices,
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
    arrays["format"] = np.array(HEAD_FORMAT)
    arrays["part_names"] = np.array(PARTS)
    arrays["expression_names"] = np.array(model.expression_names)
    arrays["photo_size"] = np.array([photo.width, photo.height])
    return arrays
