"""Cropped hair on the scalp: what the photo shows of it, and more of the same behind."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .conventions import Domain, linear_to_srgb, srgb_to_linear
from .cover import Cover, at_home
from .geometry.texture import blur_inside, erode, fade, fill_holes, ramp, soften
from .head.atlas import HeadAtlas

SPREAD = (0.2, 0.5)  # of hairiness around, where the scalp is not seen: from bald to haired
# How far the top of a head looks upwards there; metres from its middle, and the share of the atlas, that must be seen of it to
# tell whether it is bald up to the crown; the share of hair in that from which on it is not.
TOP, TOP_MIDDLE, TOP_SEEN, TOP_HAIRY = (0.3, 0.6), 0.03, 0.001, (0.18, 0.3)
GLIDE = 0.04  # of the atlas: over which the hair that is seen glides into that behind
STRAND_WIDTHS, STRAND_LENGTH = (0.0008, 0.002), 0.012  # shares of the atlas
SHINE, SHINE_BAND = 0.85, 0.03  # share of the slow changes of brightness in hair that is light; of the atlas
BRIGHTEST_STRAND = 0.35  # log-brightness over the usual one that strands come near: what is brighter shines
OWN_COLOURS = 0.35  # share of the differences of colour in hair that are its own and not the light's or the file's
HAIR_RADIUS = 0.4  # of the atlas: how far from its middle strands have the width that was asked for
BLACKEST = (0.0195, 0.0165, 0.0138)  # linear: photos show black hair blacker than it is
WHITEST_HAIR = -0.75  # log-luminance of the whitest
MANY = (0.01, 0.04)  # share of the atlas that shows hair, from which on it tells its colour, and alone
SOFTNESS, LEAST_HAIR = 0.004, 0.001  # shares of the atlas
GLOSS = {Domain.SPECULAR: 0.1, Domain.ROUGHNESS: 0.7}  # in the units of the maps: strands shade each other
# Of the way from the colour of hair to that of the skin: from which on skin shows through, and most; and beyond the skin.
THROUGH, BEYOND = (0.35, 0.7), (1.25, 1.55)
LEAST_RED, MOST_RED = 0.38, 0.6  # log(red / green) as a share of log(red / blue): that of blond hair, and of red hair
DYED = (0.2, 0.4)  # log-chroma that melanin does not make, from which on it is no gleam, and surely not
OTHER_COLOUR, MUCH_DARKER = 0.25, 0.6  # log-chroma and log-luminance from which on a colour is not the skin's
# -log-luminance from which on hair is dark and black, and surely so.
DARK_HAIR, BLACK_HAIR = (1.0, 2.0), (3.2, 3.7)


@dataclass(frozen=True)
class CroppedHair:
    """albedo [3, T, T] linear; presence [T, T] in [0, 1]: where the scalp has hair; edge [T, T] in [0, 1]: where the
    photo shows hair and the soft beginning of it, which belongs to both."""

    albedo: Tensor
    presence: Tensor
    edge: Tensor

    def colour(self) -> Tensor | None:
        """Most of its albedo, linear [3]; None for a bald head."""
        sure = self.presence > 0.9
        return self.albedo[:, sure].median(1).values if sure.any() else None


@dataclass(frozen=True)
class HairAround:
    """Hair outside the bare head. linear [3]: its albedo; stands [T, T] in [0, 1]: where it stands off the scalp, which is
    not bald then, though a photo from ahead shows nothing of that; 0 where a bald skull may stand out."""

    linear: Tensor
    stands: Tensor


def grow_hair(
    albedo: Tensor, cover: Cover, seen: Tensor, skin: Tensor, around: HairAround | None, atlas: HeadAtlas
) -> CroppedHair:
    """Hair on the scalp as the photo shows it; behind what is seen it goes on, in its median colour.

    skin [3]: most of the skin's linear albedo. The hair around the head is believed the more, the less is seen on it: only
    roots, among which the skin shows; and the more of that has the colour of skin. Hair that hangs over the face or the ears
    is left out: it is not at home there.
    """
    # What is neither hair nor skin, the background between strands, does not make a head bald.
    home, known = at_home(atlas), (seen * torch.maximum(cover.hair, cover.skin) > 0.1).float()
    sure = (cover.hair * known * home > 0.9).float()
    scalp, none = atlas.region("scalp"), torch.zeros_like(home)
    spread = around.stands * scalp if around else none
    edge = none
    if sure.mean() >= LEAST_HAIR:
        near = ramp(soften(known * home, GLIDE), 0.02, 0.4)
        hairy = torch.lerp(scalp, fill_holes(cover.hair[None, None], (known * home)[None, None])[0, 0], near)
        spread = torch.maximum(spread, ramp(hairy, *SPREAD) * _not_balding(cover.hair, seen, atlas))
        colour, edge = _colour(albedo, cover, seen, sure, skin, around, atlas), home * cover.near_hair * fade(seen)
    elif around and spread.any():
        colour = _believable(around.linear).expand_as(albedo)
    else:
        return CroppedHair(albedo, none, none)
    inside = atlas.mask.float()  # and goes on beyond the border of the tile: skin there would be a seam down the back
    presence = blur_inside((home * torch.lerp(spread, cover.hair, known))[None], inside, SOFTNESS)
    presence = fill_holes(presence[None], inside[None, None])[0, 0]
    return CroppedHair(_of_melanin(colour).clamp(max=0).exp(), presence, edge)


def _colour(
    albedo: Tensor,
    cover: Cover,
    seen: Tensor,
    sure: Tensor,
    skin: Tensor,
    around: HairAround | None,
    atlas: HeadAtlas,
) -> Tensor:
    """Log-albedo [3, T, T] of the hair, seen or not; sure [T, T]: 1 where the photo shows it."""
    shown = _lifted(albedo.log(), sure)
    usual = of_all = shown[:, sure > 0].median(1).values[:, None, None]
    if around:
        outside = _believable(around.linear)
        # Brighter than on the head it is also lit by what stands behind; darker, skin shines through on the head.
        outside = outside + (usual.mean() - outside.mean()).clamp(max=0) / 2
        through = _skin_shows_through(usual, outside, skin.log()[:, None, None])
        shown, usual = shown + through * (outside - usual), torch.lerp(usual, outside, through)
        of_all = torch.lerp(outside, usual, ramp(sure.mean(), *MANY))
    inside = soften(erode(cover.hair, SOFTNESS), SOFTNESS)  # its edge shows skin between the strands
    shown = torch.lerp(shown, _without_shine(shown, usual, sure), inside)
    behind = of_all + _strands(shown, sure, atlas)
    near = ramp(soften(sure, GLIDE), 0.02, 0.4)
    colour = torch.lerp(behind, fill_holes((shown * sure)[None], sure[None, None])[0], near)
    return torch.lerp(colour, shown, fade(seen) * (2 * cover.near_hair).clamp(max=1))


def unlike_skin(hair: Tensor, skin: Tensor) -> bool:
    """Whether a linear albedo [3] outside the bare head is another than that of the skin [3]: a bald skull may stand out."""
    off = hair.clamp(min=1e-3).log() - skin.log()
    brightness = off.mean()
    return bool((off - brightness).norm() > OTHER_COLOUR or brightness < -MUCH_DARKER)


def _not_balding(hair: Tensor, known: Tensor, atlas: HeadAtlas) -> Tensor:
    """[T, T] 0 on top of a head whose top is bald as far as it is seen, which then keeps hair at the sides and behind."""
    top = atlas.region("scalp") * ramp(atlas.normal[1], *TOP)
    seen = top * known * (atlas.surface[0].abs() < TOP_MIDDLE)
    if seen.mean() < TOP_SEEN:
        return torch.ones_like(hair)
    return 1 - top * (1 - ramp((seen * hair).sum() / seen.sum(), *TOP_HAIRY))


def _believable(linear: Tensor) -> Tensor:
    """Log-albedo [3, 1, 1] of hair that looks like a linear colour [3]; a rim light makes it whiter than hair can be."""
    shown = torch.maximum(linear, linear.new_tensor(BLACKEST)).log()[:, None, None]
    return shown - (shown.mean() - WHITEST_HAIR).clamp(min=0)


def _skin_shows_through(usual: Tensor, around: Tensor, skin: Tensor) -> Tensor:
    """How far the hair on a head has the skin's colour rather than that of the hair around it, in [0, 1]; log-albedos
    [3, 1, 1]. 0 where hair and skin are of one colour anyway, and where it is browner than the skin, which is hair's own."""
    usual, around, skin = (each - each.mean() for each in (usual, around, skin))
    apart = skin - around
    share = ((usual - around) * apart).sum() / apart.square().sum().clamp(min=1e-6)
    through = ramp(share, *THROUGH) * (1 - ramp(share, *BEYOND))
    return through * ramp(apart.norm(), OTHER_COLOUR / 2, OTHER_COLOUR)


def _lifted(shown: Tensor, sure: Tensor) -> Tensor:
    """Log-albedo [3, T, T], where it is hair blacker than hair can be, as bright as it can; its colour is but noise."""
    usual = shown[:, sure > 0].median(1).values[:, None, None]
    black = usual.new_tensor(BLACKEST).log()[:, None, None]
    lift = (black.mean() - usual.mean()).clamp(min=0)
    off_colour = (usual - usual.mean()) - (black - black.mean())
    return shown + sure * (lift - (1 - torch.exp(-lift)) * off_colour)


def _of_melanin(shown: Tensor) -> Tensor:
    """Log-albedo [3, T, T] no greener than red and no bluer than green, nor as green as olives or as red as plums, which
    melanin never makes: what is shines, or lets a background through; black hair at least as warm as BLACKEST. Bright hair
    that is much so is dyed and stays. (Least squares in this order, Barlow et al. 1972.)"""
    red, green, blue = shown
    brightness = shown.mean(0)
    reddest = torch.stack([red, (red + green) / 2, brightness]).amax(0)
    bluest = torch.stack([blue, (green + blue) / 2, brightness]).amin(0)
    span, middle = reddest - bluest, 3 * brightness - reddest - bluest
    # Of black hair a photo shows no colour but the backdrop's and the sky's.
    warmest, coolest = math.log(BLACKEST[0]), math.log(BLACKEST[2])
    span = torch.maximum(span, (warmest - coolest) * ramp(-brightness, *BLACK_HAIR))
    redder = torch.minimum(torch.maximum(reddest - middle, LEAST_RED * span), MOST_RED * span)
    reddest = brightness + (redder + span) / 3
    ordered = torch.stack([reddest, reddest - redder, reddest - span])
    dyed = ramp((shown - ordered).norm(dim=0), *DYED) * (1 - ramp(-brightness, *DARK_HAIR))
    return torch.lerp(ordered, shown, dyed)


def _without_shine(shown: Tensor, usual: Tensor, sure: Tensor) -> Tensor:
    """Log-albedo [3, T, T] of hair of the usual colour [3, 1, 1]. Hair shines in bands and along strands, in the colours
    of the light, and none of that is albedo."""
    own = shown - usual - SHINE * (blur_inside(shown, sure, SHINE_BAND) - usual)
    brightness = own.mean(0, keepdim=True)
    pressed = brightness.clamp(max=0) + BRIGHTEST_STRAND * torch.tanh(brightness.clamp(min=0) / BRIGHTEST_STRAND)
    return usual + pressed + OWN_COLOURS * (own - brightness)


def _strands(shown: Tensor, sure: Tensor, atlas: HeadAtlas) -> Tensor:
    """[1, T, T] the unrest of cropped hair, as strong as in the hair that is seen: strands that lie away from the face."""
    luminance = shown.mean(0, keepdim=True)
    unrest = (luminance - blur_inside(luminance, sure, STRAND_WIDTHS[-1])).abs()[0][sure > 0].median()
    combed = sum(_combed(width, seed, atlas) for seed, width in enumerate(STRAND_WIDTHS)) / len(STRAND_WIDTHS) ** 0.5
    return combed * unrest


def _combed(width: float, seed: int, atlas: HeadAtlas) -> Tensor:
    """[1, T, T] noise of unit variance, `width` (a share of the side) across and STRAND_LENGTH along the rays from the
    middle of the tile, which is the face."""
    place = (torch.arange(atlas.size, device=atlas.mask.device) + 0.5) / atlas.size - 0.5
    radius = (place[:, None].square() + place[None].square()).sqrt()
    angle = torch.atan2(place[:, None], place[None]) / torch.pi  # [-1, 1]
    cells = round(torch.pi * HAIR_RADIUS * 2 / width), round(0.75 / STRAND_LENGTH)
    noise = torch.randn(1, 1, cells[1], cells[0], generator=torch.Generator().manual_seed(seed)).to(radius)
    grid = torch.stack([angle, radius / 0.75 * 2 - 1], -1)[None]
    combed = functional.grid_sample(noise, grid, padding_mode="border", align_corners=False)[0]
    return combed / combed.std()


def wear_hair(images: dict[Domain, Tensor], crop: CroppedHair, density: float) -> dict[Domain, Tensor]:
    """Images with hair on the scalp: its colour over the skin's, and less gloss than skin."""
    presence = density * torch.maximum(crop.presence, crop.edge)
    skin = srgb_to_linear(images[Domain.DIFFUSE]).clamp(min=2e-3).log()
    worn = {Domain.DIFFUSE: linear_to_srgb(torch.lerp(skin, crop.albedo.log(), presence).exp()).clamp(0, 1)}
    for domain, level in GLOSS.items():
        worn[domain] = torch.lerp(images[domain], torch.full_like(images[domain], level), density * crop.presence)
    return images | worn
