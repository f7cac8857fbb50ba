"""Every figure against something independent: a slow formula written out here, another package, published numbers.

Numbers of colour-science were computed once with version 0.4.7 (sRGB, D65, 2 degree observer); it is no dependency.
"""

import math
import sys
import types

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from id2r_core.evaluate import metrics

# sRGB, the same a little off, CIELAB of the first (colour-science), Delta E 2000 of both (colour-science).
COLOURS = np.array([
    [0.086, 0.237, 0.801], [0.582, 0.094, 0.433], [0.479, 0.16, 0.735],
    [0.114, 0.391, 0.517], [0.431, 0.587, 0.738], [0.956, 0.284, 0.649],
])  # fmt: skip
OTHERS = np.array([
    [0.163, 0.221, 0.803], [0.706, 0.138, 0.393], [0.464, 0.203, 0.89],
    [0.092, 0.372, 0.597], [0.36, 0.564, 0.809], [1.0, 0.291, 0.703],
])  # fmt: skip
DELTA_E = (1.7175, 9.621, 6.0696, 6.9053, 4.0495, 2.7422)
SKINS = ((0.86, 0.70, 0.60), (0.80, 0.62, 0.52), (0.45, 0.30, 0.22), (0.25, 0.16, 0.12))
SKIN_ITA = (54.12, 43.335, -36.362, -70.399)
# Rows of the published FAIR table: the six types, then Avg ITA, Bias and Score.
PUBLISHED = {
    "Deep3D": ((8.92, 9.08, 8.15, 10.90, 28.48, 69.90), 22.57, 24.44, 47.02),
    "MGCNet": ((19.98, 12.76, 8.53, 9.21, 22.66, 55.34), 21.41, 17.58, 38.99),
    "TRUST": ((11.90, 11.87, 11.20, 13.92, 16.15, 18.21), 13.87, 2.79, 16.67),
    "DECA": ((9.34, 11.66, 11.58, 16.69, 39.10, 84.06), 28.74, 29.24, 57.98),
}


@pytest.fixture
def pictures(random_generator):
    """Two noisy pictures alike, and a mask with a ragged edge."""
    truth = random_generator.random((24, 20, 3)).astype(np.float32)
    image = np.clip(truth + random_generator.normal(0, 0.1, truth.shape), 0, 1).astype(np.float32)
    return image, truth, random_generator.random((24, 20)) > 0.4


def one_colour(srgb):
    return np.full((2, 2, 3), srgb), np.ones((2, 2), bool)


def test_psnr_of_a_known_error():
    image, mask = one_colour(0.5)
    assert metrics.psnr(image, image + 0.1, mask) == pytest.approx(20.0, abs=1e-6)


def test_psnr_counts_only_the_mask(pictures):
    image, truth, mask = pictures
    spoilt = np.where(mask[..., None], image, 1 - image)
    assert metrics.psnr(spoilt, truth, mask) == pytest.approx(metrics.psnr(image, truth, mask))
    assert metrics.psnr(spoilt, truth, ~mask) < metrics.psnr(image, truth, ~mask)


def slow_ssim(image, truth, mask):
    """The formula of Wang et al. written out, 7 x 7 Gaussian, borders mirrored."""
    offset = np.arange(-3, 4)
    bell = np.exp(-(offset**2) / (2 * metrics.SSIM_SIGMA**2))
    window = np.outer(bell, bell) / np.outer(bell, bell).sum()
    height, width, _ = image.shape
    values = []
    for y, x in zip(*mask.nonzero(), strict=True):
        rows = [min(max(r, -1 - r), 2 * height - 1 - r) for r in y + offset]
        columns = [min(max(c, -1 - c), 2 * width - 1 - c) for c in x + offset]
        for channel in range(3):
            a, b = (each[np.ix_(rows, columns)][..., channel].astype(float) for each in (image, truth))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * a * a).sum() - mean_a**2, (window * b * b).sum() - mean_b**2
            both = (window * a * b).sum() - mean_a * mean_b
            c1, c2 = 0.01**2, 0.03**2
            values.append(
                (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
            )
    return np.mean(values)


def test_ssim_is_the_formula_of_the_paper(pictures):
    assert metrics.ssim(*pictures) == pytest.approx(slow_ssim(*pictures), abs=1e-5)


def test_ssim_of_a_picture_with_itself_is_one(pictures):
    assert metrics.ssim(pictures[1], pictures[1], pictures[2]) == pytest.approx(1.0)


def test_mae_is_in_eight_bit_steps():
    image, mask = one_colour(0.5)
    assert metrics.mae_255(image, image + (0.1, 0.0, -0.2), mask) == pytest.approx(25.5)


@pytest.mark.parametrize("srgb, ita", [*zip(SKINS, SKIN_ITA, strict=True)])
def test_ita_agrees_with_colour_science(srgb, ita):
    assert metrics.ita_degrees(*one_colour(srgb)) == pytest.approx(ita, abs=0.05)


def test_ita_is_of_the_mean_lab_and_not_the_mean_of_angles():
    image = np.array([[SKINS[0], SKINS[3]]])
    mask = np.ones((1, 2), bool)
    assert abs(metrics.ita_degrees(image, mask) - np.mean([SKIN_ITA[0], SKIN_ITA[3]])) > 1
    assert metrics.ita_degrees(image, np.array([[True, False]])) == pytest.approx(SKIN_ITA[0], abs=0.05)


@pytest.mark.parametrize(
    "ita, expected",
    [(60, "I"), (54.9, "II"), (42, "II"), (40, "III"), (27, "IV"), (9.9, "V"), (-29, "V"), (-30.5, "VI")],
)
def test_skin_types_have_the_published_borders(ita, expected):
    assert metrics.skin_type(ita) == expected


@pytest.mark.parametrize("row", PUBLISHED.values(), ids=PUBLISHED)
def test_fairness_reproduces_the_published_table(row):
    per_type, average, bias, score = row
    found = metrics.fairness({name: [error] for name, error in zip(metrics.SKIN_TYPES, per_type, strict=True)})
    assert (found.average, found.bias, found.score) == pytest.approx((average, bias, score), abs=0.011)


def test_fairness_averages_signed_errors_by_size_and_needs_all_types():
    errors = {name: [-2.0, 4.0] for name in metrics.SKIN_TYPES}
    assert metrics.fairness(errors).average == pytest.approx(3.0)
    assert metrics.fairness(errors | {"VI": []}).score is None


@pytest.mark.parametrize("first, second, expected", [*zip(COLOURS, OTHERS, DELTA_E, strict=True)])
def test_ciede2000_agrees_with_colour_science(first, second, expected):
    image, mask = one_colour(first)
    assert metrics.ciede2000(image, one_colour(second)[0], mask) == pytest.approx(expected, abs=0.02)


def test_light_leak_finds_light_and_not_its_absence(random_generator):
    shading = random_generator.uniform(0.2, 1.0, (32, 32, 1)).repeat(3, 2)
    mask = np.ones((32, 32), bool)
    clean = random_generator.uniform(0.3, 0.5, (32, 32, 1)).repeat(3, 2)
    leaking = 0.4 * shading  # linear
    encoded = np.where(leaking <= 0.0031308, 12.92 * leaking, 1.055 * leaking ** (1 / 2.4) - 0.055)
    assert metrics.light_leak(encoded, shading, mask) == pytest.approx(1.0, abs=1e-6)
    assert abs(metrics.light_leak(clean, shading, mask)) < 0.15


def test_identity_figures_by_hand():
    gallery = np.eye(3)
    vectors = np.array([[3.0, 1.0, 0.0], [0.0, 0.1, 2.0]])
    assert metrics.cosine(vectors[0], gallery[0]) == pytest.approx(3 / math.sqrt(10))
    assert metrics.id_retrieval(vectors, gallery, np.array([0, 1])) == 0.5


def test_the_bias_by_chance_is_that_of_people_alone(random_generator):
    """With two people a type chance makes a large Bias, with many a small one; a type's own error does not count."""
    people = lambda count, shift: {str(n): list(random_generator.normal(shift, 8, 2)) for n in range(count)}
    few = metrics.bias_by_chance({name: people(2, 0) for name in metrics.SKIN_TYPES})
    many = metrics.bias_by_chance({name: people(60, 0) for name in metrics.SKIN_TYPES})
    assert few > 1.5 and 0.2 < many < 1.0
    biased = {name: people(60, 20 * (name == "VI")) for name in metrics.SKIN_TYPES}
    flat = {name: [error for each in biased[name].values() for error in each] for name in biased}
    assert metrics.bias_by_chance(biased) < 0.4 * metrics.fairness(flat).bias
    assert metrics.bias_by_chance({name: people(2, 0) for name in "I"}) is None


def test_head_rotation_is_recovered(model):
    surface = model.neutral_landmarks.numpy()
    angles = np.radians([8.0, -20.0, 5.0])
    turn = Rotation.from_euler("xyz", angles).as_matrix()
    seen = (surface * (1, -1, -1)) @ turn.T + (0.0, 0.0, 1.1)
    points = seen[:, :2] / seen[:, 2:] * 1024 + 256
    assert metrics.head_rotation(points, surface, 512) == pytest.approx(angles, abs=1e-3)


def test_pose_difference_by_hand_and_round_the_circle():
    first, second = np.array([0.1, 0.0, math.pi - 0.05]), np.array([0.0, 0.0, -math.pi + 0.05])
    assert metrics.pose_difference(first, second) == pytest.approx(0.2 / 3)


def test_lpips_is_blank_without_its_backbone(monkeypatch):
    monkeypatch.setattr(metrics.importlib.util, "find_spec", lambda name: None)
    assert not metrics.Lpips.available()


def test_lpips_gives_the_package_what_it_wants(monkeypatch, pictures):
    """A stand-in for the package whose "distance" is the squared difference of the tensors that it is given."""
    import torch

    class Distance(torch.nn.Module):
        def __init__(self, net, spatial, verbose):
            super().__init__()
            assert (net, spatial) == ("alex", True)

        def forward(self, first, second):
            return (first - second).square().mean(1, keepdim=True)

    monkeypatch.setitem(sys.modules, "lpips", types.SimpleNamespace(LPIPS=Distance))
    image, truth, mask = pictures
    expected = np.square(2 * image[mask].astype(float) - 2 * truth[mask]).mean()
    assert metrics.Lpips()(image, truth, mask) == pytest.approx(expected, rel=1e-4)
