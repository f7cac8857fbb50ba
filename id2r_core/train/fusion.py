"""Stage `fusion`: with everything else frozen, learn how much of each codebook the decoder gets, pixel by pixel."""

import torch

from ..conventions import Domain
from ..nets import DomainCodebooks, Fusion
from ..nets.vqgan import Decoder, Encoder
from .codebook import draw_images
from .loop import Loop, Task, load_trained, to_device
from .losses import load_perceptual
from .pool import growing_pool
from .portraits import prepare_portraits


def train_fusion(task: Task) -> Loop:
    preset, weights = task.preset, task.preset.losses
    encoder, decoder, books = trained_autoencoder(task)
    fusion = to_device(Fusion(preset), task.device)
    perceptual = load_perceptual(task.data, weights.perceptual_taps, task.device)
    portraits = prepare_portraits(preset, task.data, task.out, task.report).split("train").to(task.device)
    with growing_pool(task) as pool:
        loop = Loop(task, "fusion", {"fusion": fusion})
        for _ in loop:
            generator = loop.generator()
            pool.render_on()
            domain = torch.randint(len(Domain), (loop.batch,), generator=generator)
            images = task.crew.mine(draw_images(pool, portraits, domain, generator)).to(task.device)
            with loop.autocast():
                with torch.no_grad():
                    quantised = books.quantise_all(encoder(images).float())
                made = decoder(fusion.fuse(quantised))
                likeness = perceptual(made, images)
            l1 = (made.float() - images).abs().mean()
            loop.descend(weights.l1 * l1 + weights.perceptual * likeness)
            loop.note(l1=l1, perceptual=likeness)
    return loop


def trained_autoencoder(task: Task) -> tuple[Encoder, Decoder, DomainCodebooks]:
    """What the domains stage of this run left, frozen."""
    parts = Encoder(task.preset), Decoder(task.preset), DomainCodebooks(task.preset)
    load_trained(task, "domains", dict(zip(("encoder", "decoder", "codebooks"), parts)))
    return parts
