"""Maps against the truth: PSNR, SSIM, LPIPS, ID, colour, and how much light was left in the albedo."""

from itertools import combinations

import numpy as np

from ..conventions import REFLECTANCE, Domain
from ..head.atlas import make_atlas
from ..photo import load_photo
from . import figures
from .baselines import BASELINES
from .context import Context
from .estimate import METHODS, OURS, Estimate
from .metrics import SKIN_TYPES, ciede2000, light_leak, mae_255, psnr, ssim
from .report import Report, Table, mean, rivals_that_win
from .validation_set import Shot

LEAK_SIZE = 256  # texels a side for the light leak: light is smooth
PAPER = ("ID2Reflectance as published, on its own data", 28.47, 0.923, 0.1248, 0.735)
CASES = 2  # worst and best ones shown


def evaluate_albedo(context: Context) -> Report:
    """All methods against the true diffuse maps, and ID2R's other maps against theirs."""
    pairs, failures = context.estimates()
    scores = {method: _score_method(context, method, pairs) for method in METHODS}
    leaks = _leaks(context, pairs)
    columns = (
        ("method", None), ("PSNR dB", 2), ("SSIM", 3), ("LPIPS", 4), ("ID", 3), ("MAE", 1), ("CIEDE2000", 2),
        ("light leak", 3), ("same person, two lights: CIEDE2000", 2),
    )  # fmt: skip
    rows = []
    for method in METHODS:
        one = scores[method]
        figures_of = [mean(one[key]) for key in ("psnr", "ssim", "lpips")]
        identity = mean([estimate.record["identity"][method] for _, estimate in pairs])
        colour = [mean(one[key]) for key in ("mae", "ciede2000")]
        rows.append(
            [method, *figures_of, identity, *colour, mean(leaks[method]), _pair_difference(context, method, pairs)]
        )
    rows.append(["truth", *[None] * 6, mean(leaks["truth"]), 0.0])
    by_type = [[method, *(_of_type(scores[method]["psnr"], pairs, kind) for kind in SKIN_TYPES)] for method in METHODS]
    cases = _draw_cases(context, scores[OURS]["psnr"], pairs)
    return Report(
        "albedo",
        "Albedo and the other maps",
        context.describe(context.shots()),
        [
            Table(
                "Diffuse albedo over the skin of face and neck, mean over the photographs",
                columns,
                rows,
                _notes(context, rows),
            ),
            Table(
                "PSNR of the diffuse albedo in dB by skin type",
                [("method", None), *((t, 2) for t in SKIN_TYPES)],
                by_type,
            ),
            _domains_table(context, pairs),
            Table(
                "For orientation",
                [("method", None), ("PSNR dB", 2), ("SSIM", 3), ("LPIPS", 4), ("ID", 3)],
                [list(PAPER)],
                "Another data set, another mask, another recogniser: not comparable number for number.",
            ),
        ],
        figures=[cases],
        failures=failures,
    )


def _notes(context: Context, rows: list) -> str:
    wins = rivals_that_win(rows, 1, "PSNR", OURS, list(BASELINES), low_is_good=False)
    return (
        f"{wins} Aim: at least 28.5 dB, 0.92 and 0.74. "
        f"ID: cosine of photo and re-rendered head under the fitted camera and light, by {context.judge_name}. "
        "Light leak: correlation of albedo luminance with the true shading over the skin; 'truth': of the true maps. "
        + ("" if context.lpips else "LPIPS is blank: its backbone is not on this machine.")
    )


def _score_method(context: Context, method: str, pairs: list[tuple[Shot, Estimate]]) -> dict[str, list[float | None]]:
    size = context.estimator.size
    scores: dict[str, list[float | None]] = {key: [] for key in ("psnr", "ssim", "lpips", "mae", "ciede2000")}
    for number, (shot, estimate) in enumerate(pairs):
        context.progress("score", METHODS.index(method) * len(pairs) + number, len(METHODS) * len(pairs))
        image, truth, mask = (
            estimate.diffuse(method, size),
            shot.subject.map(Domain.DIFFUSE, size),
            shot.subject.skin(size),
        )
        scores["psnr"].append(psnr(image, truth, mask))
        scores["ssim"].append(ssim(image, truth, mask))
        scores["lpips"].append(context.lpips(image, truth, mask) if context.lpips else None)
        scores["mae"].append(mae_255(image, truth, mask))
        scores["ciede2000"].append(ciede2000(image, truth, mask))
    return scores


def _leaks(context: Context, pairs: list[tuple[Shot, Estimate]]) -> dict[str, list[float]]:
    """Light leak of every method and of the truth; empty where the light of a scene is not known."""
    model = context.estimator.model
    atlas = make_atlas(model, LEAK_SIZE)
    leaks: dict[str, list[float]] = {name: [] for name in (*METHODS, "truth")}
    for shot, estimate in pairs:
        if shot.light is None:
            continue
        shading, mask = shot.true_shading(model, atlas), shot.subject.skin(LEAK_SIZE)
        for method in METHODS:
            leaks[method].append(light_leak(estimate.diffuse(method, LEAK_SIZE), shading, mask))
        leaks["truth"].append(light_leak(shot.subject.map(Domain.DIFFUSE, LEAK_SIZE), shading, mask))
    return leaks


def _pair_difference(context: Context, method: str, pairs: list[tuple[Shot, Estimate]]) -> float | None:
    """Mean CIEDE2000 between the albedos of one person photographed under two lights."""
    size, found = LEAK_SIZE, []
    for (shot, estimate), (other_shot, other) in combinations(pairs, 2):
        if shot.subject == other_shot.subject and shot.hdri != other_shot.hdri:
            mask = shot.subject.skin(size)
            found.append(ciede2000(estimate.diffuse(method, size), other.diffuse(method, size), mask))
    return mean(found)


def _of_type(values: list[float], pairs: list[tuple[Shot, Estimate]], skin_type: str) -> float | None:
    return mean([value for value, (shot, _) in zip(values, pairs, strict=True) if shot.subject.skin_type == skin_type])


def _domains_table(context: Context, pairs: list[tuple[Shot, Estimate]]) -> Table:
    """PSNR and SSIM of ID2R in every domain, on the maps as saved."""
    size, rows = context.estimator.size, []
    for domain in REFLECTANCE:
        triples = [
            (estimate.own_map(domain, size), shot.subject.map(domain, size), shot.subject.skin(size))
            for shot, estimate in pairs
        ]
        rows.append(
            [domain.value, mean([psnr(*three) for three in triples]), mean([ssim(*three) for three in triples])]
        )
    note = (
        "Saved maps on the head tile; the normals are tangent-space, so that form belongs to the mesh and not to them."
    )
    return Table("ID2R by domain", [("domain", None), ("PSNR dB", 2), ("SSIM", 3)], rows, note)


def _draw_cases(context: Context, values: list[float], pairs: list[tuple[Shot, Estimate]]) -> str:
    """The worst and the best photographs by PSNR: photo, truth, estimate, error."""
    order = np.argsort(values)
    chosen = [*order[:CASES], *order[::-1][:CASES][::-1]] if len(order) >= 2 * CASES else order
    rows, size = [], context.estimator.size
    for index in chosen:
        shot, estimate = pairs[index]
        image, truth, mask = (
            estimate.diffuse(OURS, size),
            shot.subject.map(Domain.DIFFUSE, size),
            shot.subject.skin(size),
        )
        photo = load_photo(shot.file).srgb
        error = figures.error_map(image, truth, mask)
        rows.append([
            (f"{shot.subject.name} {values[index]:.1f} dB", photo), ("true albedo", figures.cut_to(truth, mask)),
            ("ID2R", figures.cut_to(image, mask)), ("error", figures.cut_to(error, mask)),
        ])  # fmt: skip
    figures.sheet(context.out / "albedo_cases.jpg", rows)
    return "albedo_cases.jpg"
