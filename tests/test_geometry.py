"""Cameras, rasteriser, meshes and textures against slow oracles, values and gradients."""

import math

import numpy as np
import pytest
import torch
from oracles import catmull_clark_naively, distance_to_triangle, rasterize_naively, ray_triangle
from scipy.spatial.transform import Rotation

from id2r_core.geometry import rasterize as rasterize_module
from id2r_core.geometry.camera import (
    MEAN_FIVE_POINTS,
    Camera,
    arcface_points,
    capture_cameras,
    fit_similarity,
    look_at_head,
)
from id2r_core.geometry.mesh import (
    closest_on_triangles,
    face_normals,
    similarity,
    tangent_frames,
    triangulate,
    vertex_normals,
)
from id2r_core.geometry.rasterize import interpolate, rasterize
from id2r_core.geometry.subdivide import catmull_clark, linear_subdivision
from id2r_core.geometry.texture import atlas_fragments, fill_holes, sample_texture


def random_scene(seed: int, batch: int = 2, face_count: int = 14, size: int = 12):
    """Overlapping triangles of all sizes, some partly outside the image: points and faces."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(batch, face_count, 1, 2, generator=generator, dtype=torch.float64) * size
    spread = torch.rand(1, face_count, 1, 1, generator=generator, dtype=torch.float64) ** 2 * size
    corner = centre + torch.randn(batch, face_count, 3, 2, generator=generator, dtype=torch.float64) * spread
    depth = 0.5 + torch.rand(batch, face_count, 3, 1, generator=generator, dtype=torch.float64)
    points = torch.cat([corner, depth], dim=-1).reshape(batch, -1, 3)
    return points, torch.arange(3 * face_count).reshape(-1, 3)


@pytest.mark.parametrize("seed", range(4))
def test_rasterize_equals_oracle(seed):
    points, faces = random_scene(seed)
    fragments = rasterize(points, faces, 11, 12)
    for image in range(len(points)):
        face, bary, depth = rasterize_naively(points[image].numpy(), faces.numpy(), 11, 12)
        assert (face >= 0).mean() > 0.2
        np.testing.assert_array_equal(fragments.face[image], face)
        np.testing.assert_allclose(fragments.bary[image], bary, atol=1e-9)
        np.testing.assert_allclose(fragments.depth[image], depth, atol=1e-9)


def test_gradients_equal_oracle():
    points, faces = random_scene(7)
    attributes = torch.randn(points.shape[1], 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    inputs = [points.clone().requires_grad_(), attributes.clone().requires_grad_()]
    fragments = rasterize(inputs[0], faces, 11, 12)
    image = interpolate(inputs[1], faces, fragments)
    weights = torch.randn(image.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    depth = torch.where(fragments.mask[:, 0], fragments.depth, 0.0)
    ((image * weights).sum() + (depth * weights[:, 0]).sum()).backward()

    slow = [points.clone().requires_grad_(), attributes.clone().requires_grad_()]
    total = 0.0
    for index, y, x in (fragments.face >= 0).nonzero().tolist():
        corner = faces[fragments.face[index, y, x]]
        bary, along = ray_triangle(slow[0][index, corner], torch.tensor([x + 0.5, y + 0.5], dtype=torch.float64))
        total = total + (bary @ slow[1][corner] * weights[index, :, y, x]).sum() + along * weights[index, 0, y, x]
    total.backward()
    for fast_input, slow_input in zip(inputs, slow, strict=True):
        assert fast_input.grad.abs().max() > 0
        torch.testing.assert_close(fast_input.grad, slow_input.grad, rtol=1e-7, atol=1e-7)


def test_interpolate_gradient_equals_finite_differences():
    points, faces = random_scene(3, batch=1, face_count=5)
    attributes = torch.randn(1, points.shape[1], 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def pixels(corner_points):
        return interpolate(attributes, faces, rasterize(corner_points, faces, 9, 9))

    where = rasterize(points, faces, 9, 9).face
    direction = torch.randn(points.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    step = 1e-7 * direction
    assert torch.equal(where, rasterize(points + step, faces, 9, 9).face)
    measured = (pixels(points + step) - pixels(points - step)) / 2e-7
    _, expected = torch.autograd.functional.jvp(pixels, points, direction)
    assert expected.abs().max() > 0
    torch.testing.assert_close(measured, expected, rtol=1e-5, atol=1e-5)


def test_chunks_change_nothing(monkeypatch):
    points, faces = random_scene(5)
    whole = rasterize(points, faces, 12, 12)
    monkeypatch.setattr(rasterize_module, "CANDIDATES_ON_CPU", 7)
    chunked = rasterize(points, faces, 12, 12)
    assert torch.equal(whole.face, chunked.face) and torch.equal(whole.depth, chunked.depth)


def test_a_jittered_sheet_has_no_cracks():
    generator = torch.Generator().manual_seed(0)
    side = 41
    grid = torch.stack(torch.meshgrid(torch.linspace(-1, 65, side), torch.linspace(-1, 65, side), indexing="xy"), -1)
    grid[1:-1, 1:-1] += torch.randn(side - 2, side - 2, 2, generator=generator) * 0.35
    points = torch.cat([grid, torch.ones(side, side, 1)], dim=-1).reshape(1, -1, 3)
    cell = (torch.arange(side - 1)[:, None] * side + torch.arange(side - 1)).reshape(-1, 1)
    faces = triangulate(cell + torch.tensor([0, 1, side + 1, side]))
    assert bool(rasterize(points, faces, 64, 64).mask.all())


def test_rasterize_leaves_out_what_reaches_behind_the_camera():
    points = torch.tensor([[[0.0, 0.0, 1.0], [20.0, 0.0, 1.0], [0.0, 20.0, -1.0]]])
    assert not rasterize(points, torch.tensor([[0, 1, 2]]), 8, 8).mask.any()


def test_a_triangle_without_area_is_not_seen_and_gives_no_nan():
    points = torch.tensor([[[0.0, 0.5, 1.0], [4.0, 0.5, 1.0], [8.0, 0.5, 1.0]]], requires_grad=True)
    fragments = rasterize(points, torch.tensor([[0, 1, 2]]), 8, 8)
    assert not fragments.mask.any()
    fragments.bary.sum().backward()
    assert bool(points.grad.isfinite().all())


def test_interpolate_takes_each_image_of_the_batch_from_its_own_attributes():
    points, faces = random_scene(2, batch=2)
    value = torch.tensor([1.0, 2.0], dtype=torch.float64)[:, None, None].expand(2, points.shape[1], 1)
    fragments = rasterize(points, faces, 8, 8)
    image = interpolate(value, faces, fragments)
    torch.testing.assert_close(image[:, 0], fragments.mask[:, 0] * torch.tensor([1.0, 2.0]).double()[:, None, None])


def some_cameras() -> Camera:
    yaw = torch.tensor([0.3, -0.8, 0.0])
    focal = torch.tensor([700.0, 900.0, 500.0])
    principal = torch.tensor([[60.0, 70.0], [50.0, 40.0], [64.0, 64.0]])
    return Camera(look_at_head(yaw, 0.9, torch.tensor([0.0, 0.02, -0.07])), focal, principal, 128, 128)


def test_camera_frames_and_pixels():
    view_from_world = look_at_head(torch.zeros(1), 2.0, torch.zeros(3))
    camera = Camera(view_from_world, torch.tensor([100.0]), torch.tensor([[64.0, 32.0]]), 64, 128)
    # One metre to the subject's left and half a metre up, seen from the front two metres away.
    torch.testing.assert_close(camera.project(torch.tensor([[1.0, 0.5, 0.0]]))[0, 0], torch.tensor([114.0, 7.0, 2.0]))
    torch.testing.assert_close(camera.centre()[0], torch.tensor([0.0, 0.0, 2.0]))
    from_the_left = look_at_head(torch.tensor([math.pi / 2]), 2.0, torch.zeros(3))
    centre = Camera(from_the_left, camera.focal, camera.principal, 64, 128).centre()[0]
    torch.testing.assert_close(centre, torch.tensor([2.0, 0.0, 0.0]), atol=1e-6, rtol=0)


def test_warped_and_resized_cameras_see_the_warped_image():
    cameras = some_cameras()
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    angle, scale = 0.4, 1.7
    linear = scale * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    similarity = torch.cat([linear, torch.tensor([[3.0], [-8.0]])], dim=1)
    before, after = cameras.project(points), cameras.warped(similarity, 200, 150).project(points)
    torch.testing.assert_close(after[..., :2], before[..., :2] @ linear.T + similarity[:, 2], rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(after[..., 2], before[..., 2])
    torch.testing.assert_close(cameras.resized(64, 64).project(points)[..., :2], before[..., :2] / 2)
    with pytest.raises(ValueError, match="square pixels"):
        cameras.resized(64, 128)


def test_camera_batch_can_be_indexed():
    cameras = some_cameras()
    assert len(cameras[1]) == 1 and len(cameras[-2:]) == 2
    assert torch.equal(cameras[-1].focal, cameras.focal[2:])


def test_fit_similarity_equals_skimage():
    from skimage.transform import SimilarityTransform

    generator = np.random.default_rng(0)
    source, target = generator.normal(size=(2, 5, 2)) * 30
    transform = SimilarityTransform.from_estimate(source, target)
    fitted = fit_similarity(torch.tensor(target)[None], torch.tensor(source)[None])[0]
    np.testing.assert_allclose(fitted, transform.params[:2], atol=1e-9)


def test_capture_cameras_are_aligned_as_photos_are():
    cameras = capture_cameras(512)
    five = cameras.project(torch.tensor(MEAN_FIVE_POINTS))[..., :2]
    template = arcface_points(512)
    assert (template[0] - torch.tensor([185.1784, 206.7852])).abs().max() < 1e-3
    error = (five[0] - template).norm(dim=-1)
    assert error.max() < 20 and error.mean() < 12
    # The best similarity leaves nothing more to align.
    again = fit_similarity(template[None], five[:1])[0]
    torch.testing.assert_close(again, torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), atol=1e-2, rtol=0)
    assert cameras.centre()[1, 0] > 0.5 and cameras.centre()[2, 0] < -0.5
    torch.testing.assert_close(cameras.resized(128, 128).focal, capture_cameras(128).focal)


def test_the_nearest_point_of_a_triangle_equals_the_oracle(random_generator):
    corners = random_generator.normal(size=(12, 3, 3))
    corners[0, 2], corners[1, 1:] = corners[0, :2].mean(0), corners[1, 0]  # a line and a point
    points = random_generator.normal(size=(12, 3)) * 2
    weights = closest_on_triangles(torch.from_numpy(points), torch.from_numpy(corners)).numpy()
    assert (weights >= 0).all() and weights.sum(1) == pytest.approx(1, abs=1e-9)
    found = np.linalg.norm((corners * weights[..., None]).sum(1) - points, axis=1)
    expected = [distance_to_triangle(point, triangle) for point, triangle in zip(points, corners, strict=True)]
    assert found == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("with_scale", [True, False])
def test_similarity_is_recovered(random_generator, with_scale):
    source = random_generator.normal(size=(20, 3))
    turn = Rotation.from_euler("xyz", (12, -25, 7), degrees=True).as_matrix()
    scale = 1.7 if with_scale else 1.0
    found = similarity(scale * source @ turn.T + (1, 2, 3), source, with_scale)
    assert found[0] == pytest.approx(scale)
    assert found[1] == pytest.approx(turn, abs=1e-9) and found[2] == pytest.approx((1, 2, 3))


def test_similarity_never_mirrors(random_generator):
    source = random_generator.normal(size=(20, 3))
    assert np.linalg.det(similarity(source * (-1, 1, 1), source)[1]) == pytest.approx(1.0)


def open_box(seed: int = 0):
    """A jittered cube without its lid, and one more quad that meets it in a single vertex."""
    vertices = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    vertices = np.concatenate([vertices, [[2, 2, 2], [2, 3, 2], [3, 2, 2]]])
    vertices += np.random.default_rng(seed).normal(size=vertices.shape) * 0.1
    quads = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [7, 8, 9, 10]])
    return vertices, quads


def test_catmull_clark_equals_oracle():
    vertices, quads = open_box()
    matrix, fine = catmull_clark(quads, len(vertices))
    points = matrix @ vertices
    expected = catmull_clark_naively(vertices, quads)
    for vertex in range(len(vertices)):
        np.testing.assert_allclose(points[vertex], expected["vertex", vertex], atol=1e-12)
    for q, quad in enumerate(quads):
        for c in range(4):
            here, after, centre, before = fine[4 * q + c]
            assert here == quad[c]
            np.testing.assert_allclose(points[centre], expected["face", q], atol=1e-12)
            for edge_vertex, neighbour in ((after, quad[(c + 1) % 4]), (before, quad[c - 1])):
                key = ("edge", min(quad[c], neighbour), max(quad[c], neighbour))
                np.testing.assert_allclose(points[edge_vertex], expected[key], atol=1e-12)


def test_linear_subdivision_keeps_corners_and_order():
    vertices, quads = open_box()
    smooth, fine = catmull_clark(quads, len(vertices))
    linear, fine_linear = linear_subdivision(quads, len(vertices))
    np.testing.assert_array_equal(fine, fine_linear)
    points = linear @ vertices
    np.testing.assert_allclose(points[: len(vertices)], vertices)
    np.testing.assert_allclose(points[fine[0][1]], vertices[quads[0][:2]].mean(0))
    assert smooth.shape == linear.shape


def sphere(size: int = 24):
    """A latitude-longitude sphere: vertices [1, N, 3], faces, uv, faces_uv with u along the longitude and v up."""
    u, v = torch.meshgrid(torch.linspace(0, 1, size + 1), torch.linspace(0.1, 0.9, size + 1), indexing="xy")
    longitude, latitude = u * 2 * math.pi, (v - 0.5) * math.pi
    xyz = [longitude.sin() * latitude.cos(), latitude.sin(), longitude.cos() * latitude.cos()]
    vertices = torch.stack(xyz, dim=-1).reshape(1, -1, 3)
    cell = (torch.arange(size)[:, None] * (size + 1) + torch.arange(size)).reshape(-1, 1)
    faces = triangulate(cell + torch.tensor([0, 1, size + 2, size + 1]))
    return vertices, faces, torch.stack([u, v], dim=-1).reshape(-1, 2), faces


def test_normals_of_a_sphere_point_outwards():
    vertices, faces, _, _ = sphere()
    inner = vertices[0, :, 1].abs() < 0.8
    normals = vertex_normals(vertices, faces)
    assert ((normals * vertices).sum(-1)[0, inner] > 0.98).all()
    assert (face_normals(vertices, faces) * vertices[:, faces].mean(2)).sum(-1).min() > 0


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_tangent_frames_of_a_sphere(is_mirrored):
    vertices, faces, uv, faces_uv = sphere()
    if is_mirrored:
        uv = uv * torch.tensor([-1.0, 1.0])
    frames = tangent_frames(vertices, faces, uv, faces_uv)[0]
    normals = vertex_normals(vertices, faces)[0]
    tangent, sign = frames[:, :3], frames[:, 3:]
    bitangent = sign * torch.linalg.cross(normals, tangent)
    east = torch.stack([vertices[0, :, 2], torch.zeros(len(uv)), -vertices[0, :, 0]], dim=1)
    east = torch.nn.functional.normalize(east, dim=1)
    away_from_seam = ((uv[:, 0].abs() - 0.5).abs() < 0.45) & ((uv[:, 1] - 0.5).abs() < 0.35)
    assert ((tangent * east).sum(1)[away_from_seam] * (-1 if is_mirrored else 1) > 0.99).all()
    assert (bitangent[:, 1][away_from_seam] > 0).all()
    assert (tangent * normals).sum(1).abs().max() < 1e-4


def test_sample_texture_knows_up_from_down():
    texture = torch.arange(16.0).reshape(1, 1, 4, 4)
    uv = torch.tensor([[[[0.125, 0.875], [0.375, 0.125], [0.25, 0.875], [0.0, 0.0]]]])
    torch.testing.assert_close(sample_texture(texture, uv)[0, 0, 0], torch.tensor([0.0, 13.0, 0.5, 12.0]))


def square_layout():
    uv = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]])
    return uv, torch.tensor([[0, 1, 2], [0, 2, 3]])


def test_atlas_fragments_show_the_layout():
    uv, faces = square_layout()
    fragments = atlas_fragments(uv, faces, 8)
    assert bool(fragments.mask[0, 0, :, :4].all()) and not fragments.mask[0, 0, :, 4:].any()
    place = interpolate(uv, faces, fragments)[0, :, 0, 0]
    torch.testing.assert_close(place, torch.tensor([1 / 16, 15 / 16]))


def test_fill_holes_keeps_what_is_known_and_is_smooth():
    truth = torch.linspace(0, 1, 37)[None, None, None].expand(1, 2, 29, 37).contiguous()
    mask = torch.ones(1, 1, 29, 37)
    mask[..., 8:20, 10:25] = 0
    filled = fill_holes(truth * mask, mask)
    assert torch.equal(filled * mask, truth * mask)
    assert (filled - truth).abs().max() < 0.2
    assert torch.equal(fill_holes(truth, torch.zeros_like(mask)), torch.zeros_like(truth))
