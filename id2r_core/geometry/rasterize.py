"""A differentiable rasteriser in vectorised torch: CPU, CUDA and MPS, no compiled extension."""

from dataclasses import dataclass

import torch
from torch import Tensor

NEAREST_DEPTH = 1e-4
# Candidate pixels tested at once: on a CPU what stays in its cache, elsewhere what keeps the device busy.
CANDIDATES_ON_CPU = 1 << 17
CANDIDATES_ON_DEVICE = 1 << 24


@dataclass(frozen=True)
class Fragments:
    """What each pixel sees.

    face: [B, H, W] int64; face[b, y, x] = f means triangle f is the nearest one under that pixel centre; empty is -1
    bary: [B, H, W, 3]; perspective-correct weights of the three corners of that triangle, summing to 1; empty is 0
    depth: [B, H, W]; the view depth there; empty is inf
    """

    face: Tensor
    bary: Tensor
    depth: Tensor

    @property
    def mask(self) -> Tensor:
        """[B, 1, H, W] bool: where anything is seen."""
        return (self.face >= 0)[:, None]


def rasterize(points: Tensor, faces: Tensor, height: int, width: int) -> Fragments:
    """Rasterise triangles `faces` [F, 3] over `points` [B, N, 3] (x pixel, y pixel, depth), without culling.

    A pixel belongs to a triangle that holds its centre, edges included; neighbours leave no crack, because an edge
    function and its reverse are exact negatives in floating point. The nearest triangle wins, at a tie the lower index.
    Triangles that reach behind depth 1e-4 are left out as a whole. `bary` and `depth` are differentiable in `points`;
    which triangle a pixel sees is not.
    """
    batch = points.shape[0]
    with torch.no_grad():
        winner = _nearest_faces(points.detach(), faces, height, width)  # [B * H * W]
    pixel = (winner >= 0).nonzero()[:, 0]
    image = pixel // (height * width)
    corners = points.reshape(-1, 3)[faces[winner[pixel]] + (image * points.shape[1])[:, None]]  # [P, 3, 3]
    bary_seen, depth_seen = _perspective_bary(corners, _pixel_centres(pixel, height, width, points.dtype))
    bary = points.new_zeros(batch * height * width, 3).index_copy(0, pixel, bary_seen)
    depth = points.new_full((batch * height * width,), torch.inf).index_copy(0, pixel, depth_seen)
    return Fragments(
        face=winner.reshape(batch, height, width),
        bary=bary.reshape(batch, height, width, 3),
        depth=depth.reshape(batch, height, width),
    )


def interpolate(attributes: Tensor, faces: Tensor, fragments: Fragments) -> Tensor:
    """Attributes of vertices, [N, C] or [B, N, C], under every pixel: [B, C, H, W], zero where empty.

    `faces` may index another vertex list than the one rasterised (uv corners), face by face the same triangles.
    Differentiable in `attributes` and in `fragments.bary`.
    """
    batch, height, width = fragments.face.shape
    seen = fragments.face.reshape(-1)
    pixel = (seen >= 0).nonzero()[:, 0]
    corner = faces[seen[pixel]]  # [P, 3]
    if attributes.dim() == 3:
        corner = corner + (pixel // (height * width) * attributes.shape[1])[:, None]
    channels = attributes.shape[-1]
    values = attributes.reshape(-1, channels)[corner]  # [P, 3, C]
    blended = (values * fragments.bary.reshape(-1, 3)[pixel][..., None]).sum(dim=1)
    image = blended.new_zeros(batch * height * width, channels).index_copy(0, pixel, blended)
    return image.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def _nearest_faces(points: Tensor, faces: Tensor, height: int, width: int) -> Tensor:
    """Index of the nearest face under every pixel, [B * H * W], -1 where none.

    Every triangle lists the pixel centres of its own bounding box, so small triangles cost little and large ones are
    cut into chunks; those that hold the centre compete in two scatters, one for the depth and one for the index.
    """
    triangles = points[:, faces].reshape(-1, 9)  # [B * F, 9]
    xs, ys, depth = triangles[:, 0::3], triangles[:, 1::3], triangles[:, 2::3]
    left = (xs.amin(1) - 0.5).ceil().clamp(0, width)
    right = (xs.amax(1) - 0.5).floor().clamp(-1, width - 1)
    top = (ys.amin(1) - 0.5).ceil().clamp(0, height)
    bottom = (ys.amax(1) - 0.5).floor().clamp(-1, height - 1)
    columns, rows = (right - left + 1).clamp(min=0), (bottom - top + 1).clamp(min=0)
    is_drawn = (depth.amin(1) > NEAREST_DEPTH) & (columns * rows > 0) & triangles.isfinite().all(1)
    drawn = is_drawn.nonzero()[:, 0]
    boxes = torch.stack([left, top, columns, rows], dim=1)[drawn].long()
    triangles = triangles[drawn]
    image = drawn // len(faces) * (height * width)

    found = []
    for chunk in _chunks(boxes[:, 2] * boxes[:, 3]):
        local, pixel, nearness = _covered(triangles[chunk], boxes[chunk], width)
        found.append((drawn[chunk][local] % len(faces), pixel + image[chunk][local], nearness))
    winner = torch.full((points.shape[0] * height * width,), -1, dtype=torch.int64, device=points.device)
    if not found:
        return winner
    face, pixel, nearness = (torch.cat(parts) for parts in zip(*found, strict=True))
    nearest = points.new_zeros(winner.shape).scatter_reduce(0, pixel, nearness, "amax")
    is_nearest = nearness == nearest[pixel]
    face, pixel = face[is_nearest], pixel[is_nearest]
    return winner.scatter_reduce(0, pixel, face, "amin", include_self=False)


def _chunks(counts: Tensor):
    """Slices of triangles whose candidate counts add up to about a limit (a single larger one stands alone)."""
    if len(counts) == 0:
        return
    limit = CANDIDATES_ON_CPU if counts.device.type == "cpu" else CANDIDATES_ON_DEVICE
    chunk = (counts.cumsum(0) - 1) // limit
    start = 0
    for length in torch.unique_consecutive(chunk, return_counts=True)[1].tolist():
        yield slice(start, start + length)
        start += length


def _covered(triangles: Tensor, boxes: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels that triangles [T, 9] cover inside their boxes [T, 4] (left, top, columns, rows; pixels).

    Returns, per covered pixel, the triangle's row, the pixel's index in its image, and 1 / depth.
    """
    counts = boxes[:, 2] * boxes[:, 3]
    row = torch.repeat_interleave(torch.arange(len(counts), device=boxes.device), counts)
    local = torch.arange(len(row), device=boxes.device) - (counts.cumsum(0) - counts)[row]
    left, top, columns, _ = boxes[row].unbind(1)
    down = local // columns
    x, y = left + local - down * columns, top + down
    ax, ay, az, bx, by, bz, cx, cy, cz = triangles[row].unbind(1)
    px, py = x + 0.5, y + 0.5
    ax, ay, bx, by, cx, cy = ax - px, ay - py, bx - px, by - py, cx - px, cy - py
    edge_a, edge_b, edge_c = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
    area = edge_a + edge_b + edge_c
    inside = ((edge_a >= 0) & (edge_b >= 0) & (edge_c >= 0)) | ((edge_a <= 0) & (edge_b <= 0) & (edge_c <= 0))
    inside = (inside & (area != 0)).nonzero()[:, 0]
    nearness = ((edge_a / az + edge_b / bz + edge_c / cz) / area)[inside]
    return row[inside], (y * width + x)[inside], nearness


def _pixel_centres(pixel: Tensor, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """[P] flat indices of [B, H, W] -> [P, 2] pixel centres (x, y)."""
    in_image = pixel % (height * width)
    return torch.stack([in_image % width, in_image // width], dim=1).to(dtype) + 0.5


def _perspective_bary(corners: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Perspective-correct weights [P, 3] and depth [P] of triangles [P, 3, 3] at pixel centres [P, 2].

    Screen-space weights are linear in 1 / depth (Heckbert and Moreton 1991).
    """
    offset = corners[..., :2] - centres[:, None]
    following, last = offset[:, (1, 2, 0)], offset[:, (2, 0, 1)]
    edges = following[..., 0] * last[..., 1] - following[..., 1] * last[..., 0]  # [P, 3]
    by_depth = edges / corners[..., 2]
    total = by_depth.sum(dim=1, keepdim=True)
    return by_depth / total, edges.sum(dim=1) / total[:, 0]
