"""From the codes of a photograph to the codes of its reflectance in the same view.

The identity vector cannot know a mole; the photograph's own RGB codes say where it is. The codebooks share an encoder, so
this is a small network between latent images: for each place and domain it points at a code.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..configs import Preset
from ..conventions import REFLECTANCE
from .codebook import DomainCodebooks
from .layers import ResidualSwinGroup


class Translator(nn.Module):
    """RGB-quantised latent -> for each reflectance domain and place the point in the code space it means.

    The mean of the latent goes with every place: the light of a photo is known only from the whole of it.
    """

    def __init__(self, preset: Preset):
        super().__init__()
        sizes, depth = preset.fusion, preset.fusion.depth
        self.first = nn.Conv2d(2 * preset.code_width, sizes.width, 1)
        self.group = ResidualSwinGroup(sizes.width, depth, sizes.heads, sizes.window)
        self.last = nn.Conv2d(sizes.width, len(REFLECTANCE) * preset.code_width, 1)
        self.sharpness = nn.Parameter(torch.zeros(()))  # logarithm of what squared distances are multiplied by

    def forward(self, rgb_latent: torch.Tensor) -> torch.Tensor:
        """rgb_latent [B, D, h, w] -> points [B, 4, D, h, w], domains in the order of REFLECTANCE."""
        whole = rgb_latent.mean((2, 3), keepdim=True).expand_as(rgb_latent)
        hidden = self.group(self.first(torch.cat((rgb_latent, whole), 1)))
        return self.last(hidden).unflatten(1, (len(REFLECTANCE), -1))

    def scores(self, points: torch.Tensor, books: DomainCodebooks) -> torch.Tensor:
        """points [B, 4, D, h, w] -> how well each code of the domain's codebook fits, [B, 4, K, h, w] (logits)."""
        flat = points.float().permute(0, 1, 3, 4, 2).flatten(2, 3)  # [B, 4, h * w, D]
        code = torch.stack([books[domain].code for domain in REFLECTANCE]).float()  # [4, K, D]
        away = flat.square().sum(-1, keepdim=True) - 2.0 * flat @ code.transpose(1, 2) + code.square().sum(-1)[:, None]
        logits = -away * self.sharpness.exp()  # [B, 4, h * w, K]
        return logits.transpose(2, 3).unflatten(3, points.shape[-2:])

    def loss(self, points: torch.Tensor, books: DomainCodebooks, codes: torch.Tensor) -> torch.Tensor:
        """codes [B, 4, h, w], the true ones -> cross-entropy, a scalar."""
        return F.cross_entropy(self.scores(points, books).flatten(0, 1), codes.flatten(0, 1))

    def translate(self, rgb_latent: torch.Tensor, books: DomainCodebooks) -> torch.Tensor:
        """rgb_latent [B, D, h, w] -> latent images of the domains made of their nearest codes, [B, 4, D, h, w]."""
        points = self(rgb_latent)
        found = [books[domain](points[:, place].float()).latent for place, domain in enumerate(REFLECTANCE)]
        return torch.stack(found, 1)
