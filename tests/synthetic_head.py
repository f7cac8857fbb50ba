"""A person without a photograph: a known head before a known camera, with known skin, in known light."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from id2r_core.conventions import SKIN_IOR, ior_to_f0
from id2r_core.geometry.camera import Camera, look_at_head
from id2r_core.head.fit import FittedHead
from id2r_core.head.irises import Irises
from id2r_core.head.model import HeadModel
from id2r_core.landmarks import Face
from id2r_core.photo import Photo
from id2r_core.relight import Light, render_head

FACE_CENTRE = (0.0, -0.02, -0.07)
MIRRORING = (ior_to_f0(SKIN_IOR), 0.4)  # F0 and roughness of skin
IRISES = Irises(torch.tensor([0.0059, 0.0059]), torch.tensor([0.10, 0.055, 0.03]))


def camera_at(
    yaw_degrees: float = 0.0, roll_degrees: float = 0.0, distance: float = 1.2, size: int = 256, focal: float = 2.2
) -> Camera:
    """A camera that sees the whole head; `focal` in sides of the image. A batch of one."""
    view = look_at_head(torch.tensor([math.radians(yaw_degrees)]), distance, torch.tensor(FACE_CENTRE))
    camera = Camera(view, torch.tensor([focal * size]), torch.full((1, 2), size / 2), size, size)
    cosine, sine = math.cos(math.radians(roll_degrees)), math.sin(math.radians(roll_degrees))
    turn = torch.tensor([[cosine, -sine], [sine, cosine]])
    middle = torch.full((2, 1), size / 2)
    return camera.warped(torch.cat([turn, middle - turn @ middle], 1), size, size)


def coefficients(names: tuple[str, ...], values: dict[str, float]) -> Tensor:
    """[K] zero but for the named ones."""
    vector = torch.zeros(len(names))
    for name, value in values.items():
        vector[names.index(name)] = value
    return vector


def known_head(
    model: HeadModel,
    camera: Camera,
    identity: dict[str, float] | None = None,
    expression: dict[str, float] | None = None,
) -> FittedHead:
    """What a perfect fit would find."""
    person = coefficients(model.identity_names, identity or {})
    face = coefficients(model.expression_names, expression or {})
    return FittedHead(
        model=model,
        camera=camera,
        vertices=model.shape(person[None], face[None])[0],
        neutral_vertices=model.shape(person[None], torch.zeros_like(face)[None])[0],
        identity=person,
        expression=face,
        error=0.0,
    )


def landmarks_in_photo(head: FittedHead) -> np.ndarray:
    """[478, 2] pixels, exact."""
    on_surface = head.model.landmarks(head.fine_vertices()[None])[0]
    return head.camera.project(on_surface)[0, :, :2].numpy()


def face_of(head: FittedHead, noise_pixels: float = 0.0) -> Face:
    """The landmarks as somebody who knows where they belong places them, with the given precision."""
    points = landmarks_in_photo(head)
    noise = np.random.default_rng(0).normal(0.0, 1.0, points.shape) * noise_pixels
    return Face((points + noise).astype(np.float32), placed=True)


def light_from(model: HeadModel, direction: tuple[float, float, float], ambient: float, strength: float) -> Light:
    """White light: a soft lobe towards `direction` over an even ambient part."""
    towards = functional.normalize(torch.tensor(direction), dim=0)
    lobe = (model.light_directions @ towards).clamp(min=0) ** 8
    return Light(model.light_directions, (ambient + strength * lobe)[:, None].expand(-1, 3).clone())


def photograph(head: FittedHead, diffuse_srgb: Tensor, light: Light) -> Photo:
    """The photo that the head's own camera takes of it."""
    image = render_head(head.model, head.fine_vertices(), diffuse_srgb, light, head.camera, IRISES, MIRRORING)
    return Photo(image.permute(1, 2, 0).contiguous().numpy(), "synthetic.png")
