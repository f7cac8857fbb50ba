"""The population on the stage: skin types, specular, roughness and F0 within given ranges."""

import numpy as np
import pytest
import torch

from id2r_core.capture.skins import REGION_ROUGHNESS, REGION_SPECULAR, make_tile
from id2r_core.capture.stage import CaptureStage
from id2r_core.capture.subjects import Casting
from id2r_core.conventions import SKIN_IOR, ior_to_f0
from id2r_core.pigment import ITA_EDGES, build_pigment_table
from tests.capture_data import write_data

# F0 of skin by its refractive index: from water (1.33), which wet skin has at its surface, to dry stratum corneum (1.55;
# Tuchin, "Tissue Optics", 2007). Donner & Jensen 2006 calculate with
# 1.4. Brows and scalp carry hair, which is another matter.
HAIRY = ("brow", "scalp")
F0_RANGE = (ior_to_f0(1.33), ior_to_f0(1.55))
# Beckmann slopes of skin in the literature: of the whole face (d'Eon & Luebke 2007; Donner & Jensen 2006), and over its
# regions (after Weyrich et al. 2006).
FACE_SLOPES, REGION_SLOPES = (0.30, 0.35), (0.25, 0.45)


@pytest.fixture(scope="module")
def maps(tmp_path_factory, one_thread):
    stage = CaptureStage(write_data(tmp_path_factory.mktemp("data")), 64, seed=5)
    subjects = stage.subjects(range(40))
    return stage, stage.skins(subjects), subjects


def mean_in(stage, image, region):
    """[S] means of [S, 1, T, T] over a region of the tile."""
    weight = stage.tile.regions[region] * stage.tile.is_skin
    return (image * weight).sum((1, 2, 3)) / weight.sum()


def test_two_thousand_subjects_are_balanced(model):
    """Flat within 25 %, by the tones that the maps have exactly (test_capture holds that)."""
    casting = Casting(model, build_pigment_table(), 0, "train")
    ita = casting.cast(range(2000), "cpu").ita.numpy()
    share = np.histogram(ita, bins=ITA_EDGES)[0] / (2000 / 6)
    assert share.min() > 0.75 and share.max() < 1.25
    identity, names = casting.cast(range(600), "cpu").identity, casting.identity_names
    for ancestry in ("african", "asian", "caucasian"):
        of_it = [index for index, name in enumerate(names) if name.startswith(ancestry)]
        assert 0.24 < identity[:, of_it].sum(1).mean() / 0.9 < 0.43, ancestry
    female = float((casting.cast(range(400), "cpu").number("female") < 0.5).float().mean())
    assert 0.4 < female < 0.6


def test_f0_lies_in_the_range_of_skin(maps):
    stage, skin, _ = maps
    for region in set(REGION_SPECULAR) - set(HAIRY):
        f0 = mean_in(stage, skin.specular, region) * 2 * ior_to_f0(SKIN_IOR)
        assert F0_RANGE[0] < f0.min() and f0.max() < F0_RANGE[1], region


def test_roughness_lies_in_the_range_of_skin(maps):
    """Every region of everybody, and every texel, between the narrowest and the widest lobe that was found on skin; the
    face as a whole between the two slopes that are given for whole faces, most of its regions among those measured."""
    stage, skin, _ = maps
    everywhere = skin.roughness[:, :, stage.tile.is_skin[0, 0]]
    assert (2 / 50) ** 0.25 - 1e-6 <= everywhere.min() and everywhere.max() <= 0.45**0.5 + 1e-6
    face = float(mean_in(stage, skin.roughness, "face").mean())
    assert FACE_SLOPES[0] ** 0.5 - 0.02 < face < FACE_SLOPES[1] ** 0.5
    means = torch.stack([mean_in(stage, skin.roughness, region) for region in REGION_ROUGHNESS])
    inside = (means > REGION_SLOPES[0] ** 0.5) & (means < REGION_SLOPES[1] ** 0.5)
    assert inside.float().mean() > 0.85
    assert means.std(1).mean() > 0.01  # people differ


def test_regions_gloss_in_the_measured_order(maps):
    """Weyrich et al. 2006: nose and forehead gloss most, cheek and chin less, neck least; on the average of subjects."""
    stage, skin, _ = maps
    specular, rough = (
        {name: float(mean_in(stage, image, name).mean()) for name in ("nose", "forehead", "cheek", "neck")}
        for image in (skin.specular, skin.roughness)
    )
    assert specular["nose"] > specular["forehead"] > specular["cheek"] > specular["neck"]
    assert rough["nose"] < rough["forehead"] < rough["cheek"] < rough["neck"]


def test_older_skin_is_rougher_and_more_wrinkled(maps):
    stage, skin, subjects = maps
    age = subjects.number("age")
    rough = mean_in(stage, skin.roughness, "cheek")
    relief = skin.height_slope.square().mean((1, 2, 3)).sqrt()
    of = lambda values: float(torch.corrcoef(torch.stack([age, values]))[0, 1])
    assert of(relief) > 0.2 and of(rough) > 0.1


def test_lips_are_never_black(maps):
    stage, skin, subjects = maps
    lip = (stage.tile.regions["lip"] > 0.9) & stage.tile.is_skin
    darkest = torch.stack([image[:, lip[0, 0]].amin(1) for image in skin.diffuse_linear])  # [S, 3]
    assert (darkest / subjects.tone_linear > 0.3).all()


def test_the_tile_of_the_stage_knows_its_regions(model):
    assert set(REGION_SPECULAR) | set(REGION_ROUGHNESS) <= set(make_tile(model, 64).regions)
