"""Teeth of a smile: how far down a photo shows them, and whether the head's come to lie there."""

import dataclasses

import numpy as np
import pytest
import torch
from synthetic_head import camera_at, face_of, known_head

from id2r_core.head.smile import LOWER_RIM, LOWERED, UPPER_RIM, _incisor_edge, seat_teeth, teeth_reach
from id2r_core.photo import Photo

SIZE = 640
LIPS, TEETH, GAP = (0.7, 0.45, 0.45), (0.85, 0.8, 0.7), (0.1, 0.04, 0.04)
OPEN = {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6, "jawOpen": 0.25}


@pytest.fixture(scope="module")
def smiling(model):
    return known_head(model, camera_at(size=SIZE), {}, OPEN)


def photo_of_mouth(face, teeth_to: float, below=GAP) -> Photo:
    """Lips, and between them teeth from the upper one down to a share of the opening; `below` fills the rest."""
    upper, lower = (face.points[list(rim)].mean(0)[1] for rim in (UPPER_RIM, LOWER_RIM))
    rows = (np.arange(SIZE) + 0.5 - upper) / (lower - upper)
    image = np.empty((SIZE, SIZE, 3), np.float32)
    for inside, colour in ((rows < 0, LIPS), (rows >= 0, TEETH), (rows > teeth_to, below), (rows > 1, LIPS)):
        image[inside] = colour
    return Photo(image, "mouth.png", None)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_teeth_end_where_it_gets_dark(smiling, share):
    face = face_of(smiling, 0.0)
    assert teeth_reach(photo_of_mouth(face, share), face) == pytest.approx(share, abs=0.08)


def test_teeth_that_meet_the_lip_fill_the_mouth(smiling):
    face = face_of(smiling, 0.0)
    assert teeth_reach(photo_of_mouth(face, 0.8, below=LIPS), face) == 1.0
    assert teeth_reach(photo_of_mouth(face, 1.0), face) == 1.0


def test_a_shut_mouth_tells_nothing(model):
    shut = known_head(model, camera_at(size=SIZE), {}, {})
    face = face_of(shut, 0.0)
    photo = photo_of_mouth(face, 0.5)
    assert teeth_reach(photo, face) is None
    assert seat_teeth(shut.vertices, photo, face, shut.camera, model) is shut.vertices


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_the_incisors_come_to_end_there(model, smiling, share):
    face = face_of(smiling, 0.0)
    photo = photo_of_mouth(face, share)
    seated = seat_teeth(smiling.vertices, photo, face, smiling.camera, model)
    edge = smiling.camera.project(seated[_incisor_edge(model)].mean(0, keepdim=True))[0, 0, 1]
    upper, lower = (face.points[list(rim)].mean(0)[1] for rim in (UPPER_RIM, LOWER_RIM))
    assert float(edge) == pytest.approx(upper + teeth_reach(photo, face) * (lower - upper), abs=0.5)
    moved = (seated != smiling.vertices).any(1)
    assert set(moved.nonzero()[:, 0].tolist()) == set(model.upper_jaw.tolist())


def test_teeth_do_not_leave_the_jaw(model, smiling):
    face = face_of(smiling, 0.0)
    wide = dataclasses.replace(face, points=face.points.copy())
    wide.points[list(LOWER_RIM), 1] += 200.0
    seated = seat_teeth(smiling.vertices, photo_of_mouth(wide, 1.0), wide, smiling.camera, model)
    assert float((smiling.vertices - seated).max()) == pytest.approx(LOWERED, abs=1e-6)


def test_the_edge_is_that_of_the_upper_incisors(model):
    edge = _incisor_edge(model)
    assert len(edge) >= 4 and torch.isin(edge, model.upper_jaw).all()
    assert model.neutral[edge, 0].abs().max() < 0.006 and float(model.neutral[edge, 1].std()) < 0.001
