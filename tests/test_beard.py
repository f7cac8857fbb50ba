"""Full beards: drawn on a synthetic head, one is found with its length and colour; bare chins and stubble have none."""

import cv2
import numpy as np
import pytest
import torch
from synthetic_head import camera_at, known_head

from id2r_core.beard import SHORTEST, see_beard
from id2r_core.conventions import linear_to_srgb
from id2r_core.folds import find_beard
from id2r_core.head.atlas import make_atlas
from id2r_core.head.model import load_head
from id2r_core.photo import Photo

SIZE = 700
SKIN, HAIR, GROUND = (np.array(each, np.float32) for each in ((0.4, 0.25, 0.2), (0.08, 0.05, 0.04), (0.7, 0.7, 0.8)))


@pytest.fixture(scope="module")
def head():
    return known_head(load_head(), camera_at(size=SIZE))


@pytest.fixture(scope="module")
def atlas(head):
    return make_atlas(head.model, 512)


def drawn(head, atlas, length: float) -> Photo:
    """The beard region in the colour of hair, and the same hanging below the chin by a length, metres."""
    on_head = atlas.bake(head.fine_vertices())[:, atlas.region("beard") > 0.5]
    pixel = head.camera.project(on_head.T)[0, :, :2].numpy()
    metre = float(head.camera.focal[0] / head.camera.project(on_head.T)[0, :, 2].mean())
    mask = cv2.fillConvexPoly(np.zeros((SIZE, SIZE), np.uint8), cv2.convexHull(pixel.round().astype(np.int32)), 1)
    lower = np.zeros_like(mask)
    shift = round(length * metre)
    for down in range(shift + 1):
        lower[down:] |= mask[: SIZE - down]
    return Photo(linear_to_srgb(np.where(lower[..., None] > 0, HAIR, GROUND)), "drawn.png")


def beard_of(head, atlas, contrast: float, length: float = 0.0):
    """contrast: of the strands, in log-luminance, half of the places."""
    torch.manual_seed(0)
    strand = (torch.rand(atlas.size, atlas.size) > 0.5) & (atlas.region("beard") > 0.5)
    skin, hair = (torch.from_numpy(each)[:, None, None] for each in (SKIN, HAIR))
    albedo = (skin.log() + strand * min(1.0, contrast) * (hair.log() - skin.log())).exp()
    may_be = (atlas.region("beard") > 0.5).float()
    return see_beard(drawn(head, atlas, length), head, albedo, may_be, atlas.mask.float(), atlas)


@pytest.mark.parametrize("length", [0.012, 0.022])
def test_a_full_beard_is_found_with_its_length_and_colour(head, atlas, length):
    beard = beard_of(head, atlas, 1.0, length)
    assert beard.length == pytest.approx(length, abs=0.004)
    assert beard.linear.numpy() == pytest.approx(HAIR, rel=0.05)
    chin = atlas.region("beard") * (1 - atlas.dark_by_nature) > 0.9
    assert beard.density[chin].mean() > 0.8 and beard.density[atlas.region("forehead") > 0.5].max() == 0


def test_the_shortest_beard_has_a_length(head, atlas):
    assert beard_of(head, atlas, 1.0).length == pytest.approx(SHORTEST, abs=0.002)


@pytest.mark.parametrize("contrast", [0.0, 0.03], ids=["bare", "stubble"])
def test_a_bare_chin_and_stubble_are_no_beard(head, atlas, contrast):
    assert beard_of(head, atlas, contrast) is None


def greyer(where, skin=(-0.7, -1.1, -1.4), by=(0.0, 0.3, 0.7)) -> torch.Tensor:
    """Log-albedo [3, T, T] of plain skin that is greyer where a mask is true."""
    return torch.tensor(skin)[:, None, None] + where * torch.tensor(by)[:, None, None]


def test_grey_light_from_one_side_is_no_grey_beard(atlas):
    """It lies on one cheek as well, of which the photo shows less, and over the middle of the mouth."""
    across, height, _ = atlas.surface
    lit = across > -0.008
    trust = 1.0 - ((across > 0) & (atlas.region("cheek") > 0.2) & (height > -0.04)).float()
    assert find_beard(greyer(lit), trust, atlas).max() < 0.1
    of_beard = (atlas.region("beard") > 0.5) & (atlas.region("lip") < 0.05)
    assert find_beard(greyer(of_beard), trust, atlas)[of_beard & (atlas.dark_by_nature < 0.05)].min() > 0.5


def test_a_grey_moustache_does_not_grow_on_the_cheeks_and_ends_softly(atlas):
    height, lip = atlas.surface[1], atlas.region("lip") > 0.5
    moustache = (atlas.region("beard") > 0.2) & (height > height[lip].mean()) & ~lip
    beside = (atlas.region("beard") < 0.02) & (atlas.region("cheek") > 0.3) & (height < -0.045)
    trust = atlas.mask.float()
    found = find_beard(greyer(moustache | beside), trust, atlas)
    assert found[moustache & (atlas.region("beard") > 0.8) & (height > height[lip].mean() + 0.012)].mean() > 0.6
    assert beside.sum() > 20 and found[beside].max() < 0.1
    down = found[1:] - found[:-1]
    assert down[(atlas.region("beard") > 0.95)[1:] & (atlas.dark_by_nature < 0.02)[1:]].abs().max() < 0.5


@pytest.mark.parametrize(
    "skin, by, is_beard",
    [
        ((-0.7, -1.1, -1.4), (0.0, 0.2, 0.5), True),
        ((-0.7, -1.1, -1.4), (-0.4, -0.15, 0.05), False),  # a shaved lip: hair under the skin is darker than it
        ((-1.5, -2.2, -2.7), (0.9, 1.3, 1.6), True),
        ((-1.6, -2.4, -3.0), (0.0, 0.2, 0.5), False),  # dark skin that mirrors grey light is not as light as grey hair
    ],
)
def test_grey_hair_is_light_hair(atlas, skin, by, is_beard):
    where = (atlas.region("beard") > 0.5) & (atlas.region("lip") < 0.05)
    found = find_beard(greyer(where, skin, by), atlas.mask.float(), atlas)
    sure = where & (atlas.dark_by_nature < 0.05) & (atlas.region("beard") > 0.9)
    assert found[sure].min() > 0.5 if is_beard else found.max() < 0.1


def test_fine_gloss_on_dark_skin_is_no_strands(atlas):
    """The same contrast is a beard on light skin, where gloss does not stand out so."""
    speckled = 0.09 * torch.randn(atlas.size, atlas.size, generator=torch.Generator().manual_seed(0))
    light, dark = (
        find_beard(greyer(0 * speckled, skin) + speckled, atlas.mask.float(), atlas)[atlas.region("beard") > 0.9].mean()
        for skin in ((-0.7, -1.1, -1.4), (-2.0, -2.8, -3.4))
    )
    assert light > 0.5 and dark < 0.5 * light
