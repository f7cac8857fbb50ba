"""The maps of a result on any mesh with a uv layout, by way of its surface.

The head is laid onto the mesh as onto a scan (`capture.register`: landmarks from renders, then a smooth non-rigid fit).
Every texel of the mesh's own layout then looks for the nearest point of that wrapped head and takes its maps.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional

from .capture.register import FACING, Registration, find_landmarks, register
from .capture.scan import Scan
from .conventions import yup_to_zup, zup_to_yup
from .detail import stored
from .errors import Id2rError, NoFace
from .facemesh import SURFACE_COUNT
from .files import all_or_nothing, write_image
from .geometry.mesh import closest_on_triangles, face_normals, similarity, tangent_frames, vertex_normals
from .geometry.rasterize import Fragments, interpolate
from .geometry.texture import atlas_fragments, ramp
from .head.model import PARTS, HeadModel, load_head
from .makehuman import MAPS, NECK_FADE, bleed, look_up, read_map, turn_normals
from .protocol import FIT, FIT_REPORT, TransferRequest

STEPS = 4  # of progress, before the maps
CLAY_SRGB = (0.85, 0.65, 0.55)  # what the mesh is rendered with for the landmark detector
SIDES = (0, 2, 1, 3)  # quarter turns about the vertical in which a face is looked for: Blender's front first
TOP_OF_A_BODY = 0.2  # of its height: where the head of a standing human is
REACH = 1.5  # of the distance from forehead to chin: what belongs to the head around its middle
CHIN, FOREHEAD = 152, 10  # landmarks
LIKE_A_FACE, SURELY_A_FACE = 0.012, 0.005  # metres by which landmarks may differ from the mean face's
CANDIDATES = 5  # triangles of the wrapped head that are tried for a texel
TRUSTED, TOO_FAR = 0.006, 0.015  # metres between mesh and wrapped head: where the skin begins to fade and where it ends
POINTS_AT_ONCE = 200_000


@dataclass(frozen=True)
class Mesh:
    """A mesh with a uv layout.

    vertices [N, 3] metres, y up, the face along +z; faces, faces_uv [F, 3]; uv [U, 2] (v up)
    tile [2]: the UDIM tile that `uv` was moved out of
    scale, turn [3, 3], middle [3]: how it came from its own world: vertices = scale * (world_yup - middle) @ turn.T
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    faces_uv: np.ndarray
    tile: tuple[int, int] = (0, 0)
    scale: float = 1.0
    turn: np.ndarray = field(default_factory=lambda: np.eye(3, dtype=np.float32))
    middle: np.ndarray = field(default_factory=lambda: np.zeros(3, np.float32))


def write_transferred_maps(request: TransferRequest, progress: Callable[[str, int, int], None]) -> dict:
    """Lay the head onto the mesh and write FIT into `request.out`, and unless `only_fit` the maps and mask.png too.

    Returns {"error_mm", "landmark_error_mm", "scale", "tile"}: how far the wrapped head's face lies from the mesh and
    its landmarks from those of the mesh, both medians; about how many units of the mesh make a metre; the UDIM tile of
    its face, which alone gets maps.
    Raises NoFace when the mesh shows none, Id2rError when it has no uv layout, or the result folder is none.
    """
    head = load_head()
    steps = STEPS + (0 if request.only_fit else len(MAPS))
    progress("mesh", 0, steps)
    mesh = find_head(read_mesh(Path(request.mesh)), head)
    progress("wrap", 1, steps)
    fitted = register(as_scan(mesh), head)
    with all_or_nothing(Path(request.out)) as out:
        np.savez(out / FIT, **wrapped_head(mesh, fitted, head))
        if not request.only_fit:
            progress("transfer", 2, steps)
            _write_maps(out, Path(request.folder), mesh, fitted, head, request.size, progress)
        report = {
            "error_mm": round(1000 * fitted.error, 2),
            "landmark_error_mm": round(1000 * fitted.landmark_error, 2),
            "scale": round(1 / mesh.scale, 4),
            "tile": list(mesh.tile),
        }
        (out / FIT_REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        progress("transfer", steps, steps)
    return report


def read_mesh(path: Path) -> Mesh:
    """A mesh as the add-on stores it: vertices in Blender's world, faces, uv, faces_uv of all corners."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in ("vertices", "faces", "uv", "faces_uv")}
    if not len(arrays["faces"]) or not np.isfinite(arrays["vertices"]).all():
        raise Id2rError("The mesh has no faces.", "Choose a mesh with a face and a uv layout.")
    return Mesh(
        zup_to_yup(arrays["vertices"].astype(np.float32)),
        arrays["faces"].astype(np.int64),
        arrays["uv"].astype(np.float32),
        arrays["faces_uv"].astype(np.int64),
    )


def find_head(mesh: Mesh, head: HeadModel) -> Mesh:
    """The head of a mesh, upright and in metres: its face is looked for from four sides, on all of it and at its top.

    Raises NoFace when there is none.
    """
    model_points = head.neutral_landmarks[:SURFACE_COUNT].numpy(force=True)
    for part in filter(lambda each: len(each.faces), (mesh, _top(mesh))):
        best = (LIKE_A_FACE, 1.0, None, None)
        for turn in map(_about_y, SIDES):
            turned = replace(part, vertices=part.vertices @ turn.T)
            try:
                places = find_landmarks(as_scan(turned))
            except NoFace:
                continue  # another side or part may show it; below it is said when none does
            scale, error = _size_of(places, model_points)
            if error < best[0]:  # a detector also sees faces in profiles
                best = error, scale, turn, places
            if error < SURELY_A_FACE:
                break
        error, scale, turn, places = best
        if places is not None:
            whole = replace(mesh, vertices=mesh.vertices @ turn.T, turn=turn)
            height = float(np.linalg.norm(model_points[FOREHEAD] - model_points[CHIN]))
            return _cut_out(whole, places, scale, height)
    raise NoFace(
        "No face was found on the mesh.",
        "It must stand upright with eyes, nose and mouth; hide hair and glasses that belong to other meshes.",
    )


def _size_of(places: np.ndarray, model_points: np.ndarray) -> tuple[float, float]:
    """Metres a unit of the mesh, and how far (median, metres) its landmarks lie from the mean face's at that size."""
    known = np.isfinite(places).all(1)
    if known.sum() < SURFACE_COUNT / 2:
        return 1.0, np.inf
    scale, turn, shift = similarity(model_points[known], places[known])
    apart = scale * places[known] @ turn.T + shift - model_points[known]
    return scale, float(np.median(np.linalg.norm(apart, axis=1)))


def _cut_out(mesh: Mesh, places: np.ndarray, scale: float, face_height: float) -> Mesh:
    """The triangles around the landmarks, scaled to metres, in the uv tile of most of them."""
    tall = face_height / scale
    middle = np.nanmedian(places, axis=0) - (0.0, 0.0, 0.4 * tall)
    near = np.linalg.norm(mesh.vertices - middle, axis=1) < REACH * tall
    kept = near[mesh.faces].all(1)
    tile = np.floor(mesh.uv[mesh.faces_uv].mean(1)).astype(int)  # [F, 2]
    tiles, count = np.unique(tile[kept], axis=0, return_counts=True)
    home = tiles[count.argmax()]
    kept &= (tile == home).all(1)
    faces, used = _renumbered(mesh.faces[kept])
    vertices = scale * (mesh.vertices[used] - middle)
    uv = mesh.uv - home.astype(np.float32)
    return Mesh(
        vertices.astype(np.float32),
        faces,
        uv,
        mesh.faces_uv[kept],
        tuple(home.tolist()),
        scale,
        mesh.turn,
        middle @ mesh.turn,
    )


def _top(mesh: Mesh) -> Mesh:
    height = mesh.vertices[:, 1]
    floor = height.max() - TOP_OF_A_BODY * np.ptp(height)
    kept = (height[mesh.faces] > floor).all(1)
    faces, used = _renumbered(mesh.faces[kept])
    return replace(mesh, vertices=mesh.vertices[used], faces=faces, faces_uv=mesh.faces_uv[kept])


def _renumbered(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles over the vertices that they use, and those vertices' old numbers."""
    used, inverse = np.unique(faces, return_inverse=True)
    return inverse.reshape(faces.shape), used


def _about_y(quarters: int) -> np.ndarray:
    """[3, 3] quarter turns about the vertical."""
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarters]
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], np.float32)


def as_scan(mesh: Mesh) -> Scan:
    """The mesh in plain clay, for the code that lays the head onto captures."""
    clay = np.full((4, 4, 3), CLAY_SRGB, np.float32)
    return Scan(
        name="the mesh", group="", split="", licence="", sex="", age=0.0, vertices=mesh.vertices, faces=mesh.faces,
        uv=mesh.uv, faces_uv=mesh.faces_uv, maps={"diffuse": clay}, normal_up=True, notes=(),
    )  # fmt: skip


def wrapped_head(mesh: Mesh, fitted: Registration, head: HeadModel) -> dict[str, np.ndarray]:
    """The arrays of FIT: the wrapped head's skin where the mesh stands in Blender's world."""
    on_mesh = (fitted.vertices.numpy() - fitted.shift) @ fitted.turn  # in the frame of `mesh`
    world = on_mesh / mesh.scale @ mesh.turn + mesh.middle
    quads = head.quads[head.part == PARTS.index("skin")].numpy(force=True)
    return {"vertices": yup_to_zup(world.astype(np.float32)), "quads": quads.astype(np.int32)}


def _write_maps(out: Path, folder: Path, mesh: Mesh, fitted: Registration, head: HeadModel, size: int, progress):
    """The maps of `folder` in the layout of the mesh, and the mask in which they are to be seen."""
    own = torch.from_numpy((mesh.vertices @ fitted.turn.T + fitted.shift).astype(np.float32))  # in the head frame
    faces, uv, faces_uv = (torch.from_numpy(each) for each in (mesh.faces, mesh.uv, mesh.faces_uv))
    texels = atlas_fragments(uv, faces_uv, size)
    position = interpolate(own, faces, texels)[0]  # [3, T, T]
    normal = interpolate(vertex_normals(own[None], faces)[0], faces, texels)[0]
    inside = texels.mask[0, 0]
    wrapped = head.subdivide(fitted.vertices[None].float())[0]
    on_head, distance = nearest_on(wrapped, head.faces, position[:, inside].T, normal[:, inside].T, inside)
    is_skin = (head.face_part == PARTS.index("skin"))[on_head.face[0].clamp(min=0)] & inside
    place = interpolate(head.fine_uv, head.faces_uv, on_head)[0]
    tangents = (
        interpolate(tangent_frames(wrapped[None], head.faces, head.fine_uv, head.faces_uv)[0], head.faces_uv, on_head)[
            0
        ],
        interpolate(tangent_frames(own[None], faces, uv, faces_uv)[0], faces_uv, texels)[0],
    )
    for done, (name, kind) in enumerate(MAPS.items()):
        progress("transfer", STEPS + done, STEPS + len(MAPS))
        image = look_up(read_map(folder / f"{name}.png"), place)
        if name == "normal":
            image = turn_normals(image, *tangents, normal)
        write_image(out / f"{name}.png", stored(bleed(image, is_skin), kind))
    height = interpolate(head.fine_neutral[:, 1:2], head.faces, on_head)[0, 0]
    rim = head.neutral[:, 1].min()
    near = ramp(distance, TOO_FAR, TRUSTED)
    mask = ramp(height, rim, rim + NECK_FADE) * near * is_skin
    write_image(out / "mask.png", stored(mask[None], np.uint8))


def nearest_on(
    vertices: Tensor, faces: Tensor, points: Tensor, normals: Tensor, inside: Tensor
) -> tuple[Fragments, Tensor]:
    """The nearest point of a mesh that faces alike, for the texels `inside` [T, T]: points, normals [P, 3] in their order.

    Returns where on the mesh (a batch of one) and the distance [T, T], infinite outside.
    """
    corners = vertices[faces]
    facing = functional.normalize(face_normals(vertices[None], faces)[0], dim=-1)
    tree = cKDTree(torch.cat([corners.mean(1), FACING * facing], 1).numpy())
    number, bary, apart = [], [], []
    for start in range(0, len(points), POINTS_AT_ONCE):
        point, normal = points[start : start + POINTS_AT_ONCE], normals[start : start + POINTS_AT_ONCE]
        near = torch.from_numpy(tree.query(torch.cat([point, FACING * normal], 1).numpy(), CANDIDATES)[1])  # [P, K]
        weights = closest_on_triangles(point[:, None], corners[near])  # [P, K, 3]
        gap = ((corners[near] * weights[..., None]).sum(2) - point[:, None]).norm(dim=-1)
        turned = 2 * FACING * (1 - (facing[near] * normal[:, None]).sum(-1)) / 2
        best = (gap + turned).argmin(1)
        row = torch.arange(len(point))
        number.append(near[row, best])
        bary.append(weights[row, best])
        apart.append(gap[row, best])
    face = torch.full(inside.shape, -1)
    face[inside] = torch.cat(number)
    weight = torch.zeros(*inside.shape, 3)
    weight[inside] = torch.cat(bary)
    distance = torch.full(inside.shape, torch.inf)
    distance[inside] = torch.cat(apart)
    return Fragments(face[None], weight[None], distance[None]), distance
