"""Heads with the shapes of scanned people: ICT-FaceKit (Li et al., "Learning Formation of Physically-Based Face
Attributes", 2020; MIT), whose mean and modes are laid onto the mesh of our head."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import Id2rError
from ..geometry.mesh import similarity
from ..geometry.nearest import NearestOnTriangles
from ..head.model import HeadModel
from .register import SURFACE_COUNT, carry_eyes, non_rigid, spread_points
from .sources import SPLITS

CENTIMETRE = 0.01
OUTSIDE = ("face_narrow", "face_outer", "head_neck")  # parts that a scanner sees
FIRST_INNER = 17  # of the 68 landmarks; those before it are the outline, which slides
# MediaPipe's landmark for each of the Multi-PIE landmarks 17 to 67.
MEDIAPIPE = (
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305, 33, 160, 158, 133, 153, 144,
    362, 385, 387, 263, 373, 380, 61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
NEIGHBOURS = 12  # triangles that are looked at for the nearest point
STREAM = 77  # of random numbers


def read_scanned(data_dir: Path, *names: str) -> list[np.ndarray]:
    """Arrays of the model's file. Raises Id2rError when the data directory lacks it."""
    path = Path(data_dir) / "ict" / "ict_facekit.npz"
    if not path.is_file():
        raise Id2rError(f"'{data_dir}' holds no ict/ict_facekit.npz.", "Give the directory of training data.")
    with np.load(path) as model:
        return [model[name] for name in names]


class ScannedShapes:
    """Random people of the model, as heads of our mesh."""

    def __init__(self, data_dir: Path, head: HeadModel):
        neutral, quads, part, parts, chosen, basis = read_scanned(
            data_dir, "neutral", "faces", "face_part", "part_names", "landmarks68", "identity_basis"
        )
        quads = quads[np.isin(part, [list(parts).index(name) for name in OUTSIDE])].astype(int)
        triangles = np.concatenate([quads[:, :3], quads[quads[:, 3] >= 0][:, [0, 2, 3]]])
        vertices = CENTIMETRE * neutral.astype(np.float64)
        ours = head.neutral_landmarks[list(MEDIAPIPE)].double().numpy(force=True)
        scale, turn, shift = similarity(ours, vertices[chosen[FIRST_INNER:]])
        vertices = scale * vertices @ turn.T + shift
        places = np.zeros((SURFACE_COUNT, 3))
        places[list(MEDIAPIPE)] = vertices[chosen[FIRST_INNER:]]
        known = np.isin(np.arange(SURFACE_COUNT), MEDIAPIPE)
        laid = non_rigid(head, spread_points(vertices.astype(np.float32), triangles), places, known)
        triangle, weight = NearestOnTriangles(vertices[triangles], NEIGHBOURS)(laid)
        basis = scale * CENTIMETRE * basis.astype(np.float32) @ turn.T.astype(np.float32)  # [M, V, 3]
        modes = (basis[:, triangles[triangle]] * weight[..., None].astype(np.float32)).sum(2)
        for each in modes:
            carry_eyes(head, each, laid)
        self._head = head
        self._mean = torch.from_numpy(laid.astype(np.float32))
        self._modes = torch.from_numpy(modes)

    def draw(self, indices, split: str) -> Tensor:
        """Vertices [S, N, 3] in metres, in the head frame, of the people with these numbers: coefficients N(0, 1), as the
        model's authors draw them."""
        dice = [np.random.default_rng((STREAM, SPLITS.index(split), int(index))) for index in indices]
        drawn = np.stack([each.standard_normal(len(self._modes)) for each in dice]).astype(np.float32)
        people = self._mean + torch.tensordot(torch.from_numpy(drawn), self._modes, 1)
        return people - torch.stack([self._head.eyes(person)[0].mean(0) for person in people])[:, None]
