"""Relighting: a virtual person's true head, once with the true maps and once with estimated ones, path-traced by Cycles
under the same environments from the same camera. What differs is the maps alone."""

import shutil
from pathlib import Path

import cv2
import numpy as np

from ..conventions import REFLECTANCE, Domain
from ..protocol import PHOTO
from . import figures
from .blender import render_portraits
from .context import Context
from .estimate import OURS, OWN_FOLDER, Estimate
from .metrics import ciede2000, psnr, ssim
from .report import Report, Table, mean, rivals_that_win
from .validation_set import Shot

BLENDER_HDRIS = ("studio", "courtyard", "interior", "sunrise", "city", "forest", "sunset", "night")
HDRI_COUNT = 10
SIZE, SAMPLES = 256, 24
QUICK_HDRIS, QUICK_SIZE, QUICK_SAMPLES = 2, 192, 16
# Rivals keep ID2R's own other maps: only their diffuse differs. The last one is left out of a quick run.
COMPARED = (OURS, "projection", "nearest template")
SHOWN = 3  # environments on the sheet
BACKDROP_SLACK = 1.5 / 255


def evaluate_relight(context: Context) -> Report:
    """One photograph of each of some people, under up to ten environments."""
    pairs, failures = context.estimates()
    chosen = _one_each(pairs, ("I", "V") if context.quick else ("I", "II", "III", "IV", "V", "VI"))
    hdris, compared = _hdris(context), COMPARED[:-1] if context.quick else COMPARED
    of_scene = {str(shot.light): shot.hdri for shot in context.validation.shots}
    labels = {Path(hdri).stem: of_scene.get(hdri, Path(hdri).stem) for hdri in hdris}
    scores: dict[str, dict[str, list]] = {
        method: {"psnr": [], "ssim": [], "lpips": [], "ciede2000": []} for method in compared
    }
    rows = []
    for number, (shot, estimate) in enumerate(chosen):
        context.progress("relight", number, len(chosen))
        truth = _render(context, shot, None, None, hdris)
        relit = {method: _render(context, shot, estimate, method, hdris) for method in compared}
        for method in compared:
            for name in truth:
                _score(context, scores[method], relit[method][name], truth[name])
        row = []
        for name in list(truth)[:SHOWN]:
            row += [(f"{shot.subject.name} {labels[name][:14]}", truth[name]), (OURS, relit[OURS][name])]
        rows.append(row)
    figures.sheet(context.out / "relight.jpg", rows)
    columns = (("maps", None), ("PSNR dB", 2), ("SSIM", 3), ("LPIPS", 4), ("CIEDE2000", 2))
    table = [
        [method, *(mean(scores[method][key]) for key in ("psnr", "ssim", "lpips", "ciede2000"))] for method in compared
    ]
    wins = rivals_that_win(table, 1, "PSNR", OURS, compared[1:], low_is_good=False)
    note = (
        f"{wins} Against the same head with the true maps, mean over the head's pixels (skin, eyes and all) and "
        f"environments: {', '.join(labels.values())}. The mesh is the true one for all. Rivals have ID2R's "
        "other maps. The sheet shows the truth and beside it ID2R."
    )
    data = f"{len(chosen)} virtual people, one photograph each, Cycles under {len(hdris)} HDRIs."
    return Report(
        "relight",
        "Relighting",
        data,
        [Table("Relit images", columns, table, note)],
        figures=["relight.jpg"],
        failures=failures,
    )


def _one_each(pairs: list[tuple[Shot, Estimate]], types: tuple[str, ...]) -> list[tuple[Shot, Estimate]]:
    first: dict[str, tuple[Shot, Estimate]] = {}
    for shot, estimate in pairs:
        first.setdefault(shot.subject.skin_type, (shot, estimate))
    return [first[kind] for kind in types if kind in first]


def _hdris(context: Context) -> list[str]:
    """The environments that were asked for; else those of the set's scenes and Blender's own, ten in all."""
    if context.hdris:
        return list(context.hdris)
    scenes = {shot.hdri: str(shot.light) for shot in reversed(context.validation.shots) if shot.light is not None}
    if context.quick:
        return [*list(scenes.values())[: QUICK_HDRIS // 2], *BLENDER_HDRIS][:QUICK_HDRIS]
    return [*scenes.values(), *BLENDER_HDRIS][:HDRI_COUNT]


def _render(
    context: Context, shot: Shot, estimate: Estimate | None, method: str | None, hdris: list[str]
) -> dict[str, np.ndarray]:
    """Renders [H, W, 3] by environment; without an estimate those of the truth. Renders that exist are kept."""
    label = "truth" if method is None else f"{shot.name}-{COMPARED.index(method)}"
    folder = context.out / "relit" / shot.subject.name / label
    folder.mkdir(parents=True, exist_ok=True)
    size, samples = (QUICK_SIZE, QUICK_SAMPLES) if context.quick else (SIZE, SAMPLES)
    stamp = folder / "of.txt"
    wanted = f"{estimate.record['fingerprint'] if estimate else shot.subject.name} {size} {samples}"
    if not stamp.is_file() or stamp.read_text() != wanted:
        for old in folder.iterdir():
            old.unlink()
        _dress(shot, estimate, method, folder)
        stamp.write_text(wanted)
    missing = [hdri for hdri in hdris if not (folder / f"{Path(hdri).stem}.png").is_file()]
    if missing:
        render_portraits(folder, missing, size, samples)
    return {Path(hdri).stem: _read(folder / f"{Path(hdri).stem}.png") for hdri in hdris}


def _dress(shot: Shot, estimate: Estimate | None, method: str | None, folder: Path) -> None:
    """The true head of the person in `folder`, with true or estimated maps."""
    for name in ("head.npz", PHOTO, "coverage.png"):
        if (shot.subject.folder / name).is_file():
            shutil.copy2(shot.subject.folder / name, folder / name)
    for domain in REFLECTANCE:
        file = f"{domain.value}.png"
        shutil.copy2((estimate.folder / OWN_FOLDER if estimate else shot.subject.folder) / file, folder / file)
    if estimate and method != OURS:
        shutil.copy2(estimate.diffuse_file(method), folder / f"{Domain.DIFFUSE.value}.png")


def head_mask(render: np.ndarray) -> np.ndarray:
    """[H, W] bool: what is not the plain backdrop, which lies in the first pixel; small holes closed."""
    differs = (np.abs(render - render[0, 0]).max(2) > BACKDROP_SLACK).astype(np.uint8)
    return cv2.morphologyEx(differs, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) > 0


def _read(path: Path) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1]) / np.float32(255)


def _score(context: Context, scores: dict[str, list], relit: np.ndarray, truth: np.ndarray) -> None:
    mask = head_mask(truth)
    scores["psnr"].append(psnr(relit, truth, mask))
    scores["ssim"].append(ssim(relit, truth, mask))
    scores["lpips"].append(context.lpips(relit, truth, mask) if context.lpips else None)
    scores["ciede2000"].append(ciede2000(relit, truth, mask))
