"""How far the shapes of virtual people are from those of scanned ones (ICT-FaceKit), as a table.

    python -m id2r_core capture shapes --data DATA

Both are measured by the 51 inner landmarks of the Multi-PIE scheme, rigidly aligned, never scaled. Where a landmark
lies exactly differs a little between the two meshes, so spreads are compared, not means.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from ..errors import Id2rError
from ..head.model import HeadModel, load_head
from .pigment import build_pigment_table
from .register import similarity
from .subjects import Casting

COUNT = 1000
FIRST_INNER = 17  # of the 68; the outline slides
# MediaPipe's landmark for each of the Multi-PIE landmarks 17 to 67.
MEDIAPIPE = (
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305, 33, 160, 158, 133, 153, 144,
    362, 385, 387, 263, 373, 380, 61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
# Distances between two of the 68, in the words of anthropometry.
DISTANCES = {
    "outer eye corners": (36, 45), "inner eye corners": (39, 42), "eye, width": (36, 39), "nose, length": (27, 33),
    "nose, width": (31, 35), "nose, projection": (33, 30), "mouth, width": (48, 54), "lips, height": (51, 57),
    "nose to mouth": (33, 51), "brow to eye": (19, 37),
}  # fmt: skip


def scanned_landmarks(data_dir: Path, count: int, seed: int = 0) -> np.ndarray:
    """[count, 51, 3] metres, of random ICT-FaceKit people: coefficients N(0, 1), as its authors draw them."""
    path = Path(data_dir) / "ict" / "ict_facekit.npz"
    if not path.is_file():
        raise Id2rError(f"'{data_dir}' holds no ict/ict_facekit.npz.", "Give the directory of training data.")
    with np.load(path) as model:
        chosen = model["landmarks68"][FIRST_INNER:]
        neutral, basis = model["neutral"][chosen], model["identity_basis"][:, chosen].astype(np.float32)
    coefficients = np.random.default_rng(seed).standard_normal((count, len(basis))).astype(np.float32)
    return 0.01 * (neutral + np.tensordot(coefficients, basis, 1))


def virtual_landmarks(head: HeadModel, count: int, seed: int = 0) -> np.ndarray:
    """[count, 51, 3] metres, of the stage's people at rest."""
    casting, rows = Casting(head, build_pigment_table(), seed, "train"), []
    for start in range(0, count, 100):
        identity = casting.cast(range(start, min(start + 100, count)), "cpu").identity
        vertices = head.shape(identity, torch.zeros(len(identity), len(head.expression_names)))
        rows.append(head.landmarks(head.subdivide(vertices))[:, list(MEDIAPIPE)].numpy())
    return np.concatenate(rows)


def statistics(points: np.ndarray) -> dict[str, float]:
    """Spreads of [S, 51, 3] metres: millimetres, per cent, and the share of the variance that few components hold."""
    aligned = align(points)
    offset = (aligned - aligned.mean(0)).reshape(len(points), -1)
    size = np.sqrt(((points - points.mean(1, keepdims=True)) ** 2).sum((1, 2)))
    variance = np.linalg.svd(offset, compute_uv=False) ** 2
    found = {
        "landmark, rms mm": float(1e3 * np.sqrt((offset**2).sum(1).mean() / points.shape[1])),
        "size, %": float(100 * size.std() / size.mean()),
        "asymmetry, rms mm": float(1e3 * np.sqrt(_asymmetry(aligned).mean())),
    }
    found |= {f"variance in {k} components, %": float(100 * variance[:k].sum() / variance.sum()) for k in (5, 10, 20)}
    for name, (a, b) in DISTANCES.items():
        length = np.linalg.norm(points[:, a - FIRST_INNER] - points[:, b - FIRST_INNER], axis=1)
        found[f"{name}, %"] = float(100 * length.std() / length.mean())
    return found


def align(points: np.ndarray) -> np.ndarray:
    """Turned and moved onto their mean, without scaling (generalised Procrustes, three rounds)."""
    moved = points - points.mean(1, keepdims=True)
    for _ in range(3):
        mean = moved.mean(0)
        moved = np.stack([each @ similarity(mean, each)[0].T for each in moved])
    return moved


# Pairs of the 68 that mirror each other, the subject's right first.
MIRRORED = (
    (17, 26), (18, 25), (19, 24), (20, 23), (21, 22), (31, 35), (32, 34), (36, 45), (37, 44), (38, 43), (39, 42), (40, 47),
    (41, 46), (48, 54), (49, 53), (50, 52), (59, 55), (58, 56), (60, 64), (61, 63), (67, 65),
)  # fmt: skip


def _asymmetry(aligned: np.ndarray) -> np.ndarray:
    """[S] mean square distance of landmarks to their mirror images' places, less what the mean face has."""
    right, left = (np.array([pair[k] for pair in MIRRORED]) - FIRST_INNER for k in range(2))
    difference = aligned[:, right] * [-1, 1, 1] - aligned[:, left]
    return ((difference - difference.mean(0)) ** 2).sum(2).mean(1)


def main(argv: list[str]) -> int:
    """`capture shapes --data DATA`."""
    parser = argparse.ArgumentParser(prog="id2r_core capture shapes", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the directory of training data")
    parser.add_argument("--count", type=int, default=COUNT, help="people of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    scanned = statistics(scanned_landmarks(given.data, given.count, given.seed))
    virtual = statistics(virtual_landmarks(load_head(), given.count, given.seed))
    print("| spread over people | scanned (ICT) | virtual | ratio |\n|---|---|---|---|")
    for name, value in scanned.items():
        print(f"| {name} | {value:.2f} | {virtual[name]:.2f} | {virtual[name] / value:.2f} |")
    return 0
