"""Codebooks: what a domain gains by one of its own, and by all of them fused."""

import numpy as np
import torch

from ..conventions import Domain
from ..train import pictures
from ..train.figures import joint_figures, reconstruction_figures
from . import figures
from .context import Context
from .held_out import HeldOut
from .report import Report, Table

# Self-reconstruction of the paper, dB: one joint codebook, and one a domain.
PAPER = {
    Domain.DIFFUSE: (24.87, 31.62),
    Domain.SPECULAR: (20.95, 30.96),
    Domain.ROUGHNESS: (21.31, 31.59),
    Domain.NORMAL: (20.56, 30.32),
}
ALIVE = 0.05  # moving usage above which a code counts as alive
DRAWN_PEOPLE, DRAWN_CODES = 8, 40  # in the picture of z_q; latent pixels of each view
NOTE = (
    "PSNR over the head. Colour error: of the mean colour of an image, 0..255. Detail: energy above 1/8 of the Nyquist "
    "frequency against the truth's. Joint is stage 1 of the same run as it was left; where it was trained for fewer "
    "steps than stage 2, the difference is one of training too. Paper: its own captures at 512."
)


def evaluate_codebooks(context: Context) -> Report:
    """Self-reconstruction: one joint codebook (stage 1 of the run) against one a domain, and all of them fused."""
    held = HeldOut(context)
    joint = joint_figures(held.task, held.pool)
    multi = reconstruction_figures(held.nets, held.pool, held.device)
    rows = []
    for domain in Domain:
        one, own = joint[domain], multi[domain]
        alive = float((held.nets.codebooks[domain].usage > ALIVE).float().mean())
        rows.append([
            domain.value, one["psnr"], own["psnr"], own["psnr"] - one["psnr"], own["psnr_fused"], one["colour_error"],
            own["colour_error"], one["detail"], own["detail"], 100 * alive, own["codes_used"],
            *PAPER.get(domain, (None, None)),
        ])  # fmt: skip
    columns = [
        ("domain", None), ("joint, dB", 2), ("own codebook, dB", 2), ("difference", 2), ("fused, dB", 2),
        ("colour error joint", 1), ("own", 1), ("detail joint", 2), ("own detail", 2), ("codes alive, %", 0),
        ("codes met", 0), ("paper joint", 2), ("paper own", 2),
    ]  # fmt: skip
    figures.save_picture(context.out / "codebooks_fusion.jpg", pictures.fusion_sheet(held.nets, held.pool, held.device))
    drawn, notes = _draw_codes(held)
    table = Table("Self-reconstruction", columns, rows, NOTE)
    return Report("codebooks", "Codebooks", held.describe(), [table], notes, ["codebooks_fusion.jpg", *drawn])


def _draw_codes(held: HeldOut) -> tuple[list[str], list[str]]:
    """t-SNE of z_q: latent pixels of views of every domain, in the domain's colour."""
    points, domains = [], []
    generator = torch.Generator().manual_seed(0)
    subject = torch.arange(min(DRAWN_PEOPLE, held.pool.count()))
    for index in range(len(Domain)):
        domain = torch.full_like(subject, index)
        images = held.pool.view_images(subject, domain, torch.zeros_like(subject)).to(held.device)
        with torch.inference_mode():
            quantised = held.nets.codebooks.quantise(held.nets.encoder(images), domain)
        flat = quantised.latent.permute(0, 2, 3, 1).flatten(0, 2).cpu()
        chosen = torch.randperm(len(flat), generator=generator)[: DRAWN_CODES * len(subject)]
        points.append(flat[chosen].float())
        domains += [index] * len(chosen)
    names = [domain.value for domain in Domain]
    return held.draw_tsne("codebooks_codes.png", torch.cat(points).numpy(), np.array(domains), names)
