"""Landmarks that the artist corrects: which can be taken hold of, and how their neighbours follow."""

from dataclasses import dataclass, field

import numpy as np

from .core import facemesh, protocol

OUTLINES = (facemesh.OVAL, *facemesh.EYE_OUTLINES, *facemesh.BROWS, facemesh.OUTER_MOUTH, facemesh.INNER_MOUTH)
RIMS = tuple(numbers[1:] for numbers in facemesh.IRIS_LANDMARKS)
CENTRES = tuple(numbers[0] for numbers in facemesh.IRIS_LANDMARKS)
HANDLES = tuple(sorted({*CENTRES, *(each for line in (*OUTLINES, *facemesh.NOSE_LINES) for each in line)}))
REACH = 0.06  # how far neighbours follow (one standard deviation), of the face's longer side
WIDER = 1.2  # a step of the wheel
MOVED = 0.05  # pixels of the photo below which a landmark counts as left where it was


@dataclass
class Edit:
    """Landmarks being corrected; all in pixels of the upright photo.

    found: [478, 2] as the detector has them; points: [478, 2] as they are now; reach: how far neighbours follow.
    """

    found: np.ndarray
    points: np.ndarray
    reach: float
    _before: list[np.ndarray] = field(default_factory=list)

    def take(self) -> None:
        """A drag begins: one step of undo."""
        self._before.append(self.points)

    def drag(self, index: int, to: np.ndarray) -> None:
        """Move landmark `index` to a place, since `take`; what lies near follows, ever less the farther away."""
        start = self._before[-1]
        distance = np.linalg.norm(start - start[index], axis=1)
        share = np.exp(-0.5 * (distance / self.reach) ** 2)
        self.points = start + share[:, None] * (np.asarray(to) - start[index])

    def undo(self) -> None:
        """Take back the last drag, or the last reset; nothing when there was none."""
        if self._before:
            self.points = self._before.pop()

    def reset(self) -> None:
        """All back to where the detector has found them."""
        self.take()
        self.points = self.found

    def moved(self) -> dict[int, list[float]]:
        """Where the corrected landmarks are, by number."""
        indices = np.flatnonzero(np.linalg.norm(self.points - self.found, axis=1) > MOVED)
        return {int(i): [round(float(each), 2) for each in self.points[i]] for i in indices}

    def nearest(self, place: np.ndarray, within: float) -> int | None:
        """The handle next to a place, at most `within` pixels away."""
        handles = np.array(HANDLES)
        distance = np.linalg.norm(self.points[handles] - place, axis=1)
        best = int(distance.argmin())
        return int(handles[best]) if distance[best] <= within else None


def edit_of(face: dict, corrections: str) -> Edit:
    """Begin with what was found (as id2r_core.faces describes it) and with earlier corrections."""
    found = np.array(face["points"])
    points = found.copy()
    for index, place in protocol.read_corrections(corrections).items():
        points[index] = place
    return Edit(found, points, REACH * float(np.ptp(found, axis=0).max()))
