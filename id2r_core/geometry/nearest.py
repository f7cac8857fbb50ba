"""The nearest point of many triangles, found among those whose centres are nearest."""

import numpy as np
import torch
from scipy.spatial import cKDTree

from .mesh import closest_on_triangles


class NearestOnTriangles:
    """Looks points up on triangles [F, 3 corners, 3]; `neighbours`: how many of them are looked at."""

    def __init__(self, corners: np.ndarray, neighbours: int):
        self._corners = corners.astype(np.float64)
        self._centres = cKDTree(self._corners.mean(1))
        self._count = min(neighbours, len(corners))

    def __call__(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which triangle [P] the point nearest to each of points [P, 3] lies in, and its barycentric weights [P, 3]."""
        points = points.astype(np.float64)
        near = self._centres.query(points, k=self._count)[1].reshape(len(points), self._count)
        corners = self._corners[near]  # [P, K, 3, 3]
        weights = closest_on_triangles(torch.from_numpy(points)[:, None], torch.from_numpy(corners)).numpy()
        gap = np.linalg.norm((corners * weights[..., None]).sum(2) - points[:, None], axis=-1)
        row, best = np.arange(len(points)), gap.argmin(1)
        return near[row, best], weights[row, best]
