"""Hair as strands, where the hair map says that it grows: cropped, swept back over the volume that the photo's outline
shows, or hanging down beside the face.

Plain numbers, no Blender: `mesh_io` makes a curves object of them.
"""

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from .arrays import rise, unit
from .comb import Comb, Combed
from .fringe import Fringe

STRANDS = 900_000  # a square metre: half of what grows, each thicker for it
POINTS, HANGING_POINTS, CURLY_POINTS = 6, 11, 48  # of a strand
STRANDS_A_STEP, POINTS_A_STEP = 12_000, 33_000  # the latter where each point takes long
LENGTH = 0.007, 0.021  # metres, of cropped hair at the sides and on top
TOP = 0.35, 0.8  # share of the head's height above the eyes where the sides end and the top begins
FEWER_HANG = 0.5  # of the strands: they lie over each other
ROOT_RADIUS, TIP = 0.00006, 0.3  # metres; the radius at the tip as a share of it
VOLUME_RADIUS = 1.5  # times that for hair that fills more room
DEPTH = 0.0008  # metres below the mesh, whose quads cut the corners of the smooth surface
LIFT, DROP = 0.55, 0.4  # how far strands stand up from the scalp, and bend back to it, in their lengths
LEAN = 0.35, 0.5  # how far they lie along it at the root and towards the tip, in their lengths
LOCKS, STRAY = 0.35, 0.22  # how far neighbours lean alike, and each strand alone
LOCK_SIZE = 220.0  # waves in 2 pi metres
UNEVEN = 0.6, 1.15  # shortest and longest of the length that it should have
AT_HAIRLINE = 0.35  # of the length, where hair only begins
CROWN = 0.55, 0.93  # where strands part: shares of the head's depth behind the eyes, and of its height above them
SWEPT = 0.006, 0.014  # metres of height from which on hair is not cropped any more, and surely so
# Share of the height that the lowest and the highest strands reach; the larger the exponent, the more are high.
FILLED, FILLED_HIGH = (0.35, 1.0), 2.0
SWEEP = 0.012, 1.1  # metres that strands lie along the scalp, and times their height
LEAST_FALL = 0.03  # metres below the eyes: else it does not hang
# Metres from the middle: roots farther out belong to that side, where no strands of the other come; share of the roots that
# tells of no hair that hangs there.
ONE_SIDE, HARDLY_ANY = 0.03, 0.02
GRAVITY, PARTING, UNEVEN_TIPS = 0.5, 0.006, 0.65  # a step; metres of unrest; shortest of the fall
ROUNDED = 0.15  # of the fall by which hair that hangs farthest out is shorter
RISEN = 1.5  # steps: after these hair that hangs stands off the skull as far as it will
BACKWARDS, STRAYING = (
    (0.3, 1.5),
    0.006,
)  # for a share of sideways, and that much more in front; metres off the hair's room
THROAT = -0.05  # metres above the eyes
LEVEL_OF_FACE = 0.045  # metres above the eyes up to which hair lies on the skull
OVAL, FRONT = (
    (0.072, 0.09),
    (0.05, 0.06),
)  # metres: half width and height of the face; how far before its middle hair comes
# Locks: metres across at the root, and at the tip as if each strand were by itself; how near strands come to the middle of
# theirs at the tip, straight ones and curls.
LOCK_AT_ROOT, LOCK_AT_TIP, CLUMPED = 0.011, 0.04, (0.4, 0.9)
LOCKS_VARY, VARY_OVER = 0.6, 1.3  # how far the borders of locks wander, in their widths, and radians in which they do
# The length of the widest waves and of the tightest curls, metres; how far out curls turn, in that length; the curl up to which
# hair is straight.
WAVE, TURN, LEAST_CURL = (0.05, 0.012), 0.2, 0.05
# Points: the turns of long hair are as wide as that; metres: but those of a strand that strays no wider than this.
LEAST_OF_A_TURN, MOST_OF_A_TURN = 4.5, 0.04
MIDDLE = 0.0, 0.08, 0.0  # metres: of the head, which hair lies around
SEED = 1


@dataclass(frozen=True)
class HairShown:
    """What a result tells of the hair: map [S, S, 3] as for `scatter_roots`; fringe [17]: metres above the eyes down to which it
    hangs over the forehead, as for `lay_fringe`, or None; curl in [0, 1] as for `grow_groom`; combed: how it runs in the photo,
    None where the photo does not show it."""

    map: np.ndarray
    fringe: np.ndarray | None
    curl: float
    combed: Combed | None = None


@dataclass(frozen=True)
class Groom:
    """points [H, P, 3] metres, radius [P] metres, uv [H, 2] of the roots, shade [H, P]: brightness beside the hair's own."""

    points: np.ndarray
    radius: np.ndarray
    uv: np.ndarray
    shade: np.ndarray


@dataclass(frozen=True)
class Scalp:
    """roots, normal [H, 3]: where strands begin; highest [3]: the largest coordinates of the head; uv [H, 2] of the roots;
    grown [H] in [0, 1]: 1 away from hairlines; height, fall [H]: metres off the scalp, and below the eyes."""

    roots: np.ndarray
    normal: np.ndarray
    highest: np.ndarray
    uv: np.ndarray
    grown: np.ndarray
    height: np.ndarray
    fall: np.ndarray

    def only(self, chosen: np.ndarray | slice) -> "Scalp":
        """The chosen roots [H] alone."""
        own = {name: getattr(self, name)[chosen] for name in ("roots", "normal", "uv", "grown", "height", "fall")}
        return replace(self, **own)

    def along(self, vectors: np.ndarray) -> np.ndarray:
        """The part of vectors [H, 3] that lies in the surface."""
        return vectors - (vectors * self.normal).sum(-1, keepdims=True) * self.normal


def scatter_roots(
    vertices: np.ndarray, quads: np.ndarray, uv: np.ndarray, quads_uv: np.ndarray, hair: np.ndarray
) -> Generator[None, None, Scalp | None]:
    """Where the strands of a head grow, bit by bit; None when its hair map is black.

    vertices [N, 3] at rest, z up, the face looks along -y, the eyes near height 0; quads, quads_uv [Q, 4] of its skin;
    uv [U, 2]; hair [S, S, 3], first row at the top: density in [0, 1], metres that it stands off the scalp, and metres that it
    hangs below the eyes.
    """
    random = np.random.default_rng(SEED)
    corners, corners_uv = _triangles(quads), _triangles(quads_uv)
    spanned = np.cross(*(vertices[corners[:, i]] - vertices[corners[:, 0]] for i in (1, 2)))
    normals = _vertex_normals(spanned, corners, len(vertices))
    hairy = np.maximum.reduce([_look_up(hair[..., 0], uv[corners_uv[:, i]]) for i in range(3)])
    strands = STRANDS * (FEWER_HANG if hair[..., 2].max() > LEAST_FALL else 1.0)
    expected = np.linalg.norm(spanned, axis=1) / 2 * hairy * strands
    if expected.sum() < 1.0:
        return None
    chosen = np.repeat(np.arange(len(corners)), random.poisson(expected))
    share = _barycentric(len(chosen), random)
    yield
    root_uv = _between(uv[corners_uv[chosen]], share)
    density, height, fall = _look_up(hair, root_uv).T
    keep = random.uniform(0.0, 1.0, len(chosen)) < density / np.maximum(hairy[chosen], 1e-6)
    grown = density[keep] / hair[..., 0].max()  # thin hair is not short for it
    yield
    kept, share = corners[chosen[keep]], share[keep]
    roots = _between(vertices[kept], share)
    yield
    each = roots, unit(_between(normals[kept], share)), vertices.max(0), root_uv[keep], grown, height[keep], fall[keep]
    return Scalp(*(values.astype(np.float32) for values in each))


def grow_groom(
    scalp: Scalp, fringe: Fringe | None = None, curl: float = 0.0, comb: Comb | None = None
) -> Generator[None, None, Groom]:
    """The strands that grow out of a scalp, which has roots, bit by bit: a window waits for them. curl in [0, 1]: from
    straight hair over waves to tight curls; those of long hair are wider. comb: how hair runs where the photo shows it."""
    random = np.random.default_rng(SEED + 1)
    points = yield from _strands(scalp, fringe, comb, random)
    lock = yield from _draw_together(points, CLUMPED[0] + (CLUMPED[1] - CLUMPED[0]) * curl, random)
    if curl > LEAST_CURL:
        points = yield from _wind(points, lock, curl, random)
    taper = np.linspace(1.0, TIP, points.shape[1], dtype=np.float32)
    thicker = 1.0 + (VOLUME_RADIUS - 1.0) * rise(np.median(scalp.height), *SWEPT)
    fewer = FEWER_HANG if scalp.fall.max() > LEAST_FALL else 1.0
    radius = ROOT_RADIUS * thicker / np.sqrt(fewer)
    shade = np.ones(points.shape[:2], np.float32)
    if comb:
        for part in _parts(len(points), POINTS_A_STEP // points.shape[1]):
            yield
            shade[part] = comb.shade(points[part])
    return Groom(points, radius * taper, scalp.uv, shade)


def _strands(
    scalp: Scalp, fringe: Fringe | None, comb: Comb | None, random: np.random.Generator
) -> Generator[None, None, np.ndarray]:
    """[H, P, 3]."""
    waves = LOCK_SIZE * random.normal(size=(3, 3))
    unrest = STRAY * random.normal(size=scalp.roots.shape)
    lean = scalp.along(LOCKS * np.sin(scalp.roots @ waves) + unrest).astype(np.float32)
    full = AT_HAIRLINE + (1.0 - AT_HAIRLINE) * scalp.grown
    length, height = random.uniform(*UNEVEN, len(full)) * full, scalp.height * full
    hangs = scalp.fall > LEAST_FALL
    count = HANGING_POINTS if fringe or comb or hangs.any() else POINTS
    s = np.linspace(0.0, 1.0, count, dtype=np.float32)[None, :, None]
    volume = rise(height, *SWEPT)[:, None, None]
    yield
    full_height = height * _filling(len(height), random)
    strands = np.empty((len(full), count, 3), np.float32)
    for part in _parts(len(full)):
        own = scalp.only(part)
        cropped = _cropped(own, lean[part], length[part].astype(np.float32), s)
        swept = _swept(own, lean[part], full_height[part], s)
        strands[part] = (own.roots - DEPTH * own.normal)[:, None] + cropped + volume[part] * (swept - cropped)
        yield
    if hangs.any():
        strands[hangs] = yield from _hanging(scalp.only(hangs), lean[hangs], height[hangs], count, random)
    if fringe:
        yield
        chosen, ends = fringe.choose(scalp.roots, lean, random)
        over_face = np.flatnonzero(chosen)
        for part in _parts(len(over_face)):
            yield
            combed = over_face[part]
            first, room = strands[combed, 0], scalp.height[combed]
            strands[combed] = fringe.comb(first, ends[part], room, count, random)
    if comb:
        for part in _parts(len(strands), STRANDS_A_STEP // 4):
            strands[part] = yield from comb.turn(strands[part], ~hangs[part])
    if fringe and comb:
        above = ends[:, 1] - fringe.edge(ends[:, 0])
        for part in _parts(len(over_face), STRANDS_A_STEP // 4):
            yield
            strands[over_face[part]] = fringe.hem(strands[over_face[part]], above[part], comb.skin)
    return strands


def under_face(scalp: Scalp) -> np.ndarray:
    """[H] bool: roots, of all that a head has, on the throat. What a photo shows there hangs over it from above."""
    middle = (scalp.roots[:, 1].min() + scalp.highest[1]) / 2
    return (scalp.roots[:, 2] < THROAT) & (scalp.roots[:, 1] < middle)


def _draw_together(
    strands: np.ndarray, clumped: float, random: np.random.Generator
) -> Generator[None, None, np.ndarray]:
    """Bring strands [H, P, 3] that begin and end as neighbours do nearer to each other towards their tips; [H] in which lock
    each of them is."""
    at_root, at_tip = strands[:, 0] / LOCK_AT_ROOT, strands[:, -1] / LOCK_AT_TIP
    ends = np.concatenate([_uneven(at_root, random), _uneven(at_tip, random)], axis=1)
    cells = np.floor(ends + random.uniform(0.0, 1.0, ends.shape[1])).astype(np.int64)
    _, lock, members = np.unique(
        (cells + 512) @ (1 << 10 * np.arange(6, dtype=np.int64)), return_inverse=True, return_counts=True
    )
    count = strands.shape[1]
    for number in range(1, count):
        yield
        middle = np.stack([np.bincount(lock, strands[:, number, axis]) for axis in range(3)], -1) / members[:, None]
        strands[:, number] += clumped * (number / (count - 1)) * (middle[lock] - strands[:, number])
    return lock


def _uneven(places: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Places [H, 3] in a space turned at random and warped, whose unit cells lie on a head in no rows and columns."""
    turned, _ = np.linalg.qr(random.normal(size=(3, 3)))
    places = (places @ turned).astype(np.float32)
    return places + LOCKS_VARY * np.sin(places @ (VARY_OVER * random.normal(size=(3, 3))).astype(np.float32))


def _wind(
    strands: np.ndarray, lock: np.ndarray, curl: float, random: np.random.Generator
) -> Generator[None, None, np.ndarray]:
    """[H, CURLY_POINTS, 3] strands [H, P, 3] in waves or curls, those of a lock [H] alike."""
    phase, unrest = random.uniform(0.0, 2 * np.pi, lock.max() + 1)[lock], random.normal(size=(2, len(lock)))
    phase, lengths = phase + 0.3 * unrest[0], WAVE[0] * (WAVE[1] / WAVE[0]) ** curl**1.5 * (1.0 + 0.15 * unrest[1])
    wound = np.empty((len(strands), CURLY_POINTS, 3), np.float32)
    for part in _parts(len(strands), POINTS_A_STEP // CURLY_POINTS):
        yield
        finer = _finer(strands[part], CURLY_POINTS)
        wound[part] = finer + _waves(finer, phase[part], lengths[part], curl)
    return wound


def _finer(strands: np.ndarray, count: int) -> np.ndarray:
    """[H, count, 3] points of cubic Hermite splines through strands [H, P, 3]."""
    at = np.linspace(0.0, strands.shape[1] - 1, count, dtype=np.float32)
    before = at.astype(int).clip(max=strands.shape[1] - 2)
    t, slope = (at - before)[:, None], np.gradient(strands, axis=1)
    ends = (2 * t**3 - 3 * t**2 + 1) * strands[:, before] + (3 * t**2 - 2 * t**3) * strands[:, before + 1]
    return ends + (t**3 - 2 * t**2 + t) * slope[:, before] + (t**3 - t**2) * slope[:, before + 1]


def _waves(strands: np.ndarray, phase: np.ndarray, length: np.ndarray, curl: float) -> np.ndarray:
    """[H, P, 3] what to add to strands so that they turn about where they lie every `length` [H], in a plane if they curl
    little, and wind if much; phase [H] at the root."""
    along = np.gradient(strands, axis=1)
    way = np.linalg.norm(along, axis=2)
    along /= way[..., None].clip(min=1e-9)
    way = np.cumsum(way, axis=1) - way[:, :1]
    length = np.maximum(length, np.minimum(MOST_OF_A_TURN, LEAST_OF_A_TURN * way[:, -1] / (strands.shape[1] - 1)))
    aside = unit(np.cross(along, strands.mean(1, keepdims=True) - MIDDLE))
    turns = 2 * np.pi * way / length[:, None] + phase[:, None]
    out = TURN * curl * length[:, None] * np.minimum(1.0, 2 * way / length[:, None])
    return (out * np.cos(turns))[..., None] * aside + (curl * out * np.sin(turns))[..., None] * np.cross(along, aside)


def _parts(count: int, a_step: int = STRANDS_A_STEP) -> list[slice]:
    """Slices of so many strands as one turn of Blender's loop is enough for."""
    return [slice(start, start + a_step) for start in range(0, count, a_step)]


def _cropped(scalp: Scalp, lean: np.ndarray, length: np.ndarray, s: np.ndarray) -> np.ndarray:
    """[H, P, 3] from the roots on: away from the crown, longer on top; length [H]: times what cropped hair has."""
    crown = np.array([0.0, CROWN[0] * scalp.highest[1], CROWN[1] * scalp.highest[2]])
    away = unit(unit(scalp.along(scalp.roots - crown)) + lean)
    on_top = np.clip((scalp.roots[:, 2] / scalp.highest[2] - TOP[0]) / (TOP[1] - TOP[0]), 0.0, 1.0)
    length = (LENGTH[0] + (LENGTH[1] - LENGTH[0]) * on_top) * length
    up, forth = LIFT * (s - DROP * s**2), LEAN[0] * s + LEAN[1] * s**2
    return length[:, None, None] * (up * scalp.normal[:, None] + forth * away[:, None])


def _swept(scalp: Scalp, lean: np.ndarray, height: np.ndarray, s: np.ndarray) -> np.ndarray:
    """[H, P, 3] from the roots on: up and back, and down behind, filling the room up to `height` [H]."""
    behind = np.clip(scalp.roots[:, 1] / scalp.highest[1], 0.0, 1.0)
    back = np.stack([0.0 * behind, 1.0 - 0.8 * behind, -behind - 0.25], -1)
    along = unit(unit(scalp.along(back)) + 0.6 * lean)
    length = SWEEP[0] + SWEEP[1] * height
    up = height[:, None, None] * np.sin(0.5 * np.pi * (1.15 * s).clip(max=1.0)) * (1.0 - 0.12 * s**3)
    return up * scalp.normal[:, None] + length[:, None, None] * s**1.4 * along[:, None]


def _hanging(
    scalp: Scalp, lean: np.ndarray, height: np.ndarray, count: int, random: np.random.Generator
) -> Generator[None, None, np.ndarray]:
    """[H, count, 3]: off the parting over the skull, which is an ellipsoid here, and down beside the face and behind."""
    low, high = scalp.roots.min(0), scalp.highest
    centre = np.array([0.0, (low[1] + high[1]) / 2, 0.03], np.float32)
    axes = np.array([np.abs(scalp.roots[:, 0]).max(), (high[1] - low[1]) / 2, high[2] - centre[2]])
    place = scalp.roots - DEPTH * scalp.normal
    side = np.sign(place[:, 0] + PARTING * random.normal(size=len(place)))
    on_left, on_right = ((each * scalp.roots[:, 0] > ONE_SIDE).mean() for each in (1.0, -1.0))
    if min(on_left, on_right) < HARDLY_ANY < max(on_left, on_right):
        side[:] = np.sign(on_left - on_right)  # all of it is laid over one shoulder
    share = _filling(len(height), random)
    begin, end = share * height, share * _height_beside(scalp, side, height)
    front = 1.0 - rise(place[:, 1], low[1], centre[1])
    heading = unit(scalp.along(np.stack([side, BACKWARDS[0] + BACKWARDS[1] * front, 0.0 * side], -1)) + lean)
    lowest = -scalp.fall * random.uniform(UNEVEN_TIPS, 1.0, len(height)) * (1.0 - ROUNDED * share**2)
    points = [place]
    for number in range(1, count):
        heading = unit(heading + np.array([0.0, 0.0, -GRAVITY * min(1.0, number / 4)]))
        # The way that is left, in equal parts: over the skull it is longer than straight down.
        left = points[-1][:, 2] + 0.25 * points[-1][:, 2].clip(min=0.0) - lowest
        place = points[-1] + (left / (count - number))[:, None] * heading
        down = 1.0 - rise(place[:, 2], 0.0, high[2])
        room = axes + (min(1.0, number / RISEN) * (begin + (end - begin) * down))[:, None]
        off = np.linalg.norm((place - centre) / room, axis=1, keepdims=True)
        on_skull = rise(place[:, [2]], 0.0, LEVEL_OF_FACE)  # below it hair hangs free, but not into the head
        place = centre + (place - centre) / np.where(off > 1.0, 1.0 + on_skull * (off - 1.0), off)
        widest = axes[:2] + end[:, None] + STRAYING
        place[:, 0] = side * np.clip(side * place[:, 0], -ONE_SIDE, widest[:, 0])
        place[:, 1] = place[:, 1].clip(None, centre[1] + widest[:, 1])
        place = _round_face(place, side, centre[1])
        heading = unit(place - points[-1])
        points.append(place)
        yield
    return np.stack(points, 1)


def _filling(count: int, random: np.random.Generator) -> np.ndarray:
    """[count] of FILLED: hair that is thin on top does not look as high as it is."""
    low, high = FILLED
    return (high - (high - low) * random.uniform(0.0, 1.0, count) ** FILLED_HIGH).astype(np.float32)


def _height_beside(scalp: Scalp, side: np.ndarray, height: np.ndarray) -> np.ndarray:
    """[H] metres that hair stands off the head at the height of the ears, on the side of each strand."""
    beside = np.zeros(len(height))
    for each in (-1.0, 1.0):
        there = (scalp.roots[:, 2] < LEVEL_OF_FACE) & (each * scalp.roots[:, 0] > ONE_SIDE)
        beside[side == each] = np.quantile(height[there], 0.75) if there.any() else 0.0
    return beside


def _round_face(place: np.ndarray, side: np.ndarray, middle: float) -> np.ndarray:
    """Places [H, 3], those before the face moved out of its oval, which is open at the chin, on their side [H]."""
    before = (place[:, 1] < middle) & (place[:, 2] < OVAL[1])
    x, height = side * place[:, 0], place[:, 2].clip(min=0.0)
    x = x.clip(min=0.0)
    into = np.hypot(x / OVAL[0], height / OVAL[1]).clip(1e-3, 1.0)
    pushed = place.copy()
    pushed[:, 0] = side * np.maximum(x / into, np.where(place[:, 2] < 0.0, OVAL[0], 0.0))
    pushed[:, 2] = np.where(place[:, 2] > 0.0, place[:, 2] / into, place[:, 2])
    pushed[:, 1] = np.maximum(place[:, 1], middle - FRONT[0] - FRONT[1] * rise(pushed[:, 2], 0.0, OVAL[1]))
    return np.where(before[:, None], pushed, place)


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


def _between(corners: np.ndarray, share: np.ndarray) -> np.ndarray:
    """[H, D] of corners [H, 3, D] by their shares [H, 3]."""
    return np.einsum("hid,hi->hd", corners, share)


def _look_up(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Nearest texel of [S, S, ...] at uv [P, 2], v up."""
    side = len(image)
    column, row = np.clip((np.stack([uv[:, 0], 1.0 - uv[:, 1]]) * side).astype(int), 0, side - 1)
    return image[row, column]
