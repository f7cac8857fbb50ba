"""Eyes look where their photo has the irises, and heads at rest do not squint."""

import math

import pytest
import torch
from synthetic_head import camera_at

from id2r_core.head.gaze import APART, IRISES, WIDEST, aim_eyes, outward, part_eyes

MILLIMETRE = 0.001


def pupils(vertices, model):
    """[2, 3] unit directions of the front of the left and the right eye."""
    fronts = torch.stack([ball[model.neutral[ball, 2].argmax()] for ball in model.eye_vertices])
    looks = vertices[fronts] - model.eyes(vertices)[0]
    return looks / looks.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("yaw", [0.0, 30.0])
def test_irises_come_to_lie_where_the_photo_has_them(model, yaw):
    camera = camera_at(yaw, size=640)
    seen = camera.project(model.landmarks_of(model.neutral))[0, :, :2]
    seen[list(IRISES)] += torch.tensor([[6.0, -2.0], [-1.0, 4.0]])
    aimed = aim_eyes(model.neutral, seen, camera, model)
    found = camera.project(model.landmarks_of(aimed))[0, :, :2]
    assert (found - seen)[list(IRISES)].norm(dim=1).max() < 0.3  # pixels; the fine mesh is no perfect ball
    assert (model.eyes(aimed)[0] - model.eyes(model.neutral)[0]).norm(dim=1).max() < 0.05 * MILLIMETRE
    still = torch.ones(len(aimed), dtype=torch.bool)
    still[model.eye_vertices.flatten()] = False
    assert torch.equal(aimed[still], model.neutral[still])


def test_eyes_that_are_right_stay(model):
    camera = camera_at(size=640)
    seen = camera.project(model.landmarks_of(model.neutral))[0, :, :2]
    assert (aim_eyes(model.neutral, seen, camera, model) - model.neutral).norm(dim=1).max() < 0.02 * MILLIMETRE


def test_no_eye_turns_into_the_skull_for_a_landmark_beside_the_face(model):
    camera = camera_at(size=640)
    seen = camera.project(model.landmarks_of(model.neutral))[0, :, :2]
    seen[list(IRISES)] += 400.0
    looks = pupils(aim_eyes(model.neutral, seen, camera, model), model)
    angles = torch.rad2deg((looks @ torch.tensor([0.0, 0.0, 1.0])).acos())
    assert (angles < math.degrees(WIDEST) + 1).all() and (angles > math.degrees(WIDEST) - 6).all()


def test_what_eyes_differ_by_is_measured_and_given_to_a_head_at_rest(model):
    parted = part_eyes(model.neutral, torch.tensor(0.08), model)
    left, right = pupils(parted, model)
    assert float(left[0]) == pytest.approx(math.sin(0.08), abs=0.01)
    assert float(left[0] + right[0]) == pytest.approx(0.0, abs=1e-3)
    assert float(outward(parted, model)) == pytest.approx(0.08, abs=1e-3)


def test_a_head_whose_shape_squints_is_parted_as_far_as_any(model):
    squinting = part_eyes(model.neutral, torch.tensor(-0.04), model)
    assert float(outward(part_eyes(squinting, torch.tensor(0.06), model), model)) == pytest.approx(0.06, abs=1e-3)


def test_looking_aside_is_no_squint(model):
    """Both eyes turned to the same side: nothing of it stays in a head at rest."""
    camera = camera_at(size=640)
    seen = camera.project(model.landmarks_of(model.neutral))[0, :, :2]
    seen[list(IRISES)] += torch.tensor([5.0, 0.0])
    aside = aim_eyes(model.neutral, seen, camera, model)
    assert pupils(aside, model)[:, 0].min() > 0.05
    assert abs(float(outward(aside, model))) < 0.01


def test_heads_at_rest_neither_squint_nor_stare_apart(model):
    for angle, kept in ((-0.5, APART[0]), (0.6, APART[1])):
        assert float(outward(part_eyes(model.neutral, torch.tensor(angle), model), model)) == pytest.approx(
            kept, abs=1e-3
        )
