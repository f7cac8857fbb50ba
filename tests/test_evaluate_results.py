"""The committed results: the text is that of the reports, and every report says how it was made."""

import json

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
