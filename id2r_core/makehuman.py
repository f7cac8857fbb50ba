"""The maps of a result once more, in the texture layout of MakeHuman and MPFB, and the morphs under their names.

The same surface is unfolded twice: for every texel of the MakeHuman layout the fine mesh says where that point of the
skin lies on the head tile. Tangent-space normals turn with the layout, because its islands lie rotated.
"""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .conventions import decode_normal, encode_normal
from .detail import stored
from .errors import Id2rError
from .files import all_or_nothing, read_image, write_image
from .geometry.mesh import tangent_axes, tangent_frames, vertex_normals
from .geometry.rasterize import Fragments, interpolate
from .geometry.texture import atlas_fragments, ramp
from .head.model import HeadModel, load_head

FOLDER = "makehuman"
MAPS = {"diffuse": np.uint8, "specular": np.uint16, "roughness": np.uint16, "normal": np.uint16, "coverage": np.uint8}
MACROS = ("african", "asian", "caucasian", "age-", "gender-", "weight-")  # fitted, but set by MPFB's own sliders
NECK_FADE = 0.03  # metres over which the mask fades towards the lower rim of the neck
BLEED = 0.006  # of the layout's side: how far colour runs over the edges of the islands, for filtering


def write_makehuman_maps(folder: str | Path, size: int, progress: Callable[[str, int, int], None]) -> Path:
    """Write FOLDER/ into a result folder: the maps of `MAPS` and mask.png in the MakeHuman layout, and targets.json.

    mask.png is white where the layout shows the head, and fades out on the neck; the rest is for the body's own texture.
    targets.json has the fitted shape as MPFB reads it: "targets" is the list of its TargetService.bulk_load_targets.
    Raises Id2rError when the folder is no result.
    """
    folder = Path(folder)
    head, targets = read_head(folder), _targets(folder)
    model = load_head()
    of_skin = model.faces_of("skin")
    fragments = atlas_fragments(model.fine_uv_makehuman, model.faces_uv_makehuman[of_skin], size)
    mask = fragments.mask[0, 0]
    uv = interpolate(model.fine_uv, model.faces_uv[of_skin], fragments)[0]  # [2, T, T]
    with all_or_nothing(folder / FOLDER) as out:
        for done, (name, kind) in enumerate(MAPS.items()):
            progress("makehuman", done, len(MAPS) + 1)
            image = look_up(read_map(folder / f"{name}.png"), uv)
            if name == "normal":
                image = _turned(image, torch.from_numpy(head["vertices"]), model, of_skin, fragments)
            write_image(out / f"{name}.png", stored(bleed(image, mask), kind))
        height = interpolate(model.fine_neutral[:, 1:2], model.faces[of_skin], fragments)[0]
        rim = height[0][mask].min()
        write_image(out / "mask.png", stored(ramp(height, rim, rim + NECK_FADE) * mask, np.uint8))
        (out / "targets.json").write_text(json.dumps(targets, indent=2) + "\n", encoding="utf-8")
        progress("makehuman", len(MAPS) + 1, len(MAPS) + 1)
    return folder / FOLDER


def read_head(folder: Path) -> dict[str, np.ndarray]:
    path = folder / "head.npz"
    if not path.is_file():
        raise Id2rError(f"There is no head in {folder}.", "Choose a folder that a reconstruction has written.")
    with np.load(path, allow_pickle=False) as file:
        return {"vertices": file["vertices"].astype(np.float32)}


def look_up(image: Tensor, uv: Tensor) -> Tensor:
    """[C, H, W] of the head tile at uv [2, T, T] (v up): [C, T, T], bicubic."""
    grid = torch.stack([uv[0] * 2 - 1, 1 - uv[1] * 2], -1)[None]
    return functional.grid_sample(image[None], grid, "bicubic", "border", align_corners=False)[0].clamp(0, 1)


def _turned(image: Tensor, vertices: Tensor, model: HeadModel, of_skin: Tensor, fragments: Fragments) -> Tensor:
    """A tangent-space normal image [3, T, T] from the frame of the head tile to that of the MakeHuman layout.

    Both frames lie in the same tangent plane, so only (x, y) turn; a mirrored island also changes a sign.
    """
    fine = model.subdivide(vertices[None])
    own, theirs = (
        interpolate(tangent_frames(fine, model.faces, uv, faces_uv)[0], faces_uv[of_skin], fragments)[0]
        for uv, faces_uv in ((model.fine_uv, model.faces_uv), (model.fine_uv_makehuman, model.faces_uv_makehuman))
    )
    normal = interpolate(vertex_normals(fine, model.faces)[0], model.faces[of_skin], fragments)[0]
    return turn_normals(image, own, theirs, normal)


def turn_normals(image: Tensor, own: Tensor, theirs: Tensor, normal: Tensor) -> Tensor:
    """Tangent-space normals [3, T, T] from one layout's tangents to another's, [4, T, T] each, over `normal` [3, T, T]."""
    along = [tangent_axes(frame, functional.normalize(normal, dim=0), dim=0) for frame in (own, theirs)]
    local = decode_normal(image)
    vector = local[0] * along[0][0] + local[1] * along[0][1]  # [3, T, T], in the tangent plane
    turned = torch.stack([(vector * axis).sum(0) for axis in along[1]] + [local[2]])
    return encode_normal(functional.normalize(turned, dim=0))


def bleed(image: Tensor, mask: Tensor) -> Tensor:
    """Fill what lies outside the mask with the nearest colour inside, as far as BLEED; beyond it is zero."""
    outside = (~mask).numpy().astype(np.uint8)
    distance, labels = cv2.distanceTransformWithLabels(outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    rows, columns = np.nonzero(outside == 0)
    source = np.zeros((labels.max() + 1, 2), np.int64)
    source[labels[rows, columns]] = np.stack([rows, columns], -1)
    nearest = torch.from_numpy(source[labels])  # [T, T, 2]
    near = torch.from_numpy(distance <= BLEED * mask.shape[0])
    return image[:, nearest[..., 0], nearest[..., 1]] * near


def _targets(folder: Path) -> dict:
    """The fitted shape as MPFB names it: targets with values from 0 to 1, and what its macro sliders are to be."""
    path = folder / "report.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Id2rError(f"{path} is missing or damaged.", "Run the reconstruction again.") from error
    is_macro = {name: name.startswith(MACROS) for name in report["morphs"]}
    return {
        "photo": report["photo"],
        "targets": [{"target": name, "value": value} for name, value in report["morphs"].items() if not is_macro[name]],
        "phenotype": {name: value for name, value in report["morphs"].items() if is_macro[name]},
        "expression": report["expressions"],
    }


def read_map(path: Path) -> Tensor:
    """A PNG of 8 or 16 bit as [C, H, W] in [0, 1], RGB."""
    image = read_image(path)
    if image is None:
        raise Id2rError(f"The map {path} is missing.", "Run the reconstruction again.")
    image = image.astype(np.float32) / np.iinfo(image.dtype).max
    return torch.from_numpy(np.atleast_3d(image)[..., ::-1].copy()).permute(2, 0, 1)
