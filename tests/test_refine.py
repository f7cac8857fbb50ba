"""Refinement against virtual photos: the albedo and the light are known, so what is recovered can be measured."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from synthetic_head import MIRRORING, camera_at, face_of, known_head, light_from, photograph
from torch import Tensor
from torch.nn import functional

from id2r_core import refine as refine_module
from id2r_core.conventions import Domain, decode_normal, encode_normal, linear_to_srgb, srgb_to_linear
from id2r_core.cover import Cover, at_home, find_cover, person_in_photo, remove_rims
from id2r_core.delight import Unlit, solve_light, too_dark_for_hair
from id2r_core.errors import Id2rError
from id2r_core.evidence import NOT_SKIN, Evidence, observe, show_translation, tone_in
from id2r_core.folds import find_folds
from id2r_core.geometry.texture import dilate, fade, soften
from id2r_core.gloss import GLOSS_KEPT, remove_gloss
from id2r_core.hair import HairAround, _of_melanin, grow_hair, unlike_skin
from id2r_core.head.atlas import look, make_atlas
from id2r_core.identity import Identity
from id2r_core.landmarks import Face
from id2r_core.photo import Photo
from id2r_core.refine import (
    ONE_SIDED,
    OWN_SHADE,
    _carve_normals,
    _lash_line,
    _merge,
    _narrow,
    _own_shade,
    _soften_highlights,
    refine_from_photos,
    tile_frames,
)
from id2r_core.relight import Light, diffuse_transfer, gloss_transfer
from id2r_core.stitch import Maps
from id2r_core.translate import Translation

pytestmark = pytest.mark.usefixtures("one_thread")

TEXELS = 192
TONE = torch.tensor([0.36, 0.22, 0.16])
PRIOR_TONE = torch.tensor([0.30, 0.20, 0.15])
MOLES = {"right cheek": 50, "left cheek": 280, "forehead": 151}
HOLLOW = 205  # on the subject's right cheek
MOLE_RADIUS, MOLE_DEPTH = 0.0035, 0.6
WHITE = 1.15  # how bright the photographer exposes a white thing at the face
FROM_RIGHT = (-1.0, 0.4, 0.7)


@pytest.fixture(scope="module")
def atlas(model):
    return make_atlas(model, TEXELS)


@pytest.fixture(scope="module")
def head(model):
    return known_head(model, camera_at(yaw_degrees=8.0, focal=4.0), {"african-male": 0.3})


@pytest.fixture(scope="module")
def places(model):
    """The 478 landmarks on the mean head."""
    return model.neutral_landmarks


@pytest.fixture(scope="module")
def light(model, head):
    """From the subject's right and above, exposed as a portrait."""
    light = light_from(model, FROM_RIGHT, ambient=0.35, strength=9.0)
    shading = diffuse_transfer(model, head.fine_vertices()) @ light.radiance
    return Light(light.directions, light.radiance * WHITE / shading[model.regions["face"] > 0.5].median())


def distance_to(atlas, place) -> Tensor:
    return (atlas.surface - place[:, None, None]).norm(dim=0)


@pytest.fixture(scope="module")
def albedo(atlas, places):
    """Skin with slow waves of tone and three dark moles, linear [3, T, T]."""
    waves = 1 + 0.08 * torch.sin((atlas.surface * torch.tensor([80.0, 50.0, 30.0])[:, None, None]).sum(0))
    for number in MOLES.values():
        waves = waves * (1 - MOLE_DEPTH * torch.exp(-((distance_to(atlas, places[number]) / MOLE_RADIUS) ** 4)))
    return torch.where(atlas.mask, waves, 1.0) * TONE[:, None, None]


@pytest.fixture(scope="module")
def prior(atlas):
    """Swapped maps: another tone, no moles, faint stripes that are only theirs."""
    stripes = 1 + 0.1 * torch.sin(atlas.surface[1] * 400)
    grey = torch.full((3, TEXELS, TEXELS), 0.5)
    images = {
        Domain.DIFFUSE: linear_to_srgb(stripes * PRIOR_TONE[:, None, None]),
        Domain.SPECULAR: grey,
        Domain.ROUGHNESS: grey * 0.8,
        Domain.NORMAL: encode_normal(atlas.normal),
    }
    return Maps(images, torch.zeros(TEXELS, TEXELS))


def flat(tone: Tensor) -> Translation:
    """What a translator says that knows no light and no detail."""
    return Translation({Domain.DIFFUSE: linear_to_srgb(tone)[:, None, None].expand(3, 4, 4)}, np.eye(2, 3))


def person_of(tone: Tensor) -> Identity:
    return Identity(torch.zeros(512), tone)


def refine(prior, head, atlas, albedo_linear, light, tone=TONE, strength=1.0):
    """Photograph the head with the given skin and refine the prior from the photo."""
    photo = photograph(head, linear_to_srgb(albedo_linear), light)
    evidence = [Evidence(photo, face_of(head), head, person_of(tone), flat(tone))]
    return refine_from_photos(prior, evidence, atlas, strength)


@pytest.fixture(scope="module")
def refined(prior, head, atlas, albedo, light):
    return refine(prior, head, atlas, albedo, light)


@pytest.fixture(scope="module")
def observed(head, atlas, albedo, light):
    return observe(photograph(head, linear_to_srgb(albedo), light), face_of(head), head, atlas)


@pytest.fixture(scope="module")
def plain(observed, atlas):
    """[T, T] bool: plain facial skin that the photo sees well."""
    return (observed.trust > 0.7) & (atlas.region("face") > 0.9) & (atlas.features < 0.3)


@pytest.fixture(scope="module")
def shading(model, head, atlas, light):
    return atlas.bake(diffuse_transfer(model, head.fine_vertices()) @ light.radiance).mean(0)


def diffuse_of(refined) -> Tensor:
    return srgb_to_linear(refined.maps.images[Domain.DIFFUSE])


def luminance(linear) -> Tensor:
    return linear.clamp(min=1e-4).log().mean(0)


def correlation(a, b, where) -> float:
    return float(torch.corrcoef(torch.stack([a[where], b[where]]))[0, 1])


def contrast_at(image, atlas, place) -> float:
    """Brightness at a place over that of the ring around it."""
    distance = distance_to(atlas, place)
    ring = (distance > 0.008) & (distance < 0.012) & atlas.mask
    return float(image.mean(0)[distance < 0.002].mean() / image.mean(0)[ring].mean())


# ---- light ----


def test_the_photo_alone_is_full_of_light(observed, plain, shading):
    """The scene is worth its tests: plain projection follows the shading."""
    assert plain.sum() > 1500
    assert correlation(luminance(observed.linear), shading.log(), plain) > 0.9


def test_the_light_is_taken_out(refined, observed, plain, shading, albedo):
    assert abs(correlation(luminance(diffuse_of(refined)), shading.log(), plain)) < 0.35
    error = (diffuse_of(refined) / albedo).log()[:, plain].abs().mean()
    projected = (observed.linear / albedo).log()[:, plain]
    assert error < 0.12
    assert error < 0.2 * (projected - projected.median()).abs().mean()


def test_a_hollow_that_the_fitted_head_has_not_stays_in_part(
    prior, head, atlas, albedo, light, places, refined, monkeypatch
):
    """Its shade is seen in the photo, the translation does not take it for skin, and no mesh will throw it again."""
    depth = 0.5 * torch.exp(-((distance_to(atlas, places[HOLLOW]) / 0.02) ** 2))

    def darker(flat):
        found = refine(prior, head, atlas, albedo * torch.exp(-depth), light)
        return float((luminance(diffuse_of(flat)) - luminance(diffuse_of(found)))[depth > 0.4].mean())

    kept = darker(refined)
    monkeypatch.setattr(refine_module, "OWN_SHADE", 0.0)
    lost = darker(refine(prior, head, atlas, albedo, light))
    assert kept > 1.5 * lost
    assert kept < 0.3


def test_a_deep_fold_is_pressed_and_a_shallow_one_stays(atlas):
    """The head as photographed has the hollow of a deep one, which throws a shade of its own."""
    line = ((atlas.surface[0].abs() < 0.002) & atlas.mask).float().expand(3, -1, -1)
    deep, shallow = (float(_narrow(depth * line).max()) for depth in (1.5, 0.1))
    assert 0.3 < deep < 0.45 and shallow > 0.05


def test_the_solved_light_comes_from_where_it_came_from(refined, light):
    towards = lambda each: functional.normalize(each.radiance.mean(1) @ each.directions, dim=0)
    assert float(towards(refined.light) @ towards(light)) > math.cos(math.radians(20))
    assert refined.light.radiance.min() >= 0
    assert refined.light.radiance.shape == light.radiance.shape


def test_white_is_as_bright_as_the_photo_was_exposed(refined, observed, shading, atlas):
    lit = shading[(observed.trust > 0.5) & (atlas.region("face") > 0.5)].median()
    assert torch.allclose(refined.white_linear, lit.expand(3), rtol=0.06)


def test_the_light_is_solved_again_from_a_perfect_prior(observed, albedo, head, shading, atlas, plain):
    diffuse = diffuse_transfer(head.model, head.fine_vertices())
    gloss = gloss_transfer(head.model, head.fine_vertices(), head.camera, *MIRRORING)
    light = solve_light(observed, albedo, head.model, diffuse, gloss)
    found = atlas.bake(diffuse @ light.radiance).mean(0)
    assert (found / shading).log()[plain].abs().mean() < 0.04


def test_what_skin_mirrors_is_no_light_on_its_albedo(prior, head, atlas, albedo, light):
    """Black skin sends as much mirrored light to the camera as its own; its light is no brighter for that."""
    found = refine(prior, head, atlas, 0.12 * albedo, light, tone=0.12 * TONE)
    assert torch.allclose(found.white_linear, torch.full((3,), WHITE), rtol=0.25)


def test_a_coloured_light_is_not_a_skin_colour(prior, head, atlas, albedo, light, refined, plain):
    """Candle light: the encoder knows the tone, so most of the colour goes into the light."""
    warm = Light(light.directions, light.radiance * torch.tensor([1.15, 0.95, 0.65]))
    by_candle = refine(prior, head, atlas, albedo, warm)
    warmth = lambda linear: float((linear[0] / linear[2])[plain].mean().log())
    cast = math.log(1.15 / 0.65)
    assert abs(warmth(diffuse_of(by_candle)) - warmth(diffuse_of(refined))) < 0.6 * cast
    assert by_candle.white_linear[0] > 1.2 * by_candle.white_linear[2]


# ---- the person ----


@pytest.mark.parametrize("mole", MOLES)
def test_moles_are_kept(refined, albedo, atlas, places, mole):
    place = places[MOLES[mole]]
    true, found = contrast_at(albedo, atlas, place), contrast_at(diffuse_of(refined), atlas, place)
    assert true < 0.6
    assert found < true + 0.25 * (1 - true)


def test_a_bare_face_is_trusted_everywhere_it_is_seen(refined, observed, atlas, plain):
    assert refined.maps.coverage[plain].quantile(0.05) > 0.6


def test_the_tone_follows_the_photo(prior, head, atlas, albedo, light, plain):
    """In one light and exposure and with one opinion of the encoder, only the photo can tell dark from light skin."""
    tones = {}
    for name, factor in (("dark", 0.3), ("light", 1.4)):
        found = refine(prior, head, atlas, albedo * factor, light)
        tones[name] = float(diffuse_of(found)[:, plain].mean())
        assert found.tone_linear.mean() == pytest.approx(tones[name], rel=0.25)
    assert tones["light"] > 1.12 * tones["dark"]  # the exposure has a say


def test_the_encoder_has_its_say_in_the_tone(observed, atlas, refined):
    says = show_translation(flat(TONE), observed)
    low, right, high = (tone_in(person_of(TONE * factor), says, observed, atlas) for factor in (0.5, 1.0, 1.5))
    assert (high > 1.3 * low).all() and torch.allclose(right, TONE, rtol=0.15)
    assert torch.equal(right, refined.tone_linear)


def test_the_unseen_keeps_the_priors_detail_and_gets_the_persons_tone(refined, prior, atlas):
    unseen = atlas.mask & (atlas.surface[2] < -0.11)
    found, before = diffuse_of(refined), srgb_to_linear(prior.images[Domain.DIFFUSE])
    assert unseen.sum() > 1000 and refined.maps.coverage[unseen].max() < 0.05
    assert correlation(luminance(found), luminance(before), unseen) > 0.9
    assert torch.allclose(found[:, unseen].mean(1), TONE, rtol=0.25)


def test_the_seen_forgets_the_priors_detail(refined, prior, atlas, albedo, plain):
    found, before = (luminance(image) for image in (diffuse_of(refined), srgb_to_linear(prior.images[Domain.DIFFUSE])))
    assert abs(correlation(found - luminance(albedo), before, plain)) < 0.4


def test_strength_0_keeps_the_swapped_maps_but_for_their_tone(prior, head, atlas, albedo, light, refined):
    kept = refine(prior, head, atlas, albedo, light, strength=0.0)
    ratio = diffuse_of(kept) / srgb_to_linear(prior.images[Domain.DIFFUSE])
    inside = ratio[:, atlas.mask]
    assert (inside.std(1) / inside.mean(1) < 1e-3).all()
    assert torch.allclose(kept.tone_linear, refined.tone_linear)
    assert torch.allclose(kept.maps.images[Domain.NORMAL], prior.images[Domain.NORMAL], atol=1e-5)
    assert kept.maps.coverage.max() == 0


def test_a_little_strength_is_a_little_of_the_photo_and_none_of_its_light(
    prior, head, atlas, albedo, light, refined, plain
):
    """However little the photo counts, it is read in the same way."""
    images = [refine(prior, head, atlas, albedo, light, strength=each) for each in (0.0, 0.2)]
    bare, some = (diffuse_of(each).log()[:, plain] for each in images)
    full = diffuse_of(refined).log()[:, plain]
    assert torch.allclose(some - bare, 0.2 * (full - bare), atol=0.02)


@pytest.mark.parametrize("radius", [0.0035, 0.006])
def test_what_one_side_lends_the_other_has_no_moles(atlas, places, radius):
    left = (atlas.surface[0] > 0.005).float() * atlas.mask
    near = torch.exp(-((distance_to(atlas, places[MOLES["left cheek"]]) / radius) ** 4))
    shown = (1 - MOLE_DEPTH * near) * TONE[:, None, None]
    plain_skin = PRIOR_TONE[:, None, None].expand_as(shown)
    merged = _merge(shown, plain_skin, left, 0 * left, atlas)
    assert contrast_at(merged, atlas, places[MOLES["left cheek"]]) < 0.6
    mirrored = places[MOLES["left cheek"]] * torch.tensor([-1.0, 1.0, 1.0])
    assert contrast_at(merged, atlas, mirrored) > 0.95


def test_half_the_strength_is_half_the_mole(prior, head, atlas, albedo, light, refined, places):
    half = refine(prior, head, atlas, albedo, light, strength=0.5)
    place = places[MOLES["left cheek"]]
    full, middle = (contrast_at(diffuse_of(each), atlas, place) for each in (refined, half))
    assert full + 0.1 < middle < 0.95


def test_other_domains_are_the_swaps(refined, prior):
    for domain in (Domain.SPECULAR, Domain.ROUGHNESS):
        assert torch.equal(refined.maps.images[domain], prior.images[domain])


def test_normals_stay_of_unit_length(refined, atlas):
    length = decode_normal(refined.maps.images[Domain.NORMAL]).norm(dim=0)[atlas.mask]
    assert torch.allclose(length, torch.ones_like(length), atol=1e-3)


# ---- what is not this skin ----


def test_open_eyes_and_the_inner_mouth_are_not_trusted(model, atlas, albedo, light):
    """Eyes and mouth are wider open in the photo than on the head: what they show there would land on skin."""
    talking = known_head(model, camera_at(focal=4.0), expression={"jawOpen": 0.3})
    photo, points = photograph(talking, linear_to_srgb(albedo), light), face_of(talking).points
    for outline in NOT_SKIN:
        middle = points[list(outline)].mean(0)
        points[list(outline)] = middle + 1.6 * (points[list(outline)] - middle) + (0.0, 3.0)
    face = Face(points)
    found = observe(photo, face, talking, atlas)
    pixel = look(atlas, talking.fine_vertices(), talking.camera).pixel
    for outline in NOT_SKIN:
        polygon = face.points[list(outline)]
        inside = np.array(
            [cv2.pointPolygonTest(polygon[:, None], point, True) > 0.7 for point in pixel.flatten(0, 1).tolist()]
        ).reshape(TEXELS, TEXELS)
        assert inside.any() and found.trust[torch.from_numpy(inside)].max() < 0.1
    assert found.trust[(atlas.region("cheek") > 0.8)].min() > 0.5


def glasses(atlas) -> Tensor:
    """[T, T] 1 on two round rims and the bridge between them."""
    x, y, z = atlas.surface
    ring = ((x.abs() - 0.031) ** 2 + (y + 0.002) ** 2).sqrt()
    rims = ((ring - 0.025).abs() < 0.0022) & (x.abs() > 0.004)
    bridge = (x.abs() < 0.011) & ((y - 0.006).abs() < 0.0028)
    return ((rims | bridge) & (z > -0.02) & atlas.mask).float()


def test_glasses_are_taken_off(prior, head, atlas, albedo, light, refined, plain):
    worn = glasses(atlas)
    found = refine(prior, head, atlas, albedo * (1 - 0.93 * worn), light)
    on_cheek = (worn > 0) & (atlas.region("brow") < 0.2) & (atlas.region("eyelid") < 0.2) & plain
    assert on_cheek.sum() > 60
    darkness = (diffuse_of(found) / diffuse_of(refined)).log().mean(0)[on_cheek]
    assert math.log(0.07) < -2.5 and darkness.median() > -0.3
    assert found.maps.coverage[on_cheek].median() < 0.3
    away = plain & (functional.max_pool2d(worn[None], 21, 1, 10)[0] == 0)
    assert found.maps.coverage[away].median() > 0.8


def test_a_coloured_rim_does_not_dye_the_brows(prior, head, atlas, albedo, light, places):
    """Round rims, high enough to cross the brows."""
    worn, y = glasses(atlas), atlas.surface[1]
    on_brow = (atlas.region("brow") > 0.5) & ((y - y[atlas.region("brow") > 0.5].mean()).abs() < 0.002)
    teal = torch.tensor([0.01, 0.08, 0.10])[:, None, None]
    found = refine(prior, head, atlas, torch.where((worn > 0) | on_brow, teal, albedo), light)
    red, _, blue = diffuse_of(found)[:, on_brow & (found.trust > 0.5)]
    assert (red / blue).median() > 0.7 * TONE[0] / TONE[2]


def without_rims(shown, worn, prior, atlas) -> Tensor:
    rims, trust = functional.max_pool2d(worn[None, None], 5, 1, 2)[0, 0], atlas.mask.float()
    return remove_rims(shown - 2.5 * worn, find_cover(shown, trust, rims, atlas), trust, prior, atlas)


@pytest.mark.parametrize(("hair", "strength"), [(-1.5, 1.0), (0.4, 0.15), (None, 0.6)], ids=["dark", "white", "bald"])
def test_a_rim_is_no_brow_and_brows_under_it_are_as_dark_as_the_hair(model, hair, strength):
    atlas = make_atlas(model, 512)
    y, brow = atlas.surface[1], atlas.region("brow") > 0.5
    skin = TONE.log()[:, None, None].expand(3, 512, 512)
    above = (atlas.region("scalp") > 0.5) & (y > 0.05)
    shown = torch.where(above, skin.mean() + hair, skin) if hair is not None else skin
    bare = without_rims(shown, glasses(atlas).maximum(brow.float()), skin - 0.8 * brow, atlas)
    expected = -0.8 * strength * atlas.region("brow")[brow].mean()
    assert (bare - skin)[:, brow].mean() == pytest.approx(float(expected), abs=0.1)


def test_a_brow_goes_on_under_a_thin_rim_as_it_looks_beside_it(model):
    atlas = make_atlas(model, 512)
    x, brow = atlas.surface[0].abs(), atlas.region("brow") > 0.5
    worn = (brow & ((x - x[brow].mean()).abs() < 0.001)).float()
    skin = TONE.log()[:, None, None].expand(3, 512, 512)
    bare = without_rims(skin - 1.2 * brow, worn, skin - 0.3 * brow, atlas)
    assert (worn > 0).sum() > 10
    assert (bare - skin)[:, worn > 0].mean() == pytest.approx(-1.2, abs=0.2)


@pytest.mark.parametrize("moustache_alone", [False, True])
def test_a_white_beard_stays_white(prior, head, atlas, albedo, light, places, moustache_alone):
    """Its hairs are brighter and greyer than the skin, as gloss is."""
    beard = (atlas.region("beard") > 0.5) & (atlas.region("lip") < 0.05)
    if moustache_alone:
        beard &= atlas.surface[1] > places[0][1]
    strands = 0.42 * (1 + 0.35 * torch.sin(atlas.surface[0] * 2500))
    found = refine(prior, head, atlas, torch.where(beard, strands, albedo), light)
    seen = beard & (found.trust > 0.9) & (atlas.dark_by_nature < 0.05)
    assert seen.sum() > 60
    red, _, blue = diffuse_of(found)[:, seen]
    assert blue.median() > 1.5 * TONE[2] and (red / blue).median() < 1.3 < TONE[0] / TONE[2]


def test_without_a_bridge_nothing_is_taken_for_glasses(prior, head, atlas, albedo, light, places):
    """Make-up or a tattoo round one eye is the person's."""
    ring = (distance_to(atlas, places[50]) - 0.012).abs() < 0.0025
    found = refine(prior, head, atlas, albedo * torch.where(ring, 0.35, 1.0), light)
    plain_ring = ring & (found.maps.coverage > 0)
    assert found.maps.coverage[plain_ring].median() > 0.8
    around = (distance_to(atlas, places[50]) < 0.008) & atlas.mask
    assert diffuse_of(found).mean(0)[ring].median() < 0.7 * diffuse_of(found).mean(0)[around].median()


def with_hair(albedo, atlas, lowest: float) -> Tensor:
    """Dark strands over the scalp and the forehead down to `lowest` metres above the eyes."""
    strands = 0.045 * (1 + 0.5 * torch.sin(atlas.surface[0] * 2500))
    dark = strands * torch.tensor([1.2, 0.9, 0.6])[:, None, None]
    return torch.where((atlas.surface[1] > lowest) & atlas.mask, dark, albedo)


def darkness(found, refined, where) -> float:
    return float((diffuse_of(found) / diffuse_of(refined)).log().mean(0)[where].median())


def test_a_fringe_is_taken_off_the_forehead(prior, head, atlas, albedo, light, refined, observed):
    found = refine(prior, head, atlas, with_hair(albedo, atlas, 0.022), light)
    under_fringe = (atlas.surface[1] > 0.024) & (atlas.region("face") > 0.9) & (at_home(atlas) < 0.05)
    under_fringe &= (observed.trust > 0.7) & (atlas.features < 0.05)
    assert under_fringe.sum() > 60
    assert found.maps.coverage[under_fringe].median() < 0.2
    assert darkness(found, refined, under_fringe) > -0.5
    below = (atlas.surface[1] < 0.0) & (atlas.region("cheek") > 0.5)
    assert found.maps.coverage[below].median() > 0.8


def test_hair_stays_on_the_scalp_and_goes_on_behind(prior, head, atlas, albedo, light, refined, observed):
    haired = with_hair(albedo, atlas, 0.055)
    found = refine(prior, head, atlas, haired, light)
    on_top = (atlas.surface[1] > 0.066) & (atlas.region("scalp") > 0.6) & atlas.mask
    seen, behind = on_top & (observed.trust > 0.15), on_top & (observed.trust == 0) & (atlas.surface[2] < -0.1)
    assert seen.sum() > 20 and behind.sum() > 60
    assert darkness(found, refined, seen) < -1.0
    assert darkness(found, refined, behind) < -1.0
    assert (
        found.maps.images[Domain.SPECULAR][0][behind].median() < 0.8 * prior.images[Domain.SPECULAR][0][behind].median()
    )
    photo = photograph(head, linear_to_srgb(haired), light)
    evidence = [Evidence(photo, face_of(head), head, person_of(TONE), flat(TONE))]
    bald = refine_from_photos(prior, evidence, atlas, hair=0.0)
    assert darkness(bald, refined, behind) > -0.3 and bald.growth.curl == 0.0


def test_a_bald_head_stays_bald(refined, atlas):
    scalp = (atlas.region("scalp") > 0.9) & atlas.mask
    face = (atlas.region("face") > 0.9) & (atlas.features < 0.3)
    brightness = diffuse_of(refined).mean(0)
    assert brightness[scalp].median() > 0.7 * brightness[face].median()


def test_folds_of_the_expression_go_and_others_stay(model, atlas):
    """A dark line beside the mouth is a fold when the photo smiles, and the person's own when it does not."""
    line = ((atlas.surface[0] - 0.033).abs() < 0.0015) & (atlas.surface[1] < -0.035) & (atlas.surface[1] > -0.06)
    line &= (atlas.surface[2] > 0.0) & atlas.mask
    log_albedo = torch.where(line, -2.2, -1.2).expand(3, -1, -1).contiguous()
    seen, bare = atlas.mask.float(), torch.zeros(TEXELS, TEXELS)
    smile = known_head(model, camera_at(), expression={"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9})
    assert line.sum() > 8
    folds = find_folds(log_albedo, seen, bare, smile, atlas)
    assert -1.6 < (log_albedo + folds)[:, line].mean() < -1.3  # a quarter of it may be the person's own
    assert not find_folds(log_albedo, seen, bare, known_head(model, camera_at()), atlas).any()


def test_the_person_is_told_from_the_background(head, atlas, albedo, light):
    photo = photograph(head, linear_to_srgb(albedo), light)
    background = (photo.srgb - photo.srgb[0, 0]).max(-1) == 0
    srgb = np.where(background[..., None], np.float32([0.2, 0.35, 0.8]), photo.srgb)
    person = person_in_photo(replace(photo, srgb=srgb), face_of(head), head)
    assert person.shape == background.shape
    assert person[background].mean() < 0.05
    assert person[~background].mean() > 0.9


def test_a_background_beside_a_slipping_fit_is_not_skin(prior, head, atlas, albedo, light, refined):
    """Green cloth up to the jaw: outside the face everything must look like this skin."""
    neck = (atlas.region("neck") > 0.9) & atlas.mask
    cloth = torch.where(neck, torch.tensor([0.05, 0.3, 0.05])[:, None, None], albedo)
    found = refine(prior, head, atlas, cloth, light)
    seen = neck & (refined.maps.coverage > 0.5)
    assert seen.sum() > 50
    assert found.maps.coverage[seen].median() < 0.1
    greenness = diffuse_of(found)[1] / diffuse_of(found)[0]
    assert greenness[seen].median() < 1.0


# ---- pieces ----


def test_the_shadow_under_the_jaw_is_not_skin(atlas, places):
    under = (atlas.normal[1] < -0.8) & (distance_to(atlas, places[152]) < 0.03) & (atlas.region("face") > 0.8)
    under &= atlas.surface[1] < places[17][1]
    assert under.sum() > 10
    flat, no_rims = torch.full((3, TEXELS, TEXELS), -1.2), torch.zeros(TEXELS, TEXELS)
    shadowed = torch.where(under, flat - 0.6, flat)
    assert find_cover(flat, atlas.mask.float(), no_rims, atlas).skin[under].mean() > 0.9
    assert find_cover(shadowed, atlas.mask.float(), no_rims, atlas).skin[under].mean() < 0.3
    bearded = torch.where(atlas.region("beard") > 0.3, shadowed.minimum(flat - 0.6), shadowed)
    assert find_cover(bearded, atlas.mask.float(), no_rims, atlas).skin[under].mean() > 0.6


def test_gloss_is_pressed_and_darkness_left(atlas, places):
    flat = torch.full((3, TEXELS, TEXELS), -1.2)
    spot = distance_to(atlas, places[50]) < 0.004
    for change, kept in ((0.8, False), (-0.8, True)):
        spotted = torch.where(spot, flat + change, flat)
        found = _soften_highlights(spotted, atlas.mask.float(), atlas)
        moved = (found - spotted)[:, spot]
        assert torch.allclose(moved, torch.zeros(()), atol=0.05) if kept else (moved < -0.1).all()


DARK_TONE = torch.tensor([0.10, 0.05, 0.03])[:, None, None]


@pytest.mark.parametrize("width", [0.006, 0.02], ids=["spot", "forehead"])
def test_the_colour_of_gloss_goes_and_of_its_brightness_a_part(atlas, places, width):
    skin, gloss = DARK_TONE.expand(3, TEXELS, TEXELS), 0.06
    spot = torch.exp(-((distance_to(atlas, places[151]) / width) ** 2)) * gloss
    found = remove_gloss((skin + spot).log(), skin, atlas.mask.float(), atlas).exp()
    middle = distance_to(atlas, places[151]) < 0.003
    colour = lambda image: (image / image.mean(0))[:, middle]
    before, after = ((colour(image) - colour(skin)).abs().mean() for image in (skin + spot, found))
    assert before > 0.2 and after < 0.02
    brighter = ((found - skin).mean(0) / spot)[middle].mean()
    assert brighter == pytest.approx(GLOSS_KEPT, abs=0.05)
    far = (distance_to(atlas, places[151]) > 3 * width) & atlas.mask
    assert torch.allclose(found[:, far], skin[:, far], rtol=0.02)


@pytest.mark.parametrize(
    "patch",
    [DARK_TONE * 1.6, torch.full((3, 1, 1), 0.04), torch.tensor([0.16, 0.05, 0.04])[:, None, None]],
    ids=["fairer skin", "dark grey hair", "red lips"],
)
def test_what_is_not_brighter_and_greyer_is_no_gloss(atlas, places, patch):
    skin = DARK_TONE.expand(3, TEXELS, TEXELS)
    spot = distance_to(atlas, places[50]) < 0.006
    shown = torch.where(spot, patch, skin)
    found = remove_gloss(shown.log(), skin, atlas.mask.float(), atlas).exp()
    assert torch.allclose(found[:, atlas.mask], shown[:, atlas.mask], rtol=0.02)


@pytest.mark.parametrize(
    ("colour", "is_hair"), [((0.005, 0.004, 0.0065), True), ((0.15, 0.25, 0.6), False)], ids=["black hair", "sky"]
)
def test_black_hair_may_be_bluish_and_a_sky_is_no_hair(atlas, colour, is_hair):
    skin = TONE[:, None, None].expand(3, TEXELS, TEXELS)
    above = (atlas.region("scalp") > 0.5) & (atlas.surface[1] > 0.05)
    shown = torch.where(above, torch.tensor(colour)[:, None, None], skin)
    hair = find_cover(shown.log(), atlas.mask.float(), 0 * atlas.region("skin"), atlas).hair[above & atlas.mask]
    assert hair.mean() > 0.9 if is_hair else hair.mean() < 0.1


def test_hair_in_less_light_than_the_face_is_not_made_fair(atlas):
    face, scalp = atlas.region("face") > 0.5, (atlas.region("scalp") > 0.5) & atlas.mask
    for light, expected in ((0.5, math.log(0.5)), (2.0, 0.0)):
        shading = torch.where(face, 1.0, light).expand(3, -1, -1)
        unlit = Unlit(None, shading, torch.ones(3), torch.ones(3), log_albedo=shading, translated=shading)
        assert too_dark_for_hair(unlit)[:, scalp & ~face].mean() == pytest.approx(expected)


@pytest.mark.parametrize("depth, is_around", [(0.004, True), (0.05, False)])
def test_a_few_roots_do_not_tell_the_colour_of_hair(atlas, depth, is_around):
    """depth: metres down from the top that the photo shows; its roots are brown, the hair around the head is grey."""
    brown, grey = torch.tensor([0.10, 0.04, 0.03]), torch.tensor([0.30, 0.27, 0.25])
    height = atlas.surface[1]
    scalp = (atlas.region("scalp") > 0.5) & atlas.mask & (atlas.surface[2] > -0.1)
    shown = scalp & (height > height[scalp].max() - depth)
    hair, skin = shown.float(), (atlas.region("face") > 0.5).float()
    cover = Cover(skin=skin * (1 - hair), hair=hair, near_hair=hair, rims=0 * hair)
    colour = torch.where(shown, brown[:, None, None], TONE[:, None, None])
    found = grow_hair(colour, cover, (hair + skin).clamp(max=1), TONE, HairAround(grey, 0 * hair), atlas).colour()
    nearer = (found.log() - grey.log()).norm() < (found.log() - brown.log()).norm()
    assert bool(nearer) == is_around


@pytest.mark.parametrize("stands", [True, False])
def test_hair_that_only_the_outline_shows_covers_the_scalp_and_no_seen_skin(atlas, stands):
    """A photo from ahead of a high forehead: hair combed back from it lies off the bare head, not over it."""
    face = (atlas.region("face") > 0.5).float()
    cover = Cover(skin=face, hair=0 * face, near_hair=0 * face, rims=0 * face)
    around = torch.tensor([0.20, 0.21, 0.19])  # a background shines through its edge
    skull = (atlas.region("scalp") > 0.9) & atlas.mask
    scalp, off_head = skull & (at_home(atlas) > 0.9), skull.float() * stands
    crop = grow_hair(
        TONE[:, None, None].expand(3, TEXELS, TEXELS), cover, face, TONE, HairAround(around, off_head), atlas
    )
    assert crop.presence[face > 0.9].max() < 0.05
    if not stands:
        assert crop.colour() is None and not crop.presence.any()
        return
    red, green, blue = crop.colour().tolist()
    assert crop.presence[scalp].mean() > 0.9
    assert red > 0.999 * green and green > blue
    assert crop.colour().log().mean() == pytest.approx(float(around.log().mean()), abs=0.03)


def test_hair_has_no_parting_where_the_tile_is_cut(atlas):
    """The tile is cut open down the back of the head: texels along its border, and those that filters take beyond it."""
    hair = (at_home(atlas) > 0.9).float()
    face = (atlas.region("face") > 0.5).float()
    cover = Cover(skin=face, hair=hair, near_hair=hair, rims=0 * face)
    black = torch.full((3, TEXELS, TEXELS), 0.03)
    crop = grow_hair(black, cover, hair, TONE, None, atlas)
    behind = (atlas.surface[2] < -0.1) & (atlas.surface[1] > 0.0) & atlas.mask
    border = behind & (soften(atlas.mask.float(), 0.004) < 0.95)
    beyond = (dilate(border.float(), 0.01) > 0) & ~atlas.mask
    assert border.sum() > 100 and crop.presence[border].min() > 0.95
    assert beyond.sum() > 100 and crop.presence[beyond].min() > 0.9 and crop.albedo[:, beyond].max() < 0.1


def test_hair_ends_at_the_nape(atlas):
    """A finger's breadth below the ears behind, and not on the side of the neck under them: a head is turned around, too."""
    x, y, z = atlas.surface
    behind = atlas.mask & (x.abs() < 0.03) & (z < -0.1)
    beside = atlas.mask & (x.abs() > 0.05) & (z < -0.05) & (z > -0.085)
    grows = at_home(atlas)
    assert grows[behind & (y > -0.05)].min() > 0.9 and grows[behind & (y < -0.085)].max() < 0.1
    assert grows[beside & (y < -0.05)].max() < 0.1
    assert grows[(atlas.region("scalp") > 0.95) & (y > 0.07)].min() > 0.9


@pytest.mark.parametrize("shade, is_around", [((0.16, 0.10, 0.075), True), ((0.20, 0.17, 0.15), False)])
def test_hair_through_which_the_skin_shows_has_not_its_colour(atlas, shade, is_around):
    """Much of the scalp is seen; around it hair is grey. What has the skin's colour is skin between shaded roots."""
    grey, colour = torch.tensor([0.40, 0.37, 0.35]), torch.tensor(shade)
    scalp = (atlas.region("scalp") > 0.5) & atlas.mask
    hair, skin = scalp.float(), (atlas.region("face") > 0.5).float()
    cover = Cover(skin=skin * (1 - hair), hair=hair, near_hair=hair, rims=0 * hair)
    shown = torch.where(scalp, colour[:, None, None], TONE[:, None, None])
    found = grow_hair(shown, cover, (hair + skin).clamp(max=1), TONE, HairAround(grey, 0 * hair), atlas).colour().log()
    hue = lambda log: log - log.mean()
    assert torch.allclose(hue(found), hue((grey if is_around else colour).log()), atol=0.06)
    assert colour.log().mean() - 0.1 < found.mean() < grey.log().mean()


def test_a_skull_that_stands_out_is_no_hair():
    for factor in (0.7, 1.3):
        assert not unlike_skin(TONE * factor, TONE)
    assert unlike_skin(torch.tensor([0.35, 0.33, 0.31]), TONE)  # grey hair
    assert unlike_skin(torch.tensor([0.05, 0.035, 0.025]), TONE)  # brown hair


def test_only_bright_hair_may_be_green():
    for colour, stays in (((0.30, 0.60, 0.32), True), ((0.09, 0.11, 0.08), False)):
        shown = torch.tensor(colour).log()[:, None, None].expand(3, 2, 2)
        red, green, _ = _of_melanin(shown)[:, 0, 0]
        assert (green > red + 0.1) == stays


def test_black_hair_is_warm_and_grey_hair_stays_grey():
    """Of black a photo shows the colour of what is around."""
    for level, is_black in ((0.018, True), (0.2, False)):
        shown = torch.tensor([level, level, 1.1 * level]).log()[:, None, None].expand(3, 2, 2)
        found = _of_melanin(shown)
        red, _, blue = found[:, 0, 0]
        assert (red > blue + 0.25) == is_black
        assert found.mean() == pytest.approx(float(shown.mean()), abs=1e-4)


def test_olive_hair_is_blond():
    shown = torch.tensor([0.082, 0.066, 0.030]).log()[:, None, None].expand(3, 2, 2)
    red, green, blue = _of_melanin(shown)[:, 0, 0]
    assert red - blue == pytest.approx(float(shown[0, 0, 0] - shown[2, 0, 0]), abs=1e-5)
    assert shown[0, 0, 0] - shown[1, 0, 0] < 0.25 and red - green > 0.3


def test_hair_does_not_shine_and_has_strands(prior, head, atlas, albedo, light, observed):
    haired = with_hair(albedo, atlas, 0.055)
    on_top = (atlas.surface[1] > 0.066) & (atlas.region("scalp") > 0.6) & atlas.mask
    band = on_top & (observed.trust > 0.15) & ((atlas.surface[0] * 500).sin() > 0.6)
    found = refine(prior, head, atlas, torch.where(band, haired * 4, haired), light)
    seen = on_top & (observed.trust > 0.3)
    bright, dark = (luminance(diffuse_of(found))[seen & where].median() for where in (band, ~band))
    assert bright - dark < 0.6 * math.log(4)
    behind = on_top & (observed.trust == 0) & (atlas.surface[2] < -0.1)
    unrest = luminance(diffuse_of(found)) - soften(luminance(diffuse_of(found)), 0.004)
    assert unrest[behind].abs().median() > 0.002  # texels as coarse as these hold little of it


def test_hair_behind_has_strands_as_hair_in_front(model):
    """On texels that hold them, and away from the border of the tile, where a fading edge could be taken for strands."""
    fine = make_atlas(model, 512)
    face = (fine.region("face") > 0.5).float()
    front = ((fine.surface[2] > -0.03) & (fine.surface[1] > 0.066) & fine.mask).float() * (1 - face)
    cover = Cover(skin=face, hair=front, near_hair=front, rims=0 * face)
    shown = with_hair(TONE[:, None, None].expand(3, 512, 512), fine, 0.055)
    crop = grow_hair(shown, cover, (front + face).clamp(max=1), TONE, None, fine)
    behind = (fine.surface[2] < -0.1) & (fine.surface[1] > 0.03) & (soften(fine.mask.float(), 0.01) > 0.99)
    strands = luminance(crop.albedo)
    assert strands[behind].std() > 0.02 and crop.presence[behind].min() > 0.9


def test_tile_frames_point_left_and_up_on_the_face(atlas):
    along_u, along_v = tile_frames(atlas)
    front = (atlas.region("cheek") > 0.5) | (atlas.region("forehead") > 0.8)
    assert along_u[0][front].min() > 0.2 and along_v[1][front].min() > 0.2
    assert torch.allclose(along_u.norm(dim=0)[front], torch.ones(int(front.sum())), atol=1e-4)


def test_a_dark_line_becomes_a_groove(model, atlas, places):
    """Both walls of a groove face its middle: above the line the normal tips down, below it up."""
    height = atlas.surface[1] - places[151][1]
    line = torch.exp(-((height / 0.002) ** 2))
    albedo = (0.3 * (1 - 0.5 * line)).expand(3, -1, -1)
    normal = atlas.normal
    carved = decode_normal(_carve_normals(encode_normal(normal), albedo, atlas.mask.float(), atlas))
    tilt = ((carved - normal) * tile_frames(atlas)[1]).sum(0)
    forehead = (atlas.region("forehead") > 0.8) & (atlas.region("brow") < 0.05)
    above, below = (forehead & (side > 0.0005) & (side < 0.003) for side in (height, -height))
    assert above.sum() > 10 and tilt[above].mean() < -0.005 and tilt[below].mean() > 0.005
    untouched = _carve_normals(encode_normal(normal), albedo, torch.zeros(TEXELS, TEXELS), atlas)
    assert torch.allclose(decode_normal(untouched)[:, atlas.mask], normal[:, atlas.mask], atol=1e-3)


def test_a_photo_that_shows_less_is_trusted_less(model, atlas, albedo, light, head, observed):
    """Half profile: the far cheek turns away."""
    turned = replace(head, camera=camera_at(yaw_degrees=40.0, focal=4.0))
    found = observe(photograph(turned, linear_to_srgb(albedo), light), face_of(turned), turned, atlas)
    far = (atlas.region("cheek") > 0.3) & (atlas.surface[0] < -0.03)
    assert found.trust[far].mean() < 0.5 * observed.trust[far].mean()


def test_a_photo_that_shows_no_face_skin_is_refused(head, atlas):
    behind = replace(head, camera=camera_at(yaw_degrees=180.0, focal=4.0))
    photo = Photo(np.full((behind.camera.height, behind.camera.width, 3), 0.5, np.float32), "nape.png")
    with pytest.raises(Id2rError, match=r"nape\.png.*too little"):
        observe(photo, face_of(behind), behind, atlas)


def test_a_crease_tilts_the_normals_alike_at_every_resolution(model):
    """The tilt is a matter of the skin, not of how many texels show it."""
    tilts = []
    for size in (512, 1024):
        atlas = make_atlas(model, size)
        u = torch.linspace(0, 1, size)[None, :].expand(size, -1)
        albedo = (0.3 * torch.exp(-0.8 * torch.exp(-(((u - 0.45) / 0.008) ** 2)))).expand(3, -1, -1).contiguous()
        flat = torch.full((3, size, size), 0.5)
        flat[2] = 1.0
        carved = _carve_normals(flat, albedo, atlas.mask.float(), atlas)
        on_cheek = slice(round(0.52 * size), round(0.56 * size)), slice(round(0.42 * size), round(0.48 * size))
        tilts.append(float((carved - flat)[:, *on_cheek].abs().amax()))
    assert tilts[0] > 0.0005 and tilts[1] == pytest.approx(tilts[0], rel=0.25), tilts


def test_of_the_edge_of_a_lid_what_is_dark_is_believed_and_what_is_bright_is_not(atlas):
    lid, trust = atlas.region("eyelid") > 0.9, torch.full((TEXELS, TEXELS), 0.15)
    darker, brighter = torch.full((3, TEXELS, TEXELS), -1.0), torch.full((3, TEXELS, TEXELS), 1.0)
    assert _lash_line(darker, trust, atlas)[lid].min() > 0.5
    assert _lash_line(brighter, trust, atlas).max() == 0
    assert _lash_line(darker, torch.zeros_like(trust), atlas).max() == 0  # what the photo does not show at all
    assert _lash_line(darker, trust, atlas)[atlas.region("cheek") > 0.9].max() == 0


def test_shade_that_one_side_alone_has_is_light(atlas):
    seen, shade = atlas.mask.float(), 0.3 * torch.sin(40 * atlas.surface[0]) * atlas.mask
    alike = 0.3 * torch.cos(40 * atlas.surface[0]) * atlas.mask
    inside = (fade(seen) > 0.99) & (fade(seen).flip(-1) > 0.99)
    assert _own_shade(shade, seen)[inside].abs().max() < 0.02
    assert torch.allclose(_own_shade(alike, seen)[inside], OWN_SHADE * alike[inside], atol=0.01)
    one_side = seen * (atlas.surface[0] > 0)
    there = (fade(one_side) > 0.99) & (fade(one_side).flip(-1) < 0.01)
    assert torch.allclose(_own_shade(shade, one_side)[there], ONE_SIDED * shade[there], atol=0.01)
