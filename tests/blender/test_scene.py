"""A result folder in a scene: geometry, shape keys, images, materials, cameras; saved and opened again."""

from dataclasses import fields
from pathlib import Path

import bpy
import cv2
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from addon import batch, contact_sheet, image_io, lookdev, material, mesh_io, result
from addon.core import conventions, errors
from addon.result import load_result
from tests.blender.conftest import EXPRESSIONS, EYE_CENTRES, MAP_SIZE, PARTS, PHOTO_SIZE, head_arrays


@pytest.fixture
def made(result_folder):
    return load_result(result_folder, bpy.context.scene, "Head")


def positions(mesh) -> np.ndarray:
    flat = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", flat)
    return flat.reshape(-1, 3)


def evaluated_positions(made_object) -> np.ndarray:
    return positions(made_object.evaluated_get(bpy.context.evaluated_depsgraph_get()).data)


# ---- geometry ----


def test_the_head_faces_minus_y_in_metres(made):
    arrays = head_arrays()
    skin = np.unique(arrays["quads"][arrays["part"] < 4])
    x, y, z = arrays["vertices"][skin].T
    assert np.allclose(positions(made.objects.head.data), np.stack([x, -z, y], -1), atol=1e-7)


def test_both_uv_layers_follow_the_corners(made):
    arrays = head_arrays()
    kept = arrays["part"] < 4
    mesh = made.objects.head.data
    for name, uv, quads in (("HeadTile", "uv", "quads_uv"), ("MakeHuman", "uv_makehuman", "quads_uv_makehuman")):
        stored = np.empty(len(mesh.loops) * 2, np.float32)
        mesh.uv_layers[name].uv.foreach_get("vector", stored)
        assert np.allclose(stored.reshape(-1, 4, 2), arrays[uv][arrays[quads][kept]])
    assert mesh.uv_layers["HeadTile"].active_render and mesh.uv_layers.active.name == "HeadTile"


def test_parts_become_groups_and_slots(made):
    head, eyes = made.objects.head, made.objects.eyes
    assert [group.name for group in head.vertex_groups] == ["skin", "mouth_interior"]
    assert [group.name for group in eyes.vertex_groups] == ["eyeball_left", "eyeball_right"]
    assert {slot.name for slot in head.data.materials} == {"ID2R Skin", "ID2R Mouth"}
    assert [slot.name for slot in eyes.data.materials] == ["ID2R Eye"]
    mouth = [face for face in head.data.polygons if head.data.materials[face.material_index].name == "ID2R Mouth"]
    assert len(mouth) == 24 and all(face.use_smooth for face in head.data.polygons)


def test_subdivision_is_the_core_s(made):
    """Positions by Catmull-Clark and uv by straight halves, or the texture would swim over the skin."""
    from id2r_core.geometry.subdivide import catmull_clark, linear_subdivision

    arrays = head_arrays()
    skin = arrays["part"] < 4
    matrix, _ = catmull_clark(arrays["quads"][skin], len(arrays["vertices"]))
    expected = conventions.yup_to_zup(np.asarray(matrix @ arrays["vertices"]))
    assert_same_points(evaluated_positions(made.objects.head), expected, 1e-5)
    matrix, _ = linear_subdivision(arrays["quads_uv"][skin], len(arrays["uv"]))
    mesh = made.objects.head.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    stored = np.empty(len(mesh.loops) * 2, np.float32)
    mesh.uv_layers["HeadTile"].uv.foreach_get("vector", stored)
    assert_same_points(stored.reshape(-1, 2), np.asarray(matrix @ arrays["uv"]), 1e-5)


def assert_same_points(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Every found point is an expected one (the core's arrays also hold points of the eyes, which are not here)."""
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(expected).query(found)
    assert len(found) > 1000 and distance.max() < tolerance


# ---- shape keys ----


def test_shape_keys_of_head_and_eyes(made):
    assert [key.name for key in made.objects.head.data.shape_keys.key_blocks] == [
        "Basis",
        "AsPhotographed",
        *EXPRESSIONS,
    ]
    assert [key.name for key in made.objects.eyes.data.shape_keys.key_blocks] == ["Basis", *EXPRESSIONS[1:]]


def test_expressions_move_what_they_should(made):
    head = made.objects.head
    before = positions(head.data)
    key = head.data.shape_keys.key_blocks["jawOpen"]
    moved = np.array([point.co for point in key.data], np.float32) - before
    assert np.allclose(moved[:40], (0, 0, -0.01), atol=1e-5) and not moved[40:].any()


def test_the_eyes_follow_the_head_s_keys(made):
    eyes = made.objects.eyes
    before = evaluated_positions(eyes)
    made.objects.head.data.shape_keys.key_blocks["eyeLookUpLeft"].value = 1.0
    bpy.context.view_layer.update()
    moved = (evaluated_positions(eyes) - before)[:, 2]
    is_left = before[:, 0] > 0
    assert np.allclose(moved[is_left], 0.002, atol=2e-5) and not moved[~is_left].any()


def directions_of(eyes) -> np.ndarray:
    """[P, 3] where the iris is painted from, LOOK in its middle."""
    direction = np.empty(len(eyes.data.vertices) * 3, np.float32)
    eyes.data.attributes[mesh_io.EYE_ATTRIBUTE].data.foreach_get("vector", direction)
    return direction.reshape(-1, 3)


def offsets_of(eyes) -> np.ndarray:
    """[P, 3] unit vectors from the centre of each eye to its vertices."""
    points = positions(eyes.data)
    centres = np.array([points[side].mean(0) for side in (points[:, 0] > 0, points[:, 0] <= 0)])
    offset = points - centres[(points[:, 0] <= 0).astype(int)]
    return offset / np.linalg.norm(offset, axis=1, keepdims=True)


def test_the_iris_is_painted_round_the_axis_of_each_eye(made):
    offsets = offsets_of(made.objects.eyes)
    is_front = offsets[:, 1] < 0
    assert is_front.sum() > 20
    assert np.allclose(directions_of(made.objects.eyes)[is_front], offsets[is_front], atol=1e-5)


def test_the_iris_of_an_eye_that_looks_aside_turns_with_it(result_folder):
    arrays = dict(np.load(result_folder / "head.npz"))
    cos, sin = np.cos(0.2), np.sin(0.2)
    left = np.unique(arrays["quads"][arrays["part"] == PARTS.index("eyeball_left")])
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], np.float32)
    arrays["vertices"][left] = (arrays["vertices"][left] - EYE_CENTRES[0]) @ turn.T + EYE_CENTRES[0]
    np.savez(result_folder / "head.npz", **arrays)
    eyes = load_result(result_folder, bpy.context.scene, "Aside").objects.eyes
    offsets = offsets_of(eyes)
    pupils = offsets[(offsets[:, 1] < 0) & (directions_of(eyes) @ (0, -1, 0) > 0.999)]
    assert sorted(round(float(np.arcsin(x)), 2) for x, _, _ in pupils) == [0.0, 0.2]


# ---- images and materials ----


def test_images_are_packed_with_the_right_colour_spaces(made):
    images = {name: bpy.data.images[f"{name}.png"] for name in ("diffuse", "specular", "roughness", "normal", "photo")}
    spaces = {name: image.colorspace_settings.name for name, image in images.items()}
    assert spaces == {
        "diffuse": "sRGB",
        "specular": "Non-Color",
        "roughness": "Non-Color",
        "normal": "Non-Color",
        "photo": "sRGB",
    }
    assert all(image.packed_file and image.filepath.startswith("//") for image in images.values())
    assert tuple(images["normal"].size) == (MAP_SIZE, MAP_SIZE) and images["normal"].is_float


def source(socket):
    (link,) = socket.links
    return link.from_node, link.from_socket.name


def test_the_skin_is_four_plain_images_and_one_group(made):
    tree = bpy.data.materials["ID2R Skin"].node_tree
    skin = material.skin_node(bpy.data.materials["ID2R Skin"])
    for socket, image in (("Diffuse", "diffuse"), ("Specular", "specular"), ("Roughness Map", "roughness")):
        node, output = source(skin.inputs[socket])
        assert (node.image.name, output) == (f"{image}.png", "Color")
        assert source(node.inputs["Vector"])[0].uv_map == "HeadTile"
    normal, output = source(skin.inputs["Normal"])
    assert (normal.space, normal.uv_map, output) == ("TANGENT", "HeadTile", "Normal")
    assert source(normal.inputs["Color"])[0].image.name == "normal.png"
    assert source(tree.nodes["Material Output"].inputs["Surface"])[0] == skin
    assert [skin.inputs[name].name for name in material.CONTROLS] == list(material.CONTROLS)
    assert set(material.maps_of(bpy.data.materials["ID2R Skin"])) == {"diffuse", "specular", "roughness", "normal"}


def group_shader():
    return bpy.data.node_groups["ID2R Skin"].nodes["Principled BSDF"]


def test_the_group_brings_every_map_to_its_socket(made):
    shader = group_shader()
    assert source(shader.inputs["Specular IOR Level"]) == (source(shader.inputs["Specular IOR Level"])[0], "Specular")
    pores, output = source(shader.inputs["Normal"])
    assert (pores.bl_idname, pores.name, output) == ("ShaderNodeBump", "Pores", "Normal")
    assert source(pores.inputs["Normal"])[1] == "Normal" and source(pores.inputs["Strength"])[1] == "Pore Strength"
    folded = source(shader.inputs["Base Color"])[0]
    tinted = next(link.from_node for link in folded.id_data.links if link.to_node == folded and not is_given(link))
    assert tinted.blend_type == folded.blend_type == "MULTIPLY"
    for node, sockets in ((tinted, {"Diffuse", "Tone"}), (folded, {"Folds", "Fold Depth"})):
        assert {
            link.from_socket.name for link in node.id_data.links if link.to_node == node and is_given(link)
        } == sockets


def is_given(link) -> bool:
    return link.from_node.bl_idname == "NodeGroupInput"


def test_folds_show_as_far_as_the_photo_s_expression_does(result_folder):
    cv2.imwrite(str(result_folder / "folds.png"), np.full((8, 8), 128, np.uint8))
    made = load_result(result_folder, bpy.context.scene, "Head")
    skin = material.skin_node(made.objects.head.data.materials[0])
    assert source(skin.inputs["Folds"])[0].image.name == "folds.png"
    assert "folds" in material.maps_of(made.objects.head.data.materials[0])
    seen = {}
    for value in (0.0, 1.0):
        made.objects.head["photo_expression"] = value
        made.objects.head.update_tag()
        seen[value] = rendered_red(made).mean()
        assert skin.inputs["Fold Depth"].default_value == pytest.approx(value)
    assert seen[1.0] < 0.85 * seen[0.0]


def test_the_skin_scatters_like_skin(made):
    shader = group_shader()
    value = {name: shader.inputs[name].default_value for name in ("IOR", "Subsurface Weight", "Subsurface Scale")}
    assert shader.subsurface_method == "RANDOM_WALK_SKIN"
    assert value == {"IOR": pytest.approx(1.4), "Subsurface Weight": 1.0, "Subsurface Scale": pytest.approx(0.004)}
    assert tuple(shader.inputs["Subsurface Radius"].default_value) == pytest.approx((1.0, 0.2, 0.1))
    assert shader.inputs["Subsurface IOR"].default_value == pytest.approx(1.4)


def test_what_is_much_darker_than_the_skin_scatters_less(made):
    gain, _ = source(group_shader().inputs["Subsurface Scale"])
    scatter, _ = source(gain.inputs[0])
    assert [scatter.inputs[name].default_value for name in ("To Min", "To Max")] == pytest.approx([0.0, 0.004])
    for name, share in (("From Min", 0.2), ("From Max", 0.8)):
        times, _ = source(scatter.inputs[name])
        assert source(times.inputs[0])[1] == "Skin Red" and times.inputs[1].default_value == pytest.approx(share)
    channels, output = source(scatter.inputs["Value"])
    assert output == "Red" and source(channels.inputs["Color"])[1] == "Diffuse"
    red = conventions.srgb_to_linear(np.array([0.75]))[0]
    skin = material.skin_node(bpy.data.materials["ID2R Skin"])
    assert skin.inputs["Skin Red"].default_value == pytest.approx(red, rel=0.01)


def test_two_heads_share_one_group_and_have_their_own_controls(result_folder):
    first, second = (load_result(result_folder, bpy.context.scene, "Head").objects.head for _ in range(2))
    skins = [material.skin_node(each.data.materials[0]) for each in (first, second)]
    assert skins[0].node_tree == skins[1].node_tree and len(bpy.data.node_groups) == 1
    skins[0].inputs["Oiliness"].default_value = 1.0
    assert skins[1].inputs["Oiliness"].default_value == 0.0


def rendered_red(made, **controls) -> np.ndarray:
    """The red of a small front view, with these inputs of the skin."""
    scene = bpy.context.scene
    lookdev.set_render(scene, (24, 24), 16)
    for name, value in controls.items():
        material.skin_node(made.objects.head.data.materials[0]).inputs[name.replace("_", " ")].default_value = value
    scene.frame_set(lookdev.PORTRAIT_FRAME)
    return contact_sheet.render(scene)[6:18, 6:18, 0]


def test_the_controls_change_what_is_rendered(made):
    lookdev.set_hdri(bpy.context.scene, "studio", background="GREY")  # whose lamps a film of oil mirrors
    plain = rendered_red(made)
    assert rendered_red(made, Tone=(0.5, 0.5, 0.5, 1.0)).mean() < 0.85 * plain.mean()
    assert np.abs(rendered_red(made, Tone=(1.0, 1.0, 1.0, 1.0), Oiliness=1.0) - plain).max() > 0.02


def test_the_eyes_have_a_wet_coat_and_a_painted_base(made):
    shader = bpy.data.materials["ID2R Eye"].node_tree.nodes["Principled BSDF"]
    assert shader.inputs["Coat Weight"].default_value == 1.0
    assert all(shader.inputs[name].is_linked for name in ("Base Color", "Normal", "Coat Normal", "Subsurface Weight"))


# ---- cameras ----


def test_the_photo_camera_is_the_core_s_pinhole(made):
    import torch

    from id2r_core.geometry.camera import Camera

    arrays = head_arrays()
    width, height = PHOTO_SIZE
    camera = Camera(
        view_from_world=torch.tensor(arrays["camera_view_from_world"])[None],
        focal=torch.tensor(arrays["camera_focal"])[None],
        principal=torch.tensor(arrays["camera_principal"])[None],
        height=height,
        width=width,
    )
    used = np.unique(arrays["quads"][arrays["part"] < 4])
    expected = camera.project(torch.tensor(arrays["vertices"][used])[None])[0, :, :2].numpy()
    scene = bpy.context.scene
    scene.frame_set(lookdev.PHOTO_FRAME)
    assert scene.camera == made.photo and scene.render.resolution_percentage == 100
    size = scene.render.resolution_x, scene.render.resolution_y
    assert (
        max(size) == result.LONG_SIDE and size[0] * height == size[1] * width
    )  # as large as said, shaped like the photo
    seen = [world_to_camera_view(scene, made.photo, Vector(co)) for co in positions(made.objects.head.data)]
    found = np.array([(each.x * width, (1 - each.y) * height) for each in seen])
    assert np.abs(found - expected).max() < 0.02  # pixels


def test_the_photo_lies_behind_the_head(made):
    (background,) = made.photo.data.background_images
    assert made.photo.data.show_background_images and background.image.name == "photo.png"
    assert background.display_depth == "BACK" and background.alpha == 1.0


def test_one_step_in_time_shows_the_photo_s_expression(made):
    scene, key = bpy.context.scene, made.objects.head.data.shape_keys.key_blocks["AsPhotographed"]
    for frame, camera, value in ((1, made.portrait, 0.0), (2, made.photo, 1.0)):
        scene.frame_set(frame)
        assert (scene.camera, key.value) == (camera, value)
    scene.frame_set(1, subframe=0.9)
    assert key.value == 0.0


def test_a_slider_takes_the_photo_s_expression_off_and_puts_it_on(result_folder):
    with np.load(result_folder / "head.npz") as stored:
        np.savez(result_folder / "head.npz", **{**stored, "keep_expression": np.array(True)})
    made = load_result(result_folder, bpy.context.scene, "Smiling")
    head, scene = made.objects.head, bpy.context.scene
    keys = [each.data.shape_keys.key_blocks["AsPhotographed"] for each in (head, made.objects.lashes) if each]
    scene.frame_set(1)
    assert [key.value for key in keys] == [1.0] * len(keys)
    head["photo_expression"] = 0.25
    head.update_tag()
    for frame, value in ((1, 0.25), (2, 1.0), (lookdev.TURNTABLE_FRAME, 0.25)):
        scene.frame_set(frame)
        assert [key.value for key in keys] == pytest.approx([value] * len(keys))


@pytest.mark.parametrize("orbit", [0.0, -0.6])
def test_the_portrait_camera_frames_the_whole_head(made, orbit):
    scene = bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y  # this head is as wide as it is high
    made.portrait.parent.rotation_euler.z = orbit
    bpy.context.view_layer.update()
    seen = [world_to_camera_view(scene, made.portrait, Vector(co)) for co in positions(made.objects.head.data)]
    x, y, depth = np.array(seen).T
    assert x.min() > 0 and x.max() < 1 and depth.min() > 0
    assert 0 < y.min() < 0.12 and 0.88 < y.max() < 1
    assert made.portrait.data.lens == 200.0 and depth.min() > 5 * np.ptp(depth)


def test_no_camera_is_drawn_around_what_another_one_sees(made):
    """Its lines end well before the face: Blender draws a metre, which is as far as the photo's camera stands."""
    front = min(co[1] for co in positions(made.objects.head.data))
    for camera in (made.portrait, made.photo):
        assert camera.matrix_world.translation.y + camera.data.display_size < front - camera.data.display_size


# ---- light ----


def test_every_environment_of_blender_is_known(made):
    scene = bpy.context.scene
    assert set(lookdev.HDRIS) == {path.stem for path in lookdev.hdri_folder().glob("*.exr")}
    for name in lookdev.HDRIS:
        lookdev.set_hdri(scene, name)
        image = scene.world.node_tree.nodes["Environment Texture"].image
        assert image.name == f"{name}.exr" and image.packed_file and image.filepath == f"//{name}.exr"


def test_no_sun_is_made_of_an_environment(made):
    """EEVEE would, of all its lamps at once, and Cycles not."""
    assert bpy.context.scene.world.sun_threshold == 0.0


def test_the_artist_s_world_stays(result_folder):
    scene = bpy.context.scene
    scene.world = own = bpy.data.worlds.new("Mine")
    lookdev.set_hdri(scene, "studio")
    lit = scene.world
    lookdev.set_hdri(scene, "city", rotation=0.5, strength=2.0)
    assert scene.world == lit != own and bpy.data.worlds["Mine"] == own
    assert lit.node_tree.nodes["Background"].inputs["Strength"].default_value == pytest.approx(
        2.0 * lookdev.HDRIS["city"].strength
    )


def test_grey_stands_behind_the_head_and_the_environment_lights_it(made):
    """The camera's own rays see the grey; those that light the head do not."""
    scene = bpy.context.scene
    lookdev.set_render(scene, (24, 24), 16)
    scene.cycles.use_denoising = False
    pictures = {}
    for background in ("GREY", "LIGHT", "NONE"):
        lookdev.set_hdri(scene, "city", background=background)
        lookdev.set_background(scene, background)
        pictures[background] = contact_sheet.render(scene, "OPEN_EXR")
    assert pictures["GREY"][0, :, :3] == pytest.approx(lookdev.GREY_BACKDROP, abs=0.001)
    assert np.ptp(pictures["LIGHT"][0, :, :3]) > 0.01 and pictures["NONE"][0, :, 3].max() == 0.0
    head = [picture[10:14, 10:14, :3].mean() for picture in pictures.values()]
    assert np.ptp(head) < 0.1 * np.mean(head)


def test_a_second_head_keeps_the_light_that_was_chosen(made, result_folder):
    scene = bpy.context.scene
    lookdev.set_hdri(scene, "forest", rotation=0.7)
    load_result(result_folder, scene, "Second")
    nodes = scene.world.node_tree.nodes
    assert nodes["Environment Texture"].image.name == "forest.exr"
    assert nodes["Mapping"].inputs["Rotation"].default_value[2] == pytest.approx(lookdev.HDRIS["forest"].rotation + 0.7)


def test_the_cube_of_a_new_file_steps_aside_and_the_artist_s_own_does_not(result_folder):
    bpy.ops.wm.read_factory_settings()
    load_result(result_folder, bpy.context.scene, "Head")
    assert all(
        bpy.data.objects[name].hide_render and bpy.data.objects[name].hide_viewport
        for name in ("Cube", "Light", "Camera")
    )
    assert bpy.context.view_layer.objects.active != bpy.data.objects["Cube"]
    bpy.ops.wm.read_factory_settings()
    bpy.data.objects["Cube"].location.x, bpy.data.objects["Light"].data.energy = 3.0, 50.0
    bpy.data.objects["Camera"].location.z = 2.0
    load_result(result_folder, bpy.context.scene, "Head")
    assert not any(bpy.data.objects[name].hide_render for name in ("Cube", "Light", "Camera"))


def test_an_unknown_environment_is_named():
    with pytest.raises(errors.Id2rError, match="moon"):
        lookdev.set_hdri(bpy.context.scene, "moon")


# ---- bad and saved files ----


@pytest.mark.parametrize("missing", ["head.npz", "diffuse.png", "photo.png"])
def test_a_missing_file_is_named_and_the_scene_untouched(result_folder, missing):
    (result_folder / missing).unlink()
    with pytest.raises(errors.Id2rError, match=missing):
        load_result(result_folder, bpy.context.scene, "Head")
    assert not bpy.data.objects and not bpy.data.collections


def test_a_foreign_head_is_named(result_folder):
    arrays = head_arrays()
    del arrays["uv"]
    np.savez(result_folder / "head.npz", **arrays)
    with pytest.raises(errors.Id2rError, match="lacks uv"):
        mesh_io.read_head(result_folder / "head.npz")


def test_the_head_file_has_no_unread_names():
    assert {field.name for field in fields(mesh_io.HeadFile)} == set(head_arrays())


def test_head_blend_opens_anywhere(result_folder, tmp_path):
    batch.open_result(result_folder, batch.silent)
    lookdev.show_through_camera(bpy.data.screens["Layout"])
    moved = tmp_path / "elsewhere" / "head.blend"
    moved.parent.mkdir()
    batch.save_blend(result_folder / "head.blend")
    (result_folder / "head.blend").rename(moved)
    for file in result_folder.iterdir():
        file.unlink()
    bpy.ops.wm.open_mainfile(filepath=str(moved))
    assert {"Head", "Head eyes", "Portrait", "Photo"} <= set(bpy.data.objects.keys())
    assert bpy.context.scene.world.node_tree.nodes["Environment Texture"].image.name == "forest.exr"
    for image in bpy.data.images:
        if image.type == "IMAGE":
            is_map = Path(image.name).stem in (*image_io.COLOUR_SPACES, *image_io.OPTIONAL)
            folder = "textures/Head/" if is_map else ""
            assert image.packed_file and image.filepath == f"//{folder}{image.name}"
    views = [area.spaces.active for area in bpy.data.screens["Layout"].areas if area.type == "VIEW_3D"]
    assert [view.region_3d.view_perspective for view in views] == ["CAMERA"]
    pixel = bpy.data.images["diffuse.png"].pixels[:3]
    assert pixel == pytest.approx((0.75, 0.6, 0.45), abs=0.003)


def test_two_heads_in_one_scene(result_folder):
    scene = bpy.context.scene
    first, second = (load_result(result_folder, scene, "Head") for _ in range(2))
    for made in (first, second):
        assert made.objects.eyes.parent == made.objects.head
        driver = made.objects.eyes.data.shape_keys.animation_data.drivers[0].driver
        assert driver.variables[0].targets[0].id == made.objects.head.data.shape_keys
        assert material.skin_node(made.objects.head.data.materials[0]).inputs["Diffuse"].is_linked
    assert first.objects.head.data.materials[0] != second.objects.head.data.materials[0]
