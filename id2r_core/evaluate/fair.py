"""Skin tone for every skin type: virtual FAIR on our validation set, and the real benchmark for those who have it."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from ..conventions import Domain
from ..errors import Id2rError
from . import figures
from .baselines import BASELINES
from .context import Context
from .estimate import METHODS, OURS, Estimate
from .metrics import SKIN_TYPES, Fairness, bias_by_chance, fairness, ita_degrees, mae_255, skin_type
from .report import Report, Table, mean, rivals_that_win
from .validation_set import Shot, read_map

COLUMNS = (
    ("method", None), ("Avg ITA", 2), ("Bias", 2), ("Score", 2), ("MAE", 2), *((name, 2) for name in SKIN_TYPES),
)  # fmt: skip
# Avg ITA, Bias, Score, MAE, I to VI, as published for the real FAIR benchmark.
PUBLISHED = (
    ("TRUST", 13.87, 2.79, 16.67, 18.41, 11.90, 11.87, 11.20, 13.92, 16.15, 18.21),
    ("ID2Albedo", 12.07, 4.91, 16.98, 23.33, 18.30, 9.13, 5.83, 9.46, 19.09, 10.59),
    ("ID2Reflectance", 14.21, 4.22, 18.43, 22.02, 12.91, 13.11, 9.68, 10.22, 17.72, 21.63),
    ("HUST (ICCV 2025)", 11.20, 1.58, 12.78, *[None] * 7),
)
PUBLISHED_NOTE = (
    "Real FAIR, other photographs: not comparable number for number with the virtual one. The Bias of ID2Albedo and "
    "ID2Reflectance follows from their columns with ddof 0, that of TRUST, and ours, with ddof 1."
)
AIM = "Aim: Avg ITA at most 11.2, Bias at most 1.6, Score at most 12.8, the best published for the real benchmark."
REAL_SIZE = 512
HINT_REAL = "Lay the benchmark out as `python -m id2r_core evaluate --help` says."
REAL_INDEX = {"validation": "validation_crop_files.txt", "test": "test_crop_files.txt"}


def evaluate_fair(context: Context) -> Report:
    """Virtual FAIR, or the real one when that is what the data folder holds."""
    if any((context.data / file).is_file() for file in REAL_INDEX.values()):
        return _real_fair(context)
    pairs, failures = context.estimates()
    size, rows, per_type = context.estimator.size, [], {}
    for method in METHODS:
        errors, absolute = defaultdict(list), []
        for shot, estimate in pairs:
            image, mask = estimate.diffuse(method, size), shot.subject.skin(size)
            truth = shot.subject.map(Domain.DIFFUSE, size)
            angle = ita_degrees(truth, mask)
            errors[skin_type(angle)].append(ita_degrees(image, mask) - angle)
            absolute.append(mae_255(image, truth, mask))
        found = fairness(errors)
        rows.append(_row(method, found, mean(absolute)))
        per_type[method] = [found.per_type.get(name) for name in SKIN_TYPES]
    wins = [
        rivals_that_win(rows, place, name, OURS, list(BASELINES), True) for place, name in ((3, "Score"), (4, "MAE"))
    ]
    note = " ".join([*wins, AIM, *_in_words(pairs, size)]).strip()
    title = "ITA error by skin type, virtual FAIR"
    figures.bars(context.out / "fair_types.png", title, SKIN_TYPES, per_type, "degrees")
    return Report(
        "fair",
        "Virtual FAIR",
        context.describe(context.shots())
        + " Three faces a scene share one light. This is our own virtual stand-in for the FAIR benchmark.",
        [
            Table(
                "Virtual FAIR: error of the typology angle in degrees, of RGB in 0..255",
                COLUMNS,
                rows,
                note,
            ),
            Table("As published for the real FAIR", COLUMNS, [list(row) for row in PUBLISHED], PUBLISHED_NOTE),
        ],
        figures=["fair_types.png"],
        failures=failures,
    )


def _row(method: str, found: Fairness, absolute: float | None) -> list:
    types = [found.per_type.get(name) for name in SKIN_TYPES]
    return [method, found.average, found.bias, found.score, absolute, *types]


def _in_words(pairs: list[tuple[Shot, Estimate]], size: int) -> list[str]:
    """Which way ID2R errs, and what its Bias would be by chance."""
    errors = defaultdict(lambda: defaultdict(list))
    for shot, estimate in pairs:
        mask = shot.subject.skin(size)
        truth = ita_degrees(shot.subject.map(Domain.DIFFUSE, size), mask)
        error = ita_degrees(estimate.diffuse(OURS, size), mask) - truth
        errors[skin_type(truth)][shot.subject.name].append(error)
    signed = {name: mean([error for each in errors[name].values() for error in each]) for name in SKIN_TYPES}
    parts = [f"{name} {value:+.1f}" for name, value in signed.items() if value is not None]
    said = [f"Signed mean error of ID2R (positive: too light): {', '.join(parts)}."]
    chance = bias_by_chance(errors)
    if chance is not None:
        said.append(f"Dealt to the types at random, these people would have a Bias of {chance:.1f} (median).")
    return said


@dataclass(frozen=True)
class RealFace:
    """A face of the real benchmark: its crop, and the true albedo with its skin mask in the benchmark's own layout."""

    name: str
    crop: Path
    albedo: Path
    mask: Path


def read_fair(folder: Path) -> list[RealFace]:
    """The real benchmark: `{validation,test}_crop_files.txt`, `crops/SCENE/FACE.png` as its authors' code has them.

    The true albedos come to registered users; they are looked for as `albedos/SCENE/FACE.png`, with the skin mask
    `masks/SCENE/FACE.png` or one `mask.png` for all. Raises Id2rError naming the first file that is missing.
    """
    index = next(folder / file for file in REAL_INDEX.values() if (folder / file).is_file())
    faces = []
    for line in index.read_text(encoding="utf-8").split():
        if "/" not in line:
            raise Id2rError(f"{index.name} lists '{line}', not SCENE/FACE.png.", HINT_REAL)
        scene, file = line.split("/")[-2:]
        own = folder / "masks" / scene / file
        mask = own if own.is_file() else folder / "mask.png"
        face = RealFace(
            f"{scene}-{Path(file).stem}", folder / "crops" / scene / file, folder / "albedos" / scene / file, mask
        )
        for path in (face.crop, face.albedo, face.mask):
            if not path.is_file():
                raise Id2rError(f"The FAIR folder lacks {path.relative_to(folder)}.", HINT_REAL)
        faces.append(face)
    return faces


def _real_fair(context: Context) -> Report:
    faces = read_fair(context.data)
    found = context.estimator.all([(face.name, face.crop) for face in faces], context.progress)
    failures = {name: estimate.failed for name, estimate in found.items() if estimate.failed}
    truth = {}
    for face in faces:
        truth[face.name] = ita_degrees(read_map(face.albedo, REAL_SIZE), read_map(face.mask, REAL_SIZE)[..., 0] > 0.5)
    size, rows = context.estimator.size, []
    atlas = context.estimator.atlas
    skin = ((atlas.region("face") > 0.9) & (atlas.features < 0.2) & atlas.mask).numpy(force=True)
    for method in METHODS:
        errors = defaultdict(list)
        for name in (name for name in found if name not in failures):
            error = ita_degrees(found[name].diffuse(method, size), skin) - truth[name]
            errors[skin_type(truth[name])].append(error)
        rows.append(_row(method, fairness(errors), None))
    note = (
        "The angle is of the mean over each layout's own skin mask. MAE is left blank: the benchmark's maps lie in "
        "another uv layout, and a correspondence to it cannot be shipped."
    )
    table = Table("FAIR: error of the typology angle in degrees", COLUMNS, rows, note)
    published = Table("As published", COLUMNS, [list(row) for row in PUBLISHED], PUBLISHED_NOTE)
    data = f"{len(faces)} faces of the FAIR benchmark."
    return Report("fair", "FAIR", data, [table, published], failures=failures)
