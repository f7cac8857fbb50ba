"""Stage `translate`: from a photograph to its reflectance in the same view (method.md, point 7).

Pairs are the capture stage's photographs with their own reflectance. Glasses are not in it: the skin behind them is.
"""

import torch

from ..conventions import REFLECTANCE, Domain, srgb_to_linear
from ..nets.layers import resized
from ..nets.translator import Translator, mirror_reflectance
from . import augment
from .loop import Loop, Task, to_device
from .pool import MemoryPool, Pool, growing_pool

DIFFUSE = REFLECTANCE.index(Domain.DIFFUSE)
OF_DARK = 0.02  # linear: what is darker differs by less in the logarithm


def train_translate(task: Task) -> Loop:
    translator = to_device(Translator(task.preset), task.device)
    with growing_pool(task, photographs_alone=True) as pool:
        loop = Loop(task, "translate", {"translator": translator})
        for _ in loop:
            pool.render_on()
            photos, truth = (task.crew.mine(part).to(task.device) for part in draw_pairs(loop, pool))
            with loop.autocast():
                made = translator(resized(photos, translator.size))
            terms = translation_losses(made.float(), resized(truth.flatten(0, 1), made.shape[-1]).unflatten(0, (-1, 4)))
            loop.descend(2.0 * terms["diffuse"] + terms["others"] + 2.0 * terms["structure"] + 2.0 * terms["edges"])
            loop.note(**terms)
    return loop


def draw_pairs(loop: Loop, pool: Pool | MemoryPool) -> tuple[torch.Tensor, torch.Tensor]:
    """-> photographs [B, 3, H, W] and the four reflectance images [B, 4, 3, H, W] of the same pixels, in [-1, 1]."""
    generator = loop.generator()
    subject = torch.randint(pool.count(), (loop.batch,), generator=generator)
    photos, truth = pool.photograph_images(subject, torch.zeros_like(subject)), pool.paired_images(subject)
    turned = (torch.rand(loop.batch, generator=generator) < 0.5).to(photos.device)[:, None, None, None]
    photos = torch.where(turned, photos.flip(3), photos)
    truth = torch.where(turned[..., None], mirror_reflectance(truth), truth)
    return augment.degrade(augment.develop(photos, generator), generator), truth


def translation_losses(made: torch.Tensor, truth: torch.Tensor) -> dict[str, torch.Tensor]:
    """made, truth [B, 4, 3, H, W] in [-1, 1], truth -1 behind the head -> mean absolute errors over the head.

    diffuse, others: of the stored values in [0, 1]; structure: of the logarithm of the linear diffuse albedo, the mean of
    each image taken off, because no photo tells the level for certain; edges: of differences between neighbours.
    """
    made, truth = made * 0.5 + 0.5, truth * 0.5 + 0.5
    head = (truth[:, DIFFUSE].amax(1) > 0)[:, None, None].float()  # [B, 1, 1, H, W]
    area = head.sum((2, 3, 4)).clamp(min=1.0)[..., None]  # [B, 1, 1]
    error = ((made - truth).abs() * head).sum((3, 4)) / area  # [B, 4, 3]
    log = lambda image: (srgb_to_linear(image[:, DIFFUSE : DIFFUSE + 1].clamp(0.0, 1.0)) + OF_DARK).log()
    off = log(made) - log(truth)
    level = (off * head).sum((3, 4)) / area
    structure = (((off - level[..., None, None]).abs() * head).sum((3, 4)) / area).mean()
    steps = []
    for axis in (3, 4):
        length = head.shape[axis] - 1
        both = head.narrow(axis, 1, length) * head.narrow(axis, 0, length)
        steps.append((((made - truth).diff(dim=axis)).abs() * both).sum((3, 4)) / area)
    others = [place for place in range(len(REFLECTANCE)) if place != DIFFUSE]
    return {
        "diffuse": error[:, DIFFUSE].mean(),
        "others": error[:, others].mean(),
        "structure": structure,
        "edges": sum(steps).mean(),
    }
