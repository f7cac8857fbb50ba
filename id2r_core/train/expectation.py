"""`python -m id2r_core.train.expectation DATA`: learn whom landmarks suggest (`head/expectation.py`).

Photographs of virtual people of the training split, some with the shapes of scanned ones; on each the landmarks are detected
as on a photo. Prints how far the expected heads of people of the validation split are from the true ones, and writes the
weights. About an hour on two CPU cores.
"""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..capture.scanned import ScannedShapes
from ..capture.stage import CaptureStage
from ..errors import NoFace
from ..files import whole_file
from ..geometry.mesh import similarity
from ..head.expectation import ARRAYS, WEIGHTS, Expectation, describe
from ..head.fit import see_average
from ..head.model import HeadModel, load_head
from ..landmarks import detect_face
from ..photo import Photo
from .alone import run_alone

SIZE = 448  # pixels of a photograph
VIRTUAL, SCANNED, HELD_OUT = 2400, 900, 100  # people to learn from, of either kind; of each kind to test with
AT_ONCE = 10  # people a task of a process
DIRECTIONS, RIDGE = 100, 0.03
MORPHS_FOLLOW, FOLLOWS, EVERY = 2e-8, 4, 4  # of the fit of morphs to scanned shapes: prior, rounds, vertices looked at
MILLIMETRES = 1000.0


@dataclass(frozen=True)
class Seen:
    """What photographs of S people have shown: misses [S, 478, 2] and facing [S, 2] as `see_average` gives them; shape
    [S, N, 3], the true head at rest; identity [S, K], its coefficients, or those nearest to it."""

    misses: Tensor
    facing: Tensor
    shape: Tensor
    identity: Tensor


def train_expectation(data: Path, workers: int, report: Callable[[str], None] = print) -> None:
    """Write the weights. data: the directory of training data. Raises Id2rError when it lacks what the stage needs."""
    model = load_head()
    with ProcessPoolExecutor(workers, initializer=_open, initargs=(data,)) as processes:
        look = partial(_look, processes, model, report)
        virtual, scanned = look("train", False, VIRTUAL), look("train", True, SCANNED)
        held_out = {"virtual": look("validation", False, HELD_OUT), "scanned": look("validation", True, HELD_OUT)}
    people = [each for seen in (virtual, scanned) for each in (seen, _mirrored(seen, model))]
    expectation = learn(
        *(torch.cat([getattr(each, name) for each in people]) for name in ("misses", "facing", "identity"))
    )
    for kind, seen in held_out.items():
        expected = _at_rest(model, expectation(seen.misses, seen.facing))
        average = _at_rest(model, model.identity_mean[None]).expand_as(expected)
        own, mean = (_apart(heads, seen.shape, model) for heads in (expected, average))
        report(f"{kind}: expected heads are {own:.2f} mm off at the face's vertices, the average one {mean:.2f} mm.")
    with whole_file(WEIGHTS) as partial_file:
        arrays = {name: getattr(expectation, name).numpy().astype(np.float16) for name in ARRAYS}
        np.savez_compressed(partial_file, **arrays)


def learn(misses: Tensor, facing: Tensor, identity: Tensor) -> Expectation:
    """Ridge regression of identity [S, K] on what `expectation.describe` makes of misses [S, 478, 2] and facing [S, 2]."""
    flat, facing, identity = misses.flatten(1).double(), facing.double(), identity.double()
    usual = flat.mean(0)
    _, spread, directions = torch.linalg.svd(flat - usual, full_matrices=False)
    directions = directions[:DIRECTIONS].T / (spread[:DIRECTIONS] / len(flat) ** 0.5)
    said = describe((flat - usual) @ directions, facing)
    centre, scale = said.mean(0), said.std(0)
    said = (said - centre) / scale
    normal = said.T @ said / len(said) + RIDGE * torch.eye(said.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(normal, said.T @ (identity - identity.mean(0)) / len(said)) / scale[:, None]
    mean = identity.mean(0) - centre @ weights
    return Expectation(usual.float(), directions.float(), weights.float(), mean.float())


# ---- photographs, in processes of their own ----


def _open(data: Path) -> None:
    """What a process needs for every task."""
    global _stages, _shapes
    torch.set_num_threads(1)
    model = load_head()
    _stages = {split: CaptureStage(data, SIZE, split=split, head=model) for split in ("train", "validation")}
    _shapes = ScannedShapes(data, model)


def _photograph(split: str, scanned: bool, indices: Sequence[int]) -> list[tuple[Tensor, ...]]:
    """Misses, facing, shape and identity of each of the people whose face is found."""
    stage = _stages[split]
    subjects = stage.subjects(indices)
    if scanned:
        at_rest = _shapes.draw(indices, split)
        identity = nearest_identity(at_rest, stage.head)
    else:
        identity = subjects.identity
        at_rest = _at_rest(stage.head, identity)
    seen = []
    for image, shape, each in zip(stage.portraits(subjects, at_rest, take=1), at_rest, identity, strict=True):
        photo = Photo(srgb=image.permute(1, 2, 0).contiguous().numpy(), name="a virtual photograph")
        try:
            seen.append((*see_average(photo, detect_face(photo), stage.head), shape, each))
        except NoFace:
            continue  # turned too far, or too dark: nobody can be expected then
    return seen


def _look(processes: ProcessPoolExecutor, model: HeadModel, report, split: str, scanned: bool, count: int) -> Seen:
    tasks = [range(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE)]
    rows = []
    for number, found in enumerate(processes.map(partial(_photograph, split, scanned), tasks)):
        rows += found
        if number % 10 == 9:
            report(f"{split}, {'scanned' if scanned else 'virtual'}: {len(rows)} faces")
    return Seen(*(torch.stack(column).detach() for column in zip(*rows, strict=True)))


# ---- shapes ----


def nearest_identity(shapes: Tensor, model: HeadModel) -> Tensor:
    """Coefficients [S, K] of heads most like shapes [S, N, 3], sizes apart, among likely people."""
    chosen = _face(model)[::EVERY]
    basis = model.identity[:, chosen].flatten(1).T.double()  # [3 P, K]
    precision = MORPHS_FOLLOW * model.identity_precision.double()
    mean, rest = model.identity_mean.double(), model.neutral[chosen].double()
    system = basis.T @ basis / len(basis) + precision
    found = mean.expand(len(shapes), -1)
    for _ in range(FOLLOWS):
        now = rest + (found @ basis.T).unflatten(1, (-1, 3))
        target = torch.stack(
            [_laid_on(shape, each) for shape, each in zip(shapes[:, chosen].double(), now, strict=True)]
        )
        right = (target - rest).flatten(1) @ basis / len(basis) + precision @ mean
        found = torch.linalg.solve(system, right.T).T
    return found.float()


def _at_rest(model: HeadModel, identity: Tensor) -> Tensor:
    """Vertices [S, N, 3] of heads with coefficients [S, K]."""
    return model.shape(identity, torch.zeros(len(identity), len(model.expression)))


def _laid_on(points: Tensor, target: Tensor) -> Tensor:
    """Points [P, 3] after the similarity that brings them nearest to target [P, 3]."""
    scale, turn, shift = similarity(target.numpy(), points.numpy())
    return scale * points @ torch.from_numpy(turn.T) + torch.from_numpy(shift)


def _face(model: HeadModel) -> Tensor:
    """Numbers [P] of the coarse vertices of the face."""
    return (model.regions["face"][: len(model.neutral)] > 0.5).nonzero()[:, 0]


def _apart(heads: Tensor, truth: Tensor, model: HeadModel) -> float:
    """Mean distance in millimetres of the face's vertices of heads to those of truth [S, N, 3], similarities apart."""
    face = _face(model)
    pairs = zip(heads[:, face].double(), truth[:, face].double(), strict=True)
    return MILLIMETRES * float(
        torch.stack([(_laid_on(one, other) - other).norm(dim=-1).mean() for one, other in pairs]).mean()
    )


# ---- mirror images ----


def _mirrored(seen: Seen, model: HeadModel) -> Seen:
    """The same people in a mirror."""
    turn = torch.tensor([-1.0, 1.0])
    other_side = _partners(model.neutral_landmarks)
    return Seen(
        seen.misses[:, other_side] * turn, seen.facing * turn, seen.shape, seen.identity[:, _mirrored_morphs(model)]
    )


def _partners(points: Tensor) -> Tensor:
    """[P] which of points [P, 3] of a symmetric head mirrors each."""
    return torch.cdist(points * torch.tensor([-1.0, 1.0, 1.0]), points).argmin(1)


def _mirrored_morphs(model: HeadModel) -> list[int]:
    """[K] the morph that does to the other side what each does to one."""
    mirrored = model.identity * torch.tensor([-1.0, 1.0, 1.0])
    mirrored = mirrored[:, _partners(model.neutral)].flatten(1)
    return torch.cdist(mirrored, model.identity.flatten(1)).argmin(1).tolist()


if __name__ == "__main__":
    sys.exit(run_alone("expectation", __doc__.splitlines()[0], train_expectation, workers=(2, "processes")))
