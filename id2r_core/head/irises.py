"""Size and colour of the irises, measured in the photo."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ..conventions import srgb_to_linear
from ..facemesh import EYE_OUTLINES, IRIS_LANDMARKS
from ..landmarks import Face
from ..photo import Photo
from .fit import FittedHead

TYPICAL_RADIUS, RADIUS_RANGE = 0.0059, (0.0052, 0.0066)  # metres; adult irises vary little (Rüfer et al. 2005)
RING = (0.45, 0.9)  # of the radius: between the pupil and the dark limbus
BRIGHTEST_SHARE, DARKEST_SHARE = 0.8, 0.2  # catchlights and lashes drop out
COLOUR_RANGE = (0.008, 0.30)  # linear reflectance of irises
TYPICAL_COLOUR = (0.10, 0.055, 0.03)


@dataclass(frozen=True)
class Irises:
    """radius [2] in metres, the subject's left eye first; colour_linear [3], one colour for both eyes."""

    radius: Tensor
    colour_linear: Tensor


def measure_irises(photo: Photo, face: Face, head: FittedHead, white_linear: Tensor) -> Irises:
    """Radius from the landmarks of the rim, colour from the ring between pupil and limbus.

    white_linear [3]: how bright a white diffuser would be in the photo at the face, to take the light out of the colour.
    """
    centres, _ = head.model.eyes(head.vertices)
    depth = head.camera.to_view(centres)[0, :, 2]
    samples, radii = [], []
    for landmarks, outline, distance in zip(IRIS_LANDMARKS, EYE_OUTLINES, depth, strict=True):
        points = face.points[list(landmarks)]
        pixels = np.linalg.norm(points[1:] - points[0], axis=1).mean()
        radii.append(float(pixels * distance / head.camera.focal[0]))
        samples.append(_ring_pixels(photo.srgb, points[0], pixels, face.points[list(outline)]))
    radius = torch.tensor(radii).clamp(*RADIUS_RANGE)
    radius = (radius.mean() + TYPICAL_RADIUS).expand(2) / 2  # glasses and lids spoil either estimate
    colour = _middle_colour(np.concatenate(samples))
    if colour is None:
        return Irises(radius.clone(), torch.tensor(TYPICAL_COLOUR))
    colour = torch.from_numpy(colour) / white_linear.cpu().clamp(min=0.05)
    return Irises(radius.clone(), colour.clamp(*COLOUR_RANGE))


def _ring_pixels(srgb, centre, radius, outline) -> np.ndarray:
    """Linear pixels [P, 3] of the iris's ring inside the lids; only the window round the iris is looked at."""
    low = np.floor(centre - radius).astype(int).clip(0)
    high = np.ceil(centre + radius).astype(int) + 1
    window = srgb[low[1] : high[1], low[0] : high[0]]
    visible = np.zeros(window.shape[:2], np.uint8)
    cv2.fillPoly(visible, [(outline - low).round().astype(np.int32)], 1)
    y, x = np.mgrid[: window.shape[0], : window.shape[1]] + 0.5
    distance = np.hypot(x + low[0] - centre[0], y + low[1] - centre[1]) / max(radius, 1e-3)
    return srgb_to_linear(window[(visible > 0) & (distance > RING[0]) & (distance < RING[1])])


def _middle_colour(pixels: np.ndarray) -> np.ndarray | None:
    """Mean of the pixels of middling brightness; None when there are too few to tell."""
    if len(pixels) < 8:
        return None
    brightness = pixels.mean(1)
    low, high = np.quantile(brightness, (DARKEST_SHARE, BRIGHTEST_SHARE))
    return pixels[(brightness >= low) & (brightness <= high)].mean(0).astype(np.float32)
