"""Pictures of what a run has learnt, on people it never saw: interpolation, all domains of one person, fusion weights."""

import numpy as np
import torch

from ..conventions import REFLECTANCE, Domain
from ..nets import Nets
from ..nets.identity_encoder import Embedding
from ..templates import TemplateLibrary
from .figures import swapped
from .loop import tile
from .pool import Pool

TEMPLATE_SIDE = 96  # pixels of a template on its contact sheet


@torch.no_grad()
def interpolation_strip(
    nets: Nets, library: TemplateLibrary, pool: Pool, device: torch.device, steps: int = 7
) -> tuple[np.ndarray, float]:
    """One template as the first held-out subject, as the second, and as people between them: diffuse above normal.

    -> uint8 RGB [H, W, 3], and the largest change from picture to picture over the mean one: near 1 is smooth.
    """
    one, other = (_known(nets, pool, subject, device) for subject in (0, 1))
    template = int(library.distances(one.vector, one.tone_linear).argmin())
    rows = []
    for domain in (Domain.DIFFUSE, Domain.NORMAL):
        fronts = []
        for share in torch.linspace(0.0, 1.0, steps).tolist():
            vector = torch.nn.functional.normalize(torch.lerp(one.vector, other.vector, share), dim=1)
            between = Embedding(vector, torch.lerp(one.tone_linear, other.tone_linear, share))
            fronts.append(swapped(nets, nets.swapper, library, template, between, domain, device)[:1].float().cpu())
        rows.append(torch.cat(fronts))
    change = (rows[0][1:] - rows[0][:-1]).abs().mean((1, 2, 3))
    return tile(rows), float(change.max() / change.mean().clamp(min=1e-12))


@torch.no_grad()
def cross_domain_sheet(
    nets: Nets, library: TemplateLibrary, pool: Pool, device: torch.device, people: int = 12
) -> np.ndarray:
    """A row a held-out subject, dark to light: its photograph, then four domains in three views each, swapped."""
    tones = pool.tones(torch.arange(pool.count())).mean(1)
    by_tone = tones.argsort().tolist()
    count = min(people, len(by_tone))
    chosen = [by_tone[round(k * (len(by_tone) - 1) / max(1, count - 1))] for k in range(count)]
    rows = []
    for subject in chosen:
        found = _known(nets, pool, subject, device)
        template = int(library.distances(found.vector, found.tone_linear).argmin())
        made = [swapped(nets, nets.swapper, library, template, found, domain, device) for domain in REFLECTANCE]
        rows.append(torch.cat([_photograph(pool, subject).cpu(), *(images.float().cpu() for images in made)]))
    return tile(rows)


@torch.no_grad()
def template_sheet(nets: Nets, library: TemplateLibrary, device: torch.device, columns: int = 20) -> np.ndarray:
    """Every template's front view, diffuse, as it is kept; dark to light, row by row."""
    place = REFLECTANCE.index(Domain.DIFFUSE)
    order = library.tones_linear.mean(1).argsort().to(library.codes.device)
    codes = library.codes[order, 0, place].to(device)  # [T, h, w]
    fronts = [nets.decoder(nets.codebooks[Domain.DIFFUSE].look_up(part)).float().cpu() for part in codes.split(8)]
    fronts = torch.cat(fronts)
    empty = -torch.ones(-len(fronts) % columns, *fronts.shape[1:])
    return tile(list(torch.cat((fronts, empty)).split(columns)), TEMPLATE_SIDE)


@torch.no_grad()
def fusion_sheet(nets: Nets, pool: Pool, device: torch.device, subject: int = 0) -> np.ndarray:
    """A row a domain: the front view, then how much of each codebook (in the order of Domain) its places get."""
    rows = []
    for index in range(len(Domain)):
        image = pool.view_images(torch.tensor([subject]), torch.tensor([index]), torch.tensor([0])).to(device)
        quantised = nets.codebooks.quantise_all(nets.encoder(image))
        weights = nets.fusion(quantised[:, list(Domain).index(Domain.RGB)])[0]  # [5, h, w]
        large = torch.nn.functional.interpolate(weights[:, None], size=image.shape[-2:], mode="nearest")
        rows.append(torch.cat((image.cpu(), large.expand(-1, 3, -1, -1).cpu() * 2.0 - 1.0)))
    return tile(rows)


def _known(nets: Nets, pool: Pool, subject: int, device: torch.device) -> Embedding:
    return nets.identity(_photograph(pool, subject).to(device))


def _photograph(pool: Pool, subject: int) -> torch.Tensor:
    return pool.photograph_images(torch.tensor([subject]), torch.tensor([0]))
