"""Random numbers for a batch in which every subject has a generator of its own, so that batches can be cut anywhere."""

from collections.abc import Iterator

import numpy as np


class Dice:
    """One generator a subject; every draw returns one row a subject."""

    def __init__(self, keys):
        """keys: for each subject the whole numbers that its generator is seeded with."""
        self._generators = [np.random.default_rng(key) for key in keys]

    def __len__(self) -> int:
        return len(self._generators)

    def __iter__(self) -> Iterator[np.random.Generator]:
        return iter(self._generators)

    def uniform(self, low: float, high: float, *shape: int) -> np.ndarray:
        """float32 [S, *shape], even in [low, high)."""
        return np.stack([one.uniform(low, high, shape) for one in self._generators]).astype(np.float32)

    def normal(self, deviation: float, *shape: int, cut: float = 2.5) -> np.ndarray:
        """float32 [S, *shape], normal about 0, cut at `cut` standard deviations."""
        drawn = np.stack([one.standard_normal(shape) for one in self._generators])
        return (drawn.clip(-cut, cut) * deviation).astype(np.float32)

    def integers(self, count: int) -> np.ndarray:
        """int64 [S] in [0, count)."""
        return np.array([one.integers(count) for one in self._generators])
