"""The face picker: what the worker sees is kept for the photo, and another face is one click away."""

from types import SimpleNamespace

import bpy
import cv2
import numpy as np
import pytest
from test_panels import Layout

from addon import faces, panels

SEEN = """
    from pathlib import Path
    out = Path(request["out"]); out.mkdir(parents=True)
    points = [[10.0 + i % 20, 20.0 + i // 20] for i in range(478)]
    found = [dict(number=n, box=[10, 20, 30, 44], points=points, thumbnail=str(out / f"face {n}.png"),
                  warnings=["The head is turned about 41 degrees."] if n == 2 else []) for n in (1, 2, 3)]
    for each in found:
        shutil.copy(request["photo"], each["thumbnail"])
    say("result", out=str(out), report={"size": [96, 120], "warnings": [], "faces": found})
"""


@pytest.fixture
def settings(addon, tmp_path, fake_python):
    """A photo is chosen, and the worker sees three faces in it."""
    fake_python(SEEN)
    cv2.imwrite(str(tmp_path / "family.png"), np.full((120, 96, 3), 90, np.uint8))
    bpy.context.scene.id2r.photo = str(tmp_path / "family.png")
    return bpy.context.scene.id2r


def drawn() -> list:
    layout = Layout()
    panels.draw_faces(layout, context())
    return layout.drawn


def context():
    real = bpy.context
    preferences = SimpleNamespace(system=SimpleNamespace(ui_scale=1.0), addons={})
    region = SimpleNamespace(width=260)
    return SimpleNamespace(scene=real.scene, window_manager=real.window_manager, preferences=preferences, region=region)


def test_before_anyone_has_looked_there_is_a_button(settings):
    assert faces.found_in(bpy.context) is None and drawn() == ["id2r.find_faces"]


def test_several_faces_are_offered_with_thumbnails(settings):
    assert bpy.ops.id2r.find_faces() == {"FINISHED"}
    found = faces.found_in(bpy.context)
    assert [each["number"] for each in found.faces] == [1, 2, 3] and found.size == (96, 120)
    assert drawn() == ["Which face?", *["thumbnail", "id2r.choose_face"] * 3, "id2r.show_landmarks"]


def test_the_chosen_face_reaches_the_request_and_says_its_warning(settings):
    from addon.properties import apply_request, request_of

    bpy.ops.id2r.find_faces()
    bpy.ops.id2r.choose_face(number=2)
    request = request_of(settings, "cpu")
    assert request.face == 2 and "turned about 41" in " ".join(drawn())
    settings.face = 1
    apply_request(settings, request.to_json())
    assert settings.face == 2
    apply_request(settings, {name: value for name, value in request.to_json().items() if name != "face"})
    assert settings.face == 1  # a run of an older version had no choice


def test_another_photo_forgets_the_choice(settings, result_folder):
    bpy.ops.id2r.find_faces()
    bpy.ops.id2r.choose_face(number=3)
    bpy.ops.id2r.open_photo(filepath=str(result_folder / "photo.png"))
    assert settings.face == 1 and faces.found_in(bpy.context) is None


def test_a_face_that_is_not_there_is_said(settings):
    bpy.ops.id2r.find_faces()
    with pytest.raises(RuntimeError, match="no face 4: 3 found"):
        bpy.ops.id2r.choose_face(number=4)
    assert settings.face == 1


def test_another_face_is_one_click_away(settings, fake_python, result_folder):
    """After a reconstruction the picker's buttons reconstruct again."""
    bpy.ops.id2r.find_faces()
    made = f"""
        import pathlib
        pathlib.Path({str(result_folder.parent / "asked")!r}).write_text(str(request["face"]))
        say("result", out={str(result_folder)!r}, report={{"warnings": [], "seconds": {{}}}})
    """
    fake_python(made)
    assert bpy.ops.id2r.reconstruct() == {"FINISHED"}
    assert drawn()[0] == "Press another number to make that one:"
    fake_python(made)
    bpy.ops.id2r.choose_face(number=3, redo=True)
    assert (result_folder.parent / "asked").read_text() == "3" and len(bpy.context.scene.id2r_runs) == 2
