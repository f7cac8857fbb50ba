"""How long the interface stands still: `blender --python responsiveness.py -- RESULT PHOTO PYTHON TABLE`.

Run by `python build.py responsiveness` under Xvfb with software OpenGL, which draws slowly itself: the pauses with a job
are therefore set beside those without one, in which the sidebar is drawn as often.
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
ROWS = {
    "still": "between two turns of Blender's loop, no job, the sidebar drawn ten times a second",
    "working": "the same while the worker works",
    "invoke": "our code: starting the job",
    "modal": "our code: one look at the worker",
    "_finish": "our code: the head comes into the scene",
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
    now = "still"
    last = [time.perf_counter()]

    def beat():
        moment = time.perf_counter()
        if now == "still" or status().running:
            milliseconds[now].append(1000.0 * (moment - last[0]))
        last[0] = moment
        return TICK

    bpy.app.timers.register(beat)
    started = time.monotonic()
    while time.monotonic() - started < STILL:
        sidebar.tag_redraw()
        yield 0.1
    now = "working"
    invoke("reconstruct")
    while status().running and time.monotonic() - started < PATIENCE:
        yield 0.5
    assert bpy.context.scene.id2r_runs, f"no head: {status().error} {status().hint}"
    Path(table).write_text(as_table(milliseconds))


def time_calls(milliseconds: dict[str, list[float]]) -> None:
    """Note how long our operators take whenever Blender calls them."""
    kind = addon("operators.modal").JobOperator
    invoked, looked, finished = kind.invoke, kind.modal, kind._finish

    def timed(name, call, *given):
        started = time.perf_counter()
        outcome = call(*given)
        if not (name == "modal" and outcome == {"FINISHED"}):  # which is _finish
            milliseconds[name].append(1000.0 * (time.perf_counter() - started))
        return outcome

    kind.invoke = lambda self, context, event: timed("invoke", invoked, self, context, event)
    kind.modal = lambda self, context, event: timed("modal", looked, self, context, event)
    kind._finish = lambda self, context, last: timed("_finish", finished, self, context, last)


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
