"""Every way in which a photo comes in."""

import os
from types import SimpleNamespace

import bpy
import numpy as np
import pytest

from addon import clipboard
from addon.core import errors
from addon.operators import reference


@pytest.fixture
def settings(addon):
    return bpy.context.scene.id2r


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "Grace Hopper.JPG"
    path.write_bytes(b"never read here")
    return path


def test_open(settings, photo):
    assert bpy.ops.id2r.open_photo(filepath=str(photo)) == {"FINISHED"}
    assert settings.photo == str(photo)


def test_the_next_photo_is_looked_for_beside_the_last_one(settings, photo):
    assert reference.beside_the_photo(bpy.context) == ""
    settings.photo = str(photo)
    assert reference.beside_the_photo(bpy.context) == f"{photo.parent}{os.sep}"


def test_a_drop_opens_without_asking(settings, photo):
    handler = bpy.types.ID2R_FH_photo
    assert (
        "ID2R" in bpy.ops.id2r.open_photo.get_rna_type().name
    )  # the menu of a drop also has what Blender does with it
    assert handler.bl_import_operator == "id2r.open_photo" and ".jpg" in handler.bl_file_extensions
    assert handler.poll_drop(SimpleNamespace(area=SimpleNamespace(type="VIEW_3D")))
    assert not handler.poll_drop(SimpleNamespace(area=SimpleNamespace(type="TEXT_EDITOR")))
    assert bpy.ops.id2r.open_photo("INVOKE_DEFAULT", filepath=str(photo)) == {"FINISHED"}


@pytest.mark.parametrize("name, said", [("notes.txt", "is no photo"), ("missing.png", "There is no file")])
def test_what_is_no_photo_is_said(settings, tmp_path, name, said):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RuntimeError, match=said):
        bpy.ops.id2r.open_photo(filepath=str(tmp_path / name))
    assert settings.photo == ""


def test_an_image_that_is_a_file_is_used_as_it_is(settings, result_folder):
    image = bpy.data.images.load(str(result_folder / "photo.png"))
    bpy.ops.id2r.use_image(image=image.name)
    assert settings.photo == str(result_folder / "photo.png")


def test_a_painted_image_is_saved_first(settings):
    image = bpy.data.images.new("Paint/ed", 16, 16)
    image.pixels.foreach_set(np.full(16 * 16 * 4, 0.5, np.float32))
    bpy.ops.id2r.use_image(image=image.name)
    assert settings.photo.endswith("ed.png") and bpy.data.images.load(settings.photo).size[0] == 16


def test_no_image_is_said(settings):
    with pytest.raises(RuntimeError, match="No image is open"):
        bpy.ops.id2r.use_image()


def test_an_unfinished_render_is_said(settings):
    bpy.data.images.new("Render Result", 4, 4)
    with pytest.raises(errors.Id2rError):
        reference.image_io.save_photo(
            SimpleNamespace(type="COMPOSITING", has_data=False, size=(0, 0), name="Empty"), None
        )


def context_with(text: str):
    return SimpleNamespace(window_manager=SimpleNamespace(clipboard=text), area=None, screen=None)


def test_a_copied_path_is_found(photo):
    address = photo.as_uri()
    assert "%20" in address
    for text in (str(photo), f'"{photo}"', address, f"{photo}\n"):
        assert clipboard.copied_file(context_with(text)) == photo
    for text in ("", "hello", f"{photo}\n{photo}", str(photo.parent)):
        assert clipboard.copied_file(context_with(text)) is None


def test_an_empty_clipboard_is_said(settings):
    with pytest.raises(errors.Id2rError, match="holds no picture"):
        clipboard.pasted_image(context_with(""))


def test_the_webcam_takes_the_photo(settings, tmp_path):
    """The whole way through the real worker, with a video in the place of the camera."""
    import cv2

    path = tmp_path / "face.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 64))
    for _ in range(10):
        writer.write(np.full((64, 96, 3), (40, 80, 160), np.uint8))
    writer.release()
    assert bpy.ops.id2r.capture_photo(source=str(path), countdown=0.5) == {"FINISHED"}
    photo = bpy.data.images.load(settings.photo)
    assert tuple(photo.size) == (96, 64) and photo.pixels[0] > 2 * photo.pixels[2]
    with pytest.raises(RuntimeError, match="no camera 19"):
        bpy.ops.id2r.capture_photo(source="19")
