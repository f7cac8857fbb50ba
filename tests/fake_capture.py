"""A capture stage that draws coloured discs instead of heads: the interface of capture.CaptureStage, in microseconds.

Also the smallest preset that has every part, and a run folder with a full pool, portraits and a perceptual net.
"""

import hashlib
from dataclasses import dataclass, replace

import torch

from id2r_core.configs import PRESETS, FusionNet, IdentityNet, PoolSizes, StageTraining, TranslatorNet
from id2r_core.conventions import REFLECTANCE, Domain, linear_to_srgb
from id2r_core.train.checkpoint import save_checkpoint
from id2r_core.train.losses import VGG_FILE, VGG_OFFSETS, Perceptual
from id2r_core.train.pool import fill_pool, pool_folder
from id2r_core.train.portraits import FILE as PORTRAITS_FILE

MICRO = replace(
    PRESETS["tiny"],
    name="micro",
    size=32,
    width=8,
    multipliers=(1, 2),
    patch=1,
    norm_groups=2,
    codes=16,
    code_width=8,
    fusion=FusionNet(width=16, groups=1, depth=2, heads=2, window=8),
    swap_levels=(16,),
    swap_blocks=1,
    identity=IdentityNet(widths=(8, 16, 16, 16), blocks=1, tone_size=16, tone_width=4),
    translator=TranslatorNet(size=16, widths=(8, 16)),
    templates=3,
    pool=PoolSizes(subjects=8, photographs=2, validation_subjects=4, chunk=4, start=8, photographed=12),
    training={
        stage: StageTraining(4, 4, 1e-3, 1e-4, 0.1, steps=4, warmup=2, discriminator_rate=1e-3, adversarial_from=0.5)
        for stage in PRESETS["tiny"].training
    },
    discriminator_width=4,
    discriminator_layers=2,
)


@dataclass(frozen=True)
class FakeSubjects:
    index: torch.Tensor
    tone_linear: torch.Tensor
    identity: torch.Tensor
    expression: torch.Tensor
    params: torch.Tensor


@dataclass(frozen=True)
class FakePhotographs:
    srgb: torch.Tensor
    reflectance: dict[Domain, torch.Tensor]


class FakeStage:
    """Subject i is a disc whose colour is its tone, whose radius is its shape, and whose grey is a parameter."""

    def __init__(self, size: int):
        self.size, self.device = size, torch.device("cpu")

    def subjects(self, indices) -> FakeSubjects:
        index = torch.tensor(list(indices))
        draws = torch.stack([torch.rand(4, generator=torch.Generator().manual_seed(int(i))) for i in index])
        return FakeSubjects(index, draws[:, :3] * 0.6 + 0.05, draws[:, 3:], torch.zeros_like(draws[:, :1]), draws)

    def views(self, subjects: FakeSubjects, on_mean_head: bool = False) -> dict[Domain, torch.Tensor]:
        subjects = replace(subjects, identity=0 * subjects.identity) if on_mean_head else subjects
        disc = torch.stack([self._disc(subjects, shift) for shift in (0.0, -0.2, 0.2)], 1)  # [S, V, 1, H, W]
        return self._painted(subjects, disc)

    def photographs(self, subjects: FakeSubjects, take: int) -> FakePhotographs:
        painted = self._painted(subjects, self._disc(subjects, 0.05 * take)[:, None])
        reflectance = {domain: painted[domain][:, 0] for domain in REFLECTANCE}
        return FakePhotographs(reflectance[Domain.DIFFUSE], reflectance)

    def _painted(self, subjects: FakeSubjects, disc: torch.Tensor) -> dict[Domain, torch.Tensor]:
        """disc [S, V, 1, H, W] -> every domain [S, V, 3, H, W]."""
        colour = linear_to_srgb(subjects.tone_linear)[:, None, :, None, None]
        grey = subjects.params[:, 3].reshape(-1, 1, 1, 1, 1).expand(-1, disc.shape[1], 3, self.size, self.size)
        normal = torch.tensor([0.5, 0.5, 1.0]).reshape(1, 1, 3, 1, 1).expand_as(grey)
        return {
            Domain.RGB: disc * colour * 0.8,
            Domain.DIFFUSE: disc * colour,
            Domain.SPECULAR: disc * grey,
            Domain.ROUGHNESS: disc * (1.0 - grey),
            Domain.NORMAL: disc * normal,
        }

    def _disc(self, subjects: FakeSubjects, shift: float) -> torch.Tensor:
        """[S, 1, H, W] 1 inside the disc, 0 outside."""
        axis = torch.linspace(-1.0, 1.0, self.size)
        radius = (axis[None, :, None] ** 2 + (axis[None, None] - shift) ** 2).sqrt()
        return (radius < 0.4 + 0.4 * subjects.identity[:, 0, None, None]).float()[:, None]


def fake_run(data, out):
    """Fill `data` and `out` with what a training stage of MICRO needs to start at once; returns the hash of its VGG."""
    stage = FakeStage(MICRO.size)
    for split, count in (("train", MICRO.pool.subjects), ("validation", MICRO.pool.validation_subjects)):
        fill_pool(pool_folder(out, split), MICRO, stage, count)
    fill_pool(pool_folder(out, "photographs"), MICRO, stage, MICRO.pool.photographed, with_views=False)
    images = (stage.views(stage.subjects(range(20, 24)))[Domain.RGB][:, 0] * 255).to(torch.uint8)
    save_checkpoint(out / PORTRAITS_FILE, {"images": images}, {"ids": ["a", "b", "c", "d"]})
    (data / VGG_FILE).parent.mkdir(parents=True)
    torch.manual_seed(0)
    write_vgg(data / VGG_FILE, Perceptual().state_dict())
    return hashlib.sha256((data / VGG_FILE).read_bytes()).hexdigest()


def write_vgg(path, weights):
    """Weights where the published file of the perceptual network has them."""
    content = bytearray(max(VGG_OFFSETS[name] + 4 * value.numel() for name, value in weights.items()))
    for name, value in weights.items():
        start = VGG_OFFSETS[name]
        content[start : start + 4 * value.numel()] = value.numpy().astype("<f4").tobytes()
    path.write_bytes(content)
