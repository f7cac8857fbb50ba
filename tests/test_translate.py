"""From a photograph to the reflectance that it shows: network, training stage, pack, and use."""

import hashlib

import numpy as np
import pytest
import torch
from fake_capture import MICRO, FakeStage, fake_run

from id2r_core.configs import PRESETS
from id2r_core.conventions import GREY, REFLECTANCE, Domain
from id2r_core.crop import FaceCrop
from id2r_core.errors import Id2rError
from id2r_core.nets.translator import Translator, mirror_reflectance
from id2r_core.packs import cli as pack_cli
from id2r_core.packs import load_pack
from id2r_core.train import cli, losses, pool
from id2r_core.train.checkpoint import load_checkpoint
from id2r_core.train.figures import translation_figures
from id2r_core.train.loop import CHECKPOINT, Loop, Task
from id2r_core.train.pool import MemoryPool, fill_pool, open_pool
from id2r_core.train.translate import draw_pairs, translation_losses
from id2r_core.translate import translate_crop

DIFFUSE, NORMAL = REFLECTANCE.index(Domain.DIFFUSE), REFLECTANCE.index(Domain.NORMAL)


@pytest.fixture
def memory():
    memory = MemoryPool(MICRO, FakeStage(MICRO.size), 8)
    memory.fill(8)
    return memory


def test_a_translation_is_learnt():
    """Albedo of squares under a light that is the same everywhere in an image: the network has to look around."""
    torch.manual_seed(1)
    translator = Translator(MICRO)
    adam = torch.optim.Adam(translator.parameters(), 3e-3)

    def batch():
        albedo = torch.full((8, 4, 3, 16, 16), -1.0)
        albedo[..., 4:12, 4:12] = torch.rand(8, 1, 1, 1, 1) * 1.6 - 0.7
        light = torch.rand(8, 1, 1, 1) * 0.6 + 0.4
        photo = (albedo[:, DIFFUSE] * 0.5 + 0.5) * light
        photo[:, :, :2] = light  # a white thing in view tells the light
        return photo * 2 - 1, albedo

    first = None
    for _ in range(150):
        photo, albedo = batch()
        terms = translation_losses(translator(photo), albedo)
        first = first or terms["diffuse"].item()
        adam.zero_grad()
        (terms["diffuse"] + terms["others"]).backward()
        adam.step()
    assert terms["diffuse"].item() < 0.25 * first


def test_losses_are_taken_over_the_head_alone_and_structure_knows_no_level():
    truth = torch.full((1, 4, 3, 8, 8), -1.0)
    truth[..., 2:6, 2:6] = torch.linspace(0.0, 0.6, 4)
    made = truth.clone()
    made[..., :2] = 0.7  # behind the head
    assert all(float(term) == 0 for term in translation_losses(made, truth).values())
    made[:, DIFFUSE] = ((truth[:, DIFFUSE] * 0.5 + 0.5) * 0.8) * 2 - 1
    terms = translation_losses(made, truth)
    assert terms["diffuse"] > 0.05 and terms["others"] == 0 and terms["edges"] > 0
    assert terms["structure"] < 0.02 < terms["diffuse"]


def test_grey_domains_are_grey():
    made = Translator(MICRO)(torch.rand(2, 3, 16, 16) * 2 - 1)
    assert made.shape == (2, 4, 3, 16, 16)
    for domain in GREY:
        image = made[:, REFLECTANCE.index(domain)]
        assert torch.equal(image[:, 0], image[:, 2])


def test_mirrored_normals_point_the_other_way():
    images = torch.rand(4, 3, 6, 6) * 2 - 1
    mirrored = mirror_reflectance(images)
    assert torch.equal(mirrored[DIFFUSE], images[DIFFUSE].flip(-1))
    assert torch.equal(mirrored[NORMAL, 0], -images[NORMAL, 0].flip(-1))
    assert torch.equal(mirror_reflectance(mirrored), images)


def test_pairs_show_the_same_pixels(tmp_path, memory):
    loop = Loop(Task(MICRO, tmp_path, tmp_path), "translate", {"net": torch.nn.Linear(1, 1)})
    lit, truth = draw_pairs(loop, memory)
    assert lit.shape == (4, 3, 32, 32) and truth.shape == (4, 4, 3, 32, 32)
    is_head = (truth[:, DIFFUSE] > -0.99).any(1)
    lit = lit.mean(1)
    for row in range(4):
        assert lit[row][is_head[row]].mean() > lit[row][~is_head[row]].mean() + 0.2  # black behind


def test_disk_and_memory_keep_the_same_pairs(tmp_path, memory):
    fill_pool(tmp_path, MICRO, FakeStage(MICRO.size), 8, with_views=False)
    subject = torch.tensor([6, 1])
    assert torch.equal(open_pool(tmp_path).paired_images(subject), memory.paired_images(subject))


def test_figures_tell_a_better_translator(memory):
    class Told(torch.nn.Module):
        size = MICRO.translator.size

        def forward(self, photo):
            return photo[:, None].expand(-1, 4, -1, -1, -1)

    class Nets:
        translator = Told()

    figures = translation_figures(Nets, memory, torch.device("cpu"))
    assert figures[Domain.DIFFUSE]["psnr"] > figures[Domain.NORMAL]["psnr"] + 10  # a disc's photograph is its albedo


def test_from_training_to_use(tmp_path, monkeypatch):
    data, out, folder = tmp_path / "data", tmp_path / "out", tmp_path / "pack"
    monkeypatch.setitem(PRESETS, "micro", MICRO)
    monkeypatch.setattr(losses, "VGG_SHA256", fake_run(data, out))
    monkeypatch.setattr(pool, "open_stage", lambda data, preset, *_: FakeStage(preset.size))
    common = ["--preset", "micro", "--data", str(data), "--out", str(out), "--threads", "1", "--steps", "2"]
    assert cli.main(["all", *common, "--pool", "memory"]) == 0
    assert load_checkpoint(out / "translate" / CHECKPOINT)[1]["finished"]
    export = ["export", str(out), "--preset", "micro", "--to", str(folder)]
    assert pack_cli.main(export) == 0
    assert "Translation of photographs" in (folder / "README.md").read_text()
    before = hashlib.sha256((folder / "translator.safetensors").read_bytes()).hexdigest()
    assert cli.main(["translate", *common[:-1], "4", "--pool", "disk", "--resume"]) == 0
    assert pack_cli.main(export) == 0
    assert hashlib.sha256((folder / "translator.safetensors").read_bytes()).hexdigest() != before
    crop = FaceCrop(np.random.default_rng(0).random((64, 64, 3)).astype(np.float32), np.eye(2, 3))
    found = translate_crop(crop, load_pack(folder))
    assert tuple(found.images) == REFLECTANCE
    assert all(image.shape == (3, 16, 16) and 0 <= image.min() <= image.max() <= 1 for image in found.images.values())
    assert np.allclose(found.from_photo @ [64, 0, 1], [16, 0])  # a crop of 64 px, an image of 16
    mirrored = translate_crop(FaceCrop(crop.srgb[:, ::-1].copy(), crop.crop_from_photo), load_pack(folder))
    assert torch.allclose(mirrored.images[Domain.DIFFUSE], found.images[Domain.DIFFUSE].flip(-1), atol=1e-5)
    (folder / "translator.safetensors").unlink()
    with pytest.raises(Id2rError, match="translator"):
        load_pack(folder)
