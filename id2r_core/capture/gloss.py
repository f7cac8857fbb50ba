"""How much light a rough dielectric reflects in all: GGX with Smith's masking and Fresnel's equations, tabulated.

The usual analytic fit (Karis, "Physically Based Shading on Mobile", 2014) is made for Schlick's approximation and gives
skin a sixth less than Cycles has, which the darkest skin shows most.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

LEAST_ROUGHNESS, LEAST_COSINE = 0.1, 0.02
ROUGHNESS_STEPS, COSINE_STEPS = 10, 50
F0_ENDS = (0.02, 0.04)  # between and beside them the albedo is linear in F0
HEIGHTS, TURNS = 64, 16


@dataclass(frozen=True)
class GlossTable:
    """Directional albedo: values[k, i, j] at F0_ENDS[k], the i-th roughness and the j-th cosine, both evenly spaced."""

    values: Tensor

    def albedo(self, f0: Tensor, roughness: Tensor, facing: Tensor) -> Tensor:
        """Share of light that is reflected towards the camera under an even sky; all [B, H, W], facing a cosine."""
        x = (facing - LEAST_COSINE) / (1 - LEAST_COSINE) * 2 - 1
        y = (roughness - LEAST_ROUGHNESS) / (1 - LEAST_ROUGHNESS) * 2 - 1
        grid = torch.stack([x, y], dim=-1).reshape(1, -1, 1, 2)
        low, high = functional.grid_sample(self.values[None], grid, padding_mode="border", align_corners=True)[
            0, ..., 0
        ]
        share = (f0.reshape(-1) - F0_ENDS[0]) / (F0_ENDS[1] - F0_ENDS[0])
        return torch.lerp(low, high, share).reshape(f0.shape)


def build_gloss_table(device="cpu") -> GlossTable:
    """Integrate over sampled microfacets; a tenth of a second."""
    roughness = np.linspace(LEAST_ROUGHNESS, 1.0, ROUGHNESS_STEPS)[:, None]
    cosine = np.linspace(LEAST_COSINE, 1.0, COSINE_STEPS)[None]
    values = np.stack([directional_albedo(f0, roughness, cosine) for f0 in F0_ENDS])
    return GlossTable(torch.tensor(values, dtype=torch.float32, device=device))


def directional_albedo(f0: float, roughness: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """Of a surface with that F0 for roughness and cosine to the camera, arrays that broadcast (Walter et al. 2007)."""
    alpha, cosine = (np.asarray(array)[..., None, None] ** power for array, power in ((roughness, 2), (cosine, 1)))
    height = (np.arange(HEIGHTS)[:, None] + 0.5) / HEIGHTS
    turn = 2 * np.pi * (np.arange(TURNS)[None] + 0.5) / TURNS
    up = np.sqrt((1 - height) / (1 + (alpha**2 - 1) * height))  # of a microfacet's normal, drawn by D cos
    to_facet = np.sqrt(1 - up**2) * np.sqrt(1 - cosine**2) * np.cos(turn) + up * cosine
    outgoing = 2 * to_facet * up - cosine
    lit = (outgoing > 0) & (to_facet > 0)
    masking = 1 / (1 + _smith(alpha, outgoing.clip(1e-4)) + _smith(alpha, cosine))
    weight = _fresnel(f0, to_facet.clip(1e-4, 1)) * masking * to_facet / (cosine * up).clip(1e-6)
    return np.where(lit, weight, 0).mean((-1, -2))


def _smith(alpha: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    return (np.sqrt(1 + alpha**2 * (1 / cosine**2 - 1)) - 1) / 2


def _fresnel(f0: float, cosine: np.ndarray) -> np.ndarray:
    """Unpolarised reflectance of a dielectric with reflectance f0 at normal incidence."""
    index = (1 + np.sqrt(f0)) / (1 - np.sqrt(f0))
    inside = np.sqrt(1 - (1 - cosine**2) / index**2)
    across = (cosine - index * inside) / (cosine + index * inside)
    along = (index * cosine - inside) / (index * cosine + inside)
    return (across**2 + along**2) / 2
