"""Folds that the photo's expression has made in the skin, and the beard, which is not one."""

import cv2
import torch
from torch import Tensor
from torch.nn import functional

from .geometry.texture import blur_inside, dilate, ramp, soften
from .head.atlas import HeadAtlas
from .head.fit import FittedHead

# Metres that skin must have moved for a dark valley in it to be a fold; its width, a share of the atlas.
FOLDING, FOLD_WIDTH, FOLD_REMOVED = (0.001, 0.003), 0.06, 0.75
VALLEY_SIDE = 384  # texels: folds are wide, and the transform is slow
# A beard by its mean fine contrast, or by how much darker (log-luminance) or greyer (log-ratio of red to blue) than the
# cheeks it is. Of 90 training portraits, white beards and moustaches are greyer by 0.28 to 0.54; so are the shaved lip of one
# (0.28), which is darker than his cheeks as white hair is not, and the chin of a dark man (0.6), which mirrors light and
# is darker than white hair.
STRANDS, BEARD_DARKER, BEARD_GREYER = (0.03, 0.06), (0.35, 0.7), (0.2, 0.32)
STUBBLE_DARKER, GREY_HAIR = (0.06, 0.14), (-2.1, -1.9)  # than the cheeks beside; log-luminance of grey hair
LIGHT_SKIN = -1.4  # log-luminance: on darker skin fine gloss stands out more, strands of hair less
UPPER_LIP, LIP_EDGE = 0.006, 0.004  # metres over the middle of the lips; over which a moustache becomes a beard
MIDDLE = 0.01  # metres from the middle of the face, within which one cheek's colour becomes the other's
# Shares of the atlas: how far beyond the mean beard a grey one may grow; its grain.
BEARD_REACH, BEARD_PATCH = 0.05, 0.006
SMOOTHING = 0.002  # share of the atlas: what is finer is hair or a pore, not a fold


def find_beard(log_albedo: Tensor, trust: Tensor, atlas: HeadAtlas) -> Tensor:
    """[T, T] 1 on a beard, which shows by its strands or by being much darker or greyer than the cheeks.

    A grey one is told from skin wherever it grows; one that is only dark could be a shadow, and stays where beards are.
    """
    chin = atlas.region("beard") * (1 - atlas.dark_by_nature)
    on_chin, on_cheek = chin * trust > 0.5, atlas.region("cheek") * trust > 0.5
    if not on_chin.any() or not on_cheek.any():
        return torch.zeros_like(chin)
    luminance = log_albedo.mean(0)
    contrast = (luminance - blur_inside(luminance[None], trust + 1e-3, SMOOTHING)[0]).abs()[on_chin].mean()
    strands = contrast * ((luminance[on_chin].median() - LIGHT_SKIN) / 2).clamp(max=0).exp()
    darker = luminance[on_cheek].median() - luminance[on_chin].median()
    dark = chin * torch.maximum(ramp(strands, *STRANDS), ramp(darker, *BEARD_DARKER))
    return torch.maximum(dark, _grey_beard(log_albedo, trust, chin, on_cheek, atlas))


def _grey_beard(log_albedo: Tensor, trust: Tensor, chin: Tensor, on_cheek: Tensor, atlas: HeadAtlas) -> Tensor:
    """[T, T] 1 on a grey beard. chin [T, T]: where beards are as a rule; on_cheek [T, T] bool: where a cheek is seen."""
    colour, luminance = blur_inside(
        torch.stack([log_albedo[0] - log_albedo[2], log_albedo.mean(0)]), trust + 1e-3, BEARD_PATCH
    )
    greyer, darker = (_cheek_beside(of, on_cheek, atlas) - of for of in (colour, luminance))
    above, on_chin = _above_lips(atlas), chin * trust > 0.5
    moustache, below = (_how_grey(greyer, darker, luminance, on_chin & part, atlas) for part in (above > 0, above <= 0))
    in_place = chin * torch.lerp(below, moustache, ramp(above, -LIP_EDGE, LIP_EDGE))
    # A moustache ends beside the mouth: only a chin that is grey too tells of what grows on the cheeks.
    grown = soften(dilate(atlas.region("beard"), BEARD_REACH), BEARD_PATCH) * (1 - atlas.dark_by_nature)
    return torch.maximum(in_place, below * grown * ramp(greyer, *BEARD_GREYER) * trust)


def _cheek_beside(of: Tensor, on_cheek: Tensor, atlas: HeadAtlas) -> Tensor:
    """[T, T] the median of [T, T] on the cheek of the same side, whose light is the same; where that is not seen, on the
    other."""
    left = atlas.surface[0] > 0
    sides = [of[on_cheek & side].median() if (on_cheek & side).any() else None for side in (~left, left)]
    seen = [each for each in sides if each is not None]
    right, left = (seen[0] if each is None else each for each in sides)
    return torch.lerp(right, left, ramp(atlas.surface[0], -MIDDLE, MIDDLE))


def _how_grey(greyer: Tensor, darker: Tensor, luminance: Tensor, part: Tensor, atlas: HeadAtlas) -> Tensor:
    """How grey a beard is on a part [T, T] bool of the face, in [0, 1]; greyer, darker [T, T]: than the cheek beside.

    As grey as on the side where it is less so: what is grey on one side alone shines. And no darker than grey hair or the
    cheeks.
    """
    left = atlas.surface[0] > 0
    sides = [each for each in (part & left, part & ~left) if each.any()]
    if not sides:
        return greyer.new_zeros(())
    greyer, darker, luminance = (
        torch.stack([of[each].median() for each in sides]) for of in (greyer, darker, luminance)
    )
    is_light = (1 - ramp(darker.mean(), *STUBBLE_DARKER)) * ramp(luminance.mean(), *GREY_HAIR)
    return ramp(greyer.min(), *BEARD_GREYER) * is_light


def _above_lips(atlas: HeadAtlas) -> Tensor:
    """[T, T] metres over the upper lip."""
    height = atlas.surface[1]
    return height - height[atlas.region("lip") > 0.5].mean() - UPPER_LIP


def find_folds(log_albedo: Tensor, trust: Tensor, beard: Tensor, head: FittedHead, atlas: HeadAtlas) -> Tensor:
    """[3, T, T] how much darker (log) the folds make the skin that the photo's expression has made: the neutral head does
    not have them.

    A fold is a dark valley (black-hat transform) in skin that the expression has moved. Brows, lids and lips are dark
    by nature, and so is a beard. A quarter of a fold is not counted: many faces have it at rest too.
    """
    moved = (head.fine_vertices() - head.fine_neutral_vertices()).norm(dim=1, keepdim=True)
    amount = ramp(atlas.bake(moved)[0], *FOLDING) * (1 - beard) * (1 - atlas.dark_by_nature)
    smooth = blur_inside(log_albedo, trust + 1e-3, SMOOTHING)
    return FOLD_REMOVED * amount * valleys(smooth, FOLD_WIDTH)


def valleys(image: Tensor, width: float) -> Tensor:
    """How much each channel of [3, T, T] lies below what surrounds it within `width` (black-hat), a share of the side."""
    size = min(VALLEY_SIDE, image.shape[-1])
    small = functional.interpolate(image[None], size=size, mode="area")[0].permute(1, 2, 0).numpy(force=True)
    across = max(3, round(width * size)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across))
    depth = torch.from_numpy(cv2.morphologyEx(small, cv2.MORPH_BLACKHAT, kernel)).to(image).permute(2, 0, 1)
    return functional.interpolate(depth[None], size=image.shape[-1], mode="bilinear")[0]
