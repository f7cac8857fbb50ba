"""Correcting landmarks: what a drag does to the neighbours, undo and reset, and what reaches the settings."""

import json

import bpy
import numpy as np
import pytest

from addon import landmarks
from addon.core import errors, facemesh, protocol

MOUTH_CORNER, EYE_CORNER = 291, 33


@pytest.fixture
def face() -> dict:
    """A face whose landmarks lie on a lattice of 10 pixels."""
    return {"number": 1, "box": [0, 0, 210, 210], "points": [[10.0 * (i % 22), 10.0 * (i // 22)] for i in range(478)]}


@pytest.fixture
def edit(face):
    return landmarks.edit_of(face, "")


def test_neighbours_follow_a_drag_ever_less(edit):
    edit.take()
    edit.drag(MOUTH_CORNER, edit.found[MOUTH_CORNER] + (9.0, -6.0))
    step = np.linalg.norm(edit.points - edit.found, axis=1)
    assert step[MOUTH_CORNER] == pytest.approx(np.hypot(9, 6))
    order = np.argsort(np.linalg.norm(edit.found - edit.found[MOUTH_CORNER], axis=1), kind="stable")
    assert (np.diff(step[order]) <= 1e-9).all() and 0 < step[MOUTH_CORNER + 1] < 0.9 * step[MOUTH_CORNER]
    assert step[EYE_CORNER] < landmarks.MOVED and EYE_CORNER not in edit.moved() and MOUTH_CORNER in edit.moved()


def test_a_drag_counts_from_where_it_began(edit):
    edit.take()
    for to in ((90, 90), (300, 5), (100, 130)):
        edit.drag(MOUTH_CORNER, np.array(to))
    there = edit.points.copy()
    edit.undo()
    edit.take()
    edit.drag(MOUTH_CORNER, np.array((100, 130)))
    assert np.array_equal(edit.points, there)


def test_undo_and_reset(edit):
    for to in ((50, 50), (60, 60)):
        edit.take()
        edit.drag(MOUTH_CORNER, np.array(to))
    edit.reset()
    assert edit.moved() == {}
    edit.undo()
    assert edit.points[MOUTH_CORNER] == pytest.approx((60, 60))
    edit.undo()
    assert edit.points[MOUTH_CORNER] == pytest.approx((50, 50))
    for _ in range(3):
        edit.undo()
    assert edit.moved() == {}


def test_only_handles_can_be_taken_hold_of(edit):
    assert edit.nearest(edit.found[MOUTH_CORNER] + (2, 1), within=5) == MOUTH_CORNER
    assert edit.nearest(edit.found[MOUTH_CORNER] + (0, -500), within=5) is None
    inner = next(i for i in range(facemesh.COUNT) if i not in landmarks.HANDLES)
    assert edit.nearest(edit.found[inner], within=1) is None


def test_corrections_survive_the_setting(edit, face):
    edit.take()
    edit.drag(MOUTH_CORNER, np.array((77.25, 88.5)))
    again = landmarks.edit_of(face, json.dumps(edit.moved()))
    assert np.abs(again.points - edit.points).max() < landmarks.MOVED and (again.found == edit.found).all()


@pytest.mark.parametrize(
    "text", ["not json", "[1, 2]", '{"a": [1, 2]}', '{"3": 7}', '{"478": [1, 2]}', '{"-1": [1, 2]}']
)
def test_foreign_corrections_are_refused(text):
    with pytest.raises(errors.Id2rError, match="landmark"):
        protocol.read_corrections(text)


def test_scripts_set_and_reset_them_and_the_request_has_them(addon):
    from addon.properties import apply_request, request_of

    settings = bpy.context.scene.id2r
    points = json.dumps({MOUTH_CORNER: [10.0, 20.0]})
    assert bpy.ops.id2r.edit_landmarks(points=points) == {"FINISHED"} and settings.landmarks == points
    with pytest.raises(RuntimeError, match="cannot be read"):
        bpy.ops.id2r.edit_landmarks(points="nonsense")
    assert settings.landmarks == points
    settings.photo = "a.png"  # another photo forgets them
    bpy.ops.id2r.edit_landmarks(points=points)
    request = request_of(settings, "cpu")
    assert request.interactive_landmarks == points
    bpy.ops.id2r.reset_landmarks()
    assert settings.landmarks == ""
    apply_request(settings, request.to_json())
    assert settings.landmarks == points


@pytest.mark.parametrize("name, value", [("photo", "other.png"), ("face", 2)])
def test_another_face_forgets_them(addon, name, value):
    settings = bpy.context.scene.id2r
    settings.landmarks = "{}"
    setattr(settings, name, value)
    assert settings.landmarks == ""
