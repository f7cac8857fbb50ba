"""Hair combed as the photo shows it: strands that the photo sees turn as the hair runs there, and are as light as it is there.

Plain numbers, no Blender. Blender's axes: z up, the face looks along -y.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from .arrays import rise, spread, unit
from .core import conventions

CENTRE = np.array([0.0, 0.08, 0.02])  # metres: from here the skin is looked up
AZIMUTHS, ELEVATIONS = 96, 64  # how finely
FINE = 4  # parts of a side of a quad, finer than that
CERTAIN = 0.12, 0.35  # length of the run from which on it counts, and counts fully
SEEN = -0.15, 0.25  # cosine between the camera and the way out of the head, the same
# Metres that a strand that hangs may come off its own way above the eyes, and beside face and neck; where the one ends and the
# other.
MOST_OFF, LEAST_OFF, FREE = 0.12, 0.012, (-0.03, 0.02)
ON_SKULL = 0.0, 0.04  # metres above the eyes from which on strands keep their distance to the skin
CLOSEST = 0.0004  # metres
SHORTER = 0.95  # share of a step that is left out on bare skin
LIGHTER, NO_HAIR = 2, 3  # of the channels of `Combed`
DRAWN_IN = 4, 0.06  # how often, and by what share of its distance, what stands beyond the person's outline


@dataclass(frozen=True)
class Skin:
    """How far the skin is from CENTRE, [AZIMUTHS, ELEVATIONS] metres."""

    radius: np.ndarray

    def off(self, points: np.ndarray) -> np.ndarray:
        """Metres [...] that points [..., 3] lie off the skin, away from CENTRE."""
        out = points - CENTRE
        return np.linalg.norm(out, axis=-1) - self._below(unit(out))

    def at(self, points: np.ndarray, off: np.ndarray) -> np.ndarray:
        """The points [..., 3] so far [...] off the skin."""
        way = unit(points - CENTRE)
        return CENTRE + way * (self._below(way) + off)[..., None]

    def _below(self, way: np.ndarray) -> np.ndarray:
        azimuth, elevation = _angles(way)
        column, row = azimuth.astype(int) % AZIMUTHS, elevation.astype(int).clip(0, ELEVATIONS - 2)
        a, b = azimuth - np.floor(azimuth), (elevation - row).clip(0.0, 1.0)
        at = lambda i: self.radius[i, row] * (1 - b) + self.radius[i, row + 1] * b
        return at(column) * (1 - a) + at((column + 1) % AZIMUTHS) * a


@dataclass(frozen=True)
class Combed:
    """What strands.npz tells of the hair in the photo. image [4, h, w] in [-1, 1]: twice the angle from the vertical in which it
    runs as cosine and sine, as long as that is certain, how much lighter strands are than those around, and 1 where
    skin is bare, -1 on the background; box [4]: its left, top, right and bottom in pixels of the photo."""

    image: np.ndarray
    box: np.ndarray


@dataclass(frozen=True)
class Comb:
    """combed: the photo's hair; view_from_world [4, 4], y up, focal, principal [2]: the photo's camera, pixels; skin: of the head
    at rest."""

    combed: Combed
    view_from_world: np.ndarray
    focal: float
    principal: np.ndarray
    skin: Skin

    def turn(self, strands: np.ndarray, ends: np.ndarray) -> Generator[None, None, np.ndarray]:
        """[H, P, 3] strands [H, P, 3] that run as the photo shows, as far as it shows them; a step a turn. Those that may
        [H] end where it shows bare skin."""
        combed = strands.copy()
        own_off = self.skin.off(strands)
        off = own_off[:, 0]
        for number in range(1, strands.shape[1]):
            yield
            before, own = combed[:, number - 1], strands[:, number]
            told, seen = self._look_up(before), self._seen(before)
            goes_on = 1.0 - SHORTER * ends * seen * told[:, NO_HAIR].clip(0.0)
            step = goes_on[:, None] * (own - strands[:, number - 1])
            # Of the two ways along a line the one that is nearer to how the strand came.
            towards = step if number == 1 else step + (before - combed[:, number - 2])
            place = before + self._turned(step, towards, told, seen)
            place = self._within_outline(np.where(ends[:, None], place, self._near(place, own)))
            off = off + goes_on * (own_off[:, number] - own_off[:, number - 1])
            on_skull = rise(place[:, 2], *ON_SKULL)[:, None]
            kept = self.skin.at(place, np.maximum(off, CLOSEST))
            combed[:, number] = place + on_skull * (kept - place)
        return combed

    def bares(self, points: np.ndarray) -> np.ndarray:
        """[...] bool: whether the photo shows bare skin at points [..., 3]."""
        return self._seen(points) * self._look_up(points)[..., NO_HAIR] > 0.5

    def shade(self, points: np.ndarray) -> np.ndarray:
        """[...] brightness of strands at points [..., 3] beside what they have on the whole."""
        return np.exp(conventions.STRANDS_LIGHTEST * self._seen(points) * self._look_up(points)[..., LIGHTER])

    def _within_outline(self, places: np.ndarray) -> np.ndarray:
        """Places [H, 3], of those below the eyes what is before the background drawn in towards the axis of the head: farther
        up the hair is as high as the outline anyway."""
        free = 1.0 - rise(places[:, [2]], *ON_SKULL)
        low = free[:, 0] > 0.0
        drawn, free = places[low], free[low]
        for _ in range(DRAWN_IN[0]):
            beyond = free * -self._look_up(drawn)[:, [NO_HAIR]].clip(None, 0.0)
            drawn[:, :2] += DRAWN_IN[1] * beyond * (CENTRE[:2] - drawn[:, :2])
        within = places.copy()
        within[low] = drawn
        return within

    def _turned(self, steps: np.ndarray, towards: np.ndarray, told: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Steps [H, 3] turned about the line of sight until they run as hair does in the photo there: told [H, 4], and seen [H],
        where they begin."""
        cosine, sine, *_ = np.moveaxis(told, -1, 0)
        certain = rise(np.hypot(cosine, sine), *CERTAIN) * seen
        rotation = self.view_from_world[:3, :3]
        own, ahead = (conventions.zup_to_yup(each) @ rotation.T for each in (steps, towards))
        goes, comes = (np.arctan2(-each[:, 0], each[:, 1]) for each in (ahead, own))
        twice = np.arctan2(sine, cosine) - 2 * goes
        wanted = goes + np.arctan2(np.sin(twice), np.cos(twice)) / 2
        by = certain * np.arctan2(np.sin(wanted - comes), np.cos(wanted - comes))
        c, s = np.cos(by), np.sin(by)
        turned = np.stack([c * own[:, 0] - s * own[:, 1], s * own[:, 0] + c * own[:, 1], own[:, 2]], -1)
        return conventions.yup_to_zup(turned @ rotation)

    def _near(self, places: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Places [H, 3] no farther from a strand's own [H, 3] than it may come."""
        off = places - own
        far = np.linalg.norm(off, axis=1, keepdims=True)
        most = LEAST_OFF + (MOST_OFF - LEAST_OFF) * rise(own[:, [2]], *FREE)
        return own + off * (most * np.tanh(far / most) / far.clip(1e-9))

    def _seen(self, points: np.ndarray) -> np.ndarray:
        """[...] in [0, 1]: whether the photo shows the side of the head on which points [..., 3] are."""
        way = conventions.zup_to_yup(unit(points - CENTRE)) @ self.view_from_world[2, :3]
        return rise(-way, *SEEN)

    def _look_up(self, points: np.ndarray) -> np.ndarray:
        """[..., 4] of the image where the photo shows points [..., 3]; 0 outside."""
        view = conventions.zup_to_yup(points) @ self.view_from_world[:3, :3].T + self.view_from_world[:3, 3]
        pixel = view[..., :2] / view[..., 2:] * self.focal + self.principal
        image, box = self.combed.image, self.combed.box
        size = np.array(image.shape[:0:-1])
        place = (pixel - box[:2]) / (box[2:] - box[:2]) * size - 0.5
        inside = ((place > 0) & (place < size - 1)).all(-1)
        column, row = np.moveaxis(np.where(inside[..., None], place, 0.0), -1, 0)
        i, j = row.astype(int), column.astype(int)
        a, b = row - i, column - j
        at = lambda i: image[:, i, j] * (1 - b) + image[:, i, j + 1] * b
        return np.moveaxis(inside * (at(i) * (1 - a) + at(i + 1) * a), 0, -1)


def lay_skin(vertices: np.ndarray, quads: np.ndarray) -> Skin:
    """The skin of a head: vertices [N, 3] at rest, quads [Q, 4]."""
    out = spread(vertices[quads], FINE) - CENTRE
    azimuth, elevation = (np.rint(each).astype(int) for each in _angles(unit(out)))
    radius = np.zeros((AZIMUTHS, ELEVATIONS))
    np.maximum.at(radius, (azimuth % AZIMUTHS, elevation.clip(0, ELEVATIONS - 1)), np.linalg.norm(out, axis=1))
    rows = [np.interp(np.arange(ELEVATIONS), np.flatnonzero(each), each[each > 0]) for each in radius]
    return Skin(np.stack(rows))


def _angles(way: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places in `Skin.radius` of directions [..., 3]: azimuth from 0 up to AZIMUTHS, elevation."""
    azimuth = (np.arctan2(way[..., 0], -way[..., 1]) / (2 * np.pi) % 1.0) * AZIMUTHS
    elevation = (np.arcsin(way[..., 2].clip(-1.0, 1.0)) / np.pi + 0.5) * (ELEVATIONS - 1)
    return azimuth, elevation
