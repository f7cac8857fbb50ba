"""Real captures in: register a scan to the head, carry its maps into the head tile, render the capture views.

    python -m id2r_core capture import FOLDER [FOLDER ...] --out CAPTURES

CAPTURES/NAME then holds the maps on the head tile, `known.png` (where they were seen and show skin), `head.npz` (the
registered vertices), `views/` and `capture.json`; `CaptureStage(..., captures=CAPTURES)` takes its skins from there.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..conventions import LEVEL_SIDES, LOW_SIDES, Domain, decode_normal, encode_normal, srgb_to_linear
from ..detail import stored
from ..errors import Id2rError
from ..files import fresh_folder, write_image
from ..geometry.camera import capture_cameras
from ..geometry.mesh import closest_on_triangles, tangent_axes, tangent_frames, vertex_normals
from ..geometry.rasterize import interpolate, rasterize
from ..geometry.texture import fill_holes, sample_texture
from ..head.atlas import HeadAtlas, make_atlas
from ..head.model import OFF_TILE, load_head
from ..pigment import typology_angle
from .register import Registration, Surface, register, spread_points
from .scan import DESCRIPTION, Scan, read_scan

TILE, VIEW_SIZE = 1024, 512
FARTHEST, TURNED = 0.005, 0.4  # metres and cosine beyond which the scan does not tell what a texel is
WORST_FIT = 0.003  # metres: a median distance above it is no registration
LEAST_KNOWN = 0.6  # of the face's texels
# Of the density's deviation from the face's median: what is darker than skin is (hair), and coloured unlike it (cloth).
HAIR_DENSITY, CLOTH_HUE = 0.75, 0.45
RIM = 0.012  # of the tile's side, left out round what is not skin: hair ends in a blur
SIDES = {"level": LEVEL_SIDES, "low": LOW_SIDES}
VIEW_NAMES = ("front", "left", "right")


@dataclass(frozen=True)
class Imported:
    """A scan in the head tile.

    maps: Domain -> [3, T, T] in [0, 1] as in conventions, the normal in the head frame, holes filled
    known: [T, T] bool, texels that the scan shows; skin: [T, T] bool, those of them that show facial skin
    """

    registration: Registration
    maps: dict[Domain, Tensor]
    known: Tensor
    skin: Tensor
    notes: tuple[str, ...]


def import_scan(scan: Scan, atlas: HeadAtlas) -> Imported:
    """Register and resample. Raises Id2rError when the scan does not fit the head or shows too little of the face."""
    registration = register(scan, atlas.model)
    if registration.error > WORST_FIT:
        raise Id2rError(
            f"The head could not be laid onto '{scan.name}': it stays {registration.error * 1e3:.1f} mm away.",
            "The scan must be one neutral head with the mouth closed, without long hair over the face.",
        )
    surface = spread_points(_in_head_frame(scan, registration), scan.faces)
    triangle, bary, known = _look_up(surface, scan, registration, atlas)
    maps = {Domain.DIFFUSE: _resample(scan, "diffuse", triangle, bary)}
    for domain in (Domain.SPECULAR, Domain.ROUGHNESS):
        if domain.value in scan.maps:
            maps[domain] = _resample(scan, domain.value, triangle, bary)
    if "normal" in scan.maps:
        maps[Domain.NORMAL] = _head_normals(scan, registration, triangle, bary)
    face = (atlas.region("face") > 0.5) & (atlas.region("skin") > 0.9)
    seen = float((known & face).sum() / face.sum())
    if seen < LEAST_KNOWN:
        raise Id2rError(f"'{scan.name}' shows only {seen:.0%} of the face.", "Give a scan without holes in the face.")
    skin = known & ~_not_skin(maps[Domain.DIFFUSE], known, atlas)
    filled = {domain: fill_holes(image[None], known[None, None])[0] for domain, image in maps.items()}
    hidden = 1 - float((skin & face).sum() / face.sum())
    notes = (*scan.notes, f"{hidden:.0%} of the face is no bare skin or was not seen, and is filled in from around it")
    return Imported(registration, filled, known, skin, notes)


def _in_head_frame(scan: Scan, registration: Registration) -> np.ndarray:
    return (scan.vertices @ registration.turn.T + registration.shift).astype(np.float32)


def _look_up(
    surface: Surface, scan: Scan, registration: Registration, atlas: HeadAtlas
) -> tuple[np.ndarray, Tensor, Tensor]:
    """For every texel of the tile the scan's triangle [T, T], the weights of its corners [T, T, 3], and known [T, T]."""
    fine = atlas.model.subdivide(registration.vertices[None])[0]
    mask = atlas.mask.numpy(force=True)
    points, normals = (
        image.permute(1, 2, 0).numpy(force=True)[mask].astype(np.float64)
        for image in (atlas.bake(fine), atlas.normals_of(fine))
    )
    distance, nearest = surface.nearest(points, normals)
    triangle = surface.triangle[nearest]
    corners = _in_head_frame(scan, registration)[scan.faces[triangle]].astype(np.float64)
    bary = closest_on_triangles(torch.from_numpy(points), torch.from_numpy(corners))
    fits = (distance < FARTHEST) & ((normals * surface.normals[nearest]).sum(1) > TURNED)
    all_triangles, all_bary = np.zeros(mask.shape, np.int64), np.zeros((*mask.shape, 3), np.float32)
    known = np.zeros(mask.shape, bool)
    all_triangles[mask], all_bary[mask], known[mask] = triangle, bary, fits
    skin = atlas.region("skin") > 0.5
    return all_triangles, torch.from_numpy(all_bary), torch.from_numpy(known) & skin.cpu()


def _resample(scan: Scan, name: str, triangle: np.ndarray, bary: Tensor) -> Tensor:
    """A map of the scan at every texel, [3, T, T]."""
    uv = torch.from_numpy(scan.uv[scan.faces_uv[triangle]])  # [T, T, 3, 2]
    place = (uv * bary[..., None]).sum(2)[None]
    image = torch.from_numpy(scan.maps[name]).permute(2, 0, 1)[None]
    return sample_texture(_blurred_to(image, len(bary)), place)[0]


def _blurred_to(image: Tensor, size: int) -> Tensor:
    """Finer images are averaged down to about the tile's density first."""
    factor = max(image.shape[-1] // (2 * size), 1)
    return functional.avg_pool2d(image, factor) if factor > 1 else image


def _head_normals(scan: Scan, registration: Registration, triangle: np.ndarray, bary: Tensor) -> Tensor:
    """The scan's tangent-space normals as an image of head-frame normals, [3, T, T]."""
    vertices = torch.from_numpy(_in_head_frame(scan, registration))[None]
    faces, faces_uv = torch.from_numpy(scan.faces), torch.from_numpy(scan.faces_uv)
    frames = tangent_frames(vertices, faces, torch.from_numpy(scan.uv), faces_uv)[0]
    smooth = vertex_normals(vertices, faces)[0]
    mix = lambda table, corners: (table[corners[torch.from_numpy(triangle)]] * bary[..., None]).sum(2)
    normal = functional.normalize(mix(smooth, faces), dim=-1)
    along_u, along_v = tangent_axes(mix(frames, faces_uv), normal, dim=-1)
    local = decode_normal(_resample(scan, "normal", triangle, bary)).permute(1, 2, 0)
    up = 1.0 if scan.normal_up else -1.0
    world = local[..., :1] * along_u + up * local[..., 1:2] * along_v + local[..., 2:] * normal
    return encode_normal(functional.normalize(world, dim=-1)).permute(2, 0, 1)


def _not_skin(diffuse_srgb: Tensor, known: Tensor, atlas: HeadAtlas) -> Tensor:
    """[T, T] bool: painted hair and cloth, by density and hue against the face's median; brows, lids and lips are left."""
    density = -srgb_to_linear(diffuse_srgb).clamp(min=4e-3).log()
    features = atlas.features.cpu() > 0.5
    face = (atlas.region("face").cpu() > 0.7) & known & ~features
    deviation = density - density[:, face].median(1).values[:, None, None]
    hue = deviation - deviation.mean(0)
    strange = (deviation.mean(0) > HAIR_DENSITY) | (hue.abs().amax(0) > CLOTH_HUE)
    nose = atlas.region("nose").cpu() > 0.3
    strange &= ~features & ~nose & known
    reach = 2 * round(RIM * len(strange)) + 1
    opened = -functional.max_pool2d(-strange[None].float(), 5, stride=1, padding=2)  # moles and pores are skin
    return functional.max_pool2d(opened, reach, stride=1, padding=reach // 2)[0] > 0


def write_capture(scan: Scan, imported: Imported, atlas: HeadAtlas, out: Path, sides: tuple[float, float]) -> None:
    """Write CAPTURES/NAME, complete or not at all."""
    tone = srgb_to_linear(imported.maps[Domain.DIFFUSE][:, imported.skin & (atlas.region("face").cpu() > 0.7)]).mean(1)
    about = {
        "name": scan.name,
        "group": scan.group,
        "split": scan.split,
        "licence": scan.licence,
        "sex": scan.sex,
        "age": scan.age,
        "ita_degrees": round(float(typology_angle(tone.numpy())), 2),
        "median_distance_mm": round(imported.registration.error * 1e3, 3),
        "median_landmark_mm": round(imported.registration.landmark_error * 1e3, 3),
        "notes": list(imported.notes),
    }
    with fresh_folder(out / scan.name) as folder:
        for domain, image in imported.maps.items():
            depth = np.uint8 if domain is Domain.DIFFUSE else np.uint16
            write_image(folder / f"{domain.value}.png", stored(image, depth))
        for name in ("known", "skin"):
            write_image(folder / f"{name}.png", stored(getattr(imported, name)[None].float(), np.uint8))
        np.savez_compressed(folder / "head.npz", vertices=imported.registration.vertices.numpy())
        (folder / "views").mkdir()
        for domain, views in render_views(imported, atlas, sides).items():
            for name, view in zip(VIEW_NAMES, views, strict=True):
                write_image(folder / "views" / f"{domain.value}_{name}.png", stored(view, np.uint8))
        (folder / DESCRIPTION).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def render_views(imported: Imported, atlas: HeadAtlas, sides: tuple[float, float]) -> dict[Domain, Tensor]:
    """The three capture views of every map, [3, 3, H, W]; 0 behind the head."""
    model = atlas.model
    fine = model.subdivide(imported.registration.vertices[None])
    fragments = rasterize(capture_cameras(VIEW_SIZE, sides=sides).project(fine), model.faces, VIEW_SIZE, VIEW_SIZE)
    uv = interpolate(model.fine_uv, model.faces_uv, fragments).permute(0, 2, 3, 1)
    on_tile = ~model.faces_of(*OFF_TILE)
    shown = fragments.mask & on_tile[fragments.face.clamp(min=0)][:, None]
    return {domain: sample_texture(image[None], uv) * shown for domain, image in imported.maps.items()}


def import_folder(folder: Path, out: Path, atlas: HeadAtlas, sides=LEVEL_SIDES) -> Imported:
    """Read, register, resample and write one capture folder."""
    scan = read_scan(folder)
    imported = import_scan(scan, atlas)
    write_capture(scan, imported, atlas, out, sides)
    return imported


def main(argv: list[str]) -> int:
    """`capture import FOLDER ... --out CAPTURES`; folders that fail are named, the others are imported."""
    parser = argparse.ArgumentParser(prog="id2r_core capture import", description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="a capture folder (capture/FORMAT.md)")
    parser.add_argument("--out", type=Path, required=True, metavar="CAPTURES")
    parser.add_argument("--size", type=int, default=TILE, help="texels of the head tile (default: %(default)s)")
    parser.add_argument("--sides", choices=tuple(SIDES), default="level", help="where the side views stand")
    given = parser.parse_args(argv)
    atlas = make_atlas(load_head(), given.size)
    failed = 0
    for folder in given.folders:
        try:
            imported = import_folder(folder, given.out, atlas, SIDES[given.sides])
        except Id2rError as error:
            failed += 1
            print(f"{folder.name}: not imported. {error}", file=sys.stderr)
            continue
        print(f"{folder.name}: {imported.registration.error * 1e3:.2f} mm; " + "; ".join(imported.notes), flush=True)
    if failed:
        raise Id2rError(f"{failed} of {len(given.folders)} captures were not imported.", "Each is named above.")
    return 0
