"""Glasses are told from what else is dark around the eyes."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from id2r_core.capture.sources import split_of
from id2r_core.errors import Id2rError
from id2r_core.facemesh import BROWS
from id2r_core.glasses import CORNERS, EYES, STRIP, eye_strip, wears_glasses
from id2r_core.train.glasses import WORN, fit, train_glasses

# Width of the rim and half the width of a lens, of the distance between the eyes; how bright the rim is.
STYLES = {"thick and black": (0.07, 0.4, 0.02), "thin": (0.03, 0.38, 0.1), "large": (0.04, 0.44, 0.05)}


def eyes_of(face) -> np.ndarray:
    return np.array([face.points[list(pair)].mean(0) for pair in CORNERS])


def drawn(photo, shapes, colour: float, width: float):
    """The photo with lines [P, 2] over it."""
    canvas = photo.srgb.copy()
    for shape in shapes:
        points = np.round(shape * 16).astype(np.int32)
        cv2.polylines(canvas, [points], False, (colour,) * 3, max(1, round(width)), cv2.LINE_AA, shift=4)
    return replace(photo, srgb=canvas)


def test_a_bare_face_has_none(astronaut, astronaut_face):
    assert not wears_glasses(astronaut, astronaut_face)


@pytest.mark.parametrize(("width", "radius", "colour"), STYLES.values(), ids=STYLES)
def test_drawn_glasses_are_seen(astronaut, astronaut_face, width, radius, colour):
    right, left = eyes_of(astronaut_face)
    apart = np.linalg.norm(left - right)
    turn = np.linspace(0, 2 * np.pi, 60)
    lens = radius * apart * np.stack([np.cos(turn), 0.75 * np.sin(turn)], -1) + (0, 0.06 * apart)
    bridge = np.linspace(right + (radius * apart, 0), left - (radius * apart, 0), 10)
    worn = drawn(astronaut, [right + lens, left + lens, bridge], colour, width * apart)
    assert wears_glasses(worn, astronaut_face)


def test_a_frown_is_not_taken_for_a_bridge(astronaut, astronaut_face):
    right, left = eyes_of(astronaut_face)
    frown = np.linspace(right, left, 40)[15:25] - (0, 0.03 * np.linalg.norm(left - right))
    assert not wears_glasses(drawn(astronaut, [frown], 0.15, 3), astronaut_face)


def test_heavy_brows_are_not_glasses(astronaut, astronaut_face):
    shapes = [astronaut_face.points[list(brow)[:5]] for brow in BROWS]
    assert not wears_glasses(drawn(astronaut, shapes, 0.05, 6), astronaut_face)


@pytest.mark.parametrize("turns", [0, 1])
def test_the_strip_is_upright_whatever_the_photo(astronaut, astronaut_face, turns):
    """A photo turned by a quarter shows the same strip."""
    photo, face = astronaut, astronaut_face
    for _ in range(turns):
        x, y = face.points.T
        face = replace(face, points=np.stack([y, photo.width - x], -1))
        photo = replace(photo, srgb=np.ascontiguousarray(np.rot90(photo.srgb)))
    strip = eye_strip(photo, face)
    assert strip.shape == (*STRIP, 3)
    assert np.abs(strip - eye_strip(astronaut, astronaut_face)).mean() < 0.02
    column, row = (EYES * STRIP[::-1]).round().astype(int)[0]
    assert strip[row, column].mean() < strip.mean() - 0.1  # the pupil


def test_what_is_learnt_tells_people_apart_that_it_has_not_seen():
    """One feature of three tells, and one in five has it."""
    dice = np.random.default_rng(0)
    labels = dice.random(400) < 0.2
    features = dice.normal(0.0, 1.0, (400, 3)) + 4.0 * labels[:, None] * (0.0, 1.0, 0.0)
    weights, bias = fit(features[:300], labels[:300])
    told = features[300:] @ weights + bias > 0
    assert (told == labels[300:]).mean() > 0.93 and np.abs(weights).argmax() == 1


def test_nobody_of_the_test_split_was_learnt_from():
    worn = WORN.read_text(encoding="utf-8").split()
    assert len(worn) == len(set(worn)) > 50
    assert {split_of(name) for name in worn} == {"train"}


def test_a_folder_without_portraits_is_named(tmp_path):
    with pytest.raises(Id2rError, match=tmp_path.name):
        train_glasses(tmp_path)
