"""Meshes: triangles, normals, tangent frames, the nearest points of triangles, laying points onto points."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def triangulate(quads):
    """[Q, 4] -> [2Q, 3]; quad q becomes triangles 2q (corners 0 1 2) and 2q + 1 (corners 0 2 3). Tensor or array."""
    return quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Normals of triangles, [B, F, 3]; not of unit length: as long as twice the area. Counter-clockwise is outside."""
    a, b, c = (vertices[:, faces[:, corner]] for corner in range(3))
    return torch.linalg.cross(b - a, c - a)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals of vertices [B, N, 3], averaged over the faces around by area."""
    by_face = face_normals(vertices, faces)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total = total.index_add(1, faces[:, corner], by_face)
    return functional.normalize(total, dim=-1, eps=1e-20)


def tangent_frames(vertices: Tensor, faces: Tensor, uv: Tensor, faces_uv: Tensor) -> Tensor:
    """Tangents of uv corners, [B, U, 4]: the unit direction of +u on the surface, and the sign of the bitangent.

    With the unit normal n, bitangent (+v) = sign * cross(n, tangent) and the normal in the head frame is
    x * tangent + y * bitangent + z * n, OpenGL's +y up. Averaged over the faces around by corner angle and laid
    into the plane of the vertex normal, as MikkTSpace does, so that Blender's normal-map node undoes it.
    """
    corner = vertices[:, faces]  # [B, F, 3, 3]
    corner_uv = uv[faces_uv]  # [F, 3, 2]
    edge_1, edge_2 = corner[:, :, 1] - corner[:, :, 0], corner[:, :, 2] - corner[:, :, 0]
    step_1, step_2 = corner_uv[:, 1] - corner_uv[:, 0], corner_uv[:, 2] - corner_uv[:, 0]
    area = step_1[:, 0] * step_2[:, 1] - step_1[:, 1] * step_2[:, 0]  # [F]
    sign = torch.where(area < 0, -1.0, 1.0).to(vertices.dtype)
    along_u = (edge_1 * step_2[:, 1, None] - edge_2 * step_1[:, 1, None]) * sign[:, None]
    normal = vertex_normals(vertices, faces)
    total = vertices.new_zeros(len(vertices), len(uv), 3)
    total_sign = vertices.new_zeros(len(uv))
    for index in range(3):
        flat = _reject(along_u, normal[:, faces[:, index]])
        to_next = functional.normalize(corner[:, :, (index + 1) % 3] - corner[:, :, index], dim=-1)
        to_last = functional.normalize(corner[:, :, (index + 2) % 3] - corner[:, :, index], dim=-1)
        angle = (to_next * to_last).sum(-1, keepdim=True).clamp(-1 + 1e-6, 1 - 1e-6).arccos()
        total = total.index_add(1, faces_uv[:, index], functional.normalize(flat, dim=-1, eps=1e-20) * angle)
        total_sign = total_sign.index_add(0, faces_uv[:, index], sign)
    sign_of_uv = torch.where(total_sign < 0, -1.0, 1.0).to(vertices.dtype).expand(len(vertices), -1)
    return torch.cat([functional.normalize(total, dim=-1, eps=1e-20), sign_of_uv[..., None]], dim=-1)


def tangent_axes(frame: Tensor, normal: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The unit directions of +u and +v across unit normals, from interpolated `tangent_frames`; `dim` holds 3, 4 and 3."""
    along_u = frame.narrow(dim, 0, 3)
    along_u = functional.normalize(along_u - (along_u * normal).sum(dim, keepdim=True) * normal, dim=dim)
    return along_u, torch.linalg.cross(normal, along_u, dim=dim) * frame.narrow(dim, 3, 1).sign()


def _reject(vector: Tensor, normal: Tensor) -> Tensor:
    """The part of `vector` across the unit `normal`."""
    return vector - (vector * normal).sum(-1, keepdim=True) * normal


def closest_on_triangles(points: Tensor, corners: Tensor) -> Tensor:
    """Barycentric weights [..., 3] of the point of each triangle [..., 3, 3] that is closest to `points` [..., 3]."""
    a, b, c = corners.unbind(-2)
    normal = torch.linalg.cross(b - a, c - a)
    area = (normal * normal).sum(-1)  # squared; 0 for what is only a line or a point
    least = torch.finfo(area.dtype).tiny
    part = lambda p, q: (torch.linalg.cross(q - p, points - p) * normal).sum(-1) / area.clamp(min=least)
    within = torch.stack([part(b, c), part(c, a), part(a, b)], -1)
    best, nearest = within, torch.where((within >= 0).all(-1) & (area > 0), -1.0, torch.inf)
    for index, (start, end) in enumerate(((a, b), (b, c), (c, a))):
        along = end - start
        share = (((points - start) * along).sum(-1) / (along * along).sum(-1).clamp(min=least)).clamp(0, 1)
        gap = (start + share[..., None] * along - points).norm(dim=-1)
        weight = torch.zeros_like(within)
        weight[..., index], weight[..., (index + 1) % 3] = 1 - share, share
        nearer = gap < nearest
        best, nearest = torch.where(nearer[..., None], weight, best), torch.where(nearer, gap, nearest)
    return best


def similarity(target: np.ndarray, source: np.ndarray, with_scale: bool = True) -> tuple[float, np.ndarray, np.ndarray]:
    """scale, turn [3, 3] and shift [3] with target = scale * source @ turn.T + shift, least squares (Umeyama 1991)."""
    t, s = target - target.mean(0), source - source.mean(0)
    u, singular, v = np.linalg.svd(t.T @ s)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    turn = (u * sign) @ v
    scale = float((singular * sign).sum() / (s**2).sum()) if with_scale else 1.0
    return scale, turn, target.mean(0) - scale * source.mean(0) @ turn.T
