"""After the reconstruction: history, comparison, where the maps live, saved files, and humans of MPFB."""

import shutil
from pathlib import Path

import bpy
import cv2
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view

from addon import history, image_io, material, target
from addon.core import errors
from tests.blender.conftest import MAP_SIZE, head_arrays, write_result


@pytest.fixture
def two_runs(addon, tmp_path):
    """Two results, opened."""
    for name in ("first", "second"):
        bpy.ops.id2r.open_result(directory=str(write_result(tmp_path / name)))
    return bpy.context.scene


def hidden(scene) -> list[bool]:
    return [run.collection.hide_render for run in scene.id2r_runs]


def test_the_last_run_is_shown_alone_and_seen_by_its_own_camera(two_runs):
    assert hidden(two_runs) == [True, False]
    assert two_runs.camera.users_collection[0] == two_runs.id2r_runs[1].collection
    markers = [marker.frame for marker in two_runs.timeline_markers]
    assert sorted(markers) == [1, 2]
    bpy.ops.id2r.show_run(index=0)
    two_runs.frame_set(2)
    assert hidden(two_runs) == [False, True]
    assert two_runs.camera.users_collection[0] == two_runs.id2r_runs[0].collection


def test_a_and_b_swap_and_stand_side_by_side(two_runs):
    bpy.ops.id2r.compare(mode="SWAP")
    assert hidden(two_runs) == [False, True]
    bpy.ops.id2r.compare(mode="SWAP")
    assert hidden(two_runs) == [True, False]
    bpy.ops.id2r.compare(mode="SIDE")
    places = [history.head_of(run.collection).location.x for run in two_runs.id2r_runs]
    half = history.SIDE_BY_SIDE / 2
    assert hidden(two_runs) == [False, False] and places == pytest.approx([-half, half])
    bpy.context.view_layer.update()
    for run in two_runs.id2r_runs:  # the camera sees both
        head = history.head_of(run.collection)
        seen = [world_to_camera_view(two_runs, two_runs.camera, head.matrix_world @ v.co) for v in head.data.vertices]
        assert all(0 < each.x < 1 and 0 < each.y < 1 for each in seen)
    far = two_runs.camera.location.y
    bpy.ops.id2r.show_run(index=0)
    assert [history.head_of(run.collection).location.x for run in two_runs.id2r_runs] == [0.0, 0.0]
    bpy.ops.id2r.compare(mode="SIDE")
    assert two_runs.camera.location.y == pytest.approx(far)
    bpy.ops.id2r.show_run(index=0)
    assert far < two_runs.camera.location.y < 0


def test_one_run_has_nothing_to_compare_with(addon, result_folder):
    bpy.ops.id2r.open_result(directory=str(result_folder))
    with pytest.raises(RuntimeError, match="only one run"):
        bpy.ops.id2r.compare()
    with pytest.raises(RuntimeError, match="no run 3"):
        bpy.ops.id2r.show_run(index=3)


def test_deleting_a_run_takes_its_head_and_shows_the_other(two_runs):
    bpy.ops.id2r.remove_run(index=1)
    assert len(two_runs.id2r_runs) == 1 and hidden(two_runs) == [False]
    assert [made.name for made in bpy.data.objects if made.get("id2r_part") == "head"] == ["ID2R first"]
    bpy.ops.id2r.remove_run()
    assert not two_runs.id2r_runs and not bpy.data.objects


def test_the_settings_of_a_run_can_be_used_again(addon, result_folder):
    bpy.ops.id2r.open_result(directory=str(result_folder))
    settings = bpy.context.scene.id2r
    settings.resolution, settings.refine, settings.photo = 2048, 0.25, "/other.png"
    bpy.ops.id2r.use_run(index=-1)
    assert (settings.resolution, settings.refine) == (1024, 1.0)
    assert Path(settings.photo).parent == result_folder


def test_the_current_head_is_the_active_one_or_the_shown_one(two_runs):
    heads = [history.head_of(run.collection) for run in two_runs.id2r_runs]
    assert history.current_head(bpy.context) == heads[1]
    bpy.context.view_layer.objects.active = heads[0].children[0]  # its eyes
    assert history.current_head(bpy.context) == heads[0]


def test_the_history_survives_a_saved_file(two_runs, tmp_path):
    path = str(tmp_path / "saved.blend")
    material.skin_node(history.current_head(bpy.context).data.materials[0]).inputs["Oiliness"].default_value = 0.4
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    scene = bpy.context.scene
    assert [run.name for run in scene.id2r_runs] == ["ID2R first", "ID2R second"]
    assert scene.id2r_runs[1].collection.name == "ID2R second" and hidden(scene) == [True, False]
    skin = material.skin_node(history.current_head(bpy.context).data.materials[0])
    assert skin.inputs["Oiliness"].default_value == pytest.approx(0.4)


def test_two_scenes_have_histories_of_their_own(two_runs):
    other = bpy.data.scenes.new("Other")
    assert not other.id2r_runs and len(two_runs.id2r_runs) == 2


def test_maps_go_beside_the_blend_and_back(addon, result_folder, tmp_path):
    bpy.ops.id2r.open_result(directory=str(result_folder))
    with pytest.raises(RuntimeError, match="has not been saved yet"):
        bpy.ops.id2r.keep_maps(where="BESIDE")
    (tmp_path / "place").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "place" / "head.blend"))
    bpy.ops.id2r.keep_maps(where="BESIDE")
    image = bpy.data.images["diffuse.png"]
    assert not image.packed_file and image.filepath == "//textures/ID2R_result/diffuse.png"
    stored = cv2.imread(str(tmp_path / "place/textures/ID2R_result/normal.png"), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16  # nothing is lost on the way
    bpy.ops.id2r.keep_maps(where="PACKED")
    shutil.rmtree(tmp_path / "place/textures")
    assert image.packed_file and image.pixels[0] == pytest.approx(0.75, abs=0.01)


def test_the_maps_of_two_heads_lie_apart(two_runs, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "heads.blend"))
    for run in two_runs.id2r_runs:
        bpy.context.view_layer.objects.active = history.head_of(run.collection)
        bpy.ops.id2r.keep_maps(where="BESIDE")
    for name in ("ID2R_first", "ID2R_second"):
        assert (tmp_path / "textures" / name / "diffuse.png").is_file()


def test_deleting_an_earlier_run_leaves_the_shown_one_and_what_the_artist_has_added(two_runs):
    lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "POINT"))
    camera = bpy.data.objects.new("My Camera", bpy.data.cameras.new("My Camera"))
    for each in (lamp, camera):
        two_runs.id2r_runs[0].collection.objects.link(each)
    shown = two_runs.id2r_runs[1].name
    bpy.ops.id2r.show_run(index=1)
    bpy.ops.id2r.remove_run(index=0)
    assert two_runs.id2r_runs[two_runs.id2r_run_index].name == shown and hidden(two_runs) == [False]
    assert set(two_runs.collection.objects) == {lamp, camera}


def test_a_folder_without_a_result_is_named(addon, tmp_path):
    with pytest.raises(RuntimeError, match="no head"):
        bpy.ops.id2r.open_result(directory=str(tmp_path))
    assert not bpy.data.objects and not bpy.context.scene.id2r_runs


# ---- other meshes ----


@pytest.fixture
def human(addon):
    """A mesh in the MakeHuman layout with a material of its own."""
    arrays = head_arrays()
    mesh = bpy.data.meshes.new("Human")
    mesh.from_pydata(arrays["vertices"].tolist(), [], arrays["quads"].tolist())
    layer = mesh.uv_layers.new(name="UVMap")
    corners = arrays["uv_makehuman"][arrays["quads_uv_makehuman"]].astype(np.float32)
    layer.data.foreach_set("uv", np.ascontiguousarray(corners).ravel())
    own = bpy.data.materials.new("Body")
    if own.node_tree is None:
        own.use_nodes = True
    mesh.materials.append(own)
    made = bpy.data.objects.new("Human", mesh)
    made["MPFB_GEN_object_type"] = "Basemesh"
    bpy.context.scene.collection.objects.link(made)
    bpy.context.view_layer.objects.active = made
    return made


MPFB_WORKER = """
    import pathlib
    assert set(request) == {"folder", "size"}, request
    out = pathlib.Path(request["folder"])
    say("result", out=str(out), report={})
    sys.stdin.readline()
"""


def test_an_mpfb_human_takes_the_skin_and_keeps_its_body(human, result_folder, fake_python):
    shutil.copy(result_folder / "coverage.png", result_folder / "mask.png")
    fake_python(MPFB_WORKER)
    before = human.data.materials[0]
    assert bpy.ops.id2r.apply_to_mesh(folder=str(result_folder), size=64) == {"FINISHED"}
    own = human.data.materials[0]
    assert own != before and own.name == "Body with ID2R Skin" and before.name == "Body"
    blend = own.node_tree.nodes["ID2R Blend"]
    assert blend.inputs[1].links[0].from_node.type == "BSDF_PRINCIPLED"  # the body's own surface
    skin = blend.inputs[2].links[0].from_node
    assert skin == material.skin_node(own) and skin.inputs["Diffuse"].is_linked
    assert {node.uv_map for node in own.node_tree.nodes if node.type == "UVMAP"} == {"UVMap"}


def test_put_on_again_there_is_one_skin(human, result_folder, fake_python):
    shutil.copy(result_folder / "coverage.png", result_folder / "mask.png")
    for _ in range(2):
        fake_python(MPFB_WORKER)
        bpy.ops.id2r.apply_to_mesh(folder=str(result_folder), size=64)
    own = human.data.materials[0]
    assert own.name.startswith("Body with ID2R Skin") and "ID2R Skin with" not in own.name
    assert sum(node.name.startswith("ID2R Blend") for node in own.node_tree.nodes) == 1


def test_a_mesh_without_a_layout_is_refused_before_a_process_starts(addon, fake_python, result_folder, monkeypatch):
    from addon import job

    monkeypatch.setattr(job, "start", None)
    bpy.ops.mesh.primitive_cube_add(calc_uvs=False)
    with pytest.raises(RuntimeError, match="has no UV map"):
        bpy.ops.id2r.apply_to_mesh(folder=str(result_folder))
    with pytest.raises(errors.Id2rError, match="no mesh called"):
        target.named_mesh("Nobody")


TRANSFER_WORKER = """
    import numpy as np, pathlib
    assert set(request) == {"folder", "mesh", "out", "size", "only_fit"}, request
    mesh, out = np.load(request["mesh"]), pathlib.Path(request["out"])
    out.mkdir(parents=True, exist_ok=True)
    world = mesh["vertices"]
    assert world.min(0).round(4).tolist() == [4, 5, 4] and world.max(0).round(4).tolist() == [6, 7, 8], world
    assert mesh["faces"].shape == mesh["faces_uv"].shape == (12, 3) and mesh["uv"].shape == (24, 2)
    assert (mesh["uv"][:, 0] >= 2).all()
    np.savez(out / "fit.npz", vertices=world, quads=np.array([[0, 1, 2, 3]]))
    (out / "transfer.json").write_text('{"tile": [2, 0]}')
    if not request["only_fit"]:
        for picture in pathlib.Path(request["folder"]).glob("*.png"):
            shutil.copy(picture, out / picture.name)
        shutil.copy(out / "coverage.png", out / "mask.png")
    say("result", out=str(out), report={"error_mm": 0.42})
    sys.stdin.readline()
"""


@pytest.fixture
def cube(addon):
    """Any mesh with a layout: 2 x 2 x 4, standing at (5, 6, 6), laid out in UDIM tile 1003."""
    bpy.ops.mesh.primitive_cube_add(location=(5, 6, 6), scale=(1, 1, 2))
    made = bpy.context.object
    layer = made.data.uv_layers.active
    for corner in layer.data:
        corner.uv.x += 2.0
    return made


def test_any_mesh_takes_the_skin_by_its_surface(cube, result_folder, fake_python):
    fake_python(TRANSFER_WORKER)
    assert bpy.ops.id2r.apply_to_mesh(folder=str(result_folder), size=64) == {"FINISHED"}
    own = cube.data.materials[0]
    assert material.skin_node(own).inputs["Diffuse"].is_linked
    mask = own.node_tree.nodes["mask"]
    home = mask.inputs["Vector"].links[0].from_node
    assert mask.extension == "CLIP" and tuple(home.inputs[1].default_value) == (2.0, 0.0, 0.0)
    assert {node.uv_map for node in own.node_tree.nodes if node.type == "UVMAP"} == {cube.data.uv_layers[0].name}


def test_the_fit_is_shown_as_a_wire_and_goes_again(cube, fake_python, result_folder):
    for _ in range(2):  # the second replaces the first
        fake_python(TRANSFER_WORKER)
        assert bpy.ops.id2r.preview_fit() == {"FINISHED"}
    fit = target.fit_of(cube)
    assert fit.display_type == "WIRE" and fit.hide_render and fit[target.FIT_ERROR] == pytest.approx(0.42)
    assert len([each for each in bpy.data.objects if target.FIT_MARK in each]) == 1
    assert np.ptp([vertex.co.z for vertex in fit.data.vertices]) == pytest.approx(4.0)
    bpy.ops.id2r.hide_fit(mesh=cube.name)
    assert target.fit_of(cube) is None and len(bpy.data.objects) == 1
    fake_python(TRANSFER_WORKER)
    bpy.ops.id2r.preview_fit(mesh=cube.name)
    fake_python(TRANSFER_WORKER)
    bpy.ops.id2r.apply_to_mesh(folder=str(result_folder), mesh=cube.name)
    assert target.fit_of(cube) is None  # the maps are there to look at now


def test_reconstructing_onto_the_active_mesh(human, fake_python, tmp_path):
    photo = tmp_path / "Ada.png"
    photo.touch()
    out = write_result(tmp_path / "finished")
    shutil.copy(out / "coverage.png", out / "mask.png")
    fake_python("""
        while True:
            say("result", out=request.get("out") or request["folder"], report={})
            line = sys.stdin.readline()
            if not line or "request" not in line:
                break
            request = json.loads(line)["request"]
    """)
    settings = bpy.context.scene.id2r
    settings.photo, settings.out, settings.target = str(photo), str(tmp_path / "out"), "MESH"
    assert bpy.ops.id2r.reconstruct() == {"FINISHED"}
    assert human.data.materials[0].name == "Body with ID2R Skin" and "ID2R Ada" in bpy.data.objects


# ---- images ----


def test_any_image_of_the_file_can_become_a_photo(addon, tmp_path):
    painted = bpy.data.images.new("Painted", 8, 6)
    painted.pixels.foreach_set(np.tile(np.array([0.25, 0.5, 0.75, 1.0], np.float32), 48))
    image_io.save_photo(painted, tmp_path / "painted.png")
    stored = cv2.imread(str(tmp_path / "painted.png"))
    assert stored.shape[:2] == (6, 8) and stored[0, 0][::-1] / 255 == pytest.approx((0.25, 0.5, 0.75), abs=0.003)
    float_image = bpy.data.images.new("Float", 4, 4, float_buffer=True)  # scene linear
    float_image.pixels.foreach_set(np.full(64, 0.5, np.float32))
    image_io.save_photo(float_image, tmp_path / "float.png")
    assert cv2.imread(str(tmp_path / "float.png"))[0, 0, 0] / 255 == pytest.approx(0.735, abs=0.004)


def test_a_packed_exr_becomes_as_bright_as_it_looks(addon, tmp_path):
    image_io.write_image(tmp_path / "linear.exr", np.full((4, 4, 3), 0.18, np.float32), "OPEN_EXR", "32")
    image = bpy.data.images.load(str(tmp_path / "linear.exr"))
    image.pack()
    image_io.save_photo(image, tmp_path / "photo.png")
    assert cv2.imread(str(tmp_path / "photo.png"))[0, 0, 0] / 255 == pytest.approx(0.461, abs=0.004)


def test_stored_pixels_are_those_of_the_file(addon, result_folder):
    image = image_io.load_image(result_folder / "diffuse.png", "sRGB")
    assert image_io.stored_pixels(image).shape == (MAP_SIZE, MAP_SIZE, 3)
    assert image_io.stored_pixels(image)[3, 5] == pytest.approx((0.75, 0.6, 0.45), abs=0.003)
