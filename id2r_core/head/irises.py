"""Size and colour of the irises, measured in the photo."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ..conventions import WHITE_OF_EYE_LINEAR, srgb_to_linear
from ..facemesh import EYE_OUTLINES, IRIS_LANDMARKS
from ..landmarks import Face
from ..photo import Photo
from .fit import FittedHead

TYPICAL_RADIUS, RADIUS_RANGE = 0.0059, (0.0052, 0.0066)  # metres; adult irises vary little (Rüfer et al. 2005)
RING = (0.45, 0.9)  # of the radius: between the pupil and the dark limbus
MIDDLING = (0.2, 0.8)  # quantiles of brightness: catchlights and lashes drop out
# The white of the eye lies in the same shade of lids and brows, and in the same light, as the iris: what of it is seen, from
# BESIDE the iris, in its radii, is between lashes and gleams in brightness.
BESIDE, OF_WHITE = (1.15, 6.0), (0.6, 0.9)
COLOUR_RANGE = (0.008, 0.30)  # linear reflectance of irises
TYPICAL_COLOUR = (0.10, 0.055, 0.03)


@dataclass(frozen=True)
class Irises:
    """radius [2] in metres, the subject's left eye first; colour_linear [3], one colour for both eyes."""

    radius: Tensor
    colour_linear: Tensor


def measure_irises(photo: Photo, face: Face, head: FittedHead, white_linear: Tensor) -> Irises:
    """Radius from the landmarks of the rim, colour from the ring between pupil and limbus, against the white of the eye.

    white_linear [3]: how bright a white diffuser would be in the photo at the face. It knows nothing of the coloured shade that
    eyes lie in; the white of the eye does, but little of that is seen, and skin runs into it, so that irises measured
    against it alone come out blue. The truth lies between.
    """
    centres, _ = head.model.eyes(head.vertices)
    depth = head.camera.to_view(centres)[0, :, 2]
    samples, whites, radii = [], [], []
    for landmarks, outline, distance in zip(IRIS_LANDMARKS, EYE_OUTLINES, depth, strict=True):
        points = face.points[list(landmarks)]
        pixels = np.linalg.norm(points[1:] - points[0], axis=1).mean()
        radii.append(float(pixels * distance / head.camera.focal[0]))
        lids = face.points[list(outline)]
        samples.append(_pixels(photo.srgb, points[0], pixels, lids, RING))
        whites.append(_pixels(photo.srgb, points[0], pixels, lids, BESIDE))
    radius = torch.tensor(radii).clamp(*RADIUS_RANGE)
    radius = (radius.mean() + TYPICAL_RADIUS).expand(2) / 2  # glasses and lids spoil either estimate
    colour = _middle_colour(np.concatenate(samples), MIDDLING)
    if colour is None:
        return Irises(radius.clone(), torch.tensor(TYPICAL_COLOUR))
    white = white_linear.numpy(force=True).clip(0.05)
    beside = _middle_colour(np.concatenate(whites), OF_WHITE)
    if beside is not None:
        white = np.sqrt(white * (beside / WHITE_OF_EYE_LINEAR).clip(0.01))
    return Irises(radius.clone(), torch.from_numpy(colour / white).float().clamp(*COLOUR_RANGE))


def _pixels(srgb, centre, radius, outline, ring) -> np.ndarray:
    """Linear pixels [P, 3] inside the lids in a ring about the middle of the iris, from and to, in its radii; only the window
    round them is looked at."""
    reach = np.minimum(ring[1] * radius, np.abs(outline - centre).max(0) + 1)
    low = np.floor(centre - reach).astype(int).clip(0)
    high = np.ceil(centre + reach).astype(int) + 1
    window = srgb[low[1] : high[1], low[0] : high[0]]
    visible = np.zeros(window.shape[:2], np.uint8)
    cv2.fillPoly(visible, [(outline - low).round().astype(np.int32)], 1)
    y, x = np.mgrid[: window.shape[0], : window.shape[1]] + 0.5
    distance = np.hypot(x + low[0] - centre[0], y + low[1] - centre[1]) / max(radius, 1e-3)
    return srgb_to_linear(window[(visible > 0) & (distance > ring[0]) & (distance < ring[1])])


def _middle_colour(pixels: np.ndarray, shares: tuple[float, float]) -> np.ndarray | None:
    """Mean of the pixels [P, 3] between two quantiles of brightness; None when there are too few to tell."""
    if len(pixels) < 8:
        return None
    brightness = pixels.mean(1)
    low, high = np.quantile(brightness, shares)
    return pixels[(brightness >= low) & (brightness <= high)].mean(0).astype(np.float32)
