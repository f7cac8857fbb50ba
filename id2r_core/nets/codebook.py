"""Vector quantisation: one codebook a domain, and the fusion network that weights them.

method: section 3.1 and 3.2 of the paper; the codebook is learnt by gradients as in VQGAN (no moving average).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from ..configs import Preset
from ..conventions import Domain
from .layers import ResidualSwinGroup

USAGE_DECAY = 0.99  # of the moving usage count of a code, per training batch
DEAD_BELOW = 0.05  # a code is dead when it is used less than this often as a uniform share of the batch would be


@dataclass(frozen=True)
class Quantised:
    """latent [B, D, h, w] (straight-through: its gradient goes to the encoder); `codes[b, y, x] = k` means that code k
    is nearest there; loss: codebook plus commitment loss, a scalar."""

    latent: torch.Tensor
    codes: torch.Tensor
    loss: torch.Tensor


class Codebook(nn.Module):
    """K codes of width D; quantises a latent image to the nearest ones."""

    def __init__(self, codes: int, width: int, commitment: float):
        super().__init__()
        self.commitment = commitment
        self.code = nn.Parameter(torch.empty(codes, width).uniform_(-1.0 / codes, 1.0 / codes))
        self.register_buffer("usage", torch.zeros(codes))  # moving count, in units of the uniform share

    def forward(self, latent: torch.Tensor) -> Quantised:
        flat = latent.permute(0, 2, 3, 1)  # [B, h, w, D]
        codes = self.nearest(flat)
        chosen = F.embedding(codes, self.code)  # [B, h, w, D]
        loss = F.mse_loss(chosen, flat.detach()) + self.commitment * F.mse_loss(flat, chosen.detach())
        straight = flat + (chosen - flat).detach()
        return Quantised(straight.permute(0, 3, 1, 2), codes, loss)

    def nearest(self, flat: torch.Tensor) -> torch.Tensor:
        """[..., D] -> index of the nearest code [...] (squared Euclidean distance)."""
        with torch.no_grad():
            code = self.code.float()
            distance = code.square().sum(1) - 2.0 * flat.float() @ code.T  # the latent's own square is the same for all
            return distance.argmin(-1)

    def look_up(self, codes: torch.Tensor) -> torch.Tensor:
        """codes [B, h, w] -> latent [B, D, h, w]."""
        return F.embedding(codes, self.code).permute(0, 3, 1, 2)

    @torch.no_grad()
    def count(self, codes: torch.Tensor) -> None:
        """Add the codes of a training batch to the moving usage."""
        one = self.usage.new_full((codes.numel(),), len(self.usage) / codes.numel())
        # Not `bincount`, which waits for a GPU to say how many codes there are.
        share = torch.zeros_like(self.usage).index_add_(0, codes.flatten(), one)
        self.usage.lerp_(share, 1.0 - USAGE_DECAY)

    @torch.no_grad()
    def revive(self, latent: torch.Tensor, generator: torch.Generator) -> int:
        """Move each dead code onto a random pixel of latent [B, D, h, w]; returns how many were dead."""
        dead = (self.usage < DEAD_BELOW).nonzero()[:, 0]
        flat = latent.permute(0, 2, 3, 1).flatten(0, 2)  # [B * h * w, D]
        pick = torch.randint(len(flat), (len(dead),), generator=generator).to(flat.device)
        self.code[dead] = flat[pick].to(self.code.dtype)
        self.usage[dead] = 1.0
        return len(dead)


class DomainCodebooks(nn.Module):
    """One codebook for each of the five domains."""

    def __init__(self, preset: Preset):
        super().__init__()
        self.books = nn.ModuleDict(
            {d.value: Codebook(preset.codes, preset.code_width, preset.commitment) for d in Domain}
        )

    def __getitem__(self, domain: Domain) -> Codebook:
        return self.books[domain.value]

    def quantise(self, latent: torch.Tensor, domain: torch.Tensor) -> Quantised:
        """Each image by the codebook of its domain: latent [B, D, h, w], domain [B] indices in the order of Domain.

        With `domain` on the CPU nothing waits for a GPU.
        """
        straight = torch.empty_like(latent)
        codes = torch.empty(len(latent), *latent.shape[2:], dtype=torch.long, device=latent.device)
        loss = latent.new_zeros(())
        for index, name in enumerate(Domain):
            rows = (domain == index).nonzero()[:, 0].to(latent.device)
            if len(rows):
                part = self[name](latent[rows])
                straight = straight.index_copy(0, rows, part.latent.to(latent.dtype))
                codes[rows] = part.codes
                loss = loss + part.loss * (len(rows) / len(latent))
        return Quantised(straight, codes, loss)

    def look_up(self, codes: torch.Tensor, domain: torch.Tensor) -> torch.Tensor:
        """codes [B, h, w] of images whose domains are domain [B] -> latent [B, D, h, w]."""
        table = torch.stack([self[name].code for name in Domain])  # [5, K, D]
        return table[domain.to(codes.device)[:, None, None], codes].permute(0, 3, 1, 2)

    def copy_from(self, shared: Codebook) -> None:
        """Start every domain from the shared codebook of stage 1."""
        for domain in Domain:
            self[domain].load_state_dict(shared.state_dict())

    def quantise_all(self, latent: torch.Tensor) -> torch.Tensor:
        """latent [B, D, h, w] -> the latent as each codebook sees it, [B, 5, D, h, w] in the order of Domain."""
        return torch.stack([self[domain](latent).latent for domain in Domain], 1)


class Fusion(nn.Module):
    """Predicts from the RGB-quantised latent how much of each codebook the decoder gets at each latent pixel."""

    def __init__(self, preset: Preset):
        super().__init__()
        sizes = preset.fusion
        self.first = nn.Conv2d(preset.code_width, sizes.width, 1)
        self.groups = nn.Sequential(
            *(ResidualSwinGroup(sizes.width, sizes.depth, sizes.heads, sizes.window) for _ in range(sizes.groups))
        )
        self.last = nn.Conv2d(sizes.width, len(Domain), 1)

    def forward(self, rgb_latent: torch.Tensor) -> torch.Tensor:
        """rgb_latent [B, D, h, w] -> weights [B, 5, h, w] that sum to 1 over the codebooks."""
        return self.last(self.groups(self.first(rgb_latent))).softmax(1)

    def fuse(self, quantised: torch.Tensor) -> torch.Tensor:
        """quantised [B, 5, D, h, w] (`DomainCodebooks.quantise_all`) -> fused latent [B, D, h, w]."""
        rgb = quantised[:, list(Domain).index(Domain.RGB)]
        return (self(rgb)[:, :, None] * quantised).sum(1)
