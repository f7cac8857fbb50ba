"""Held-out figures of a run, for the model card: subjects and portraits that were never trained on."""

import copy
from dataclasses import dataclass

import torch
from torch import nn

from ..conventions import REFLECTANCE, VIEWS, Domain, linear_to_srgb
from ..nets import Nets, Swapper
from ..nets.codebook import Codebook, DomainCodebooks
from ..nets.identity_encoder import Embedding
from ..nets.layers import resized
from ..nets.vqgan import Decoder, Encoder
from ..templates import TemplateLibrary
from .codebook import Quantise
from .identity import tone_error
from .loop import Task, load_trained
from .pool import Pool
from .portraits import Portraits
from .translate import DIFFUSE

FALSE_ACCEPTS = 1e-3
FIELD = "field"
NYQUIST, FINE_FROM = 0.5, 1 / 8  # cycles a pixel; share of it


@dataclass(frozen=True)
class Recognition:
    """rank1: how often the nearest other photograph is of the same person; tar: true accepts at a rate of false accepts
    of 1e-3; stranger: the highest cosine of two people."""

    rank1: float
    tar: float
    stranger: float


def recognition(vector: torch.Tensor, person: torch.Tensor) -> Recognition:
    """Of unit vectors [N, D] and who they are [N]."""
    cosine = vector @ vector.T
    is_same, itself = person[:, None] == person[None], torch.eye(len(person), dtype=torch.bool)
    nearest = cosine.masked_fill(itself, -2.0).argmax(1)
    strangers = cosine[~is_same]
    accepted = cosine[is_same & ~itself] > torch.quantile(strangers, 1.0 - FALSE_ACCEPTS)
    rank1 = float((person[nearest] == person).float().mean())
    return Recognition(rank1, float(accepted.float().mean()), float(strangers.max()))


@torch.no_grad()
def identity_figures(nets: Nets, pool: Pool, device: torch.device) -> dict[str, float]:
    """Recognition and tone on the photographs [N subjects, P each] of held-out subjects.

    rank1, tar: see `Recognition`; tone_error: mean absolute, sRGB 0..255; tone_correlation: of the lightness.
    """
    subjects, shots = pool.count(), pool.shots
    subject = torch.arange(subjects).repeat_interleave(shots)
    photos = pool.photograph_images(subject, torch.arange(shots).repeat(subjects))
    found = [nets.identity(part.to(device)) for part in photos.split(16)]
    vector = torch.cat([part.vector for part in found]).cpu()
    tone = torch.cat([part.tone_linear for part in found]).cpu()
    known = recognition(vector, subject)
    true_tone = pool.tones(subject).cpu()
    lightness = torch.stack((linear_to_srgb(tone).mean(1), linear_to_srgb(true_tone).mean(1)))
    return {
        "photographs": len(subject),
        "rank1": known.rank1,
        "tar": known.tar,
        "tone_error": float(tone_error(tone, true_tone)) * 255.0,
        "tone_correlation": float(torch.corrcoef(lightness)[0, 1]),
    }


@torch.no_grad()
def portrait_figures(nets: Nets, portraits: Portraits, device: torch.device) -> dict[str, float]:
    """portrait_tone_gap: mean absolute difference of the tone to the cheeks of held-out portraits, sRGB 0..255;
    portrait_likeness: the highest cosine between two of these people. Empty without portraits."""
    if not len(portraits):
        return {}
    index = torch.arange(len(portraits))
    found = [nets.identity(portraits.pick(part).to(device)) for part in index.split(16)]
    vector = torch.cat([part.vector for part in found]).cpu()
    tone = torch.cat([part.tone_linear for part in found]).cpu()
    gap = (linear_to_srgb(tone) - portraits.cheeks(index).cpu()).abs().mean()
    likeness = (vector @ vector.T - 2.0 * torch.eye(len(vector))).max()
    return {"portrait_tone_gap": float(gap) * 255.0, "portrait_likeness": float(likeness)}


@torch.no_grad()
def reconstruction_figures(nets: Nets, pool: Pool, device: torch.device) -> dict[Domain, dict[str, float]]:
    """Held-out views through the encoder, each domain's own codebook or all five fused, and the decoder."""
    own = codec_figures(nets.encoder, nets.decoder, nets.codebooks.quantise, pool, device)
    for index, domain in enumerate(Domain):
        fused = Scores()
        for subject in range(pool.count()):
            images, mask = _views(pool, subject, index)
            latent = nets.fusion.fuse(nets.codebooks.quantise_all(nets.encoder(images.to(device))))
            fused.add(nets.decoder(latent).cpu(), images, mask)
        own[domain] |= {"psnr_fused": fused.psnr(), "detail_fused": fused.detail()}
    return own


def joint_figures(task: Task, pool: Pool) -> dict[Domain, dict[str, float]]:
    """The same for the stage before, in which all domains share one codebook."""
    preset = task.preset
    encoder, decoder = Encoder(preset), Decoder(preset)
    shared = Codebook(preset.codes, preset.code_width, preset.commitment)
    load_trained(task, "codebook", {"encoder": encoder, "decoder": decoder, "codebook": shared})
    return codec_figures(encoder, decoder, lambda latent, domain: shared(latent), pool, task.device)


def domain_figures(task: Task, pool: Pool) -> dict[Domain, dict[str, float]]:
    """The same for the stage after, in which every domain has its own codebook."""
    encoder, decoder, books = Encoder(task.preset), Decoder(task.preset), DomainCodebooks(task.preset)
    load_trained(task, "domains", {"encoder": encoder, "decoder": decoder, "codebooks": books})
    return codec_figures(encoder, decoder, books.quantise, pool, task.device)


@torch.no_grad()
def codec_figures(
    encoder: Encoder, decoder: Decoder, quantise: Quantise, pool: Pool, device: torch.device
) -> dict[Domain, dict[str, float]]:
    """Of each domain: psnr, colour_error (0..255), detail (see `Scores.detail`), and codes_used: how many
    different codes occur in the held-out views (a code that is never needed there may still be alive).
    """
    figures = {}
    for index, domain in enumerate(Domain):
        scores, used = Scores(), set()
        for subject in range(pool.count()):
            images, mask = _views(pool, subject, index)
            quantised = quantise(encoder(images.to(device)), torch.full((VIEWS,), index))
            used |= set(quantised.codes.unique().tolist())
            scores.add(decoder(quantised.latent).cpu(), images, mask)
        figures[domain] = {"psnr": scores.psnr(), "colour_error": scores.colour_error(), "detail": scores.detail()}
        figures[domain]["codes_used"] = len(used)
    return figures


@torch.no_grad()
def translation_figures(nets: Nets, pool: Pool, device: torch.device) -> dict[Domain, dict[str, float]]:
    """Held-out photographs, one a subject, against the reflectance that they show: psnr, colour_error, detail."""
    scores = {domain: Scores() for domain in REFLECTANCE}
    size = nets.translator.size
    for subject in torch.arange(pool.count()).split(8):
        photos = pool.photograph_images(subject, torch.zeros_like(subject)).to(device)
        made = nets.translator(resized(photos, size)).cpu()
        truth = resized(pool.paired_images(subject).cpu().flatten(0, 1), size).unflatten(0, (len(subject), -1))
        mask = (truth[:, DIFFUSE] > -1.0).any(1, keepdim=True)
        for place, domain in enumerate(REFLECTANCE):
            scores[domain].add(made[:, place], truth[:, place], mask)
    return {
        domain: {"psnr": found.psnr(), "colour_error": found.colour_error(), "detail": found.detail()}
        for domain, found in scores.items()
    }


@torch.no_grad()
def swap_figures(
    nets: Nets, library: TemplateLibrary, pool: Pool, device: torch.device
) -> dict[Domain, dict[str, float]]:
    """One photograph of each held-out subject, swapped into the closest and the fixed template, against the truth."""
    scores = {(kind, domain): Scores() for kind in ("closest", "fixed") for domain in REFLECTANCE}
    for one in range(pool.count()):
        found = nets.identity(pool.photograph_images(torch.tensor([one]), torch.tensor([0])).to(device))
        closest = int(library.distances(found.vector, found.tone_linear).argmin())
        for domain in REFLECTANCE:
            images, mask = _views(pool, one, list(Domain).index(domain))
            for kind, template in (("closest", closest), ("fixed", 0)):
                made = swapped(nets, nets.swapper, library, template, found, domain, device)
                scores[kind, domain].add(made.cpu(), images, mask)
    figures = {}
    for domain in REFLECTANCE:
        closest = scores["closest", domain]
        figures[domain] = {"closest": closest.psnr(), "fixed": scores["fixed", domain].psnr()}
        figures[domain] |= {"colour_error": closest.colour_error(), "detail": closest.detail()}
    return figures


def without_levels(swapper: Swapper, sides: list[str]) -> Swapper:
    """The same swapper (shared weights) that does not inject into some levels; "field" stands for what is added at the
    end."""
    reduced = copy.copy(swapper)
    reduced._modules = dict(swapper._modules)
    reduced.levels = nn.ModuleDict({side: level for side, level in swapper.levels.items() if side not in sides})
    reduced.field = None if FIELD in sides else swapper.field
    return reduced


def swapped(
    nets: Nets,
    swapper: Swapper,
    library: TemplateLibrary,
    template: int,
    found: Embedding,
    domain: Domain,
    device: torch.device,
) -> torch.Tensor:
    """The three views [3, 3, H, W] of a template in one domain as the person of `found` (a batch of one)."""
    labels = torch.full((VIEWS,), list(Domain).index(domain), device=device)
    codes = library.codes[template, :, REFLECTANCE.index(domain)].to(device)
    vector, tone = found.vector.expand(VIEWS, -1), found.tone_linear.expand(VIEWS, -1)
    view = torch.arange(VIEWS, device=device)
    return swapper(nets.decoder, nets.codebooks.look_up(codes, labels), vector, tone, labels, view)


class Scores:
    """Mean PSNR over the mask, mean absolute error of the mean colour (0..255), and detail, over many images."""

    def __init__(self):
        self._psnr, self._colour, self._made, self._true = [], [], 0.0, 0.0

    def add(self, made: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor) -> None:
        """made, truth [B, 3, H, W] in [-1, 1]; mask [B, 1, H, W] bool, where the head is."""
        made, truth = (image.float().clamp(-1.0, 1.0) * 0.5 + 0.5 for image in (made, truth))
        area = mask.sum((1, 2, 3)).clamp(min=1)
        error = ((made - truth).square() * mask).sum((1, 2, 3)) / (3 * area)
        self._psnr += (-10.0 * torch.log10(error.clamp(min=1e-10))).tolist()
        colour = ((made - truth) * mask).sum((2, 3)) / area[:, None]
        self._colour += (colour.abs().mean(1) * 255.0).tolist()
        self._made += fine_energy(made * mask)
        self._true += fine_energy(truth * mask)

    def detail(self) -> float:
        """Energy above 1/8 of the Nyquist frequency, as a share of the truth's; 1 is as sharp, less is softer."""
        return self._made / max(self._true, 1e-12)

    def psnr(self) -> float:
        return sum(self._psnr) / len(self._psnr)

    def colour_error(self) -> float:
        return sum(self._colour) / len(self._colour)


def fine_energy(images: torch.Tensor) -> float:
    """Energy of images [B, C, H, W] at frequencies above FINE_FROM of the Nyquist frequency."""
    spectrum = torch.fft.rfft2(images)
    down, along = torch.fft.fftfreq(images.shape[-2]), torch.fft.rfftfreq(images.shape[-1])
    is_fine = (down[:, None].square() + along[None].square()).sqrt() > FINE_FROM * NYQUIST
    # All columns but the first and the last stand for two frequencies.
    weight = torch.full_like(along, 2.0)
    weight[[0, -1]] = 1.0
    return float((spectrum.abs().square() * is_fine * weight).sum())


def _views(pool: Pool, subject: int, domain: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The three views of a subject in one domain and where the head is: there its normals have unit length."""
    view = torch.arange(VIEWS)
    rows = torch.full((VIEWS,), subject)
    normal = pool.view_images(rows, torch.full((VIEWS,), list(Domain).index(Domain.NORMAL)), view)
    mask = (normal.norm(dim=1, keepdim=True) - 1.0).abs() < 0.2
    return pool.view_images(rows, torch.full((VIEWS,), domain), view).cpu(), mask.cpu()
