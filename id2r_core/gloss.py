"""Gloss: the light that the surface of the skin mirrors, taken off what the photo shows before it counts as albedo.

On dark skin gloss is as bright as the skin under it; what is left of it stands in the albedo as grey streaks.
"""

import torch
from torch import Tensor

from .geometry.texture import blur_inside, ramp
from .head.atlas import HeadAtlas

# Of the atlas: what JPEG has done to colours is evened out over it.
COLOUR_BAND = 0.0025
MOST_GLOSS = 0.75  # of the brightness of a texel
LEAST_COLOUR = 0.02  # mean square of a skin's chroma about grey: with less, gloss and skin look alike
RECOLOURED = (0.1, 0.5)  # shares of gloss from which on the colour of what is left is not believed, and not at all
# What stays of its brightness, in the skin's own colour: the form of nose and brow is in it, too. On twelve virtual
# photographs 0.5 and 0.7 cost 0.02 and 0.03 dB of the albedo; with 0.5 seven portraits rendered anew are more alike by 0.03.
GLOSS_KEPT = 0.6


def remove_gloss(log_albedo: Tensor, translated: Tensor, trust: Tensor, atlas: HeadAtlas) -> Tensor:
    """What the photo shows [3, T, T], its diffuse light divided out, without its gloss.

    translated [3, T, T]: linear albedo whose colours are believed. Dichromatic reflection (Shafer, "Using color to
    separate reflection components", 1985): a texel is so much of its own colour plus so much of the light's, which is
    white here. Only what is brighter than it should be as well as too grey is gloss: grey hairs are not.
    """
    plain = (trust > 0.5 * trust.max()) & (atlas.region("face") > 0.5) & (atlas.features < 0.5)
    cast = (log_albedo - translated.log())[:, plain].median(1).values[:, None, None]
    shown = (log_albedo - cast).exp()
    brightness = shown.mean(0, keepdim=True)
    own = translated / translated.mean(0, keepdim=True)
    colour = own - 1
    strength = (shown * colour).mean(0, keepdim=True) / colour.square().mean(0, keepdim=True).clamp(min=LEAST_COLOUR)
    excess = brightness - translated.mean(0, keepdim=True)
    gloss = blur_inside(torch.minimum(brightness - strength, excess), trust + 1e-3, COLOUR_BAND)
    gloss = trust * gloss.clamp(min=0).minimum(MOST_GLOSS * brightness)
    matt = torch.lerp(shown - gloss, own * (brightness - gloss), ramp(gloss / brightness, *RECOLOURED))
    return (matt + GLOSS_KEPT * gloss * own).clamp(min=1e-4).log() + cast
