"""Augmentation of aligned crops [B, 3, S, S] in [-1, 1], as batches on their device."""

import math

import torch
import torch.nn.functional as F


def jitter_place(image: torch.Tensor, generator: torch.Generator, strength: float = 1.0) -> torch.Tensor:
    """Shift, scale and turn a little, as landmarks found by a detector do."""
    rows = len(image)
    angle = _uniform(rows, math.radians(4.0) * strength, generator)
    scale = 1.0 + _uniform(rows, 0.05 * strength, generator)
    shift = torch.stack((_uniform(rows, 0.04 * strength, generator), _uniform(rows, 0.04 * strength, generator)), 1)
    turn = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos()), 1).reshape(-1, 2, 2)
    matrix = torch.cat((turn * scale[:, None, None], shift[:, :, None]), 2).to(image.device)  # [B, 2, 3]
    grid = F.affine_grid(matrix, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def jitter_colour(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Another exposure, contrast and white balance."""
    rows, device = len(image), image.device
    gamma = torch.exp(_uniform(rows, 0.35, generator)).to(device)[:, None, None, None]
    gain = torch.exp(_uniform(rows, 0.2, generator)[:, None] + _uniform(3 * rows, 0.08, generator).reshape(rows, 3))
    bright = (image * 0.5 + 0.5).clamp(1e-4, 1.0) ** gamma * gain.to(device)[:, :, None, None]
    return bright.clamp(0.0, 1.0) * 2.0 - 1.0


def develop(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """What cameras and studios do to a picture: more colour and contrast, a little more or less exposure.

    Saturated light skin has the colour ratios of plain dark skin; without this the tone is read from the ratios alone.
    """
    rows = len(image)
    draws = torch.rand(3, rows, generator=generator).to(image.device)[..., None, None, None]
    bright = ((image * 0.5 + 0.5) * torch.exp(0.3 * draws[0] - 0.2)).clamp(0.0, 1.0)
    contrasted = bright + 0.8 * draws[1] * (bright * bright * (3.0 - 2.0 * bright) - bright)
    grey = contrasted.mean(1, keepdim=True)
    return (grey + torch.exp(0.7 * draws[2] - 0.2) * (contrasted - grey)).clamp(0.0, 1.0) * 2.0 - 1.0


def degrade(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Half of the images lose resolution, all gain a little noise: not every photo is sharp."""
    side = image.shape[-1]
    small = int(side * (0.4 + 0.5 * float(torch.rand((), generator=generator))))
    blurred = F.interpolate(image, size=(small, small), mode="bilinear", antialias=True, align_corners=False)
    blurred = F.interpolate(blurred, size=(side, side), mode="bilinear", align_corners=False)
    is_blurred = (torch.rand(len(image), generator=generator) < 0.5).to(image.device)[:, None, None, None]
    noise = torch.randn_like(image) * 0.02  # drawn where the images are: the loop seeds every device at each step
    return torch.where(is_blurred, blurred, image) + noise


def mirror(image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror half of the images left to right."""
    is_mirrored = (torch.rand(len(image), generator=generator) < 0.5).to(image.device)[:, None, None, None]
    return torch.where(is_mirrored, image.flip(3), image)


def surround(image: torch.Tensor, real: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Half of the images keep their face alone, in a soft oval, within the hair, clothes and background of a real one.

    Both are aligned, so the oval covers the face of the real portrait. Rendered photographs know no clothes and little
    hair, and what is around a face is evidence for its exposure.
    """
    rows, side = image.shape[0], image.shape[-1]
    axis = (torch.arange(side) + 0.5) / side
    height = 0.42 * (1.0 + _uniform(rows, 0.15, generator))[:, None, None]
    width = 0.33 * (1.0 + _uniform(rows, 0.15, generator))[:, None, None]
    radius = ((axis[None, None] - 0.5) / width).square() + ((axis[None, :, None] - 0.53) / height).square()
    face = torch.sigmoid((1.0 - radius) * 12.0)[:, None].to(image.device)  # [B, 1, S, S]
    chosen = (torch.rand(rows, generator=generator) < 0.5).to(image.device)[:, None, None, None]
    return torch.where(chosen, real + face * (image - real), image)


def _uniform(count: int, most: float, generator: torch.Generator) -> torch.Tensor:
    return (torch.rand(count, generator=generator) * 2.0 - 1.0) * most
