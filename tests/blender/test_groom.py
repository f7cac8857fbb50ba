"""Hair on the real head: where it grows, how long it is and how it lies, and what becomes of it in Blender."""

import json

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

bpy = pytest.importorskip("bpy")
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector
from test_lashes import data, folder, model  # noqa: F401

from addon import export, material, mesh_io
from addon import groom as groom_module
from addon.fringe import lay_fringe
from addon.groom import CURLY_POINTS, DEPTH, LENGTH, POINTS, STRANDS, grow_groom, scatter_roots, under_face
from addon.result import load_result, read_fringe, read_hair
from addon.steps import run
from id2r_core.conventions import FRINGE_COLUMNS
from id2r_core.geometry.subdivide import catmull_clark
from id2r_core.head.atlas import make_atlas

SIDE = 256


@pytest.fixture(scope="module")
def density(model):  # noqa: F811
    """The mean head's scalp, but for its left half."""
    atlas = make_atlas(model, SIDE)
    return ((atlas.region("scalp") > 0.5) & (atlas.surface[0] < 0)).float().numpy()


def groom_of(data, density, height=0.0, fall=0.0, lowest=None, curl=0.0):  # noqa: F811
    """height, fall: metres off the scalp and below the eyes; lowest [17]: of a fringe, metres above the eyes."""
    of_skin = np.array(data.part_names)[data.part] == "skin"
    hair = np.stack([density, height + 0 * density, fall + 0 * density], -1)
    scalp = run(scatter_roots(data.vertices, data.quads[of_skin], data.uv, data.quads_uv[of_skin], hair))
    fringe = None if lowest is None else lay_fringe(lowest, data.vertices, data.quads[of_skin])
    return run(grow_groom(scalp.only(~under_face(scalp)), fringe, curl)) if scalp else None


@pytest.fixture(scope="module")
def groom(data, density):  # noqa: F811
    return groom_of(data, density)


def test_hair_grows_out_of_the_skin(data, groom):  # noqa: F811
    quads = data.quads[np.array(data.part_names)[data.part] == "skin"]
    fine = data.vertices
    for _ in range(3):
        matrix, quads = catmull_clark(quads, len(fine))
        fine = np.asarray(matrix @ fine)
    surface = cKDTree(fine)
    assert np.quantile(surface.query(groom.points[:, 0])[0], 0.99) < DEPTH + 0.0015
    assert 0.002 < np.median(surface.query(groom.points[:, -1])[0]) < LENGTH[1]


def test_it_grows_where_the_map_says_and_nowhere_else(model, groom, density):  # noqa: F811
    assert (groom.points[:, 0, 0] < 0.002).all()
    atlas = make_atlas(model, SIDE)
    scalp = atlas.surface[:, (density > 0)].T.numpy()
    area = 0.5 * 4 * np.pi * 0.09**2 / 2  # half of the upper half of a sphere as large as a head
    assert 0.6 * STRANDS * area < len(groom.points) < 2 * STRANDS * area
    assert groom.points[:, 0, 2].min() > scalp[:, 1].min() - 0.02


def test_half_as_dense_is_half_as_many(data, groom, density):  # noqa: F811
    assert len(groom_of(data, density / 2).points) == pytest.approx(len(groom.points) / 2, rel=0.05)


def test_it_is_longer_on_top(groom):
    length = np.linalg.norm(np.diff(groom.points, axis=1), axis=2).sum(1)
    height = groom.points[:, 0, 2] / groom.points[:, 0, 2].max()
    assert np.median(length[height > 0.85]) > 2 * np.median(length[height < 0.3])
    assert length.max() < 1.5 * LENGTH[1]


@pytest.fixture(scope="module")
def scalp(model):  # noqa: F811
    """All of the mean head's scalp."""
    return (make_atlas(model, SIDE).region("scalp") > 0.5).float().numpy()


def off_the_head(data, points) -> np.ndarray:  # noqa: F811
    """Metres from points [..., 3] to the nearest vertex of the skin."""
    skin = np.unique(data.quads[np.array(data.part_names)[data.part] == "skin"])
    return cKDTree(data.vertices[skin]).query(points)[0]


@pytest.mark.parametrize("height", [0.02, 0.04])
def test_it_fills_the_height_that_the_photo_shows(data, scalp, height):  # noqa: F811
    groom = groom_of(data, scalp, height)
    highest = off_the_head(data, groom.points).max(1)
    assert 0.85 * height < np.quantile(highest, 0.97) < 1.25 * height
    assert np.median(highest) > 0.5 * height


def test_swept_hair_leaves_the_face_alone(data, scalp):  # noqa: F811
    groom = groom_of(data, scalp, 0.03)
    tips = groom.points[:, -1]
    in_front = (groom.points[:, 0, 1] < 0.04) & (np.abs(groom.points[:, 0, 0]) < 0.03)
    assert in_front.sum() > 100
    assert (tips[in_front, 1] > groom.points[in_front, 0, 1]).mean() > 0.95


def test_hair_over_one_shoulder_is_laid_there(data, model, scalp):  # noqa: F811
    """The map tells of none on the other side, and of less the nearer to it; no strand falls off beyond the neck."""
    right = np.clip(0.5 - make_atlas(model, SIDE).surface[0].numpy() / 0.06, 0.0, 1.0)
    points = groom_of(data, scalp, 0.015, 0.2 * right).points
    is_long = np.linalg.norm(np.diff(points, axis=1), axis=2).sum(1) > 0.12
    assert is_long.sum() > 1000 and points[is_long, -1, 0].max() < 0.035


def test_long_hair_hangs_as_far_as_the_photo_shows_and_leaves_the_face_alone(data, scalp):  # noqa: F811
    groom = groom_of(data, scalp, 0.015, 0.15)
    lowest = groom.points[..., 2].min(1)
    assert lowest.min() > -0.17 and np.median(lowest) < -0.11
    inside = (groom.points[..., 1] < 0.04) & (np.abs(groom.points[..., 0]) < 0.05) & (groom.points[..., 2] < 0.05)
    assert inside.mean() < 1e-3


def test_no_hair_grows_out_of_the_throat(data, model):  # noqa: F811
    """Hair that hangs before the neck is in the hair map there, too."""
    atlas = make_atlas(model, SIDE)
    shown = ((atlas.region("scalp") > 0.5) | (atlas.region("neck") > 0.5)).float().numpy()
    roots = groom_of(data, shown, 0.015, 0.15).points[:, 0]
    front = data.vertices[:, 1].min()
    assert ((roots[:, 2] < -0.055) & (roots[:, 1] < front + 0.07)).sum() == 0
    assert ((roots[:, 2] < -0.055) & (roots[:, 1] > front + 0.13)).sum() > 100


def test_one_side_can_be_longer(data, scalp, model):  # noqa: F811
    left = (make_atlas(model, SIDE).surface[0] > 0).numpy()
    groom = groom_of(data, scalp, 0.015, np.where(left, 0.2, 0.0))
    lowest = groom.points[..., 2].min(1)
    on_left = groom.points[:, 0, 0] > 0.02
    assert np.median(lowest[on_left]) < np.median(lowest[groom.points[:, 0, 0] < -0.02]) - 0.08


def way_and_span(groom) -> tuple[np.ndarray, np.ndarray]:
    """[H] metres along each strand, and from its root to its tip."""
    way = np.linalg.norm(np.diff(groom.points, axis=1), axis=2).sum(1)
    return way, np.linalg.norm(groom.points[:, -1] - groom.points[:, 0], axis=1)


@pytest.mark.parametrize("fall", [0.0, 0.15])
def test_curls_wind_about_where_straight_hair_lies(data, scalp, fall):  # noqa: F811
    straight, waves, curls = (groom_of(data, scalp, 0.03, fall, curl=each) for each in (0.0, 0.4, 1.0))
    longer = [np.median(np.divide(*way_and_span(each))) for each in (straight, waves, curls)]
    assert 1.03 * longer[0] < longer[1] < longer[2] / 1.1
    for each in (waves, curls):
        assert np.allclose(each.points[:, 0], straight.points[:, 0], atol=1e-6)
        moved = np.linalg.norm(each.points.mean(1) - straight.points.mean(1), axis=1)
        assert np.median(moved) < 0.006


def test_neighbours_end_nearer_to_each_other_than_each_by_itself(data, scalp, monkeypatch):  # noqa: F811
    nearest = lambda groom: np.median(cKDTree(groom.points[:, -1]).query(groom.points[:, -1], k=9)[0][:, -1])
    in_locks = nearest(groom_of(data, scalp, 0.03))
    monkeypatch.setattr(groom_module, "CLUMPED", (0.0, 0.0))
    assert in_locks < 0.85 * nearest(groom_of(data, scalp, 0.03))


def test_locks_lie_in_no_rows_and_columns():
    """Whichever way a flat piece of scalp is looked at, no border between locks runs straight across it."""
    side = 60
    across = np.linspace(0.0, 0.06, side)
    roots = np.stack([*np.meshgrid(across, across), np.zeros((side, side))], -1).reshape(-1, 3)
    strands = roots[:, None] + np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.01]])
    lock = run(groom_module._draw_together(strands, 0.4, np.random.default_rng(0))).reshape(side, side)
    assert 10 < len(np.unique(lock)) < 400
    for along in (lock, lock.T):
        borders = (along[:, 1:] != along[:, :-1]).mean(0)  # [side - 1] how much of each line between columns is one
        assert borders.max() < 0.6


def test_older_reports_tell_of_no_curls(tmp_path):
    cv2.imwrite(str(tmp_path / "hair.png"), np.full((4, 4, 3), 255, np.uint8))
    assert read_hair(tmp_path, {}).curl == 0.0 and read_hair(tmp_path, {"hair_curl": 0.4}).curl == 0.4


COLUMNS = np.array(FRINGE_COLUMNS)


def over_the_forehead(groom) -> np.ndarray:
    """[H] strands that end in front of the forehead."""
    tip = groom.points[:, -1]
    return (tip[:, 1] < 0.0) & (np.abs(tip[:, 0]) < 0.04) & (tip[:, 2] < 0.055)


@pytest.mark.parametrize("fall", [0.0, 0.15])
def test_a_fringe_hangs_down_to_its_edge_and_lies_on_the_forehead(data, scalp, fall):  # noqa: F811
    lowest = np.where(np.abs(COLUMNS) < 0.065, 0.035 - 0.1 * COLUMNS, np.nan)
    groom = groom_of(data, scalp, 0.015, fall, lowest)
    chosen = over_the_forehead(groom)
    assert chosen.sum() > 800 > 10 * over_the_forehead(groom_of(data, scalp, 0.015, fall)).sum()
    tips = groom.points[chosen, -1]
    off = tips[:, 2] - (0.035 - 0.1 * tips[:, 0])
    assert np.median(off) == pytest.approx(0.0, abs=0.004) and np.quantile(np.abs(off), 0.9) < 0.008
    beyond = off_the_head(data, groom.points[chosen][:, 4:])
    assert np.quantile(beyond, 0.95) < 0.025


def test_a_fringe_on_one_side_leaves_the_other_alone(data, scalp):  # noqa: F811
    groom = groom_of(data, scalp, 0.01, 0.0, np.where((COLUMNS > 0.0) & (COLUMNS < 0.06), 0.035, np.nan))
    tips = groom.points[over_the_forehead(groom), -1]
    assert (tips[:, 0] > -0.005).mean() > 0.98


def test_no_strand_of_a_slanted_fringe_ends_beside_the_face(data, scalp):  # noqa: F811
    lowest = np.where(np.abs(COLUMNS) < 0.065, 0.035 - 0.25 * COLUMNS, np.nan)
    groom = groom_of(data, scalp, 0.015, 0.0, lowest)
    assert over_the_forehead(groom).sum() > 300 and np.abs(groom.points[:, -1, 0]).max() < 0.105


def test_a_parted_fringe_leaves_the_middle_free(data, scalp):  # noqa: F811
    lowest = np.where((np.abs(COLUMNS) > 0.025) & (np.abs(COLUMNS) < 0.055), 0.03, np.nan)
    groom = groom_of(data, scalp, 0.01, 0.0, lowest)
    tips = np.abs(groom.points[over_the_forehead(groom), -1, 0])
    assert len(tips) > 100 and (tips < 0.02).mean() < 0.02


def test_older_reports_tell_of_no_fringe():
    assert read_fringe({}) is None and read_fringe({"fringe": None}) is None
    assert np.isnan(read_fringe({"fringe": [None, 0.03]})).tolist() == [True, False]


def test_a_black_map_grows_none(data, density):  # noqa: F811
    assert groom_of(data, 0 * density) is None


def test_in_blender_it_is_a_curves_object_under_the_head(folder, density):  # noqa: F811
    cv2.imwrite(str(folder / "hair.png"), (density * 255).astype(np.uint8))
    made = load_result(folder, bpy.context.scene, "Ada")
    hair = made.objects.hair
    assert hair.parent == made.objects.head and hair.type == "CURVES" and hair[mesh_io.HEAD_MARK] == "hair"
    assert hair.data.materials[0].name == "ID2R Hair" and len(hair.data.curves) > 5000
    assert len(hair.data.points) == POINTS * len(hair.data.curves)
    (folder / "hair.png").unlink()


@pytest.fixture
def high_haired(folder, scalp):  # noqa: F811
    """A result whose hair stands 6 cm off the scalp."""
    before = (folder / "report.json").read_text()
    cv2.imwrite(str(folder / "hair.png"), (np.stack([0 * scalp, 0.6 * scalp, scalp], -1) * 255).astype(np.uint8))
    (folder / "report.json").write_text(json.dumps(json.loads(before) | {"hair_metres": [0.1, 0.4]}))
    yield load_result(folder, bpy.context.scene, "Ada")
    (folder / "hair.png").unlink()
    (folder / "report.json").write_text(before)


def test_the_portrait_shows_the_hair_above_the_head(high_haired):
    made, scene = high_haired, bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = 64
    (low, *_), (*_, high) = (
        sorted(each[2] for each in obj.bound_box) for obj in (made.objects.head, made.objects.hair)
    )
    assert high > max(corner[2] for corner in made.objects.head.bound_box) + 0.04
    bpy.context.view_layer.update()
    bottom, top = (world_to_camera_view(scene, made.portrait, Vector((0.0, 0.06, z))).y for z in (low, high))
    assert 0.0 < bottom < 0.1 and 0.9 < top < 1.0


def test_the_curl_that_the_report_tells_of_is_grown(folder, density):  # noqa: F811
    before = (folder / "report.json").read_text()
    cv2.imwrite(str(folder / "hair.png"), (density * 255).astype(np.uint8))
    (folder / "report.json").write_text(json.dumps(json.loads(before) | {"hair_curl": 1.0}))
    curves = load_result(folder, bpy.context.scene, "Ada").objects.hair.data
    assert len(curves.points) == CURLY_POINTS * len(curves.curves)
    assert curves.attributes["resolution"].data[0].value == 1  # as fine as they are
    (folder / "hair.png").unlink()
    (folder / "report.json").write_text(before)


def test_a_head_whose_only_roots_are_on_the_throat_has_no_hair(folder, model):  # noqa: F811
    """What a thick beard leaves over."""
    atlas = make_atlas(model, SIDE)
    throat = (atlas.surface[1] < -0.075) & (atlas.surface[2] > 0.0) & atlas.mask
    cv2.imwrite(str(folder / "hair.png"), throat.numpy().astype(np.uint8) * 255)
    assert load_result(folder, bpy.context.scene, "Ada").objects.hair is None
    (folder / "hair.png").unlink()


def test_eevee_looks_up_no_map_along_strands(addon):
    """It read white there."""
    image = bpy.data.images.new("Map", 4, 4)
    tree = material.hair_material(image, (0.2, 0.1, 0.05)).node_tree
    outputs = {node.target: node for node in tree.nodes if node.type == "OUTPUT_MATERIAL"}
    assert set(outputs) == {"CYCLES", "EEVEE"}
    found = {target: kinds_behind(output) for target, output in outputs.items()}
    assert {"TEX_IMAGE", "ATTRIBUTE"} <= found["CYCLES"] and not {"TEX_IMAGE", "ATTRIBUTE"} & found["EEVEE"]
    assert all("RGB" in kinds for kinds in found.values())  # the artist's colour dyes both


def kinds_behind(node) -> set[str]:
    """The kinds of all nodes that a node depends on."""
    before = {link.from_node for socket in node.inputs for link in socket.links}
    return {each.type for each in before}.union(*map(kinds_behind, before))


def test_a_result_without_a_hair_map_is_bald(result_folder):
    assert load_result(result_folder, bpy.context.scene, "Ball").objects.hair is None


def test_a_head_with_hair_is_exported(folder, density, tmp_path):  # noqa: F811
    cv2.imwrite(str(folder / "hair.png"), (density * 255).astype(np.uint8))
    made = load_result(folder, bpy.context.scene, "Ada")
    export.export_model(made.objects.head, tmp_path / "ada.glb", "GLTF")
    assert (tmp_path / "ada.glb").stat().st_size > 1e5
    (folder / "hair.png").unlink()


@pytest.fixture
def bearded(folder, model, density):  # noqa: F811
    """A result with hair on one half of the scalp and a beard, 15 mm long."""
    beard = (make_atlas(model, SIDE).region("beard") > 0.5).numpy()
    hair = np.stack([np.zeros_like(density), 0.15 * beard, np.maximum(density, beard)], -1)  # blue, green, red
    cv2.imwrite(str(folder / "hair.png"), (hair * 255).astype(np.uint8))
    report = {"hair_metres": [0.1, 0.4], "hair_linear": [0.02, 0.01, 0.01], "beard_linear": [0.3, 0.3, 0.3]}
    (folder / "report.json").write_text(json.dumps(report))
    yield load_result(folder, bpy.context.scene, "Ada")
    (folder / "hair.png").unlink()
    (folder / "report.json").unlink()


def points_of(made) -> np.ndarray:
    """[P, 3] of a curves object as Blender shows it."""
    evaluated = made.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    points = np.empty(len(evaluated.points) * 3, np.float32)
    evaluated.attributes["position"].data.foreach_get("vector", points)
    return points.reshape(-1, 3)


def test_a_beard_grows_in_the_face_in_its_own_colour(bearded, data):  # noqa: F811
    beard, hair = bearded.objects.beard, bearded.objects.hair
    assert beard[mesh_io.HEAD_MARK] == "beard" and beard.data.materials[0].name.startswith("ID2R Beard")
    points = points_of(beard)
    assert len(beard.data.curves) > 1000 and points[:, 2].max() < 0.0 and points[:, 1].max() < 0.07
    assert 0.003 < np.quantile(off_the_head(data, points), 0.95) < 0.02
    assert points_of(hair)[:, 2].max() > 0.1


def test_a_beard_goes_with_the_jaw(bearded):
    head, beard = bearded.objects.head, bearded.objects.beard
    shut = points_of(beard)
    key = next(each for each in mesh_io.keys_of(head).key_blocks if each.name.lower().startswith("jawopen"))
    key.value = 1.0
    moved = np.linalg.norm(points_of(beard) - shut, axis=1)
    key.value = 0.0
    assert 0.005 < np.median(moved) < 0.05


def test_a_map_without_a_beard_has_none(folder, density):  # noqa: F811
    cv2.imwrite(str(folder / "hair.png"), (density * 255).astype(np.uint8))
    assert load_result(folder, bpy.context.scene, "Ada").objects.beard is None
    (folder / "hair.png").unlink()
