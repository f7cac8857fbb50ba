"""Glasses in Blender: an object under the head, with two materials, that other programs get, too."""

import bpy
import numpy as np
import pytest

from addon import export, material, mesh_io
from addon.result import load_result

BOX = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32) * 0.01
QUADS = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]], np.int32)


@pytest.fixture
def worn(addon, result_folder):
    linear = np.array([0.1, 0.02, 0.03], np.float32)
    is_lens = np.arange(6) >= 4
    np.savez(result_folder / "glasses.npz", vertices=BOX, quads=QUADS, is_lens=is_lens, frame_linear=linear)
    made = load_result(result_folder, bpy.context.scene, "Ada")
    return made, made.objects.glasses


def test_they_hang_on_the_head_in_their_own_colour(worn):
    made, glasses = worn
    assert glasses.parent == made.objects.head and glasses[mesh_io.HEAD_MARK] == "glasses"
    assert glasses.name == "Ada glasses" and glasses.name in made.collection.objects
    frame, lens = glasses.data.materials
    assert frame.name == "ID2R Frame" and lens.name == "ID2R Lens"
    (shader,) = (node for node in frame.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    assert tuple(shader.inputs["Base Color"].default_value)[:3] == pytest.approx((0.1, 0.02, 0.03))
    assert [each.material_index for each in glasses.data.polygons] == [0, 0, 0, 0, 1, 1]
    assert {node.type for node in lens.node_tree.nodes} >= {"BSDF_TRANSPARENT", "MIX_SHADER", "FRESNEL"}


def test_they_are_turned_into_blender_s_axes(worn):
    _, glasses = worn
    points = np.array([each.co for each in glasses.data.vertices])
    assert points.min(0) == pytest.approx((0.0, -0.01, 0.0)) and points.max(0) == pytest.approx((0.01, 0.0, 0.01))


def test_they_are_exported(worn, tmp_path):
    made, _ = worn
    export.export_model(made.objects.head, tmp_path / "ada.glb", "GLTF")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(tmp_path / "ada.glb"))
    (own,) = (each for each in bpy.data.objects if "glasses" in each.name)
    shaders = [
        next(node for node in slot.node_tree.nodes if node.type == "BSDF_PRINCIPLED") for slot in own.data.materials
    ]
    assert shaders[0].inputs["Base Color"].default_value[0] == pytest.approx(0.1, abs=1e-3)
    assert shaders[1].inputs["Alpha"].default_value == pytest.approx(material.LENS_ALPHA)


def test_a_result_without_glasses_has_none(addon, result_folder):
    made = load_result(result_folder, bpy.context.scene, "Ada")
    assert made.objects.glasses is None
    assert not [each for each in made.objects.head.children if each.get(mesh_io.HEAD_MARK) == "glasses"]
