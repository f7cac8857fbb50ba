"""The auto-encoder of VQGAN (Esser et al. 2021) in the sizes of the paper: images <-> latent images.

Images are in [-1, 1]. The decoder lets a caller change its features after the first residual block of a level, which
is where the swapper injects the identity.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from ..configs import Preset
from .layers import Attention, Downsample, ResidualBlock, Upsample, group_norm


class Encoder(nn.Module):
    """image [B, 3, H, W] in [-1, 1] -> latent [B, D, h, w]."""

    def __init__(self, preset: Preset):
        super().__init__()
        groups, channels = preset.norm_groups, preset.width * preset.multipliers[0]
        layers = [nn.PixelUnshuffle(preset.patch), nn.Conv2d(3 * preset.patch**2, channels, 3, padding=1)]
        for side, multiplier in zip(reversed(preset.levels), preset.multipliers):
            for _ in range(preset.residual_blocks):
                layers.append(ResidualBlock(channels, preset.width * multiplier, groups))
                channels = preset.width * multiplier
                if side == preset.attention_at:
                    layers.append(Attention(channels, groups))
            if side != preset.latent:
                layers.append(Downsample(channels))
        layers += [*_middle(channels, groups), group_norm(channels, groups), nn.SiLU()]
        layers.append(nn.Conv2d(channels, preset.code_width, 3, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)


class DecoderLevel(nn.Module):
    """One decoder level: `first`, its first residual block, and `rest` with attention at the coarsest level."""

    def __init__(self, channels_in: int, channels_out: int, groups: int, blocks: int, attends: bool, grows: bool):
        super().__init__()
        self.first = ResidualBlock(channels_in, channels_out, groups)
        rest = [Attention(channels_out, groups)] if attends else []
        for _ in range(blocks - 1):
            rest.append(ResidualBlock(channels_out, channels_out, groups))
            rest += [Attention(channels_out, groups)] if attends else []
        rest += [Upsample(channels_out)] if grows else []
        self.rest = nn.Sequential(*rest)


class Decoder(nn.Module):
    """latent [B, D, h, w] -> image [B, 3, H, W], about [-1, 1]."""

    def __init__(self, preset: Preset):
        super().__init__()
        groups, channels = preset.norm_groups, preset.width * preset.multipliers[-1]
        self.first = nn.Conv2d(preset.code_width, channels, 3, padding=1)
        self.middle = nn.Sequential(*_middle(channels, groups))
        self.levels = nn.ModuleDict()
        for side, multiplier in zip(preset.levels, reversed(preset.multipliers)):
            self.levels[str(side)] = DecoderLevel(
                channels,
                preset.width * multiplier,
                groups,
                preset.residual_blocks,
                attends=side == preset.attention_at,
                grows=side != preset.levels[-1],
            )
            channels = preset.width * multiplier
        self.norm = group_norm(channels, groups)
        self.last = nn.Conv2d(channels, 3 * preset.patch**2, 3, padding=1)
        self.unfold = nn.PixelShuffle(preset.patch)

    def forward(
        self, latent: torch.Tensor, inject: Callable[[str, torch.Tensor], torch.Tensor] | None = None
    ) -> torch.Tensor:
        """inject(side as text, features [B, C, side, side]) -> features, called after each level's first block."""
        features = self.middle(self.first(latent))
        for side, level in self.levels.items():
            features = level.first(features)
            if inject is not None:
                features = inject(side, features)
            features = level.rest(features)
        return self.unfold(self.last(F.silu(self.norm(features))))


def level_channels(preset: Preset) -> dict[int, int]:
    """The number of channels of each decoder level, by its side in pixels."""
    return {side: preset.width * m for side, m in zip(preset.levels, reversed(preset.multipliers))}


def _middle(channels: int, groups: int) -> list[nn.Module]:
    return [
        ResidualBlock(channels, channels, groups),
        Attention(channels, groups),
        ResidualBlock(channels, channels, groups),
    ]
