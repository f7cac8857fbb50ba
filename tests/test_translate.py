"""From a photograph's RGB codes to reflectance codes: network, training stage, pack, and use."""

import hashlib

import numpy as np
import pytest
import torch
from fake_capture import MICRO, FakeStage, fake_run

from id2r_core.configs import PRESETS
from id2r_core.conventions import REFLECTANCE, Domain
from id2r_core.crop import FaceCrop
from id2r_core.errors import Id2rError
from id2r_core.nets.codebook import DomainCodebooks
from id2r_core.nets.translator import Translator
from id2r_core.packs import cli as pack_cli
from id2r_core.packs import load_pack
from id2r_core.train import cli, losses, pool
from id2r_core.train.checkpoint import load_checkpoint
from id2r_core.train.loop import CHECKPOINT, Loop, Task
from id2r_core.train.pool import MemoryPool
from id2r_core.train.translate import draw_pairs
from id2r_core.translate import translate_crop


@pytest.fixture
def books():
    torch.manual_seed(0)
    books = DomainCodebooks(MICRO).requires_grad_(False)
    for domain in Domain:
        torch.nn.init.normal_(books[domain].code)
    return books


def test_scores_are_highest_for_the_nearest_code(books):
    points = torch.randn(2, 4, MICRO.code_width, 4, 4)
    scores = Translator(MICRO).scores(points, books)
    assert scores.shape == (2, 4, MICRO.codes, 4, 4)
    for place, domain in enumerate(REFLECTANCE):
        away = (books[domain].code - points[1, place, :, 2, 3]).square().sum(1)
        assert torch.allclose(scores[1, place, :, 2, 3], -away, atol=1e-4)


def test_a_translation_is_learnt(books):
    """Codes that follow from the RGB code of their place, and from the brightness of the whole."""
    torch.manual_seed(1)
    translator = Translator(MICRO)
    adam = torch.optim.Adam(translator.parameters(), 1e-2)
    table = torch.randint(MICRO.codes, (2, 4, MICRO.codes))

    def batch():
        rgb = torch.randint(MICRO.codes, (8, 8, 8))
        bright = torch.arange(8) % 2
        latent = books[Domain.RGB].look_up(rgb) + bright[:, None, None, None] * 3.0
        return latent, table[bright[:, None, None], :, rgb].permute(0, 3, 1, 2)

    for _ in range(90):
        latent, codes = batch()
        loss = translator.loss(translator(latent), books, codes)
        adam.zero_grad()
        loss.backward()
        adam.step()
    latent, codes = batch()
    made = translator.translate(latent, books)
    true = torch.stack([books[d].look_up(codes[:, place]) for place, d in enumerate(REFLECTANCE)], 1)
    assert ((made - true).abs().amax(2) < 1e-4).float().mean() > 0.8


def test_pairs_show_the_same_pixels(tmp_path):
    memory = MemoryPool(MICRO, FakeStage(MICRO.size), 8)
    memory.fill(8)
    loop = Loop(Task(MICRO, tmp_path, tmp_path), "translate", {"net": torch.nn.Linear(1, 1)})
    lit, truth = draw_pairs(loop, memory)
    assert lit.shape == (4, 3, 32, 32) and truth.shape == (4, 4, 3, 32, 32)
    diffuse = truth[:, REFLECTANCE.index(Domain.DIFFUSE)]
    is_head = (diffuse > -0.99).any(1)
    assert torch.equal((lit > -0.99).any(1) & is_head, (lit > -0.99).any(1))  # black where nothing is


def test_from_training_to_use(tmp_path, monkeypatch):
    data, out, folder = tmp_path / "data", tmp_path / "out", tmp_path / "pack"
    monkeypatch.setitem(PRESETS, "micro", MICRO)
    monkeypatch.setattr(losses, "VGG_SHA256", fake_run(data, out))
    monkeypatch.setattr(pool, "open_stage", lambda data, preset, *_: FakeStage(preset.size))
    common = ["--preset", "micro", "--data", str(data), "--out", str(out), "--threads", "1", "--steps", "2"]
    assert cli.main(["all", *common]) == 0
    export = ["export", str(out), "--preset", "micro", "--to", str(folder)]
    assert pack_cli.main(export) == 0
    crop = FaceCrop(np.random.default_rng(0).random((64, 64, 3)).astype(np.float32), np.eye(3)[:2])
    with pytest.raises(Id2rError, match="no translator"):
        translate_crop(crop, load_pack(folder))
    before = hashlib.sha256((folder / "decoder.safetensors").read_bytes()).hexdigest()
    for where in ("memory", "disk"):
        assert cli.main(["translate", *common, "--pool", where, *(["--resume"] if where == "disk" else [])]) == 0
    assert load_checkpoint(out / "translate" / CHECKPOINT)[1]["finished"]
    assert pack_cli.main(export) == 0
    assert hashlib.sha256((folder / "decoder.safetensors").read_bytes()).hexdigest() == before
    found = translate_crop(crop, load_pack(folder))
    assert tuple(found) == REFLECTANCE
    assert all(image.shape == (3, 32, 32) and 0 <= image.min() and image.max() <= 1 for image in found.values())
    assert torch.equal(found[Domain.ROUGHNESS][0], found[Domain.ROUGHNESS][2])
