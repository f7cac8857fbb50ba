"""Photographs of a validation set: through the camera that is asked for, developed, complete or absent, kept."""

import json
import os

import bpy
import cv2
import numpy as np
import pytest

from addon import photograph
from addon.core import errors
from tests.blender.conftest import head_arrays, write_result

SIZE = 64


@pytest.fixture
def validation_set(tmp_path):
    """One scene of two photographs of one subject, lit evenly."""
    os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"
    arrays = head_arrays()
    write_result(tmp_path / "subjects" / "somebody")
    (tmp_path / "lights").mkdir()
    cv2.imwrite(str(tmp_path / "lights" / "scene000.exr"), np.ones((16, 32, 3), np.float32))
    camera = {
        "view_from_world": arrays["camera_view_from_world"].tolist(),
        "focal": 200.0,
        "principal": [30.0, 36.0],
        "cloth_linear": [0.9, 0.9, 0.9],
    }
    photos = [
        {"file": f"photos/{name}.png", "subject": "somebody", "expression": expression, **camera}
        for name, expression in (("rest", {}), ("open", {"jawOpen": 1.0}))
    ]
    scene = {
        "name": "scene000",
        "hdri": "even",
        "light": "lights/scene000.exr",
        "gain": [0.5, 0.5, 0.5],
        "photos": photos,
    }
    index = {"size": SIZE, "subjects": [{"name": "somebody"}], "scenes": [scene]}
    (tmp_path / "validation.json").write_text(json.dumps(index))
    return tmp_path


def test_the_head_is_photographed_where_the_camera_sees_it(validation_set):
    assert photograph.photograph(validation_set, 4, lambda *_: None) == 2
    shot = cv2.imread(str(validation_set / "photos" / "rest.png"))
    assert shot.shape == (SIZE, SIZE, 3)
    assert np.abs(shot[0, 0].astype(int) - 255 * 0.711).max() < 12  # an even white world at a gain of 0.5, dark corners
    arrays = head_arrays()
    view = arrays["vertices"] @ arrays["camera_view_from_world"][:3, :3].T + arrays["camera_view_from_world"][:3, 3]
    x, y = (view[:, :2] / view[:, 2:] * 200.0 + [30.0, 36.0]).T
    darker = shot.astype(int).max(2) < shot[0, 0].max() - 25
    rows, columns = np.nonzero(darker)
    assert abs(columns.min() - x.min()) < 2 and abs(columns.max() + 1 - x.max()) < 2
    assert abs(rows.min() - y.min()) < 2 and abs(rows.max() + 1 - y.max()) < 2


def test_what_exists_is_kept_and_nothing_half_written_stays(validation_set):
    (validation_set / "photos").mkdir()
    (validation_set / "photos" / "rest.png").write_bytes(b"kept")
    assert photograph.photograph(validation_set, 1, lambda *_: None) == 1
    assert (validation_set / "photos" / "rest.png").read_bytes() == b"kept"
    assert sorted(path.name for path in (validation_set / "photos").iterdir()) == ["open.png", "rest.png"]


def test_a_folder_that_is_no_set_is_named(tmp_path):
    for content, message in ((None, "no validation.json"), ("{", "not JSON"), ("{}", "lists no scenes")):
        if content is not None:
            (tmp_path / "validation.json").write_text(content)
        with pytest.raises(errors.Id2rError, match=message):
            photograph.read_index(tmp_path)


def test_expressions_are_those_of_the_photograph(validation_set):
    photograph.photograph(validation_set, 1, lambda *_: None)
    keys = next(each for each in bpy.data.objects if each.name == "Head").data.shape_keys.key_blocks
    assert keys["jawOpen"].value == 1.0 and keys["eyeLookUpLeft"].value == 0.0
