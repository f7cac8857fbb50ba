"""Further photos of the same person: how they come in, how they go, and that a job and the history know them."""

import json
from pathlib import Path

import bpy
import pytest

from addon import properties
from addon.core import protocol
from tests.blender.conftest import write_result


@pytest.fixture
def folder(tmp_path):
    for name in ("Ada.png", "left.jpg", "right.jpg", "smile.webp", "frown.png", "sixth.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"never read here")
    return tmp_path


@pytest.fixture
def settings(addon, folder):
    values = bpy.context.scene.id2r
    values.photo, values.out = str(folder / "Ada.png"), str(folder / "out")
    return values


def add(folder, *names):
    return bpy.ops.id2r.add_photos(directory=str(folder), files=[{"name": name} for name in names])


def names_of(settings) -> list[str]:
    return [Path(each.path).name for each in settings.more_photos]


def test_several_files_are_added_at_once_and_removed_one_by_one(settings, folder):
    assert add(folder, "left.jpg", "right.jpg") == {"FINISHED"}
    assert add(folder, "smile.webp") == {"FINISHED"}
    assert names_of(settings) == ["left.jpg", "right.jpg", "smile.webp"]
    assert bpy.ops.id2r.remove_photo(index=1) == {"FINISHED"}
    assert names_of(settings) == ["left.jpg", "smile.webp"]
    with pytest.raises(RuntimeError, match="no further photo 2"):
        bpy.ops.id2r.remove_photo(index=2)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["right.jpg", "notes.txt"], "'notes.txt' is no photo"),
        (["right.jpg", "missing.png"], "There is no file"),
        (["right.jpg", "left.jpg"], "'left.jpg' is among the photos already"),
        (["Ada.png"], "'Ada.png' is among the photos already"),
        (["right.jpg", "smile.webp", "frown.png", "sixth.png"], "5 further photos are too many"),
    ],
)
def test_what_cannot_be_added_is_said_and_adds_nothing(settings, folder, names, said):
    add(folder, "left.jpg")
    with pytest.raises(RuntimeError, match=said):
        add(folder, *names)
    assert names_of(settings) == ["left.jpg"]


def test_without_a_photo_there_is_nothing_to_add_to(addon, folder):
    assert not bpy.ops.id2r.add_photos.poll()


def test_the_request_has_them_and_takes_them_back(settings, folder):
    add(folder, "left.jpg", "right.jpg")
    request = properties.request_of(settings, "cpu")
    assert request.more_photos == (str(folder / "left.jpg"), str(folder / "right.jpg"))
    settings.photo = str(folder / "sixth.png")
    assert not settings.more_photos  # another photo is another person
    assert properties.request_of(settings, "cpu").more_photos == ()
    properties.apply_request(settings, json.loads(json.dumps(request.to_json())))
    assert properties.request_of(settings, "cpu") == request
    old = {name: value for name, value in request.to_json().items() if name != "more_photos"}
    properties.apply_request(settings, old)
    assert not settings.more_photos


def test_a_run_keeps_them_in_the_history(settings, folder, fake_python):
    write_result(folder / "finished")
    fake_python("""
        assert [each[-8:] for each in request["more_photos"]] == ["left.jpg"]
        say("result", out=request["out"], report={})
    """)
    add(folder, "left.jpg")
    assert bpy.ops.id2r.reconstruct() == {"FINISHED"}
    settings.more_photos.clear()
    assert bpy.ops.id2r.use_run(index=0) == {"FINISHED"}
    assert names_of(settings) == ["left.jpg"]


def test_the_command_line_has_them(addon, folder, fake_python, monkeypatch):
    from addon import batch, cli

    write_result(folder / "finished")
    small = batch.Options(renders=(), samples=1, size=16)
    monkeypatch.setattr(batch, "Options", lambda: small)
    monkeypatch.chdir(folder)
    fake_python(f"""
        assert request["more_photos"] == [{str(folder / "left.jpg")!r}, {str(folder / "right.jpg")!r}], request
        say("result", out=request["out"], report={{}})
    """)
    assert cli.execute(["reconstruct", "Ada.png", "--more", "left.jpg", "right.jpg", "--out", "out"]) == 0


def test_the_panel_offers_more_until_there_are_enough(settings, folder):
    from addon import panels
    from tests.blender.test_panels import Layout, context_of

    drawn = lambda: panels.draw_more_photos(layout := Layout(), context_of()) or layout.drawn
    assert drawn() == ["id2r.add_photos"]
    add(folder, "left.jpg", "right.jpg", "smile.webp")
    assert drawn() == ["thumbnail", "id2r.remove_photo"] * 3 + ["id2r.add_photos"]
    add(folder, "frown.png")
    assert drawn() == ["thumbnail", "id2r.remove_photo"] * protocol.MOST_MORE_PHOTOS
    bpy.context.window_manager.id2r.running = True
    assert drawn() == []
    bpy.context.window_manager.id2r.running = False
    settings.photo = ""
    assert drawn() == []
