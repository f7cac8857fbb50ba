"""Cropped hair on the scalp: what the photo shows of it, and more of the same behind."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .conventions import Domain, linear_to_srgb, srgb_to_linear
from .cover import Cover, at_home
from .geometry.texture import blur, blur_inside, fade, fill_holes, ramp, soften
from .head.atlas import HeadAtlas

SPREAD = (0.2, 0.5)  # of hairiness around, where the scalp is not seen: from bald to haired
GLIDE = 0.04  # of the atlas: over which the hair that is seen glides into that behind
STRAND_BANDS = (0.001, 0.0025)  # shares of the atlas
SHINE, SHINE_BAND = 0.6, 0.03  # share of the slow changes of brightness in hair that is light; of the atlas
SOFTNESS, LEAST_HAIR = 0.004, 0.001  # shares of the atlas
GLOSS = {Domain.SPECULAR: 0.2, Domain.ROUGHNESS: 0.7}  # in the units of the maps


@dataclass(frozen=True)
class CroppedHair:
    """albedo [3, T, T] linear; presence [T, T] in [0, 1]: where the scalp has hair; edge [T, T] in [0, 1]: where the
    photo shows hair and the soft beginning of it, which belongs to both."""

    albedo: Tensor
    presence: Tensor
    edge: Tensor


def grow_hair(albedo: Tensor, cover: Cover, seen: Tensor, atlas: HeadAtlas) -> CroppedHair:
    """Hair on the scalp as the photo shows it; behind what is seen it goes on, in its median colour.

    Hair that hangs over the face or the ears is left out: it is not at home there.
    """
    home, known = at_home(atlas), (seen > 0.1).float()
    sure = (cover.hair * known * home > 0.9).float()
    if sure.mean() < LEAST_HAIR:
        return CroppedHair(albedo, torch.zeros_like(home), torch.zeros_like(home))
    near = ramp(soften(known * home, GLIDE), 0.02, 0.4)
    hairy = torch.lerp(
        atlas.region("scalp"), fill_holes(cover.hair[None, None], (known * home)[None, None])[0, 0], near
    )
    presence = soften(home * torch.lerp(ramp(hairy, *SPREAD), cover.hair, known), SOFTNESS)
    shown = albedo.log()
    usual = shown[:, sure > 0].median(1).values[:, None, None]
    slow = blur_inside(shown, sure, SHINE_BAND) - usual  # hair shines: its bands of light are not albedo
    shown = shown - SHINE * slow
    behind = usual + _strands(shown, sure)
    near = ramp(soften(sure, GLIDE), 0.02, 0.4)
    colour = torch.lerp(behind, fill_holes((shown * sure)[None], sure[None, None])[0], near)
    colour = torch.lerp(colour, shown, fade(seen) * cover.near_hair)
    return CroppedHair(colour.clamp(max=0).exp(), presence, home * cover.near_hair * fade(seen))


def _strands(shown: Tensor, sure: Tensor) -> Tensor:
    """[1, T, T] the unrest of cropped hair, as strong as in the hair that is seen: fine grain and tufts."""
    generator = torch.Generator().manual_seed(0)
    grain = torch.randn(2, *sure.shape, generator=generator).to(shown)
    grain = torch.cat([blur(layer[None], share) for layer, share in zip(grain, STRAND_BANDS, strict=True)])
    grain = (grain / grain.std((1, 2), keepdim=True)).sum(0, keepdim=True) / len(STRAND_BANDS) ** 0.5
    luminance = shown.mean(0, keepdim=True)
    unrest = (luminance - blur_inside(luminance, sure, STRAND_BANDS[-1])).abs()[0][sure > 0].median()
    return grain * unrest


def wear_hair(images: dict[Domain, Tensor], crop: CroppedHair, density: float) -> dict[Domain, Tensor]:
    """Images with hair on the scalp: its colour over the skin's, and less gloss than skin."""
    presence = density * torch.maximum(crop.presence, crop.edge)
    skin = srgb_to_linear(images[Domain.DIFFUSE]).clamp(min=2e-3).log()
    worn = {Domain.DIFFUSE: linear_to_srgb(torch.lerp(skin, crop.albedo.log(), presence).exp()).clamp(0, 1)}
    for domain, level in GLOSS.items():
        worn[domain] = torch.lerp(images[domain], torch.full_like(images[domain], level), density * crop.presence)
    return images | worn
