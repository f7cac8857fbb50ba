"""Whom landmarks suggest: the identity to expect of a face from what the landmarks of the mean head miss it by.

A detector pulls every face towards one that it knows, and errs on hundreds of landmarks together, so that least squares
over them mistake its habits for a person's shape. What such misses have meant is learnt instead: a ridge regression (Hoerl
& Kennard 1970) over photographs of heads whose shape is known (`train/expectation.py`).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..facemesh import EYE_CORNERS
from ..geometry.camera import Camera

WEIGHTS = Path(__file__).with_name("expectation.npz")
ARRAYS = ("usual", "directions", "weights", "mean")


@dataclass(frozen=True)
class Expectation:
    """usual [956]: what the mean head misses landmarks by; directions [956, D]: in which people differ from that, each of
    unit variance; weights [F, K]: of what `describe` says, to identity coefficients; mean [K] of those."""

    usual: Tensor
    directions: Tensor
    weights: Tensor
    mean: Tensor

    def __call__(self, misses: Tensor, facing: Tensor) -> Tensor:
        """Identity coefficients [S, K] expected after `misses` [S, 478, 2] of heads `facing` [S, 2] (see `upright`)."""
        return self.mean + describe((misses.flatten(1) - self.usual) @ self.directions, facing) @ self.weights


def describe(along: Tensor, facing: Tensor) -> Tensor:
    """[S, F] what is regressed on: misses along the directions [S, D], and how they change as the head turns [S, 2]."""
    across, up = facing[:, :1], facing[:, 1:]
    turns = torch.cat([across, up, across**2, up**2, across * up], 1)
    return torch.cat([along, along * across, along * across**2, turns], 1)


def upright(target: Tensor, camera: Camera, mean_landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """What landmarks [478, 2] of a photo are off those of the mean head [478, 3], [478, 2] in distances between the outer
    eye corners, and which way the head looks, [2] right and down, a unit vector's; both turned until the eyes are level."""
    right, left = target[EYE_CORNERS[0]], target[EYE_CORNERS[1]]
    across = (left - right) / (left - right).norm()
    level = torch.stack([across, torch.stack([-across[1], across[0]])])  # [2, 2]
    misses = (target - camera.project(mean_landmarks)[0, :, :2]) / (left - right).norm()
    looks = camera.view_from_world[0, :2, 2]  # the head's +z in the view
    return misses @ level.T, level @ looks


@cache
def load_expectation(device: torch.device) -> Expectation:
    """The one that is shipped."""
    with np.load(WEIGHTS) as stored:
        read = {name: torch.from_numpy(stored[name].astype(np.float32)).to(device) for name in ARRAYS}
    return Expectation(**read)
