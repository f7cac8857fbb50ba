"""Cropped hair as strands: longer on top than at the sides, away from the crown, where the hair map says that hair grows.

Plain numbers, no Blender: `mesh_io` makes a curves object of them.
"""

from dataclasses import dataclass

import numpy as np

from .lashes import unit

STRANDS = 600_000  # a square metre: a third of what grows, each thicker for it
POINTS = 6  # of a strand
LENGTH = 0.007, 0.021  # metres, at the sides and on top
TOP = 0.35, 0.8  # share of the head's height above the eyes where the sides end and the top begins
ROOT_RADIUS, TIP = 0.00006, 0.3  # metres; the radius at the tip as a share of it
DEPTH = 0.0008  # metres below the mesh, whose quads cut the corners of the smooth surface
LIFT, DROP = 0.55, 0.4  # how far strands stand up from the scalp, and bend back to it, in their lengths
LEAN = 0.35, 0.5  # how far they lie along it at the root and towards the tip, in their lengths
LOCKS, STRAY = 0.35, 0.22  # how far neighbours lean alike, and each strand alone
LOCK_SIZE = 220.0  # waves in 2 pi metres
UNEVEN = 0.6, 1.15  # shortest and longest of the length that it should have
AT_HAIRLINE = 0.35  # of the length, where hair only begins
CROWN = 0.55, 0.93  # where strands part: shares of the head's depth behind the eyes, and of its height above them
SEED = 1


@dataclass(frozen=True)
class Groom:
    """points [H, POINTS, 3] metres, radius [POINTS] metres, uv [H, 2] of the roots."""

    points: np.ndarray
    radius: np.ndarray
    uv: np.ndarray


def grow_groom(
    vertices: np.ndarray, quads: np.ndarray, uv: np.ndarray, quads_uv: np.ndarray, density: np.ndarray
) -> Groom | None:
    """The strands of a head; None when its hair map is black.

    vertices [N, 3] at rest, z up, the face looks along -y, the eyes near height 0; quads, quads_uv [Q, 4] of its skin;
    uv [U, 2]; density [S, S] in [0, 1], first row at the top.
    """
    random = np.random.default_rng(SEED)
    corners, corners_uv = _triangles(quads), _triangles(quads_uv)
    spanned = np.cross(*(vertices[corners[:, i]] - vertices[corners[:, 0]] for i in (1, 2)))
    normals = _vertex_normals(spanned, corners, len(vertices))
    hairy = np.maximum.reduce([_look_up(density, uv[corners_uv[:, i]]) for i in range(3)])
    expected = np.linalg.norm(spanned, axis=1) / 2 * hairy * STRANDS
    if expected.sum() < 1.0:
        return None
    chosen = np.repeat(np.arange(len(corners)), random.poisson(expected))
    share = _barycentric(len(chosen), random)
    at = lambda values, index: (values[index[chosen]] * share[..., None]).sum(1)
    root_uv = at(uv, corners_uv)
    grown = _look_up(density, root_uv)
    keep = random.uniform(0.0, 1.0, len(chosen)) < grown / np.maximum(hairy[chosen], 1e-6)
    roots, normal = at(vertices, corners)[keep], unit(at(normals, corners)[keep])
    return Groom(
        _strands(roots, normal, grown[keep], vertices.max(0), random),
        ROOT_RADIUS * np.linspace(1.0, TIP, POINTS, dtype=np.float32),
        root_uv[keep].astype(np.float32),
    )


def _strands(
    roots: np.ndarray, normal: np.ndarray, grown: np.ndarray, highest: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """[H, POINTS, 3]; roots, normal [H, 3]; grown [H] in [0, 1]; highest [3]: coordinates of the head."""
    crown = np.array([0.0, CROWN[0] * highest[1], CROWN[1] * highest[2]])
    waves = LOCK_SIZE * random.normal(size=(3, 3))
    lean = LOCKS * np.sin(roots @ waves) + STRAY * random.normal(size=roots.shape)
    away = unit(_along(roots - crown, normal))
    away = unit(away + _along(lean, normal))
    on_top = np.clip((roots[:, 2] / highest[2] - TOP[0]) / (TOP[1] - TOP[0]), 0.0, 1.0)
    length = LENGTH[0] + (LENGTH[1] - LENGTH[0]) * on_top
    length *= random.uniform(*UNEVEN, len(roots)) * (AT_HAIRLINE + (1.0 - AT_HAIRLINE) * grown)
    s = np.linspace(0.0, 1.0, POINTS)[None, :, None]
    up, forth = LIFT * (s - DROP * s**2), LEAN[0] * s + LEAN[1] * s**2
    strands = length[:, None, None] * (up * normal[:, None] + forth * away[:, None])
    return ((roots - DEPTH * normal)[:, None] + strands).astype(np.float32)


def _triangles(quads: np.ndarray) -> np.ndarray:
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _vertex_normals(spanned: np.ndarray, corners: np.ndarray, count: int) -> np.ndarray:
    """[count, 3] not of unit length: the sum of what the triangles [T, 3] round a vertex span [T, 3]."""
    flat = np.repeat(spanned, 3, axis=0)
    return np.stack([np.bincount(corners.ravel(), flat[:, axis], count) for axis in range(3)], -1)


def _barycentric(count: int, random: np.random.Generator) -> np.ndarray:
    """[count, 3] even over a triangle."""
    a, b = random.uniform(0.0, 1.0, (2, count))
    a, b = np.where(a + b > 1.0, 1.0 - a, a), np.where(a + b > 1.0, 1.0 - b, b)
    return np.stack([1.0 - a - b, a, b], -1)


def _look_up(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Nearest texel of [S, S] at uv [P, 2], v up."""
    side = len(image)
    column, row = np.clip((np.stack([uv[:, 0], 1.0 - uv[:, 1]]) * side).astype(int), 0, side - 1)
    return image[row, column]


def _along(vectors: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """The part of vectors [H, 3] that lies in the surface."""
    return vectors - (vectors * normal).sum(-1, keepdims=True) * normal
