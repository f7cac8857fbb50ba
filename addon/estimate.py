"""How far a job is and how long it will take, from what its stages took the last time."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

START = "start"
WARM_START = 0.1  # seconds until a warm worker begins
# Seconds of every stage on two CPU cores at 1024, for the first job of a session.
USUAL_SECONDS = {
    START: 3.0,
    "photo": 0.1,
    "landmarks": 1.0,
    "crop": 0.1,
    "identity": 0.3,
    "template": 0.1,
    "swap": 1.5,
    "translate": 0.2,
    "head": 3.0,
    "stitch": 2.0,
    "refine": 3.0,
    "detail": 3.0,
    "maps": 1.0,
}
LONGEST_SHARE = 0.95  # a stage that takes longer than usual waits at this share of its part of the bar
FIRST_GUESS = 0.15  # of the whole: before this, the pace of the job is not yet known


@dataclass
class Estimate:
    """Tell `begin(stage)` when a stage begins; `fraction` and `seconds_left` are then good at any moment.

    usual: seconds by stage, in order.
    """

    usual: dict[str, float] = field(default_factory=lambda: dict(USUAL_SECONDS))
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self):
        self._started = self._stage_began = self.clock()
        self._stage = next(iter(self.usual))

    def begin(self, stage: str) -> None:
        """Stages that are not in the table take no part in the estimate."""
        if stage in self.usual and stage != self._stage:
            self._stage, self._stage_began = stage, self.clock()

    @property
    def fraction(self) -> float:
        """Of the expected time, in [0, 1); rises also within a stage."""
        stages = list(self.usual)
        before = sum(self.usual[each] for each in stages[: stages.index(self._stage)])
        usual = self.usual[self._stage]
        within = min(self.clock() - self._stage_began, LONGEST_SHARE * usual)
        return (before + within) / sum(self.usual.values())

    @property
    def seconds_left(self) -> float:
        """At the pace of this job so far."""
        whole, fraction = sum(self.usual.values()), self.fraction
        pace = (self.clock() - self._started) / (fraction * whole) if fraction > FIRST_GUESS else 1.0
        return max(0.0, (1.0 - fraction) * whole * pace)


def learnt(usual: dict[str, float], seconds: dict[str, float]) -> dict[str, float]:
    """The table for the next job: what the stages took in this one."""
    return {stage: seconds.get(stage, each) for stage, each in usual.items()}


def in_words(seconds: float) -> str:
    """ "~20 s left", rounded as coarsely as it is known."""
    if seconds < 2:
        return "nearly done"
    if seconds < 60:
        return f"~{round(seconds)} s left"
    return f"~{round(seconds / 60)} min left"
