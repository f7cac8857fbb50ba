"""Light, cameras, turntable, checks and presets, by their operators."""

from math import pi

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from addon import builds, checks, contact_sheet, history, lookdev
from addon.material import tree_of
from addon.panels import LENSES


@pytest.fixture
def head(addon, result_folder):
    bpy.ops.id2r.open_result(directory=str(result_folder))
    return history.current_head(bpy.context)


def height_in_picture(head) -> float:
    scene = bpy.context.scene
    bpy.context.view_layer.update()
    return float(np.ptp([world_to_camera_view(scene, scene.camera, Vector(v.co)).y for v in head.data.vertices]))


def test_every_lens_shows_the_head_at_the_same_size(head):
    heights, distances = [], []
    for lens in LENSES:
        assert bpy.ops.id2r.set_lens(lens=lens) == {"FINISHED"}
        camera = bpy.context.scene.camera
        heights.append(height_in_picture(head))
        distances.append(-camera.location.y)
        assert camera.data.lens == lens
    assert distances == sorted(distances) and distances[2] > 1.9 * distances[0] and distances[3] > 2.2 * distances[2]
    assert max(heights) - min(heights) < 0.08 and max(heights) < 1.0  # a near ball hides more of its outline


def angles(path: str, frames) -> list[float]:
    scene, found = bpy.context.scene, []
    for frame in frames:
        scene.frame_set(frame)
        head = history.current_head(bpy.context)
        mapping = scene.world.node_tree.nodes["Mapping"].inputs["Rotation"].default_value
        found.append({"HEAD": head.rotation_euler, "LIGHT": mapping}[path][2])
    return found


@pytest.mark.parametrize("turn, still", [("HEAD", "LIGHT"), ("LIGHT", "HEAD")])
def test_the_turntable_turns_once_at_even_speed(head, turn, still):
    scene = bpy.context.scene
    bpy.ops.id2r.turntable(turn=turn, frames=8)
    first = lookdev.TURNTABLE_FRAME
    assert lookdev.turn_now(scene, head) == turn
    assert (scene.frame_start, scene.frame_end) == (first, first + 7)
    assert scene.camera == lookdev.portrait_of(head.users_collection[0])
    steps = np.diff(angles(turn, range(first, first + 9)))
    assert steps == pytest.approx(np.full(8, 2 * pi / 8), abs=1e-4)
    assert np.ptp(angles(still, (first, first + 4))) < 1e-6
    assert head.data.shape_keys.key_blocks["AsPhotographed"].value == 0.0


def across_the_picture(head) -> np.ndarray:
    """Where the vertices of the head, as it stands now, lie in the picture from left (0) to right (1)."""
    scene = bpy.context.scene
    stands = head.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world
    return np.array([world_to_camera_view(scene, scene.camera, stands @ vertex.co).x for vertex in head.data.vertices])


@pytest.mark.parametrize("standing", [0.0, 1.0])
def test_a_turning_head_stays_in_the_middle_of_the_portrait(head, standing):
    scene = bpy.context.scene
    head.rotation_euler[2] = standing
    bpy.ops.id2r.turntable(turn="HEAD", frames=8)
    for frame in range(scene.frame_start, scene.frame_end + 1):
        scene.frame_set(frame)
        x = across_the_picture(head)
        assert abs(x.min() + x.max() - 1.0) < 0.04  # its middle is the picture's, in profile as well
    bpy.ops.id2r.turntable(turn="NONE")
    assert not head.constraints and head.rotation_euler[2] == pytest.approx(standing)


def test_the_turntable_can_change_its_mind_and_end(head):
    bpy.ops.id2r.turntable(turn="HEAD", frames=8)
    bpy.ops.id2r.turntable(turn="LIGHT", frames=8)
    first = lookdev.TURNTABLE_FRAME
    assert np.ptp(angles("HEAD", (first, first + 4))) < 1e-6
    bpy.ops.id2r.turntable(turn="NONE")
    scene = bpy.context.scene
    assert lookdev.turn_now(scene, head) == "NONE"
    assert (scene.frame_start, scene.frame_end, scene.frame_current) == (1, 2, 1)
    scene.frame_set(2)
    assert head.data.shape_keys.key_blocks["AsPhotographed"].value == 1.0


def test_a_turn_takes_no_other_keys_with_it_and_leaves_none(head):
    head.location.z = 0.25
    head.keyframe_insert("location", index=2, frame=1)
    for turn in ("HEAD", "LIGHT", "NONE"):
        bpy.ops.id2r.turntable(turn=turn, frames=8)
    mapping = bpy.context.scene.world.node_tree.nodes["Mapping"].inputs["Rotation"].default_value
    head.rotation_euler[2], mapping[2], head.location.z = 0.5, 1.5, 0.0
    bpy.context.scene.frame_set(2)
    assert (head.rotation_euler[2], mapping[2]) == (0.5, 1.5)  # nothing turns them back
    assert head.location.z == 0.25


def test_an_empty_action_is_no_turn(head):
    head.animation_data_create().action = bpy.data.actions.new("Empty")
    assert lookdev.turn_now(bpy.context.scene, head) == "NONE"
    bpy.ops.id2r.turntable(turn="HEAD", frames=8)
    assert lookdev.turn_now(bpy.context.scene, head) == "HEAD"


@pytest.mark.parametrize("world", [None, "own"])
def test_a_turning_light_needs_a_light_of_ours(head, world):
    scene = bpy.context.scene
    scene.world = bpy.data.worlds.new("The artist's") if world else None
    if world:
        tree_of(scene.world).nodes.new("ShaderNodeMapping")
    with pytest.raises(RuntimeError, match="No environment"):
        bpy.ops.id2r.turntable(turn="LIGHT")


def test_the_checks_stand_in_the_corners_and_go_again(head):
    scene = bpy.context.scene
    count = len(bpy.data.objects)
    bpy.ops.id2r.show_checks(shown=True)
    bpy.ops.id2r.show_checks(shown=True)  # once is enough
    assert checks.are_shown(scene.camera) and len(bpy.data.objects) == count + 3
    bpy.context.view_layer.update()
    for made in scene.camera.children:
        corners = [made.matrix_world @ vertex.co for vertex in made.data.vertices]
        x, y, depth = np.array([world_to_camera_view(scene, scene.camera, each) for each in corners]).T
        assert 0 <= x.min() and x.max() <= 1 and 0 <= y.min() and y.max() < 0.25 and depth.min() > 0
        assert x.max() < 0.5 or x.min() > 0.5
    bpy.ops.id2r.show_checks(shown=False)
    assert not checks.are_shown(scene.camera) and len(bpy.data.objects) == count


def test_the_chart_renders_its_own_colours(head):
    """Under a plain white sky the grey ramp is as dark as it should be, patch against patch."""
    scene = bpy.context.scene
    bpy.ops.id2r.show_checks(shown=True)
    scene.world = bpy.data.worlds.new("White")
    lookdev.set_render(scene, (200, 200), 8)
    scene.view_settings.view_transform, scene.view_settings.look = "Standard", "None"
    chart = next(each for each in scene.camera.children if "Chart" in each.name)
    if scene.world.node_tree is None:
        scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (1, 1, 1, 1)
    image = contact_sheet.render(scene)
    seen = []
    for patch in range(18, 24):  # the last row: white to black
        middle = sum((chart.data.vertices[i].co for i in chart.data.polygons[patch].vertices), Vector()) / 4
        x, y, _ = world_to_camera_view(scene, scene.camera, chart.matrix_world @ middle)
        seen.append(image[int((1 - y) * 200), int(x * 200), 0])
    assert seen == sorted(seen, reverse=True) and seen[0] - seen[5] > 0.5
    wanted = np.array([patch[0] for patch in checks.PATCHES[3]]) / 255
    assert seen == pytest.approx(wanted, abs=0.12)


@pytest.mark.parametrize("engine, name", [("CYCLES", "CYCLES"), ("EEVEE", "BLENDER_EEVEE")])
def test_presets(head, engine, name):
    scene = bpy.context.scene
    for quality in ("PREVIEW", "FINAL"):
        bpy.ops.id2r.render_preset(engine=engine, quality=quality)
        samples = scene.cycles.samples if engine == "CYCLES" else scene.eevee.taa_render_samples
        assert scene.render.engine.startswith(name) and samples in (16, 32, 64, 256)


def test_views(head):
    bpy.ops.id2r.show_view(view="PHOTO")
    assert bpy.context.scene.camera.name == "Photo"
    bpy.ops.id2r.show_view(view="PORTRAIT")
    assert bpy.context.scene.camera.name == "Portrait"


def test_the_photo_s_own_light_is_offered_when_there_is_one(addon, result_folder):
    light = (result_folder / "light.exr").rename(result_folder / "kept.exr")
    bpy.ops.id2r.open_result(directory=str(result_folder))
    names = [item[0] for item in addon.gallery.environment_items(None, bpy.context)]
    assert names == list(lookdev.HDRIS)
    light.rename(result_folder / "light.exr")
    items = addon.gallery.environment_items(None, bpy.context)
    assert items[-1][1] == "The Photo's Own" and len({item[4] for item in items}) == len(items)
    bpy.context.scene.id2r.hdri = items[-1][0]
    assert bpy.context.scene.world.node_tree.nodes["Environment Texture"].image.name.startswith("light")


def test_environments_can_be_chosen_by_mouse(addon, monkeypatch, tmp_path):
    """Blender keeps pointers to the strings of items and passes a button's number as a float."""
    files = [tmp_path / f"{number} sky.exr" for number in range(4)]
    monkeypatch.setattr("addon.preferences.own_environments", lambda _context: files)
    first, again = (list(addon.gallery.environment_items(None, bpy.context)) for _ in range(2))
    strings = lambda items: [each for item in items for each in item[:3]]
    assert all(one is other for one, other in zip(strings(first), strings(again), strict=True))
    numbers = np.array([item[4] for item in first])
    assert len(set(numbers)) == len(lookdev.HDRIS) + len(files)
    assert (numbers.astype(np.float32).astype(np.int64) == numbers).all()


def test_a_sheet_of_a_vanished_folder_is_refused(head, result_folder):
    (result_folder / "head.npz").unlink()
    with pytest.raises(RuntimeError, match="files of this run are gone"):
        bpy.ops.id2r.contact_sheet()


def test_a_blender_without_a_denoiser_renders_without_one(addon, monkeypatch):
    """Debian's: Cycles then offers no denoiser at all, and setting one would raise."""
    scene = bpy.context.scene
    lookdev.set_cycles(scene, 8)
    assert scene.cycles.use_denoising == builds.has_denoiser()
    monkeypatch.setattr("_cycles.with_openimagedenoise", False)
    assert bpy.ops.id2r.render_preset(engine="CYCLES", quality="FINAL") == {"FINISHED"}
    assert not scene.cycles.use_denoising and scene.render.engine == "CYCLES"
