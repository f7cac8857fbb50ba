"""Does the person in the photo wear glasses? A linear classifier of gradient histograms over the eyes.

Histograms of oriented gradients (Dalal & Triggs 2005) of an aligned strip, and weights learnt by logistic regression
from public-domain portraits (`train/glasses.py`).
"""

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from .crop import warp_image
from .landmarks import Face
from .photo import Photo

WEIGHTS = Path(__file__).with_name("glasses.npz")
STRIP = (48, 96)  # pixels, rows and columns
EYES = np.array([[0.29, 0.45], [0.71, 0.45]])  # where the eyes lie in it, the subject's right first
CORNERS = ((33, 133), (263, 362))  # landmarks of either eye
CELL, BLOCK, ORIENTATIONS = 8, 16, 9
TAKEN_OFF = "Glasses are taken off; the skin under their rims is made up."
MADE = "Glasses are an object of their own; the skin under their rims is made up."


def wears_glasses(photo: Photo, face: Face) -> bool:
    """Whether the eyes are seen through glasses, rims or none."""
    weights, bias = _weights()
    return float(describe(eye_strip(photo, face)) @ weights + bias) > 0


def eye_strip(photo: Photo, face: Face) -> np.ndarray:
    """The eyes, aligned: [48, 96, 3] sRGB in [0, 1]."""
    right, left = (face.points[list(pair)].mean(0) for pair in CORNERS)
    to_right, to_left = EYES * STRIP[::-1]
    # A similarity as a complex number: what turns and scales the line between the eyes.
    turn = complex(*(to_left - to_right)) / complex(*(left - right))
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return warp_image(photo.srgb, np.column_stack([matrix, to_right - matrix @ right]), *STRIP)


def describe(strip: np.ndarray) -> np.ndarray:
    """Gradient histograms [1980] of a strip, without a side: the mean of it and its mirror image."""
    histograms = cv2.HOGDescriptor(STRIP[::-1], (BLOCK, BLOCK), (CELL, CELL), (CELL, CELL), ORIENTATIONS)
    grey = (cv2.cvtColor(strip, cv2.COLOR_RGB2GRAY) * 255).clip(0, 255).round().astype(np.uint8)
    return np.mean([histograms.compute(np.ascontiguousarray(each)) for each in (grey, grey[:, ::-1])], 0)


@cache
def _weights() -> tuple[np.ndarray, float]:
    with np.load(WEIGHTS) as stored:
        return stored["weights"].astype(np.float32), float(stored["bias"])
