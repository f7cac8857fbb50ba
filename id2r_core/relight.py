"""A small renderer: the head with its diffuse map under a solved or given light. For checks, not for pictures to ship."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .conventions import linear_to_srgb, srgb_to_linear
from .geometry.camera import Camera
from .geometry.mesh import vertex_normals
from .geometry.rasterize import interpolate, rasterize
from .geometry.texture import sample_texture
from .head.irises import Irises
from .head.model import GUM_LINEAR, TOOTH_LINEAR, HeadModel

GROUND_LINEAR = 0.18
SCLERA_LINEAR, PUPIL_RADIUS = 0.55, 0.0021


@dataclass(frozen=True)
class Light:
    """directions [L, 3]; radiance [L, 3] linear RGB, in units in which the photo's pixels are albedo times shading."""

    directions: Tensor
    radiance: Tensor


def render_head(
    model: HeadModel, fine_vertices: Tensor, diffuse_srgb: Tensor, light: Light, camera: Camera, irises: Irises
) -> Tensor:
    """The head seen by `camera` (a batch of one) as an sRGB image [3, H, W] on mid grey.

    fine_vertices [Nf, 3]; diffuse_srgb [3, T, T] on the head tile. Lambertian, with the mean head's self-shadowing.
    """
    fragments = rasterize(camera.project(fine_vertices), model.faces, camera.height, camera.width)
    uv = interpolate(model.fine_uv, model.faces_uv, fragments).permute(0, 2, 3, 1)
    albedo = srgb_to_linear(sample_texture(diffuse_srgb[None], uv)[0])
    seen = lambda *parts: model.faces_of(*parts)[fragments.face[0].clamp(min=0)] & fragments.mask[0, 0]
    albedo = torch.where(seen("eyeball_left", "eyeball_right"), _eye_albedo(uv[0], model, irises), albedo)
    for part, colour in (("teeth", TOOTH_LINEAR), ("gums", GUM_LINEAR)):
        albedo = torch.where(seen(part), albedo.new_tensor(colour)[:, None, None], albedo)
    shading = interpolate(diffuse_transfer(model, fine_vertices) @ light.radiance, model.faces, fragments)[0]
    image = torch.where(fragments.mask[0], albedo * shading, albedo.new_tensor(GROUND_LINEAR))
    return linear_to_srgb(image).clamp(0, 1)


def diffuse_transfer(model: HeadModel, fine_vertices: Tensor) -> Tensor:
    """[Nf, L] visibility times cosine over the number of directions (precomputed transfer, Sloan et al. 2002)."""
    normal = vertex_normals(fine_vertices[None], model.faces)[0]
    directions = model.light_directions
    return (normal @ directions.T).clamp(min=0) * model.visibility / len(directions)


def _eye_albedo(uv: Tensor, model: HeadModel, irises: Irises) -> Tensor:
    """Linear albedo [3, H, W] of an eyeball from its polar uv [H, W, 2]: pupil, iris, sclera with soft rims."""
    _, eye_radii = model.eyes(model.neutral)
    angle = (uv - 0.5).norm(dim=-1) * 2 * torch.pi  # from the gaze, radians
    rim = torch.asin(irises.radius.mean() / eye_radii.mean()).to(uv.device)
    pupil = torch.asin(torch.as_tensor(PUPIL_RADIUS) / eye_radii.mean())
    in_iris = ((rim - angle) / 0.03).clamp(0, 1)
    in_pupil = ((pupil - angle) / 0.02).clamp(0, 1)
    colour = irises.colour_linear.to(uv.device)[:, None, None]
    albedo = SCLERA_LINEAR * (1 - in_iris) + colour * in_iris
    return functional.relu(albedo * (1 - in_pupil) + 0.01 * in_pupil)
