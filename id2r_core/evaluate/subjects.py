"""How many subjects the codebooks need: runs that differ in nothing but whom they were trained on."""

from dataclasses import replace
from pathlib import Path

from ..conventions import REFLECTANCE
from ..errors import Id2rError
from ..train.checkpoint import has_checkpoint, load_state
from ..train.figures import domain_figures
from ..train.loop import CHECKPOINT
from .context import Context
from .held_out import HeldOut
from .report import Report, Table

STAGE = "domains"
# Self-reconstruction of the paper by captured subjects, dB: diffuse, specular, roughness, normal.
PAPER = {
    30: (25.09, 24.12, 24.78, 23.55),
    60: (28.63, 27.58, 28.22, 27.05),
    90: (30.54, 29.84, 30.41, 29.22),
    115: (31.62, 30.96, 31.59, 30.32),
}
NOTE = (
    "One codebook a domain (stage 2), PSNR over the head in the averaged weights. Subjects are the first of one list, "
    "photographs and views of them; the real portraits of the RGB domain are the same in all runs. Paper: captures at 512."
)


def evaluate_subjects(context: Context) -> Report:
    """Self-reconstruction of held-out people by the runs `RUNS/<number of subjects>` of --run. Raises Id2rError when
    there is none."""
    runs = sorted((int(path.name), path) for path in _folders(context.run) if path.name.isdigit())
    runs = [(count, path) for count, path in runs if has_checkpoint(path / STAGE / CHECKPOINT)]
    if not runs:
        raise Id2rError(
            "There is no run named by its number of subjects.",
            f"Train stage {STAGE} into RUNS/30, RUNS/60 ... with --subjects 30, 60 ..., and give --run RUNS.",
        )
    rows = []
    for number, (count, path) in enumerate(runs):
        context.progress("subjects", number, len(runs))
        held = HeldOut(replace(context, run=path))
        found = domain_figures(held.task, held.pool)
        steps = load_state(path / STAGE / CHECKPOINT)["step"]
        rows.append(
            [str(count), steps, *(found[domain]["psnr"] for domain in REFLECTANCE), *PAPER.get(count, (None,) * 4)]
        )
    names = [domain.value for domain in REFLECTANCE]
    columns = [
        ("subjects", None), (f"steps of {STAGE}", 0), *((f"{name}, dB", 2) for name in names),
        *((f"paper {name}", 2) for name in names),
    ]  # fmt: skip
    return Report(
        "subjects", "Number of training subjects", held.describe(), [Table("Self-reconstruction", columns, rows, NOTE)]
    )


def _folders(runs: Path | None) -> list[Path]:
    if runs is None or not runs.is_dir():
        raise Id2rError("This evaluation needs a folder of training runs.", "Name it with --run.")
    return [path for path in runs.iterdir() if path.is_dir()]
