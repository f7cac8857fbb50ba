"""Stage `swapper`: learn to change the features of the frozen decoder so that a template becomes another person.

The capture stage renders any subject in the views of any template, so a swap between virtual subjects has a true
answer; RGB images, whose light differs from subject to subject, and real portraits are taught by the paper's losses.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch

from ..conventions import REFLECTANCE, VIEWS, Domain
from ..nets import DomainCodebooks, Swapper
from ..nets.discriminator import PatchDiscriminator
from ..nets.identity_encoder import IdentityEncoder
from ..nets.vqgan import Encoder
from ..templates import TemplateLibrary
from .codebook import RGB
from .fusion import trained_autoencoder
from .identity import trained_encoder
from .loop import Loop, Task, tile, to_device
from .losses import hinge_for_discriminator, load_perceptual
from .parallel import Crew
from .pool import Pool, growing_pool, validation_pool
from .portraits import Portraits, prepare_portraits

# How often each domain is trained. The diffuse map carries the person; RGB is not part of the result.
DOMAIN_SHARES = {
    Domain.RGB: 0.15,
    Domain.DIFFUSE: 0.35,
    Domain.SPECULAR: 0.15,
    Domain.ROUGHNESS: 0.15,
    Domain.NORMAL: 0.2,
}
# How the template of a swap is chosen: the subject itself, the closest other one (as at inference), else any.
SAME_SHARE, CLOSEST_SHARE = 0.15, 0.6
PORTRAIT_SHARE = 0.5  # of the RGB images
SHEET_SUBJECTS = 4
ENCODE_BATCH = 16


@dataclass(frozen=True)
class Swaps:
    """A batch of swaps, on the device but for `domain` and `is_same`. `template[i]`, an entry of the library, becomes the person of `vector[i]` [B, 512] and
    `tone_linear[i]` [B, 3], in domain[i] from view[i]; target [B, 3, H, W]: the true answer, or for RGB images the
    template; is_same: whether the template is that person."""

    template: torch.Tensor
    vector: torch.Tensor
    tone_linear: torch.Tensor
    domain: torch.Tensor
    view: torch.Tensor
    target: torch.Tensor
    is_same: torch.Tensor

    def of(self, crew: Crew) -> "Swaps":
        """The rows of this process."""
        return Swaps(*(crew.mine(getattr(self, field.name)) for field in fields(self)))


def train_swapper(task: Task) -> Loop:
    preset, weights = task.preset, task.preset.losses
    encoder, decoder, books = trained_autoencoder(task)
    recogniser = trained_encoder(task)
    swapper = to_device(Swapper(preset), task.device)
    discriminator = to_device(PatchDiscriminator(preset), task.device)
    perceptual = load_perceptual(task.data, weights.perceptual_taps, task.device)
    compare, judge = map(task.compiled, (perceptual, discriminator))
    portraits = prepare_portraits(preset, task.data, task.out, task.report).split("train").to(task.device)
    held_out = validation_pool(task)
    with growing_pool(task) as pool:
        library = encode_library(task, pool, template_candidates(task, pool), encoder, books, recogniser)
        sheet = lambda: _sheet(task, swapper, decoder, books, recogniser, library, held_out)
        loop = Loop(task, "swapper", {"swapper": swapper}, {"discriminator": discriminator}, sheet)
        for _ in loop:
            pool.render_on()
            swaps = _draw_swaps(loop, pool, portraits, library, recogniser).of(task.crew)
            domain = swaps.domain.to(task.device)
            latent = books.look_up(library.codes[swaps.template, swaps.view, domain], domain)
            with loop.autocast():
                made = swapper(decoder, latent, swaps.vector, swaps.tone_linear, domain, swaps.view)
            loss, notes = _swap_loss(loop, made, swaps, compare, recogniser)
            if loop.has_adversary:
                with loop.autocast():
                    loss = loss - weights.swap_adversarial * judge(made).float().mean()
            loop.descend(loss)
            if loop.has_adversary:
                with loop.autocast():
                    rival = hinge_for_discriminator(judge(swaps.target).float(), judge(made.detach()).float())
                loop.descend_rival(rival)
            loop.note(**notes)
    return loop


def template_candidates(task: Task, pool: Pool) -> torch.Tensor:
    """The subjects of the pool that templates are made from: the first ones."""
    return torch.arange(min(2 * task.preset.templates, pool.count()))


@torch.no_grad()
def encode_library(
    task: Task,
    pool: Pool,
    subject: torch.Tensor,
    encoder: Encoder,
    books: DomainCodebooks,
    recogniser: IdentityEncoder,
) -> TemplateLibrary:
    """Captures of subjects [T] as templates, here in all five domains: codes [T, V, 5, h, w] in the order of Domain."""
    domains = len(Domain)
    codes = []
    view, domain = torch.arange(VIEWS).repeat_interleave(domains), torch.arange(domains).repeat(VIEWS)
    for one in subject:
        images = pool.view_images(one.expand(len(view)), domain, view).to(task.device)
        codes.append(books.quantise(encoder(images), domain.to(task.device)).codes.unflatten(0, (VIEWS, domains)))
    vectors = torch.cat([average_vector(pool, part, recogniser, task) for part in subject.split(ENCODE_BATCH)])
    names = tuple(f"virtual-{int(one):04d}" for one in subject)
    return TemplateLibrary(names, torch.stack(codes), vectors, pool.tones(subject).to(task.device))


@torch.no_grad()
def average_vector(pool: Pool, subject: torch.Tensor, recogniser: IdentityEncoder, task: Task) -> torch.Tensor:
    """Identity vectors of subjects [B], averaged over their photographs, unit length [B, 512]."""
    shots = range(pool.shots)
    photos = [pool.photograph_images(subject, torch.full_like(subject, shot)).to(task.device) for shot in shots]
    return torch.nn.functional.normalize(sum(recogniser(photo).vector for photo in photos), dim=1)


def _draw_domains(rows: int, generator: torch.Generator) -> torch.Tensor:
    """[B] indices in the order of Domain, RGB first; always as many of RGB, so that a GPU meets few sizes of batches."""
    rgb = max(1, round(DOMAIN_SHARES[Domain.RGB] * rows))
    shares = torch.tensor([DOMAIN_SHARES[domain] for domain in REFLECTANCE])
    rest = torch.multinomial(shares, max(1, rows - rgb), True, generator=generator)[: rows - rgb] + 1
    return torch.cat((torch.full((rgb,), RGB), rest))


@torch.no_grad()
def _draw_swaps(
    loop: Loop, pool: Pool, portraits: Portraits, library: TemplateLibrary, recogniser: IdentityEncoder
) -> Swaps:
    generator, device, rows = loop.generator(), loop.task.device, loop.batch
    domain = _draw_domains(rows, generator)
    view = torch.randint(VIEWS, (rows,), generator=generator) * (domain != RGB)  # RGB is judged from the front
    chance = torch.rand(rows, generator=generator)
    is_same = chance < SAME_SHARE
    own_template = torch.randint(len(library.names), (rows,), generator=generator)
    subject = torch.where(is_same, own_template, torch.randint(pool.count(), (rows,), generator=generator))
    shot = torch.randint(pool.shots, (rows,), generator=generator)
    photos, tone = pool.photograph_images(subject, shot), pool.tones(subject).to(device)

    is_portrait = (domain == RGB) & ~is_same & (torch.rand(rows, generator=generator) < PORTRAIT_SHARE)
    person = torch.randint(len(portraits), (int(is_portrait.sum()),), generator=generator)
    photos[is_portrait] = portraits.pick(person).to(photos.device)
    found = recogniser(photos.to(device))
    tone = torch.where(is_portrait.to(device)[:, None], found.tone_linear, tone)

    distance = library.distances(found.vector, tone)
    own = torch.where(is_portrait, -1, subject)[:, None].to(device) == torch.arange(len(library.names), device=device)
    closest = distance.masked_fill(own, float("inf")).argmin(1).cpu()
    other = torch.where(chance < SAME_SHARE + CLOSEST_SHARE, closest, own_template)
    template = torch.where(is_same, own_template, other)
    target = pool.view_images(torch.where(domain == RGB, template, subject), domain, view)
    return Swaps(template.to(device), found.vector, tone, domain, view.to(device), target.to(device), is_same)


def _swap_loss(
    loop: Loop, made: torch.Tensor, swaps: Swaps, perceptual: torch.nn.Module, recogniser: IdentityEncoder
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """-> the sum of all terms, each weighted by its share of the batch, and figures for the log."""
    weights, is_rgb = loop.task.preset.losses, swaps.domain == RGB
    notes, terms = {}, []
    rgb, rest = is_rgb.nonzero()[:, 0], (~is_rgb).nonzero()[:, 0]
    if len(rest):
        l1 = (made[rest].float() - swaps.target[rest]).abs().mean()
        with loop.autocast():
            likeness = perceptual(made[rest], swaps.target[rest])
        terms.append((len(rest), weights.supervised_l1 * l1 + weights.supervised_perceptual * likeness))
        notes |= {"l1": l1, "perceptual": likeness}
    if len(rgb):
        with loop.autocast():
            cosine = (recogniser(made[rgb]).vector * swaps.vector[rgb]).sum(1).mean()
            likeness = perceptual(made[rgb], swaps.target[rgb])
        same = (made[rgb].float() - swaps.target[rgb]).abs().mean((1, 2, 3))
        same = (same * swaps.is_same[rgb].to(same.device)).mean()
        terms.append((len(rgb), weights.identity * (1.0 - cosine) + weights.template * likeness + weights.same * same))
        notes |= {"cosine": cosine, "template": likeness}
    return sum(count * term for count, term in terms) / len(made), notes


def _sheet(
    task: Task,
    swapper: Swapper,
    decoder: torch.nn.Module,
    books: DomainCodebooks,
    recogniser: IdentityEncoder,
    library: TemplateLibrary,
    pool: Pool,
) -> np.ndarray:
    """Held-out subjects: a row a subject and a row below it; above the truth, below the swap of the closest template.

    Columns: the photograph (above) and the template's front view (below), then four domains x three views.
    """
    rows = []
    for one in range(min(SHEET_SUBJECTS, pool.count())):
        subject = torch.tensor([one])
        photo = pool.photograph_images(subject, torch.tensor([0])).to(task.device)
        found = recogniser(photo)
        template = int(library.distances(found.vector, found.tone_linear).argmin())
        domain = torch.tensor([list(Domain).index(d) for d in REFLECTANCE]).repeat_interleave(VIEWS)
        view = torch.arange(VIEWS).repeat(len(REFLECTANCE))
        truth = pool.view_images(subject.expand(len(view)), domain, view).cpu()
        latent = books.look_up(library.codes[template, view, domain], domain.to(task.device))
        count = len(view)
        vector, tone = found.vector.expand(count, -1), found.tone_linear.expand(count, -1)
        made = swapper(decoder, latent, vector, tone, domain.to(task.device), view.to(task.device))
        own = books.look_up(library.codes[template, :1, 1], torch.tensor([1], device=task.device))
        rows += [torch.cat((photo.cpu(), truth)), torch.cat((decoder(own).cpu(), made.cpu()))]
    return tile(rows)
