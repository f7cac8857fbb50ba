"""From a photograph to the reflectance that it shows, in its own view.

The identity vector cannot know a mole, nor where a shadow lies; the photograph can. A U-Net (Ronneberger et al. 2015) sees
both whole face and pixel, and is not bound by what codes can say (docs/training.md).
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from ..configs import Preset
from ..conventions import GREY, REFLECTANCE, Domain
from .layers import Attention, ResidualBlock, group_norm

GROUPS = 8  # of group norm
CHANNELS = [1 if domain in GREY else 3 for domain in REFLECTANCE]


class Translator(nn.Module):
    """photo [B, 3, S, S] in [-1, 1], an aligned crop of the preset's translator size -> [B, 4, 3, S, S] in about [-1, 1],
    the domains in the order of REFLECTANCE; grey ones repeat."""

    def __init__(self, preset: Preset):
        super().__init__()
        sizes = preset.translator
        widths, folded = sizes.widths, sizes.patch**2
        self.size, self.patch = sizes.size, sizes.patch
        self.first = nn.Conv2d(3 * folded, widths[0], 3, padding=1)
        self.down = nn.ModuleList(ResidualBlock(width, width, GROUPS) for width in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 3, 2, 1) for fine, coarse in pairwise(widths))
        self.middle = Attention(widths[-1], GROUPS)
        self.grow = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(ResidualBlock(2 * width, width, GROUPS) for width in widths[:-1])
        self.norm = group_norm(widths[0], GROUPS)
        self.last = nn.Conv2d(widths[0], sum(CHANNELS) * folded, 3, padding=1)

    def forward(self, photo: torch.Tensor) -> torch.Tensor:
        hidden, kept = self.first(F.pixel_unshuffle(photo, self.patch)), []
        for block, shrink in zip(self.down, self.shrink, strict=False):
            kept.append(block(hidden))
            hidden = shrink(kept[-1])
        hidden = self.middle(self.down[-1](hidden))
        for block, grow, beside in reversed(list(zip(self.up, self.grow, kept, strict=True))):
            hidden = F.interpolate(grow(hidden), scale_factor=2.0, mode="nearest")
            hidden = block(torch.cat((hidden, beside), 1))
        made = F.pixel_shuffle(self.last(F.silu(self.norm(hidden))), self.patch)  # [B, 8, S, S]
        each = [image.expand(-1, 3, -1, -1) for image in made.split(CHANNELS, 1)]
        return torch.stack(each, 1)


def mirror_reflectance(images: torch.Tensor) -> torch.Tensor:
    """Reflectance [..., 4, 3, H, W] in [-1, 1] as the mirrored photograph shows it: normals point the other way."""
    mirrored = images.flip(-1)
    sign = torch.ones(len(REFLECTANCE), 3, 1, 1, device=images.device)
    sign[REFLECTANCE.index(Domain.NORMAL), 0] = -1.0
    return mirrored * sign
