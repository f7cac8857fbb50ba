"""A full beard as strands: short on the cheeks, as long as in the photo at the chin, hanging down.

Plain numbers, no Blender. Blender's axes: z up, the face looks along -y.
"""

from collections.abc import Generator

import numpy as np

from .arrays import unit
from .groom import Groom, Scalp

BELOW, BEFORE = 0.0, 0.06  # metres above the eyes, and behind them: what grows below and before that is beard
POINTS = 6  # of a strand
RADIUS, TIP = 0.00007, 0.35  # metres at the root; at the tip as a share of it
UPPER_LIP, CHIN = -0.064, -0.105  # metres above the eyes
MOUSTACHE, CHEEK = 0.006, 0.3  # metres at most; share of the chin's length
UNEVEN = 0.55, 1.1  # shortest and longest of the length that it should have
AT_EDGE = 0.4  # of it, where the beard only begins
STAND, HANG, CURL = 0.45, 0.75, 0.35  # outwards, downwards at the root, and more of it towards the tip
LOCKS, STRAY, LOCK_SIZE = 0.25, 0.25, 260.0  # how far neighbours lean alike, and each alone; waves in 2 pi metres
DEPTH = 0.0008  # metres below the mesh
SEED = 7


def is_beard(scalp: Scalp) -> np.ndarray:
    """[H] which roots are of the beard and not of the head's hair."""
    return (scalp.roots[:, 2] < BELOW) & (scalp.roots[:, 1] < BEFORE)


def grow_beard(scalp: Scalp) -> Generator[None, None, Groom]:
    """The strands of a beard out of its roots, whose height is the length at the chin."""
    random = np.random.default_rng(SEED)
    height = scalp.roots[:, 2]
    low = ((UPPER_LIP - height) / (UPPER_LIP - CHIN)).clip(0.0, 1.0)
    length = scalp.height * (CHEEK + (1.0 - CHEEK) * low)
    length = np.where(height > UPPER_LIP, np.minimum(length, MOUSTACHE), length)
    length = length * random.uniform(*UNEVEN, len(height)) * (AT_EDGE + (1.0 - AT_EDGE) * scalp.grown)
    yield
    waves = LOCK_SIZE * random.normal(size=(3, 3))
    lean = LOCKS * np.sin(scalp.roots @ waves) + STRAY * random.normal(size=scalp.roots.shape)
    aside = np.sign(scalp.roots[:, 0]) * (height > UPPER_LIP) * 0.8  # a moustache parts under the nose
    down = unit(scalp.along(np.stack([aside, 0.0 * aside, -np.ones(len(aside))], -1)) + lean)
    yield
    s = np.linspace(0.0, 1.0, POINTS)[None, :, None]
    fall = np.array([0.0, 0.0, -CURL]) * s**2
    path = STAND * scalp.normal[:, None] * s * (1.0 - 0.4 * s) + HANG * down[:, None] * s + fall
    points = (scalp.roots - DEPTH * scalp.normal)[:, None] + length[:, None, None] * path
    taper = np.linspace(1.0, TIP, POINTS)
    return Groom(
        points.astype(np.float32),
        (RADIUS * taper).astype(np.float32),
        scalp.uv,
        np.ones(points.shape[:2], np.float32),
    )
