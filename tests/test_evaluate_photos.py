"""The table of more photos, over estimates that get better by a known amount with every photo."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic_validation import PEOPLE, write_set

from id2r_core.evaluate import photos
from id2r_core.evaluate.context import Context
from id2r_core.evaluate.estimate import Estimate, Estimator, make_estimator

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 128


@pytest.fixture
def asked() -> list:
    """Name, photo and further photos of every estimate that was asked for."""
    return []


@pytest.fixture
def context(tmp_path, model, monkeypatch, asked):
    """The albedo is the truth less 24 per cent for one photo, 12 for two, ...; the head is the true one."""
    folder = tmp_path / "set"
    write_set(folder, model)

    def one(self, name, file, methods=(), more=()):
        assert methods == () and file not in more and len(set(more)) == len(more)
        asked.append((name, file, tuple(more)))
        (subject,) = (each for each in PEOPLE if each in name)
        kept = self.out / "fake" / name
        shutil.copytree(folder / "subjects" / subject, kept / "id2r")
        truth = cv2.imread(str(kept / "id2r" / "diffuse.png")).astype(np.float32)
        cv2.imwrite(str(kept / "id2r" / "diffuse.png"), (truth * (1 - 0.24 / (1 + len(more)))).astype(np.uint8))
        return Estimate(kept, {"coverage": 0.1 * (1 + len(more)), "seconds": {"head": 1.0 + len(more)}})

    def photograph(model, subject, case, file: Path) -> Path:
        cv2.imwrite(str(file), np.full((16, 16, 3), 128, np.uint8))
        return file

    monkeypatch.setattr(Estimator, "one", one)
    monkeypatch.setattr(photos, "photograph", photograph)
    return Context(make_estimator("tiny", SIZE, tmp_path), folder, tmp_path, lambda stage, done, total: None)


def test_every_count_has_its_row_and_more_photos_show(context):
    report = photos.evaluate_photos(context)
    rendered, photographed = report.tables
    headings = [name for name, _ in rendered.columns]
    rows = [dict(zip(headings, row, strict=True)) for row in rendered.rows]
    assert [row["photos"] for row in rows] == [1, 2, 3, 5] and {row["people"] for row in rows} == {len(PEOPLE)}
    for heading, rises in (("PSNR dB", True), ("CIEDE2000", False), ("coverage", True), ("seconds", True)):
        values = [row[heading] for row in rows]
        assert values == sorted(values, reverse=not rises) and len(set(values)) == len(values), heading
    assert all(row["mean vertex error mm"] < 1e-3 for row in rows)
    assert rows[0]["PSNR dB, tone set right"] > rows[0]["PSNR dB"] + 10
    assert [row[0] for row in photographed.rows] == [1, 2]
    assert (context.out / report.figures[0]).is_file() and not report.failures


def test_each_photograph_of_the_set_is_once_alone_and_once_the_first(context, asked):
    photos.evaluate_photos(context)
    of_set = [(file, more) for name, file, more in asked if "scene" in name]
    alone, first = [file for file, more in of_set if not more], [file for file, more in of_set if more]
    assert sorted(alone) == sorted(first) == sorted(shot.file for shot in context.validation.shots)


def test_a_refused_photo_is_left_out_and_named(context, monkeypatch):
    whole = Estimator.one

    def one(self, name, file, methods=(), more=()):
        estimate = whole(self, name, file, methods, more)
        refused = len(more) == 1 and next(iter(PEOPLE)) in name
        return Estimate(estimate.folder, {"failed": "No face."}) if refused else estimate

    monkeypatch.setattr(Estimator, "one", one)
    report = photos.evaluate_photos(context)
    assert next(row for row in report.tables[0].rows if row[0] == 2)[1] == len(PEOPLE) - 1
    assert set(report.failures.values()) == {"No face."}
