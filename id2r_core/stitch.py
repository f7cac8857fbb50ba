"""Stitch the swapped views of three cameras into maps on the head tile."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .conventions import LEVEL_SIDES, REFLECTANCE, Domain, decode_normal, encode_normal, linear_to_srgb, srgb_to_linear
from .geometry.camera import capture_cameras
from .geometry.texture import fill_holes, soften
from .head.atlas import HeadAtlas, Seen, look
from .head.fit import FittedHead

VIEW_SHARPNESS = 4.0  # exponent of the cosine: how quickly a view gives way to one that looks more straight
GRAZING_COSINE = 0.15
BORDER = (0.035, 0.09)  # shares of the view's side from its border: nothing is used, everything is used
FEATHER_SHARE = 0.006  # of the atlas's side: softness of the visibility edges
MIRROR_SHARE = 0.5  # of what no view sees: how far a mirrored texel counts against the smooth filling
NEVER_SEEN = 0.02
LEAST_ROUGHNESS, OUTLINE_SHARE = 0.15, 0.03  # below it is background; of the view's side
EYE_MARGIN = 0.008  # of the atlas's side: the painted eyes of the views stay off the lids
FULL_DETAIL = 512  # pixels a side of a view from which its normals are taken as they are
GAIN_LIMIT = 0.35  # natural logarithm


@dataclass(frozen=True)
class Maps:
    """Reflectance on the head tile.

    images: Domain -> [3, T, T] in [0, 1], encoded as in a reflectance image (normals in the head frame).
    coverage: [T, T] in [0, 1]; 1 where a view (or the photo) saw the texel well, 0 where it was filled in.
    """

    images: dict[Domain, Tensor]
    coverage: Tensor


def stitch_views(
    views: dict[Domain, Tensor], head: FittedHead, atlas: HeadAtlas, sides: tuple[float, float] = LEVEL_SIDES
) -> Maps:
    """Blend the three views [3, 3, H, W] of each reflectance domain on the neutral head.

    The views show skins on the mean head (`CaptureStage.views`), so texels are looked up on that head, whatever the
    fitted one is like; normals are turned to those of the fitted head. Texels are weighed by visibility and angle of
    view; the side views are matched in gain to the front view where both see the same skin; what no view sees is filled
    by its mirror image and smoothly. sides: yaw and pitch of the side cameras that the pack was trained with.
    """
    views = views | {domain: _without_grid(views[domain]) for domain in (Domain.SPECULAR, Domain.ROUGHNESS)}
    vertices, worn = head.fine_neutral_vertices(), head.model.fine_neutral
    size = views[Domain.DIFFUSE].shape[-1]
    cameras = capture_cameras(size, vertices.device, sides)
    is_head = _head_in_views(views[Domain.ROUGHNESS])
    away_from_eyes = 1 - (4 * soften(atlas.region("eyelid"), EYE_MARGIN)).clamp(max=1)
    texels, weights = [], []
    for view in range(len(cameras)):
        seen = look(atlas, worn, cameras[view])
        stack = torch.cat([*(views[domain][view] for domain in REFLECTANCE), is_head[view]])  # one look-up for all
        found = seen.sample(stack).clamp(0, 1)
        texels.append(found[:-1].unflatten(0, (len(REFLECTANCE), 3)))
        weights.append(_view_weight(seen, size) * (found[-1] > 0.99) * away_from_eyes)
    weight = torch.stack(weights)  # [V, T, T]
    coverage = (weight.amax(0) / 0.5).clamp(0, 1)
    images = {}
    for index, domain in enumerate(REFLECTANCE):
        of_domain = torch.stack([texel[index] for texel in texels])  # [V, 3, T, T]
        if domain is Domain.DIFFUSE:
            of_domain = _match_gains(of_domain, weight)
        blended = (of_domain * weight[:, None]).sum(0) / weight.sum(0).clamp(min=1e-4)
        images[domain] = _complete(blended, coverage, domain)
    images[Domain.NORMAL] = _fitted_normals(images[Domain.NORMAL], vertices, atlas, size)
    return Maps(images, coverage)


def _without_grid(view: Tensor) -> Tensor:
    """[V, C, H, W] without the faint grid of period two that decoders leave: the binomial filter 1 2 1 is blind to it."""
    binomial = view.new_tensor([0.25, 0.5, 0.25])
    kernel = (binomial[:, None] * binomial).expand(view.shape[1], 1, 3, 3)
    return functional.conv2d(functional.pad(view, (1, 1, 1, 1), mode="replicate"), kernel, groups=view.shape[1])


def _fitted_normals(normal: Tensor, vertices: Tensor, atlas: HeadAtlas, size: int) -> Tensor:
    """Normals [3, T, T] of views of the mean head, on the fitted head `vertices` [Nf, 3].

    What the views show beside the normal of their head is turned with it. Coarse views are drawn to the fitted head: a
    view of 128 px has 2 mm to a pixel, and what it shows of creases round mouth, eyes and ears lies beside them.
    """
    own = atlas.normals_of(vertices)
    share = min(1.0, size / FULL_DETAIL) ** 2
    mixed = torch.lerp(own, _turned(decode_normal(normal), atlas.normal, own), share)
    return torch.where(atlas.mask, encode_normal(functional.normalize(mixed, dim=0)), normal)


def _turned(vector: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Vectors [3, T, T] after the smallest rotation that brings the unit vectors `source` onto `target`."""
    dot = lambda a, b: (a * b).sum(0, keepdim=True)
    between = source + target
    return (
        vector
        - dot(between, vector) / (1 + dot(source, target)).clamp(min=1e-3) * between
        + 2 * dot(source, vector) * target
    )


def _head_in_views(roughness: Tensor) -> Tensor:
    """[V, 1, H, W] 1 inside the head of the swapped views, away from its outline.

    The background is 0 in every domain and no skin is smooth as a mirror; the outline of the networks' head and that of
    the fitted one differ by some pixels, and none of the background may get onto the skin.
    """
    background = (roughness.mean(1, keepdim=True) < LEAST_ROUGHNESS).float()
    reach = max(1, round(OUTLINE_SHARE * roughness.shape[-1]))
    return 1 - functional.max_pool2d(background, 2 * reach + 1, 1, reach)


def _view_weight(seen: Seen, size: int) -> Tensor:
    """[T, T] how much a texel trusts one view."""
    facing = ((seen.cosine - GRAZING_COSINE) / (1 - GRAZING_COSINE)).clamp(min=0) ** VIEW_SHARPNESS
    inside = torch.minimum(seen.pixel, size - seen.pixel).amin(-1) / size
    margin = (inside - BORDER[0]) / (BORDER[1] - BORDER[0])
    return soften(facing * seen.visible, FEATHER_SHARE) * seen.visible * margin.clamp(0, 1)


def _match_gains(texels: Tensor, weights: Tensor) -> Tensor:
    """Scale the side views' colour so that they agree with the front view where both see the skin well."""
    linear = srgb_to_linear(texels)
    matched = [texels[0]]
    for side in (1, 2):
        overlap = (weights[0] * weights[side]).sqrt()
        overlap = overlap * (overlap > 0.05)
        log_ratio = (linear[0].clamp(min=1e-3) / linear[side].clamp(min=1e-3)).log()
        gain = (log_ratio * overlap).sum((1, 2)) / overlap.sum().clamp(min=1e-6)
        gain = gain.clamp(-GAIN_LIMIT, GAIN_LIMIT).exp()
        matched.append(linear_to_srgb(linear[side] * gain[:, None, None]).clamp(0, 1))
    return torch.stack(matched)


def _complete(image: Tensor, coverage: Tensor, domain: Domain) -> Tensor:
    """Fill what no view saw: partly from the mirrored side (the tile is symmetric), else smoothly from around."""
    mirrored = image.flip(-1)
    if domain is Domain.NORMAL:
        mirrored = encode_normal(decode_normal(mirrored) * mirrored.new_tensor([-1.0, 1.0, 1.0])[:, None, None])
    known = (coverage > NEVER_SEEN).float() * coverage
    other = (1 - known) * known.flip(-1) * MIRROR_SHARE
    total = (known + other).clamp(max=1.0)
    both = (image * known + mirrored * other) / (known + other).clamp(min=1e-4)
    return fill_holes(both[None], total[None, None])[0]
