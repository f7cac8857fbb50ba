"""The photo's last word: solve the photo's light on the fitted head, divide it out, keep the person's own skin.

The photo decides where it sees the skin well; the swapped maps are the prior for the light, the absolute tone and
everything that the photo does not show.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .conventions import Domain, decode_normal, encode_normal, linear_to_srgb, srgb_to_linear
from .errors import Id2rError
from .facemesh import EYE_OUTLINES, INNER_MOUTH
from .geometry.texture import blur, blur_inside, fill_holes, soften
from .head.atlas import HeadAtlas, Seen, look, make_atlas
from .head.fit import FittedHead
from .head.model import HeadModel
from .identity import Identity
from .landmarks import Face
from .photo import Photo
from .relight import Light, diffuse_transfer
from .stitch import Maps

NOT_SKIN = (*EYE_OUTLINES, INNER_MOUTH)
CANVAS = 1536
LIGHT_SIZE = 128  # texels a side for the light solve
LIGHT_SMOOTHNESS, LIGHT_ROUNDS, LIGHT_STEPS = 0.1, 4, 100
FACING = (0.12, 0.4)  # cosine of the viewing angle from which the photo counts, and from which it counts fully
LEARNT_TONE = 0.5  # share of the encoder in the tone, the rest is the exposure's
EXPOSED_WHITE = 1.15  # linear; portraits are exposed so that white skin is just below clipping
LEAST_SHADE = 0.08  # share of the mean shading: darker texels are in shadow and tell nothing
TONE_BAND, DETAIL_BAND = 0.06, 0.004  # shares of the atlas: what is slower is tone, what is faster is detail
TONE_KEPT = 0.7  # share of the slow difference to the prior (beard, blush) that is believed
HIGHLIGHT_SLACK, HIGHLIGHT_KEPT = 0.12, 0.7
STRANGE_LUMINANCE, STRANGE_CHROMA = 0.4, 0.18  # log-luminance and log-chroma beyond which texels are not this skin
LOOKS_FLOOR = (0.2, 0.06, 0.1, 0.012)  # least spread of brightness, hue (two log-ratios) and fine contrast
HAIR_UNLIKE_SKIN, SCALP_ABOVE = (1.2, 1.8), (0.075, 0.085)  # standard deviations; metres above the eyes
LEAST_SHARE = 0.002  # of the atlas: less scalp than this in the photo tells nothing about the hair
RIM_CONTRAST = 0.17  # log-luminance against the surrounding skin
# Range of log-luminance along the bridge of the nose. On 40 training portraits: at most 0.52 bare, at least 0.85 with glasses.
BRIDGE_CONTRAST = 0.7
NOSE_BASE, HAIR_REACH = (0.0, -0.045, 0.03), (0.062, 0.074)  # metres on the mean head
DETAIL_HEIGHT = 0.35 / 1024  # sides of the atlas that a unit of log-luminance detail stands out
LEAST_SEEN = 0.01  # of the atlas: with less skin in the photo neither light nor tone can be told


@dataclass(frozen=True)
class Observation:
    """The photo on the head tile: linear [3, T, T], how far each texel can be trusted [T, T] in [0, 1], and which place
    of the photo it shows [T, T, 2], pixels."""

    linear: Tensor
    trust: Tensor
    pixel: Tensor


@dataclass(frozen=True)
class Refined:
    """maps: the final maps; light: the photo's light; tone_linear [3]: mean linear albedo that the face was given;
    white_linear [3]: how bright a white diffuser facing the camera would be in the photo;
    observed: the photo on the head tile; trust [T, T]: how far its texels went into the maps."""

    maps: Maps
    light: Light
    tone_linear: Tensor
    white_linear: Tensor
    observed: Observation
    trust: Tensor


def refine_from_photo(
    maps: Maps, photo: Photo, face: Face, head: FittedHead, atlas: HeadAtlas, identity: Identity, strength: float = 1.0
) -> Refined:
    """Carry the person's own tone, colour and detail from the photo into the maps.

    strength in [0, 1] scales how far the photo's detail is believed; 0 leaves the swapped maps but for their tone. The
    coverage becomes the larger of the views' and the photo's.
    """
    observed = observe(photo, face, head, atlas)
    prior = srgb_to_linear(maps.images[Domain.DIFFUSE]).clamp(min=2e-3)
    tone = estimate_tone(observed, identity, atlas)
    prior = _with_tone(prior, tone, atlas)
    transfer = diffuse_transfer(head.model, head.fine_vertices())
    light = solve_light(observed, prior, head.model, transfer)
    shading = atlas.bake(transfer @ light.radiance).clamp(min=1e-4)
    albedo, trust = _delight(observed, shading, prior, atlas)
    trust = trust * strength
    diffuse = _merge(albedo, prior, trust, atlas)
    images = dict(maps.images)
    images[Domain.DIFFUSE] = linear_to_srgb(diffuse).clamp(0, 1)
    images[Domain.NORMAL] = _carve_normals(images[Domain.NORMAL], albedo, trust, atlas)
    maps = replace(maps, images=images, coverage=torch.maximum(maps.coverage, trust))
    white = _median_under(shading, observed.trust * atlas.region("face"))
    return Refined(maps, light, tone, white, observed, trust)


def estimate_tone(observed: Observation, identity: Identity, atlas: HeadAtlas) -> Tensor:
    """Mean linear albedo [3] of the facial skin, by two witnesses whose logarithms are averaged.

    The encoder has learnt tone from virtual photos under many lights and exposures; the photographer has exposed the
    photo so that a white thing at the face would come out a little above white.
    """
    plain = observed.trust * atlas.region("face") * (1 - atlas.features)
    exposed = _median_under(observed.linear, plain) / EXPOSED_WHITE
    learnt = identity.tone_linear.to(exposed.device)
    mixed = LEARNT_TONE * learnt.clamp(min=0.01).log() + (1 - LEARNT_TONE) * exposed.clamp(min=0.01).log()
    return mixed.exp().clamp(0.015, 0.8)


def _with_tone(prior: Tensor, tone: Tensor, atlas: HeadAtlas) -> Tensor:
    """Scale the prior [3, T, T] so that the plain skin of its face has the mean albedo `tone` [3]."""
    plain = atlas.region("face") * (1 - atlas.features) * atlas.mask
    mean = (prior * plain).sum((1, 2)) / plain.sum()
    return (prior * (tone / mean)[:, None, None]).clamp(2e-3, 0.95)


def _median_under(image: Tensor, mask: Tensor) -> Tensor:
    """[C] median of the texels of [C, T, T] under the upper half of a mask, however little there is of it."""
    return image[:, mask >= 0.5 * mask.max()].median(1).values


def observe(photo: Photo, face: Face, head: FittedHead, atlas: HeadAtlas) -> Observation:
    """Look up the photo at every texel of the head as photographed."""
    device = head.vertices.device
    seen = look(atlas, head.fine_vertices(), head.camera)
    srgb = torch.tensor(photo.srgb).permute(2, 0, 1).to(device)
    linear = srgb_to_linear(seen.sample(srgb).clamp(0, 1))
    facing = _ramp(seen.cosine, *FACING)
    trust = facing * seen.visible * _outside_eyes_and_mouth(seen, face) * (atlas.region("skin") > 0.99)
    trust = soften(_erode(trust, 0.002), 0.002) * trust
    if (trust * atlas.region("face") > 0.5).float().mean() < LEAST_SEEN:
        raise Id2rError(
            f"'{photo.name}' shows too little of the face's skin.", "Use a photo taken more from the front."
        )
    return Observation(linear, trust, seen.pixel)


def solve_light(observed: Observation, prior: Tensor, model: HeadModel, transfer: Tensor) -> Light:
    """Radiance of every light direction such that prior albedo times self-shadowed shading explains the photo.

    transfer [Nf, L]: what each direction gives to the fine vertices as photographed (`relight.diffuse_transfer`).

    Non-negative least squares by multiplicative updates (Lee & Seung 2001), smooth over the sphere, and reweighted so
    that highlights, hair and whatever is not this skin drop out.
    """
    small = make_atlas(model, LIGHT_SIZE)
    shrink = lambda image: functional.interpolate(image[None], size=LIGHT_SIZE, mode="area")[0]
    of_face = small.region("face") * (1 - small.region("lip")) * (1 - small.region("brow")) * small.mask
    weight = (shrink(observed.trust[None])[0] * of_face).flatten()
    use = weight > 0.3
    transfer = small.bake(transfer).flatten(1).T[use]  # [P, L]
    albedo, seen = (shrink(image).flatten(1).T[use] for image in (prior, observed.linear))  # [P, 3]
    weight = weight[use][:, None].expand(-1, 3)
    directions = model.light_directions
    closeness = (directions @ directions.T).clamp(min=0) ** 24
    closeness = closeness / closeness.sum(1, keepdim=True)
    radiance = (seen / albedo).mean(0).expand(len(directions), 3) / transfer.sum(1).mean()
    for _ in range(LIGHT_ROUNDS):
        explained = albedo * (transfer @ radiance)
        off = (seen.clamp(min=1e-3) / explained.clamp(min=1e-3)).log()
        off = off - off.median(0).values
        robust = weight / (1 + (off / 0.2) ** 2) ** 2
        radiance = _non_negative(transfer, albedo, seen, robust, closeness, radiance)
    return Light(directions, _calm_colours(radiance))


def _calm_colours(radiance: Tensor) -> Tensor:
    """Pull the colour of every direction half way to the mean colour: a face tells little of coloured light."""
    brightness = radiance.mean(1, keepdim=True).clamp(min=1e-6)
    mean_colour = radiance.mean(0) / radiance.mean()
    return brightness * (radiance / brightness).clamp(min=0.1).sqrt() * mean_colour.sqrt()


def _non_negative(transfer, albedo, seen, weight, closeness, radiance) -> Tensor:
    """Multiplicative updates of radiance [L, 3]; each channel has its own normal equations."""
    smooth = LIGHT_SMOOTHNESS * (weight * albedo**2).sum(0) * (transfer**2).mean()
    for channel in range(3):
        scaled = transfer * (weight[:, channel] * albedo[:, channel] ** 2)[:, None]
        normal = transfer.T @ scaled  # [L, L]
        right = transfer.T @ (weight[:, channel] * albedo[:, channel] * seen[:, channel])
        value = radiance[:, channel].clamp(min=1e-6)
        for _ in range(LIGHT_STEPS):
            value = value * (right + smooth[channel] * (closeness @ value)) / (normal @ value + smooth[channel] * value)
        radiance = torch.cat([radiance[:, :channel], value[:, None], radiance[:, channel + 1 :]], 1)
    return radiance


def _delight(observed: Observation, shading: Tensor, prior: Tensor, atlas: HeadAtlas) -> tuple[Tensor, Tensor]:
    """Albedo [3, T, T] that the photo shows, and where to trust it [T, T]."""
    lit = _ramp(shading.mean(0) / shading.mean(0)[observed.trust > 0.5].mean(), LEAST_SHADE, 3 * LEAST_SHADE)
    trust = observed.trust * lit
    log_albedo = (observed.linear.clamp(min=1e-3) / shading).log()
    trust = trust * _same_skin(log_albedo, prior, trust, atlas)
    off = log_albedo - prior.log()
    slow = blur_inside(off, trust, TONE_BAND)
    log_albedo = log_albedo - (1 - TONE_KEPT) * slow
    return _soften_highlights(log_albedo, trust, atlas).exp().clamp(2e-3, 0.95), trust


def _same_skin(log_albedo: Tensor, prior: Tensor, trust: Tensor, atlas: HeadAtlas) -> Tensor:
    """[T, T] 1 on the person's own skin, 0 on hair, glasses and cloth.

    Outside the face everything must look like the prior's skin. Inside it the photo is believed, but for hair near its
    border (wrong hue, or far too dark) and, when glasses sit on the nose, their rims.
    """
    face, feature = atlas.region("face"), atlas.features
    off = log_albedo - prior.log()
    off = off - _median_under(off, trust * face)[:, None, None]
    luminance = off.mean(0)
    chroma = (off - luminance).norm(dim=0)
    beyond = torch.maximum(luminance.abs() / STRANGE_LUMINANCE, chroma / STRANGE_CHROMA)
    outside = _ramp(beyond, 0.8, 1.3)
    hair = _hair(off, trust, atlas)
    rims = _rims(luminance, trust, atlas)
    lids = (soften(atlas.region("eyelid"), 0.006) * 2).clamp(max=1)
    strange = (
        torch.maximum(face * hair * (1 - feature), face * rims * (1 - torch.maximum(lids, atlas.region("brow"))))
        + (1 - face) * outside
    )
    strange = strange.clamp(max=1)
    return soften(_erode(1 - strange, 0.003), 0.003)


def _hair(off: Tensor, trust: Tensor, atlas: HeadAtlas) -> Tensor:
    """[T, T] 1 on hair that hangs into the face.

    Each texel near the face's border is compared with the skin of the middle of the face and with what covers the
    scalp, in brightness, hue and fine contrast (hair has strands); on a bald head both are alike and nothing is taken.
    """
    luminance = off.mean(0)
    strands = blur((luminance - soften(luminance, 0.004)).abs()[None], 0.01)[0]
    looks = torch.stack([luminance, off[0] - off[1], off[0] - off[2], strands])
    zone, feature = _hair_zone(atlas), atlas.features
    skin = (1 - zone) * (1 - feature) * atlas.region("face") * trust
    scalp = atlas.region("scalp") * _ramp(atlas.surface[1], *SCALP_ABOVE) * (trust > 0.2)
    if (scalp > 0.5).sum() < LEAST_SHARE * scalp.numel():
        return torch.zeros_like(luminance)
    unlike_skin, unlike_hair = _unlikeness(looks, skin), _unlikeness(looks, scalp)
    if unlike_skin[scalp > 0.5].median() < HAIR_UNLIKE_SKIN[0]:
        return torch.zeros_like(luminance)
    found = _ramp(unlike_skin, *HAIR_UNLIKE_SKIN) * (unlike_hair < unlike_skin) * zone
    return -_erode(-found, 0.006)  # the hairline's soft edge is hair too


def _unlikeness(looks: Tensor, mask: Tensor) -> Tensor:
    """[T, T] distance of looks [4, T, T] from those under a mask, in (robust, floored) standard deviations."""
    inside = looks[:, mask > 0.5]
    middle = inside.median(1).values
    spread = 1.5 * (inside - middle[:, None]).abs().median(1).values
    spread = torch.maximum(spread, spread.new_tensor(LOOKS_FLOOR))
    return ((looks - middle[:, None, None]) / spread[:, None, None]).square().mean(0).sqrt()


def _rims(luminance: Tensor, trust: Tensor, atlas: HeadAtlas) -> Tensor:
    """[T, T] 1 on the rims of glasses; all 0 when no bridge of glasses crosses the nose between the eyes."""
    position = atlas.surface
    bridge = (position[0].abs() < 0.005) & (position[1] < 0.014) & (position[1] > -0.024) & (position[2] > 0)
    fine = luminance - blur_inside(luminance[None], trust, 0.012)[0]
    columns = torch.where(bridge & (trust > 0.3), fine, fine.new_tensor(float("nan")))
    profile = columns.nanmean(1)  # along the nose, averaged across it
    profile = profile[~profile.isnan()]
    if not len(profile) or profile.max() - profile.min() < BRIDGE_CONTRAST:
        return torch.zeros_like(luminance)
    found = _ramp(fine.abs(), RIM_CONTRAST, 2 * RIM_CONTRAST) * _ramp(
        soften(atlas.region("eyelid"), 0.05), 0.004, 0.012
    )
    return -_erode(-found, 0.003)


def _hair_zone(atlas: HeadAtlas) -> Tensor:
    """[T, T] 1 towards the border of the face, where hair may hang over it."""
    position = atlas.surface
    return _ramp((position - position.new_tensor(NOSE_BASE)[:, None, None]).norm(dim=0), *HAIR_REACH)


def _soften_highlights(log_albedo: Tensor, trust: Tensor, atlas: HeadAtlas) -> Tensor:
    """Press what is brighter than the plain skin around it and leave what is darker: albedo has moles but no gloss."""
    luminance = log_albedo.mean(0, keepdim=True)
    plain_skin = trust * (1 - atlas.features) + 1e-3 * trust
    around = blur_inside(luminance, plain_skin, TONE_BAND / 2)
    above = (luminance - around - HIGHLIGHT_SLACK).clamp(min=0)
    return log_albedo - (1 - HIGHLIGHT_KEPT) * above


def _merge(albedo: Tensor, prior: Tensor, trust: Tensor, atlas: HeadAtlas) -> Tensor:
    """Photo where it is trusted; elsewhere the prior, its tone carried over from the trusted border (a membrane)."""
    gain = blur_inside((albedo / prior).log(), trust, TONE_BAND / 2)
    sure = (soften(trust, TONE_BAND / 2) > 0.25).float()
    gain = fill_holes(gain[None], sure[None, None])[0]
    carried = prior.log() + blur(gain, TONE_BAND / 2)
    blend = soften(trust, 0.006) * (trust > 0)
    return (albedo.log() * blend + carried * (1 - blend)).exp()


def _carve_normals(normal: Tensor, albedo: Tensor, trust: Tensor, atlas: HeadAtlas) -> Tensor:
    """Let fine dark lines of the photo drive the normals a little: a crease is dark because it is a crease."""
    luminance = albedo.log().mean(0, keepdim=True)
    detail = (luminance - blur(luminance, DETAIL_BAND)).clamp(-0.3, 0.3) * trust
    quiet = 1 - torch.stack([atlas.region(name) for name in ("brow", "lip", "eyelid")]).amax(0)
    height = (detail[0] * quiet)[None, None]
    right = functional.pad(height, (1, 1, 0, 0), mode="replicate")
    up = functional.pad(height, (0, 0, 1, 1), mode="replicate")
    slope_u = (right[..., 2:] - right[..., :-2])[0, 0] / 2 * atlas.size  # a side of the atlas, whatever its texels
    slope_v = (up[..., :-2, :] - up[..., 2:, :])[0, 0] / 2 * atlas.size
    frame = tile_frames(atlas)
    carved = decode_normal(normal) - DETAIL_HEIGHT * (slope_u * frame[0] + slope_v * frame[1])
    return encode_normal(functional.normalize(carved, dim=0))


def tile_frames(atlas: HeadAtlas) -> Tensor:
    """Unit directions of +u and +v on the mean head at every texel, [2, 3, T, T]."""
    position = atlas.surface
    along_u = torch.gradient(position, dim=2)[0]
    along_v = -torch.gradient(position, dim=1)[0]
    return torch.stack([functional.normalize(along_u, dim=0), functional.normalize(along_v, dim=0)])


def _outside_eyes_and_mouth(seen: Seen, face: Face) -> Tensor:
    """[T, T] 1 where the photo shows neither an open eye nor the inside of the mouth, soft by a fraction of a pixel.

    The outlines are drawn on a fine canvas round the face: lids and lips are only a few pixels wide in most photos.
    """
    low, span = face.points.min(0), np.ptp(face.points, axis=0).max()
    canvas = np.ones((CANVAS, CANVAS), np.float32)
    for outline in NOT_SKIN:
        corners = (face.points[list(outline)] - low) / span * CANVAS
        cv2.fillPoly(canvas, [corners.round().astype(np.int32)], 0.0)
    canvas = torch.from_numpy(cv2.GaussianBlur(canvas, (0, 0), CANVAS / 600)).to(seen.pixel.device)
    grid = (seen.pixel - torch.from_numpy(low).to(seen.pixel)) / span * 2 - 1
    return functional.grid_sample(canvas[None, None], grid[None], padding_mode="border", align_corners=False)[0, 0]


def _ramp(x: Tensor, low: float, high: float) -> Tensor:
    """Smoothstep from 0 at `low` to 1 at `high`."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _erode(mask: Tensor, share: float) -> Tensor:
    """Minimum over a square of half width `share` of the side."""
    reach = max(1, round(share * mask.shape[-1]))
    return -functional.max_pool2d(-mask[None, None], 2 * reach + 1, 1, reach)[0, 0]
