"""The swap: the template's reflectance images decoded as the person of the photo."""

import torch

from .conventions import GREY, REFLECTANCE, Domain
from .identity import Identity
from .packs import Pack
from .templates import Template


def swap_identity(template: Template, identity: Identity, pack: Pack) -> dict[Domain, torch.Tensor]:
    """Decode the template with the identity injected.

    -> for each reflectance domain [V = 3, 3, H, W] float32 in [0, 1] (front, left, right view); the decoder does not
    know that the three channels of specular and roughness are one, so they are averaged.
    """
    views, domains = template.codes.shape[:2]
    order = torch.tensor([list(Domain).index(domain) for domain in REFLECTANCE], device=pack.device)
    with torch.inference_mode():
        latent = pack.nets.codebooks.look_up(template.codes.flatten(0, 1), order.repeat(views))  # [V * D, C, h, w]
        view = torch.arange(views, device=pack.device).repeat_interleave(domains)
        parts = zip(*(each.split(_batch(pack)) for each in (latent, order.repeat(views), view)), strict=True)
        images = torch.cat([_decode(*part, identity, pack) for part in parts])
    images = images.float().mul(0.5).add(0.5).clamp(0.0, 1.0).unflatten(0, (views, domains)).clone()
    swapped = {domain: images[:, index] for index, domain in enumerate(REFLECTANCE)}
    return swapped | {domain: swapped[domain].mean(1, keepdim=True).expand(-1, 3, -1, -1) for domain in GREY}


def _decode(
    latent: torch.Tensor, domain: torch.Tensor, view: torch.Tensor, identity: Identity, pack: Pack
) -> torch.Tensor:
    """latent [B, C, h, w] of domain [B] from view [B] -> images [B, 3, H, W], about [-1, 1]."""
    vector, tone_linear = (part.expand(len(latent), -1) for part in (identity.vector, identity.tone_linear))
    with torch.autocast(pack.device.type, torch.bfloat16, enabled=_is_half(pack)):
        return pack.nets.swapper(pack.nets.decoder, latent, vector, tone_linear, domain, view)


def _batch(pack: Pack) -> int:
    """Images decoded at once: on a CPU one at a time keeps the 512 px features in its cache (measured)."""
    return 1 if pack.device.type == "cpu" and pack.preset.size > 256 else 12


def _is_half(pack: Pack) -> bool:
    """bfloat16 where it was measured faster: large images on a CPU that has it, and CUDA."""
    if pack.device.type == "cuda":
        return True
    return pack.device.type == "cpu" and pack.preset.size > 256 and torch.backends.cpu.get_cpu_capability() == "AVX512"
