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
LEAST_FACING = 0.05  # cosine: Smith's masking divides by it


@dataclass(frozen=True)
class Light:
    """directions [L, 3]; radiance [L, 3] linear RGB, in units in which the photo's pixels are albedo times shading."""

    directions: Tensor
    radiance: Tensor


def render_head(
    model: HeadModel,
    fine_vertices: Tensor,
    diffuse_srgb: Tensor,
    light: Light,
    camera: Camera,
    irises: Irises,
    mirroring: tuple[float, float] | None = None,
) -> Tensor:
    """The head seen by `camera` (a batch of one) as an sRGB image [3, H, W] on mid grey.

    fine_vertices [Nf, 3]; diffuse_srgb [3, T, T] on the head tile; mirroring: F0 and roughness of a glossy head, without
    which it is Lambertian. With the mean head's self-shadowing.
    """
    fragments = rasterize(camera.project(fine_vertices), model.faces, camera.height, camera.width)
    uv = interpolate(model.fine_uv, model.faces_uv, fragments).permute(0, 2, 3, 1)
    albedo = srgb_to_linear(sample_texture(diffuse_srgb[None], uv)[0])
    seen = lambda *parts: model.faces_of(*parts)[fragments.face[0].clamp(min=0)] & fragments.mask[0, 0]
    albedo = torch.where(seen("eyeball_left", "eyeball_right"), _eye_albedo(uv[0], model, irises), albedo)
    for part, colour in (("teeth", TOOTH_LINEAR), ("gums", GUM_LINEAR)):
        albedo = torch.where(seen(part), albedo.new_tensor(colour)[:, None, None], albedo)
    shading = interpolate(diffuse_transfer(model, fine_vertices) @ light.radiance, model.faces, fragments)[0]
    shown = albedo * shading
    if mirroring:
        gloss = gloss_transfer(model, fine_vertices, camera, *mirroring) @ light.radiance
        shown = shown + interpolate(gloss, model.faces, fragments)[0]
    image = torch.where(fragments.mask[0], shown, albedo.new_tensor(GROUND_LINEAR))
    return linear_to_srgb(image).clamp(0, 1)


def diffuse_transfer(model: HeadModel, fine_vertices: Tensor) -> Tensor:
    """[Nf, L] visibility times cosine over the number of directions (precomputed transfer, Sloan et al. 2002)."""
    normal = vertex_normals(fine_vertices[None], model.faces)[0]
    directions = model.light_directions
    return (normal @ directions.T).clamp(min=0) * model.visibility / len(directions)


def gloss_transfer(model: HeadModel, fine_vertices: Tensor, camera: Camera, f0: float, roughness: float) -> Tensor:
    """[Nf, L] what the surface mirrors of each direction towards the camera, in the units of `diffuse_transfer`: GGX with
    Smith's masking (Walter et al. 2007) and Schlick's Fresnel (1994). f0: reflectance seen straight on; roughness: as in
    the map.
    """
    normal, lights = vertex_normals(fine_vertices[None], model.faces)[0], model.light_directions
    to_camera = functional.normalize(camera.centre()[0] - fine_vertices, dim=-1)
    facing = (normal * to_camera).sum(-1, keepdim=True).clamp(min=LEAST_FACING)
    cosine = (normal @ lights.T).clamp(min=0)
    # Cosines of the half vector without the vector itself, which would be three times as large as the result.
    between = to_camera @ lights.T
    length = (2 + 2 * between).clamp(min=1e-6).sqrt()
    up, across = ((cosine + facing) / length).clamp(max=1), length / 2
    alpha = roughness**2
    facets = alpha**2 / (torch.pi * (up.square() * (alpha**2 - 1) + 1).square())
    masked = lambda c: c + (alpha**2 + (1 - alpha**2) * c.square()).sqrt()
    fresnel = f0 + (1 - f0) * (1 - across) ** 5
    # D F G cos / (4 cos facing), with the masking's own cosines cancelled.
    mirrored = facets * fresnel * cosine / (masked(cosine) * masked(facing))
    return torch.pi * mirrored * model.visibility / len(lights)


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
