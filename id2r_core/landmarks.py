"""Face landmarks: MediaPipe's 478 points of the largest or chosen face, behind one seam with two implementations.

A *finder* is a function: [h, w, 3] uint8 sRGB -> list of [478, 3] float arrays, one a face, in pixels of that image
(z in the same unit, smaller is nearer). `face_mesh_finder` uses the models inside mediapipe 0.10.21 (Python up to
3.12), `task_file_finder` a face_landmarker `.task` file (any mediapipe with the Tasks API).
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from .errors import Id2rError, NoFace
from .facemesh import COUNT, EYE_CORNERS, FIVE_POINTS
from .photo import Photo
from .protocol import GIVE_LANDMARKS, read_corrections

Finder = Callable[[np.ndarray], list[np.ndarray]]


SMALLEST_FACE_PIXELS = 64
TURNED_DEGREES = 30.0
MOST_FACES = 8
# Windows are scaled to this side for the detector, which looks at 128 x 128: it misses faces under about a tenth of
# a window's side, so that in tiles of less than SMALLEST_TILE_PIXELS only faces too small to use would turn up.
WINDOW_PIXELS = 640
SMALLEST_TILE_PIXELS = 240
# A final look at the face alone, at the scale the landmark network was made for.
FACE_WINDOW = 2.0
USE_ANOTHER_PHOTO = "Use a sharp, upright photo in which one face is seen from the front and well lit."
GIVE_TASK_FILE = "Give the path of a MediaPipe face_landmarker .task file."


@dataclass(frozen=True)
class Face:
    """The landmarks of one face of a photo.

    points: [478, 2] float32, continuous pixels of the photo; `points[i]` is landmark i of MediaPipe's face mesh.
    count: how many faces were found.
    warnings: plain sentences about what may spoil the result.
    placed: whether somebody who knows where landmarks belong has placed them all, and not a detector, which has habits.
    """

    points: np.ndarray
    count: int = 1
    warnings: tuple[str, ...] = ()
    placed: bool = False

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the landmarks, in pixels of the photo."""
        return (*np.floor(self.points.min(0)).astype(int).tolist(), *np.ceil(self.points.max(0)).astype(int).tolist())

    @property
    def five(self) -> np.ndarray:
        """[5, 2] eyes, nose tip, mouth corners in ArcFace order (the subject's right, image left, first)."""
        return self.points[list(FIVE_POINTS)]


def detect_face(photo: Photo, task_file: str | Path | None = None, number: int = 1, corrections: str = "") -> Face:
    """Find the landmarks of the largest face, or of another: `number` counts from the largest, which is 1.

    task_file: a MediaPipe face_landmarker `.task` file; without one the models inside mediapipe are used.
    corrections: JSON of landmarks that a person has corrected (see protocol.Request); with all 478 nothing is detected.
    Raises NoFace when no face has at least 64 pixels, Id2rError when there is none of that number or the corrections
    cannot be read.
    """
    corrected = _corrected(corrections, photo)
    if len(corrected) == COUNT:
        return Face(np.array([corrected[index] for index in range(COUNT)], np.float32), placed=True)
    (face,) = _found(photo, task_file, number)
    points = face.points.copy()
    for index, place in corrected.items():
        points[index] = place
    return replace(face, points=points, warnings=(*_several(face.count, number), *face.warnings))


def detect_person(
    photos: Sequence[Photo], task_file: str | Path | None = None, number: int = 1, corrections: str = ""
) -> list[Face]:
    """One face of each photo: of the first the chosen one, as `detect_face` does, of the others the largest.

    Raises what `detect_face` raises; warnings about the others name their file.
    """
    first, *others = photos
    faces = [detect_face(photo, task_file) for photo in others]
    named = [
        replace(face, warnings=tuple(f"'{photo.name}': {text}" for text in face.warnings))
        for photo, face in zip(others, faces, strict=True)
    ]
    return [detect_face(first, task_file, number, corrections), *named]


def _corrected(text: str, photo: Photo) -> dict[int, tuple[float, float]]:
    """Corrected landmarks by number (see protocol.Request), all of them in the photo or near it."""
    places = read_corrections(text)
    for index, (x, y) in places.items():
        if not (-photo.width <= x <= 2 * photo.width and -photo.height <= y <= 2 * photo.height):
            raise Id2rError(f"Landmark {index} lies far outside '{photo.name}', at ({x:.0f}, {y:.0f}).", GIVE_LANDMARKS)
    return places


def detect_faces(photo: Photo, task_file: str | Path | None = None) -> list[Face]:
    """All faces, the largest first. Raises NoFace when there is none, or none of at least 64 pixels."""
    return _found(photo, task_file)


def _found(photo: Photo, task_file: str | Path | None, number: int | None = None) -> list[Face]:
    """The face of that number alone; without a number all that are large enough."""
    rgb = (photo.srgb * 255.0 + 0.5).astype(np.uint8)
    opened = task_file_finder(Path(task_file)) if task_file else face_mesh_finder()
    with opened as find:
        faces = sorted(_search(find, rgb), key=_side, reverse=True)
        if not faces:
            raise NoFace(f"No face was found in '{photo.name}'.", USE_ANOTHER_PHOTO)
        numbers = range(1, len(faces) + 1) if number is None else [number]
        if numbers[-1] not in range(1, len(faces) + 1):
            raise Id2rError(
                f"There is no face {number} in '{photo.name}': {len(faces)} found.",
                f"Choose one from 1, the largest, to {len(faces)}.",
            )
        close = {each: _look_closely(find, rgb, faces[each - 1]) for each in numbers}
    enough = {each: points for each, points in close.items() if _side(points) >= SMALLEST_FACE_PIXELS}
    if not enough:
        raise NoFace(
            f"The face in '{photo.name}' is only {_side(close[numbers[0]]):.0f} pixels high; "
            f"{SMALLEST_FACE_PIXELS} are the least.",
            "Use a larger photo, or one taken from nearer.",
        )
    return [Face(points[:, :2].astype(np.float32), len(faces), tuple(_warnings(points))) for points in enough.values()]


@contextmanager
def face_mesh_finder() -> Iterator[Finder]:
    """FaceMesh with iris refinement; its models lie inside the mediapipe wheel."""
    with _quiet_native_log():
        from mediapipe.python.solutions.face_mesh import FaceMesh

        with FaceMesh(static_image_mode=True, max_num_faces=MOST_FACES, refine_landmarks=True) as mesh:
            yield lambda rgb: [_in_pixels(face.landmark, rgb) for face in mesh.process(rgb).multi_face_landmarks or ()]


@contextmanager
def task_file_finder(path: Path) -> Iterator[Finder]:
    """The Tasks API with the given model file."""
    if not path.is_file():
        raise Id2rError(f"There is no landmark model '{path}'.", GIVE_TASK_FILE)
    with _quiet_native_log():
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_buffer=path.read_bytes()), num_faces=MOST_FACES
        )
        try:
            landmarker = vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise Id2rError(f"'{path.name}' is not a face landmark model.", GIVE_TASK_FILE) from error
        with landmarker:

            def find(rgb: np.ndarray) -> list[np.ndarray]:
                image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=rgb)
                return [_in_pixels(face, rgb) for face in landmarker.detect(image).face_landmarks]

            yield find


def _in_pixels(landmarks, rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    return np.array([(point.x * width, point.y * height, point.z * width) for point in landmarks])


@contextmanager
def _quiet_native_log() -> Iterator[None]:
    """Keep MediaPipe's C++ log off the terminal; it writes to file descriptor 2 itself and knows no switch for it."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _search(find: Finder, rgb: np.ndarray) -> list[np.ndarray]:
    """All faces at the first scale that shows any: the whole photo, the photo with a wide margin, smaller tiles."""
    for windows in _scales(*rgb.shape[:2]):
        if faces := _find_in_windows(find, rgb, windows):
            return faces
    return []


def _scales(height: int, width: int) -> Iterator[list[tuple[float, float, float]]]:
    """Lists of square windows (centre x, y, side; pixels). A face that fills the frame is found with a margin only."""
    longest, side = max(height, width), min(height, width) / 2
    yield [(width / 2, height / 2, longest)]
    yield [(width / 2, height / 2, 2.0 * longest)]
    while side >= SMALLEST_TILE_PIXELS:
        columns = _tile_centres(width, side)
        yield [(x, y, side) for y in _tile_centres(height, side) for x in columns]
        side /= 2


def _tile_centres(length: int, side: float) -> np.ndarray:
    """Centres of tiles of the given side that cover the length and overlap by half."""
    return np.linspace(side / 2, length - side / 2, int(np.ceil(2 * length / side)) - 1)


def _find_in_windows(find: Finder, rgb: np.ndarray, windows: list[tuple[float, float, float]]) -> list[np.ndarray]:
    """Faces in square windows (centre x, y, side; pixels), a face that several windows show counted once."""
    faces: list[np.ndarray] = []
    for x, y, side in windows:
        image, scale, corner = _window(rgb, x, y, side)
        for points in find(image):
            in_photo = points / scale + (*corner, 0.0)
            if not any(_same_face(in_photo, other) for other in faces):
                faces.append(in_photo)
    return faces


def _window(rgb: np.ndarray, x: float, y: float, side: float) -> tuple[np.ndarray, float, tuple[int, int]]:
    """A square cut-out, black outside the photo, scaled to at most WINDOW_PIXELS (small ones are enlarged).

    Returns the image, its scale and the photo's pixel at its corner.
    """
    side = max(2, round(side))
    left, top = round(x - side / 2), round(y - side / 2)
    height, width = rgb.shape[:2]
    inside = rgb[max(0, top) : min(height, top + side), max(0, left) : min(width, left + side)]
    scale = WINDOW_PIXELS / side
    size = (max(1, round(inside.shape[1] * scale)), max(1, round(inside.shape[0] * scale)))
    window = np.zeros((WINDOW_PIXELS, WINDOW_PIXELS, 3), np.uint8)
    column, row = round(max(0, -left) * scale), round(max(0, -top) * scale)
    resized = cv2.resize(inside, size, interpolation=cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC)
    resized = resized[: WINDOW_PIXELS - row, : WINDOW_PIXELS - column]
    window[row : row + resized.shape[0], column : column + resized.shape[1]] = resized
    return window, scale, (left, top)


def _look_closely(find: Finder, rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
    """[478, 3] the same face once more in a window of its own; the first points when it is not found there again."""
    x, y = (points[:, :2].min(0) + points[:, :2].max(0)) / 2
    again = _find_in_windows(find, rgb, [(x, y, FACE_WINDOW * _side(points))])
    same = [candidate for candidate in again if _same_face(candidate, points)]
    return max(same, key=_side) if same else points


def _side(points: np.ndarray) -> float:
    """The longer side, in pixels, of the box around the landmarks: the face from the hairline to the chin."""
    return float(np.ptp(points[:, :2], axis=0).max())


def _same_face(points: np.ndarray, other: np.ndarray) -> bool:
    apart = np.linalg.norm(points[:, :2].mean(0) - other[:, :2].mean(0))
    return bool(apart < 0.4 * max(_side(points), _side(other)))


def _turn_degrees(points: np.ndarray) -> float:
    """How far the head is turned away from the camera to the left or right, from the line through the eye corners."""
    across = points[EYE_CORNERS[1]] - points[EYE_CORNERS[0]]
    return float(np.degrees(np.arctan2(across[2], np.hypot(across[0], across[1]))))


def _several(count: int, number: int) -> Iterator[str]:
    if count > 1:
        which = "the largest one" if number == 1 else f"number {number}, counted from the largest,"
        yield f"{count} faces were found; {which} is used."


def _warnings(points: np.ndarray) -> Iterator[str]:
    turn = abs(_turn_degrees(points))
    if turn > TURNED_DEGREES:
        yield f"The head is turned about {turn:.0f} degrees to the side; the far side of the face will be a guess."
