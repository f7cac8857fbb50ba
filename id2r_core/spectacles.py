"""The glasses of the photo as an object of their own: the form of their rims, how thick they are, and of what colour.

Rims that are not seen (half rims, rimless lenses) are not made.
"""

from dataclasses import dataclass

import numpy as np
import torch

from .conventions import srgb_to_linear
from .rims import PIXEL, UPPER, WIDEST_RIM, Rims, log_luminance, look_up, outward

# Mean strength of lines: under the upper rims of any glasses that are made; under lower rims.
LEAST_LINE, LEAST_RIM = 0.40, 0.32
THICKNESS = 0.0010, 0.0060  # metres
WIDER_SIDE = 0.6  # quantile of the widths that are measured along the rims
BLUR = 1.5  # pixels of the photo: how wide the thinnest line is
# The power in which widths at half height add up when a band is blurred by a Gaussian, within 4 %; that of two Gaussians is 2.
ADDS_UP = 3.0
DARK_SIDE = 0.25  # quantile of what is seen along the rims: the rest is mixed with skin, or shines
DARKEST, BRIGHTEST = 0.01, 0.8  # linear albedo of a frame


@dataclass(frozen=True)
class Spectacles:
    """Metres in the head frame.

    curve [A, 2]: the edge of the left lens, from its outermost point upwards: how far from `middle` along x, and y; the
    right lens is its mirror image about x = `middle`. depth: z of the plane; thickness: of the rims; lower: whether they go
    all round; frame_linear [3]: albedo.
    """

    curve: np.ndarray
    middle: float
    depth: float
    thickness: float
    lower: bool
    frame_linear: np.ndarray


def as_spectacles(rims: Rims, white_linear: torch.Tensor) -> Spectacles | None:
    """Glasses with such rims; None when their lines are too faint to follow.

    white_linear [3]: how bright a white diffuser would be in the photo at the face.
    """
    if rims.found[:, UPPER].mean() < LEAST_LINE:
        return None
    lower = bool(rims.found[:, ~UPPER].mean() > LEAST_RIM)
    clear = rims.found >= np.quantile(rims.found, 0.5)
    shown = srgb_to_linear(look_up(rims.plane, rims.edges)[clear])
    frame = (np.quantile(shown, DARK_SIDE, axis=0) / white_linear.numpy(force=True)).clip(DARKEST, BRIGHTEST)
    curve = rims.outline + [0.0, rims.eyes[1]]
    return Spectacles(curve, rims.eyes[0] + rims.middle, rims.depth, _thickness(rims, clear), lower, frame)


def _thickness(rims: Rims, clear: np.ndarray) -> float:
    """Metres across which the rim is more unlike the skin beside it than half, where [2, A] it is clear; less what the photo
    blurs: a wire is as wide as one and a half pixels in any photo."""
    steps = np.arange(-WIDEST_RIM / 2, WIDEST_RIM / 2, PIXEL)
    places = rims.edges[clear][:, None] + outward(rims.edges)[clear][:, None] * steps[:, None]
    across = look_up(log_luminance(rims.plane), places)  # [C, S]
    skin = (across[:, :1] + across[:, -1:]) / 2
    off = np.abs(across - skin)
    seen = np.quantile((off > 0.5 * off.max(1, keepdims=True)).sum(1), WIDER_SIDE) * PIXEL
    sharpest = BLUR * PIXEL / np.sqrt(abs(np.linalg.det(rims.to_photo[:2, :2])))
    return float(np.clip(max(seen**ADDS_UP - sharpest**ADDS_UP, 0.0) ** (1 / ADDS_UP), *THICKNESS))
