"""Landmarks on a real photo: where they are, at every scale, and what is said about other photos."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from id2r_core.errors import Id2rError, NoFace
from id2r_core.facemesh import COUNT
from id2r_core.geometry.camera import Camera, look_at_head
from id2r_core.geometry.rasterize import interpolate, rasterize
from id2r_core.head.model import load_head
from id2r_core.landmarks import detect_face, detect_faces, detect_person
from id2r_core.photo import Photo

TASK_FILE = Path(__file__).parents[2] / "shared" / "data" / "models" / "face_landmarker_v2_with_blendshapes.task"
FACE_SIDE = 106.0  # of the astronaut, pixels


def as_photo(srgb: np.ndarray) -> Photo:
    return Photo(np.ascontiguousarray(srgb, np.float32), "trial.png")


def mean_error(face, expected: np.ndarray, scale: float = 1.0) -> float:
    """Mean distance of the landmarks from their expected places, in fractions of the face's side."""
    return float(np.linalg.norm(face.points - expected, axis=1).mean() / (FACE_SIDE * scale))


def test_the_astronaut(astronaut_face):
    assert astronaut_face.points.shape == (COUNT, 2) and astronaut_face.points.dtype == np.float32
    assert astronaut_face.count == 1 and astronaut_face.warnings == ()
    # Read off the picture by eye: pupils, nose tip, corners of the mouth.
    by_eye = np.array([[203.5, 101.0], [247.0, 103.5], [223.5, 127.0], [202.5, 139.5], [246.0, 140.5]])
    assert np.abs(astronaut_face.five - by_eye).max() < 4.0


def test_the_mirrored_photo_swaps_left_and_right(astronaut, astronaut_face):
    mirrored = detect_face(as_photo(astronaut.srgb[:, ::-1]))
    expected = (astronaut_face.five * (-1, 1) + (astronaut.width, 0))[[1, 0, 2, 4, 3]]
    assert np.abs(mirrored.five - expected).max() < 3.0


@pytest.mark.parametrize(("width", "height", "scale"), [(1600, 1200, 1.0), (3200, 2000, 0.8)])
def test_a_face_that_is_small_in_a_large_photo(astronaut, astronaut_face, random_generator, width, height, scale):
    scene = random_generator.normal(0.4, 0.03, (height, width, 1)).astype(np.float32).repeat(3, axis=2)
    person = cv2.resize(astronaut.srgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    row, column = height - person.shape[0], int(0.6 * width)
    scene[row:, column : column + person.shape[1]] = person
    expected = astronaut_face.points * scale + (column, row)
    assert mean_error(detect_face(as_photo(scene)), expected, scale) < 0.01


def test_a_face_that_fills_the_frame(astronaut, astronaut_face):
    left, top = np.floor(astronaut_face.points.min(0)).astype(int)
    right, bottom = np.ceil(astronaut_face.points.max(0)).astype(int)
    close = detect_face(as_photo(astronaut.srgb[top:bottom, left:right]))
    assert mean_error(close, astronaut_face.points - (left, top)) < 0.02


def test_several_faces_the_largest_counts(astronaut, astronaut_face):
    person = astronaut.srgb[:300, 80:380]
    both = np.full((300, 560, 3), 0.5, np.float32)
    both[:260, :260] = cv2.resize(person, (260, 260), interpolation=cv2.INTER_AREA)
    both[:, 260:] = person
    face = detect_face(as_photo(both))
    assert face.count == 2
    assert face.warnings == ("2 faces were found; the largest one is used.",)
    assert mean_error(face, astronaut_face.points + (260 - 80, 0)) < 0.01
    second = detect_face(as_photo(both), number=2)
    assert second.warnings == ("2 faces were found; number 2, counted from the largest, is used.",)
    assert second.box[2] < 260 < face.box[0]
    first, other = detect_faces(as_photo(both))
    assert (first.points == face.points).all() and (other.points == second.points).all() and other.warnings == ()
    with pytest.raises(Id2rError, match="no face 3 in 'trial.png': 2 found"):
        detect_face(as_photo(both), number=3)


def test_of_further_photos_the_largest_face_is_taken_and_what_is_said_names_them(astronaut, astronaut_face):
    crowd = np.full((300, 560, 3), 0.5, np.float32)
    crowd[:260, :260] = cv2.resize(astronaut.srgb[:300, 80:380], (260, 260), interpolation=cv2.INTER_AREA)
    crowd[:, 260:] = astronaut.srgb[:300, 80:380]
    second = Photo(crowd, "party.jpg")
    face, other = detect_person([astronaut, second], corrections=json.dumps({"0": [220, 130]}))
    assert face.points[0].tolist() == [220, 130] and face.warnings == ()
    assert other.warnings == ("'party.jpg': 2 faces were found; the largest one is used.",)
    assert mean_error(other, astronaut_face.points + (260 - 80, 0)) < 0.01
    with pytest.raises(NoFace, match=r"No face was found in 'wall\.png'"):
        detect_person([astronaut, Photo(np.full((400, 400, 3), 0.5, np.float32), "wall.png")])


def test_corrected_landmarks_count_and_the_others_stay(astronaut, astronaut_face):
    face = detect_face(astronaut, corrections=json.dumps({"61": [190.5, 141.25], "0": [220, 130]}))
    moved = np.flatnonzero((face.points != astronaut_face.points).any(1))
    assert moved.tolist() == [0, 61] and face.points[61].tolist() == [190.5, 141.25]


def test_all_landmarks_by_hand_need_no_detector(astronaut_face):
    wall = as_photo(np.full((400, 400, 3), 0.5))
    face = detect_face(wall, corrections=json.dumps(astronaut_face.points.tolist()))
    assert np.allclose(face.points, astronaut_face.points) and face.count == 1


@pytest.mark.parametrize(
    ("corrections", "said"),
    [
        ({"478": [1, 2]}, "no landmark 478"),
        ({"3": [9e9, 2]}, "far outside"),
        ([[1, 2]], "1 corrected landmarks"),
        ({"3": 7}, "cannot be read"),
        ("nonsense", "cannot be read"),
    ],
)
def test_foreign_corrections_are_refused(astronaut, corrections, said):
    with pytest.raises(Id2rError, match=said):
        detect_face(astronaut, corrections=json.dumps(corrections))


def test_no_face():
    with pytest.raises(NoFace, match=r"No face was found in 'trial.png'"):
        detect_face(as_photo(skimage.data.chelsea() / 255.0))


@pytest.mark.parametrize(("side", "is_enough"), [(240, False), (340, True)])
def test_faces_under_64_pixels_are_refused(astronaut, side, is_enough):
    photo = as_photo(cv2.resize(astronaut.srgb, (side, side), interpolation=cv2.INTER_AREA))
    if is_enough:
        assert detect_face(photo).count == 1
    else:
        with pytest.raises(NoFace, match="only 50 pixels high"):
            detect_face(photo)


def render_head(yaw_degrees: float) -> np.ndarray:
    """[512, 512, 3] the plain head model with painted eyes, turned so far, under a soft light."""
    head = load_head()
    fine = head.fine_neutral
    view = look_at_head(torch.tensor([math.radians(yaw_degrees)]), 1.0, torch.tensor([0.0, -0.03, -0.05]))
    camera = Camera(view, torch.tensor([900.0]), torch.tensor([[256.0, 256.0]]), 512, 512)
    fragments = rasterize(camera.project(fine), head.faces, 512, 512)
    normal = interpolate(head.neutral_normals, head.faces, fragments)[0].permute(1, 2, 0)
    light = 0.2 + 0.8 * (normal @ torch.tensor([0.3, 0.4, 0.85])).clamp(min=0.0)[..., None]
    is_eye = head.faces_of("eyeball_left", "eyeball_right")[fragments.face[0]][..., None]
    colour = torch.where(is_eye, torch.tensor([0.9, 0.9, 0.9]), torch.tensor([0.85, 0.65, 0.55]))
    return torch.where(fragments.mask[0, 0][..., None], colour * light, torch.tensor(0.5)).clamp(0.0, 1.0).numpy()


@pytest.mark.parametrize("yaw_degrees", [-20, 0, 20])
def test_a_slightly_turned_head_is_fine(yaw_degrees):
    assert detect_face(as_photo(render_head(yaw_degrees))).warnings == ()


@pytest.mark.parametrize("yaw_degrees", [-50, 50])
def test_a_head_seen_from_the_side_is_a_warning(yaw_degrees):
    (warning,) = detect_face(as_photo(render_head(yaw_degrees))).warnings
    assert "turned about" in warning


def test_mediapipe_says_nothing_on_the_terminal(astronaut, capfd):
    detect_face(astronaut)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_a_missing_or_foreign_task_file(astronaut, tmp_path):
    with pytest.raises(Id2rError, match="no landmark model"):
        detect_face(astronaut, tmp_path / "none.task")
    (tmp_path / "other.task").write_bytes(b"not a model" * 100)
    with pytest.raises(Id2rError, match="is not a face landmark model"):
        detect_face(astronaut, tmp_path / "other.task")


@pytest.mark.skipif(not TASK_FILE.is_file(), reason="needs a face_landmarker .task file")
def test_both_implementations_agree(astronaut, astronaut_face):
    assert mean_error(detect_face(astronaut, TASK_FILE), astronaut_face.points) < 0.02
