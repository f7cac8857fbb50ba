"""Hair over the forehead: strands from the front of the scalp down to where the fringe in the photo ends.

Places of the upper face are told round an axis from ear to ear: `across` it, metres; `turn`, radians, 0 straight ahead and up
from there; and `off` it, metres. Blender's axes: z up, the face looks along -y.
"""

from dataclasses import dataclass

import numpy as np

from .arrays import spread
from .comb import Skin
from .core import conventions

AXIS = 0.03  # metres above the eyes
# Metres, radians: where the skin is looked up.
ACROSS, TURNS = np.linspace(-0.085, 0.085, 69), np.linspace(-0.45, 1.7, 87)
FINE = 5  # parts of a side of a quad, finer than those
ALL_ROOTS, NO_ROOTS = 0.85, 1.3  # radians: as far up from the face all of the hair, and none, falls into the fringe
LEAST_DROP = 0.004  # metres that a strand hangs down from its root
SLANT, STRAIGHT, MOST_ASIDE = (
    4.0,
    0.05,
    1.1,
)  # metres aside a metre down for the edge's slope; below which it hangs straight
LOCK_ASIDE, LOCK_DOWN = 0.16, 0.006  # of a strand's drop, metres: by how much locks differ
THINS_OUT = 0.018  # metres from its ends on
THICK = 0.0015, 0.008  # metres off the skin
FLAT, FULL = 0.1, 1.0  # radians: where the hair's height has gone, and where it is whole
UNEVEN = 0.009  # metres by which the shortest strands are shorter than the longest
HEMMED = 0.3, 2.0  # times as long, when the photo combs a strand aside
HUG = 0.35  # share of its distance that a tip comes back to the skin


@dataclass(frozen=True)
class Fringe:
    """lowest [K]: metres above the eyes at conventions.FRINGE_COLUMNS, NaN where no hair hangs over the forehead; off [X, R]:
    metres from the axis to the skin at ACROSS and TURNS; middle: the axis' y."""

    lowest: np.ndarray
    off: np.ndarray
    middle: float

    def choose(self, roots: np.ndarray, lean: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """[H] bool: which of the roots [H, 3] the fringe grows from; and where those strands end [F, 2]: across, height."""
        columns = np.array(conventions.FRINGE_COLUMNS)
        known = ~np.isnan(self.lowest)
        slope = np.polyfit(columns[known], self.lowest[known], 1)[0] if known.sum() > 2 else 0.0
        aside = -np.clip(SLANT * slope, -MOST_ASIDE, MOST_ASIDE) if abs(slope) > STRAIGHT else 0.0
        turn = np.arctan2(roots[:, 2] - AXIS, self.middle - roots[:, 1])
        down = (np.minimum(roots[:, 2], AXIS + self.off.max() * np.sin(ALL_ROOTS)) - self.edge(roots[:, 0])).clip(0.0)
        across = roots[:, 0] + down * (aside + LOCK_ASIDE * lean[:, 0])
        reaches = self._inside(across) > THINS_OUT * random.uniform(0.0, 1.0, len(roots))
        before = random.uniform(ALL_ROOTS, NO_ROOTS, len(roots)) > turn
        height = self.edge(across) + LOCK_DOWN * lean[:, 2] + UNEVEN * random.uniform(0.0, 1.0, len(roots)) ** 3
        chosen = reaches & before & (roots[:, 1] < self.middle) & (roots[:, 2] > height + LEAST_DROP)
        return chosen, np.stack([across, height], -1)[chosen]

    def comb(
        self, roots: np.ndarray, ends: np.ndarray, height: np.ndarray, count: int, random: np.random.Generator
    ) -> np.ndarray:
        """[F, count, 3] from the roots over the skin to the ends; height [F]: metres that hair stands off the head."""
        s = np.linspace(0.0, 1.0, count)
        share = random.uniform(0.0, 1.0, len(roots))[:, None]
        first = np.arctan2(roots[:, 2] - AXIS, self.middle - roots[:, 1])
        last = np.zeros(len(roots))
        for _ in range(3):  # how far the skin is off the axis at the end depends on the turn there
            last = np.arcsin(((ends[:, 1] - AXIS) / self._skin(ends[:, 0], last)).clip(-0.9, 0.9))
        turn = first[:, None] + (last - first)[:, None] * s
        across = roots[:, :1] + (ends[:, :1] - roots[:, :1]) * s**1.3
        skin = np.maximum.accumulate(self._skin(across, turn) * np.cos(turn), 1) / np.cos(turn).clip(0.2)
        skin = np.where(turn < FLAT, skin, self._skin(across, turn))  # over the brows it hangs free
        full = ((turn - FLAT) / (FULL - FLAT)).clip(0.0, 1.0)
        thick = THICK[0] + (THICK[1] - THICK[0]) * share + np.sqrt(share) * height[:, None] * full
        off = skin + thick * np.sin(0.5 * np.pi * (3.0 * s).clip(max=1.0)) * (1.0 - HUG * s**2)
        points = np.stack([across, self.middle - off * np.cos(turn), AXIS + off * np.sin(turn)], -1)
        points[:, 0] = roots
        return points

    def _inside(self, across: np.ndarray) -> np.ndarray:
        """Metres from places [H] across to the next one where none hangs; negative there."""
        columns = np.array(conventions.FRINGE_COLUMNS)
        step = columns[1] - columns[0]
        ends = np.array([columns[0] - step, columns[-1] + step])
        free = np.concatenate([columns[np.isnan(self.lowest)], ends])
        return np.abs(across.clip(*ends)[:, None] - free).min(1) - step

    def edge(self, across: np.ndarray) -> np.ndarray:
        """Metres above the eyes down to which it hangs, at places [...] across."""
        known = ~np.isnan(self.lowest)
        return np.interp(across, np.array(conventions.FRINGE_COLUMNS)[known], self.lowest[known])

    def hem(self, strands: np.ndarray, above: np.ndarray, skin: Skin) -> np.ndarray:
        """[F, P, 3] strands [F, P, 3] that end so far [F] above the edge at the place to which they have been combed, metres, as
        far off the skin as they were."""
        root, end = strands[:, :1, 2], strands[:, -1:, 2]
        wanted = self.edge(strands[:, -1:, 0]) + above[:, None]
        drop = root - end
        longer = np.where(drop > LEAST_DROP, ((root - wanted) / drop.clip(LEAST_DROP)).clip(*HEMMED), 1.0)
        hemmed = strands.copy()
        hemmed[..., 2] = root + (strands[..., 2] - root) * longer
        hemmed[:, 1:] = skin.at(hemmed, skin.off(strands))[:, 1:]
        return hemmed

    def _skin(self, across: np.ndarray, turn: np.ndarray) -> np.ndarray:
        """Metres from the axis to the skin at places [...]."""
        column, row = (
            (np.asarray(at) - grid[0]) / (grid[1] - grid[0]) for at, grid in ((across, ACROSS), (turn, TURNS))
        )
        column, row = column.clip(0, len(ACROSS) - 1.001), row.clip(0, len(TURNS) - 1.001)
        i, j = column.astype(int), row.astype(int)
        a, b = column - i, row - j
        rows = lambda k: self.off[k, j] * (1 - b) + self.off[k, j + 1] * b
        return rows(i) * (1 - a) + rows(i + 1) * a


def lay_fringe(lowest: np.ndarray, vertices: np.ndarray, quads: np.ndarray) -> Fringe:
    """The fringe with the edge `lowest` on the skin of a head: vertices [N, 3] at rest, quads [Q, 4]."""
    skin = vertices[np.unique(quads)]
    above = skin[skin[:, 2] > AXIS]
    middle = float(above[:, 1].min() + above[:, 1].max()) / 2
    near = vertices[quads].mean(1)
    points = spread(vertices[quads[(near[:, 2] > -0.02) & (near[:, 1] < middle + 0.03)]], FINE)
    off = np.hypot(points[:, 2] - AXIS, middle - points[:, 1])
    turn = np.arctan2(points[:, 2] - AXIS, middle - points[:, 1])
    place = [
        np.rint((at - grid[0]) / (grid[1] - grid[0])).astype(int)
        for at, grid in ((points[:, 0], ACROSS), (turn, TURNS))
    ]
    inside = (place[0] >= 0) & (place[0] < len(ACROSS)) & (place[1] >= 0) & (place[1] < len(TURNS))
    outermost = np.zeros((len(ACROSS), len(TURNS)))
    np.maximum.at(outermost, (place[0][inside], place[1][inside]), off[inside])
    return Fringe(np.asarray(lowest, float), _filled(outermost), middle)


def _filled(off: np.ndarray) -> np.ndarray:
    """[X, R] with what is 0 taken from the nearest turns, and from the next column where there is none."""
    filled = [np.interp(TURNS, TURNS[row > 0], row[row > 0]) if (row > 0).any() else None for row in off]
    known = [index for index, row in enumerate(filled) if row is not None]
    nearest = [min(known, key=lambda each: abs(each - index)) for index in range(len(filled))]
    return np.stack([filled[each] for each in nearest])
