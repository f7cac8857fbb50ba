"""The full-size maps: relief of millimetre size that never repeats, maps that agree, and nothing the photo showed lost."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from synthetic_head import camera_at, face_of, known_head, light_from, photograph

from id2r_core import detail, relief
from id2r_core.conventions import Domain, decode_normal, encode_normal
from id2r_core.detail import add_detail, height_of, normals_of, shown_wavelength, working_size
from id2r_core.evidence import observe
from id2r_core.geometry.mesh import vertex_normals
from id2r_core.growth import Growth
from id2r_core.hair import CroppedHair
from id2r_core.head.atlas import make_atlas
from id2r_core.photo import Photo
from id2r_core.refine import Refined
from id2r_core.relief import make_relief, make_sheet, metric, scatter_pores
from id2r_core.stitch import Maps

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE, SIZE = 256, 1024  # the working size and that of the maps
SKIN = (0.78, 0.58, 0.48)
FOLD = 0.3


@pytest.fixture(scope="module")
def head(model):
    return known_head(model, camera_at(size=512, focal=2.6))


@pytest.fixture(scope="module")
def atlas(model):
    return make_atlas(model, SIDE)


@pytest.fixture(scope="module")
def sheet(head):
    return make_sheet(head)


@pytest.fixture(scope="module")
def skin(sheet, photo, head):
    """The relief of the person in the photo."""
    return make_relief(sheet, SIZE, detail.content_seed(photo), detail.age_of(head))


@pytest.fixture(scope="module")
def photo(head, model):
    """Sharp: every pixel of the skin differs a little from the next."""
    image = photograph(head, torch.full((3, SIDE, SIDE), 0.7), light_from(model, (0.3, 0.4, 1.0), 0.6, 0.3))
    grain = np.random.default_rng(0).normal(0, 0.03, image.srgb.shape[:2]).astype(np.float32)
    return Photo((image.srgb + grain[..., None]).clip(0, 1), "synthetic.png")


@pytest.fixture(scope="module")
def refined(head, atlas, photo, model):
    normal = torch.nn.functional.normalize(
        atlas.bake(vertex_normals(head.fine_neutral_vertices()[None], model.faces)[0])
    )
    flat = lambda *colour: torch.tensor(colour)[:, None, None].expand(3, SIDE, SIDE).clone()
    images = {
        Domain.DIFFUSE: flat(*SKIN),
        Domain.SPECULAR: flat(0.5, 0.5, 0.5),
        Domain.ROUGHNESS: flat(0.45, 0.45, 0.45),
        Domain.NORMAL: encode_normal(normal),
    }
    observed = observe(photo, face_of(head), head, atlas)
    light = light_from(model, (0.0, 0.0, 1.0), 1.0, 0.0)
    maps, bald = Maps(images, observed.trust), torch.zeros(3, SIDE, SIDE)
    return Refined(
        maps,
        light,
        tone_linear=torch.tensor([0.4, 0.3, 0.2]),
        white_linear=torch.ones(3),
        observed=observed,
        trust=observed.trust,
        share=torch.ones(SIDE, SIDE),
        folds=torch.full((SIDE, SIDE), FOLD),
        growth=Growth(0.0, CroppedHair(bald, bald[0], bald[0]), bald, hair_linear=None),
    )


@pytest.fixture(scope="module")
def detailed(refined, photo, head, atlas):
    return add_detail(refined, photo, head, atlas, SIZE, 1.0)


@pytest.fixture(scope="module")
def plain(refined, photo, head, atlas):
    return add_detail(refined, photo, head, atlas, SIZE, 0.0)


@pytest.fixture(scope="module")
def cheek(model):
    """[T, T] bool."""
    return make_atlas(model, SIZE).region("cheek") > 0.4


def patch(image, mask, half=64):
    """A square round the middle of one half of a symmetric mask."""
    rows, columns = mask.nonzero().unbind(1)
    left = columns < mask.shape[1] // 2
    y, x = int(rows[left].float().mean()), int(columns[left].float().mean())
    return image[y - half : y + half, x - half : x + half]


# ---- the relief ----


def test_the_same_seed_is_the_same_skin_and_another_one_is_not(sheet, skin, cheek, photo):
    seed = detail.content_seed(photo)
    again, other = (make_relief(sheet, SIZE, number, 0.0).height for number in (seed, seed + 1))
    assert torch.equal(skin.height, again)
    pair = torch.stack([patch(image, cheek).flatten() for image in (skin.height, other)])
    assert torch.corrcoef(pair)[0, 1].abs() < 0.1


def test_a_pore_is_round_and_of_its_size_where_the_tile_is_stretched(sheet, model):
    """Drawn on the neck, which the tile stretches to three times its width, and measured on the surface."""
    size, sigma = 4096, 0.4
    neck = (make_atlas(model, relief.GRID).region("neck") > 0.9) & (_stretch(sheet) > 2.5)
    row, column = neck.nonzero()[len(neck.nonzero()) // 2].tolist()
    place = (torch.tensor([[column, row]]) + 0.5) / relief.GRID
    spot = sheet.at(place)
    shape = relief._tile_shape(spot, torch.tensor([sigma]), torch.ones(1), torch.zeros(1), size)
    image = torch.zeros(size * size)
    relief._stamp(image, place * size, shape, torch.ones(1), 24, size)
    image = image.view(size, size)
    y, x = image.nonzero().unbind(1)
    weight = image[y, x]
    offset = (torch.stack([x, y], 1) + 0.5) / size - place
    millimetres = offset[:, :1] * spot.along_x + offset[:, 1:] * spot.along_y
    covariance = (millimetres.T * weight) @ millimetres / weight.sum()
    spread = torch.linalg.eigvalsh(covariance)[1:].sqrt()
    assert torch.allclose(spread, torch.full((2,), sigma), rtol=0.12)


def _stretch(sheet):
    xx, xy, yy = metric(sheet)
    middle, apart = (xx + yy) / 2, (((xx - yy) / 2) ** 2 + xy**2).sqrt()
    return ((middle + apart) / (middle - apart).clamp(min=1e-3)).sqrt()


def test_pores_are_as_dense_as_the_region_wants_and_keep_apart(sheet, model):
    places, _ = scatter_pores(sheet, np.random.default_rng(0))
    spot = sheet.at(places)
    area = relief.cell_area(sheet)
    regions = make_atlas(model, relief.GRID)
    cell = (places * relief.GRID).long().clamp(max=relief.GRID - 1)
    for name in ("nose", "cheek", "neck"):
        inside = regions.region(name) > 0.9
        count = int(inside[cell[:, 1], cell[:, 0]].sum())
        expected = float((sheet.skin.density * area)[inside].sum())
        assert 0.85 * expected < count < 1.15 * expected, name
    nearest = cKDTree(spot.position.numpy()).query(spot.position.numpy(), 2)[0][:, 1]
    lattice = (2 / 3**0.5 / spot.skin.density.clamp(min=0.3)).sqrt().numpy()
    random = 0.5 / np.sqrt(spot.skin.density.clamp(min=0.3).numpy())  # the mean distance if they fell like rain
    assert np.quantile(nearest / lattice, 0.05) > 0.35
    assert np.mean(nearest) > 1.3 * np.mean(random)


def test_nothing_repeats(skin, cheek):
    """The patch is like no shifted copy of itself, from a millimetre and a half on."""
    image = patch(skin.height, cheek)
    image = image - image.mean()
    spectrum = torch.fft.fft2(image, s=(256, 256))
    alike = torch.fft.ifft2(spectrum * spectrum.conj()).real
    alike = torch.fft.fftshift(alike / alike[0, 0])[64:192, 64:192]
    y, x = torch.meshgrid(torch.arange(-64, 64), torch.arange(-64, 64), indexing="ij")
    assert alike[(x**2 + y**2) > 12**2].max() < 0.3


def test_the_skin_is_the_same_at_every_resolution(sheet, skin, cheek, photo):
    fine = make_relief(sheet, 2 * SIZE, detail.content_seed(photo), 0.0).height
    shrunk = torch.nn.functional.avg_pool2d(fine[None, None], 2)[0, 0]
    pair = torch.stack([patch(image, cheek).flatten() for image in (shrunk, skin.height)])
    assert torch.corrcoef(pair)[0, 1] > 0.9


def test_age_deepens_the_lines_and_brings_wrinkles(sheet, skin, model, photo):
    old = make_relief(sheet, SIZE, detail.content_seed(photo), 1.0)
    forehead = make_atlas(model, SIZE).region("forehead") > 0.9
    assert old.lines[forehead].mean() > 1.5 * skin.lines[forehead].mean()


def test_there_is_no_relief_where_there_is_no_skin(skin, model):
    atlas = make_atlas(model, SIZE)
    outside = torch.nn.functional.max_pool2d(atlas.mask[None, None].float(), 31, 1, 15)[0, 0] == 0
    assert outside.sum() > 1000
    assert skin.height[outside].abs().max() < 1e-3


def test_lips_have_grooves_up_and_down_and_no_pores(sheet, model):
    """On people on average: one draw has 1.27 to 1.39 times as much, and a photo's last bit decides which draw it is."""
    atlas = make_atlas(model, SIZE)
    lip = (atlas.region("lip") > 0.9) & (atlas.surface[0].abs() < 0.01)
    drawn = [make_relief(sheet, SIZE, seed, 0.0) for seed in range(4)]
    across, along = (
        torch.stack([torch.gradient(each.lines, dim=axis)[0][lip].abs().mean() for each in drawn]).mean()
        for axis in (1, 0)
    )
    assert across > 1.3 * along
    assert all(each.pores[lip].max() < 1e-3 for each in drawn)


# ---- one height behind all maps ----


def test_height_and_normals_are_each_others_inverse(sheet, atlas):
    height = relief.surface_noise(sheet, SIDE, 25.0, np.random.default_rng(1)) * 0.5
    height = height * torch.hann_window(SIDE)[:, None] * torch.hann_window(SIDE)
    normal = decode_normal(normals_of(height, sheet))
    found = height_of(normal[:2] / normal[2:], sheet)
    inside = atlas.mask & (height.abs() > 0.05)
    assert torch.corrcoef(torch.stack([found[inside], height[inside]]))[0, 1] > 0.97
    assert 0.85 < found[inside].std() / height[inside].std() < 1.1


def test_a_dent_tilts_the_map_the_way_opengl_wants(sheet):
    """Right of a dent the surface faces left again: red is below a half; above it, it faces down: green is below."""
    height = torch.zeros(SIDE, SIDE)
    height[100:104, 100:104] = -0.3
    red, green, _ = normals_of(height, sheet)
    assert red[102, 104] < 0.5 < red[102, 99]
    assert green[99, 102] < 0.5 < green[104, 102]


def test_an_enlarged_slope_is_straight():
    """A plane stays one: no ripple of the working texels in the normals."""
    plane = torch.arange(64.0).expand(64, 64)
    slope = torch.gradient(relief.enlarge_smoothly(plane, 256), dim=1)[0][16:-16, 16:-16]
    assert (slope - 0.25).abs().max() < 1e-4


def test_the_normal_map_is_the_slope_of_the_displacement_map(detailed, sheet):
    stored = detailed.images["displacement"][..., 0].astype(np.float32) / 65535
    height = (torch.from_numpy(stored) - detail.DISPLACEMENT_MIDDLE) * detail.MILLIMETRES_PER_UNIT
    expected = (normals_of(height, sheet).permute(1, 2, 0) * 65535).numpy()
    assert np.abs(expected - detailed.images["normal"].astype(np.float32)).mean() < 100


def test_a_pore_is_deep_darker_duller_and_rougher(detailed, plain, skin, cheek):
    pore = cheek & (skin.pores > skin.pores[cheek].quantile(0.98))
    between = cheek & (skin.pores < skin.pores[cheek].median())
    change = {
        name: detailed.images[name].astype(np.float32).mean(-1) - plain.images[name].astype(np.float32).mean(-1)
        for name in ("diffuse", "specular", "roughness", "displacement")
    }
    for name, sign in (("diffuse", -1), ("specular", -1), ("roughness", 1), ("displacement", -1)):
        assert sign * (change[name][pore].mean() - change[name][between].mean()) > 0, name


def test_pores_do_not_change_the_tone(detailed, plain, cheek):
    means = [images["diffuse"][cheek].mean(0) for images in (detailed.images, plain.images)]
    assert np.abs(means[0] - means[1]).max() < 1.0


# ---- what the photo shows ----


def test_the_finest_wavelength_is_two_pixels_of_a_sharp_photo_and_more_of_a_soft_one(refined, photo, head, atlas):
    import cv2

    sharp = shown_wavelength(refined, photo, head, atlas)
    assert sharp == pytest.approx(2 * detail.millimetres_per_pixel(head))
    soft = Photo(cv2.GaussianBlur(photo.srgb, (0, 0), 2.5), photo.name)
    assert shown_wavelength(refined, soft, head, atlas) >= 2 * sharp


def test_the_swapped_maps_alone_get_detail_too(refined, detailed, photo, head, atlas):
    """With a refinement of 0 nothing of the photo is trusted, which is no reason to stop."""
    unbelieved = replace(refined, trust=torch.zeros_like(refined.trust))
    assert shown_wavelength(unbelieved, photo, head, atlas) == shown_wavelength(refined, photo, head, atlas)
    assert add_detail(unbelieved, photo, head, atlas, SIZE).images.keys() == detailed.images.keys()


def test_millimetres_a_pixel_are_those_of_the_camera(head):
    """1.2 m away, 2.6 sides of 512 pixels focal length."""
    assert detail.millimetres_per_pixel(head) == pytest.approx(1200 / (2.6 * 512), rel=0.1)


def test_a_sharp_photo_adds_what_the_working_size_could_not_hold(model, head, refined, photo, atlas):
    """Stripes of six pixels in a large photo, finer than a working texel, are in the albedo at the full size."""
    camera = camera_at(size=2048, focal=2.6)
    close = replace(head, camera=camera)
    image = photograph(close, torch.full((3, SIDE, SIDE), 0.7), light_from(model, (0.3, 0.4, 1.0), 0.6, 0.3))
    stripes = 0.06 * np.sin(np.arange(2048) * 2 * np.pi / 6).astype(np.float32)
    large = Photo((image.srgb + stripes[:, None, None]).clip(0, 1), "large.png")
    observed = observe(large, face_of(close), close, atlas)
    seen = replace(refined, observed=observed, trust=observed.trust)
    found = add_detail(seen, large, close, atlas, SIZE, 0.0)
    forehead = make_atlas(model, SIZE).region("forehead") > 0.9
    diffuse = found.images["diffuse"].astype(np.float32)[forehead]
    assert diffuse.std() > 2.0
    assert found.report["wavelengths_mm"]["diffuse"]["reconstructed_from_photo"][0] < 2.1 * found.report["texel_mm"]


def test_what_another_photo_has_given_is_not_overlaid_with_octaves_of_the_first(model, head, refined, photo, atlas):
    camera = camera_at(size=2048, focal=2.6)
    close = replace(head, camera=camera)
    noise = np.random.default_rng(0).normal(0, 0.08, (2048, 2048, 1)).astype(np.float32)
    large = Photo((0.5 + noise).clip(0, 1).repeat(3, 2), "large.png")
    observed = observe(large, face_of(close), close, atlas)
    roughness = {}
    for name, share in (("own", 1.0), ("other", 0.0)):
        seen = replace(refined, observed=observed, trust=observed.trust, share=torch.full((SIDE, SIDE), share))
        found = add_detail(seen, large, close, atlas, SIZE, 0.0)
        forehead = make_atlas(model, SIZE).region("forehead") > 0.9
        roughness[name] = found.images["diffuse"].astype(np.float32)[forehead].std(0).mean()  # of each channel
    assert roughness["own"] > 2 * roughness["other"]


def test_as_photographed_is_the_photo_where_it_sees_the_head_and_skin_elsewhere(detailed, refined, photo, model):
    shown = detailed.images["as_photographed"].astype(np.float32)
    atlas = make_atlas(model, SIZE)
    forehead = atlas.region("forehead") > 0.95
    colourless = shown[forehead]  # the photo is grey, the diffuse map is not
    assert np.abs(colourless[:, 0] - colourless[:, 2]).mean() < 4
    back = (atlas.region("scalp") > 0.9) & (atlas.surface[2] < -0.12)
    assert 30 < shown[back].mean() < 230


# ---- sizes and the report ----


def test_maps_are_worked_out_at_most_at_the_working_size():
    assert [working_size(size) for size in (128, 1024, 4096)] == [128, 1024, 1024]


def test_all_maps_have_the_full_size_and_their_bit_depths(detailed):
    bits = {name: image.dtype.itemsize * 8 for name, image in detailed.images.items()}
    assert bits == {
        "diffuse": 8, "as_photographed": 8, "coverage": 8, "specular": 16, "roughness": 16, "normal": 16,
        "displacement": 16, "folds": 8, "hair": 8,
    }  # fmt: skip
    assert {image.shape[:2] for name, image in detailed.images.items() if name != "hair"} == {(SIZE, SIZE)}
    assert detailed.images["hair"].shape[:2] == (SIDE, SIDE)


def test_folds_are_what_they_leave_of_the_colour(detailed):
    assert (detailed.images["folds"] == round(255 * math.exp(-FOLD))).all()


def test_the_report_says_what_is_enlarged_and_what_is_synthesised(detailed, plain):
    report = detailed.report
    assert (report["size"], report["enlarged_from"], report["pores"]) == (SIZE, SIDE, 1.0)
    finest, coarsest = report["wavelengths_mm"]["diffuse"]["synthesised"]
    assert finest == pytest.approx(2 * report["texel_mm"], abs=1e-3)
    assert coarsest == report["wavelengths_mm"]["diffuse"]["reconstructed_from_photo"][0]
    assert all(entry["synthesised"] is None for entry in plain.report["wavelengths_mm"].values())


def test_without_pores_the_maps_are_the_reconstructed_ones(plain, cheek):
    assert np.abs(plain.images["specular"][cheek] / 65535 - 0.5).max() < 1e-3
    assert np.abs(plain.images["roughness"][cheek] / 65535 - 0.45).max() < 1e-3


def test_texels_that_hold_no_pore_get_none(refined, photo, head, atlas):
    small = add_detail(refined, photo, head, atlas, SIDE, 1.0)
    assert small.report["pores"] == 0.0 and small.report["enlarged_from"] is None
    assert np.abs(small.images["diffuse"].astype(int) - np.round(np.array(SKIN) * 255)).max() <= 1
