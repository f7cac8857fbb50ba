"""Held-out figures of a run, for the model card: subjects and portraits that were never trained on."""

import torch

from ..conventions import REFLECTANCE, Domain, linear_to_srgb
from ..nets import Nets
from ..templates import TemplateLibrary
from .identity import tone_error
from .pool import VIEWS, Pool
from .portraits import Portraits

FALSE_ACCEPTS = 1e-3


@torch.no_grad()
def identity_figures(nets: Nets, pool: Pool, device: torch.device) -> dict[str, float]:
    """Recognition and tone on the photographs [N subjects, P each] of held-out subjects.

    rank1: how often the nearest other photograph is of the same subject; tar: true accepts at a rate of false accepts
    of 1e-3; tone_error: mean absolute, sRGB 0..255; tone_correlation: of the lightness.
    """
    subjects, shots = pool.count(), pool.shots
    subject = torch.arange(subjects).repeat_interleave(shots)
    photos = pool.photograph_images(subject, torch.arange(shots).repeat(subjects))
    found = [nets.identity(part.to(device)) for part in photos.split(16)]
    vector = torch.cat([part.vector for part in found]).cpu()
    tone = torch.cat([part.tone_linear for part in found]).cpu()
    cosine = vector @ vector.T
    is_same = subject[:, None] == subject[None]
    off_diagonal = ~torch.eye(len(subject), dtype=torch.bool)
    nearest = cosine.masked_fill(~off_diagonal, -2.0).argmax(1)
    threshold = torch.quantile(cosine[~is_same], 1.0 - FALSE_ACCEPTS)
    true_tone = pool.tones(subject).cpu()
    lightness = torch.stack((linear_to_srgb(tone).mean(1), linear_to_srgb(true_tone).mean(1)))
    return {
        "photographs": len(subject),
        "rank1": float((subject[nearest] == subject).float().mean()),
        "tar": float((cosine[is_same & off_diagonal] > threshold).float().mean()),
        "tone_error": float(tone_error(tone, true_tone)) * 255.0,
        "tone_correlation": float(torch.corrcoef(lightness)[0, 1]),
    }


@torch.no_grad()
def portrait_figures(nets: Nets, portraits: Portraits, device: torch.device) -> dict[str, float]:
    """portrait_tone_gap: mean absolute difference of the tone to the cheeks of held-out portraits, sRGB 0..255;
    portrait_likeness: the highest cosine between two of these people."""
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
    figures = {}
    for index, domain in enumerate(Domain):
        scores = {"own": Scores(), "fused": Scores()}
        for subject in range(pool.count()):
            images, mask = _views(pool, subject, index)
            latent = nets.encoder(images.to(device))
            labels = torch.full((VIEWS,), index, device=device)
            own = nets.decoder(nets.codebooks.quantise(latent, labels).latent)
            fused = nets.decoder(nets.fusion.fuse(nets.codebooks.quantise_all(latent)))
            scores["own"].add(own.cpu(), images, mask)
            scores["fused"].add(fused.cpu(), images, mask)
        figures[domain] = {"psnr": scores["own"].psnr(), "psnr_fused": scores["fused"].psnr()}
        figures[domain]["colour_error"] = scores["own"].colour_error()
    return figures


@torch.no_grad()
def swap_figures(
    nets: Nets, library: TemplateLibrary, pool: Pool, device: torch.device
) -> dict[Domain, dict[str, float]]:
    """One photograph of each held-out subject, swapped into the closest and the fixed template, against the truth."""
    scores = {domain: {"closest": Scores(), "fixed": Scores()} for domain in REFLECTANCE}
    view = torch.arange(VIEWS)
    for one in range(pool.count()):
        found = nets.identity(pool.photograph_images(torch.tensor([one]), torch.tensor([0])).to(device))
        closest = int(library.distances(found.vector, found.tone_linear).argmin())
        vector, tone = found.vector.expand(VIEWS, -1), found.tone_linear.expand(VIEWS, -1)
        for row, domain in enumerate(REFLECTANCE):
            index = list(Domain).index(domain)
            images, mask = _views(pool, one, index)
            labels = torch.full((VIEWS,), index, device=device)
            for kind, template in (("closest", closest), ("fixed", 0)):
                latent = nets.codebooks.look_up(library.codes[template, view, row].to(device), labels)
                scores[domain][kind].add(nets.swapper(nets.decoder, latent, vector, tone, labels).cpu(), images, mask)
    figures = {domain: {kind: score.psnr() for kind, score in kinds.items()} for domain, kinds in scores.items()}
    for domain, kinds in scores.items():
        figures[domain]["colour_error"] = kinds["closest"].colour_error()
    return figures


class Scores:
    """Mean PSNR over the mask, and mean absolute error of the mean colour (0..255), over many images."""

    def __init__(self):
        self._psnr, self._colour = [], []

    def add(self, made: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor) -> None:
        """made, truth [B, 3, H, W] in [-1, 1]; mask [B, 1, H, W] bool, where the head is."""
        made, truth = (image.float().clamp(-1.0, 1.0) * 0.5 + 0.5 for image in (made, truth))
        area = mask.sum((1, 2, 3)).clamp(min=1)
        error = ((made - truth).square() * mask).sum((1, 2, 3)) / (3 * area)
        self._psnr += (-10.0 * torch.log10(error.clamp(min=1e-10))).tolist()
        colour = ((made - truth) * mask).sum((2, 3)) / area[:, None]
        self._colour += (colour.abs().mean(1) * 255.0).tolist()

    def psnr(self) -> float:
        return sum(self._psnr) / len(self._psnr)

    def colour_error(self) -> float:
        return sum(self._colour) / len(self._colour)


def _views(pool: Pool, subject: int, domain: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The three views of a subject in one domain and where the head is: there its normals have unit length."""
    view = torch.arange(VIEWS)
    rows = torch.full((VIEWS,), subject)
    normal = pool.view_images(rows, torch.full((VIEWS,), list(Domain).index(Domain.NORMAL)), view)
    mask = (normal.norm(dim=1, keepdim=True) - 1.0).abs() < 0.2
    return pool.view_images(rows, torch.full((VIEWS,), domain), view).cpu(), mask.cpu()
