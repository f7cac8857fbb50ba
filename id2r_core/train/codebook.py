"""Stages `codebook` (one codebook shared by RGB and reflectance) and `domains` (one each): section 3.1 of the paper."""

from collections.abc import Callable

import numpy as np
import torch

from ..conventions import VIEWS, Domain
from ..nets import DomainCodebooks
from ..nets.codebook import Codebook, Quantised
from ..nets.discriminator import PatchDiscriminator
from ..nets.vqgan import Decoder, Encoder
from . import augment
from .checkpoint import load_checkpoint, without_prefix
from .loop import CHECKPOINT, Loop, Task, load_trained, tile, to_device
from .losses import adaptive_weight, hinge_for_discriminator, load_perceptual
from .pool import MemoryPool, Pool, growing_pool, validation_pool
from .portraits import Portraits, prepare_portraits

RGB = list(Domain).index(Domain.RGB)
REVIVE_EVERY = 25  # steps
REVIVE_UNTIL = 0.8  # share of the run; the codes then have time to settle
SHEET_SUBJECTS = 2

Quantise = Callable[[torch.Tensor, torch.Tensor], Quantised]


def train_codebook(task: Task) -> Loop:
    """Stage 1: RGB and reflectance images 1:1 share one codebook."""
    preset = task.preset
    encoder, decoder = to_device(Encoder(preset), task.device), to_device(Decoder(preset), task.device)
    shared = Codebook(preset.codes, preset.code_width, preset.commitment).to(task.device)

    def draw_domains(count: int, generator: torch.Generator) -> torch.Tensor:
        others = torch.randint(len(Domain), (count,), generator=generator)
        return torch.where(torch.rand(count, generator=generator) < 0.5, RGB, others)

    trained = {"encoder": encoder, "decoder": decoder, "codebook": shared}
    return _train(task, "codebook", trained, lambda latent, domain: shared(latent), [shared], draw_domains)


def train_domains(task: Task) -> Loop:
    """Stage 2: every domain gets its own copy of the shared codebook, and all are learnt on together."""
    preset = task.preset
    encoder, decoder = to_device(Encoder(preset), task.device), to_device(Decoder(preset), task.device)
    books = DomainCodebooks(preset).to(task.device)
    shared = Codebook(preset.codes, preset.code_width, preset.commitment).to(task.device)
    load_trained(task, "codebook", {"encoder": encoder, "decoder": decoder, "codebook": shared})
    books.copy_from(shared)
    for module in (encoder, decoder):
        module.train().requires_grad_(True)

    def draw_domains(count: int, generator: torch.Generator) -> torch.Tensor:
        return torch.randint(len(Domain), (count,), generator=generator)

    trained = {"encoder": encoder, "decoder": decoder, "codebooks": books}
    return _train(task, "domains", trained, books.quantise, [books[domain] for domain in Domain], draw_domains)


def draw_images(
    pool: Pool | MemoryPool, portraits: Portraits, domain: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Random training images of the domains [B] -> [B, 3, H, W]; RGB is a view, a photograph or a real portrait."""
    rows = len(domain)
    subject = torch.randint(pool.count(), (rows,), generator=generator)
    view = torch.randint(VIEWS, (rows,), generator=generator)
    images = pool.view_images(subject, domain, view)
    kind = torch.randint(3, (rows,), generator=generator)
    shots = ((domain == RGB) & (kind == 1)).nonzero()[:, 0]
    images[shots] = pool.photograph_images(subject[shots], view[shots] % pool.shots)
    faces = ((domain == RGB) & (kind == 2)).nonzero()[:, 0]
    person = torch.randint(len(portraits), (len(faces),), generator=generator)
    images[faces] = augment.mirror(portraits.pick(person), generator).to(images.device)
    return images


def _train(
    task: Task,
    stage: str,
    trained: dict[str, torch.nn.Module],
    quantise: Quantise,
    books: list[Codebook],
    draw_domains: Callable[[int, torch.Generator], torch.Tensor],
) -> Loop:
    preset, weights, crew = task.preset, task.preset.losses, task.crew
    encoder, decoder = trained["encoder"], trained["decoder"]
    discriminator = to_device(PatchDiscriminator(preset), task.device)
    perceptual = load_perceptual(task.data, weights.perceptual_taps, task.device)
    encode, decode, judge, compare = map(task.compiled, (encoder, decoder, discriminator, perceptual))
    portraits = prepare_portraits(preset, task.data, task.out, task.report).split("train").to(task.device)
    held_out = validation_pool(task)
    with growing_pool(task) as pool:
        sheet = lambda: _sheet(task, encoder, decoder, quantise, held_out)
        loop = Loop(task, stage, trained, {"discriminator": discriminator}, sheet)
        for step in loop:
            generator = loop.generator()
            pool.render_on()
            domain = draw_domains(loop.batch, generator)  # on the CPU, so that nothing waits for a GPU to tell it
            images = crew.mine(draw_images(pool, portraits, domain, generator)).to(task.device)
            of_all, domain = domain, crew.mine(domain)
            with loop.autocast():
                latent = encode(images)
                quantised = quantise(latent.float(), domain)
                made = decode(quantised.latent)
                likeness = compare(made, images)
            made = made.float()
            l1 = (made - images).abs().mean()
            reconstruction = weights.l1 * l1 + weights.perceptual * likeness
            loss = reconstruction + quantised.loss
            if loop.has_adversary:
                with loop.autocast():
                    adversarial = -judge(made).float().mean()
                factor = adaptive_weight(
                    reconstruction, adversarial, decoder.last.weight, weights.adversarial_most, crew
                )
                loss = loss + weights.adversarial_share * factor * adversarial
            loop.descend(loss)
            if loop.has_adversary:
                with loop.autocast():
                    rival = hinge_for_discriminator(judge(images).float(), judge(made.detach()).float())
                loop.descend_rival(rival)
                loop.note(discriminator=rival)
            whole = [crew.gather(part) for part in (latent.detach().float(), quantised.codes)]
            _tend_codes(loop, books, *whole, of_all, generator)
            loop.note(l1=l1, perceptual=likeness, quantisation=quantised.loss)
    return loop


def _tend_codes(
    loop: Loop,
    books: list[Codebook],
    latent: torch.Tensor,
    codes: torch.Tensor,
    domain: torch.Tensor,
    generator: torch.Generator,
) -> None:
    """Count what was used, and now and then move dead codes to where latents are."""
    for index, book in enumerate(books):
        rows = torch.arange(len(domain)) if len(books) == 1 else (domain == index).nonzero()[:, 0]
        if not len(rows):
            continue
        book.count(codes[rows])
        if loop.step % REVIVE_EVERY == 0 and loop.share < REVIVE_UNTIL:
            loop.note(revived=book.revive(latent[rows], generator))


def _sheet(task: Task, encoder: Encoder, decoder: Decoder, quantise: Quantise, pool: Pool) -> np.ndarray:
    """Two held-out subjects: per domain a row of true images (three views each) above their reconstructions."""
    rows = []
    subject = torch.arange(SHEET_SUBJECTS).repeat_interleave(3)
    view = torch.arange(3).repeat(SHEET_SUBJECTS)
    for index in range(len(Domain)):
        domain = torch.full_like(subject, index)
        images = pool.view_images(subject, domain, view)
        made = decoder(quantise(encoder(images.to(task.device)), domain).latent)
        rows += [images, made]
    return tile(rows)


def code_usage(task: Task, stage: str) -> dict[str, float]:
    """Share of live codes of each codebook that the stage left, by the moving usage."""
    tensors, _ = load_checkpoint(task.out / stage / CHECKPOINT, prefix="average/")
    usages = {n: t for n, t in without_prefix("average", tensors).items() if n.endswith("usage")}
    return {name.split("/")[-1]: float((usage > 0.05).float().mean()) for name, usage in usages.items()}
