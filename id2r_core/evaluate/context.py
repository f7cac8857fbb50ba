"""What every evaluation is given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..errors import Id2rError
from .estimate import Estimate, Estimator
from .metrics import SKIN_TYPES, Lpips
from .validation_set import Shot, ValidationSet, read_validation

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Context:
    """per_type: photographs of each skin type, None for all; hdris: environments to relight with, names or files;
    portraits: folder of real ones, for likeness; run: folder of a training run, for the networks (`data` is then the
    training data)."""

    estimator: Estimator
    data: Path
    out: Path
    progress: Progress
    quick: bool = False
    per_type: int | None = None
    hdris: Sequence[str] = ()
    portraits: Path | None = None
    run: Path | None = None

    @cached_property
    def validation(self) -> ValidationSet:
        return read_validation(self.data)

    @cached_property
    def lpips(self) -> Lpips | None:
        return Lpips() if Lpips.available() else None

    @property
    def judge_name(self) -> str:
        judge = self.estimator.judge
        return f"the recogniser with sha256 {judge.sha256[:12]}" if judge else "the pack's own identity encoder"

    def shots(self) -> tuple[Shot, ...]:
        """The photographs that are evaluated."""
        return self.validation.some(self.per_type)

    def estimates(self) -> tuple[list[tuple[Shot, Estimate]], dict[str, str]]:
        """Every photograph with its estimate, and why others have none. Raises Id2rError when all have none."""
        shots = self.shots()
        found = self.estimator.all([(shot.name, shot.file) for shot in shots], self.progress)
        failures = {name: estimate.failed for name, estimate in found.items() if estimate.failed}
        if len(failures) == len(shots):
            raise Id2rError(
                f"None of {len(shots)} photographs could be reconstructed: {next(iter(failures.values()))}",
                "Run `python -m id2r_core reconstruct` on one of them.",
            )
        return [(shot, found[shot.name]) for shot in shots if shot.name not in failures], failures

    def describe(self, shots: Sequence[Shot]) -> str:
        """These photographs in words."""
        people, hdris = {shot.subject.name for shot in shots}, {shot.hdri for shot in shots}
        types = [name for name in SKIN_TYPES if any(shot.subject.skin_type == name for shot in shots)]
        of_types = "all six skin types" if types == list(SKIN_TYPES) else f"skin type {', '.join(types)}"
        return (
            f"{len(shots)} photographs by Cycles of {len(people)} unseen virtual people of {of_types} under "
            f"{len(hdris)} unseen HDRIs (validation set of {self.validation.date}, seed {self.validation.seed})."
        )
