"""The upper teeth of a smile, where its photo shows them: no landmark tells how far they reach down."""

import cv2
import numpy as np
import torch
from torch import Tensor

from ..facemesh import EYE_CORNERS
from ..geometry.camera import Camera
from ..landmarks import Face
from ..photo import Photo
from .model import PARTS, HeadModel

UPPER_RIM, LOWER_RIM = (82, 13, 312), (87, 14, 317)  # of the open mouth: its middle, and beside it
SMILE = 0.07  # of the distance between the eyes: a narrower slit shows no more than a line of teeth
ROWS = 48  # samples from lip to lip
# Teeth are the first stretch below the upper lip that has this share of the brightest green. A gap below them is darker
# than this share of theirs, or else they reach the lower lip.
BRIGHT, DARK = 0.7, 0.45
BESIDE_MIDDLE = 0.004  # metres: half the breadth of the incisors that are looked at
LIFTED, LOWERED = 0.002, 0.008  # metres: what the teeth may move


def seat_teeth(vertices: Tensor, photo: Photo, face: Face, camera: Camera, model: HeadModel) -> Tensor:
    """Vertices [N, 3] of a head over its photo, with the upper row of teeth as far down as the photo shows it to be.

    Heads whose mouth is all but shut stay as they are.
    """
    reach = teeth_reach(photo, face)
    if reach is None:
        return vertices
    edge = vertices[_incisor_edge(model)].mean(0, keepdim=True)
    pixel, scale = camera.project(edge)[0].split((2, 1), dim=1)
    upper, lower = (torch.as_tensor(face.points[list(rim)]).to(edge).mean(0) for rim in (UPPER_RIM, LOWER_RIM))
    down = (lower - upper) / (lower - upper).norm()
    missing = (torch.lerp(upper, lower, reach) - pixel[0]) @ down  # pixels
    drop = (missing * scale[0, 0] / camera.focal[0]).clamp(-LIFTED, LOWERED)
    seated = vertices.clone()
    seated[model.upper_jaw, 1] -= drop
    return seated


def teeth_reach(photo: Photo, face: Face) -> float | None:
    """The share of an open mouth's height, from the upper lip down, that the upper teeth fill; None for a shut one."""
    upper, lower = (face.points[list(rim)].astype(np.float32) for rim in (UPPER_RIM, LOWER_RIM))  # [3, 2]
    right, left = face.points[list(EYE_CORNERS)]
    if np.linalg.norm(upper.mean(0) - lower.mean(0)) < SMILE * np.linalg.norm(left - right):
        return None
    along = np.linspace(0, 1, ROWS, dtype=np.float32)[:, None, None]
    x, y = np.moveaxis(upper * (1 - along) + lower * along - 0.5, -1, 0)  # [ROWS, 3] each
    green = cv2.remap(np.ascontiguousarray(photo.srgb[..., 1]), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return _end_of_bright(cv2.blur(green.mean(1, keepdims=True), (1, ROWS // 8))[:, 0])


def _end_of_bright(profile: np.ndarray) -> float:
    """Where a profile [R] gets dark after its first bright place, in [0, 1]; 1 when it does not."""
    start = int((profile > BRIGHT * profile.max()).argmax())
    is_dark = profile[start:] < DARK * np.maximum.accumulate(profile[start:])
    return (start + int(is_dark.argmax())) / len(profile) if is_dark.any() else 1.0


def _incisor_edge(model: HeadModel) -> Tensor:
    """Vertices of the upper teeth's biting edge in the middle."""
    teeth = model.quads[model.part == PARTS.index("teeth")].unique()
    upper = teeth[torch.isin(teeth, model.upper_jaw)]
    middle = upper[model.neutral[upper, 0].abs() < BESIDE_MIDDLE]
    height = model.neutral[middle, 1]
    return middle[height < height.min() + 0.001]
