"""Where the rims of glasses run in a photo, so that they and nothing else can be taken off the skin.

The photo is looked at as it shows the plane of the lenses. A pair of mirrored superellipses is laid over it so that they
run along lines thinner than a rim can be wide, and then follows those lines as an active contour, solved exactly by
dynamic programming (Amini et al. 1990): frames come in more forms than an ellipse has.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.optimize import differential_evolution

from .conventions import srgb_to_linear
from .facemesh import BROWS, EYE_OUTLINES
from .geometry.texture import connected
from .head.fit import FittedHead
from .landmarks import Face
from .photo import Photo

BEFORE_EYES = 0.014  # metres from the eyeball to the plane of the lenses
PIXEL, HALF_WIDTH, ABOVE, BELOW = 0.0003, 0.080, 0.030, 0.042  # metres: the picture of the plane, about the eyes
WIDEST_RIM, FINE_RIM = 0.007, 0.0027  # metres; the latter thinner than most brows
CONTRAST, GLEAM = 0.8, 0.6  # log-luminance of a full line; share of a bright line's in that of a dark one
BROW_LINES, BLUR = 0.9, 2.5  # share of lines on brows that counts; pixels over which a curve is drawn to a line
LID_ROOM = 0.003, 0.005  # metres beside and above an eye that are lashes
ANGLES = np.linspace(0.0, 2 * np.pi, 96, endpoint=False)
UPPER = np.sin(ANGLES) > 0
# Bounds, and what most frames have with its spread; metres and radians: middle of the bridge and height of the lenses about
# the eyes, distance of a lens from the middle, half its width and height, exponent, taper towards the chin, tilt.
BOUNDS = (
    (-0.004, 0.004), (-0.015, -0.002), (0.027, 0.039), (0.020, 0.031), (0.012, 0.025), (2.0, 5.0), (-0.05, 0.20), (-0.12, 0.20),
)  # fmt: skip
USUAL, SPREAD = (
    np.array([0.0, -0.008, 0.033, 0.025, 0.017, 3.0, 0.08, 0.03]),
    np.array([0.002, 0.004, 0.003, 0.003, 0.004, 1.5, 0.10, 0.08]),
)
PRIOR, NARROWEST_BRIDGE = 0.02, 0.006  # weight of the usual; metres between two lenses
WEIGHT_OF_TOP = 0.55
ROUNDS, POPULATION, SEED = 60, 14, 0
# Metres that a contour may leave the superellipse; what a metre off it, and a change by one pixel from angle to angle, cost.
GIVE, STIFFNESS, BENDING = 0.0045, 2.0, 0.03
# Metres from the contour, and beyond its half width, that are rim whatever is seen; within which lines belong to it.
SURE, RIM_REACH = 0.0008, 0.0028
LEAST_OF_LINE = 0.16  # strength from which on a line is one
BRIDGE_ROOM, TEMPLE_ROOM = 0.007, 0.009  # metres above and below the bridge, and the hinges, where their lines run
BRIDGE, HINGE = 0.45, 0.55  # height of bridge and hinges on the lenses: sine of the angle at their edge
EDGE = 0.0006  # metres: what bleeds from a rim into the skin
DARK_LENS = 1.3  # log-luminance by which sunglasses are darker than the cheeks below


@dataclass(frozen=True)
class Rims:
    """plane [H, W, 3]: the photo as it shows the plane of the lenses, sRGB; lines [H, W] in [0, 1]: what could be a rim;
    eyes [3]: the middle between them, metres in the head frame; depth: z of the plane; middle: x of the bridge about the
    eyes; outline [A, 2]: the edge of the left lens about the eyes, from its outermost point upwards, metres, x from the
    bridge; edges [2, A, 2]: of the left and the right lens about the eyes, each as it is seen; found [2, A] in [0, 1]:
    the strength of the lines there; to_photo [3, 3]: homography from pixels of the plane to those of the photo."""

    plane: np.ndarray
    lines: np.ndarray
    eyes: np.ndarray
    depth: float
    middle: float
    outline: np.ndarray
    edges: np.ndarray
    found: np.ndarray
    to_photo: np.ndarray

    def in_photo(self, photo: Photo) -> np.ndarray:
        """[H, W] in [0, 1]: 1 on rims, bridge, temples, and on the whole of dark lenses."""
        mask = _dilated(self._mask(), EDGE).astype(np.float32)
        return cv2.warpPerspective(mask, self.to_photo, (photo.width, photo.height))

    def _mask(self) -> np.ndarray:
        """[H, W] bool in the plane."""
        lenses = [_filled(edge, self.lines.shape) for edge in self.edges]
        either = lenses[0] | lenses[1]
        edge = either ^ _eroded(either, PIXEL)
        near = _dilated(edge, RIM_REACH)
        bridge, temples = self._between(), self._beside()
        is_line = (self.lines > LEAST_OF_LINE) & (near | bridge | temples)
        mask = connected(torch.from_numpy(is_line | _dilated(edge, SURE)), torch.from_numpy(edge)).numpy()
        return mask | (either if self._dark(either) else np.zeros_like(either))

    def _between(self) -> np.ndarray:
        """[H, W] bool: where a bridge can be."""
        at = int(np.argmin(np.abs(ANGLES - (np.pi - np.arcsin(BRIDGE)))))
        (left, top), (right, bottom) = self.edges[1, at], self.edges[0, at]
        return _box(left, right, min(top, bottom) - BRIDGE_ROOM, max(top, bottom) + BRIDGE_ROOM, self.lines.shape)

    def _beside(self) -> np.ndarray:
        """[H, W] bool: where temples can be."""
        at = int(np.argmin(np.abs(ANGLES - np.arcsin(HINGE))))
        sides = []
        for (x, y), end in zip(self.edges[:, at], (HALF_WIDTH, -HALF_WIDTH), strict=True):
            sides.append(_box(min(x, end), max(x, end), y - TEMPLE_ROOM, y + TEMPLE_ROOM, self.lines.shape))
        return sides[0] | sides[1]

    def _dark(self, lenses: np.ndarray) -> bool:
        luminance = log_luminance(self.plane)
        below = np.roll(lenses, round(BELOW / 2 / PIXEL), axis=0) & ~lenses
        return bool(np.median(luminance[below]) - np.median(luminance[lenses]) > DARK_LENS)


def find_rims(photo: Photo, face: Face, head: FittedHead) -> Rims:
    """The likeliest rims of the glasses that a person is known to wear; `found` says how well they are seen."""
    centres, radii = (each.cpu() for each in head.model.eyes(head.vertices))
    eyes = centres.mean(0).numpy()
    depth = float(eyes[2] + radii.mean()) + BEFORE_EYES
    plane, from_photo = _picture_of_plane(photo, head, eyes, depth)
    points = cv2.perspectiveTransform(face.points[None].astype(np.float32) - 0.5, from_photo)[0]
    lines = _lines(plane, points)
    shape = _fit(lines)
    edges = _curves(shape)
    away = outward(edges)
    steps = np.arange(-GIVE, GIVE + PIXEL / 2, PIXEL)
    # [2, A, S]: the lines met by going outwards from the superellipse.
    met = look_up(lines, edges[:, :, None] + away[:, :, None] * steps[:, None])
    each = steps[np.stack([_follow(side, steps) for side in met])]
    both = steps[_follow(met.mean(0), steps)]
    seen_edges = edges + away * each[..., None]
    outline = (edges[0] + away[0] * both[:, None]) - [shape[0], 0.0]
    return Rims(
        plane, lines, eyes, depth, float(shape[0]), outline, seen_edges, look_up(lines, seen_edges),
        np.linalg.inv(from_photo),
    )  # fmt: skip


def log_luminance(plane: np.ndarray) -> np.ndarray:
    """[H, W] of an sRGB picture [H, W, 3]."""
    return np.log(srgb_to_linear(plane).mean(-1) + 0.01).astype(np.float32)


def look_up(image: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Values [...] of a picture of the plane at places [..., 2] about the eyes, metres."""
    pixel = _pixels(place).reshape(1, -1, 2).astype(np.float32)
    values = cv2.remap(image, pixel[..., 0], pixel[..., 1], cv2.INTER_LINEAR)
    return values.reshape(*place.shape[:-1], *image.shape[2:])


def _pixels(place: np.ndarray) -> np.ndarray:
    """Columns and rows [..., 2] of places [..., 2] about the eyes, metres."""
    return np.stack([(place[..., 0] + HALF_WIDTH) / PIXEL - 0.5, (ABOVE - place[..., 1]) / PIXEL - 0.5], -1)


def _picture_of_plane(photo: Photo, head: FittedHead, eyes: np.ndarray, depth: float) -> tuple[np.ndarray, np.ndarray]:
    """The photo as it shows the plane before the eyes, sRGB [H, W, 3], and the homography [3, 3] that makes it."""
    columns, rows = (round(span / PIXEL) for span in (2 * HALF_WIDTH, ABOVE + BELOW))
    corners = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
    x, y = corners[:, 0] * PIXEL - HALF_WIDTH + float(eyes[0]), ABOVE - corners[:, 1] * PIXEL + float(eyes[1])
    place = torch.tensor(np.stack([x, y, np.full(4, depth)], -1), dtype=torch.float32)
    in_photo = head.camera.project(place.to(head.vertices.device))[0, :, :2].numpy(force=True)
    from_photo = cv2.getPerspectiveTransform(in_photo.astype(np.float32) - 0.5, corners - 0.5)
    picture = cv2.warpPerspective(photo.srgb, from_photo, (columns, rows), borderMode=cv2.BORDER_REPLICATE)
    return picture, from_photo


def _lines(plane: np.ndarray, points: np.ndarray) -> np.ndarray:
    """[H, W] in [0, 1]: thin lines darker or brighter than what lies on both their sides (top-hat transform), but for lids
    and lashes; across brows only what is thinner than they are."""
    luminance = cv2.GaussianBlur(log_luminance(plane), (0, 0), 1.0)
    wide, fine = (_thin(luminance, width) for width in (WIDEST_RIM, FINE_RIM))
    beside, above = (round(room / PIXEL) for room in LID_ROOM)
    eyes = cv2.dilate(_inside(points, EYE_OUTLINES, wide.shape), np.ones((above, beside)))
    return np.where(_inside(points, BROWS, wide.shape) > 0, BROW_LINES * fine, wide) * (1 - eyes)


def _thin(luminance: np.ndarray, width: float) -> np.ndarray:
    """[H, W] in [0, 1]: lines narrower than so many metres."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (round(width / PIXEL) | 1,) * 2)
    dark, bright = (cv2.morphologyEx(luminance, kind, kernel) for kind in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT))
    return np.maximum(dark.clip(0, CONTRAST), GLEAM * bright.clip(0, CONTRAST)) / CONTRAST


def _inside(points: np.ndarray, outlines, shape: tuple[int, ...]) -> np.ndarray:
    """[H, W] float32, 1 inside the convex hulls of landmarks."""
    canvas = np.zeros(shape, np.float32)
    for outline in outlines:
        cv2.fillConvexPoly(canvas, cv2.convexHull(points[list(outline)].round().astype(np.int32)), 1.0)
    return canvas


def _fit(lines: np.ndarray) -> np.ndarray:
    """The shape [8] whose curves run along the strongest lines."""
    drawn = cv2.GaussianBlur(lines, (0, 0), BLUR) + 0.5 * lines

    def cost(shape: np.ndarray) -> float:
        if shape[2] - shape[3] * (1 + abs(shape[6])) < NARROWEST_BRIDGE / 2:
            return 1.0
        found = look_up(drawn, _curves(shape))
        strength = WEIGHT_OF_TOP * found[:, UPPER].mean() + (1 - WEIGHT_OF_TOP) * found[:, ~UPPER].mean()
        return PRIOR * float((((shape - USUAL) / SPREAD) ** 2).sum()) / len(shape) - strength

    return differential_evolution(cost, BOUNDS, maxiter=ROUNDS, popsize=POPULATION, seed=SEED, tol=1e-6).x


def _curves(shape: np.ndarray) -> np.ndarray:
    """[2, A, 2] the edges of the left and the right lens about the eyes, metres."""
    middle, height, distance, half_width, half_height, exponent, taper, tilt = shape
    cosine, sine = np.cos(ANGLES), np.sin(ANGLES)
    across = np.sign(cosine) * np.abs(cosine) ** (2 / exponent)
    up = np.sign(sine) * np.abs(sine) ** (2 / exponent)
    x, y = half_width * across * (1 + taper * up), half_height * up
    x, y = x * np.cos(tilt) - y * np.sin(tilt) + distance, x * np.sin(tilt) + y * np.cos(tilt) + height
    return np.stack([np.stack([middle + side * x, y], -1) for side in (1, -1)])


def outward(edges: np.ndarray) -> np.ndarray:
    """Unit directions [2, A, 2] away from the lenses, without the noise of unevenly spaced points."""
    along = np.roll(edges, -2, 1) - np.roll(edges, 2, 1)
    across = np.stack([along[..., 1], -along[..., 0]], -1) * np.array([1.0, -1.0])[:, None, None]
    return across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)


def _follow(met: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Which step [A] to take at every angle of a closed contour, given the lines met there [A, S].

    The cheapest path of two turns, of which the second begins where the first ended.
    """
    price = STIFFNESS * np.abs(steps) - met
    turns = np.concatenate([price, price])
    number = np.arange(len(steps))
    change = BENDING * (number[:, None] - number) ** 2.0  # [from, to]
    total, came_from = turns[0], []
    for cost in turns[1:]:
        ways = total[:, None] + change
        came_from.append(ways.argmin(0))
        total = ways.min(0) + cost
    path = [int(total.argmin())]
    for back in reversed(came_from):
        path.append(int(back[path[-1]]))
    quarter = len(met) // 2  # away from both ends of the two turns, which are free
    return np.roll(np.array(path[::-1])[quarter : quarter + len(met)], quarter)


def _filled(edge: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """[H, W] bool inside a closed curve [A, 2] about the eyes, metres."""
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [_pixels(edge).round().astype(np.int32)], 1)
    return canvas > 0


def _box(left: float, right: float, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
    """[H, W] bool between x and y about the eyes, metres."""
    (first, last), (top, bottom) = _pixels(np.array([[left, high], [right, low]])).T.round().astype(int).clip(min=0)
    canvas = np.zeros(shape, bool)
    canvas[top:bottom, first:last] = True
    return canvas


def _disc(radius: float) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, round(radius / PIXEL)) + 1,) * 2)


def _dilated(mask: np.ndarray, radius: float) -> np.ndarray:
    """[H, W] bool, grown by metres."""
    return cv2.dilate(mask.astype(np.uint8), _disc(radius)) > 0


def _eroded(mask: np.ndarray, radius: float) -> np.ndarray:
    """[H, W] bool, shrunk by metres."""
    return cv2.erode(mask.astype(np.uint8), _disc(radius)) > 0
