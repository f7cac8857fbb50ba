"""Whether more photos of one person help: by our own renderer from several sides, and the validation set's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..conventions import Domain, linear_to_srgb, srgb_to_linear
from ..photo import load_photo
from . import figures
from .context import Context
from .estimate import OURS, Estimate
from .metrics import ciede2000, ita_degrees, psnr
from .report import Report, Table, mean
from .robustness import FROWN, SMILE, Case, photograph
from .shape import MILLIMETRES, align, distances, head_surface, now_crop
from .validation_set import Subject

COUNTS = (1, 2, 3, 5)
# Five photos as a person might have them: other sides, other light, another mood; about equally exposed.
TAKES = (
    Case("photos", "front"),
    Case("photos", "left", yaw=35, light=(0.2, 0.4, 1.0)),
    Case("photos", "right", yaw=-35, light=(-0.9, 0.3, 0.6)),
    Case("photos", "smile", yaw=12, light=(-0.3, 0.6, 0.8), expression=SMILE),
    Case("photos", "frown", yaw=-18, light=(-0.7, 0.2, 0.7), expression=FROWN),
)  # fmt: skip
QUICK_PEOPLE = 3
COLUMNS = (
    ("photos", 0), ("people", 0), ("PSNR dB", 2), ("PSNR dB, tone set right", 2), ("CIEDE2000", 2), ("ITA error", 2),
    ("mean vertex error mm", 3), ("coverage", 3), ("seconds", 1),
)  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """What came of the photos of one person."""

    subject: Subject
    photos: tuple[Path, ...]
    estimate: Estimate


def evaluate_photos(context: Context) -> Report:
    """ID2R with one photo and with several, on one person of each skin type."""
    people = _people(context)
    rendered = _rendered(context, people)
    photographed = _photographed(context, people)
    trials = [*rendered, *photographed]
    figures.sheet(context.out / "photos_people.jpg", [_pictures(context, rendered, subject) for subject in people])
    hdris = {shot.hdri for shot in context.validation.shots}
    data = (
        f"Photographs of {len(people)} unseen virtual people, maps of {context.estimator.size}: by our own renderer from "
        f"five sides, and by Cycles under {len(hdris)} unseen HDRIs (validation set of {context.validation.date}, seed "
        f"{context.validation.seed})."
    )
    note = (
        "The first photo is always the same one, from the front. PSNR, CIEDE2000 and ITA error over the skin of face and "
        "neck; 'tone set right': after scaling to the true mean colour; vertex error by NoW's protocol; seconds on a machine that did other things too. The heads are bald, the "
        "renderer is ours (Lambertian, self-shadowed): changes between rows count, not levels."
    )
    both = "Every person has two photographs under two HDRIs; each of them is once the only one and once the first."
    return Report(
        "photos",
        "More photos",
        data,
        [
            Table("Our own renderer: front, left, right, smile, frown", COLUMNS, _rows(context, rendered), note),
            Table("The validation set, by Cycles", COLUMNS, _rows(context, photographed), both),
        ],
        figures=["photos_people.jpg"],
        failures={each.estimate.folder.name: each.estimate.failed for each in trials if each.estimate.failed},
    )


def _people(context: Context) -> list[Subject]:
    """The first subject of each skin type; in a quick run of every other type."""
    first = {subject.skin_type: subject for subject in reversed(context.validation.subjects)}
    people = [*first.values()][::-1]
    return people[::2][:QUICK_PEOPLE] if context.quick else people


def _rendered(context: Context, people: Sequence[Subject]) -> list[Trial]:
    folder = context.out / "photos_takes"
    folder.mkdir(parents=True, exist_ok=True)
    trials = []
    for number, subject in enumerate(people):
        context.progress("rendered", number, len(people))
        named = [(take, folder / f"photos-{subject.name}-{take.level}.png") for take in TAKES]
        files = [photograph(context.estimator.model, subject, *each) for each in named]
        trials += [_trial(context, subject, files[:count], f"photos-{subject.name}-{count}") for count in COUNTS]
    return trials


def _photographed(context: Context, people: Sequence[Subject]) -> list[Trial]:
    trials = []
    for number, subject in enumerate(people):
        context.progress("photographed", number, len(people))
        shots = [shot for shot in context.validation.shots if shot.subject == subject]
        for shot in shots:
            others = [other.file for other in shots if other is not shot][: max(COUNTS) - 1]
            trials.append(_trial(context, subject, [shot.file], f"photos-{shot.name}-alone"))
            trials.append(_trial(context, subject, [shot.file, *others], f"photos-{shot.name}-first"))
    return trials


def _trial(context: Context, subject: Subject, files: Sequence[Path], name: str) -> Trial:
    first, *more = files
    return Trial(subject, tuple(files), context.estimator.one(name, first, (), more))


def _rows(context: Context, trials: Sequence[Trial]) -> list[list]:
    counts = sorted({len(each.photos) for each in trials})
    return [_row(context, count, [each for each in trials if len(each.photos) == count]) for count in counts]


def _row(context: Context, count: int, trials: Sequence[Trial]) -> list:
    size = context.estimator.size
    done = [each for each in trials if not each.estimate.failed]
    triples = [
        (each.estimate.diffuse(OURS, size), each.subject.map(Domain.DIFFUSE, size), each.subject.skin(size))
        for each in done
    ]
    tone = [abs(ita_degrees(image, mask) - ita_degrees(truth, mask)) for image, truth, mask in triples]
    return [
        count,
        len({each.subject.name for each in done}),
        mean([psnr(*three) for three in triples]),
        mean([psnr(_in_tone(*three), *three[1:]) for three in triples]),
        mean([ciede2000(*three) for three in triples]),
        mean(tone),
        mean([_vertex_error(context, each) for each in done]),
        mean([each.estimate.record["coverage"] for each in done]),
        mean([sum(each.estimate.record["seconds"].values()) for each in done]),
    ]


def _in_tone(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The albedo [H, W, 3] sRGB with the mean linear colour of the truth over the mask: what is left is not the tone."""
    linear = srgb_to_linear(image)
    gain = srgb_to_linear(truth)[mask].mean(0) / linear[mask].mean(0)
    return linear_to_srgb(linear * gain).clip(0, 1)


def _vertex_error(context: Context, trial: Trial) -> float:
    """Mean distance of the true face to the fitted one, by NoW's protocol, in millimetres."""
    model = context.estimator.model
    truth = head_surface(model, trial.subject.vertices())
    scan = now_crop(truth.vertices[np.unique(truth.faces)], truth.landmarks)
    fitted = align(head_surface(model, trial.estimate.own_vertices()), scan, truth.landmarks, with_scale=True)
    return float(distances(fitted, scan).mean()) * MILLIMETRES


def _pictures(context: Context, trials: Sequence[Trial], subject: Subject) -> list[tuple[str, np.ndarray]]:
    """The photos of one person, the true albedo, and what came of few and of many photos."""
    size, mask = context.estimator.size, subject.skin(context.estimator.size)
    own = [each for each in trials if each.subject == subject and not each.estimate.failed]
    photos = [(take.level, load_photo(file).srgb) for take, file in zip(TAKES, own[-1].photos, strict=False)]
    maps = [
        (f"{len(each.photos)} photos", figures.cut_to(each.estimate.diffuse(OURS, size), mask))
        for each in (own[0], own[-1])
    ]
    return [*photos, ("true albedo", figures.cut_to(subject.map(Domain.DIFFUSE, size), mask)), *maps]
