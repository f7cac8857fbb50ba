"""Eyelashes on the real head: where they stand, how they follow the lids, and what becomes of them in Blender."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

bpy = pytest.importorskip("bpy")
from conftest import head_arrays, write_result

from addon import export, mesh_io
from addon.lashes import LOWER, SEGMENTS, SIDES, UPPER, grow_lashes
from addon.result import load_result
from id2r_core.geometry.subdivide import catmull_clark
from id2r_core.head.model import PARTS, load_head

HAIRS = 2 * (UPPER.count + LOWER.count)
IS_UPPER = np.tile(np.arange(UPPER.count + LOWER.count) < UPPER.count, 2)


@pytest.fixture(scope="module")
def model():
    return load_head()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """A result with the geometry of the real head."""
    folder = write_result(tmp_path_factory.mktemp("real") / "result")
    names = ("quads", "part", "uv", "quads_uv", "uv_makehuman", "quads_uv_makehuman")
    arrays = {name: getattr(model, name).numpy() for name in names}
    eyes = model.neutral[model.eye_vertices].numpy()  # [2, P, 3]
    arrays |= {"vertices": model.neutral.numpy(), "photo_vertices": model.neutral.numpy()}
    arrays |= {"expressions": model.expression.numpy(), "expression_names": np.array(model.expression_names)}
    arrays |= {"part_names": np.array(PARTS), "eye_centres": eyes.mean(1)}
    np.savez(folder / "head.npz", **head_arrays() | arrays)
    return folder


@pytest.fixture(scope="module")
def data(folder):
    return mesh_io.read_head(folder / "head.npz")


@pytest.fixture(scope="module")
def lashes(data):
    part = np.array(data.part_names)[data.part]
    return grow_lashes(data.vertices, data.quads, part == "eye_socket", part == "skin")


def hairs(lashes, vertices) -> np.ndarray:
    """Points along each hair's middle, [HAIRS, SEGMENTS, 3]."""
    return lashes.place(vertices).reshape(HAIRS, SEGMENTS, SIDES, 3).mean(2)


def shape(data, name: str) -> np.ndarray:
    return data.vertices + data.expressions[data.expression_names.index(name)]


def test_they_grow_out_of_the_skin(data, lashes):
    """Their roots lie on the surface that Blender shows, in every expression; the slow way is the core's subdivision."""
    part = np.array(data.part_names)[data.part]
    quads = data.quads[np.isin(part, ("skin", "eye_socket"))]
    once, fine = catmull_clark(quads, len(data.vertices))
    twice, _ = catmull_clark(fine, once.shape[0])
    for name in ("eyeBlinkLeft", "eyeWideRight", "jawOpen"):
        surface = np.asarray(twice @ (once @ shape(data, name)))
        roots = hairs(lashes, shape(data, name))[:, 0]
        assert cKDTree(surface).query(roots)[0].max() < 0.0008, name


def test_they_leave_the_eye_free(data, lashes):
    for vertices in (data.vertices, shape(data, "eyeBlinkLeft")):
        points = hairs(lashes, vertices)
        centre = data.eye_centres[(points[:, :1, 0] < 0).astype(int)]
        eyeball = np.linalg.norm(
            data.vertices[data.quads[data.part == PARTS.index("eyeball_left")].ravel()] - data.eye_centres[0], axis=1
        )
        assert np.linalg.norm(points - centre, axis=-1).min() > np.median(eyeball)
    tips = hairs(lashes, data.vertices)
    assert (tips[:, -1, 1] < tips[:, 0, 1]).mean() > 0.95  # forwards, but for some at the outer corners


def test_both_eyes_have_the_same_and_they_fan_outwards(data, lashes):
    points = hairs(lashes, data.vertices)
    assert (points[:, 0, 0] > 0).sum() == HAIRS / 2
    lean = (points[:, -1, 0] - points[:, 0, 0]) * np.sign(points[:, 0, 0])  # away from the nose
    outer = np.abs(points[:, 0, 0]) > np.quantile(np.abs(points[:, 0, 0]), 0.75)
    assert lean[outer].mean() > 0.001 and (lean[outer] > 0).mean() > 0.95


def test_a_blink_takes_the_upper_ones_down(data, lashes):
    open_tips, shut_tips = (hairs(lashes, each)[:, -1] for each in (data.vertices, shape(data, "eyeBlinkLeft")))
    is_left = open_tips[:, 0] > 0
    moved = (open_tips - shut_tips)[:, 2]
    assert np.median(moved[is_left & IS_UPPER]) > 0.006 and np.median(moved[is_left & ~IS_UPPER]) < 0.002
    assert np.abs(open_tips - shut_tips)[~is_left].max() < 0.0005


def test_a_hair_is_as_long_as_lashes_are(data, lashes):
    points = hairs(lashes, data.vertices)
    length = np.linalg.norm(np.diff(points, axis=1), axis=-1).sum(1)
    assert 0.001 < length.min() and length.max() < 0.010 and 0.003 < np.median(length[IS_UPPER]) < 0.008
    assert np.isfinite(lashes.place(data.vertices)).all()


def test_their_faces_look_outwards(data, lashes):
    placed = lashes.place(data.vertices)
    corners = placed[lashes.quads]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0])
    rings = placed.reshape(-1, SIDES, 3).mean(1)
    middle = rings[lashes.quads // SIDES].mean(1)
    assert ((corners.mean(1) - middle) * normal).sum(1).min() > 0


def test_a_head_without_lids_has_none(result_folder):
    assert load_result(result_folder, bpy.context.scene, "Ball").objects.lashes is None


def test_in_blender_they_follow_the_head(folder):
    made = load_result(folder, bpy.context.scene, "Ada")
    own, head = made.objects.lashes, made.objects.head
    assert own.parent == head and own[mesh_io.HEAD_MARK] == "lashes" and own.data.materials[0].name == "ID2R Lash"
    assert "eyeBlinkLeft" in own.data.shape_keys.key_blocks and "jawForward" not in own.data.shape_keys.key_blocks
    head.data.shape_keys.key_blocks["eyeBlinkLeft"].value = 1.0
    bpy.context.view_layer.update()
    assert own.data.shape_keys.key_blocks["eyeBlinkLeft"].value == 1.0


def test_they_are_exported(folder, tmp_path):
    made = load_result(folder, bpy.context.scene, "Ada")
    export.export_model(made.objects.head, tmp_path / "ada.glb", "GLTF")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(tmp_path / "ada.glb"))
    (own,) = (each for each in bpy.data.objects if each.name.startswith("Ada lashes"))
    assert "eyeBlinkLeft" in own.data.shape_keys.key_blocks
    assert own.data.materials[0].name.startswith("ID2R Lash")
