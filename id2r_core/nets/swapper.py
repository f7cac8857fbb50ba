"""Identity injection: residual AdaIN blocks that change the features of the frozen decoder, level by level."""

import torch
import torch.nn.functional as F
from torch import nn

from ..configs import IDENTITY_WIDTH, Preset
from ..conventions import VIEWS, Domain, linear_to_srgb
from .vqgan import Decoder, level_channels

# The condition: the identity, then for each domain the tone, then which domain it is.
CONDITION_WIDTH = IDENTITY_WIDTH + 3 * len(Domain) + len(Domain)
# Scales of the parts. One step of Adam moves every weight alike, so that many large inputs would make it leap.
IDENTITY_SCALE, TONE_SCALE, DOMAIN_SCALE = 4.0, 2.0, 2.0
FIELD_SIDE, FIELD_MEAN_SIDE = 64, 128  # pixels of the field's pictures


class AdaptiveNorm(nn.Module):
    """Instance norm whose scale and shift come from the condition by one linear layer."""

    def __init__(self, channels: int, starts_at_zero: bool):
        super().__init__()
        self.linear = nn.Linear(CONDITION_WIDTH, 2 * channels)
        if starts_at_zero:
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)
        else:
            nn.init.normal_(self.linear.weight, std=0.02)
            nn.init.zeros_(self.linear.bias)
            with torch.no_grad():
                self.linear.bias[:channels] = 1.0

    def forward(self, features: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        scale, shift = self.linear(condition)[:, :, None, None].chunk(2, dim=1)  # each [B, C, 1, 1]
        return F.instance_norm(features) * scale + shift


class SwapBlock(nn.Module):
    """conv, adaptive norm, leaky ReLU, conv, adaptive norm, plus the input; starts as the identity function."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.norm1 = AdaptiveNorm(channels, starts_at_zero=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.norm2 = AdaptiveNorm(channels, starts_at_zero=True)

    def forward(self, features: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        hidden = F.leaky_relu(self.norm1(self.conv1(features), condition), 0.2)
        return features + self.norm2(self.conv2(hidden), condition)


class Field(nn.Module):
    """What the swap blocks leave over of each reflectance domain and view, as a linear function of the condition.

    The views show every skin on the same head, so that a pixel is a place: where a beard grows or a cheek is red is a
    picture that a person has more or less of. A mean picture and `rank` pictures for each domain and view; all zero at
    the start. Adaptive norms treat all places alike and are slow to learn such things. RGB images get nothing.
    """

    def __init__(self, rank: int):
        super().__init__()
        places = (len(Domain) - 1, VIEWS)
        self.coefficient = nn.Linear(CONDITION_WIDTH, rank)
        nn.init.normal_(self.coefficient.weight, std=0.1)
        nn.init.zeros_(self.coefficient.bias)
        self.mean = nn.Parameter(torch.zeros(*places, 3, FIELD_MEAN_SIDE, FIELD_MEAN_SIDE))
        self.pictures = nn.Parameter(torch.zeros(*places, rank, 3, FIELD_SIDE, FIELD_SIDE))

    def forward(self, condition: torch.Tensor, domain: torch.Tensor, view: torch.Tensor, size: int) -> torch.Tensor:
        """condition [B, CONDITION_WIDTH], domain [B], view [B] -> what to add to the images, [B, 3, size, size]."""
        place = (domain - 1).clamp(min=0), view  # RGB is the first of Domain
        own = torch.einsum("br,brcyx->bcyx", self.coefficient(condition), self.pictures[place])
        both = (_resized(image, size) for image in (self.mean[place], own))
        return sum(both) * (domain > 0)[:, None, None, None]


def _resized(image: torch.Tensor, size: int) -> torch.Tensor:
    if image.shape[-1] == size:
        return image
    return F.interpolate(image, size=(size, size), mode="bilinear", align_corners=False)


class Swapper(nn.Module):
    """The swap blocks of each decoder level that is injected into, and the field that is added to the image.

    The paper conditions on the identity vector alone. A face recogniser is trained to forget light and with it much of
    the skin tone, so the tone joins the condition here. Instance norm takes the mean of the features away and the shift
    puts another in its place, so a tone shifts all domains alike unless the condition also says which domain it is:
    twenty more inputs to each linear layer.
    """

    def __init__(self, preset: Preset):
        super().__init__()
        channels = level_channels(preset)
        self.levels = nn.ModuleDict(
            {
                str(side): nn.ModuleList(SwapBlock(channels[side]) for _ in range(preset.swap_blocks))
                for side in preset.swap_levels
            }
        )
        self.field = Field(preset.field_rank) if preset.field_rank else None

    def forward(
        self,
        decoder: Decoder,
        latent: torch.Tensor,
        vector: torch.Tensor,
        tone_linear: torch.Tensor,
        domain: torch.Tensor,
        view: torch.Tensor,
    ) -> torch.Tensor:
        """Decode a template as somebody else.

        latent [B, D, h, w] of templates; vector [B, 512] unit identity vectors; tone_linear [B, 3] mean linear diffuse
        albedo of the facial skin; domain [B] indices in the order of Domain; view [B]: front, left, right
        -> image [B, 3, H, W], about [-1, 1].
        """
        condition = make_condition(vector, tone_linear, domain).to(latent.dtype)

        def inject(side: str, features: torch.Tensor) -> torch.Tensor:
            if side not in self.levels:
                return features
            for block in self.levels[side]:
                features = block(features, condition)
            return features

        image = decoder(latent, inject)
        return image + self.field(condition, domain, view, image.shape[-1]) if self.field else image


def make_condition(vector: torch.Tensor, tone_linear: torch.Tensor, domain: torch.Tensor) -> torch.Tensor:
    """vector [B, 512], tone_linear [B, 3], domain [B] -> what the adaptive norms are told, [B, CONDITION_WIDTH]."""
    tone = (linear_to_srgb(tone_linear) - 0.6) / 0.15  # about unit variance over people
    one_hot = F.one_hot(domain, len(Domain)).to(vector.dtype)  # [B, 5]
    tone_of_domain = (one_hot[:, :, None] * tone[:, None]).flatten(1)  # [B, 5 * 3]
    return torch.cat((IDENTITY_SCALE * vector, TONE_SCALE * tone_of_domain, DOMAIN_SCALE * one_hot), 1)
