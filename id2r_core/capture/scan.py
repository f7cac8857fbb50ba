"""A real capture as it lies in a folder (FORMAT.md): read, checked, and refused as a whole when something is wrong."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..conventions import linear_to_srgb
from ..errors import Id2rError
from .sources import SPLITS, read_srgb, split_of

DESCRIPTION = "capture.json"
METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
MAPS = ("diffuse", "specular", "roughness", "normal")
SEXES = ("female", "male")
SHARE_OUTWARD = 0.5  # of a head's area, faces away from its middle
COLOUR_SPACES = ("sRGB", "linear")
# Of the median of a diffuse map: linear skin is never brighter than the first, and bright linear skin has at least so
# much more red than blue, for encoding draws both together; encoded skin is never darker than the last.
LINEAR_MOST, LINEAR_PALE, SRGB_LEAST = 0.6, (0.35, 1.55), 0.08
GREY_SPREAD = 0.03  # mean difference of channels beyond which a map is no grey one
FORMAT_HINT = "See id2r_core/capture/FORMAT.md for what a capture folder holds."


@dataclass(frozen=True)
class Scan:
    """One capture.

    vertices [N, 3] metres, y up, the face along +z; faces [F, 3]; uv [U, 2] (v up), faces_uv [F, 3]
    maps: name -> [H, W, 3] float32 in [0, 1], diffuse sRGB encoded, the others as stored; diffuse is always there
    normal_up: whether the normal map's green channel points up (OpenGL)
    group: captures of one group (one person) share a split; notes: what is missing or was changed
    """

    name: str
    group: str
    split: str
    licence: str
    sex: str
    age: float
    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    faces_uv: np.ndarray
    maps: dict[str, np.ndarray]
    normal_up: bool
    notes: tuple[str, ...]


def read_scan(folder: Path) -> Scan:
    """Read and check a capture folder. Raises Id2rError that names the first thing that is wrong."""
    folder = Path(folder)
    told = _read_description(folder)
    name, group = told.get("name") or folder.name, told.get("group") or told.get("name") or folder.name
    vertices, uv, faces, faces_uv = read_obj(folder / told.get("mesh", "head.obj"))
    vertices = vertices * METRES[told["unit"]]
    _check_mesh(name, vertices, faces)
    maps, notes = _read_maps(folder, name, told)
    return Scan(
        name=name,
        group=group,
        split=told.get("split") or split_of(group),
        licence=told["licence"],
        sex=told["sex"],
        age=float(told["age"]),
        vertices=vertices,
        faces=faces,
        uv=uv,
        faces_uv=faces_uv,
        maps=maps,
        normal_up=told["maps"].get("normal", {}).get("green", "up") == "up",
        notes=tuple(notes),
    )


def _read_description(folder: Path) -> dict:
    path = folder / DESCRIPTION
    if not path.is_file():
        raise Id2rError(f"'{folder}' holds no {DESCRIPTION}.", FORMAT_HINT)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Id2rError(f"'{path}' is not JSON ({error}).", FORMAT_HINT) from error
    allowed = {"unit": tuple(METRES), "sex": SEXES, "split": (*SPLITS, "", None)}
    for field in ("licence", "unit", "sex", "age", "maps"):
        if told.get(field) in (None, "", {}):
            raise Id2rError(f"'{path}' leaves '{field}' empty.", FORMAT_HINT)
    for field, values in allowed.items():
        if told.get(field) not in values:
            raise Id2rError(f"'{path}' says {field} '{told.get(field)}'.", f"It must be one of {values}.")
    if not isinstance(told["age"], (int, float)) or not 0 <= told["age"] <= 120:
        raise Id2rError(f"'{path}' says age '{told['age']}'.", "Give years, 0 to 120.")
    unknown = set(told["maps"]) - set(MAPS)
    if unknown:
        raise Id2rError(f"'{path}' names maps that are not known: {', '.join(sorted(unknown))}.", FORMAT_HINT)
    return told


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """vertices [N, 3], uv [U, 2], faces [F, 3] and faces_uv [F, 3] of a Wavefront OBJ; polygons become fans."""
    if not path.is_file():
        raise Id2rError(f"The mesh '{path}' is missing.", FORMAT_HINT)
    vertices, uv, corners = [], [], []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        kind, *values = line.split() or ("",)
        try:
            if kind == "v":
                vertices.append([float(value) for value in values[:3]])
            elif kind == "vt":
                uv.append([float(value) for value in values[:2]])
            elif kind == "f":
                polygon = [_corner(value, len(vertices), len(uv)) for value in values]
                corners += [(polygon[0], polygon[i], polygon[i + 1]) for i in range(1, len(polygon) - 1)]
        except ValueError as error:
            raise Id2rError(f"Line {number} of '{path.name}' cannot be read: {line[:60]!r}.", FORMAT_HINT) from error
    if not vertices or not corners:
        raise Id2rError(f"The mesh '{path.name}' has no faces.", FORMAT_HINT)
    table = np.array(corners)  # [F, 3 corners, vertex | uv]
    if not uv or (table[..., 1] < 0).any():
        raise Id2rError(
            f"The mesh '{path.name}' has faces without texture coordinates.", "Unwrap it and export its UVs."
        )
    if table[..., 0].max() >= len(vertices) or table[..., 0].min() < 0 or table[..., 1].max() >= len(uv):
        raise Id2rError(f"Faces of '{path.name}' name vertices that do not exist.", "Export the mesh again.")
    return np.array(vertices, np.float32), np.array(uv, np.float32), table[..., 0], table[..., 1]


def _corner(text: str, vertex_count: int, uv_count: int) -> tuple[int, int]:
    """Indices from 0 of 'v/vt/vn'; the uv is -1 where there is none; negative ones count from the end."""
    vertex, _, rest = text.partition("/")
    coordinate = rest.partition("/")[0]
    place = lambda number, count: number - 1 if number > 0 else count + number
    return place(int(vertex), vertex_count), place(int(coordinate), uv_count) if coordinate else -1


def _check_mesh(name: str, vertices: np.ndarray, faces: np.ndarray) -> None:
    broken = ~np.isfinite(vertices).all(1)
    if broken.any():
        raise Id2rError(
            f"The mesh of '{name}' has {int(broken.sum())} vertices that are not numbers.", "Export the mesh again."
        )
    corners = vertices[faces].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = (normal * (corners.mean(1) - vertices.mean(0))).sum(1) > 0
    area = np.linalg.norm(normal, axis=1)
    if area[outward].sum() < SHARE_OUTWARD * area.sum():
        raise Id2rError(f"The faces of '{name}' look inwards: its normals are flipped.", "Flip the normals and export.")
    height = np.ptp(vertices[:, 1])
    if not 0.12 < height < 1.0:
        raise Id2rError(
            f"The mesh of '{name}' is {height:.3g} m high, which is no head.", "Check 'unit', and cut the body off."
        )


def _read_maps(folder: Path, name: str, told: dict) -> tuple[dict[str, np.ndarray], list[str]]:
    maps, notes = {}, []
    for kind in MAPS:
        entry = told["maps"].get(kind)
        if entry is None:
            notes.append(f"there is no {kind} map")
            continue
        path = folder / entry.get("file", "")
        if not path.is_file():
            raise Id2rError(f"The {kind} map '{path.name}' of '{name}' is missing.", FORMAT_HINT)
        maps[kind] = read_srgb(path) if kind == "diffuse" else _read_plain(path)
    if "diffuse" not in maps:
        raise Id2rError(f"'{name}' has no diffuse map.", "A capture without one cannot be used.")
    space = told["maps"]["diffuse"].get("colour_space")
    if space not in COLOUR_SPACES:
        raise Id2rError(f"The diffuse map of '{name}' has no colour space.", "Say colour_space 'sRGB' or 'linear'.")
    _check_maps(name, maps, space)
    if space == "linear":
        maps["diffuse"] = linear_to_srgb(maps["diffuse"])
    return maps, notes


def _check_maps(name: str, maps: dict[str, np.ndarray], space: str) -> None:
    """Statistics that tell a wrong colour space or a wrong kind of map."""
    middle = maps["diffuse"][maps["diffuse"].shape[0] // 4 : -maps["diffuse"].shape[0] // 4].reshape(-1, 3)
    lit = middle[middle.max(1) > 0.02]
    median = float(np.median(lit.mean(1))) if len(lit) else 0.0
    redness = float(np.median(lit[:, 0] / np.maximum(lit[:, 2], 0.02))) if len(lit) else 1.0
    too_bright = median > LINEAR_MOST or median > LINEAR_PALE[0] and redness < LINEAR_PALE[1]
    if space == "linear" and too_bright or space == "sRGB" and median < SRGB_LEAST:
        raise Id2rError(
            f"The diffuse map of '{name}' does not look {space}: its median is {median:.2f}.",
            "Check 'colour_space' in capture.json.",
        )
    for kind in ("specular", "roughness"):
        if kind in maps and np.abs(maps[kind] - maps[kind].mean(2, keepdims=True)).mean() > GREY_SPREAD:
            raise Id2rError(f"The {kind} map of '{name}' is coloured.", "It must be grey, linear ('Non-Color').")
    if "normal" in maps:
        blue, length = maps["normal"][..., 2].mean(), np.linalg.norm(maps["normal"] * 2 - 1, axis=2).mean()
        if blue < 0.6 or not 0.8 < length < 1.2:
            raise Id2rError(
                f"The normal map of '{name}' is no tangent-space map (mean blue {blue:.2f}, mean length {length:.2f}).",
                "Export it in tangent space and 'Non-Color'.",
            )


def _read_plain(path: Path) -> np.ndarray:
    """An 8 or 16 bit image as stored, [H, W, 3] in [0, 1]."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise Id2rError(f"'{path.name}' cannot be read as an 8 or 16 bit image.", FORMAT_HINT)
    scaled = image.astype(np.float32) / np.iinfo(image.dtype).max
    return np.repeat(scaled[..., None], 3, 2) if image.ndim == 2 else np.ascontiguousarray(scaled[..., 2::-1])
