"""docs/results.md, made of the committed reports in docs/results/ and of nothing else.

python -m id2r_core evaluate results
"""

from pathlib import Path

from ..errors import Id2rError
from .estimate import read_json
from .report import markdown

DOCS = Path(__file__).parents[2] / "docs"
FOLDER, TEXT = "results", "results.md"
ORDER = (
    "fair", "albedo", "relight", "shape", "swap", "likeness", "robustness", "photos", "speed", "codebooks",
    "recognition", "swapper", "subjects",
)  # fmt: skip
HEADING = """# Results

Made by `python -m id2r_core evaluate results` from the reports in `docs/results/`; a test fails when they disagree.
Every figure stands as it was measured. What is measured and how: `python -m id2r_core evaluate --help`. In a command DATA
is the validation set (of the networks: the training data), OUT an output folder, RUN a training run, and JUDGE a
recogniser that took no part in training.
"""


def results_text(docs: Path) -> str:
    """The whole text. Raises Id2rError when there is no report."""
    reports = {path.stem: read_json(path) for path in sorted((docs / FOLDER).glob("*.json"))}
    if not reports:
        raise Id2rError(f"There is no report in {docs / FOLDER}.", "Copy those of an evaluation there.")
    names = sorted(reports, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    parts = [markdown(reports[name], level=2, figures_at=f"{FOLDER}/") for name in names]
    return "\n".join([HEADING, *parts])


def write_results(docs: Path = DOCS) -> Path:
    """Write results.md beside the folder of reports."""
    path = docs / TEXT
    path.write_text(results_text(docs), encoding="utf-8")
    return path
