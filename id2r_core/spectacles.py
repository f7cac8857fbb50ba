"""The glasses of the photo as an object of their own: where their rims run, how thick they are, and of what colour.

A pair of mirrored superellipses is laid over the photo where it shows a plane before the eyes, so that they run along
lines thinner than a rim can be wide. Rims that are not found (half rims, rimless lenses) are not made.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.optimize import differential_evolution

from .conventions import srgb_to_linear
from .facemesh import BROWS, EYE_OUTLINES
from .head.fit import FittedHead
from .landmarks import Face
from .photo import Photo

BEFORE_EYES = 0.014  # metres from the eyeball to the plane of the lenses
PIXEL, HALF_WIDTH, ABOVE, BELOW = 0.0003, 0.080, 0.030, 0.042  # metres: the picture of the plane, about the eyes
WIDEST_RIM = 0.007  # metres
CONTRAST, GLEAM = 0.8, 0.6  # log-luminance of a full line; share of a bright line's in that of a dark one
BROW_LINES, BLUR = 0.35, 2.5  # share of lines on brows that counts; pixels over which a curve is drawn to a line
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
# Mean strength of lines: under the upper rims of any glasses that are made; under the half of a lens that has a rim.
LEAST_LINE, LEAST_RIM = 0.40, 0.32
ROUNDS, POPULATION, SEED = 60, 14, 0
THICKNESS = 0.0010, 0.0060  # metres
WIDER_SIDE = 0.7  # quantile of the widths that are measured along the rims
DARK_SIDE = 0.25  # quantile of what is seen along the rims: the rest is mixed with skin, or shines
DARKEST, BRIGHTEST = 0.01, 0.8  # linear albedo of a frame


@dataclass(frozen=True)
class Spectacles:
    """Metres in the head frame.

    curve [A, 2]: the edge of the left lens, from its outermost point upwards: how far from `middle` along x, and y; the
    right lens is its mirror image about x = `middle`. depth: z of the plane; thickness: of the rims; upper, lower:
    whether the lenses have rims there; frame_linear [3]: albedo.
    """

    curve: np.ndarray
    middle: float
    depth: float
    thickness: float
    upper: bool
    lower: bool
    frame_linear: np.ndarray


def find_spectacles(photo: Photo, face: Face, head: FittedHead, white_linear: torch.Tensor) -> Spectacles | None:
    """The glasses that a person is known to wear; None when their lines are too faint to follow.

    white_linear [3]: how bright a white diffuser would be in the photo at the face.
    """
    centres, radii = (each.cpu() for each in head.model.eyes(head.vertices))
    eyes = centres.mean(0)
    depth = float(eyes[2] + radii.mean()) + BEFORE_EYES
    plane, points = _picture_of_plane(photo, face, head, eyes, depth)
    lines = _lines(plane, points)
    shape = _fit(lines)
    edges = _curves(shape)
    found = _look_up(lines, edges)
    if found[:, UPPER].mean() < LEAST_LINE:
        return None
    has_rim = [found[:, half].mean() > LEAST_RIM for half in (UPPER, ~UPPER)]
    clear = found >= np.quantile(found, 0.5)
    shown = srgb_to_linear(_look_up(plane, edges)[clear])
    frame = (np.quantile(shown, DARK_SIDE, axis=0) / white_linear.numpy(force=True)).clip(DARKEST, BRIGHTEST)
    curve = edges[0] + [-shape[0], float(eyes[1])]
    return Spectacles(
        curve, float(eyes[0]) + shape[0], depth, _thickness(plane, shape, clear), *map(bool, has_rim), frame
    )


def _picture_of_plane(
    photo: Photo, face: Face, head: FittedHead, eyes: torch.Tensor, depth: float
) -> tuple[np.ndarray, np.ndarray]:
    """The photo as it shows the plane before the eyes, sRGB [H, W, 3], and the face's landmarks in it, pixels."""
    columns, rows = (round(span / PIXEL) for span in (2 * HALF_WIDTH, ABOVE + BELOW))
    corners = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
    x, y = corners[:, 0] * PIXEL - HALF_WIDTH + float(eyes[0]), ABOVE - corners[:, 1] * PIXEL + float(eyes[1])
    place = torch.tensor(np.stack([x, y, np.full(4, depth)], -1), dtype=torch.float32)
    in_photo = head.camera.project(place.to(head.vertices.device))[0, :, :2].numpy(force=True)
    from_photo = cv2.getPerspectiveTransform(in_photo.astype(np.float32) - 0.5, corners - 0.5)
    picture = cv2.warpPerspective(photo.srgb, from_photo, (columns, rows), borderMode=cv2.BORDER_REPLICATE)
    return picture, cv2.perspectiveTransform(face.points[None].astype(np.float32) - 0.5, from_photo)[0]


def _lines(plane: np.ndarray, points: np.ndarray) -> np.ndarray:
    """[H, W] in [0, 1]: thin lines darker or brighter than what lies on both their sides (top-hat transform), but for lids
    and lashes, and brows less."""
    luminance = cv2.GaussianBlur(_log_luminance(plane), (0, 0), 1.0)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (round(WIDEST_RIM / PIXEL) | 1,) * 2)
    dark, bright = (cv2.morphologyEx(luminance, kind, kernel) for kind in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT))
    lines = np.maximum(dark.clip(0, CONTRAST), GLEAM * bright.clip(0, CONTRAST)) / CONTRAST
    beside, above = (round(room / PIXEL) for room in LID_ROOM)
    eyes = cv2.dilate(_inside(points, EYE_OUTLINES, lines.shape), np.ones((above, beside)))
    return lines * (1 - eyes) * (1 - (1 - BROW_LINES) * _inside(points, BROWS, lines.shape))


def _log_luminance(plane: np.ndarray) -> np.ndarray:
    return np.log(srgb_to_linear(plane).mean(-1) + 0.01).astype(np.float32)


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
        found = _look_up(drawn, _curves(shape))
        strength = WEIGHT_OF_TOP * found[:, UPPER].mean() + (1 - WEIGHT_OF_TOP) * found[:, ~UPPER].mean()
        return PRIOR * float((((shape - USUAL) / SPREAD) ** 2).sum()) / len(shape) - strength

    return differential_evolution(cost, BOUNDS, maxiter=ROUNDS, popsize=POPULATION, seed=SEED, tol=1e-6).x


def _curves(shape: np.ndarray, wider: float = 0.0) -> np.ndarray:
    """[2, A, 2] the edges of the left and the right lens about the eyes, metres; wider: by so much."""
    middle, height, distance, half_width, half_height, exponent, taper, tilt = shape
    cosine, sine = np.cos(ANGLES), np.sin(ANGLES)
    across = np.sign(cosine) * np.abs(cosine) ** (2 / exponent)
    up = np.sign(sine) * np.abs(sine) ** (2 / exponent)
    x, y = (half_width + wider) * across * (1 + taper * up), (half_height + wider) * up
    x, y = x * np.cos(tilt) - y * np.sin(tilt) + distance, x * np.sin(tilt) + y * np.cos(tilt) + height
    return np.stack([np.stack([middle + side * x, y], -1) for side in (1, -1)])


def _look_up(image: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Values [...] of a picture of the plane at places [..., 2] about the eyes, metres."""
    column, row = (place[..., 0] + HALF_WIDTH) / PIXEL - 0.5, (ABOVE - place[..., 1]) / PIXEL - 0.5
    return cv2.remap(image, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR)


def _thickness(plane: np.ndarray, shape: np.ndarray, clear: np.ndarray) -> float:
    """Metres across which the rim is more unlike the skin beside it than half, where [2, A] it is clear."""
    luminance = _log_luminance(plane)
    steps = np.arange(-WIDEST_RIM / 2, WIDEST_RIM / 2, PIXEL)
    across = np.stack([_look_up(luminance, _curves(shape, step)) for step in steps])[:, clear]
    skin = (across[0] + across[-1]) / 2
    off = np.abs(across - skin)
    return float(np.clip(np.quantile((off > 0.5 * off.max(0)).sum(0), WIDER_SIDE) * PIXEL, *THICKNESS))
