"""Teeth and gums in Blender, with a small made-up result that has some."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
from conftest import head_arrays, write_result

from addon import export, material, mesh_io
from addon.core import errors
from addon.result import load_result

TEETH, GUMS = slice(24, 48), slice(48, 60)  # quads of the ball that the test makes teeth and gums of


@pytest.fixture
def toothed_folder(tmp_path):
    folder = write_result(tmp_path / "result")
    arrays = head_arrays()
    arrays["part_names"] = np.array([*arrays["part_names"], "teeth", "gums"])
    first = len(arrays["part_names"]) - 2
    arrays["part"][TEETH], arrays["part"][GUMS] = first, first + 1
    np.savez(folder / "head.npz", **arrays)
    return folder


def test_teeth_and_gums_are_objects_of_their_own_that_follow_the_head(toothed_folder):
    made = load_result(toothed_folder, bpy.context.scene, "Ada")
    teeth, gums = made.objects.teeth
    assert [each[mesh_io.HEAD_MARK] for each in (teeth, gums)] == ["teeth", "gums"]
    assert [each.data.materials[0].name for each in (teeth, gums)] == ["ID2R Tooth", "ID2R Gum"]
    assert len(teeth.data.polygons) == 24 and len(gums.data.polygons) == 12
    assert all(each.parent == made.objects.head for each in (teeth, gums))
    keys = teeth.data.shape_keys
    assert "jawOpen" in keys.key_blocks and len(keys.animation_data.drivers) == len(keys.key_blocks) - 1


def test_enamel_is_what_textbooks_say(toothed_folder):
    made = load_result(toothed_folder, bpy.context.scene, "Ada")
    tree = made.objects.teeth[0].data.materials[0].node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    ior = shader.inputs["IOR"].default_value
    assert ((ior - 1) / (ior + 1)) ** 2 == pytest.approx(0.05, abs=0.002)
    red, green, blue = material.ENAMEL
    assert red > green > blue > 0.4 and shader.inputs["Subsurface Weight"].default_value > 0


@pytest.mark.parametrize("kind", ["GLTF", "FBX", "USD"])
def test_exports_carry_the_teeth(toothed_folder, tmp_path, kind):
    made = load_result(toothed_folder, bpy.context.scene, "Ada")
    path = tmp_path / f"head{export.MODELS[kind]}"
    export.export_model(made.objects.head, path, kind)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    reader = {"GLTF": bpy.ops.import_scene.gltf, "FBX": bpy.ops.import_scene.fbx, "USD": bpy.ops.wm.usd_import}[kind]
    reader(filepath=str(path))
    found = [each.name for each in bpy.data.objects]
    assert any("teeth" in name for name in found) and any("gums" in name for name in found)


def test_a_head_of_an_older_version_is_refused_in_one_sentence(toothed_folder):
    path = toothed_folder / "head.npz"
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files if name != "format"}
    np.savez(path, **arrays)
    with pytest.raises(errors.Id2rError, match="older version of ID2R") as caught:
        load_result(toothed_folder, bpy.context.scene, "Ada")
    assert "Reconstruct the photo again" in caught.value.hint and not bpy.data.objects
