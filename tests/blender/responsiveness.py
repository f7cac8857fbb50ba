"""How long the interface stands still: `blender --python responsiveness.py -- RESULT PHOTO PYTHON TABLE`.

Run by `python build.py responsiveness` under Xvfb with software OpenGL, which draws slowly itself: the pauses with a job
are therefore set beside those without one, in which the sidebar is drawn as often. A head comes into the scene twice,
with maps of 1024 and of 4096.
"""

import sys
import time
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from window import PATIENCE, addon, arguments, invoke, largest_area, play, preferences, status

TICK = 0.001  # seconds between looks at the clock, as far as Blender can
STILL = 10.0  # seconds without a job
AFTER = 5.0  # seconds in which Blender draws the finished head
SIDES = (1024, 4096)  # texels
ROWS = {
    "still": "between two turns of Blender's loop, no job, the sidebar drawn ten times a second",
    "working": "the same while the worker works",
    "invoke": "our code: starting the job",
    "look_at": "our code: one look at the worker",
} | {
    f"{name} {side}": text.format(side)
    for side in SIDES
    for name, text in (
        ("step", "our code: one turn of bringing in the head, maps of {}"),
        ("coming", "between two turns of the loop meanwhile"),
        ("come", "between two turns in the five seconds after it, shaders and maps of {} included"),
    )
}


def steps(_result: str, file: str, python: str, table: str):
    """Measure, then write the table; each yields the seconds until the next."""
    preferences().python = python
    area = largest_area()
    area.spaces.active.show_region_ui = True
    yield 1.0
    sidebar = next(region for region in area.regions if region.type == "UI")
    sidebar.active_panel_category = "ID2R"
    bpy.context.scene.id2r.photo = file
    yield 5.0
    milliseconds: dict[str, list[float]] = {name: [] for name in ROWS}
    time_calls(milliseconds)
    idle, last = ["still"], (time.perf_counter(), "still")

    def beat():
        nonlocal last
        moment = time.perf_counter()
        milliseconds[last[1]].append(1000.0 * (moment - last[0]))  # belongs to what was going on when the turn began
        coming = f"coming {bpy.context.scene.id2r.resolution}" if status().stage == "scene" else "working"
        last = moment, coming if status().running else idle[0]
        return TICK

    bpy.app.timers.register(beat)
    for _ in range(round(10 * STILL)):
        sidebar.tag_redraw()
        yield 0.1
    for count, side in enumerate(SIDES):
        bpy.context.scene.id2r.resolution = side
        idle[0], started = f"come {side}", time.monotonic()
        invoke("reconstruct")
        while status().running and time.monotonic() - started < PATIENCE:
            yield 0.05
        assert len(bpy.context.scene.id2r_runs) == count + 1, f"no head: {status().error} {status().hint}"
        yield AFTER
        while not milliseconds[idle[0]]:  # a turn that takes longer than that must end, or it is not counted
            yield 0.05
    Path(table).write_text(as_table(milliseconds))


def time_calls(milliseconds: dict[str, list[float]]) -> None:
    """Note how long our operators take whenever Blender calls them."""
    kind = addon("operators.modal").JobOperator
    invoked, modal = kind.invoke, kind.modal

    def timed_invoke(self, context, event):
        started = time.perf_counter()
        outcome = invoked(self, context, event)
        milliseconds["invoke"].append(1000.0 * (time.perf_counter() - started))
        return outcome

    def timed_modal(self, context, event):
        name = f"step {context.scene.id2r.resolution}" if self._steps else "look_at"
        started = time.perf_counter()
        outcome = modal(self, context, event)
        if event.type == "TIMER":
            milliseconds[name].append(1000.0 * (time.perf_counter() - started))
        return outcome

    kind.invoke, kind.modal = timed_invoke, timed_modal


def as_table(milliseconds: dict[str, list[float]]) -> str:
    lines = ["| milliseconds | times | median | 99 of 100 | longest |", "|---|---:|---:|---:|---:|"]
    for name, what in ROWS.items():
        median, most = np.percentile(milliseconds[name], (50, 99))
        lines.append(
            f"| {what} | {len(milliseconds[name])} | {median:.1f} | {most:.1f} | {max(milliseconds[name]):.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    play(steps(*arguments()))
