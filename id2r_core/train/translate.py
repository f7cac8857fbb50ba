"""Stage `translate`: from a photograph's RGB codes to the codes of its reflectance in the same view (method.md, point 7).

Not part of `all`: the pack works without it. Pairs are the capture stage's: views, and where the pool keeps them (in
memory) photographs with their own reflectance.
"""

import torch

from ..conventions import REFLECTANCE, VIEWS, Domain
from ..nets.translator import Translator
from . import augment
from .codebook import RGB
from .fusion import trained_autoencoder
from .loop import Loop, Task, to_device
from .pool import MemoryPool, Pool, growing_pool

PHOTOGRAPH_SHARE = 0.7  # of the pairs, where there are any
DOMAINS = [list(Domain).index(domain) for domain in REFLECTANCE]


def train_translate(task: Task) -> Loop:
    encoder, _, books = trained_autoencoder(task)
    translator = to_device(Translator(task.preset), task.device)
    with growing_pool(task) as pool:
        loop = Loop(task, "translate", {"translator": translator})
        for _ in loop:
            pool.render_on()
            photos, truth = (task.crew.mine(part).to(task.device) for part in draw_pairs(loop, pool))
            with torch.no_grad(), loop.autocast():
                latent = encoder(torch.cat((photos, truth.flatten(0, 1)))).float()
                rgb = books[Domain.RGB](latent[: len(photos)]).latent
                domain = torch.tensor([RGB + 1 + place for place in range(len(REFLECTANCE))]).repeat(len(photos))
                codes = books.quantise(latent[len(photos) :], domain).codes.unflatten(0, truth.shape[:2])
            with loop.autocast():
                points = translator(rgb)
            loss = translator.loss(points, books, codes)
            right = (translator.scores(points.detach(), books).argmax(2) == codes).float().mean()
            loop.descend(loss)
            loop.note(cross_entropy=loss, right=right)
    return loop


def draw_pairs(loop: Loop, pool: Pool | MemoryPool) -> tuple[torch.Tensor, torch.Tensor]:
    """-> lit images [B, 3, H, W] and the four reflectance images [B, 4, 3, H, W] of the same pixels, in [-1, 1]."""
    generator, rows = loop.generator(), loop.batch
    photographs = round(PHOTOGRAPH_SHARE * rows) if pool.has_pairs else 0
    subject = torch.randint(pool.count(), (rows,), generator=generator)
    shown, view = subject[photographs:], torch.randint(VIEWS, (rows - photographs,), generator=generator)
    lit = pool.view_images(shown, torch.full_like(shown, RGB), view)
    truth = torch.stack([pool.view_images(shown, torch.full_like(shown, d), view) for d in DOMAINS], 1)
    if photographs:
        first = subject[:photographs]
        lit = torch.cat((pool.photograph_images(first, torch.zeros_like(first)), lit))
        truth = torch.cat((pool.paired_images(first), truth))
    return augment.jitter_colour(lit, generator), truth
