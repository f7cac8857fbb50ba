"""From the aligned crop to the numbers that say who it is: an identity vector and a skin tone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .crop import FaceCrop
from .nets.layers import resized
from .packs import Pack

# Of 60 pairs of photos of one of six virtual people none is below 0.13, of pairs of two people a quarter is below 0.11:
# what is below this is likely another person, what is above may be anybody.
LEAST_ALIKE = 0.1


@dataclass(frozen=True)
class Identity:
    """vector [512] of unit length; tone_linear [3], estimated mean linear diffuse albedo of the facial skin."""

    vector: torch.Tensor
    tone_linear: torch.Tensor


def embed_identity(crop: FaceCrop, pack: Pack) -> Identity:
    """Name the person of an aligned crop of any size; the mean over the crop and its mirror image, which errs less."""
    with torch.no_grad():
        found = pack.nets.identity(with_mirror_image(crop, pack.preset.size, pack.device))
    return Identity(F.normalize(found.vector.mean(0), dim=0), found.tone_linear.mean(0))


def mean_identity(identities: Sequence[Identity]) -> Identity:
    """The person of several photos: the mean direction of the vectors, the geometric mean of the tones."""
    vector = torch.stack([each.vector for each in identities]).mean(0)
    tones = torch.stack([each.tone_linear for each in identities])
    return Identity(F.normalize(vector, dim=0), tones.prod(0) ** (1 / len(tones)))


def doubts(identities: Sequence[Identity], names: Sequence[str]) -> list[str]:
    """A sentence for every further photo that hardly resembles the first; the encoder is too weak to refuse one."""
    first, *others = (each.vector for each in identities)
    return [
        f"'{name}' may show another person than '{names[0]}': leave it out if it does."
        for vector, name in zip(others, names[1:], strict=True)
        if float(first @ vector) < LEAST_ALIKE
    ]


def with_mirror_image(crop: FaceCrop, size: int, device: torch.device) -> torch.Tensor:
    """An aligned crop and its mirror image as networks see them, [2, 3, size, size] in [-1, 1]."""
    image = resized(torch.from_numpy(crop.srgb).to(device).permute(2, 0, 1)[None].float(), size)
    return torch.cat((image, image.flip(3))).clamp(0.0, 1.0) * 2.0 - 1.0
