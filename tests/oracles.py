"""The slow, obvious versions that the fast ones are compared with."""

import numpy as np
import torch
from scipy.optimize import minimize


def rasterize_naively(points: np.ndarray, faces: np.ndarray, height: int, width: int):
    """One image, pixel by pixel and triangle by triangle: which triangle does the ray through the centre hit first?

    points [N, 3] (x pixel, y pixel, depth) -> face [H, W], bary [H, W, 3], depth [H, W]; see `ray_triangle`.
    """
    face = np.full((height, width), -1, dtype=np.int64)
    bary = np.zeros((height, width, 3))
    depth = np.full((height, width), np.inf)
    for y in range(height):
        for x in range(width):
            for index, corners in enumerate(points[faces]):
                if corners[:, 2].min() <= 0:
                    continue
                weights, along = ray_triangle(torch.tensor(corners), torch.tensor([x + 0.5, y + 0.5]).double())
                if bool((weights >= 0).all()) and along < depth[y, x]:
                    face[y, x], bary[y, x], depth[y, x] = index, weights.numpy(), along
    return face, bary, depth


def ray_triangle(corners: torch.Tensor, pixel: torch.Tensor):
    """Weights [3] and depth of the plane of `corners` [3, 3] (x, y, depth) on the ray through `pixel` [2].

    In the 3D view frame the ray is t * (px, py, 1) and the hit is a weighted sum of corners, so that
    corners^T (weights / t) = ray is one linear system of three equations.
    """
    depth = corners[:, 2:]
    in_view = torch.cat([corners[:, :2] * depth, depth], dim=1)
    ray = torch.cat([pixel, pixel.new_ones(1)])
    scaled = torch.linalg.solve(in_view.T, ray)
    return scaled / scaled.sum(), 1 / scaled.sum()


def catmull_clark_naively(vertices: np.ndarray, quads: np.ndarray) -> dict:
    """Catmull-Clark by the book, with dictionaries. Keys: ("vertex", v), ("edge", a, b) with a < b, ("face", q)."""
    centres = {q: vertices[list(quad)].mean(0) for q, quad in enumerate(quads)}
    quads_of_edge, quads_of_vertex = {}, {}
    for q, quad in enumerate(quads):
        for a, b in zip(quad, np.roll(quad, -1), strict=True):
            quads_of_edge.setdefault((min(a, b), max(a, b)), []).append(q)
            quads_of_vertex.setdefault(a, []).append(q)
    points = {("face", q): centre for q, centre in centres.items()}
    for (a, b), around in quads_of_edge.items():
        middle = (vertices[a] + vertices[b]) / 2
        is_inner = len(around) == 2
        points["edge", a, b] = (middle + (centres[around[0]] + centres[around[1]]) / 2) / 2 if is_inner else middle
    for vertex, around in quads_of_vertex.items():
        edges = [edge for edge in quads_of_edge if vertex in edge]
        rim = [edge for edge in edges if len(quads_of_edge[edge]) != 2]
        if len(rim) == 2:
            ends = [vertices[a if b == vertex else b] for a, b in rim]
            points["vertex", vertex] = (ends[0] + 6 * vertices[vertex] + ends[1]) / 8
        elif rim:
            points["vertex", vertex] = vertices[vertex]
        else:
            n = len(around)
            mean_centre = np.mean([centres[q] for q in around], axis=0)
            mean_middle = np.mean([(vertices[a] + vertices[b]) / 2 for a, b in edges], axis=0)
            points["vertex", vertex] = (mean_centre + 2 * mean_middle + (n - 3) * vertices[vertex]) / n
    return points


def distance_to_triangle(point, corners):
    """From a point [3] to corners [3, 3], by numerical search over the triangle."""

    def squared(weights):
        u, v = weights
        return np.square(corners[0] + u * (corners[1] - corners[0]) + v * (corners[2] - corners[0]) - point).sum()

    inside = [{"type": "ineq", "fun": lambda w: 1 - w[0] - w[1]}]
    starts = [(0.1, 0.1), (0.8, 0.1), (0.1, 0.8)]
    options = {"ftol": 1e-14}
    found = [minimize(squared, s, bounds=[(0, 1)] * 2, constraints=inside, options=options).fun for s in starts]
    return np.sqrt(min(found))
