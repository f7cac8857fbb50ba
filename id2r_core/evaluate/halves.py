"""The halves of our own refinement, each by itself: what the solved light explains, and what the translation says."""

from torch import Tensor

from ..conventions import srgb_to_linear
from ..delight import as_dark_as
from .baselines import completed, mean_albedo
from .fitted import Fitted


def solved_light(fitted: Fitted) -> Tensor:
    """The photo divided by the shading under its solved light, [3, T, T] sRGB; no network but the tone's."""
    light = fitted.light_for(mean_albedo(fitted))
    shading = fitted.atlas.bake(fitted.transfer @ light.radiance).clamp(min=1e-4)
    return completed(fitted.observed.linear / shading, fitted.observed.trust)


def translation_alone(fitted: Fitted) -> Tensor:
    """The translation of the photo laid over the head, in our tone, [3, T, T] sRGB."""
    prior = srgb_to_linear(mean_albedo(fitted)).clamp(min=2e-3)
    return completed(as_dark_as(prior, fitted.translated, fitted.observed, fitted.atlas), fitted.observed.trust)


HALVES = {"ID2R, solved light alone": solved_light, "ID2R, translation alone": translation_alone}
