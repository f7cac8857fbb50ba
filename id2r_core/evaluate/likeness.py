"""Likeness of rendered heads to real portraits that training never saw, by a recogniser that took no part in it.

The chosen portraits are reconstructed twice, with the photo's detail and without, and rendered by Cycles; the reported
figures are the cosine to the photograph and whether the right person comes first. Reports hold no name and no picture.
"""

from pathlib import Path

import numpy as np

from ..capture.sources import split_of
from ..errors import Id2rError
from ..photo import load_photo
from ..pipeline import reconstruct
from ..protocol import Request
from .blender import render_portraits
from .context import Context
from .judge import Judge
from .report import Report, Table

# The PNGs of a result folder that are not renders.
NOT_RENDERS = {"diffuse", "specular", "roughness", "normal", "coverage", "photo", "contact_sheet"}
VARIANTS = {"refined": 1.0, "swapped maps alone": 0.0}
HDRIS = ("studio", "courtyard")
EVERY, QUICK_EVERY = 9, 36  # of the portraits that training did not see, sorted by name
SIZE, SAMPLES = 512, 32


def evaluate_likeness(context: Context) -> Report:
    """Cosine and rank over some portraits of the test split. Raises Id2rError without portraits or a recogniser."""
    judge = context.estimator.judge
    if context.portraits is None or judge is None:
        raise Id2rError(
            "Likeness needs real portraits and a recogniser.", "Give --portraits DIR and --judge FILE.onnx."
        )
    unseen = [path for path in sorted(context.portraits.glob("*.jpg")) if split_of(path.stem) == "validation"]
    chosen = unseen[:: QUICK_EVERY if context.quick else EVERY]
    if not chosen:
        raise Id2rError(f"'{context.portraits}' holds no portrait of the test split.", "Give the folder of portraits.")
    results, failures = context.out / "likeness", {}
    for number, portrait in enumerate(chosen):
        for variant, strength in VARIANTS.items():
            context.progress("likeness", number, len(chosen))
            try:
                _make(context, portrait, results / portrait.stem / variant, strength)
            except Id2rError as error:
                failures[f"portrait {number + 1}"] = error.message
    table = score(results, context.portraits, judge)
    rows = [
        [
            variant,
            hdri,
            len(cell["each"]),
            cell["mean"],
            min(cell["each"].values()),
            max(cell["each"].values()),
            cell["rank_1"],
        ]
        for variant, row in table.items()
        for hdri, cell in row.items()
    ]
    columns = (
        ("maps", None), ("HDRI", None), ("portraits", 0), ("cosine", 3), ("lowest", 3), ("highest", 3),
        ("right one first", 2),
    )  # fmt: skip
    note = f"Gallery: the photographs of the {len(chosen)} people. Recogniser with sha256 {judge.sha256}."
    data = f"{len(chosen)} unseen official portraits (every {QUICK_EVERY if context.quick else EVERY}th), Cycles."
    return Report(
        "likeness",
        "Likeness of real people",
        data,
        [Table("Cosine of render and photograph", columns, rows, note)],
        failures=failures,
    )


def _make(context: Context, portrait: Path, folder: Path, strength: float) -> None:
    """Maps and renders of one portrait, kept when they are there and of this pack and size."""
    estimator = context.estimator
    stamp, wanted = folder / "of.txt", f"{estimator.pack.sha256} {estimator.code} {estimator.size} {strength}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    device = estimator.pack.device.type
    reconstruct(
        Request(str(portrait), str(folder), estimator.pack_name, estimator.size, device=device, refine=strength)
    )
    render_portraits(folder, HDRIS, SIZE, SAMPLES)
    stamp.write_text(wanted)


def score(results: Path, portraits: Path, judge: Judge) -> dict:
    """Cosine of photo and render for every `results/<name>/<variant>/<hdri>.png`, and the rank of the right person.

    The gallery for the rank is the photos of all people in `results`. Returns {variant: {hdri: {mean, rank_1, each}}}.
    """
    names = sorted(path.name for path in results.iterdir() if path.is_dir())
    gallery = {name: judge.embed(load_photo(_photo_of(portraits, name))) for name in names}
    stacked = np.stack(list(gallery.values()))
    table: dict = {}
    for render in sorted(results.glob("*/*/*.png")):
        name, variant, hdri = render.parts[-3], render.parts[-2], render.stem
        if hdri in NOT_RENDERS:
            continue
        cosines = stacked @ judge.embed(load_photo(render))
        cell = table.setdefault(variant, {}).setdefault(hdri, {"each": {}, "first": 0})
        cell["each"][name] = round(float(cosines[names.index(name)]), 4)
        cell["first"] += int(cosines.argmax() == names.index(name))
    for cell in (cell for row in table.values() for cell in row.values()):
        cell["mean"] = round(float(np.mean(list(cell["each"].values()))), 4)
        cell["rank_1"] = round(cell.pop("first") / len(cell["each"]), 4)
    return table


def _photo_of(portraits: Path, name: str) -> Path:
    found = sorted(portraits.glob(f"{name}.*"))
    if not found:
        raise Id2rError(f"There is no photo of '{name}' in {portraits}.", "Give the folder the results were made from.")
    return found[0]
