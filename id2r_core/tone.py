"""How light the person's skin is, and of what colour: one mean albedo, which all maps and the photo's light hang on."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from .pigment import build_pigment_table, lab_of

# What the encoder, the translation and the exposure of a photo have to say in how light the skin is, and in its colour.
# Of lightness as 115 portraits bear out, whose exposure both networks foretell, and 260 virtual photographs, in which errors of
# the networks are hardly those of the exposure. Of colour less by the encoder, which takes a photo's colours for the skin's.
LIGHTNESS_SAID, COLOUR_SAID = (0.50, 0.35, 0.15), (0.35, 0.55, 0.10)
EXPOSED_WHITE = 1.22  # linear; photographs are exposed so that white skin is just below clipping
FAIREST, DARKEST = 0.67, 0.015  # linear red of the fairest skin, as burnt out photos look fairer; of any channel
TURNED = 8  # exponent of the cosine of a head's turn in the say of its photo
# How far a colour (CIE76) may be from all that melanin and blood make of a whole face, and how much stays of what is more.
# How light it is counts for more there than its colour, of which photographers make what they like.
SLACK, KEPT, LIGHTNESS = 3.0, 0.25, 3.0
BLOOD = (0.20, 0.55)  # coordinates in the pigment table between which faces are as a whole


def estimate_tone(learnt: Tensor, translated: Tensor, shown: Tensor) -> Tensor:
    """Mean linear albedo [3] of the facial skin, by three witnesses whose logarithms are averaged.

    learnt [3]: the encoder's, from virtual photos under many lights and exposures; translated [3] and shown [3]: plain skin
    as the translation of the photo shows it, and as the photo does, linear. The photographer has exposed so that a white
    thing at the face would come out a little above white.
    """
    witnesses = torch.stack([learnt.to(shown), translated.to(shown), shown / EXPOSED_WHITE]).clamp(min=0.01).log()
    lightness = witnesses.mean(1, keepdim=True)
    of_lightness, of_colour = (shown.new_tensor(said) for said in (LIGHTNESS_SAID, COLOUR_SAID))
    tone = as_skin((of_lightness @ lightness + of_colour @ (witnesses - lightness)).exp().clamp(min=DARKEST))
    return tone * (FAIREST / tone.max()).clamp(max=1)


def common_tone(tones: Sequence[Tensor], ahead: Sequence[float]) -> Tensor:
    """The geometric mean [3] of what the photos say; ahead: cosine of the head's turn in each, for the tone of a turned
    head is told less well."""
    says = torch.tensor([cosine**TURNED for cosine in ahead]).to(tones[0])
    return (torch.stack(tuple(tones)) ** (says / says.sum())[:, None]).prod(0)


def as_skin(tone: Tensor) -> Tensor:
    """A linear albedo [3] pulled towards the nearest that skin can have. Photos are developed more colourful than skin is,
    and what is too much belongs to the light."""
    linear, lab = _all_skin()
    linear, lab = linear.to(tone), lab.to(tone)
    off = (lab - lab_of(tone)) * lab.new_tensor([LIGHTNESS, 1.0, 1.0])
    distance, nearest = off.norm(dim=1).min(0)
    pull = (1 - KEPT) * (distance - SLACK).clamp(min=0) / distance.clamp(min=SLACK)
    return torch.lerp(tone.log(), linear[nearest].log(), pull).exp()


@cache
def _all_skin() -> tuple[Tensor, Tensor]:
    """Linear albedo [P, 3] and CIELAB [P, 3] of every entry of the pigment table that a whole face can have."""
    table = build_pigment_table().linear
    low, high = (round(edge * (table.shape[2] - 1)) for edge in BLOOD)
    linear = table[:, :, low : high + 1].flatten(1).T
    return linear, lab_of(linear)
