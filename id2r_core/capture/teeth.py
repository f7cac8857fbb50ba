"""Teeth for smiling photographs: an upright half cylinder behind the lips, met by the camera's rays where the mouth is open.

They are painted over whatever the mouth shows, the head model's own teeth too, so that photographs of small size have
them bright and plain, and the nets do not take an open smile for an empty mouth.
"""

from dataclasses import replace

import torch
from torch import Tensor

from ..geometry.camera import Camera
from ..head.model import HeadModel
from .render import Surface

UPPER_LIP_INNER, LOWER_LIP_INNER = 13, 14  # MediaPipe landmarks, middle of the inner rim of the lips
ARCH_RADIUS = 0.024  # metres
BEHIND_LIP, SHOWN_BELOW_LIP = 0.006, 0.002
TOOTH_HEIGHT, TOOTH_WIDTH, GAP_WIDTH = 0.0095, 0.0080, 0.0007
TOOTH_LINEAR, GUM_LINEAR, GAP_LINEAR = (0.58, 0.53, 0.43), (0.38, 0.13, 0.12), (0.12, 0.06, 0.05)
LIT_SHARE = 0.6  # of the light on the lips


def with_teeth(surface: Surface, head: HeadModel, cameras: Camera, neutral: Tensor, posed: Tensor) -> Surface:
    """The surface [B] with teeth in open mouths; neutral, posed [B, Nf, 3]: the same heads at rest and in the picture.

    Upper teeth stay with the skull, lower teeth follow the middle of the lower lip.
    """
    lips = [UPPER_LIP_INNER, LOWER_LIP_INNER]
    at_rest, now = head.landmarks(neutral)[:, lips], head.landmarks(posed)[:, lips]
    front = at_rest[:, 0, 2] - BEHIND_LIP
    x, y, z = _on_arch(cameras, -surface.to_camera, front - ARCH_RADIUS)
    upper_edge = (at_rest[:, 0, 1] - SHOWN_BELOW_LIP)[:, None, None]
    dropped = (at_rest[:, 1, 1] - now[:, 1, 1]).clamp(min=0)[:, None, None]
    lower_edge = upper_edge - 0.6 * dropped - 0.001
    row = torch.where(y > upper_edge, y - upper_edge, lower_edge - y)  # height above the biting edge, negative between
    along = torch.atan2(x, z) * ARCH_RADIUS / TOOTH_WIDTH
    gap = (along - along.round()).abs() * TOOTH_WIDTH  # the middle gap lies at 0
    is_there = surface.is_mouth & (row > 0)[:, None] & (x.abs() < 0.8 * ARCH_RADIUS)[:, None]
    colour = torch.where(
        (row > TOOTH_HEIGHT)[:, None],
        _image(surface, GUM_LINEAR),
        torch.where((gap < GAP_WIDTH)[:, None], _image(surface, GAP_LINEAR), _image(surface, TOOTH_LINEAR)),
    )
    lit = (surface.irradiance * surface.is_skin).sum((2, 3)) / surface.is_skin.sum((2, 3)).clamp(min=1)
    # Light falls off towards the corners of the mouth.
    shade = (1 - (x / ARCH_RADIUS).square()).clamp(0.2, 1.0)[:, None]
    return replace(
        surface,
        diffuse_linear=torch.where(is_there, colour, surface.diffuse_linear),
        irradiance=torch.where(is_there, LIT_SHARE * lit[..., None, None] * shade, surface.irradiance),
    )


def _image(surface: Surface, linear: tuple) -> Tensor:
    return surface.diffuse_linear.new_tensor(linear)[:, None, None]


def _on_arch(cameras: Camera, rays: Tensor, axis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where rays [B, H, W, 3] first meet the upright cylinder about z = axis [B]: x, y and z - axis, [B, H, W] each.

    Rays that miss get the point where they pass nearest to the axis.
    """
    centre = cameras.centre()[:, None, None]
    x, z = centre[..., 0], centre[..., 2] - axis[:, None, None]
    flat = rays[..., 0].square() + rays[..., 2].square()
    half = x * rays[..., 0] + z * rays[..., 2]
    root = (half.square() - flat * (x.square() + z.square() - ARCH_RADIUS**2)).clamp(min=0).sqrt()
    along = (-half - root) / flat
    hit = centre + along[..., None] * rays
    return hit[..., 0], hit[..., 1], hit[..., 2] - axis[:, None, None]
