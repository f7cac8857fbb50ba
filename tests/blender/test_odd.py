"""What an artist's file may be like besides empty: modes, linked data, taken names, damaged files, local views."""

from types import SimpleNamespace

import bpy
import numpy as np
import pytest

from addon import image_io, lookdev, material, result
from addon.core import errors
from id2r_core.files import write_exr
from tests.blender.conftest import write_result


def opened(folder):
    return bpy.ops.id2r.open_result(directory=str(folder))


def head_in(collection):
    return next(each for each in collection.all_objects if each.get("id2r_part") == "head")


@pytest.mark.parametrize("mode", ["EDIT", "SCULPT", "VERTEX_PAINT"])
def test_a_head_comes_in_whatever_mode_another_object_is_in(addon, result_folder, mode):
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.object.mode_set(mode=mode)
    assert opened(result_folder) == {"FINISHED"} and bpy.context.object.mode == mode
    bpy.ops.object.mode_set(mode="OBJECT")


def test_a_mesh_in_edit_mode_is_named_before_a_process_starts(addon, result_folder, monkeypatch):
    from addon import job

    monkeypatch.setattr(job, "start", None)
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.object.mode_set(mode="EDIT")
    for name in ("preview_fit", "apply_to_mesh"):
        with pytest.raises(RuntimeError, match=r"'Cube' is in Edit Mode\. Leave it first"):
            getattr(bpy.ops.id2r, name)(**({"folder": str(result_folder)} if name == "apply_to_mesh" else {}))
    bpy.ops.object.mode_set(mode="OBJECT")


def test_taken_names_are_not_mistaken_for_ours(addon, result_folder):
    bpy.data.node_groups.new(material.GROUP, "ShaderNodeTree")
    bpy.data.images.new("studio.exr", 4, 4)
    bpy.data.objects.new("ID2R result", None)
    assert opened(result_folder) == {"FINISHED"}
    skin = material.skin_node(head_in(bpy.context.scene.id2r_runs[0].collection).data.materials[0])
    assert skin.inputs["Diffuse"].is_linked and skin.node_tree.name != material.GROUP
    assert bpy.context.scene.world.node_tree.nodes["Environment Texture"].image.packed_file
    opened(result_folder)  # the second head shares the group of the first
    assert [group.name for group in bpy.data.node_groups] == [material.GROUP, f"{material.GROUP}.001"]


def test_each_photo_s_light_is_its_own(addon, tmp_path):
    folders = [write_result(tmp_path / name) for name in ("first", "second")]
    write_exr(folders[1] / "light.exr", np.full((8, 16, 3), 0.125))
    seen = []
    for folder in (*folders, folders[0]):
        lookdev.set_hdri(bpy.context.scene, str(folder / "light.exr"))
        seen.append(bpy.context.scene.world.node_tree.nodes["Environment Texture"].image)
    assert [round(image.pixels[0], 3) for image in seen] == [0.5, 0.125, 0.5] and seen[0] == seen[2]


class Unread:
    """Stands in for an image; its size, for which Blender reads all pixels, must not be asked."""

    @property
    def size(self):
        raise AssertionError("most of a second at 4096 texels, in which the window stands still")


def test_a_whole_map_is_taken_without_reading_its_pixels(result_folder, monkeypatch):
    images = SimpleNamespace(load=lambda _: Unread())
    monkeypatch.setattr(image_io, "bpy", SimpleNamespace(data=SimpleNamespace(images=images)))
    assert isinstance(image_io._load(result_folder / "diffuse.png"), Unread)


@pytest.mark.parametrize(
    "name, content",
    [
        ("head.npz", b"nonsense"),
        ("head.npz", b"PK\x03\x04half"),
        ("report.json", b"{"),
        ("report.json", b"[]"),
        ("report.json", b'{"hair_linear": 0.1}'),
        ("report.json", b'{"fringe": [null, "low"]}'),
        ("report.json", b'{"detail": "fine"}'),
        ("report.json", b'{"hair_curl": "much"}'),
        ("report.json", b'{"hair_curl": NaN}'),
        ("report.json", b'{"hair_curl": -0.5}'),
        ("glasses.npz", b"nonsense"),
        ("hair.png", b"half"),
        ("specular.png", b""),
        ("diffuse.png", b"\x89PNG\r\n\x1a\n"),
        ("normal.png", b"half"),
    ],
)
def test_a_damaged_file_is_named(addon, result_folder, name, content):
    (result_folder / name).write_bytes(content)
    with pytest.raises(RuntimeError, match=rf"{name} is damaged"):
        opened(result_folder)
    assert not bpy.data.objects and not bpy.data.images


def test_a_name_in_any_script_and_of_any_length(addon, tmp_path):
    for name in ("Zoë 写真 'q\" #%", "x" * 120):
        assert opened(write_result(tmp_path / name)) == {"FINISHED"}
    assert bpy.ops.id2r.show_run(index=0) == {"FINISHED"}
    first, second = bpy.context.scene.id2r_runs
    assert first.collection.name == "ID2R Zoë 写真 'q\" #%" and second.collection.name.startswith("ID2R xxx")
    for run in (first, second):
        drivers = head_in(run.collection).children[0].data.shape_keys.animation_data.drivers
        assert all(each.is_valid for each in drivers)


@pytest.fixture
def library(addon, result_folder, tmp_path):
    opened(result_folder)
    path = str(tmp_path / "library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return path


def test_a_linked_head_says_what_it_cannot(library):
    with bpy.data.libraries.load(library, link=True) as (there, here):
        here.collections = there.collections
    bpy.context.scene.collection.children.link(here.collections[0])
    for name in ("keep_maps", "mark_asset"):
        with pytest.raises(RuntimeError, match="is linked from another file"):
            getattr(bpy.ops.id2r, name)()


def test_a_linked_scene_takes_no_head(library, result_folder):
    with bpy.data.libraries.load(library, link=True) as (there, here):
        here.scenes = there.scenes
    with pytest.raises(errors.Id2rError, match="linked from another file"):
        result.load_result(result_folder, here.scenes[0], "Head")
    bpy.context.scene.id2r.photo = str(result_folder / "photo.png")
    if bpy.context.window:
        bpy.context.window.scene = here.scenes[0]
        with pytest.raises(RuntimeError, match="linked from another file"):
            bpy.ops.id2r.reconstruct()


def test_a_folder_that_cannot_be_written_is_one_sentence(addon, result_folder, tmp_path):
    opened(result_folder)
    (tmp_path / "file").touch()
    bpy.context.scene.id2r.export_folder = str(tmp_path / "file" / "inside")
    for name in ("export_maps", "export_model"):
        with pytest.raises(RuntimeError, match=r"file.*Check that the place is there") as said:
            getattr(bpy.ops.id2r, name)()
        assert "Traceback" not in str(said.value)


def test_a_bug_in_a_quick_button_is_one_sentence(addon, result_folder, monkeypatch):
    opened(result_folder)
    monkeypatch.setattr("addon.history.show_run", lambda *_: 1 / 0)
    with pytest.raises(RuntimeError, match="unforeseen happened: ZeroDivisionError") as said:
        bpy.ops.id2r.show_run(index=0)
    assert "Traceback" not in str(said.value) and "ZeroDivision" in bpy.context.window_manager.id2r.trace


def test_a_local_view_takes_the_head_in():
    """Objects that are linked while a viewport is in local view are not in it."""
    taken = []
    objects = [SimpleNamespace(local_view_set=lambda view, state: taken.append((view, state)))] * 2
    shading = SimpleNamespace(type="SOLID")
    views = [
        SimpleNamespace(local_view=local, region_3d=SimpleNamespace(), shading=shading) for local in (None, object())
    ]
    areas = [SimpleNamespace(type="VIEW_3D", spaces=SimpleNamespace(active=view)) for view in views]
    lookdev.show_through_camera(SimpleNamespace(areas=areas), SimpleNamespace(all_objects=objects))
    assert taken == [(views[1], True)] * 2
