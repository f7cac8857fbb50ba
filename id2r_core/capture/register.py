"""A scan of any topology to the head: landmarks from renders of the scan, then a smooth non-rigid fit of the head to it.

The fit is that of Amberg, Romdhani & Vetter, "Optimal Step Nonrigid ICP Algorithms for Surface Registration" (2007)
with displacements in the place of affine maps: stiff at first, softer from step to step, each step a sparse linear
system of landmarks, closest points and a Laplacian that keeps the head's own detail.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import factorized
from scipy.spatial import cKDTree
from torch import Tensor

from ..errors import Id2rError, NoFace
from ..facemesh import BROWS, EYE_OUTLINES, INNER_MOUTH, SURFACE_COUNT
from ..geometry.camera import Camera, look_at_head
from ..geometry.mesh import similarity, triangulate, vertex_normals
from ..geometry.rasterize import interpolate, rasterize
from ..geometry.texture import sample_texture
from ..head.model import PARTS, HeadModel
from ..landmarks import detect_face
from ..photo import Photo
from .scan import Scan

RENDER_SIZE = 640
YAWS_DEGREES = (0.0, -25.0, 25.0)
GRAZING = 0.4  # cosine under which a landmark is not lifted from a view
SAMPLES = 150_000  # points on the scan's surface
# How much all landmarks of features weigh against the surface, and how much less the others: on smooth cheeks and along
# the outline a detector's landmarks slide by millimetres, and would fold the surface.
LANDMARK_WEIGHT, OTHER_LANDMARKS = 0.4, 0.02
OUTER_MOUTH = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
NOSE = (1, 2, 4, 5, 6, 19, 94, 97, 98, 115, 129, 131, 168, 195, 197, 220, 326, 327, 344, 358, 360, 440)
FEATURES = (*sum(BROWS, ()), *sum(EYE_OUTLINES, ()), *INNER_MOUTH, *OUTER_MOUTH, *NOSE)
# Stiffness of the surface, and how far and how turned a closest point may be (metres, cosine), step by step.
STEPS = (
    (30.0, 0.030, 0.3), (10.0, 0.025, 0.4), (4.0, 0.020, 0.5), (2.0, 0.015, 0.6), (1.0, 0.012, 0.6), (0.6, 0.010, 0.6),
)  # fmt: skip
FOLLOWS_A_STEP = 2  # closest points are looked up this often at each stiffness
FACING = 0.006
EAR_WEIGHT = 0.15  # ears fold: their closest points mislead
SCALE_RANGE = (0.8, 1.25)  # of a scan against the mean head


@dataclass(frozen=True)
class Registration:
    """The head laid onto a scan.

    vertices: [N, 3] of the head's coarse mesh, metres, in the head frame (origin between the eyeballs)
    turn [3, 3], shift [3]: head frame = scan @ turn.T + shift
    error: median distance in metres of the face's vertices to the scan; landmark_error: median of the landmarks
    """

    vertices: Tensor
    turn: np.ndarray
    shift: np.ndarray
    error: float
    landmark_error: float


@dataclass(frozen=True)
class Surface:
    """Points spread evenly over a mesh: points, normals [P, 3], and the triangle [P] of each."""

    points: np.ndarray
    normals: np.ndarray
    triangle: np.ndarray
    tree: cKDTree

    def nearest(self, points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance [Q] in metres and number [Q] of the point nearest to each of `points` [Q, 3] that faces alike.

        Scans have an inside, such as the cavity of the mouth: one turn of 180 degrees counts as 2 FACING metres.
        """
        chosen = self.tree.query(np.concatenate([points, FACING * normals], axis=1))[1]
        return np.linalg.norm(self.points[chosen] - points, axis=1), chosen


def register(scan: Scan, head: HeadModel) -> Registration:
    """Fit the head to a scan. Raises NoFace when none is found on it, Id2rError when its size cannot be a head's."""
    places = find_landmarks(scan)
    known = np.isfinite(places).all(1)
    model_points = head.neutral_landmarks[:SURFACE_COUNT].numpy(force=True)
    scale, turn, shift = similarity(model_points[known], places[known])
    if not SCALE_RANGE[0] < 1 / scale < SCALE_RANGE[1]:
        raise Id2rError(
            f"The face of '{scan.name}' is {1 / scale:.2f} times as large as a head's.", "Check 'unit' in capture.json."
        )
    shift = (model_points[known] - places[known] @ turn.T).mean(0)  # turned and moved, never scaled
    surface = spread_points(scan.vertices @ turn.T + shift, scan.faces)
    target = places @ turn.T + shift
    vertices = non_rigid(head, surface, target, known)
    # The head frame's origin is the middle between the eyeballs, which follow the lids.
    return _measured(head, vertices, surface, target, known, turn, shift)


def find_landmarks(scan: Scan) -> np.ndarray:
    """[468, 3] places on the scan, NaN where no render shows one; median over renders from three sides.

    Raises NoFace when none shows any.
    """
    vertices, faces = torch.from_numpy(scan.vertices), torch.from_numpy(scan.faces)
    normals = vertex_normals(vertices[None], faces)
    texture = torch.from_numpy(scan.maps["diffuse"]).permute(2, 0, 1)[None]
    low, high = vertices.amin(0), vertices.amax(0)
    middle, reach = (low + high) / 2, float((high - low)[:2].max())
    found = [
        _landmarks_from(scan, vertices, normals, texture, middle, reach, float(np.radians(yaw))) for yaw in YAWS_DEGREES
    ]
    found = [places for places in found if places is not None]
    if not found:
        raise NoFace(
            f"No face was found on renders of '{scan.name}'.",
            "The face must look along +z, y up, with its diffuse map.",
        )
    with np.errstate(all="ignore"):
        stacked = np.stack(found)
        seen = np.isfinite(stacked).all(2).any(0)
        places = np.full((SURFACE_COUNT, 3), np.nan, np.float32)
        places[seen] = np.nanmedian(stacked[:, seen], axis=0)
    return places


def _landmarks_from(scan, vertices, normals, texture, middle, reach, yaw) -> np.ndarray | None:
    """[468, 3] from one render, NaN where it grazes or misses; None when no face is found."""
    distance = 5 * reach
    view = look_at_head(torch.tensor([yaw]), distance, middle)
    camera = Camera(
        view,
        torch.tensor([RENDER_SIZE * 0.85 * distance / reach]),
        torch.full((1, 2), RENDER_SIZE / 2),
        RENDER_SIZE,
        RENDER_SIZE,
    )
    faces = torch.from_numpy(scan.faces)
    fragments = rasterize(camera.project(vertices), faces, RENDER_SIZE, RENDER_SIZE)
    uv = interpolate(torch.from_numpy(scan.uv), torch.from_numpy(scan.faces_uv), fragments).permute(0, 2, 3, 1)
    normal = interpolate(normals[0], faces, fragments)[0]
    towards = torch.tensor([np.sin(yaw), 0.0, np.cos(yaw)], dtype=torch.float32)
    facing = torch.einsum("chw,c->hw", normal, towards)
    colour = sample_texture(texture, uv)[0]
    image = torch.where(fragments.mask[0], colour * (0.75 + 0.25 * facing.clamp(min=0)), torch.tensor(0.4))
    try:
        points = detect_face(Photo(image.permute(1, 2, 0).numpy().copy(), f"a render of {scan.name}")).points
    except NoFace:
        return None  # another side may show it; `find_landmarks` speaks when none does
    x, y = (points[:SURFACE_COUNT, k].astype(int).clip(0, RENDER_SIZE - 1) for k in range(2))
    face = fragments.face[0, y, x]
    places = (vertices[faces[face.clamp(min=0)]] * fragments.bary[0, y, x][..., None]).sum(1).numpy()
    places[(face < 0).numpy() | (facing[y, x] < GRAZING).numpy()] = np.nan
    return places


def spread_points(vertices: np.ndarray, faces: np.ndarray, count: int = SAMPLES) -> Surface:
    """`count` points, evenly by area, the same ones each time."""
    random = np.random.default_rng(0)
    corners = vertices[faces].astype(np.float64)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1)
    triangle = random.choice(len(faces), count, p=area / area.sum())
    root, second = np.sqrt(random.random(count)), random.random(count)
    bary = np.stack([1 - root, root * (1 - second), root * second], 1)
    points = (corners[triangle] * bary[..., None]).sum(1)
    smooth = vertex_normals(torch.from_numpy(vertices.astype(np.float32))[None], torch.from_numpy(faces))[0].numpy()
    normals = (smooth[faces[triangle]] * bary[..., None]).sum(1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return Surface(points, normals, triangle, cKDTree(np.concatenate([points, FACING * normals], axis=1)))


def non_rigid(head: HeadModel, surface: Surface, target: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The head's coarse vertices [N, 3] on the surface; target [468, 3]: where its landmarks belong, believed where `known`."""
    rest = head.neutral.numpy(force=True).astype(np.float64)
    quads = head.quads.numpy(force=True)
    is_skin = np.zeros(len(rest), bool)
    is_skin[quads[head.part.numpy(force=True) == PARTS.index("skin")]] = True
    faces = triangulate(head.quads)
    laplacian = _laplacian(quads, len(rest))
    stiff = laplacian.T @ laplacian
    places = _landmark_matrix(head)[known]
    trust = np.full(SURFACE_COUNT, OTHER_LANDMARKS)
    trust[list(FEATURES)] = 1.0
    trust = sparse.diags(trust[known] * LANDMARK_WEIGHT * is_skin.sum() / len(FEATURES))
    mark, pull = places.T @ trust @ places, places.T @ trust @ (target[known] - places @ rest)
    weight_of = np.where(is_skin, 1.0, 0.0)
    weight_of *= 1 - (1 - EAR_WEIGHT) * head.regions["ear"].numpy(force=True)[: len(rest)]
    moved = np.zeros_like(rest)
    hold = 1e-4 * sparse.identity(len(rest))  # parts that nothing pulls
    for stiffness, reach, turned in STEPS:
        for _ in range(FOLLOWS_A_STEP):
            at = rest + moved
            normals = vertex_normals(torch.from_numpy(at.astype(np.float32))[None], faces)[0].numpy()
            distance, nearest = surface.nearest(at, normals)
            fits = (distance < reach) & ((normals * surface.normals[nearest]).sum(1) > turned)
            weight = weight_of * fits
            system = stiffness * stiff + sparse.diags(weight) + mark + hold
            right = weight[:, None] * (surface.points[nearest] - rest) + pull
            solve = factorized(system.tocsc())
            moved = np.stack([solve(right[:, k]) for k in range(3)], axis=1)
    carry_eyes(head, moved, rest)
    return rest + moved


def carry_eyes(head: HeadModel, moved: np.ndarray, rest: np.ndarray) -> None:
    """Each eyeball moves as one piece, with the skin around it: moved, rest [N, 3]; in place."""
    is_skin = np.unique(head.quads[head.part == PARTS.index("skin")].numpy(force=True))
    for eye in head.eye_vertices.numpy(force=True):
        middle = rest[eye].mean(0)
        near = is_skin[np.linalg.norm(rest[is_skin] - middle, axis=1) < 0.02]
        moved[eye] = moved[near].mean(0)


def _laplacian(quads: np.ndarray, count: int) -> sparse.csr_matrix:
    """Uniform Laplacian [N, N] of the quad mesh: a vertex minus the mean of its neighbours."""
    edges = np.concatenate([quads[:, [0, 1]], quads[:, [1, 2]], quads[:, [2, 3]], quads[:, [3, 0]]])
    edges = edges[edges[:, 0] != edges[:, 1]]
    adjacency = sparse.coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count)).tocsr()
    adjacency = ((adjacency + adjacency.T) > 0).astype(float)
    degree = np.maximum(np.asarray(adjacency.sum(1)).ravel(), 1)
    return sparse.identity(count) - sparse.diags(1 / degree) @ adjacency


def _landmark_matrix(head: HeadModel) -> sparse.csr_matrix:
    """[468, N] coarse vertices to landmarks."""
    subdivision = head.subdivision.coalesce()
    index, value = subdivision.indices().numpy(force=True), subdivision.values().numpy(force=True)
    fine = sparse.coo_matrix((value, index), shape=subdivision.shape).tocsr()
    corners = head.faces[head.landmark_faces[:SURFACE_COUNT]].numpy(force=True)
    rows = np.repeat(np.arange(SURFACE_COUNT), 3)
    weights = head.landmark_bary[:SURFACE_COUNT].numpy(force=True).ravel()
    return sparse.coo_matrix((weights, (rows, corners.ravel())), shape=(SURFACE_COUNT, fine.shape[0])).tocsr() @ fine


def _measured(head, vertices, surface, target, known, turn, shift) -> Registration:
    """Move everything so that the origin lies between the eyeballs, and measure."""
    moved = torch.from_numpy(vertices.astype(np.float32))
    is_face = (head.regions["face"][: len(moved)] > 0.5).numpy(force=True)
    normals = vertex_normals(moved[None], triangulate(head.quads))[0].numpy()
    error = float(np.median(surface.nearest(vertices[is_face], normals[is_face])[0]))
    marks = _landmark_matrix(head) @ vertices
    landmark_error = float(np.median(np.linalg.norm((marks - target)[known], axis=1)))
    middle = head.eyes(moved)[0].mean(0)
    return Registration(moved - middle, turn, shift - middle.numpy(), error, landmark_error)
