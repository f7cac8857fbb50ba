"""The table of shape statistics: measured rightly on shapes of known spread, and what the stage's people have."""

import numpy as np
import pytest

from id2r_core.capture.shapes import (
    DISTANCES,
    FIRST_INNER,
    align,
    main,
    scanned_landmarks,
    statistics,
    virtual_landmarks,
)
from id2r_core.errors import Id2rError


def scaled_faces(model, sizes, random):
    """One face in several sizes, each turned and moved somewhere."""
    face = virtual_landmarks(model, 1)[0]
    faces = []
    for size in sizes:
        turn = np.linalg.qr(np.eye(3) + 0.2 * random.normal(size=(3, 3)))[0]
        turn *= np.sign(np.diag(turn))
        faces.append(size * face @ turn.T * np.sign(np.linalg.det(turn)) + random.normal(size=3))
    return np.stack(faces)


def test_faces_that_differ_in_size_alone_differ_in_nothing_else(model, random_generator):
    sizes = random_generator.normal(1.0, 0.05, 200)
    found = statistics(scaled_faces(model, sizes, random_generator))
    assert abs(found["size, %"] - 100 * sizes.std() / sizes.mean()) < 0.2
    assert all(abs(found[f"{name}, %"] - found["size, %"]) < 0.2 for name in DISTANCES)
    assert found["variance in 5 components, %"] > 99.5
    assert found["asymmetry, rms mm"] < 0.2


def test_alignment_takes_turns_and_places_out(model, random_generator):
    faces = scaled_faces(model, np.ones(10), random_generator)
    assert np.ptp(align(faces), axis=0).max() < 1e-4


def test_one_moved_landmark_is_an_asymmetry(model, random_generator):
    faces = scaled_faces(model, np.ones(100), random_generator)
    faces[:, 48 - FIRST_INNER] += random_generator.normal(0, 0.003, (100, 3))
    found = statistics(faces)
    assert 0.5 < found["asymmetry, rms mm"] < 2.5 and found["mouth, width, %"] > 3 > found["eye, width, %"]


def test_virtual_people_vary_about_as_scanned_ones_do(model):
    """Against the figures of ICT-FaceKit (`capture shapes`): 3.2 mm a landmark, 4.6 % in size, 0.9 mm of asymmetry."""
    found = statistics(virtual_landmarks(model, 200))
    assert 0.75 * 3.2 < found["landmark, rms mm"] < 1.25 * 3.2
    assert 0.75 * 4.6 < found["size, %"] < 1.25 * 4.6
    assert 0.6 * 0.87 < found["asymmetry, rms mm"] < 1.3 * 0.87


def test_a_directory_without_scans_is_named(tmp_path):
    with pytest.raises(Id2rError, match="ict_facekit"):
        scanned_landmarks(tmp_path, 3)
    with pytest.raises(Id2rError, match="ict_facekit"):
        main(["--data", str(tmp_path)])
