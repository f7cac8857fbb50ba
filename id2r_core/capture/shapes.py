"""How far the shapes of virtual people are from those of scanned ones (ICT-FaceKit), and the shape modes fitted to them.

    python -m id2r_core capture shapes --data DATA [--fit]

Both are measured by the 51 inner landmarks of the Multi-PIE scheme, rigidly aligned, never scaled. Where a landmark
lies differs between the two meshes (the brows' by a centimetre), so spreads in millimetres are compared, not means.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from ..geometry.mesh import similarity
from ..head.model import HeadModel, load_head
from ..pigment import build_pigment_table
from .scanned import FIRST_INNER, MEDIAPIPE, read_scanned
from .subjects import ACTIVE_SHARE, ASYMMETRY, SHAPE_MODES, Casting

COUNT = 1000
MODES, DISTANCE_WEIGHT, DAMPING = 12, 4.0, 3e-7  # of the fit; damping in metres^2 of a morph's standard deviation
LEAST = 5e-4  # smaller coefficients are left out of the file
PROBE = 0.2  # coefficient at which a morph's direction is measured
# Distances between two of the 68, in the words of anthropometry.
DISTANCES = {
    "outer eye corners": (36, 45), "inner eye corners": (39, 42), "eye, width": (36, 39), "nose, length": (27, 33),
    "nose, width": (31, 35), "nose, projection": (33, 30), "mouth, width": (48, 54), "lips, height": (51, 57),
    "nose to mouth": (33, 51), "brow to eye": (19, 37),
}  # fmt: skip


def scanned_landmarks(data_dir: Path, count: int, seed: int = 0) -> np.ndarray:
    """[count, 51, 3] metres, of random ICT-FaceKit people: coefficients N(0, 1), as its authors draw them."""
    chosen, neutral, basis = read_scanned(data_dir, "landmarks68", "neutral", "identity_basis")
    chosen = chosen[FIRST_INNER:]
    neutral, basis = neutral[chosen], basis[:, chosen].astype(np.float32)
    coefficients = np.random.default_rng(seed).standard_normal((count, len(basis))).astype(np.float32)
    return 0.01 * (neutral + np.tensordot(coefficients, basis, 1))


def virtual_landmarks(head: HeadModel, count: int, seed: int = 0) -> np.ndarray:
    """[count, 51, 3] metres, of the stage's people at rest."""
    return landmarks_of(head, Casting(head, build_pigment_table(), seed, "train").cast(range(count), "cpu").identity)


def landmarks_of(head: HeadModel, identity: torch.Tensor) -> np.ndarray:
    """[S, 51, 3] metres, of heads at rest with coefficients [S, K]."""
    rows = []
    for some in identity.split(100):
        vertices = head.shape(some, torch.zeros(len(some), len(head.expression_names)))
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
    return found | {f"{name}, mm": float(1e3 * length.std()) for name, length in lengths(points).items()}


def lengths(points: np.ndarray) -> dict[str, np.ndarray]:
    """The DISTANCES of [S, 51, 3] metres, [S] each."""
    return {
        name: np.linalg.norm(points[:, a - FIRST_INNER] - points[:, b - FIRST_INNER], axis=1)
        for name, (a, b) in DISTANCES.items()
    }


def correlation_error(points: np.ndarray, wanted: np.ndarray) -> float:
    """Root mean square difference of the correlations among the distances of two populations."""
    one, other = (np.corrcoef(np.stack(list(lengths(people).values()))) for people in (points, wanted))
    return float(np.sqrt(((one - other)[np.triu_indices(len(one), 1)] ** 2).mean()))


def fit_modes(casting: Casting, head: HeadModel, scanned: np.ndarray) -> np.ndarray:
    """Shape modes [MODES, P] of the casting's morph pairs with which its people vary together as scanned ones do.

    From the landmarks' covariance of `scanned` [S, 51, 3] goes what ancestry, age and sex and the single morphs explain;
    the largest components of the rest are made from morphs by damped least squares, in which the DISTANCES weigh more
    and get no more spread than they lack.
    """
    first = np.array([positive for _, positive, _ in casting.pairs])
    scale = casting.sigma[first]
    bare, moves = _morph_moves(casting, head)
    people = align(bare)
    moves = moves @ _without_rigid(people.mean(0))  # [P, 153]
    sides = scale[:, None] * moves
    own = casting.beside[first][:, None] * sides
    stems = np.array([stem for stem, _, _ in casting.pairs])
    both_sides = np.stack([own[stems == stem].sum(0) for stem in np.unique(stems)])
    aligned = align(scanned)
    rest = np.cov(aligned.reshape(len(aligned), -1).T) - np.cov(people.reshape(len(people), -1).T)
    rest = rest - ACTIVE_SHARE * both_sides.T @ both_sides - ASYMMETRY**2 * sides.T @ sides
    variance, direction = np.linalg.eigh(rest)
    wanted = direction[:, : -MODES - 1 : -1] * np.sqrt(variance[: -MODES - 1 : -1].clip(0))  # [153, MODES]
    able = np.concatenate([moves.T, DISTANCE_WEIGHT * _length_gradients(people.mean(0)) @ moves.T]) * scale
    longer = _length_gradients(aligned.mean(0)) @ wanted
    have = np.array([now.var() for now in lengths(bare).values()]) + (
        _length_gradients(people.mean(0)) @ both_sides.T
    ) ** 2 @ np.full(len(both_sides), ACTIVE_SHARE)
    lack = np.array([length.var() for length in lengths(scanned).values()]) - have
    longer *= np.sqrt(lack.clip(0) / (longer**2).sum(1)).clip(max=1)[:, None]
    asked = np.concatenate([wanted, DISTANCE_WEIGHT * longer])
    solved = np.linalg.solve(able.T @ able + DAMPING * np.eye(len(scale)), able.T @ asked)
    return (scale[:, None] * solved).T


def _morph_moves(casting: Casting, head: HeadModel) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks [COUNT / 2, 51, 3] of people without any morph of a pair, and how each pair moves them [P, 153]."""
    pairs = [index for _, positive, negative in casting.pairs for index in (positive, negative)]
    bare = casting.cast(range(COUNT // 2), "cpu").identity
    bare[:, pairs] = 0
    probes = bare.mean(0).repeat(len(pairs), 1)
    probes[range(len(pairs)), pairs] = PROBE
    found = landmarks_of(head, probes).reshape(len(casting.pairs), 2, -1)
    return landmarks_of(head, bare), (found[:, 0] - found[:, 1]) / (2 * PROBE)


def _without_rigid(mean: np.ndarray) -> np.ndarray:
    """[153, 153], which takes moves and small turns about the mean [51, 3] out of displacements."""
    axes = np.eye(3)
    moves = [np.tile(axis, (len(mean), 1)) for axis in axes] + [np.cross(axis, mean) for axis in axes]
    basis = np.linalg.qr(np.stack([move.ravel() for move in moves], axis=1))[0]
    return np.eye(mean.size) - basis @ basis.T


def _length_gradients(mean: np.ndarray) -> np.ndarray:
    """[distances, 153] how the DISTANCES of the mean [51, 3] grow with its coordinates."""
    gradients = np.zeros((len(DISTANCES), *mean.shape))
    for gradient, (a, b) in zip(gradients, DISTANCES.values(), strict=True):
        along = mean[a - FIRST_INNER] - mean[b - FIRST_INNER]
        gradient[a - FIRST_INNER] = along / np.linalg.norm(along)
        gradient[b - FIRST_INNER] = -gradient[a - FIRST_INNER]
    return gradients.reshape(len(gradients), -1)


def write_modes(casting: Casting, modes: np.ndarray, path: Path) -> None:
    """Modes [M, P] as the file that casting reads, with what its licence asks to be kept."""
    names = [casting.identity_names[positive] for _, positive, _ in casting.pairs]
    about = {
        "about": "Shape modes of people in MakeHuman's morphs, fitted by `id2r_core capture shapes --fit`.",
        "fitted_to": "ICT-FaceKit, MIT License, Copyright (c) 2020 USC Institute for Creative Technologies",
        "modes": [
            {name: round(float(value), 4) for name, value in zip(names, mode, strict=True) if abs(value) >= LEAST}
            for mode in modes
        ],
    }
    path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def align(points: np.ndarray) -> np.ndarray:
    """Turned and moved onto their mean, without scaling (generalised Procrustes, three rounds)."""
    moved = points - points.mean(1, keepdims=True)
    for _ in range(3):
        mean = moved.mean(0)
        moved = np.stack([each @ similarity(mean, each)[1].T for each in moved])
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
    parser.add_argument("--fit", action="store_true", help="fit the shape modes of casting anew before")
    given = parser.parse_args(argv)
    head, scanned = load_head(), scanned_landmarks(given.data, given.count, given.seed)
    if given.fit:
        casting = Casting(head, build_pigment_table(), given.seed, "train")
        write_modes(casting, fit_modes(casting, head, scanned), SHAPE_MODES)
    people = virtual_landmarks(head, given.count, given.seed)
    virtual = statistics(people)
    print("| spread over people | scanned (ICT) | virtual | ratio |\n|---|---|---|---|")
    for name, value in statistics(scanned).items():
        print(f"| {name} | {value:.2f} | {virtual[name]:.2f} | {virtual[name] / value:.2f} |")
    print(f"Correlations among the distances differ by {correlation_error(people, scanned):.2f} (rms).")
    return 0
