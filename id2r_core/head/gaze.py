"""Which way the eyes look: a ball is turned until its iris is where the photo shows it."""

import torch
from torch import Tensor
from torch.nn import functional

from ..facemesh import IRIS_LANDMARKS
from ..geometry.camera import Camera, rotation
from .model import HeadModel

IRISES = tuple(landmarks[0] for landmarks in IRIS_LANDMARKS)  # the subject's left first
WIDEST = 0.6  # radians: no eye turns farther, and landmarks of a shut one may be anywhere
APART = (-0.05, 0.2)  # radians by which each eye of a face at rest looks outwards in our heads


def aim_eyes(vertices: Tensor, landmarks: Tensor, camera: Camera, model: HeadModel) -> Tensor:
    """Vertices [N, 3] of a head over its photo, each eyeball turned about its middle until its iris is seen where the
    landmarks [478, 2], pixels, have it."""
    aimed = vertices.clone()
    centres, _ = model.eyes(vertices)
    irises = model.landmarks_of(vertices)[list(IRISES)]
    wanted = landmarks[list(IRISES)]
    for ball, centre, iris, pixel in zip(model.eye_vertices, centres, irises, wanted, strict=True):
        offset = iris - centre
        towards = _on_sphere(camera, pixel, centre, offset.norm()) - centre
        aimed[ball] = centre + (vertices[ball] - centre) @ _turn(offset, towards).T
    return aimed


def outward(vertices: Tensor, model: HeadModel) -> Tensor:
    """Radians by which each eye of a head [N, 3] looks to its own side: half of what their directions differ by. Eyeballs of
    our heads lie a little nearer to each other than people's irises are, so that this is no squint."""
    yaw = _looks(vertices, model)
    return (yaw[0] - yaw[1]) / 2


def part_eyes(vertices: Tensor, angle: Tensor, model: HeadModel) -> Tensor:
    """A head [N, 3] at rest whose eyes look ahead, each by `angle` radians to its own side (see `outward`)."""
    missing = angle.clamp(*APART) - outward(vertices, model)
    parted, zero = vertices.clone(), torch.zeros_like(missing)
    centres, _ = model.eyes(vertices)
    for ball, centre, yaw in zip(model.eye_vertices, centres, (missing, -missing), strict=True):
        about_vertical = rotation(torch.stack([zero, yaw, zero]))
        parted[ball] = centre + (vertices[ball] - centre) @ about_vertical.T
    return parted


def _looks(vertices: Tensor, model: HeadModel) -> Tensor:
    """[2] turn of each eye's front to the subject's left, radians, against the mean head's, which look ahead."""
    turned = []
    for ball in model.eye_vertices:
        front = ball[model.neutral[ball, 2].argmax()]
        now, rest = vertices[front] - vertices[ball].mean(0), model.neutral[front] - model.neutral[ball].mean(0)
        turned.append(torch.atan2(now[0], now[2]) - torch.atan2(rest[0], rest[2]))
    return torch.stack(turned)


def _on_sphere(camera: Camera, pixel: Tensor, centre: Tensor, radius: Tensor) -> Tensor:
    """[3] where the ray through a pixel first meets a sphere; where it passes by, the nearest point of its rim."""
    eye = camera.centre()[0]
    turn, focal, principal = camera.view_from_world[0, :3, :3], camera.focal[0], camera.principal[0]
    ray = torch.cat([(pixel - principal) / focal, torch.ones_like(pixel[:1])]) @ turn
    ray = functional.normalize(ray, dim=0)
    along = (centre - eye) @ ray
    aside = eye + along * ray - centre
    inside = (radius**2 - aside @ aside).clamp(min=0).sqrt()
    return centre + functional.normalize(aside - inside * ray, dim=0) * radius


def _turn(start: Tensor, end: Tensor) -> Tensor:
    """[3, 3] the shortest rotation that brings one direction [3] to another, or as near to it as an eye can turn."""
    start, end = functional.normalize(start, dim=0), functional.normalize(end, dim=0)
    axis = torch.linalg.cross(start, end)
    angle = torch.atan2(axis.norm(), start @ end).clamp(max=WIDEST)
    return rotation(functional.normalize(axis, dim=0) * angle)
