"""How the strands of hair run in a photo, and how light they are beside their neighbours.

The orientation is that of the structure tensor (Bigun & Granlund 1987); that strands can be combed by such a field, seen from
one side only, is known since Chai et al. 2012, "Single-View Hair Modeling for Portrait Manipulation".
"""

from dataclasses import dataclass

import cv2
import numpy as np

from .conventions import srgb_to_linear
from .facemesh import OVAL
from .landmarks import Face
from .photo import Photo

# Of a photo whose face is FACE_PIXELS high: what is finer and coarser than strands; over which their run is taken, and in
# which neighbours should run alike (standard deviations, pixels); contrast of the logarithm of grey, above a BLACK in which noise
# is louder than strands, below which they are lost, and above which they show, one by one or as locks; the least area of hair
# that tells, and the edge left out, in heights of the face.
FACE_PIXELS, BAND, RUN, NEIGHBOURS = 256, (1.0, 4.0), 2.0, 12.0
BLACK, STRANDS_SHOW, LOCKS_SHOW, LEAST_HAIR, EDGE = 0.12, (0.03, 0.06), (0.006, 0.015), 0.01, 0.02
LOCK, MARGIN = 5.0, 40  # pixels: over which locks are combed alike, and how far round the hair is looked at
GAPS = 0.12  # of the face's height: so wide between hair on a head and off it, where the photo sees the head aslant
# How far hair begins too early, in heights of the face; how far colours of hair and skin are apart, logarithms, that tell them; how
# far on the way from skin to hair skin ends; linear: darker colours are noise.
BEGINS, TOLD_APART, OF_SKIN, DARKEST = 0.06, 0.5, 0.4, 0.005
COARSE = 160  # pixels: the height of a face at which texels lie closely enough to be drawn as points
SHADE_BAND, MOST_SHADE = (0.8, 10.0), 0.6  # pixels; of the logarithm of grey
OFF_ON = (0.0, 1.0)  # at the ends of a span


@dataclass(frozen=True)
class Orientation:
    """run [2, h, w]: cosine and sine of twice the angle from the vertical in which strands run, as long as that is certain;
    weight [h, w]: 1 on the hair; grey [h, w]: logarithm of grey as sRGB has it, above the mean; no_hair [h, w]: 1 on skin that it leaves bare, -1 on the
    background; contrast from strand to strand; box: left, top, right and bottom of all that in the photo, pixels. A strand
    at an angle a runs along (-sin a, cos a), y down."""

    run: np.ndarray
    weight: np.ndarray
    grey: np.ndarray
    no_hair: np.ndarray
    contrast: float
    box: tuple[float, float, float, float]

    @property
    def sure(self) -> float:
        """In [0, 1]: whether strands show so well that each can be told from its neighbours."""
        return float(np.interp(self.contrast, STRANDS_SHOW, OFF_ON))

    def disagreement(self) -> float:
        """In [0, 1]: how far strands do not run as their neighbours do."""
        blurred = lambda image: cv2.GaussianBlur(image * self.weight, (0, 0), NEIGHBOURS)
        alone, together = blurred(np.hypot(*self.run)), np.hypot(*map(blurred, self.run))
        return 1.0 - float((together / (alone + 1e-6))[self.weight > 0].mean())

    def degrees_off(self, roll: float) -> float:
        """How far strands run off the vertical of a head that is rolled so far clockwise, radians."""
        certain = np.hypot(*self.run) * self.weight
        twice = np.arctan2(self.run[1], self.run[0]) - 2 * roll
        angle = np.abs(np.arctan2(np.sin(twice), np.cos(twice))) / 2
        return float(np.degrees((angle * certain).sum() / (certain.sum() + 1e-6)))

    def combed(self) -> np.ndarray:
        """[4, h, w] in [-1, 1]: the run of locks, a little beyond the hair that is seen too; how much lighter strands are than
        those around them, in units of MOST_SHADE; and 1 on skin without hair, -1 on the background."""
        run = [_inside(image, self.weight, LOCK) for image in self.run]
        fine, around = (_inside(self.grey, self.weight, width) for width in SHADE_BAND)
        shade = ((fine - around) / MOST_SHADE).clip(-1.0, 1.0) * (self.weight > 0)
        shows = float(np.interp(self.contrast, LOCKS_SHOW, OFF_ON))
        return np.stack([*(shows * image for image in run), shade, self.no_hair])


def as_strands_need(face: Face) -> float:
    """By what a photo is to be shrunk until its face is FACE_PIXELS high; 1 when it is smaller."""
    return min(1.0, FACE_PIXELS / float(np.ptp(face.points[list(OVAL), 1])))


def see_orientation(
    photo: Photo, face: Face, hair: np.ndarray, no_hair: np.ndarray | None = None
) -> Orientation | None:
    """The strands in a mask [H, W] of a photo, which shows bare skin where no_hair [H, W] is 1, and background where it is -1;
    None if there is too little hair."""
    size = np.ptp(face.points[list(OVAL), 1])
    within = cv2.erode(hair.astype(np.float32), np.ones((round(EDGE * size) | 1,) * 2))
    if within.sum() < LEAST_HAIR * size**2:
        return None
    box = _with_margin(cv2.boundingRect((within > 0).astype(np.uint8)), MARGIN * size / FACE_PIXELS, hair.shape)
    left, top, right, bottom = box
    there, scale = (slice(top, bottom), slice(left, right)), FACE_PIXELS / size
    scaled = {"fx": scale, "fy": scale, "interpolation": cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC}
    weight = np.float32(cv2.resize(within[there], None, **scaled) > 0.7)
    if not weight.any():
        return None
    shown = cv2.resize(cv2.cvtColor(photo.srgb[there], cv2.COLOR_RGB2GRAY), None, **scaled)
    grey = np.log(shown.clip(0.0, 1.0) + BLACK)
    grey -= (grey * weight).sum() / weight.sum()
    finest, coarsest = (_inside(grey, weight, width) for width in BAND)
    across, down = (cv2.Sobel(finest - coarsest, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    mean = lambda image: cv2.GaussianBlur(image * weight, (0, 0), RUN)
    run = np.stack([mean(across**2 - down**2), 2 * mean(across * down)]) / (mean(across**2 + down**2) + 1e-9)
    inside = cv2.erode(weight, np.ones((3, 3))) > 0
    contrast = float((finest - coarsest)[inside].std()) if inside.any() else 0.0
    free = weight * 0.0 if no_hair is None else cv2.resize(np.float32(no_hair * ~hair)[there], None, **scaled)
    return Orientation(run, weight, grey, free.clip(-1.0, 1.0), contrast, box)


def on_photo(mask: np.ndarray, pixel: np.ndarray, face: Face, shape: tuple[int, ...]) -> np.ndarray:
    """[H, W] bool: where a photo of a shape [H, W, ...] shows texels of a mask [T, T]; pixel [T, T, 2]: the place that each
    has there."""
    scale = min(1.0, COARSE / np.ptp(face.points[list(OVAL), 1]))
    drawn = np.zeros((max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))), np.uint8)
    column, row = np.floor(pixel[mask] * scale).astype(int).T
    inside = (row >= 0) & (row < drawn.shape[0]) & (column >= 0) & (column < drawn.shape[1])
    drawn[row[inside], column[inside]] = 1
    closed = cv2.morphologyEx(drawn, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return cv2.resize(closed, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST) > 0


def without_gaps(hair: np.ndarray, may_be: np.ndarray, face: Face) -> np.ndarray:
    """A mask [H, W] bool of hair and what lies between its parts, if that may be hair [H, W]."""
    width = round(GAPS * np.ptp(face.points[list(OVAL), 1])) | 1
    closed = cv2.morphologyEx(hair.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((width, width))) > 0
    return hair | (closed & may_be)


def up_to_hair(photo: Photo, face: Face, bare: np.ndarray, skin: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """A mask [H, W] bool of bare skin and of what lies next to it and has the colour of skin rather than of hair, linear [3]
    each: seen through the contrast of its strands, hair begins too early."""
    width = 2 * round(BEGINS * np.ptp(face.points[list(OVAL), 1])) + 1
    near = cv2.dilate(bare.astype(np.uint8), np.ones((width, width))) > 0
    return bare | (near & ~nearer_to_hair(srgb_to_linear(photo.srgb), hair, skin))


def nearer_to_hair(shown: np.ndarray, hair: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """[...] bool: whether linear colours [..., 3] are those of hair rather than of skin, [3] each; all of them when these two
    cannot be told apart."""
    log = lambda linear: np.log(linear + np.float32(DARKEST))
    to_hair = log(hair) - log(skin)
    if np.linalg.norm(to_hair) < TOLD_APART:
        return np.ones(shown.shape[:-1], bool)
    return (log(shown) - log(skin)) @ to_hair / (to_hair**2).sum() >= OF_SKIN


def _with_margin(
    rectangle: tuple[int, int, int, int], margin: float, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a rectangle x, y, width, height that is larger by a margin all round, inside a shape."""
    x, y, width, height = rectangle
    by = round(margin)
    return max(0, x - by), max(0, y - by), min(shape[1], x + width + by), min(shape[0], y + height + by)


def _inside(image: np.ndarray, weight: np.ndarray, width: float) -> np.ndarray:
    """The image [h, w] blurred under a weight [h, w]; what lies farther than three widths from it is 0."""
    blurred = lambda each: cv2.GaussianBlur(each, (0, 0), width)
    return blurred(image * weight) / (blurred(weight) + 0.02)
