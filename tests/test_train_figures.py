"""Figures and pictures of a run: each must notice what it is there to notice."""

import numpy as np
import pytest
import torch
from fake_capture import MICRO, FakeStage

from id2r_core.conventions import REFLECTANCE, Domain
from id2r_core.nets import build_nets
from id2r_core.nets.codebook import Quantised
from id2r_core.templates import TemplateLibrary
from id2r_core.train import figures, pictures
from id2r_core.train.pool import MemoryPool

CPU = torch.device("cpu")


@pytest.fixture
def pool():
    pool = MemoryPool(MICRO, FakeStage(MICRO.size), 4)
    pool.fill(4)
    return pool


@pytest.fixture
def nets():
    torch.manual_seed(0)
    nets = build_nets(MICRO)
    for _, net in nets.named():
        net.eval().requires_grad_(False)
    for norm in (m for m in nets.swapper.modules() if hasattr(m, "linear")):
        torch.nn.init.normal_(norm.linear.weight, std=0.1)
    return nets


@pytest.fixture
def library():
    torch.manual_seed(1)
    vectors = torch.nn.functional.normalize(torch.randn(3, 512), dim=1)
    codes = torch.randint(MICRO.codes, (3, 3, 4, 16, 16))
    return TemplateLibrary(("a", "b", "c"), codes, vectors, torch.rand(3, 3))


def test_detail_is_lost_by_blur_and_kept_by_a_change_of_colour():
    image, mask = torch.rand(2, 3, 64, 64), torch.ones(2, 1, 64, 64, dtype=torch.bool)
    blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(image, (2, 2, 2, 2), mode="circular"), 5, 1)
    scores = {"blurred": blurred, "brighter": image * 0.8 + 0.2, "same": image}
    found = {}
    for name, made in scores.items():
        score = figures.Scores()
        score.add(made * 2 - 1, image * 2 - 1, mask)
        found[name] = score
    assert found["same"].detail() == pytest.approx(1.0) and found["same"].psnr() > 90
    assert found["blurred"].detail() < 0.2
    assert found["brighter"].detail() == pytest.approx(0.64, abs=0.02)
    assert found["brighter"].colour_error() == pytest.approx(0.1 * 255, rel=0.1)


def test_fine_energy_is_the_energy_of_fine_waves():
    x = torch.arange(64.0)
    wave = lambda cycles: torch.sin(2 * torch.pi * cycles * x / 64).expand(1, 1, 64, 64)
    limit = 64 * figures.NYQUIST * figures.FINE_FROM  # cycles an image
    assert figures.fine_energy(wave(limit - 1)) < 1e-3
    fine = wave(limit + 4)
    assert figures.fine_energy(fine) == pytest.approx(float(fine.square().sum()) * 64 * 64, rel=1e-3)  # Parseval


def test_codec_figures_tell_a_perfect_codec_from_a_grey_one(pool):
    perfect = figures.codec_figures(
        torch.nn.Identity(), torch.nn.Identity(), lambda z, d: Quantised(z, d, z.sum()), pool, CPU
    )
    grey = figures.codec_figures(
        torch.nn.Identity(), lambda z: z * 0, lambda z, d: Quantised(z, d * 0, z.sum()), pool, CPU
    )
    for domain in Domain:
        assert perfect[domain]["psnr"] > 60 and grey[domain]["psnr"] < 40
        assert perfect[domain]["detail"] == pytest.approx(1.0, abs=1e-3) and perfect[domain]["codes_used"] == 1


def test_a_level_that_is_left_out_does_nothing(nets, library, pool):
    """As if it had learnt nothing; the others, and the swapper itself, are as they were."""
    found = nets.identity(pool.photograph_images(torch.tensor([0]), torch.tensor([0])))
    made = lambda swapper: figures.swapped(nets, swapper, library, 0, found, Domain.DIFFUSE, CPU)
    side = next(iter(nets.swapper.levels))
    whole, without = made(nets.swapper), made(figures.without_levels(nets.swapper, [side]))
    assert not torch.allclose(whole, without, atol=1e-4) and side in nets.swapper.levels
    for block in nets.swapper.levels[side]:
        torch.nn.init.zeros_(block.norm2.linear.weight)
        torch.nn.init.zeros_(block.norm2.linear.bias)
    assert torch.allclose(made(nets.swapper), without, atol=1e-5)


def test_recognition_by_hand():
    """Two people of two photographs: one pair alike, of the other one looks like a stranger."""
    vector = torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0], [1, 0.1, 0], [0, 1, 0], [0.9, 0.3, 0]]), dim=1)
    found = figures.recognition(vector, torch.tensor([0, 0, 1, 1]))
    assert found.rank1 == pytest.approx(0.75) and found.tar == pytest.approx(0.5)
    assert found.stranger == pytest.approx(float(vector[1] @ vector[3]))


def test_swap_figures_have_all_domains(nets, library, pool):
    found = figures.swap_figures(nets, library, pool, CPU)
    assert set(found) == set(REFLECTANCE)
    assert all(set(row) == {"closest", "fixed", "colour_error", "detail"} for row in found.values())


def test_interpolation_runs_from_one_person_to_the_other(nets, library, pool):
    strip, roughness = pictures.interpolation_strip(nets, library, pool, CPU, steps=5)
    assert strip.shape == (2 * MICRO.size, 5 * MICRO.size, 3) and strip.dtype == np.uint8
    assert 1.0 <= roughness < 5.0
    first, last = strip[:, : MICRO.size].astype(int), strip[:, -MICRO.size :].astype(int)
    assert np.abs(first - last).mean() > 0.1


def test_sheets_show_every_row(nets, library, pool):
    sheet = pictures.cross_domain_sheet(nets, library, pool, CPU, people=3)
    assert sheet.shape == (3 * MICRO.size, (1 + 3 * 4) * MICRO.size, 3)
    tones = sheet[:, : MICRO.size].reshape(3, -1).max(1)
    assert tones[0] < tones[-1]  # dark to light
    fused = pictures.fusion_sheet(nets, pool, CPU)
    assert fused.shape == (5 * MICRO.size, 6 * MICRO.size, 3)
    weights = fused[:, MICRO.size :].reshape(5 * MICRO.size, 5, MICRO.size, 3).astype(int).sum(1)
    assert np.abs(weights - 255).max() <= 4  # the shares of five codebooks sum to one
    assert pictures.template_sheet(nets, library, CPU, columns=2).shape == (2 * MICRO.size, 2 * MICRO.size, 3)
