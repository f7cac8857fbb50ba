"""Files for other programs: the maps' values, and materials that arrive (seen by reading the files again)."""

import addon_utils
import bpy
import cv2
import numpy as np
import pytest

from addon import export, material
from tests.blender.conftest import EXPRESSIONS, MAP_SIZE


@pytest.fixture
def settings(addon, result_folder, tmp_path):
    normal = np.full((MAP_SIZE, MAP_SIZE, 3), (1.0, 0.7, 0.5))  # BGR: z, y, x
    cv2.imwrite(str(result_folder / "normal.png"), np.rint(normal * 65535).astype(np.uint16))
    bpy.ops.id2r.open_result(directory=str(result_folder))
    values = bpy.context.scene.id2r
    values.export_folder = str(tmp_path / "export")
    return values


def stored(path):
    """A picture as [R, G, B] of its middle, and its type."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    middle = np.atleast_1d(image[len(image) // 2, len(image) // 2]).astype(float)[:3][::-1]
    return middle, image.dtype, image.shape[0]


@pytest.mark.parametrize("depth, kind, top", [("PNG8", np.uint8, 255), ("PNG16", np.uint16, 65535)])
def test_the_maps_keep_their_values(settings, tmp_path, depth, kind, top):
    settings.export_format = depth
    bpy.ops.id2r.export_maps()
    for name, wanted in {"diffuse": (0.75, 0.6, 0.45), "normal": (0.5, 0.7, 1.0), "roughness": (0.4,) * 3}.items():
        middle, found, side = stored(tmp_path / "export" / f"{name}.png")
        assert found == kind and side == MAP_SIZE
        assert middle / top == pytest.approx(wanted, abs=1.01 / 255)
    assert not (tmp_path / "export" / "orm.png").exists()


def test_directx_flips_the_green_of_the_normals_alone(settings, tmp_path):
    settings.export_normals, settings.export_orm = "DIRECTX", True
    bpy.ops.id2r.export_maps()
    assert stored(tmp_path / "export" / "normal.png")[0] / 65535 == pytest.approx((0.5, 0.3, 1.0), abs=1e-3)
    assert stored(tmp_path / "export" / "orm.png")[0] / 65535 == pytest.approx((1.0, 0.4, 0.0), abs=1e-3)


def test_exr_is_linear_colour_and_plain_data(settings, tmp_path):
    settings.export_format = "EXR"
    bpy.ops.id2r.export_maps()
    image = bpy.data.images.load(str(tmp_path / "export" / "diffuse.exr"))
    linear = ((0.75 + 0.055) / 1.055) ** 2.4
    assert image.pixels[0] == pytest.approx(linear, abs=0.01)
    image = bpy.data.images.load(str(tmp_path / "export" / "roughness.exr"))
    assert image.pixels[0] == pytest.approx(0.4, abs=0.001)


def test_another_size(settings, tmp_path):
    settings.export_size = "512"
    bpy.ops.id2r.export_maps()
    assert stored(tmp_path / "export" / "diffuse.png")[2] == 512


def test_a_udim_tile_is_in_the_names(settings, tmp_path):
    settings.export_udim, settings.export_tile, settings.export_orm = True, 1012, True
    bpy.ops.id2r.export_maps()
    names = {path.name for path in (tmp_path / "export").iterdir()}
    assert names == {f"{name}.1012.png" for name in ("diffuse", "specular", "roughness", "normal", "orm")}
    tiled = bpy.data.images.load(str(tmp_path / "export" / "diffuse.<UDIM>.png"))
    tiled.source = "TILED"
    assert [tile.number for tile in tiled.tiles] == [1012] and tiled.size[0] == MAP_SIZE


def test_a_folder_beside_an_unsaved_file_is_refused_in_plain_words(settings):
    settings.export_folder = "//maps"
    with pytest.raises(RuntimeError, match="has not been saved yet"):
        bpy.ops.id2r.export_maps()


def textures_of(own) -> dict[str, bpy.types.Image]:
    """The image that feeds each socket of an imported material, through whatever nodes lie between."""
    shader = next(node for node in own.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    found = {}
    for socket in shader.inputs:
        node = socket.links[0].from_node if socket.is_linked else None
        while node and node.type != "TEX_IMAGE":
            links = [link for each in node.inputs for link in each.links]
            node = links[0].from_node if links else None
        if node:
            found[socket.name] = node.image
    return found


def test_gltf_arrives_with_materials_and_expressions(settings, tmp_path):
    addon_utils.enable("io_scene_gltf2")
    head = bpy.data.objects["ID2R result"]
    material.skin_node(head.data.materials[0]).inputs["Tone"].default_value = (0.5, 1.0, 1.0, 1.0)
    bpy.ops.id2r.export_model(kind="GLTF")
    path = tmp_path / "export" / "ID2R_result.glb"
    assert list(path.parent.iterdir()) == [path]  # which holds all of its pictures
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(path))
    meshes = {made.name: made for made in bpy.data.objects if made.type == "MESH"}
    head = meshes["ID2R result"]
    assert [key.name for key in head.data.shape_keys.key_blocks][1:] == ["AsPhotographed", *EXPRESSIONS]
    found = textures_of(next(own for own in head.data.materials if "Skin" in own.name))
    assert {"Base Color", "Roughness", "Normal"} <= set(found)
    linear = ((0.75 + 0.055) / 1.055) ** 2.4 * 0.5  # the tone is in the colour
    assert found["Base Color"].pixels[0] == pytest.approx(1.055 * linear ** (1 / 2.4) - 0.055, abs=0.01)
    assert found["Roughness"].pixels[1] == pytest.approx(0.4, abs=0.01)
    assert found["Normal"].pixels[1] == pytest.approx(0.7, abs=0.01)
    eyes = textures_of(meshes["ID2R result eyes"].data.materials[0])
    assert eyes["Base Color"].size[0] > 0
    co = np.array([vertex.co for vertex in head.data.vertices])
    assert np.ptp(co[:, 2]) == pytest.approx(0.2, abs=0.01)  # metres, upright


@pytest.mark.parametrize("kind, suffix", [("USD", "usdc"), ("FBX", "fbx")])
def test_usd_and_fbx_arrive_with_their_textures(settings, tmp_path, kind, suffix):
    addon_utils.enable("io_scene_fbx")
    bpy.ops.id2r.export_model(kind=kind)
    path = str(tmp_path / "export" / f"ID2R_result.{suffix}")
    assert {each.name for each in (tmp_path / "export").iterdir()} == {f"ID2R_result.{suffix}", "ID2R_result_textures"}
    pictures = {each.name for each in (tmp_path / "export" / "ID2R_result_textures").iterdir()}
    assert pictures == {"diffuse.png", "orm.png", "normal.png", "eyes.png"}  # those that its materials use
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.usd_import(filepath=path) if kind == "USD" else bpy.ops.import_scene.fbx(filepath=path)
    assert not [made for made in bpy.data.objects if made.type == "LIGHT"]  # nor the environment as one
    found = [textures_of(own) for own in bpy.data.materials if "Skin" in own.name]
    assert found and {"Base Color", "Normal"} <= set(found[0])
    assert found[0]["Base Color"].pixels[0] == pytest.approx(0.75, abs=0.01)


def test_exporting_changes_nothing_in_the_scene(settings):
    addon_utils.enable("io_scene_gltf2")
    head = bpy.data.objects["ID2R result"]
    own, count = list(head.data.materials), (len(bpy.data.materials), len(bpy.data.images), len(bpy.data.scenes))
    bpy.ops.id2r.export_model(kind="GLTF")
    assert list(head.data.materials) == own
    assert (len(bpy.data.materials), len(bpy.data.images), len(bpy.data.scenes)) == count
    assert all(modifier.show_viewport for modifier in head.modifiers)
    assert [layer.name for layer in head.children[0].data.uv_layers].count("EyeFront") == 0


def test_the_asset_has_the_photo_as_its_preview(settings):
    bpy.ops.id2r.mark_asset()
    collection = bpy.data.collections["ID2R result"]
    assert "ID2R" in collection.asset_data.tags
    assert tuple(collection.preview.image_size) == (128, 128)
    assert collection.preview.image_pixels_float[0] == pytest.approx(90 / 255, abs=0.02)


def test_without_a_head_there_is_a_clear_sentence(addon):
    for operator in (bpy.ops.id2r.export_maps, bpy.ops.id2r.export_model, bpy.ops.id2r.mark_asset):
        with pytest.raises(RuntimeError, match="no ID2R head"):
            operator()


@pytest.mark.parametrize("kind", export.EXPORTERS)
def test_a_blender_without_the_exporter_says_so(settings, tmp_path, kind, monkeypatch):
    """As Debian's, which has no USD, and as any in which the add-on for FBX is switched off."""
    monkeypatch.setitem(export.EXPORTERS, kind, ("export_scene", "nothing"))
    with pytest.raises(RuntimeError, match=f"cannot write {kind}"):
        bpy.ops.id2r.export_model(kind=kind)
    assert not (tmp_path / "export").exists()
