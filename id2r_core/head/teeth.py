"""Teeth and gums, modelled tooth by tooth along MakeHuman's helper arches, whose morphs they follow.

MakeHuman's base mesh has no teeth, only two low-detail bands (helper-upper-teeth, helper-lower-teeth) that its teeth
assets are fitted to. Every target moves the bands; an arch follows its band as one piece, by the affine map that fits the
band's own move best. Sizes of crowns: Wheeler's Dental Anatomy (Nelson 2015), rounded, in millimetres.
"""

from dataclasses import dataclass

import numpy as np

MILLIMETRE = 0.001
# Crowns of one side from the middle line to the second molar: breadth, height over the gum, depth from lip to tongue.
UPPER_CROWNS = (
    (8.5, 10.0, 6.6), (6.6, 8.9, 6.0), (7.6, 9.8, 7.4), (7.0, 8.0, 9.0), (6.8, 7.5, 9.0), (10.0, 7.0, 10.6), (9.5, 6.5, 10.6),
)  # fmt: skip
LOWER_CROWNS = (
    (5.3, 8.6, 5.8), (5.9, 8.8, 6.0), (6.9, 9.8, 7.2), (7.0, 8.4, 7.8), (7.1, 7.8, 8.2), (11.0, 7.2, 10.0), (10.5, 6.8, 10.0),
)  # fmt: skip
CANINE, FIRST_PREMOLAR = 2, 3
# Heights over the closed lips' line, from the middle to the back: incisors overlap, the teeth behind them meet.
UPPER_EDGES = (-2.0, -1.4, -2.1, -1.5, -1.4, -1.3, -1.2)
LOWER_EDGES = (0.3, 0.2, 0.6, -0.9, -0.8, -0.7, -0.6)
LIP_LINE = -0.9  # over the band's lower edge
BEFORE_BAND = 0.8  # the faces of the upper incisors, before the front of the band: lips lie close to them
OVERJET, NARROWER = 2.6, 2.2  # how far the lower arch lies behind the upper one, and inside it
CONTACT = 3.0  # where neighbours touch, behind their faces
TOUCHING = 1.13  # smoothing draws crowns in
# The rings of a crown from below the gum to the biting edge: height (of the crown's), then the places of its face and its
# back (of its depth, behind the arch), and its breadth. A ring is eight vertices; the last one is closed.
INCISOR_RINGS = (
    (-0.25, 0.10, 0.92, 0.72), (0.08, 0.00, 0.98, 0.84), (0.45, -0.03, 0.72, 0.97), (0.78, 0.00, 0.45, 1.03),
    (0.95, 0.05, 0.30, 1.04), (1.00, 0.09, 0.24, 1.02),
)  # fmt: skip
CANINE_RINGS = (
    (-0.25, 0.10, 0.92, 0.74), (0.08, 0.00, 0.98, 0.86), (0.45, -0.05, 0.76, 1.00), (0.76, 0.00, 0.52, 0.92),
    (0.94, 0.06, 0.34, 0.66), (1.00, 0.10, 0.28, 0.42),
)  # fmt: skip
MOLAR_RINGS = (
    (-0.25, 0.08, 0.92, 0.78), (0.10, 0.00, 0.99, 0.90), (0.50, -0.01, 1.00, 1.00), (0.85, 0.04, 0.95, 0.97),
    (1.00, 0.16, 0.84, 0.80),
)  # fmt: skip
# The eight vertices of a ring: across (of the half breadth), and depth between face (0) and back (1).
RING = ((-1.0, 0.42), (-0.84, 0.06), (0.0, -0.04), (0.84, 0.06), (1.0, 0.42), (0.72, 1.0), (0.0, 1.04), (-0.72, 1.0))
CAP = ((0, 1, 2, 3), (0, 3, 4, 7), (7, 4, 5, 6))
CUSP, FISSURE = (
    0.16,
    0.14,
)  # of the crown's height: how far a canine's shoulders lie below its tip, a molar's sides below its cusps
# The section of a gum: in front of the arch or, from the fourth point on, behind the crowns' backs; height over the necks.
GUM = ((-1.5, 9.0), (0.9, 4.5), (0.55, 0.2), (-2.5, 1.0), (0.6, 0.2), (1.2, 4.5), (4.5, 9.0))
GUM_FRONT, GUM_EDGES = 4, (2, 3, 4)
PAPILLA, DIP = 1.7, 0.7  # between teeth the gum reaches further over the crowns, in their middle less far


@dataclass(frozen=True)
class Arch:
    """One row of teeth, or its gum: vertices [N, 3] metres in the head frame, quads [Q, 4], uv [N, 2].

    uv of teeth: u across a tooth, v from the root (0) to the edge (1), the same for all; of gums: u along the arch, v from
    the cheek over the ridge to the tongue.
    """

    vertices: np.ndarray
    quads: np.ndarray
    uv: np.ndarray


def make_teeth(upper_band: np.ndarray, is_upper: bool) -> tuple[Arch, Arch]:
    """Teeth and gum of one jaw. upper_band [P, 3]: vertices of helper-upper-teeth in the head frame."""
    crowns, edges = (UPPER_CROWNS, UPPER_EDGES) if is_upper else (LOWER_CROWNS, LOWER_EDGES)
    curve = _Curve(upper_band / MILLIMETRE, is_upper)
    lip_line, up = upper_band[:, 1].min() / MILLIMETRE + LIP_LINE, 1.0 if is_upper else -1.0
    breadths = np.array([crown[0] for crown in crowns])
    share = curve.length / breadths.sum()
    ends = np.concatenate([[0.0], np.cumsum(breadths * share)])
    teeth, necks = [], []
    for side in (-1.0, 1.0):
        for index, (breadth, height, depth) in enumerate(crowns):
            start, end = ends[index : index + 2]
            edge = lip_line + edges[index]
            place = curve.at(side * (start + end) / 2)
            teeth.append(_crown(index, breadth * share * TOUCHING, height, depth, place, edge, up, side))
            necks.append(_Neck(side * (start + end) / 2, edge + up * height, up * DIP, depth))
            necks.append(_Neck(side * end, edge + up * height, -up * PAPILLA * (end < ends[-1]), depth))
    middle = necks[0]
    necks.append(_Neck(0.0, middle.height, -up * PAPILLA, middle.depth))
    return _joined(teeth), _gum(curve, sorted(necks, key=lambda neck: neck.along), up)


def follow(band: np.ndarray, band_moves: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Moves [N, 3] of points [N, 3] by the affine map that fits the moves [P, 3] of a band [P, 3] best."""
    homogeneous = lambda places: np.concatenate([places, np.ones((len(places), 1))], axis=1)
    return homogeneous(points) @ (np.linalg.pinv(homogeneous(band)) @ band_moves)


class _Curve:
    """Half an ellipse that the faces of the teeth lie on, walked along the line on which neighbours touch."""

    def __init__(self, band: np.ndarray, is_upper: bool):
        """band [P, 3] in millimetres."""
        self.back = band[:, 2].min()
        self.across = np.abs(band[:, 0]).max() - (0.0 if is_upper else NARROWER)
        self.ahead = band[:, 2].max() + BEFORE_BAND - self.back - (0.0 if is_upper else OVERJET)
        angle = np.linspace(0.0, np.pi / 2, 400)
        x, z = (self.across - CONTACT) * np.sin(angle), (self.ahead - CONTACT) * np.cos(angle)
        self._angle, self._along = angle, np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
        self.length = self._along[-1]

    def at(self, along: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Point on the faces, direction along the arch (to the subject's left) and outward normal; [2] in (x, z)."""
        angle = np.interp(abs(along), self._along, self._angle) * (1.0 if along >= 0 else -1.0)
        normal = np.array([np.sin(angle) / self.across, np.cos(angle) / self.ahead])
        normal /= np.linalg.norm(normal)
        inner = np.array([(self.across - CONTACT) * np.sin(angle), (self.ahead - CONTACT) * np.cos(angle) + self.back])
        return inner + CONTACT * normal, np.array([normal[1], -normal[0]]), normal


def _crown(index, breadth, height, depth, place, edge, up, side) -> Arch:
    """One tooth; `up` points from the biting edge to the root along y."""
    point, along, outward = place
    rings = MOLAR_RINGS if index >= FIRST_PREMOLAR else CANINE_RINGS if index == CANINE else INCISOR_RINGS
    vertices, uv = [], []
    for number, (level, face, back, wide) in enumerate(rings):
        for across, deep in RING:
            drop = 0.0
            if number >= len(rings) - 2 and index == CANINE:
                drop = CUSP * abs(across)
            if number == len(rings) - 1 and index >= FIRST_PREMOLAR:
                drop = FISSURE * (1.0 - abs(2.0 * deep - 1.0))
            if number >= len(rings) - 2 and index < CANINE:
                drop = 0.05 * max(0.0, across * side) ** 2  # the outer corner of an incisor is rounder
            behind = depth * (face + (back - face) * deep)
            x, z = point + along * (across * wide * breadth / 2) - outward * behind
            vertices.append((x, edge + up * height * (1.0 - level + drop), z))
            uv.append((0.5 + 0.5 * across, np.clip(level, 0.0, 1.0)))
    quads = [
        (8 * ring + k, 8 * ring + (k + 1) % 8, 8 * ring + 8 + (k + 1) % 8, 8 * ring + 8 + k)
        for ring in range(len(rings) - 1)
        for k in range(8)
    ]
    quads += [tuple(8 * (len(rings) - 1) + k for k in quad) for quad in CAP]
    return Arch(np.array(vertices) * MILLIMETRE, _facing(np.array(quads), up > 0), np.array(uv))


@dataclass(frozen=True)
class _Neck:
    """Where a gum's section stands along the arch, how high, and by how much its edge is scalloped; millimetres."""

    along: float
    height: float
    scallop: float
    depth: float


def _gum(curve: _Curve, necks: list[_Neck], up: float) -> Arch:
    """The section GUM swept along the arch, scalloped round the necks of the teeth."""
    vertices, uv = [], []
    for neck in necks:
        point, _, outward = curve.at(neck.along)
        for k, (out, rise) in enumerate(GUM):
            x, z = point + outward * (out if k < GUM_FRONT else -(neck.depth + out))
            vertices.append((x, neck.height + neck.scallop * (k in GUM_EDGES) + up * rise, z))
            uv.append((0.5 + 0.5 * neck.along / curve.length, k / (len(GUM) - 1)))
    index = np.arange(len(vertices)).reshape(len(necks), len(GUM))
    quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1).reshape(-1, 4)
    return Arch(np.array(vertices) * MILLIMETRE, _facing(quads, up > 0), np.array(uv))


def _facing(quads: np.ndarray, turned: bool) -> np.ndarray:
    return quads[:, ::-1] if turned else quads


def _joined(pieces: list[Arch]) -> Arch:
    first = np.cumsum([0] + [len(piece.vertices) for piece in pieces])
    return Arch(
        np.concatenate([piece.vertices for piece in pieces]),
        np.concatenate([piece.quads + start for piece, start in zip(pieces, first, strict=False)]),
        np.concatenate([piece.uv for piece in pieces]),
    )
