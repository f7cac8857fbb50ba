"""Small sums on arrays that hair of all kinds is made with."""

import numpy as np


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [..., n] as long as one; none of no length."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def rise(value, low: float, high: float):
    """Evenly from 0 at `low` to 1 at `high`."""
    return np.clip((value - low) / (high - low), 0.0, 1.0)


def spread(corners: np.ndarray, parts: int) -> np.ndarray:
    """[Q parts^2, 3] points all over quads [Q, 4, 3], so many along a side of each."""
    a, b = (each.ravel()[:, None] for each in np.meshgrid(*[(np.arange(parts) + 0.5) / parts] * 2))
    weights = np.concatenate([(1 - a) * (1 - b), a * (1 - b), a * b, (1 - a) * b], 1)  # [parts^2, 4]
    return np.einsum("pw,qwc->qpc", weights, corners).reshape(-1, 3)
