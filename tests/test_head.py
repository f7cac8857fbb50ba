"""The head: its tile, its morphs, where landmarks and regions lie, what it shades, and what a camera sees of it."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from synthetic_head import camera_at

from id2r_core.errors import Id2rError
from id2r_core.geometry.camera import capture_cameras
from id2r_core.geometry.mesh import triangulate
from id2r_core.geometry.rasterize import interpolate
from id2r_core.geometry.texture import atlas_fragments
from id2r_core.head.atlas import SKIN_PARTS, look, make_atlas
from id2r_core.head.build import _components, _cube_sphere, _eye_mover, _fit_sphere, _merge_triangles, fibonacci_sphere
from id2r_core.head.landmark_map import _snap
from id2r_core.head.model import OFF_TILE, PARTS, REGIONS, load_head
from id2r_core.head.tile import make_chart

pytestmark = pytest.mark.usefixtures("one_thread")

# MediaPipe numbers of the subject's right side and their mirror images; landmarks in the middle of the face.
MIRRORED = (
    (33, 263), (133, 362), (159, 386), (145, 374), (61, 291), (78, 308), (49, 279), (50, 280), (105, 334), (58, 288),
    (234, 454), (468, 473),
)  # fmt: skip
FOREHEAD, NOSE_TIP, UPPER_LIP, LOWER_LIP, CHIN = 151, 4, 0, 17, 199
RIGHT_MOUTH, LEFT_MOUTH, LEFT_UPPER_LID, LEFT_LOWER_LID = 61, 291, 386, 374


@pytest.fixture(scope="module")
def fine_neutral(model):
    return model.fine_neutral


@pytest.fixture(scope="module")
def neutral_landmarks(model):
    return model.neutral_landmarks


@pytest.fixture(scope="module")
def atlas(model):
    return make_atlas(model, 192)


def signed_areas(uv, faces):
    a, b, c = (uv[faces[:, corner]] for corner in range(3))
    return 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


def overlapping_texels(uv, faces, size: int) -> int:
    """Texels under two triangles that share no edge, found by rasterising first and last things first."""
    first = atlas_fragments(uv, faces, size).face[0]
    last = len(faces) - 1 - atlas_fragments(uv, faces.flip(0), size).face[0]
    twice = (first >= 0) & (first != last)
    corners, others = faces[first[twice]], faces[last[twice]]
    shared = (corners[:, :, None] == others[:, None, :]).any(2).sum(1)
    return int((shared < 2).sum())


# ---- the head tile ----


def tile_of_skin(model):
    return model.fine_uv, model.faces_uv[model.faces_of(*SKIN_PARTS)]


def test_no_triangle_of_the_tile_is_flipped(model):
    uv, faces = tile_of_skin(model)
    assert signed_areas(uv, faces).min() > 0


def test_the_tile_and_its_tongue_lie_inside_the_unit_square(model):
    uv = model.fine_uv[model.faces_uv[~model.faces_of(*OFF_TILE)]]
    assert uv.min() > 0.004 and uv.max() < 0.996


def test_no_two_triangles_of_the_tile_overlap(model):
    uv, faces = tile_of_skin(model)
    assert overlapping_texels(uv, faces, 512) == 0
    folded = uv.clone()
    folded[:, 0] = 0.5 + (folded[:, 0] - 0.5).abs()
    assert overlapping_texels(folded, faces, 512) > 1000


def test_the_tongue_has_texels_of_its_own(model):
    uv, faces = tile_of_skin(model)
    tongue = model.faces_uv[model.faces_of("tongue")]
    low, high = model.fine_uv[tongue.flatten()].amin(0), model.fine_uv[tongue.flatten()].amax(0)
    inside = ((uv[faces.flatten()] > low) & (uv[faces.flatten()] < high)).all(1)
    assert not inside.any()


def test_the_tile_is_upright(model):
    u, v = landmark_uv(model).T
    assert v[FOREHEAD] > v[NOSE_TIP] > v[UPPER_LIP] > v[LOWER_LIP] > v[CHIN]
    assert all(u[left] > u[right] + 0.05 for right, left in MIRRORED[:-1])
    assert abs(float(u[NOSE_TIP]) - 0.5) < 0.02


def landmark_uv(model):
    corners = model.fine_uv[model.faces_uv[model.landmark_faces]]
    return (corners * model.landmark_bary[..., None]).sum(1)


def test_mirrored_texels_show_mirrored_skin(atlas):
    """What stitching relies on when it fills a side from the other one."""
    here, there = atlas.surface, atlas.surface.flip(-1) * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
    both = atlas.mask & atlas.mask.flip(-1)
    apart = (here - there).norm(dim=0)[both]
    assert both.sum() > 0.98 * atlas.mask.sum()
    assert apart.quantile(0.99) < 0.001


def test_the_face_gets_more_texels_than_the_scalp(model, fine_neutral):
    corner = fine_neutral[model.faces]
    area = torch.linalg.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]).norm(dim=1) / 2
    density = (signed_areas(model.fine_uv, model.faces_uv) / area).sqrt()
    of = {name: density[model.regions[name][model.faces].amin(1) > 0.9].median() for name in ("nose", "lip", "scalp")}
    assert of["nose"] > 1.3 * of["scalp"] and of["lip"] > 1.3 * of["scalp"]


def open_ball(sectors: int = 24, rings: int = 10):
    """A head-sized ellipsoid without its bottom: vertices and triangles, counter-clockwise from outside."""
    polar = np.linspace(0, 0.78 * np.pi, rings + 1)[1:, None]
    turn = np.linspace(0, 2 * np.pi, sectors, endpoint=False)[None]
    ring = np.stack([np.sin(polar) * np.sin(turn), np.cos(polar) + 0 * turn, np.sin(polar) * np.cos(turn)], -1)
    vertices = np.concatenate([[[0.0, 1.0, 0.0]], ring.reshape(-1, 3)]) * [0.07, 0.1, 0.09]
    at = lambda i, j: 1 + i * sectors + j % sectors
    faces = [(0, at(0, j), at(0, j + 1)) for j in range(sectors)]
    for i in range(rings - 1):
        for j in range(sectors):
            faces += [(at(i, j), at(i + 1, j), at(i + 1, j + 1)), (at(i, j), at(i + 1, j + 1), at(i, j + 1))]
    return vertices, np.array(faces)


def test_a_chart_of_a_ball_is_whole_upright_and_as_dense_as_asked():
    vertices, faces = open_ball()
    centre = vertices[faces].mean(1)
    in_front = centre[:, 2] > 0.05
    chart = make_chart(vertices, faces, np.where(in_front, 2.0, 1.0))
    uv, faces_uv = torch.from_numpy(chart.uv), torch.from_numpy(chart.faces_uv)
    assert (signed_areas(uv, faces_uv) > 0).all() and 0 <= chart.uv.min() and chart.uv.max() <= 1
    assert overlapping_texels(uv, faces_uv, 256) == 0
    # The cut runs down the back: uv corners there are doubled, those of the front are not.
    source = np.zeros(len(chart.uv), int)
    source[chart.faces_uv] = faces
    doubled = np.flatnonzero(np.bincount(source) > 1)
    assert len(doubled) == 10 and (vertices[doubled, 2] < 0.001).all() and np.abs(vertices[doubled, 0]).max() < 1e-6
    front = source[vertices[source, 2] > 0.06]
    front_uv = chart.uv[vertices[source, 2] > 0.06]
    assert np.corrcoef(vertices[front, 0], front_uv[:, 0])[0, 1] > 0.95
    assert np.corrcoef(vertices[front, 1], front_uv[:, 1])[0, 1] > 0.95
    corner = vertices[faces]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1) / 2
    density = np.sqrt(signed_areas(uv, faces_uv).numpy() / area)
    assert 1.4 < np.median(density[in_front]) / np.median(density[~in_front]) < 2.8


# ---- the linear model ----


def test_coefficients_of_zero_give_the_neutral_head(model):
    zero = model.shape(torch.zeros(2, len(model.identity)), torch.zeros(2, len(model.expression)))
    assert zero.shape == (2, *model.neutral.shape) and torch.equal(zero[1], model.neutral)


def test_the_shape_is_linear_in_the_coefficients(model):
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, 1, len(model.identity), generator=generator)
    c, d = torch.rand(2, 1, len(model.expression), generator=generator)
    none = model.shape(a * 0, c * 0)
    mixed = model.shape(0.25 * a + 0.75 * b, 0.25 * c + 0.75 * d) - none
    parts = 0.25 * (model.shape(a, c) - none) + 0.75 * (model.shape(b, d) - none)
    assert torch.allclose(mixed, parts, atol=2e-5)


def test_every_name_moves_its_own_direction(model):
    assert len(set(model.identity_names)) == len(model.identity)
    assert len(set(model.expression_names)) == len(model.expression) == 52
    assert model.identity.flatten(1).abs().amax(1).min() > 1e-4


def test_the_origin_stays_midway_between_the_eyes(model):
    assert model.eyes(model.neutral)[0].mean(0).abs().max() < 1e-5
    for offsets in model.identity[::40]:
        centres, radii = model.eyes(model.neutral + offsets)
        assert centres.mean(0).abs().max() < 2e-4
        assert centres[0, 0] > 0.02 > -0.02 > centres[1, 0]
        assert (radii > 0.01).all()


def test_eyeballs_are_round_and_look_straight_ahead(model):
    for eye, centre, radius in zip(model.eye_vertices, *model.eyes(model.neutral), strict=True):
        assert (model.neutral[eye] - centre).norm(dim=1).sub(radius).abs().max() < 1e-4
    for part in ("eyeball_left", "eyeball_right"):
        quads = model.part == PARTS.index(part)
        vertex, uv = model.quads[quads].flatten(), model.uv[model.quads_uv[quads].flatten()]
        pupil = model.neutral[vertex[(uv - 0.5).norm(dim=1).argmin()]]
        assert pupil[2] == model.neutral[vertex, 2].max()


def test_fine_vertices_are_weighted_means_of_coarse_ones(model, fine_neutral):
    sums = torch.sparse.sum(model.subdivision, 1).to_dense()
    assert torch.allclose(sums, torch.ones_like(sums), atol=1e-5)
    shift = torch.tensor([0.1, -0.2, 0.3])
    moved = model.subdivide(torch.stack([model.neutral, model.neutral + shift]))
    assert torch.allclose(moved[0], fine_neutral) and torch.allclose(moved[1], fine_neutral + shift, atol=1e-5)


def test_layouts_run_parallel_to_the_faces(model):
    assert len(model.faces) == len(model.faces_uv) == len(model.faces_uv_makehuman) == 8 * len(model.quads)
    assert torch.equal(model.face_part, model.part.repeat_interleave(8))
    assert model.faces.max() + 1 == len(model.visibility) == model.region_masks.shape[1]


def test_the_skin_faces_outwards(model, fine_neutral):
    centre = torch.tensor([0.0, 0.0, -0.07])
    outside = model.regions["face"] + model.regions["scalp"] > 0.5
    away = ((fine_neutral - centre) * model.neutral_normals).sum(1)[outside]
    assert (away > 0).float().mean() > 0.9


def landmarks_with(model, **expression):
    weights = torch.zeros(1, len(model.expression))
    for name, value in expression.items():
        weights[0, model.expression_names.index(name)] = value
    return model.landmarks(model.subdivide(model.shape(torch.zeros(1, len(model.identity)), weights)))[0]


def test_expressions_do_what_their_names_say(model, neutral_landmarks):
    smile = landmarks_with(model, mouthSmileLeft=1.0) - neutral_landmarks
    assert smile[LEFT_MOUTH, 1] > 0.004 and smile[LEFT_MOUTH, 0] > 0.002
    assert smile[RIGHT_MOUTH].norm() < 0.3 * smile[LEFT_MOUTH].norm()
    jaw = landmarks_with(model, jawOpen=1.0) - neutral_landmarks
    assert jaw[CHIN, 1] < -0.008 and jaw[FOREHEAD].norm() < 1e-3
    lids = landmarks_with(model, eyeBlinkLeft=1.0)
    open_gap = (neutral_landmarks[LEFT_UPPER_LID] - neutral_landmarks[LEFT_LOWER_LID]).norm()
    assert (lids[LEFT_UPPER_LID] - lids[LEFT_LOWER_LID]).norm() < 0.4 * open_gap
    gaze = landmarks_with(model, eyeLookUpLeft=1.0, eyeLookUpRight=1.0) - neutral_landmarks
    assert (gaze[[468, 473], 1] > 0.002).all() and gaze[NOSE_TIP].norm() < 1e-3


def test_a_head_that_was_not_built_is_an_error_with_advice(tmp_path):
    with pytest.raises(Id2rError) as caught:
        load_head(tmp_path / "head.npz")
    assert "head.npz" in caught.value.message and "id2r_core.head.build" in caught.value.hint


def test_a_model_moves_to_a_device_as_a_whole(model):
    moved = model.to("meta")
    tensors = {field.name for field in fields(model) if isinstance(getattr(model, field.name), torch.Tensor)}
    assert {"neutral", "subdivision", "visibility", "landmark_bary"} < tensors
    assert {name for name in vars(moved) if getattr(getattr(moved, name), "is_meta", False)} == tensors
    assert moved.identity_names == model.identity_names and model.neutral.device.type == "cpu"


# ---- landmarks and regions ----


def test_landmarks_lie_on_the_surface_that_they_mean(model):
    bary = model.landmark_bary
    assert bary.shape == (478, 3) and bary.min() >= 0 and torch.allclose(bary.sum(1), torch.ones(478), atol=1e-5)
    part = [PARTS[index] for index in model.face_part[model.landmark_faces].tolist()]
    assert set(part[:468]) == {"skin"}
    assert set(part[468:473]) == {"eyeball_right"} and set(part[473:]) == {"eyeball_left"}


def test_landmarks_of_both_sides_are_mirror_images(neutral_landmarks):
    right, left = (neutral_landmarks[list(side)] for side in zip(*MIRRORED, strict=True))
    assert (left[:, 0] > 0.01).all()
    assert (right - left * torch.tensor([-1.0, 1.0, 1.0])).norm(dim=1).max() < 0.004


def test_landmarks_are_where_a_face_has_them(neutral_landmarks):
    height = neutral_landmarks[:, 1]
    assert height[FOREHEAD] > height[NOSE_TIP] > height[UPPER_LIP] > height[LOWER_LIP] > height[CHIN]
    assert neutral_landmarks[:468, 2].argmax() in (1, 4)
    assert neutral_landmarks[:, 2].min() > -0.12


def test_the_outline_s_landmarks_lie_before_the_ears_and_along_the_jaw(neutral_landmarks):
    """Ear to jaw angle: far behind the eyes, and never on nose or cheek, which hide them from the other side."""
    for left, right in ((454, 234), (323, 93), (361, 132), (288, 58)):
        assert neutral_landmarks[left, 2] < -0.035 and neutral_landmarks[left, 0] > 0.05
        assert (neutral_landmarks[left] - neutral_landmarks[right] * torch.tensor([-1.0, 1.0, 1.0])).norm() < 0.001


def test_how_people_vary_is_known(model):
    """The mean lies within the range of the coefficients; an average person is likelier than one of extremes."""
    assert model.identity_mean.min() > -1e-6 and model.identity_mean.max() < 1
    eigenvalues = torch.linalg.eigvalsh(model.identity_precision.double())
    assert eigenvalues.min() > 0
    extreme = model.identity_mean.clone()
    extreme[model.identity_names.index("nose-scale-horiz-incr")] = 1.0
    off = extreme - model.identity_mean
    assert off @ model.identity_precision @ off > 4


def test_regions_lie_where_their_names_say(model, fine_neutral):
    place = {"nose": 4, "lip": 16, "forehead": 151, "cheek": 280, "chin": 199, "brow": 105, "eyelid": 159, "beard": 200}
    weights = model.landmark_bary
    for name, number in place.items():
        mask = (model.regions[name][model.faces[model.landmark_faces]] * weights).sum(1)
        assert mask[number] > 0.38, name
        # Far away, at the nape, nothing of the face is left.
        assert model.regions[name][fine_neutral[:, 2] < -0.12].max() < 0.01, name
    height = lambda name: (model.regions[name] @ fine_neutral[:, 1]) / model.regions[name].sum()
    assert height("forehead") > height("eyelid") > height("nose") > height("lip") > height("neck")
    assert model.regions["scalp"][fine_neutral[:, 1].argmax()] > 0.99
    assert model.regions["ear"][fine_neutral[:, 0].abs().topk(20).indices].min() > 0.9
    assert set(model.regions) == set(REGIONS)


def test_regions_are_soft_masks_that_share_the_skin(model):
    masks = model.region_masks
    assert masks.min() >= 0 and masks.max() <= 1
    regions = model.regions
    together = torch.stack([regions[name] for name in ("face", "ear", "neck", "scalp")]).sum(0)
    assert together[regions["skin"] > 0.5].quantile(0.02) > 0.9
    assert (regions["lip"] * regions["beard"]).max() < 0.3
    eyes = torch.unique(model.faces[model.faces_of("eyeball_left", "eyeball_right")])
    assert masks[:, eyes].max() == 0


def test_regions_are_as_large_on_the_left_as_on_the_right(model, fine_neutral):
    for name, mask in model.regions.items():
        left, right = mask[fine_neutral[:, 0] > 0].sum(), mask[fine_neutral[:, 0] < 0].sum()
        assert 0.8 < left / right < 1.25, name


# ---- what the head shades and what a camera sees ----


def hits_before(origin, direction, corners, least: float, most: float) -> bool:
    """Does a ray meet a triangle [F, 3, 3] between two distances? (Moeller and Trumbore, one ray, all triangles)"""
    edge_1, edge_2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    across = np.cross(direction, edge_2)
    scale = (edge_1 * across).sum(1)
    scale = np.where(np.abs(scale) < 1e-14, 1e-14, scale)
    offset = origin - corners[:, 0]
    u, around = (offset * across).sum(1) / scale, np.cross(offset, edge_1)
    v, distance = (around @ direction) / scale, (edge_2 * around).sum(1) / scale
    return bool(((u >= 0) & (v >= 0) & (u + v <= 1) & (distance > least) & (distance < most)).any())


def test_baked_visibility_agrees_with_rays(model, fine_neutral):
    corners = fine_neutral[model.faces].numpy().astype(np.float64)
    facing = (model.neutral_normals @ model.light_directions.T > 0.15) & (
        model.regions["face"] + model.regions["neck"] > 0.5
    )[:, None]
    pairs = facing.nonzero()
    agree = {True: [], False: []}
    for vertex, light in pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(3))[:80]].tolist():
        start, direction = fine_neutral[vertex].numpy(), model.light_directions[light].numpy()
        shaded = hits_before(start.astype(np.float64), direction.astype(np.float64), corners, 0.004, 1.0)
        agree[shaded].append(bool(model.visibility[vertex, light]) != shaded)
    assert np.mean(agree[False]) > 0.9
    assert len(agree[True]) >= 8 and np.mean(agree[True]) > 0.75


def test_texels_are_visible_where_a_ray_reaches_the_camera(model, atlas, fine_neutral):
    camera = camera_at(35.0)
    seen = look(atlas, fine_neutral, camera)
    corners = fine_neutral[model.faces].numpy().astype(np.float64)
    position = atlas.bake(fine_neutral)
    towards = atlas.mask & (seen.cosine > 0.15)
    some = lambda mask: mask.nonzero()[:: max(1, int(mask.sum()) // 40)].tolist()
    agree = {True: [], False: []}
    for y, x in some(towards & seen.visible) + some(towards & ~seen.visible):
        start = position[:, y, x].numpy().astype(np.float64)
        way = camera.centre()[0].numpy() - start
        hidden = hits_before(start, way / np.linalg.norm(way), corners, 0.006, np.linalg.norm(way))
        agree[hidden].append(bool(seen.visible[y, x]) != hidden)
    assert len(agree[False]) >= 35 and np.mean(agree[False]) > 0.9
    assert len(agree[True]) >= 30 and np.mean(agree[True]) > 0.95


def test_the_side_that_is_turned_away_is_not_visible(atlas, fine_neutral):
    """The second capture camera looks from the subject's left."""
    from_left = look(atlas, fine_neutral, capture_cameras(128)[1])
    left, right = atlas.surface[0] > 0.02, atlas.surface[0] < -0.02
    cheek, ear = atlas.region("cheek") > 0.5, atlas.region("ear") > 0.9
    assert from_left.visible[cheek & left].float().mean() > 0.95
    assert from_left.visible[ear & left].float().mean() > 0.3
    assert from_left.visible[ear & right].float().mean() < 0.01
    assert not from_left.visible[~atlas.mask].any()


def test_a_texel_looks_up_its_own_pixel(atlas, fine_neutral):
    camera = camera_at(-20.0, size=128)
    seen = look(atlas, fine_neutral, camera)
    x = (torch.arange(128) + 0.5).expand(128, -1)
    sampled = seen.sample(torch.stack([x, x.T])).permute(1, 2, 0)
    assert torch.allclose(sampled[seen.visible], seen.pixel[seen.visible], atol=0.06)
    projected = camera.project(atlas.bake(fine_neutral).flatten(1).T)[0, :, :2].unflatten(0, (192, 192))
    assert torch.allclose(projected[seen.visible], seen.pixel[seen.visible], atol=1e-3)


def test_an_atlas_bakes_the_surface_it_shows(model, atlas, fine_neutral):
    """Each texel's surface point, carried to uv by the tile, is the texel itself."""
    uv = interpolate(model.fine_uv, model.faces_uv[model.faces_of(*SKIN_PARTS)], atlas.fragments)[0]
    centre = (torch.arange(192) + 0.5) / 192
    assert torch.allclose(uv[0][atlas.mask], centre.expand(192, -1)[atlas.mask], atol=1e-4)
    assert torch.allclose(uv[1][atlas.mask], centre.flip(0)[:, None].expand(-1, 192)[atlas.mask], atol=1e-4)
    assert not atlas.surface[:, ~atlas.mask].any()


# ---- pieces of the build ----


def test_quads_come_back_from_their_triangles():
    quads = np.array([[0, 1, 2, 3], [4, 5, 6, 7], [1, 8, 9, 2]])
    found = _merge_triangles(triangulate(quads))
    cyclic = lambda quad: {tuple(np.roll(quad, i)) for i in range(4)}
    assert all(tuple(a) in cyclic(b) for a, b in zip(found, quads, strict=True))


def test_pieces_of_a_mesh_are_told_apart():
    labels = _components(np.array([[0, 1, 2, 3], [3, 2, 4, 5], [6, 7, 8, 9]]), 10)
    assert labels[0] == labels[1] != labels[2]


def test_the_eyeball_is_a_closed_sphere_facing_outwards():
    points, quads = _cube_sphere(4)
    assert np.allclose(np.linalg.norm(points, axis=1), 1)
    edges = {tuple(sorted((quad[i], quad[(i + 1) % 4]))) for quad in quads.tolist() for i in range(4)}
    assert len(points) - len(edges) + len(quads) == 2
    corner = points[quads]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    assert ((normal * corner.mean(1)).sum(1) > 0).all()


def test_a_sphere_is_found_in_part_of_its_surface(random_generator):
    points = random_generator.normal(size=(60, 3))
    points[:, 2] = np.abs(points[:, 2])
    points = [1.0, -2.0, 0.5] + 0.3 * points / np.linalg.norm(points, axis=1, keepdims=True)
    centre, radius = _fit_sphere(points)
    assert np.allclose(centre, [1.0, -2.0, 0.5]) and np.isclose(radius, 0.3)


def test_round_eyeballs_follow_the_morphs_of_the_ones_they_replace(random_generator):
    points = random_generator.normal(size=(30, 3))
    left, right = np.arange(15), np.arange(15, 30)
    eyes = [random_generator.normal(size=(5, 3)) for _ in range(2)]
    turn = random_generator.normal(size=(3, 3))
    delta = points @ turn + [0.1, 0.2, 0.3]
    delta[right] = [0.0, 1.0, 0.0]
    of_left, of_right = _eye_mover(points, left, right, eyes)(delta)
    assert np.allclose(of_left, eyes[0] @ turn + [0.1, 0.2, 0.3]) and np.allclose(of_right, [0.0, 1.0, 0.0])


def test_light_directions_are_even(model):
    directions = fibonacci_sphere(192)
    assert np.allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-6)
    assert np.abs(directions.mean(0)).max() < 0.01
    assert np.allclose(directions.T @ directions / 192, np.eye(3) / 3, atol=0.01)
    assert np.allclose(model.light_directions, directions)


def test_places_snap_to_the_kind_of_surface_that_their_landmark_means(model, fine_neutral, neutral_landmarks):
    arrays = (fine_neutral.numpy(), model.faces.numpy(), model.face_part.numpy())
    near = neutral_landmarks.numpy() + [0.0, 0.0, 0.003]
    snapped = _snap(near, *arrays)
    parts = model.face_part[torch.from_numpy(snapped["landmark_faces"])]
    assert (parts[:468] == PARTS.index("skin")).all() and (parts[468:] >= PARTS.index("eyeball_left")).all()
    corners = fine_neutral.numpy()[arrays[1][snapped["landmark_faces"]]]
    moved = np.linalg.norm((corners * snapped["landmark_bary"][..., None]).sum(1) - near, axis=1)
    assert moved.max() < 0.0055
