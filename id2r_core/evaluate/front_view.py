"""Front views of the networks as pictures in which a face can be found, and how far two of them are turned apart."""

import numpy as np

from ..errors import NoFace
from ..head.model import HeadModel
from ..landmarks import detect_face
from ..photo import Photo
from .figures import fit_square
from .metrics import head_rotation, pose_difference

ROOM = 0.15  # of the view's side, all round: detectors want some


def with_room(view: np.ndarray, side: int) -> Photo:
    """A view [S, S, 3] sRGB with some room round it, as a picture of side x side."""
    border = round(ROOM * view.shape[0])
    padded = np.pad(view, ((border, border), (border, border), (0, 0)))
    return Photo(fit_square(padded, side).clip(0, 1), "view")


def turn_between(first: Photo, second: Photo, model: HeadModel) -> float | None:
    """Mean difference of head rotation in radians; None where a face is not found."""
    surface = model.neutral_landmarks.numpy(force=True)
    try:
        angles = [head_rotation(detect_face(each).points, surface, each.srgb.shape[1]) for each in (first, second)]
    except NoFace:
        return None
    return pose_difference(*angles)
