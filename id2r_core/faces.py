"""Which faces a photo shows, for the artist to choose one and to look at its landmarks. Needs no PyTorch."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from .files import all_or_nothing, write_image
from .landmarks import Face, detect_faces
from .photo import Photo, load_photo
from .protocol import PHOTO, FacesRequest

Progress = Callable[[str, int, int], None]
THUMBNAIL = 128  # side, pixels
AROUND = 1.5  # side of a thumbnail, in sides of the face's box


def write_faces(request: FacesRequest, progress: Progress) -> dict:
    """Look at a photo; `request.out` gets the upright photo and `face 1.png` and so on, the largest face first.

    Returns {"size": [width, height], "warnings": [...], "faces": [{"number", "box": [left, top, right, bottom],
    "points": [[x, y], ...], "thumbnail": path, "warnings": [...]}, ...]}; lengths in pixels of the upright photo.
    Raises Id2rError when the photo cannot be read, NoFace when it shows none.
    """
    progress("photo", 0, 2)
    photo = load_photo(request.photo)
    progress("landmarks", 1, 2)
    faces = detect_faces(photo, request.task_file or None)
    out = Path(request.out)
    with all_or_nothing(out) as partial:
        write_image(partial / PHOTO, _eight_bit(photo.srgb))
        for number, face in enumerate(faces, 1):
            write_image(partial / _thumbnail(number), _eight_bit(_around(photo, face)))
    return {
        "size": [photo.width, photo.height],
        "warnings": list(photo.warnings),
        "faces": [_description(number, face, out) for number, face in enumerate(faces, 1)],
    }


def _description(number: int, face: Face, out: Path) -> dict:
    return {
        "number": number,
        "box": list(face.box),
        "points": [[round(x, 2), round(y, 2)] for x, y in face.points.tolist()],
        "thumbnail": str(out / _thumbnail(number)),
        "warnings": list(face.warnings),
    }


def _thumbnail(number: int) -> str:
    return f"face {number}.png"


def _around(photo: Photo, face: Face) -> np.ndarray:
    """[THUMBNAIL, THUMBNAIL, 3] the face with what is about it; the photo's edge is repeated outside."""
    left, top, right, bottom = face.box
    scale = THUMBNAIL / (AROUND * max(right - left, bottom - top))
    middle = np.array([left + right, top + bottom]) / 2
    shift = THUMBNAIL / 2 - scale * middle
    thumbnail_from_photo = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
    size = (THUMBNAIL, THUMBNAIL)
    return cv2.warpAffine(photo.srgb, thumbnail_from_photo, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)


def _eight_bit(srgb: np.ndarray) -> np.ndarray:
    return np.rint(srgb * 255.0).astype(np.uint8)
