"""Textures and atlases: sampling, the atlas as an image, filling holes, blurs and masks."""

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..conventions import uv_to_pixel
from .rasterize import Fragments, rasterize

SIGMA_WORKED = 2.0  # texels: wider blurs work on an image shrunk until the blur is about this wide


def sample_texture(texture: Tensor, uv: Tensor) -> Tensor:
    """Bilinear look-up of `texture` [B|1, C, T, T] at `uv` [B, H, W, 2] (v up): [B, C, H, W]; clamped at the border."""
    grid = torch.stack([uv[..., 0] * 2 - 1, 1 - uv[..., 1] * 2], dim=-1)
    texture = texture.expand(len(uv), -1, -1, -1)
    return functional.grid_sample(texture, grid, mode="bilinear", padding_mode="border", align_corners=False)


def atlas_fragments(uv: Tensor, faces_uv: Tensor, size: int) -> Fragments:
    """The uv layout itself as an image of `size` x `size` texels: which face and where on it, a batch of one."""
    pixel = uv_to_pixel(uv, size, size)
    return rasterize(torch.cat([pixel, torch.ones_like(pixel[:, :1])], dim=1)[None], faces_uv, size, size)


def fill_holes(image: Tensor, mask: Tensor) -> Tensor:
    """Fill `image` [B, C, T, T] where `mask` [B, 1, T, T] (weights in [0, 1]) is 0, smoothly, from what is known.

    Pull-push (Gortler et al. 1996, "The Lumigraph"): averages of the known texels from fine to coarse, then holes are
    filled from coarse to fine. Texels with mask 1 keep their value exactly; weights between blend.
    """
    mask = mask.to(image.dtype)
    if image.shape[-1] == 1 or image.shape[-2] == 1 or bool((mask >= 1).all()):
        return image
    pad = (0, image.shape[-1] % 2, 0, image.shape[-2] % 2)
    weight = functional.avg_pool2d(functional.pad(mask, pad), 2)
    total = functional.avg_pool2d(functional.pad(image * mask, pad), 2)
    coarse = fill_holes(total / weight.clamp(min=1e-8), (weight * 4).clamp(max=1.0))
    known = functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return image * mask + known[..., : image.shape[-2], : image.shape[-1]] * (1 - mask)


def blur(image: Tensor, share: float) -> Tensor:
    """Gaussian blur of [C, T, T] with standard deviation `share` of the side; wide ones are done on a smaller image."""
    side = image.shape[-1]
    sigma = share * side
    shrink = max(1, int(sigma // SIGMA_WORKED))
    small = image[:, None]  # [C, 1, T, T]: every channel is an image of its own
    if shrink > 1:
        small = functional.avg_pool2d(small, shrink, ceil_mode=True, count_include_pad=False)
    reach = max(1, round(3 * sigma / shrink))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=image.device) * shrink / sigma) ** 2)
    kernel = (kernel / kernel.sum())[None, None]
    rows = functional.conv2d(functional.pad(small, (0, 0, reach, reach), mode="replicate"), kernel[..., None])
    blurred = functional.conv2d(functional.pad(rows, (reach, reach, 0, 0), mode="replicate"), kernel[:, :, None])
    if shrink > 1:
        blurred = functional.interpolate(blurred, size=(side, side), mode="bilinear", align_corners=False)
    return blurred[:, 0]


def soften(mask: Tensor, share: float) -> Tensor:
    """Gaussian blur of one mask [T, T] with standard deviation `share` of its side."""
    return blur(mask[None], share)[0]


def blur_inside(image: Tensor, mask: Tensor, share: float) -> Tensor:
    """Blur [C, T, T] that counts only texels under `mask` [T, T] (normalised convolution, Knutsson & Westin 1993)."""
    return blur(image * mask, share) / blur(mask[None], share).clamp(min=1e-4)


def known_slowly(mask: Tensor, share: float) -> Tensor:
    """[T, T] 1 where enough lies under `mask` [T, T] to tell what changes slower than `share` of the side, else 0."""
    return (soften(mask, share) > 0.25).float()


def carried_on(slow: Tensor, known: Tensor, share: float) -> Tensor:
    """[C, T, T] that is known where `known` [T, T] is 1, going on smoothly beyond, over `share` of the side."""
    return blur(fill_holes(slow[None], known[None, None])[0], share)


def erode(mask: Tensor, share: float) -> Tensor:
    """Minimum of [T, T] over a square of half width `share` of the side; `dilate` is the maximum."""
    return -dilate(-mask, share)


def dilate(mask: Tensor, share: float) -> Tensor:
    """Maximum of [T, T] over a square of half width `share` of the side."""
    reach = max(1, round(share * mask.shape[-1]))
    rows = functional.max_pool2d(mask[None, None], (2 * reach + 1, 1), 1, (reach, 0))
    return functional.max_pool2d(rows, (1, 2 * reach + 1), 1, (0, reach))[0, 0]


def connected(mask: Tensor, seeds: Tensor) -> Tensor:
    """[T, T] bool: the connected parts of a mask that hold some of the seeds, both [T, T] bool."""
    _, labels = cv2.connectedComponents(mask.numpy(force=True).astype(np.uint8))
    kept = np.unique(labels[(seeds & mask).numpy(force=True)])
    return torch.from_numpy(np.isin(labels, kept[kept > 0])).to(mask.device)


def ramp(x: Tensor, low: float, high: float) -> Tensor:
    """Smoothstep from 0 at `low` to 1 at `high`, which may be below `low`."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def fade(mask: Tensor, share: float = 0.006) -> Tensor:
    """[T, T] a mask that begins softly at its border and nowhere outside it."""
    return soften(mask, share) * (mask > 0)


def median_under(image: Tensor, mask: Tensor) -> Tensor:
    """[C] median of the texels of [C, T, T] under the upper half of a mask, however little there is of it."""
    return image[:, mask >= 0.5 * mask.max()].median(1).values
