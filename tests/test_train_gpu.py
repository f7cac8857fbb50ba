"""That nothing of the capture stage and of training mixes the CPU with a GPU, on machines that have none."""

from contextlib import nullcontext
from dataclasses import fields, replace

import pytest
import torch
from fake_capture import MICRO, FakePhotographs, FakeStage, FakeSubjects, fake_run
from pretend_gpu import OnGpu, pretended_gpu
from test_bundle import small_data

from id2r_core.capture import CaptureStage
from id2r_core.configs import PRESETS
from id2r_core.conventions import Domain
from id2r_core.packs import load_pack
from id2r_core.train import cli, losses, pool
from id2r_core.train.checkpoint import load_checkpoint
from id2r_core.train.export import export_pack
from id2r_core.train.loop import CHECKPOINT, Loop, Task


class StageOnGpu(FakeStage):
    """The coloured discs, made on another device."""

    def __init__(self, size: int, device: torch.device):
        super().__init__(size)
        self.device = device

    def subjects(self, indices) -> FakeSubjects:
        made = super().subjects(indices)
        return FakeSubjects(*(getattr(made, field.name).to(self.device) for field in fields(made)))

    def views(self, subjects: FakeSubjects, on_mean_head: bool = False) -> dict[Domain, torch.Tensor]:
        made = super().views(on_cpu(subjects), on_mean_head)
        return {domain: image.to(self.device) for domain, image in made.items()}

    def photographs(self, subjects: FakeSubjects, take: int) -> FakePhotographs:
        taken = super().photographs(on_cpu(subjects), take)
        moved = {domain: image.to(self.device) for domain, image in taken.reflectance.items()}
        return FakePhotographs(taken.srgb.to(self.device), moved)


def on_cpu(subjects: FakeSubjects) -> FakeSubjects:
    return FakeSubjects(*(getattr(subjects, field.name).cpu() for field in fields(subjects)))


def test_the_pretended_gpu_refuses_what_a_real_one_refuses():
    with pretended_gpu() as gpu:
        there, here = torch.arange(4.0, device=gpu), torch.ones(4)
        assert there.device == gpu and isinstance(there + 1, OnGpu) and (there + 1).sum().item() == 10
        with pytest.raises(RuntimeError, match="mixes"):
            there + here
        with pytest.raises(RuntimeError, match="mixes"):
            torch.cat([there, here])
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        assert not isinstance(there.cpu(), OnGpu) and torch.equal(there.cpu() + here, torch.tensor([1.0, 2, 3, 4]))
        assert torch.equal(there[torch.tensor([2, 0])].cpu(), torch.tensor([2.0, 0.0]))


def test_the_capture_stage_stays_on_its_device(tmp_path):
    data = small_data(tmp_path)
    seen = {}
    with pretended_gpu() as gpu:
        stage = CaptureStage(data, 48, gpu)
        subjects = stage.subjects([4])
        seen = stage.views(subjects) | {"photograph": stage.photographs(subjects, take=1).srgb}
    assert all(isinstance(image, OnGpu) for image in seen.values())
    stage = CaptureStage(data, 48)
    subjects = stage.subjects([4])
    expected = stage.views(subjects) | {"photograph": stage.photographs(subjects, take=1).srgb}
    for name, image in expected.items():
        assert torch.allclose(seen[name].inner, image, atol=2e-3), name


def test_every_stage_trains_on_its_device(tmp_path, monkeypatch):
    data, out = tmp_path / "data", tmp_path / "out"
    monkeypatch.setattr(losses, "VGG_SHA256", fake_run(data, out))
    monkeypatch.setattr(pool, "open_stage", lambda data, preset, device, *_: StageOnGpu(preset.size, device))
    monkeypatch.setattr(Loop, "autocast", lambda loop: nullcontext())
    rows = {name: replace(row, adversarial_from=0.0) for name, row in MICRO.training.items() if row.rate}
    preset, pools = replace(MICRO, training=MICRO.training | rows), {}
    with pretended_gpu() as gpu:
        for stage in (*cli.STAGES, *cli.EXTRA):
            cli.run_stage(stage, Task(preset, data, out, steps=1, device=gpu, in_memory=True, pools=pools))
    for stage in (*cli.STAGES, *cli.EXTRA):
        tensors, state = load_checkpoint(out / stage / CHECKPOINT)
        assert tensors and (stage == "templates" or state["finished"])
    with pretended_gpu() as gpu:
        monkeypatch.setitem(PRESETS, "micro", MICRO)
        export_pack(out, "micro", tmp_path / "pack", data, gpu)
    assert load_pack(tmp_path / "pack").templates.codes.shape == (MICRO.templates, 3, 4, 16, 16)
    codes, _ = load_checkpoint(out / "templates" / CHECKPOINT)
    assert codes["codes"].shape == (MICRO.templates, 3, 4, 16, 16)
