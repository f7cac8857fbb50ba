"""`python -m id2r_core.train.glasses DATA`: learn to tell glasses (`glasses.py`) from the portraits of the training split.

`glasses.txt` names the portraits whose person wears some, as told by eye. Prints how many are told right that were left
out, ten parts in turn, and writes the weights.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from ..capture.sources import SPLITS, split_of
from ..errors import Id2rError, NoFace
from ..files import whole_file
from ..glasses import WEIGHTS, describe, eye_strip
from ..landmarks import detect_face
from ..photo import load_photo
from .alone import run_alone

WORN = Path(__file__).with_name("glasses.txt")
DECAY, PARTS = 0.3, 10


def train_glasses(data: Path, report: Callable[[str], None] = print) -> None:
    """Write the weights. data holds portraits/*.jpg. Raises Id2rError when it shows no face of the training split."""
    worn = set(WORN.read_text(encoding="utf-8").split())
    described = {}
    for path in sorted((data / "portraits").glob("*.jpg")):
        if split_of(path.stem) == SPLITS[0]:
            photo = load_photo(path)
            try:
                described[path.stem] = describe(eye_strip(photo, detect_face(photo)))
            except NoFace:
                report(f"{path.name}: no face")
    if not described:
        raise Id2rError(f"There are no portraits in '{data}'.", "Give the folder that holds portraits/*.jpg.")
    features, labels = np.stack(list(described.values())), np.array([name in worn for name in described])
    part = np.random.default_rng(0).permutation(len(labels)) % PARTS
    told = np.zeros(len(labels), bool)
    for left_out in range(PARTS):
        weights, bias = fit(features[part != left_out], labels[part != left_out])
        told[part == left_out] = features[part == left_out] @ weights + bias > 0
    report(f"{labels.sum()} of {len(labels)} wear glasses; {(told & ~labels).sum()} more are said to when left out, ")
    report(f"and {(labels & ~told).sum()} of them are overlooked.")
    weights, bias = fit(features, labels)
    with whole_file(WEIGHTS) as partial:
        np.savez_compressed(partial, weights=weights.astype(np.float16), bias=np.float32(bias))


def fit(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Logistic regression with a quadratic penalty, both classes counting alike: weights [D] and bias."""
    mean = features.mean(0)
    centred, sign = features - mean, np.where(labels, 1.0, -1.0)
    counts = np.where(labels, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (centred @ parameters[:-1] + parameters[-1])
        slope = -counts * sign / (1 + np.exp(margin))
        value = (counts * np.logaddexp(0, -margin)).sum() + DECAY / 2 * (parameters[:-1] ** 2).sum()
        return value, np.append(centred.T @ slope + DECAY * parameters[:-1], slope.sum())

    found = minimize(loss, np.zeros(features.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return found[:-1], float(found[-1] - mean @ found[:-1])


if __name__ == "__main__":
    sys.exit(run_alone("glasses", __doc__.splitlines()[0], train_glasses))
