"""Pinhole cameras, and the three fixed cameras of the capture stage."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..conventions import CROP_FIVE_POINTS, CROP_UNITS, LEVEL_SIDES

CAPTURE_DISTANCE = 1.0
HEAD_AXIS_Z = -0.075  # the vertical axis through the middle of the head, metres behind the eyeball centres

# Right eye, left eye, nose tip, right and left mouth corner (of the subject) on the mean head, head frame, metres.
MEAN_FIVE_POINTS = (
    (-0.0296, -0.0010, 0.0159),
    (0.0296, -0.0010, 0.0159),
    (0.0000, -0.0336, 0.0412),
    (-0.0224, -0.0682, 0.0204),
    (0.0224, -0.0682, 0.0204),
)


@dataclass(frozen=True)
class Camera:
    """A batch of pinhole cameras without distortion; all images of a batch have one size.

    view_from_world: [B, 4, 4] rigid, from the world to the OpenCV view frame
    focal: [B] in pixels
    principal: [B, 2] in pixels (x, y)
    """

    view_from_world: Tensor
    focal: Tensor
    principal: Tensor
    height: int
    width: int

    def __len__(self) -> int:
        return self.focal.shape[0]

    def __getitem__(self, index) -> "Camera":
        """Some cameras of the batch; a whole number gives a batch of one."""
        if isinstance(index, int):
            index = range(len(self))[index]
            index = slice(index, index + 1)
        return replace(
            self,
            view_from_world=self.view_from_world[index],
            focal=self.focal[index],
            principal=self.principal[index],
        )

    def to(self, device) -> "Camera":
        return replace(
            self,
            view_from_world=self.view_from_world.to(device),
            focal=self.focal.to(device),
            principal=self.principal.to(device),
        )

    def to_view(self, points: Tensor) -> Tensor:
        """World points [N, 3] or [B|1, N, 3] in the view frame, [B, N, 3]."""
        rotation, translation = self.view_from_world[:, :3, :3], self.view_from_world[:, :3, 3]
        return points @ rotation.transpose(1, 2) + translation[:, None]

    def project(self, points: Tensor) -> Tensor:
        """World points [N, 3] or [B|1, N, 3] as (x pixel, y pixel, depth in metres), [B, N, 3]."""
        view = self.to_view(points)
        depth = view[..., 2:]
        pixel = view[..., :2] / depth * self.focal[:, None, None] + self.principal[:, None]
        return torch.cat([pixel, depth], dim=-1)

    def centre(self) -> Tensor:
        """The camera centres in the world, [B, 3]."""
        rotation, translation = self.view_from_world[:, :3, :3], self.view_from_world[:, :3, 3]
        return -(rotation.transpose(1, 2) @ translation[..., None])[..., 0]

    def warped(self, target_from_source: Tensor, height: int, width: int) -> "Camera":
        """The camera of this image warped by a similarity [2, 3] or [B, 2, 3] (exact; the turn rolls the view)."""
        similarity = torch.as_tensor(target_from_source, dtype=self.focal.dtype, device=self.focal.device)
        similarity = similarity.expand(len(self), 2, 3)
        linear = similarity[..., :2]
        scale = torch.linalg.det(linear).sqrt()
        roll = torch.eye(4, dtype=linear.dtype, device=linear.device).repeat(len(self), 1, 1)
        roll[:, :2, :2] = linear / scale[:, None, None]
        return Camera(
            view_from_world=roll @ self.view_from_world,
            focal=self.focal * scale,
            principal=(linear @ self.principal[..., None])[..., 0] + similarity[..., 2],
            height=height,
            width=width,
        )

    def resized(self, height: int, width: int) -> "Camera":
        """The camera of this image resized; both sides must change by the same factor (pixels stay square)."""
        if height * self.width != width * self.height:
            raise ValueError(f"{self.height} x {self.width} cannot become {height} x {width} with square pixels")
        scale = width / self.width
        return replace(self, focal=self.focal * scale, principal=self.principal * scale, height=height, width=width)


def rotation(turn: Tensor) -> Tensor:
    """[3, 3] rotation about the axis `turn` [3] by as many radians as it is long."""
    zero = torch.zeros_like(turn[0])
    x, y, z = turn
    return torch.linalg.matrix_exp(torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).unflatten(0, (3, 3)))


def look_at_head(yaw: Tensor, distance: float, target: Tensor) -> Tensor:
    """Views of `target` [3] from `distance` metres at `yaw` [B] radians about +y (positive: from the subject's left).

    Returns view_from_world [B, 4, 4]; the image's up is the world's +y.
    """
    sine, cosine, zero, one = yaw.sin(), yaw.cos(), torch.zeros_like(yaw), torch.ones_like(yaw)
    rows = [cosine, zero, -sine, zero, -one, zero, -sine, zero, -cosine]
    rotation = torch.stack(rows, dim=-1).reshape(-1, 3, 3)  # [B, 3, 3]
    view_from_world = torch.eye(4, dtype=yaw.dtype, device=yaw.device).repeat(len(yaw), 1, 1)
    view_from_world[:, :3, :3] = rotation
    offset = yaw.new_tensor([0.0, 0.0, distance])
    view_from_world[:, :3, 3] = offset - rotation @ target
    return view_from_world


def fit_similarity(target: Tensor, source: Tensor) -> Tensor:
    """The least-squares similarity target_from_source [B, 2, 3] of point sets [B, P, 2] (Umeyama 1991 in the plane).

    In the plane the closed form needs no decomposition: points are complex numbers, the similarity is one factor.
    """
    target_mean, source_mean = target.mean(dim=1, keepdim=True), source.mean(dim=1, keepdim=True)
    t, s = target - target_mean, source - source_mean
    energy = (s * s).sum(dim=(1, 2))
    real = (s * t).sum(dim=(1, 2)) / energy
    imaginary = (s[..., 0] * t[..., 1] - s[..., 1] * t[..., 0]).sum(dim=1) / energy
    linear = torch.stack([real, -imaginary, imaginary, real], dim=-1).reshape(-1, 2, 2)
    shift = target_mean[:, 0] - (linear @ source_mean[:, 0, :, None])[..., 0]
    return torch.cat([linear, shift[..., None]], dim=-1)


def arcface_points(size: int, device="cpu") -> Tensor:
    """Where insightface's alignment puts the five points in a square crop of `size` pixels, [5, 2].

    Its template for crops of a multiple of 128 pixels (insightface.utils.face_align.estimate_norm).
    """
    return torch.tensor(CROP_FIVE_POINTS, device=device) * (size / CROP_UNITS)


def capture_cameras(size: int, device="cpu", sides: tuple[float, float] = LEVEL_SIDES) -> Camera:
    """The three fixed views of the capture stage, a batch of three: front, from the subject's left, from the right.

    The front view shows the mean head where ArcFace's alignment puts a photo; the side views have its focal length and
    turn about the vertical axis through the middle of the head, which stays in the same column. sides: their yaw and
    pitch in degrees, LEVEL_SIDES or LOW_SIDES.
    """
    axis = torch.tensor([0.0, 0.0, HEAD_AXIS_Z])
    yaw = torch.tensor([0.0, 1.0, -1.0]) * math.radians(sides[0])
    distance = CAPTURE_DISTANCE - HEAD_AXIS_Z
    view_from_world = look_at_head(yaw, distance, axis)
    view_from_world[1:] = _lifted(view_from_world[1:], math.radians(sides[1]), distance)
    views = Camera(view_from_world, torch.ones(3), torch.zeros(3, 2), size, size)
    seen = views[0].project(torch.tensor(MEAN_FIVE_POINTS))[..., :2]
    crop_from_view = fit_similarity(arcface_points(size)[None], seen)
    return views.warped(crop_from_view, size, size).to(device)


def _lifted(view_from_world: Tensor, pitch: float, distance: float) -> Tensor:
    """Views [B, 4, 4] whose cameras rise by `pitch` radians on the circle about what they look at, `distance` ahead."""
    cosine, sine = math.cos(pitch), math.sin(pitch)
    nod = view_from_world.new_tensor([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])
    ahead = view_from_world.new_tensor([0.0, 0.0, distance])
    lifted = view_from_world.clone()
    lifted[:, :3, :3] = nod @ view_from_world[:, :3, :3]
    lifted[:, :3, 3] = (view_from_world[:, :3, 3] - ahead) @ nod.T + ahead
    return lifted
