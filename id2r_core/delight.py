"""Which light a photo was taken in, solved on the fitted head, and the photo without it."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .conventions import SKIN_IOR, Domain, ior_to_f0
from .evidence import Evidence, Observation, plain_skin
from .geometry.camera import HEAD_AXIS_Z
from .geometry.texture import median_under, ramp
from .head.atlas import HeadAtlas, make_atlas
from .head.model import HeadModel
from .relight import Light, diffuse_transfer, gloss_transfer
from .stitch import Maps

LIGHT_SIZE = 128  # texels a side for the light solve
LIGHT_SMOOTHNESS, LIGHT_STEPS = 0.03, 100
LIGHT_ROUNDS = (1.0, 0.7, 0.5, 0.35)  # from which log of a ratio on a texel drops out of the solve, round by round
LIGHT_COLOURS = 0.12  # the same of its colour, in which beards and make-up differ, shadows hardly
LEAST_SHADE = 0.08  # share of the mean shading: darker texels are in shadow and tell nothing
# Metres above the eyes, and before and behind the middle of the head, on the mean head.
ABOVE_EARS, ABOUT_EARS = 0.05, 0.02


@dataclass(frozen=True)
class Unlit:
    """light: of one photo; shading [3, T, T]: what it makes of a white head; of_face [3]: and of most of its face;
    of_outline [3]: and of hair at the outline of the head; log_albedo [3, T, T]: the photo without it; translated [3, T, T]:
    the linear albedo that the translation shows."""

    light: Light
    shading: Tensor
    of_face: Tensor
    of_outline: Tensor
    log_albedo: Tensor
    translated: Tensor


def take_light_out(
    evidence: Evidence, observed: Observation, translated: Tensor, prior: Tensor, maps: Maps, atlas: HeadAtlas
) -> Unlit:
    """By the light under which the translation of the photo, and skin that mirrors as the maps say, look like the photo."""
    model, vertices = evidence.head.model, evidence.head.fine_vertices()
    translated = as_dark_as(prior, translated, observed, atlas)
    diffuse = diffuse_transfer(model, vertices)
    gloss = gloss_transfer(model, vertices, evidence.head.camera, *_mirroring(maps, atlas))
    light = solve_light(observed, translated, model, diffuse, gloss)
    shading = atlas.bake(diffuse @ light.radiance).clamp(min=1e-4)
    of_face = median_under(shading, observed.trust * atlas.region("face"))
    # The solved gloss stays in what the photo shows: taken off, moles of black skin are as dark as they are, but all that is
    # fine and wrong is raised with them; twelve virtual photographs lost 0.1 to 0.2 dB.
    log_albedo = (observed.linear.clamp(min=1e-3) / shading).log()
    return Unlit(light, shading, of_face, _of_outline(shading, of_face, atlas), log_albedo, translated)


def as_dark_as(prior: Tensor, translated: Tensor, observed: Observation, atlas: HeadAtlas) -> Tensor:
    """The translation [3, T, T] with plain skin as dark as the prior's: by the median, because a fringe lies over some of
    it."""
    return translated * median_under(prior / translated, plain_skin(observed, atlas))[:, None, None]


def solve_light(
    observed: Observation, albedo: Tensor, model: HeadModel, diffuse: Tensor, gloss: Tensor | None = None
) -> Light:
    """Radiance of every light direction such that the albedo [3, T, T] times self-shadowed shading, and what the surface
    mirrors, explain the photo.

    diffuse, gloss [Nf, L]: what each direction gives to the fine vertices as photographed (`relight.diffuse_transfer`,
    `relight.gloss_transfer`); without gloss the head is matt.

    Non-negative least squares by multiplicative updates (Lee & Seung 2001), smooth over the sphere, and reweighted so
    that highlights, hair and whatever is not this skin drop out: the more, the better the light is known.
    """
    small = make_atlas(model, LIGHT_SIZE)
    shrink = lambda image: functional.interpolate(image[None], size=LIGHT_SIZE, mode="area")[0]
    of_face = small.region("face") * (1 - small.region("lip")) * (1 - small.region("brow")) * small.mask
    weight = (shrink(observed.trust[None])[0] * of_face).flatten()
    use = weight > 0.3
    of_texels = lambda transfer: small.bake(transfer).flatten(1).T[use]  # [P, L]
    diffuse = of_texels(diffuse)
    gloss = torch.zeros_like(diffuse) if gloss is None else of_texels(gloss)
    albedo, seen = (shrink(image).flatten(1).T[use] for image in (albedo, observed.linear))  # [P, 3]
    weight = weight[use][:, None]
    directions = model.light_directions
    closeness = (directions @ directions.T).clamp(min=0) ** 24
    closeness = closeness / closeness.sum(1, keepdim=True)
    radiance = (seen / albedo).mean(0).expand(len(directions), 3) / diffuse.sum(1).mean()
    for outlying in LIGHT_ROUNDS:
        explained = albedo * (diffuse @ radiance) + gloss @ radiance
        off = (seen.clamp(min=1e-3) / explained.clamp(min=1e-3)).log()
        off = off - off.median(0).values
        brighter = off.mean(1, keepdim=True)
        coloured = (off - brighter).norm(dim=1, keepdim=True)
        robust = weight / ((1 + (brighter / outlying) ** 2) * (1 + (coloured / LIGHT_COLOURS) ** 2)) ** 2
        channels = [
            _non_negative(albedo[:, [c]] * diffuse + gloss, seen[:, c], robust[:, 0], closeness, radiance[:, c])
            for c in range(3)
        ]
        radiance = torch.stack(channels, 1)
    radiance = _calm_colours(radiance)
    explained = albedo * (diffuse @ radiance) + gloss @ radiance
    return Light(directions, radiance * (robust * seen).sum(0) / (robust * explained).sum(0))


def _calm_colours(radiance: Tensor) -> Tensor:
    """Pull the colour of every direction half way to the mean colour: a face tells little of coloured light."""
    brightness = radiance.mean(1, keepdim=True).clamp(min=1e-6)
    mean_colour = radiance.mean(0) / radiance.mean()
    return brightness * (radiance / brightness).clamp(min=0.1).sqrt() * mean_colour.sqrt()


def _non_negative(transfer: Tensor, seen: Tensor, weight: Tensor, closeness: Tensor, radiance: Tensor) -> Tensor:
    """Radiance [L] of one channel after multiplicative updates; transfer [P, L], seen [P], weight [P]."""
    scaled = transfer * weight[:, None]
    normal, right = transfer.T @ scaled, scaled.T @ seen
    smooth = LIGHT_SMOOTHNESS * (scaled * transfer).sum() / len(closeness)
    radiance = radiance.clamp(min=1e-6)
    for _ in range(LIGHT_STEPS):
        radiance = radiance * (right + smooth * (closeness @ radiance)) / (normal @ radiance + smooth * radiance)
    return radiance


def _of_outline(shading: Tensor, of_face: Tensor, atlas: HeadAtlas) -> Tensor:
    """[3] how bright white hair would be around a head: half way, in logarithms, from the face to the skull beside it, which the
    light grazes; but hair stands off, and its outer strands face the light."""
    _, height, depth = atlas.surface
    beside = atlas.region("scalp") * (height > ABOVE_EARS) * ((depth - HEAD_AXIS_Z).abs() < ABOUT_EARS)
    return (of_face * median_under(shading, beside)).sqrt()


def _mirroring(maps: Maps, atlas: HeadAtlas) -> tuple[float, float]:
    """Mean F0 and roughness of the face in the swapped maps."""
    face = atlas.region("face") > 0.5
    specular, roughness = (float(maps.images[name][0, face].mean()) for name in (Domain.SPECULAR, Domain.ROUGHNESS))
    return 2 * specular * ior_to_f0(SKIN_IOR), roughness


def lit(shading: Tensor, trust: Tensor) -> Tensor:
    """[T, T] 0 in deep shadow, where the photo tells nothing."""
    level = shading.mean(0)
    return ramp(level / level[trust > 0.5].mean(), LEAST_SHADE, 3 * LEAST_SHADE)


def too_dark_for_hair(unlit: Unlit) -> Tensor:
    """[3, T, T] <= 0: how much less light (log) reaches a texel than most of the face. Hair stands off the scalp that turns
    away from the light under it: divided by so little, it would come out fair."""
    return (unlit.shading / unlit.of_face[:, None, None]).log().clamp(max=0)
