"""The identity encoder: an aligned crop -> a unit vector that names the person, and the tone of the facial skin."""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from ..configs import FACE_WINDOW_COLUMNS, FACE_WINDOW_OF, FACE_WINDOW_ROWS, FACE_WINDOW_SIZE, IDENTITY_WIDTH, Preset
from ..conventions import srgb_to_linear
from .layers import group_norm, resized


@dataclass(frozen=True)
class Embedding:
    """vector [B, 512] of unit length; tone_linear [B, 3] mean linear diffuse albedo of the facial skin."""

    vector: torch.Tensor
    tone_linear: torch.Tensor


class IdentityEncoder(nn.Module):
    """crop [B, 3, S, S] sRGB in [-1, 1], aligned as in `crop.crop_face` -> Embedding.

    Two branches: a convolutional net on the face window names the person; a small one on a low-resolution copy of the
    whole crop sees background and eyes, the evidence for exposure without which dark skin in bright light and light
    skin in the shade are the same pixels.
    """

    def __init__(self, preset: Preset):
        super().__init__()
        sizes = preset.identity
        self.tone_size = sizes.tone_size
        self.face = nn.Sequential(*_levels((3, *sizes.widths), sizes.blocks))
        last, side = sizes.widths[-1], -(-FACE_WINDOW_SIZE // 2 ** len(sizes.widths))  # rounded up
        self.gather = nn.Conv2d(last, last, side, groups=last)  # one learnt weighting of the places per channel
        self.vector = nn.Linear(last, IDENTITY_WIDTH)
        width = sizes.tone_width
        self.whole = nn.Sequential(*_levels((3, width, 2 * width, 2 * width), 1))
        self.tone = nn.Sequential(nn.Linear(4 * width + last, 2 * width), nn.SiLU(), nn.Linear(2 * width, 3))

    def tone_branch(self) -> dict[str, nn.Module]:
        """The parts that tell the tone and nothing else."""
        return {"whole": self.whole, "tone": self.tone}

    def forward(self, crop: torch.Tensor) -> Embedding:
        crop = crop.float()  # bfloat16 images cannot be resized with antialiasing on a CPU
        gathered = self.gather(self.face(face_window(crop))).flatten(1)  # [B, C]
        vector = F.normalize(self.vector(gathered).float(), dim=1)
        whole = self.whole(resized(crop, self.tone_size)).flatten(2)  # [B, C, h * w]
        evidence = torch.cat((whole.mean(2), whole.amax(2), gathered), 1)
        return Embedding(vector, srgb_to_linear(self.tone(evidence).float().sigmoid()))


def face_window(crop: torch.Tensor) -> torch.Tensor:
    """crop [B, 3, S, S] -> the window that face recognisers are trained on, [B, 3, 112, 112]."""
    scale = crop.shape[-1] / FACE_WINDOW_OF
    top, bottom = (round(row * scale) for row in FACE_WINDOW_ROWS)
    left, right = (round(column * scale) for column in FACE_WINDOW_COLUMNS)
    return resized(crop[:, :, top:bottom, left:right], FACE_WINDOW_SIZE)


class AngularMargin(nn.Module):
    """Training head: softmax over identities with an additive angular margin (ArcFace, Deng et al. 2019)."""

    def __init__(self, classes: int, margin: float, scale: float):
        super().__init__()
        self.margin, self.scale = margin, scale
        self.centre = nn.Parameter(F.normalize(torch.randn(classes, IDENTITY_WIDTH), dim=1))

    def forward(self, vector: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """vector [B, 512] unit, label [B] -> cross-entropy, a scalar."""
        cosine = (vector @ F.normalize(self.centre, dim=1).T).clamp(-1.0 + 1e-6, 1.0 - 1e-6)  # [B, classes]
        own = cosine.gather(1, label[:, None])
        # cos(a + m) written out; its gradient stays finite because the cosine is clamped.
        with_margin = own * torch.cos(own.new_tensor(self.margin)) - (1.0 - own.square()).sqrt() * torch.sin(
            own.new_tensor(self.margin)
        )
        return F.cross_entropy(self.scale * cosine.scatter(1, label[:, None], with_margin), label)


def _levels(widths: tuple[int, ...], blocks: int) -> list[nn.Module]:
    layers = []
    for channels_in, channels_out in pairwise(widths):
        layers += [nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1), group_norm(channels_out, 8), nn.SiLU()]
        layers += [_Plain(channels_out) for _ in range(blocks)]
    return layers


class _Plain(nn.Module):
    """conv, norm, swish, plus the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = group_norm(channels, 8)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image + F.silu(self.norm(self.conv(image)))
