"""Eyelashes: a row of tapered, curved hairs on each lid of a head, which follow every change of its shape.

Their roots lie on the outer edge of the lid's margin. The margin is found by walking from the rim between eye socket and
skin outwards, ring by ring of quads; the hairs stand in the frame that three of these rings span, so that they turn with
the lid when it closes.
"""

from dataclasses import dataclass

import numpy as np

from .arrays import unit

STEPS_TO_MARGIN = 2  # from the rim to the inner edge of the lid's margin; one more to its outer edge, one to the lid
SEGMENTS, SIDES = 6, 3  # of a hair
RADIUS = 0.00003  # metres, at the root
TIP = 0.15  # of that
SEED = 1


@dataclass(frozen=True)
class Lid:
    """How the hairs of a lid grow; lengths in metres, directions as shares of a hair's length.

    first: where they begin, from the inner (0) to the outer corner (1) of the eye
    forward: along the margin, away from the eyeball; curl: along the lid, away from the gap; fan: away from the nose
    """

    count: int
    length: float
    first: float
    forward: float
    curl: float
    fan: float


UPPER = Lid(count=80, length=0.0062, first=0.16, forward=0.8, curl=0.4, fan=0.4)
LOWER = Lid(count=30, length=0.0032, first=0.30, forward=0.7, curl=0.35, fan=0.4)


@dataclass(frozen=True)
class Lashes:
    """All hairs of a head; `place` puts them on any shape of it.

    used: [U] the vertices of the lids on which a hair depends
    stencil: [3, H, U] what each of them adds to the three points that carry a hair: on the inner and on the outer edge of
        the lid's margin, and on the lid
    growth: [H, 3] forward, curl and fan of each hair, metres; outwards: [H] 1 where the lid's tangent leads away from
        the nose, else -1
    """

    used: np.ndarray
    stencil: np.ndarray
    growth: np.ndarray
    outwards: np.ndarray

    @property
    def quads(self) -> np.ndarray:
        """[F, 4] vertices of `place`, counter-clockwise outside."""
        hair, ring, side = np.meshgrid(*map(np.arange, (len(self.growth), SEGMENTS - 1, SIDES)), indexing="ij")
        beside = (side + 1) % SIDES
        corners = ((ring, side), (ring + 1, side), (ring + 1, beside), (ring, beside))
        return np.stack([((hair * SEGMENTS + r) * SIDES + s).ravel() for r, s in corners], -1)

    def place(self, vertices: np.ndarray) -> np.ndarray:
        """The hairs [H * SEGMENTS * SIDES, 3] on a head's vertices [N, 3]."""
        inner, root, lid = self.stencil @ vertices[self.used]
        forward = unit(root - inner)
        curl = lid - root
        curl = unit(curl - (curl * forward).sum(-1, keepdims=True) * forward)
        fan = np.cross(forward, curl) * self.outwards[:, None]
        along = np.linspace(0.0, 1.0, SEGMENTS)[:, None, None]  # [SEGMENTS, 1, 1]
        grown = [amount[:, None] * axis for amount, axis in zip(self.growth.T, (forward, curl, fan), strict=True)]
        spine = root + along * grown[0] + along**2 * grown[1] + along * grown[2]  # [SEGMENTS, H, 3]
        across = unit(np.cross(spine[-1] - root, curl))
        upright = unit(np.cross(across, spine[-1] - root))
        turn = 2.0 * np.pi * np.arange(SIDES)[:, None, None] / SIDES
        circle = (np.cos(turn) * across + np.sin(turn) * upright)[None]  # [1, SIDES, H, 3]
        points = spine[:, None] + RADIUS * (1.0 + (TIP - 1.0) * along[:, None]) * circle  # [SEGMENTS, SIDES, H, 3]
        return points.transpose(2, 0, 1, 3).reshape(-1, 3).astype(np.float32)


def grow_lashes(vertices: np.ndarray, quads: np.ndarray, is_socket: np.ndarray, is_skin: np.ndarray) -> Lashes | None:
    """The lashes of a head; None when it has no lids.

    vertices: [N, 3] at rest, z up, the nose at x = 0; quads: [Q, 4]; is_socket, is_skin: [Q] the parts beside the rim
    """
    rims = _edges(quads[is_socket]) & _edges(quads[is_skin])
    if not rims:
        return None
    near = np.unique(list(rims))
    for _ in range(STEPS_TO_MARGIN + 3):
        near = np.unique(quads[np.isin(quads, near).any(1)])
    chosen = np.isin(quads, near).all(1)
    used, quads = np.unique(quads[chosen], return_inverse=True)
    quads, is_skin, vertices = quads.reshape(-1, 4), is_skin[chosen], vertices[used]
    random = np.random.default_rng(SEED)
    made = []
    for rim in _loops(_edges(quads[~is_skin]) & _edges(quads[is_skin])):
        rings = [rim]
        untouched = [tuple(quad) for quad in quads[is_skin].tolist()]
        for _ in range(STEPS_TO_MARGIN + 2):
            rings.append(_next_ring(rings[-1], untouched))
        stencils = np.stack([_limit_stencil(ring, quads, len(vertices)) for ring in rings[STEPS_TO_MARGIN:]])
        for lid, upper in ((UPPER, True), (LOWER, False)):
            made.append(_row(lid, upper, stencils, vertices, random))
    rows, growth, outwards = zip(*made, strict=True)
    stencil = np.concatenate(rows, 1)
    carries = stencil.any((0, 1))
    return Lashes(used[carries], stencil[..., carries], np.concatenate(growth), np.concatenate(outwards))


def _row(lid: Lid, upper: bool, stencils: np.ndarray, vertices: np.ndarray, random: np.random.Generator):
    """The hairs of one lid: stencil [3, H, N], growth [H, 3], outwards [H]. stencils: [3, L, N] of the closed rings."""
    points = stencils[1] @ vertices  # [L, 3]
    path = _half(points, upper)
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points[path], axis=0), axis=1))])
    share = lid.first + (1.0 - lid.first) * (np.arange(lid.count) + random.uniform(0.0, 1.0, lid.count)) / lid.count
    place = np.interp(share * walked[-1], walked, np.arange(len(path)))
    before = np.minimum(place.astype(int), len(path) - 2)
    rest = (place - before)[:, None]
    stencil = stencils[:, path[before]] * (1.0 - rest) + stencils[:, path[before + 1]] * rest
    longest = np.sin(np.pi * np.clip(0.18 + 0.62 * share, 0.0, 1.0))  # beyond the middle of the eye
    length = lid.length * longest * random.uniform(0.75, 1.1, lid.count)
    fan = lid.fan * (2.0 * share - 0.9) + random.normal(0.0, 0.12, lid.count)
    curl = lid.curl * random.uniform(0.8, 1.2, lid.count)
    growth = length[:, None] * np.stack([np.full(lid.count, lid.forward), curl, fan], -1)
    inner, root, above = stencil @ vertices
    tangent = np.cross(root - inner, above - root)
    return stencil, growth, np.sign(tangent[:, 0] * root[:, 0])


def _half(points: np.ndarray, upper: bool) -> np.ndarray:
    """Indices into a closed ring [L, 3] along its upper or lower half, from the corner at the nose to the outer one."""
    count = len(points)
    nose, ear = np.abs(points[:, 0]).argmin(), np.abs(points[:, 0]).argmax()
    ways = [(nose + step * np.arange((step * (ear - nose)) % count + 1)) % count for step in (1, -1)]
    heights = [points[way, 2].mean() for way in ways]
    return ways[int(np.argmax(heights) if upper else np.argmin(heights))]


def _next_ring(ring: list[int], untouched: list[tuple[int, ...]]) -> list[int]:
    """The vertices opposite to a ring's, in quads that were not walked over yet; takes these quads out of the list."""
    found = []
    for a, b in zip(ring, ring[1:] + ring[:1], strict=True):
        quad = next(each for each in untouched if a in each and b in each)
        untouched.remove(quad)
        at = quad.index(a)
        after, before = quad[(at + 1) % 4], quad[(at - 1) % 4]
        found.append(before if after == b else after)
    return found


def _limit_stencil(ring: list[int], quads: np.ndarray, count: int) -> np.ndarray:
    """[L, N] what each vertex adds to the places of a ring on the smooth surface (Halstead et al. 1993, section 4.1)."""
    stencil = np.zeros((len(ring), count), np.float32)
    for row, vertex in zip(stencil, ring, strict=True):
        around, at = np.nonzero(quads == vertex)
        valence = len(around)
        row[vertex] = valence**2
        for step, weight in ((1, 2.0), (2, 1.0), (3, 2.0)):  # each neighbour lies in two of the quads
            np.add.at(row, quads[around, (at + step) % 4], weight)
        row /= valence * (valence + 5)
    return stencil


def _edges(quads: np.ndarray) -> set[tuple[int, int]]:
    ends = np.sort(np.stack([quads, np.roll(quads, -1, 1)], -1).reshape(-1, 2), 1)
    return set(map(tuple, ends.tolist()))


def _loops(edges: set[tuple[int, int]]) -> list[list[int]]:
    """Closed loops of vertices, from edges of which two meet at each vertex."""
    beside: dict[int, list[int]] = {}
    for a, b in edges:
        beside.setdefault(a, []).append(b)
        beside.setdefault(b, []).append(a)
    loops = []
    while beside:
        loop = [min(beside)]
        while loop[-1] in beside:
            ahead = beside.pop(loop[-1])
            loop.append(ahead[1] if len(loop) > 1 and ahead[0] == loop[-2] else ahead[0])
        loops.append(loop[:-1])
    return loops
