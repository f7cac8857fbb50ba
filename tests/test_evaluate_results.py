"""The committed results: the text is that of the reports, and every report says how it was made."""

import json
import re

import pytest

from id2r_core.evaluate.results import DOCS, results_text


def test_the_committed_text_is_that_of_the_committed_reports():
    assert (DOCS / "results.md").read_text(encoding="utf-8") == results_text(DOCS)


@pytest.mark.parametrize("path", sorted((DOCS / "results").glob("*.json")), ids=lambda path: path.stem)
def test_every_committed_report_says_how_it_was_made(path):
    report = json.loads(path.read_text(encoding="utf-8"))
    assert len(report["pack"]["sha256"]) == 64 and report["command"].startswith("python -m id2r_core evaluate ")
    assert report["date"] and "/" not in report["command"]
    assert all((path.parent / figure).is_file() for figure in report["figures"])


@pytest.mark.parametrize(
    ("quoted", "report", "table", "row", "columns"),
    [
        (r"Avg ITA ([\d.]+), Bias ([\d.]+), Score ([\d.]+)", "fair", 0, "ID2R", ("Avg ITA", "Bias", "Score")),
        (r"([\d.]+) dB, SSIM ([\d.]+), ID ([\d.]+)", "albedo", 0, "ID2R", ("PSNR dB", "SSIM", "ID")),
        (r"ID-Retrieval \(0\.965\) is far away \(([\d.]+)\)", "swapper", 1, "+ field (all)", ("ID-Retrieval",)),
        (r"Swap PSNR .*? is ([\d.]+) / ", "swapper", 0, "diffuse", ("closest, dB",)),
    ],
)
def test_the_readme_quotes_the_committed_reports(quoted, report, table, row, columns):
    readme = " ".join((DOCS.parent / "README.md").read_text(encoding="utf-8").split())
    given = json.loads((DOCS / "results" / f"{report}.json").read_text(encoding="utf-8"))["tables"][table]
    names = [name for name, _ in given["columns"]]
    cells = dict(zip(names, next(each for each in given["rows"] if each[0] == row), strict=True))
    for text, column in zip(re.search(quoted, readme).groups(), columns, strict=True):
        last_digit = 10 ** -len(text.partition(".")[2])
        assert float(text) == pytest.approx(cells[column], abs=0.51 * last_digit), f"{column} of {report}"
