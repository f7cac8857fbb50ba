"""A pair of glasses as a mesh on a head: rims, bridge, temples that reach the ears, and lenses."""

from dataclasses import dataclass

import numpy as np

from ..rims import ANGLES, BRIDGE, HINGE, UPPER
from ..spectacles import Spectacles
from .fit import FittedHead

SIDES = 10  # of a bar
RIM_DEPTH, TEMPLE_WIDTH, LEAST_TEMPLE = 0.0028, 0.0014, 0.0024  # metres: front to back, across, and the lowest height
EDGE, BULGE = 0.0006, 0.0015  # metres: thickness of the edge of a lens without a rim; how far its middle stands out
ARCH, FORWARD = 0.0025, 0.0015  # metres by which the middle of the bridge rises and comes forward
BRIDGE_POINTS, TEMPLE_POINTS, TIP_POINTS, RINGS = 9, 12, 6, 4
WRAP = 1.6  # 1 / metre: the front bends back as the square of the distance from the nose
CLEARANCE, NEAR, MOST_FORWARD = 0.0012, 0.006, 0.006  # metres from the skin; around a point; that the front gives way
TIP = (0.022, 0.028)  # metres that the end of a temple goes back and down behind the ear


@dataclass(frozen=True)
class FrameMesh:
    """vertices [N, 3] metres, head frame; quads [Q, 4] counter-clockwise outside; is_lens [Q] bool."""

    vertices: np.ndarray
    quads: np.ndarray
    is_lens: np.ndarray


def build_frame(found: Spectacles, head: FittedHead) -> FrameMesh:
    """The glasses on the head as photographed, not touching its skin."""
    vertices = head.fine_vertices().numpy(force=True)
    of_skin = np.unique(head.model.faces[head.model.faces_of("skin")].numpy(force=True))
    ear = head.model.regions["ear"].numpy(force=True) > 0.5
    skin, ears = vertices[of_skin[~ear[of_skin]]], vertices[ear]
    parts = []
    lift = _lift(found, skin)
    for side in (1, -1):
        edge = _edge(found, side, lift)
        parts += [
            (_rim(found, edge), False),
            (_lens(edge, side), True),
            (_temple(found, edge, side, skin, ears), False),
        ]
    parts.append((_bridge(found, lift), False))
    return _joined(parts)


def _edge(found: Spectacles, side: int, lift: float) -> np.ndarray:
    """[A, 3] the edge of a lens; it begins at its outermost point and runs upwards."""
    from_nose, y = found.curve.T
    return np.stack([found.middle + side * from_nose, y, found.depth + lift - WRAP * from_nose**2], -1)


def _lift(found: Spectacles, skin: np.ndarray) -> float:
    """How much further from the face the front must be than was thought, so that no rim is in the skin, metres."""
    edges = np.concatenate([_edge(found, side, 0.0) for side in (1, -1)])
    near = np.abs(skin[None, :, :2] - edges[:, None, :2]).max(-1) < NEAR / 2  # [E, S]
    front = np.where(near, skin[None, :, 2], -np.inf).max(1)
    return float(np.clip((front + CLEARANCE + RIM_DEPTH / 2 - edges[:, 2]).max(), 0.0, MOST_FORWARD))


def _rim(found: Spectacles, edge: np.ndarray):
    """A bar round the lens, thin where the photo shows no rim."""
    thick = np.where(UPPER | found.lower, found.thickness, 0.0)
    # A rim ends softly: half rims hold the lens by a thread.
    thick = np.convolve(np.tile(np.maximum(thick, EDGE), 3), np.ones(5) / 5, "same")[len(edge) : 2 * len(edge)]
    depth = np.where(thick > 2 * EDGE, RIM_DEPTH, EDGE)
    along = np.roll(edge, -1, 0) - np.roll(edge, 1, 0)
    back = np.broadcast_to([0.0, 0.0, 1.0], edge.shape)
    return _bar(edge, _unit(np.cross(along, back)) * thick[:, None] / 2, back * depth[:, None] / 2, closed=True)


def _bridge(found: Spectacles, lift: float):
    inner = int(np.argmin(np.abs(ANGLES - (np.pi - np.arcsin(BRIDGE)))))
    right, left = (_edge(found, side, lift)[inner] for side in (-1, 1))
    share = np.linspace(0.0, 1.0, BRIDGE_POINTS)[:, None]
    path = right + (left - right) * share + np.sin(np.pi * share) * [0.0, ARCH, FORWARD]
    height = max(found.thickness, LEAST_TEMPLE / 2)
    up, forward = (
        np.broadcast_to([0.0, height / 2, 0.0], path.shape),
        np.broadcast_to([0.0, 0.0, RIM_DEPTH / 2], path.shape),
    )
    return _bar(path, up, forward, closed=False)


def _temple(found: Spectacles, edge: np.ndarray, side: int, skin: np.ndarray, ears: np.ndarray):
    """From the hinge along the temple over the top of the ear, and down behind it; worked out as if it were the left one."""
    to_left = np.array([side, 1.0, 1.0])
    hinge = edge[int(np.argmin(np.abs(ANGLES - np.arcsin(HINGE))))] * to_left
    own = ears[side * ears[:, 0] > 0]
    top = np.array([np.abs(own[:, 0]).min() + TEMPLE_WIDTH, np.quantile(own[:, 1], 0.93), np.quantile(own[:, 2], 0.6)])
    share = np.linspace(0.0, 1.0, TEMPLE_POINTS)[:, None]
    straight = hinge + (top - hinge) * share
    beside = np.abs(skin[None, :, 1:] - straight[:, None, 1:]).max(-1) < NEAR
    widest = np.where(beside & (side * skin[None, :, 0] > 0), np.abs(skin[None, :, 0]), 0.0).max(1)
    straight[:, 0] = np.maximum(straight[:, 0], widest + CLEARANCE + TEMPLE_WIDTH / 2)
    straight[0] = hinge
    bend = np.linspace(0.0, 1.0, TIP_POINTS + 1)[1:, None]
    tip = straight[-1] - np.concatenate([0 * bend, TIP[1] * bend**1.6, TIP[0] * bend], 1)
    path = np.concatenate([straight, tip]) * to_left
    height = max(found.thickness, LEAST_TEMPLE)
    along = np.gradient(path, axis=0)
    out = np.broadcast_to([float(side), 0.0, 0.0], path.shape)
    return _bar(path, _unit(np.cross(along, out)) * height / 2, out * TEMPLE_WIDTH / 2, closed=False)


def _lens(edge: np.ndarray, side: int):
    """A pane of rings from the edge to the middle, bulging a little."""
    middle = edge.mean(0)
    shares = np.linspace(1.0, 0.0, RINGS + 1)[:-1]
    rings = np.concatenate([middle + (edge - middle) * share + [0, 0, BULGE * (1 - share**2)] for share in shares])
    count = len(edge)
    points = np.concatenate([rings, (middle + [0, 0, BULGE])[None]])
    at, ring = np.meshgrid(np.arange(count), np.arange(RINGS - 1))
    after = (at + 1) % count
    quads = np.stack([ring * count + at, ring * count + after, (ring + 1) * count + after, (ring + 1) * count + at], -1)
    last, hub = (RINGS - 1) * count, len(points) - 1
    fan = np.arange(0, count, 2)
    hubs = np.stack([last + fan, last + fan + 1, last + (fan + 2) % count, np.full_like(fan, hub)], -1)
    quads = np.concatenate([quads.reshape(-1, 4), hubs])
    return points, quads if side > 0 else quads[:, ::-1]


def _bar(path: np.ndarray, one: np.ndarray, other: np.ndarray, closed: bool):
    """A bar along a path [P, 3] with elliptic sections spanned by two half axes [P, 3] each, and ends unless closed."""
    turn = 2 * np.pi * np.arange(SIDES) / SIDES
    sections = np.cos(turn)[None, :, None] * one[:, None] + np.sin(turn)[None, :, None] * other[:, None]
    points = (path[:, None] + sections).reshape(-1, 3)
    along, around = np.meshgrid(np.arange(len(path) if closed else len(path) - 1), np.arange(SIDES), indexing="ij")
    after, beside = (along + 1) % len(path), (around + 1) % SIDES
    quads = np.stack(
        [along * SIDES + around, after * SIDES + around, after * SIDES + beside, along * SIDES + beside], -1
    )
    quads = quads.reshape(-1, 4)
    if not closed:
        half = np.arange(SIDES // 2 - 1)
        ends = np.stack([half, half + 1, SIDES - 2 - half, SIDES - 1 - half], -1)
        quads = np.concatenate([quads, ends, ends[:, ::-1] + (len(path) - 1) * SIDES])
    return points, _outside(points, path, quads)


def _outside(points: np.ndarray, path: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """The quads, turned round if their sides look at the path."""
    corners = points[quads[0]]
    normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
    away = corners.mean(0) - path[quads[0] // SIDES].mean(0)
    return quads if normal @ away > 0 else quads[:, ::-1]


def _joined(parts) -> FrameMesh:
    vertices, quads, is_lens, count = [], [], [], 0
    for (points, faces), lens in parts:
        vertices.append(points)
        quads.append(faces + count)
        is_lens.append(np.full(len(faces), lens))
        count += len(points)
    joined = np.concatenate(vertices).astype(np.float32)
    return FrameMesh(joined, np.concatenate(quads).astype(np.int32), np.concatenate(is_lens))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
