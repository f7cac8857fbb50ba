"""The hair outside the bare head: its colour, how far it stands off the scalp, how far down it hangs, and how it curls.

How far is read off the person's outline, along rays in the plane through both ears, which is where the outline of a head
seen from the front lies.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.ndimage import median_filter
from torch import Tensor

from .conventions import FRINGE_COLUMNS, srgb_to_linear
from .cover import eroded_by
from .facemesh import EYE_CORNERS, OVAL
from .geometry.texture import ramp
from .head.atlas import HeadAtlas
from .head.fit import FittedHead
from .landmarks import Face
from .orientation import DARKEST, OFF_ON, as_strands_need, nearer_to_hair, see_orientation
from .photo import Photo

# Shares of the head's size in the photo: how far from its outline hair begins, the least area of it that is a style, and the
# least that tells the hair's colour without what bleeds into its edge. Of 16 training portraits, long hair close to a skull
# that came out high leaves 0.005; bald heads leave none.
OFF_HEAD, LEAST_AROUND, LEAST_COLOUR = 0.015, 0.004, 0.012
NOT_GLEAMING = 0.9  # of its pixels: the brightest are the light's
CENTRE = 0.03  # metres above the eyes: where rays begin
ANGLES = np.linspace(-10.0, 190.0, 41)  # degrees, from the subject's left over the top to the right
STEP, LONGEST_RAY, MOST_HEIGHT = 0.001, 0.22, 0.06  # metres
SMOOTH = 5  # rays: a lock or a hole in the outline is no hairstyle
FALL_BEGINS, FALL_STEP, MOST_FALL = 0.03, 0.003, 0.25  # metres below the eyes
# Metres from the middle: where it is looked for how far hair hangs, and how wide it must be there; where it may hang.
BESIDE, LEAST_WIDTH, WIDEST = (0.06, 0.13), 0.008, 0.2
# Log-chroma and log-luminance within which it is this hair; and with a gleam on it.
OF_ONE_COLOUR, OF_ONE_BRIGHTNESS, GLEAM = 0.35, 1.0, 1.6
# Of the face's height, and the shares of what lies so near that are hair with its gaps, and hair alone; what gaps between strands
# are at most of its brightness.
AROUND, MOST_OF_IT, SOME_OF_IT, GAPS_DARKER = 0.04, 0.5, 0.2, 0.37
BLACK = 0.03  # linear: darker colours are those of black hair
GAP = 0.012  # metres: a gleam or an ear-ring does not end it
LEAST_FALL = 0.05  # metres below the eyes: hair that covers the ears hangs no lower
NAPE = (-0.05, 0.03)  # metres above the eyes: below the ears hair that does not hang is cut close
# Beside the forehead hair stands off less than the outline shows, which lies behind: metres before the eyes from the plane
# through the ears to the hairline, and from the middle of the head; and by what share less.
TEMPLE, TEMPLE_WIDTH, AT_TEMPLE = (-0.07, -0.015), 0.06, 0.7
SIDES = (-0.03, 0.03)  # metres: from one side's length to the other's
# Metres: half the width in which a column of the fringe is sought, and how far to each side its ends go on; the share of
# the lowest of it that is single strands.
COLUMN_REACH, FRINGE_ENDS, STRAY_STRANDS = 0.006, 0.012, 0.04
# From straight hair over waves to curls, as 49 training portraits are: how far neighbours run apart and the curl that tells (curls
# by 0.58 or more; straight hair in a soft photo by up to 0.5), and for hair that hangs degrees off the vertical, which tell of
# waves; metres that hair must stand off to show any.
RUN_APART, SO_CURLY = (0.20, 0.28, 0.50, 0.60), (0.0, 0.22, 0.4, 1.0)
HANGS_STRAIGHT, MOST_WAVED, CURLS_STAND = (20.0, 50.0), 0.6, (0.015, 0.035)


@dataclass(frozen=True)
class Hairstyle:
    """linear [3]: most of its colour as the photo shows it; sure: whether there is enough of it to be believed; height [K]: metres
    that it stands off the scalp at each of ANGLES; fall: metres below the eyes that it hangs down on the left and on the right,
    0 when it ends above; curl in [0, 1]: from straight hair over waves to tight curls; off_head [H, W] bool: where the photo
    shows it outside the bare head."""

    linear: np.ndarray
    sure: bool
    height: np.ndarray
    fall: tuple[float, float]
    curl: float
    off_head: np.ndarray

    def on_tile(self, atlas: HeadAtlas) -> Tensor:
        """[2, T, T] height and fall at every texel, metres: the outline goes on from the front to the back."""
        x, y, _ = atlas.surface.numpy(force=True)
        angle = (np.degrees(np.arctan2(y - CENTRE, x)) + 90.0) % 360.0 - 90.0
        height = torch.from_numpy(np.interp(angle, ANGLES, self.height)).to(atlas.surface)
        left = ramp(atlas.surface[0], *SIDES)
        fall = left * self.fall[0] + (1 - left) * self.fall[1]
        height = height * torch.where(fall > 0, 1.0, ramp(atlas.surface[1], *NAPE))
        at_temple = ramp(atlas.surface[2], *TEMPLE) * (atlas.surface[0].abs() / TEMPLE_WIDTH).clamp(max=1)
        height = height * (1 - AT_TEMPLE * at_temple)
        return torch.stack([height, fall]) * atlas.mask


def see_hairstyle(photo: Photo, face: Face, head: FittedHead, person: np.ndarray) -> Hairstyle | None:
    """The hair that the person [H, W] shows outside the bare head; None where there is too little."""
    outline = head.camera.project(head.vertices)[0, :, :2].numpy(force=True)
    hull = cv2.fillConvexPoly(np.zeros(person.shape, np.uint8), cv2.convexHull(outline.round().astype(np.int32)), 1)
    size = np.ptp(outline, axis=0).mean()
    of_head = cv2.dilate(hull, np.ones((2 * round(OFF_HEAD * size) + 1,) * 2))
    eyes = int(np.clip(face.points[list(EYE_CORNERS), 1].min(), 0, len(person)))
    outside = (person[:eyes] > 0.9) & (of_head[:eyes] == 0)
    if outside.sum() < LEAST_AROUND * size**2:
        return None
    linear = _lit_colour(srgb_to_linear(photo.srgb[:eyes][outside]))
    sure = bool(outside.sum() > LEAST_COLOUR * size**2)
    height = _height(head, hull, person)
    skin = _skin(photo, face)
    fall = _fall(photo, head, hull, person, linear, skin)
    above, stands, hangs = _where(face, head, person.shape, fall)
    alike_there = mostly_alike(photo.srgb, linear, skin, face) & (stands | hangs)
    off_head = (person > 0.9) & (hull == 0) & (above | alike_there)
    curl = _curl(photo, face, stands & off_head, hangs & off_head) * float(np.interp(height.max(), CURLS_STAND, OFF_ON))
    return Hairstyle(linear, sure, height, fall, curl, off_head)


def see_fringe(over_forehead: Tensor, head: FittedHead, atlas: HeadAtlas) -> np.ndarray | None:
    """[17] metres above the eyes down to which hair hangs over the forehead at each of FRINGE_COLUMNS, NaN where none
    does; None without a fringe. over_forehead [T, T]: where the photo shows such hair."""
    there = over_forehead > 0.5
    if not there.any():
        return None
    x, y, _ = atlas.bake(head.fine_neutral_vertices())[:, there].numpy(force=True)
    columns, least = np.array(FRINGE_COLUMNS), there.sum().item() / len(FRINGE_COLUMNS) / 4
    beside = [y[np.abs(x - column) < COLUMN_REACH] for column in columns]
    lowest = np.array([np.quantile(each, STRAY_STRANDS) if len(each) > least else np.nan for each in beside])
    known = ~np.isnan(lowest)
    if not known.any():
        return None
    near = (np.abs(columns[:, None] - columns[known]) < FRINGE_ENDS).any(1)  # where it is parted, nothing hangs
    return np.where(near, np.interp(columns, columns[known], lowest[known]), np.nan)


def _height(head: FittedHead, hull: np.ndarray, person: np.ndarray) -> np.ndarray:
    """[K] metres of person beyond the bare head along each ray; rays that leave the photo take their neighbours'."""
    radius, radians = np.arange(0.0, LONGEST_RAY, STEP), np.radians(ANGLES)
    directions = np.stack([np.cos(radians), np.sin(radians)], -1)
    place = _place(head, directions[:, None] * radius[:, None] + [0.0, CENTRE], person.shape)
    begins = np.where(place.of(hull), np.arange(len(radius)), 0).max(1)
    beyond = (np.arange(len(radius)) > begins[:, None]) & ~place.of(person)
    ends = np.where(beyond.any(1), beyond.argmax(1), len(radius) - 1)
    height = (ends - begins - 1) * STEP
    height = height + np.where(height > 0, _metres(head, eroded_by(person.shape)), 0.0)
    known = np.take_along_axis(place.inside, ends[:, None], 1)[:, 0]
    if not known.any():
        return np.zeros(len(ANGLES))
    height = np.interp(ANGLES, ANGLES[known], height[known])
    return median_filter(height, SMOOTH, mode="nearest").clip(0.0, MOST_HEIGHT)


def _fall(
    photo: Photo, head: FittedHead, hull: np.ndarray, person: np.ndarray, linear: np.ndarray, skin: np.ndarray
) -> tuple[float, float]:
    """Metres below the eyes down to which hair of this colour hangs without a gap beside the face, left and right."""
    down, across = np.arange(FALL_BEGINS, MOST_FALL, FALL_STEP), np.arange(*BESIDE, FALL_STEP)
    longest_gap, sides = round(GAP / FALL_STEP), []
    for side in (1, -1):
        place = _place(head, np.stack(np.broadcast_arrays(side * across, -down[:, None]), -1), person.shape)
        shown = srgb_to_linear(place.look_up(photo.srgb))
        is_hair = place.of(person) & ~place.of(hull) & alike(shown, linear, GLEAM) & nearer_to_hair(shown, linear, skin)
        wide = is_hair.sum(1) * FALL_STEP > LEAST_WIDTH
        gone = np.convolve(~wide, np.ones(longest_gap), "valid") >= longest_gap
        fall = FALL_BEGINS + (int(gone.argmax()) if gone.any() else len(down)) * FALL_STEP
        sides.append(fall if fall > LEAST_FALL else 0.0)
    return sides[0], sides[1]


def _where(
    face: Face, head: FittedHead, shape: tuple[int, ...], fall: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[H, W] bool: above the eyes, where what stands off a head is hair or a hat; where hair may stand off it; and where hair that
    falls so far hangs beside it. Down is away from the line through the eyes, however the head is held."""
    row, column = np.ogrid[: shape[0], : shape[1]]
    x, y = face.points[list(EYE_CORNERS)].mean(0)
    metre, roll = _metres(head, 1.0), _roll(face)
    aside = ((column - x) * np.cos(roll) + (row - y) * np.sin(roll)) * metre
    down = ((row - y) * np.cos(roll) - (column - x) * np.sin(roll)) * metre
    beside = np.abs(aside) < WIDEST
    hangs = (down > FALL_BEGINS) & (down < np.where(aside > 0, *fall)) & beside
    return (down < 0.0) & beside, down < FALL_BEGINS, hangs


def _roll(face: Face) -> float:
    """Radians that the line through the eyes is turned clockwise."""
    right, left = face.points[list(EYE_CORNERS)]
    return float(np.arctan2(*(left - right)[::-1]))


def _curl(photo: Photo, face: Face, stands: np.ndarray, hangs: np.ndarray) -> float:
    """In [0, 1], of the hair that stands off a head and that hangs [H, W]: strands that lie straight run as their neighbours do,
    and hang straight down."""
    together, falling = (see_orientation(photo, face, there) for there in (stands, hangs))
    curls = together.sure * float(np.interp(together.disagreement(), RUN_APART, SO_CURLY)) if together else 0.0
    # Down is where the camera has it, or the head: who holds the other aslant nobody knows.
    off = min(falling.degrees_off(0.0), falling.degrees_off(_roll(face))) if falling else 0.0
    waves = MOST_WAVED * falling.sure * float(np.interp(off, HANGS_STRAIGHT, OFF_ON)) if falling else 0.0
    return max(curls, waves)


def _lit_colour(linear: np.ndarray) -> np.ndarray:
    """[3] as bright as the pixels [P, 3] of hair are on the whole, in the colour of the lighter half: light that has gone from
    strand to strand into the shade is more saturated than hair is."""
    brightness = linear.mean(1)
    middle, high = np.quantile(brightness, (0.5, NOT_GLEAMING))
    matt = brightness <= high
    lit = linear[matt & (brightness >= middle)].mean(0)
    return lit * (brightness[matt].mean() / max(float(lit.mean()), 1e-6))


def alike(shown: np.ndarray, linear: np.ndarray, brightest: float = OF_ONE_BRIGHTNESS) -> np.ndarray:
    """[...] bool: whether linear colours [..., 3] may be hair of one [3], in light and shade; brightest: log-luminance beyond
    that colour's."""
    brightness, coloured = _off_colour(shown, linear)
    return (brightness > -OF_ONE_BRIGHTNESS) & (brightness < brightest) & (coloured < OF_ONE_COLOUR)


def mostly_alike(srgb: np.ndarray, linear: np.ndarray, skin: np.ndarray, face: Face) -> np.ndarray:
    """[H, W] bool: whether most of what lies around each pixel may be hair of a linear colour [3] and is no skin of another [3]:
    strands gleam, and gaps between them are much darker. Looked at as large as strands need it."""
    size, shrink = srgb.shape[1::-1], as_strands_need(face)
    small = cv2.resize(srgb, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1.0 else srgb
    width = 2 * round(AROUND * shrink * np.ptp(face.points[list(OVAL), 1])) + 1
    shown = srgb_to_linear(small)
    brightness, coloured = _off_colour(shown, linear)
    gaps = shown.mean(-1) < np.maximum(DARKEST, GAPS_DARKER * linear.mean())
    strands = (coloured < OF_ONE_COLOUR) & (brightness < GLEAM) & nearer_to_hair(shown, linear, skin)
    # Black hair is as dark as what lies in its shade.
    sure = strands & ~gaps if linear.mean() > BLACK else strands | gaps
    around, hairy = (cv2.blur(np.float32(each), (width, width)) for each in (strands | gaps, sure))
    mostly = (around > MOST_OF_IT) & (hairy > SOME_OF_IT)
    return cv2.resize(mostly.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


def _skin(photo: Photo, face: Face) -> np.ndarray:
    """[3] linear: the median colour of the face."""
    low, high = (face.points.min(0).astype(int).clip(min=0), face.points.max(0).astype(int) + 1)
    shown = photo.srgb[low[1] : high[1], low[0] : high[0]]
    inside = np.zeros(shown.shape[:2], np.uint8)
    outline = cv2.convexHull((face.points - low).round().astype(np.int32))
    cv2.fillConvexPoly(inside, outline, 1)
    return srgb_to_linear(np.median(shown[inside > 0], axis=0))


def _off_colour(shown: np.ndarray, linear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[...] log-luminance and length of log-chroma by which linear colours [..., 3] are off one [3]."""
    off = np.log(shown + DARKEST) - np.log(linear + DARKEST)
    brightness = off.mean(-1)
    return brightness, np.linalg.norm(off - brightness[..., None], axis=-1)


def _metres(head: FittedHead, pixels: float) -> float:
    """So many pixels of the photo in the plane through the ears, about."""
    depth = head.camera.project(head.fine_vertices()[head.model.regions["ear"] > 0.5])[0, :, 2].mean()
    return pixels * float(depth / head.camera.focal[0])


@dataclass(frozen=True)
class _Place:
    """row, column [...]: where the photo shows places of the plane through the ears; inside [...]: whether it does."""

    row: np.ndarray
    column: np.ndarray
    inside: np.ndarray

    def look_up(self, image: np.ndarray) -> np.ndarray:
        """Values [..., ?] of an image [H, W, ?]; at the edge those of its last pixels."""
        return image[self.row, self.column]

    def of(self, mask: np.ndarray) -> np.ndarray:
        """[...] bool: whether a mask [H, W] covers them."""
        return (self.look_up(mask) > 0.5) & self.inside


def _place(head: FittedHead, about_eyes: np.ndarray, shape: tuple[int, ...]) -> _Place:
    """Places [..., 2] of the plane through the ears, x and y about the eyes in metres, in a photo of a shape."""
    eyes = head.model.eyes(head.vertices)[0].mean(0)
    ears = head.fine_vertices()[head.model.regions["ear"] > 0.5]
    points = torch.from_numpy(about_eyes).to(eyes)
    points = torch.cat([points + eyes[:2], ears[:, 2].mean().expand_as(points[..., :1])], -1)
    pixel = head.camera.project(points.reshape(-1, 3))[0, :, :2].numpy(force=True).reshape(about_eyes.shape)
    size = np.array(shape[1::-1])
    column, row = np.moveaxis(pixel.clip(0, size - 1).astype(int), -1, 0)
    return _Place(row, column, ((pixel >= 0) & (pixel < size)).all(-1))
