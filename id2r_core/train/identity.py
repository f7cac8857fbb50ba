"""Stage `identity`: the encoder learns who is who, what a head was generated from, and the tone of its skin."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..configs import IDENTITY_WIDTH
from ..conventions import linear_to_srgb, srgb_to_linear
from ..nets.identity_encoder import AngularMargin, IdentityEncoder
from ..nets.onnx_identity import ForeignIdentity, file_hash, load_onnx_identity
from . import augment
from .checkpoint import has_checkpoint
from .loop import CHECKPOINT, Loop, Task, load_trained, to_device
from .pool import Pool, growing_pool
from .portraits import Portraits, prepare_portraits

PORTRAIT_SHARE = 0.25
LARGEST_SIDE = 192  # pixels


class ParameterHead(nn.Module):
    """Identity vector -> the generating parameters, each in units of its own spread."""

    def __init__(self, pool: Pool):
        super().__init__()
        rows = pool.parameter_rows(torch.arange(pool.count()))
        self.register_buffer("mean", rows.mean(0))
        self.register_buffer("spread", rows.std(0) + 1e-3)
        self.linear = nn.Linear(IDENTITY_WIDTH, rows.shape[1])

    def forward(self, vector: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """vector [B, 512], parameters [B, K] -> robust mean error, a scalar."""
        found = self.linear(vector * IDENTITY_WIDTH**0.5)
        return F.smooth_l1_loss(found, ((parameters - self.mean) / self.spread).clamp(-4.0, 4.0))


def train_identity(task: Task) -> Loop:
    preset, weights = task.preset, task.preset.losses
    portraits = prepare_portraits(preset, task.data, task.out, task.report).split("train").to(task.device)
    with growing_pool(task) as pool:
        encoder = to_device(IdentityEncoder(preset), task.device)
        classes = preset.pool.subjects + len(portraits)
        margin = AngularMargin(classes, weights.margin, weights.margin_scale).to(task.device)
        head = ParameterHead(pool).to(task.device)
        loop = Loop(task, "identity", {"identity": encoder, "margin": margin, "head": head})
        for _ in loop:
            pool.render_on()
            photos, label, tones_linear, is_virtual, subject = map(task.crew.mine, draw_batch(loop, pool, portraits))
            with loop.autocast():
                found = encoder(photos)
            recognition = margin(found.vector, label.to(task.device))
            parameters = head(found.vector[is_virtual], pool.parameter_rows(subject[is_virtual]).to(task.device))
            tone = tone_error(found.tone_linear[is_virtual], tones_linear[is_virtual])
            real_tone = tone_error(found.tone_linear[~is_virtual], tones_linear[~is_virtual])
            told = weights.tone * tone + weights.portrait_tone * real_tone
            loop.descend(recognition + weights.parameters * parameters + told)
            loop.note(recognition=recognition, parameters=parameters, tone=tone, real_tone=real_tone)
    return loop


def trained_encoder(task: Task) -> IdentityEncoder | ForeignIdentity:
    """The encoder that the identity stage of this run left, frozen; with the vectors of `task.identity` if there is one."""
    encoder = IdentityEncoder(task.preset)
    load_trained(task, "identity", {"identity": encoder})
    load_tone(task, encoder)
    if task.identity is None:
        return encoder
    return ForeignIdentity(encoder, load_onnx_identity(task.identity, task.device)).eval()


def load_tone(task: Task, encoder: IdentityEncoder) -> None:
    """Fill the tone branch of an encoder with what stage `tone` left, if it has run."""
    if has_checkpoint(task.out / "tone" / CHECKPOINT):
        load_trained(task, "tone", encoder.tone_branch())


def identity_name(path: Path | None) -> dict[str, str] | None:
    """What a pack says of the identity model that it was trained for."""
    return {"file": path.name, "sha256": file_hash(path)} if path else None


def draw_batch(loop: Loop, pool: Pool, portraits: Portraits) -> tuple[torch.Tensor, ...]:
    """-> photos [B, 3, S, S], labels [B], tones [B, 3]; on the CPU whether each is virtual [B] and which subject [B].

    Nobody knows the albedo of a real face. Official portraits are well exposed, though, so the colour of the cheeks
    before augmentation stands in for it, at a lower weight. Virtual and real photos alternate.
    """
    generator, device = loop.generator(), loop.task.device
    is_virtual = torch.arange(loop.batch) % round(1 / PORTRAIT_SHARE) != 0
    virtual = int(is_virtual.sum())
    real = loop.batch - virtual
    subject = torch.randint(pool.count(), (virtual,), generator=generator)
    shot = torch.randint(pool.shots, (virtual,), generator=generator)
    person = torch.randint(len(portraits), (real,), generator=generator)
    shown = _reduced(pool.photograph_images(subject, shot).to(device))
    strong = augment.jitter_colour(augment.mirror(_reduced(portraits.pick(person)), generator), generator)
    around = _reduced(portraits.pick(torch.randint(len(portraits), (virtual,), generator=generator)))
    shown = augment.surround(augment.develop(shown, generator), around, generator)
    photos = augment.degrade(augment.jitter_place(torch.cat((shown, strong)), generator), generator)
    label = torch.cat((subject, loop.task.preset.pool.subjects + person))
    tones_linear = torch.cat((pool.tones(subject).to(device), srgb_to_linear(portraits.cheeks(person))))
    order = torch.cat((is_virtual.nonzero()[:, 0], (~is_virtual).nonzero()[:, 0])).argsort()
    subject = torch.cat((subject, torch.zeros_like(person)))
    return photos[order], label[order], tones_linear[order], is_virtual, subject[order]


def _reduced(images: torch.Tensor) -> torch.Tensor:
    """Large images made smaller: the encoder sees 112 pixels of the face."""
    if images.shape[-1] <= LARGEST_SIDE:
        return images
    return F.interpolate(images, size=(LARGEST_SIDE,) * 2, mode="area")


def tone_error(found_linear: torch.Tensor, true_linear: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference in sRGB: equal steps look about equally large on dark and light skin."""
    return (linear_to_srgb(found_linear) - linear_to_srgb(true_linear)).abs().mean()
