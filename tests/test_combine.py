"""Two photos of one skin, made by hand: what is brought together must be level, sharp and free of doubles."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from id2r_core.combine import Reading, combine
from id2r_core.cover import Cover
from id2r_core.head.atlas import make_atlas

pytestmark = pytest.mark.usefixtures("one_thread")

TEXELS, SKIN = 192, 0.3
MOLE, MOLE_RADIUS, MOLE_ALBEDO = 50, 0.004, 0.06  # number of the landmark; metres
APART = 0.009  # metres that a second photo lies beside the first


@pytest.fixture(scope="module")
def atlas(model):
    return make_atlas(model, TEXELS)


@pytest.fixture(scope="module")
def left_to_right(atlas):
    """Metres from the middle of the face, [T, T]."""
    return atlas.surface[0]


def reading(albedo: Tensor, trust: Tensor, **others) -> Reading:
    none = torch.zeros(TEXELS, TEXELS)
    values = {
        "own_shade": none,
        "cover": Cover(trust, none, none, none),
        "beard": none,
        "folds": none,
        "seen": trust,
        "clarity": torch.full_like(none, 0.8),
        "ahead": 1.0,
    }
    return Reading(albedo=albedo.expand(3, -1, -1), trust=trust, **values | others)


def skin_with_mole(atlas, model, beside: float = 0.0) -> Tensor:
    place = model.neutral_landmarks[MOLE] + torch.tensor([beside, 0.0, 0.0])
    distance = (atlas.surface - place[:, None, None]).norm(dim=0)
    return torch.where(distance < MOLE_RADIUS, MOLE_ALBEDO, SKIN)


def test_one_photo_stays_as_it_is(atlas, model):
    trust = torch.rand(TEXELS, TEXELS, generator=torch.Generator().manual_seed(0)) * atlas.mask
    alone = reading(skin_with_mole(atlas, model), trust)
    combined = combine([alone], atlas)
    for name in ("albedo", "seen", "trust", "clarity", "evidence"):
        assert torch.equal(getattr(combined.reading, name), getattr(alone, name)), name
    assert (combined.share == 1).all()


def test_two_photos_of_different_tone_meet_without_a_seam(atlas, left_to_right):
    """The second is a third brighter and goes on where the first ends."""
    face = (atlas.region("face") > 0.5).float()
    first = reading(torch.full((TEXELS, TEXELS), SKIN), face * (left_to_right > -0.02))
    second = reading(torch.full((TEXELS, TEXELS), 1.33 * SKIN), face * (left_to_right < 0.02))
    found = combine([first, second], atlas).reading
    whole = found.albedo[0][face > 0]
    assert whole.max() / whole.min() < 1.08
    assert SKIN < whole.mean() < 1.33 * SKIN
    assert torch.equal(found.trust, face)


def test_a_mole_that_two_photos_show_beside_each_other_is_there_once(atlas, model):
    trust = atlas.mask.float()
    pair = [reading(skin_with_mole(atlas, model, beside), trust) for beside in (0.0, APART)]
    combined = combine(pair, atlas)
    dark = lambda albedo: (albedo[0] < 0.6 * SKIN) & (atlas.region("cheek") > 0.1)
    assert dark(pair[0].albedo).sum() > 8 and not (dark(pair[0].albedo) & dark(pair[1].albedo)).any()
    assert (dark(combined.reading.albedo) & dark(pair[0].albedo)).sum() > 0.8 * dark(pair[0].albedo).sum()
    assert not (dark(combined.reading.albedo) & dark(pair[1].albedo)).any()
    assert combined.share[dark(pair[0].albedo)].min() > 0.8


def test_the_photo_that_sees_a_place_straight_wins_there(atlas, model, left_to_right):
    """The mole is in the second photo alone, which looks straight at it where the first grazes."""
    trust, grazing = atlas.mask.float(), torch.full((TEXELS, TEXELS), 0.3)
    first = reading(torch.full((TEXELS, TEXELS), SKIN), trust, clarity=grazing)
    second = reading(skin_with_mole(atlas, model), trust, clarity=torch.full_like(grazing, 0.9), ahead=0.82)
    place = (skin_with_mole(atlas, model) < SKIN) & (atlas.region("cheek") > 0.1)
    combined = combine([first, second], atlas)
    assert combined.reading.albedo[0][place].max() < 0.6 * SKIN and combined.share[place].max() < 0.1


def test_a_turned_photo_does_not_win_on_nose_and_lips(atlas):
    clear = torch.full((TEXELS, TEXELS), 0.9)
    first = reading(torch.full((TEXELS, TEXELS), SKIN), atlas.mask.float(), clarity=0.45 * clear)
    second = replace(first, clarity=clear, ahead=0.82)
    share = combine([first, second], atlas).share
    for name in ("nose", "lip"):
        assert share[atlas.region(name) > 0.9].min() > 0.9, name
    assert share[(atlas.region("cheek") > 0.9) & (atlas.dark_by_nature == 0)].median() < 0.3


def test_what_one_photo_hides_another_shows(atlas, left_to_right):
    """Rims in the first photo, a strand of hair in the second: under either the other is believed."""
    whole = atlas.mask.float()
    rims, strand = (whole * ((left_to_right - x).abs() < 0.01) for x in (0.03, -0.03))
    none = torch.zeros_like(whole)
    worn = reading(torch.full_like(whole, SKIN), whole, cover=Cover(whole, none, none, rims))
    haired = reading(torch.full_like(whole, SKIN), whole * (1 - strand), cover=Cover(1 - strand, strand, strand, none))
    combined = combine([worn, haired], atlas)
    face = atlas.region("face") > 0.9
    assert combined.reading.evidence[face].min() > 0.99
    assert combined.share[face & (rims > 0)].max() < 0.01 and combined.share[face & (strand > 0)].min() > 0.99
    assert combined.reading.cover.hair[face].max() < 0.01
