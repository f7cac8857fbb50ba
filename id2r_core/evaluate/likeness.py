"""Likeness of rendered heads to real portraits that training never saw, by a recogniser that took no part in it.

The chosen portraits are reconstructed twice, with the photo's detail and without, and rendered by Cycles as they open, with
the expression of the photo. The first head is rendered once more with the plain photo laid over it. The reported figures
are the cosine to the photograph and whether the right person comes first. Reports hold no name and no picture.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from ..capture.sources import split_of
from ..conventions import Domain
from ..errors import Id2rError, NoFace
from ..photo import load_photo
from ..pipeline import reconstruct
from ..protocol import GLASSES, Request
from .blender import render_portraits
from .context import Context
from .judge import Judge
from .report import Report, Table, mean

VARIANTS = REFINED, SWAPPED, PROJECTED = ("refined", "swapped maps alone", "plain projection")
PLAIN_PHOTO = "as_photographed.png"
OWN_OF_PHOTO = ("folds.png", "hair.png", GLASSES)  # in a result folder: what the plain photo has by itself
HDRIS = ("studio", "courtyard")
EVERY, QUICK_EVERY, MOST = 2, 36, 40  # of the portraits that training did not see, sorted by name
SIZE, SAMPLES = 320, 16  # recognisers look at 112 pixels


def evaluate_likeness(context: Context) -> Report:
    """Cosine and rank over some portraits of the test split. Raises Id2rError without portraits or a recogniser."""
    judge = context.estimator.judge
    if context.portraits is None or judge is None:
        raise Id2rError(
            "Likeness needs real portraits and a recogniser.", "Give --portraits DIR and --judge FILE.onnx."
        )
    unseen = [path for path in sorted(context.portraits.glob("*.jpg")) if split_of(path.stem) == "validation"]
    chosen = unseen[:: QUICK_EVERY if context.quick else EVERY][:MOST]
    if not chosen:
        raise Id2rError(f"'{context.portraits}' holds no portrait of the test split.", "Give the folder of portraits.")
    results, made, failures = context.out / "likeness", [], {}
    for number, portrait in enumerate(chosen):
        context.progress("likeness", number, len(chosen))
        try:
            for variant in VARIANTS:
                _make(context, portrait, results / portrait.stem, variant)
            made.append(portrait)
        except Id2rError as error:
            failures[f"portrait {number + 1}"] = error.message.replace(portrait.name, "the portrait")
    if not made:
        why = next(iter(failures.values()))
        raise Id2rError(f"None of {len(chosen)} portraits could be rendered: {why}", "Mend that and run it again.")
    table = score(results, made, unseen, judge)
    rows = []
    for (variant, hdri), found in table.items():
        lowest, highest = (pick(found.cosines, default=None) for pick in (min, max))
        rows.append([variant, hdri, len(found.cosines), mean(found.cosines), lowest, highest, found.rank_1])
    columns = (
        ("maps", None), ("HDRI", None), ("faces found", 0), ("cosine", 3), ("lowest", 3), ("highest", 3),
        ("right one first", 2),
    )  # fmt: skip
    note = (
        f"Gallery: the photographs of all {len(unseen)} unseen people; who shows no face in the render does not come "
        "first. Plain projection: the photo itself, light, hair, glasses and all, on the refined head. "
        f"Recogniser with sha256 {judge.sha256}."
    )
    data = f"{len(chosen)} unseen official portraits (one in {QUICK_EVERY if context.quick else EVERY}, at most {MOST}), Cycles."
    return Report(
        "likeness",
        "Likeness of real people",
        data,
        [Table("Cosine of render and photograph", columns, rows, note)],
        failures=failures,
    )


def _make(context: Context, portrait: Path, results: Path, variant: str) -> None:
    """Maps and renders of one portrait, kept when they are there and of this code, pack and size."""
    estimator, folder = context.estimator, results / variant
    stamp, wanted = folder / "of.txt", f"{estimator.pack.sha256} {estimator.code} {estimator.size} {variant}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    if variant == PROJECTED:
        shutil.copytree(results / REFINED, folder, dirs_exist_ok=True)
        _lay_photo_over(folder)
    else:
        strength, device = float(variant == REFINED), estimator.pack.device.type
        reconstruct(
            Request(str(portrait), str(folder), estimator.pack_name, estimator.size, device=device, refine=strength)
        )
    render_portraits(folder, HDRIS, SIZE, SAMPLES)
    stamp.write_text(wanted)


def _lay_photo_over(folder: Path) -> None:
    shutil.copyfile(folder / PLAIN_PHOTO, folder / f"{Domain.DIFFUSE.value}.png")
    for name in OWN_OF_PHOTO:
        (folder / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class Score:
    """cosines: of every render that shows a face to its photograph; rank_1: how often the right person comes first."""

    cosines: list[float]
    rank_1: float


def score(
    results: Path, portraits: Sequence[Path], gallery: Sequence[Path], judge: Judge
) -> dict[tuple[str, str], Score]:
    """Every (variant, HDRI) of `results/NAME/VARIANT/HDRI.png` against the photographs NAME.* of a gallery.

    A render without a face has no cosine and is not the right person.
    """
    known = np.stack([judge.embed(load_photo(portrait)) for portrait in gallery])
    places = [list(gallery).index(portrait) for portrait in portraits]
    table = {}
    for variant, hdri in product(VARIANTS, HDRIS):
        cosines, firsts = [], 0
        for place, portrait in zip(places, portraits, strict=True):
            try:
                found = known @ judge.embed(load_photo(results / portrait.stem / variant / f"{hdri}.png"))
            except NoFace:
                continue
            cosines.append(float(found[place]))
            firsts += int(found.argmax() == place)
        table[variant, hdri] = Score(cosines, firsts / len(portraits))
    return table
