"""Closed lips: MakeHuman's lips rest a little apart, and teeth would shine through the slit."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

COLUMNS = np.arange(-0.024, 0.0241, 0.0015)  # metres to the subject's left on the neutral head: where lips are measured
RIM = 0.0035  # metres from the line of the mouth
LIP_DEPTH = (0.011, 0.005)  # metres behind the front of the lips, in the middle and at the corners
LEAST_JAW = 0.004  # metres by which the jaw parts upper and lower lip; nearer to the corners they are one
OVERLAP, WIDEST = 0.0003, 0.003  # metres: how far closed lips sink into each other; a wider slit is an open mouth
REACH = 0.010  # metres: how far from the rim the lips give way
ROUNDS = 3


def find_lips(
    neutral: np.ndarray, fine: np.ndarray, jaw: np.ndarray, fine_jaw: np.ndarray, fine_skin: np.ndarray
) -> dict:
    """lip_rims [2, C, R] fine vertices of the upper and the lower rim at each column, and lip_weights [2, N].

    neutral [N, 3] and fine [Nf, 3]: the head at rest; jaw [N], fine_jaw [Nf]: how far an open jaw moves each up, metres;
    fine_skin [Nf] bool: skin and inner mouth.
    """
    line = fine[fine_skin & (fine_jaw < -LEAST_JAW)]
    middle = line[np.abs(line[:, 0]) < 0.003]
    mouth_y = middle[middle[:, 2] > middle[:, 2].max() - 0.002, 1].max()
    rims, thresholds = ([], []), []
    for x in COLUMNS:
        beside = fine_skin & (np.abs(fine[:, 0] - x) < 0.0011) & (np.abs(fine[:, 1] - mouth_y) < 2 * RIM)
        lips = np.flatnonzero(beside)
        depth = np.interp(abs(x), (0.0, COLUMNS[-1]), LIP_DEPTH)
        lips = lips[fine[lips, 2] > fine[lips, 2].max() - depth]
        threshold = (fine_jaw[lips].min() + fine_jaw[lips].max()) / 2
        thresholds.append(threshold)
        for rim, is_own in zip(rims, (fine_jaw[lips] >= threshold, fine_jaw[lips] < threshold), strict=True):
            rim.append(lips[is_own])
    widest = max(len(rim) for rim in (*rims[0], *rims[1]))
    padded = np.array([[np.resize(rim, widest) for rim in side] for side in rims])
    is_lower = jaw < np.interp(neutral[:, 0], COLUMNS, thresholds)
    rim_points = fine[np.unique(padded)]
    distance = np.sqrt(np.square(neutral[:, None] - rim_points).sum(-1)).min(1)
    weight = (1 - np.clip(distance - 0.002, 0, None) / REACH).clip(0) ** 2 * (np.abs(neutral[:, 0]) < COLUMNS[-1])
    weights = np.stack([weight * ~is_lower, weight * is_lower]).astype(np.float32)
    return {"lip_rims": padded.astype(np.int32), "lip_weights": weights}


def seal_lips(vertices: Tensor, subdivide: Callable[[Tensor], Tensor], rims: Tensor, weights: Tensor, across: Tensor):
    """Vertices [N, 3] with lips that touch wherever a slit parts them; wide open mouths stay open.

    across [N]: where each vertex lies from right to left on the neutral head, metres.
    """
    columns = torch.as_tensor(COLUMNS, dtype=vertices.dtype, device=vertices.device)
    place = ((across - columns[0]) / (columns[1] - columns[0])).clamp(0, len(columns) - 1.001)
    low, share = place.long(), place - place.floor()
    for _ in range(ROUNDS):
        height = subdivide(vertices)[:, 1]
        slit = height[rims[0]].amin(1) - height[rims[1]].amax(1)
        wanted = torch.where(slit < WIDEST, slit + OVERLAP, torch.zeros_like(slit)).clamp(min=0)
        move = torch.lerp(wanted[low], wanted[low + 1], share) / 2
        vertices = vertices.clone()
        vertices[:, 1] += move * (weights[1] - weights[0])
    return vertices
