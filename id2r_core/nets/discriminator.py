"""The patch discriminator of VQGAN (as in pix2pix, Isola et al. 2017)."""

import torch
from torch import nn

from ..configs import Preset


class PatchDiscriminator(nn.Module):
    """image [B, 3, H, W] in [-1, 1] -> one score a patch [B, 1, h, w]; higher is more real."""

    def __init__(self, preset: Preset):
        super().__init__()
        width = preset.discriminator_width
        layers = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        channels = width
        for layer in range(1, preset.discriminator_layers + 1):
            following = width * min(2**layer, 8)
            stride = 2 if layer < preset.discriminator_layers else 1
            layers += [nn.Conv2d(channels, following, 4, stride=stride, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(following), nn.LeakyReLU(0.2)]
            channels = following
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 4, padding=1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)
