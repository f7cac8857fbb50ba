"""The table of shape statistics: measured rightly on shapes of known spread, and what the stage's people have."""

import json

import numpy as np
import pytest
import torch

from id2r_core.capture import shapes
from id2r_core.capture.shapes import (
    DISTANCES,
    FIRST_INNER,
    MODES,
    align,
    correlation_error,
    fit_modes,
    landmarks_of,
    main,
    scanned_landmarks,
    statistics,
    virtual_landmarks,
)
from id2r_core.capture.subjects import SHAPE_MODES, Casting
from id2r_core.errors import Id2rError
from id2r_core.pigment import build_pigment_table


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
    faces = scaled_faces(model, sizes, random_generator)
    found = statistics(faces)
    assert abs(found["size, %"] - 100 * sizes.std() / sizes.mean()) < 0.2
    for name, (a, b) in DISTANCES.items():
        long = np.linalg.norm(faces[:, a - FIRST_INNER] - faces[:, b - FIRST_INNER], axis=1).mean()
        assert abs(found[f"{name}, mm"] / (1e3 * long) - sizes.std() / sizes.mean()) < 0.002
    assert found["variance in 5 components, %"] > 99.5
    assert found["asymmetry, rms mm"] < 0.2


def test_alignment_takes_turns_and_places_out(model, random_generator):
    faces = scaled_faces(model, np.ones(10), random_generator)
    assert np.ptp(align(faces), axis=0).max() < 1e-4


def test_one_moved_landmark_is_an_asymmetry(model, random_generator):
    faces = scaled_faces(model, np.ones(100), random_generator)
    faces[:, 48 - FIRST_INNER] += random_generator.normal(0, 0.003, (100, 3))
    found = statistics(faces)
    assert 0.5 < found["asymmetry, rms mm"] < 2.5 and found["mouth, width, mm"] > 2 > found["eye, width, mm"]


# What `capture shapes` measures of ICT-FaceKit: spreads, and some of the correlations among distances.
SCANNED = {
    "landmark, rms mm": 3.26, "size, %": 4.68, "asymmetry, rms mm": 0.87, "variance in 10 components, %": 91.65,
    "outer eye corners, mm": 4.97, "inner eye corners, mm": 3.27, "eye, width, mm": 2.04, "nose, length, mm": 2.98,
    "nose, width, mm": 2.69, "nose, projection, mm": 2.03, "mouth, width, mm": 3.93, "lips, height, mm": 3.62,
    "brow to eye, mm": 1.87,
}  # fmt: skip


def test_virtual_people_vary_as_scanned_ones_do(model):
    """The way from nose to mouth, which sex and ancestry alone spread more than scans, is left out."""
    people = virtual_landmarks(model, 300)
    found = statistics(people)
    for name, scanned in SCANNED.items():
        assert 0.8 < found[name] / scanned < 1.2, name
    offsets = align(people).reshape(len(people), -1)
    apart = np.linalg.norm(offsets[:, None] - offsets, axis=2) / np.sqrt(people.shape[1])
    assert apart[~np.eye(len(people), dtype=bool)].min() > 1e-3  # no two are alike: a millimetre rms


def test_modes_give_people_the_covariance_that_is_asked_for(model, monkeypatch):
    """Scanned people made of this model's own morphs: the fit finds how they vary together, which single morphs do not."""
    monkeypatch.setattr(shapes, "COUNT", 200)
    casting = Casting(model, build_pigment_table(), 0, "train")
    identity = casting.cast(range(300), "cpu").identity
    names = [model.identity_names.index(name) for name in ("nose-scale-horiz-incr", "mouth-scale-horiz-incr")]
    wide = torch.rand(300, generator=torch.Generator().manual_seed(0))[:, None]
    identity[:, names] = 0.5 * wide  # noses and mouths get wide together
    scanned = landmarks_of(model, identity)
    modes = fit_modes(casting, model, scanned)
    assert modes.shape == (MODES, len(casting.pairs))
    before = correlation_error(landmarks_of(model, _people(casting, 0 * modes)), scanned)
    after = correlation_error(landmarks_of(model, _people(casting, modes)), scanned)
    assert after < 0.8 * before


def _people(casting, modes):
    casting.modes = modes
    return casting.cast(range(300, 600), "cpu").identity


def test_the_file_of_modes_names_its_licence_and_only_morphs_that_exist(model):
    about = json.loads(SHAPE_MODES.read_text())
    assert "MIT License" in about["fitted_to"] and "Copyright (c) 2020 USC" in about["fitted_to"]
    assert len(about["modes"]) == MODES and all(set(mode) <= set(model.identity_names) for mode in about["modes"])


def test_a_directory_without_scans_is_named(tmp_path):
    with pytest.raises(Id2rError, match="ict_facekit"):
        scanned_landmarks(tmp_path, 3)
    with pytest.raises(Id2rError, match="ict_facekit"):
        main(["--data", str(tmp_path)])
