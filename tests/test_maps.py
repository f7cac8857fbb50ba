"""What is written: bit depths, ranges and keys, the meaning of the normal map, and that all appears or nothing."""

import json
import math

import cv2
import numpy as np
import pytest
import torch
from synthetic_head import IRISES, camera_at, known_head, landmarks_in_photo
from torch.nn import functional

from id2r_core import maps as maps_module
from id2r_core.conventions import (
    WHITE_OF_EYE_LINEAR,
    Domain,
    decode_normal,
    encode_normal,
    linear_to_srgb,
    srgb_to_linear,
)
from id2r_core.detail import stored
from id2r_core.errors import Id2rError
from id2r_core.files import all_or_nothing, check_writable, whole_file, write_exr, write_image
from id2r_core.geometry.mesh import vertex_normals
from id2r_core.head.atlas import make_atlas
from id2r_core.head.irises import EYE_OUTLINES, IRIS_LANDMARKS, RADIUS_RANGE, TYPICAL_COLOUR, measure_irises
from id2r_core.head.model import PARTS
from id2r_core.landmarks import Face
from id2r_core.maps import panorama, save_maps, save_report, tangent_normals
from id2r_core.photo import Photo
from id2r_core.relight import Light
from id2r_core.stitch import Maps

pytestmark = pytest.mark.usefixtures("one_thread")

TEXELS, HEIGHT, WIDTH = 128, 48, 64
DIFFUSE, SPECULAR, ROUGHNESS = (0.8, 0.5, 0.2), 0.4, 0.301
FILES = {
    "diffuse.png": (TEXELS, TEXELS, 3, np.uint8),
    "specular.png": (TEXELS, TEXELS, 1, np.uint16),
    "roughness.png": (TEXELS, TEXELS, 1, np.uint16),
    "normal.png": (TEXELS, TEXELS, 3, np.uint16),
    "coverage.png": (TEXELS, TEXELS, 1, np.uint8),
    "photo.png": (HEIGHT, WIDTH, 3, np.uint8),
}


@pytest.fixture(scope="module")
def atlas(model):
    return make_atlas(model, TEXELS)


@pytest.fixture(scope="module")
def head(model):
    return known_head(model, camera_at(), {"african-male": 0.5}, {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8})


@pytest.fixture(scope="module")
def own_normals(head, atlas):
    """The normals that the neutral mesh has already, [3, T, T]."""
    normal = vertex_normals(head.fine_neutral_vertices()[None], head.model.faces)[0]
    return functional.normalize(atlas.bake(normal), dim=0)


@pytest.fixture(scope="module")
def photo():
    """Red to the right, green downwards."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return Photo(np.stack([x / (WIDTH - 1), y / (HEIGHT - 1), 0 * x], -1), "Zoë.png")


@pytest.fixture(scope="module")
def maps(own_normals):
    flat = lambda *colour: torch.tensor(colour)[:, None, None].expand(3, TEXELS, TEXELS)
    images = {
        Domain.DIFFUSE: flat(*DIFFUSE),
        Domain.SPECULAR: flat(SPECULAR, SPECULAR, SPECULAR),
        Domain.ROUGHNESS: flat(ROUGHNESS, ROUGHNESS, ROUGHNESS),
        Domain.NORMAL: encode_normal(own_normals),
    }
    return Maps(images, torch.linspace(0, 1, TEXELS).expand(TEXELS, -1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, maps, head, atlas, photo):
    out = tmp_path_factory.mktemp("result")
    save_maps(out, maps, head, atlas, photo, IRISES, keep_expression=False)
    return out


@pytest.fixture(scope="module")
def arrays(folder):
    with np.load(folder / "head.npz", allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def read_png(path) -> np.ndarray:
    """[H, W, C], RGB."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return image[..., None] if image.ndim == 2 else image[..., ::-1]


# ---- pictures ----


def test_these_files_and_no_others(folder):
    assert {path.name for path in folder.iterdir()} == {*FILES, "head.obj", "head.npz"}


@pytest.mark.parametrize("name", FILES)
def test_sizes_channels_and_bit_depths(folder, name):
    height, width, channels, depth = FILES[name]
    image = read_png(folder / name)
    assert image.shape == (height, width, channels) and image.dtype == depth


def test_values_are_stored_as_they_are(folder):
    assert (read_png(folder / "diffuse.png") == np.round(np.array(DIFFUSE) * 255)).all()
    assert (read_png(folder / "specular.png") == round(SPECULAR * 65535)).all()
    assert (read_png(folder / "roughness.png") == round(ROUGHNESS * 65535)).all()
    coverage = read_png(folder / "coverage.png")[..., 0]
    assert (coverage[:, 0] == 0).all() and (coverage[:, -1] == 255).all()


def test_the_photo_is_upright_and_in_its_colours(folder):
    image = read_png(folder / "photo.png")
    assert image[0, 0].tolist() == [0, 0, 0] and image[0, -1].tolist() == [255, 0, 0]
    assert image[-1, 0].tolist() == [0, 255, 0]


def test_values_out_of_range_are_clipped_not_wrapped():
    assert stored(torch.tensor([[[-0.5, 1.5]]]), np.uint8)[0, :, 0].tolist() == [0, 255]


# ---- the normal map ----


def test_the_mesh_s_own_normals_are_a_flat_map(folder, atlas):
    normal = read_png(folder / "normal.png")
    assert np.abs(normal.astype(int) - np.round(np.array([0.5, 0.5, 1.0]) * 65535)).max() <= 2


def bump(atlas, place, radius=0.004, height=0.6):
    """Height slopes (along +u, along +v) [2, T, T] of a bump on the tile, in texels."""
    distance = (atlas.surface - place[:, None, None]).norm(dim=0)
    hill = torch.where(atlas.mask, height * torch.exp(-((distance / radius) ** 2)), 0.0)
    along_u = torch.gradient(hill, dim=1)[0]
    along_v = -torch.gradient(hill, dim=0)[0]
    return torch.stack([along_u, along_v])


def test_a_bump_tilts_the_map_the_way_opengl_wants(head, atlas, own_normals):
    """Right of a bump red is above a half, above it green is; beside it in the other direction they are not."""
    model = head.model
    place = model.neutral_landmarks[151]
    slope = bump(atlas, place)
    along_u = functional.normalize(torch.gradient(atlas.surface, dim=2)[0], dim=0)
    along_v = functional.normalize(-torch.gradient(atlas.surface, dim=1)[0], dim=0)
    bumpy = functional.normalize(own_normals - slope[0] * along_u - slope[1] * along_v, dim=0)
    found = decode_normal(tangent_normals(encode_normal(bumpy), head, atlas))
    facing = functional.normalize(torch.cat([-slope, torch.ones(1, TEXELS, TEXELS)]), dim=0)
    strong = slope.norm(dim=0) > 0.05
    assert strong.sum() > 8
    for axis in range(2):
        pair = torch.stack([found[axis][strong], facing[axis][strong]])
        assert torch.corrcoef(pair)[0, 1] > 0.9
    centre = ((atlas.surface - place[:, None, None]).norm(dim=0) + 9.0 * ~atlas.mask).argmin()
    row, column = int(centre) // TEXELS, int(centre) % TEXELS
    assert found[0, row, column + 2] > 0.03 > -0.03 > found[0, row, column - 2]
    assert found[1, row - 2, column] > 0.03 > -0.03 > found[1, row + 2, column]


def test_what_is_slower_than_the_mesh_is_left_to_the_mesh(head, atlas, own_normals):
    """A network's error that bends the whole face must not bend its shading."""
    bent = functional.normalize(own_normals + torch.tensor([0.3, 0.0, 0.0])[:, None, None] * atlas.mask, dim=0)
    found = decode_normal(tangent_normals(encode_normal(bent), head, atlas))
    face = atlas.region("cheek") > 0.5
    assert (bent - own_normals).norm(dim=0)[face].mean() > 0.15
    assert found[:2, face].norm(dim=0).mean() < 0.03


def test_the_normal_map_is_unit_and_flat_outside_the_head(head, atlas, own_normals):
    noisy = own_normals + 0.3 * torch.randn(own_normals.shape, generator=torch.Generator().manual_seed(5))
    found = decode_normal(tangent_normals(encode_normal(functional.normalize(noisy, dim=0)), head, atlas))
    assert torch.allclose(found.norm(dim=0), torch.ones(TEXELS, TEXELS), atol=1e-4)
    outside = found[:, ~atlas.mask]
    assert torch.allclose(outside, torch.tensor([0.0, 0.0, 1.0])[:, None].expand_as(outside), atol=1e-5)


# ---- the photo's light ----


def light_of(*values):
    """Light [L, 3] over directions even on the sphere; values(direction) -> radiance."""
    index = torch.arange(400) + 0.5
    height, turn = 1 - 2 * index / 400, index * math.pi * (1 + 5**0.5)
    ring = (1 - height**2).sqrt()
    directions = torch.stack([ring * turn.cos(), height, ring * turn.sin()], 1)
    towards = torch.tensor(values[0])
    radiance = values[1] + values[2] * (directions @ towards).clamp(min=0) ** 20
    return Light(directions, radiance[:, None].expand(-1, 3).clone())


@pytest.mark.parametrize(
    ("towards", "row", "column"),
    [((0.0, 0.0, 1.0), 64, 192), ((1.0, 0.0, 0.0), 64, 128), ((-1.0, 0.0, 0.0), 64, 0), ((0.0, 0.96, 0.28), 12, 192)],
    ids=["front", "the subject's left", "the subject's right", "above"],
)
def test_light_lies_where_blender_looks_for_it(towards, row, column):
    """Blender's environment texture: the middle column is +x, three quarters is -y, which the face looks at."""
    image = panorama(light_of(towards, 0.2, 5.0)).mean(-1)
    assert image.shape == (128, 256)
    y, x = np.unravel_index(image.argmax(), image.shape)
    assert abs(y - row) < 8
    assert min(abs(x - column), 256 - abs(x - column)) < 8


def test_light_of_one_all_round_shows_albedo_as_it_is():
    """Irradiance of a horizontal white diffuser under the panorama, over pi; and by the solve's own sum."""
    light = light_of((0.0, 0.0, 1.0), 4.0, 0.0)
    up = light.directions[:, 1].clamp(min=0)
    assert float((light.radiance[:, 0] * up).mean()) == pytest.approx(1.0, abs=0.02)
    assert np.abs(panorama(light) - 1).max() < 1e-3


def test_light_that_the_face_cannot_tell_is_calm():
    image = panorama(light_of((0.0, 0.0, -1.0), 1.0, 30.0)).mean(-1)
    assert image.max() < 1.5 * image.min()


def test_the_light_is_stored_as_half_floats_with_its_values(tmp_path):
    image = panorama(light_of((0.0, 0.6, 0.8), 0.3, 8.0)) * np.array([1.0, 0.5, 0.25], np.float32)
    write_exr(tmp_path / "light.exr", image)
    stored = cv2.imread(str(tmp_path / "light.exr"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert stored.shape == (128, 256, 3)
    assert np.allclose(stored, image, rtol=1e-3)
    assert (tmp_path / "light.exr").stat().st_size < 300_000


# ---- the mesh ----


def parse_obj(path):
    """Vertices [N, 3], uv [U, 2], and group -> list of quads of (vertex, uv) pairs, counted from 0."""
    vertices, uv, groups, current = [], [], {}, None
    for line in path.read_text(encoding="ascii").splitlines():
        word, *rest = line.split()
        if word == "v":
            vertices.append([float(number) for number in rest])
        elif word == "vt":
            uv.append([float(number) for number in rest])
        elif word == "g":
            current = groups.setdefault(rest[0], [])
        else:
            assert word == "f"
            current.append([tuple(int(number) - 1 for number in corner.split("/")) for corner in rest])
    return np.array(vertices), np.array(uv), groups


def test_the_obj_is_the_neutral_head_on_its_tile(folder, head):
    vertices, uv, groups = parse_obj(folder / "head.obj")
    model = head.model
    assert np.abs(vertices - head.neutral_vertices.numpy()).max() < 1e-5
    assert np.abs(uv - model.uv.numpy()).max() < 1e-5
    assert tuple(groups) == PARTS and sum(map(len, groups.values())) == len(model.quads)
    for index, name in enumerate(PARTS):
        corners = np.array(groups[name])
        assert (corners[..., 0] == model.quads[model.part == index].numpy()).all()
        assert (corners[..., 1] == model.quads_uv[model.part == index].numpy()).all()


def test_the_arrays_are_those_that_blender_reads(arrays, head):
    model = head.model
    count, quads, expressions = len(model.neutral), len(model.quads), len(model.expression)
    shapes = {
        "vertices": (count, 3),
        "photo_vertices": (count, 3),
        "quads": (quads, 4),
        "part": (quads,),
        "format": (),
        "part_names": (len(PARTS),),
        "uv": (len(model.uv), 2),
        "quads_uv": (quads, 4),
        "uv_makehuman": (len(model.uv_makehuman), 2),
        "quads_uv_makehuman": (quads, 4),
        "expressions": (expressions, count, 3),
        "expression_names": (expressions,),
        "camera_view_from_world": (4, 4),
        "camera_focal": (),
        "camera_principal": (2,),
        "photo_size": (2,),
        "keep_expression": (),
        "eye_centres": (2, 3),
        "eye_radius": (2,),
        "iris_radius": (2,),
        "iris_colour_linear": (3,),
    }
    assert {name: array.shape for name, array in arrays.items()} == shapes
    assert arrays["part"].dtype == np.uint8 and arrays["expressions"].dtype == np.float16
    assert arrays["part_names"].tolist() == list(PARTS)
    assert arrays["photo_size"].tolist() == [WIDTH, HEIGHT]
    for layout in ("", "_makehuman"):
        assert arrays[f"quads_uv{layout}"].max() < len(arrays[f"uv{layout}"])


def test_the_camera_of_the_file_puts_the_head_over_the_photo(arrays, head):
    points = torch.from_numpy(arrays["photo_vertices"])
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], 1) @ arrays["camera_view_from_world"].T
    pixel = homogeneous[:, :2] / homogeneous[:, 2:3] * arrays["camera_focal"] + arrays["camera_principal"]
    assert np.abs(pixel - head.camera.project(points)[0, :, :2].numpy()).max() < 0.01


def test_eyes_are_the_subjects_left_first(arrays):
    assert arrays["eye_centres"][0, 0] > 0.02 > -0.02 > arrays["eye_centres"][1, 0]
    assert 0.01 < arrays["eye_radius"].min() and arrays["eye_radius"].max() < 0.02


def test_the_head_is_neutral_and_says_whether_it_opens_as_photographed(arrays, tmp_path, maps, head, atlas, photo):
    assert (arrays["vertices"] == head.neutral_vertices.numpy()).all()
    assert (arrays["photo_vertices"] == head.vertices.numpy()).all()
    assert np.abs(arrays["vertices"] - arrays["photo_vertices"]).max() > 0.003
    save_maps(tmp_path, maps, head, atlas, photo, IRISES, keep_expression=True)
    with np.load(tmp_path / "head.npz") as kept:
        assert kept["keep_expression"] and (kept["vertices"] == head.neutral_vertices.numpy()).all()
    assert np.abs(parse_obj(tmp_path / "as_photographed.obj")[0] - head.vertices.numpy()).max() < 1e-5


# ---- all or nothing ----


def test_files_appear_together_when_the_block_is_done(tmp_path):
    out = tmp_path / "a" / "b"
    with all_or_nothing(out) as folder:
        save_report(folder, {"photo": "Zoë.png", "warnings": []})
        (folder / "other").write_text("x")
        assert not (out / "report.json").exists()
    assert sorted(path.name for path in out.iterdir()) == ["other", "report.json"]
    text = (out / "report.json").read_text(encoding="utf-8")
    assert "Zoë" in text and json.loads(text) == {"photo": "Zoë.png", "warnings": []}


def test_an_earlier_result_is_replaced(tmp_path):
    for number in (1, 2):
        with all_or_nothing(tmp_path) as folder:
            save_report(folder, {"run": number})
    assert json.loads((tmp_path / "report.json").read_text())["run"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ZeroDivisionError], ids=lambda kind: kind.__name__)
def test_a_failing_block_leaves_nothing(tmp_path, failure):
    with pytest.raises(failure), all_or_nothing(tmp_path) as folder:
        (folder / "diffuse.png").write_text("half")
        raise failure
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_with_advice_and_leaves_nothing(tmp_path, monkeypatch, maps, head, atlas, photo):
    def no_space(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(maps_module, "_write_obj", no_space)
    with pytest.raises(Id2rError, match="No space left") as caught, all_or_nothing(tmp_path) as folder:
        save_maps(folder, maps, head, atlas, photo, IRISES, False)
    assert str(tmp_path) in caught.value.message and caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_something_in_the_way_is_an_error_and_leaves_the_earlier_result(tmp_path):
    """A folder called roughness.png: what sorts before it must not be mixed with older files."""
    (tmp_path / "roughness.png").mkdir()
    (tmp_path / "diffuse.png").write_text("old")
    with pytest.raises(Id2rError, match="cannot be written"), all_or_nothing(tmp_path) as folder:
        for name in ("coverage.png", "diffuse.png", "roughness.png"):
            (folder / name).write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["diffuse.png", "roughness.png"]
    assert (tmp_path / "diffuse.png").read_text() == "old"


def test_a_picture_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(Id2rError, match="diffuse.png"):
        write_image(tmp_path / "missing" / "diffuse.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(Id2rError, match="diffuse.xyz"):
        write_image(tmp_path / "diffuse.xyz", np.zeros((4, 4, 3), np.uint8))


def test_a_file_appears_complete_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "sheet.png"
    with pytest.raises(Id2rError), whole_file(path) as partial:
        partial.write_text("half")
        raise Id2rError("The pen is dry.", "Fill it.")
    assert list(path.parent.iterdir()) == []
    with whole_file(path) as partial:
        partial.write_text("whole")
    assert [each.name for each in path.parent.iterdir()] == ["sheet.png"] and path.read_text() == "whole"


def test_a_folder_that_cannot_be_made_is_an_error_with_advice(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Id2rError, match="cannot be written") as caught:
        check_writable(tmp_path / "file" / "out")
    assert "--out" in caught.value.hint


def test_checking_a_folder_leaves_nothing(tmp_path):
    check_writable(tmp_path / "new" / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    check_writable(tmp_path / "there")
    assert list(tmp_path.iterdir()) == [tmp_path / "there"] and not list((tmp_path / "there").iterdir())


# ---- irises ----


WHITE_OF_EYE = linear_to_srgb(1.1 * torch.tensor(WHITE_OF_EYE_LINEAR)).tolist()


def eyes_photo(head, colour_srgb, white_srgb=WHITE_OF_EYE):
    """A photo of nothing but two irises with dark pupils in the white of eyes, drawn where the landmarks have them."""
    points = landmarks_in_photo(head).astype(np.float32)
    image = np.full((head.camera.height, head.camera.width, 3), white_srgb, np.float32)
    for landmarks in IRIS_LANDMARKS:
        centre, rim = points[landmarks[0]], points[list(landmarks[1:])]
        radius = np.linalg.norm(rim - centre, axis=1).mean()
        y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
        distance = np.hypot(x - centre[0], y - centre[1])
        image[distance < radius] = colour_srgb
        image[distance < 0.4 * radius] = 0.02
    return Photo(image, "eyes.png"), Face(points)


def test_the_irises_have_the_photos_colour_without_its_light(model):
    head = known_head(model, camera_at(size=512, focal=4.0))
    photo, face = eyes_photo(head, (0.25, 0.4, 0.5))
    neutral, dim = (measure_irises(photo, face, head, torch.full((3,), white)) for white in (1.0, 0.5))
    red, green, blue = neutral.colour_linear.tolist()
    assert red < green < blue and blue == pytest.approx(0.214, rel=0.15)
    brighter = (dim.colour_linear / neutral.colour_linear)[:2]
    assert torch.allclose(brighter, torch.full((2,), 2**0.5), rtol=1e-3)  # half of it is the white of the eye's to tell
    assert all(RADIUS_RANGE[0] <= value <= RADIUS_RANGE[1] for value in neutral.radius.tolist())


def test_half_of_the_red_of_a_shade_is_taken_from_the_irises(model):
    """Light that comes to the eyes from the skin around them is not the light of the face; but in small photos skin runs into
    the white of the eye, too, so that it is not believed alone."""
    head = known_head(model, camera_at(size=512, focal=4.0))
    plain, face = eyes_photo(head, (0.25, 0.4, 0.5))
    shaded = Photo((plain.srgb * [0.9, 0.6, 0.5]).astype(np.float32), plain.name)
    before, after = (measure_irises(photo, face, head, torch.ones(3)).colour_linear for photo in (plain, shaded))
    of_iris, of_white = (
        srgb_to_linear(torch.tensor(colour) * torch.tensor([0.9, 0.6, 0.5])) / srgb_to_linear(torch.tensor(colour))
        for colour in ((0.25, 0.4, 0.5), WHITE_OF_EYE)
    )
    assert torch.allclose(after / before, of_iris / of_white.sqrt(), rtol=0.01)


def test_closed_eyes_have_typical_irises(model):
    head = known_head(model, camera_at(size=512, focal=4.0))
    photo, face = eyes_photo(head, (0.25, 0.4, 0.5))
    points = face.points.copy()
    for outline in EYE_OUTLINES:
        points[list(outline)] = points[list(outline)].mean(0)
    found = measure_irises(photo, Face(points), head, torch.ones(3))
    assert torch.equal(found.colour_linear, torch.tensor(TYPICAL_COLOUR))
