"""What every operator shares that works in another process: it never blocks the interface, shows progress, can cancel."""

import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any

import bpy
from bpy.props import IntProperty, StringProperty

from .. import estimate, job
from ..core import errors, protocol
from ..preferences import memory_limit, python_and_device
from ..steps import Steps

TICK = 0.1  # seconds between looks at the worker
SHORT_TICK = 0.01  # seconds between the steps of what comes of it
TURN = 0.02  # seconds after which a turn begins no further step
# What may go on under those steps, besides looking around: everything else could change what they are working on.
HARMLESS = {"MOUSEMOVE", "INBETWEEN_MOUSEMOVE", "MIDDLEMOUSE", "WHEELUPMOUSE", "WHEELDOWNMOUSE", "WINDOW_DEACTIVATE"}
REGIONS = {("VIEW_3D", "UI"), ("IMAGE_EDITOR", "UI"), ("PREFERENCES", "WINDOW")}


if TYPE_CHECKING:
    Operator = bpy.types.Operator
else:
    Operator = object  # Blender takes a mix-in only when it is no operator itself


class JobOperator(Operator):
    """Mix-in. A subclass gives `task` (its title), `begin(context) -> Job` and `done(context, event)`.

    `done` brings a protocol.Result into the scene, in steps when that takes long; it and `begin` may raise Id2rError.
    From scripts and in background the operator waits; from the interface it is modal, Esc cancels, and one undo step
    takes the whole result back.
    """

    task = ""
    timed = False  # whether its stages are a reconstruction's, whose usual seconds are known; others count their steps
    _job: job.Job | None = None
    _worker_ended = False  # whether the worker, which had not stopped when asked, is gone
    _steps: Steps[None] | None = None  # of bringing in what the worker made, once it has ended

    def begin(self, context) -> job.Job:
        raise NotImplementedError

    def done(self, context, event: protocol.Result) -> Steps[Any] | None:
        raise NotImplementedError

    def then(self, context, event: protocol.Result) -> None:
        """What begins when the job is over and all went well."""

    @classmethod
    def poll(cls, context):
        return not context.window_manager.id2r.running

    def execute(self, context):
        self._start_status(context)
        last = self._try(context, lambda: job.finish(self.begin(context), lambda event: self._show(context, event)))
        if isinstance(last, protocol.Result):
            self._steps = self._bring_in(context, last)
            last = self._try(context, self._go_on, inf)
        return self._finish(context, last)

    def invoke(self, context, event):
        if bpy.app.background:
            return self.execute(context)
        self._start_status(context)
        failed = self._try(context, self._begin, context)
        if failed:
            return self._finish(context, failed)
        self._timer = context.window_manager.event_timer_add(TICK, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context, event):
        context.window_manager.id2r.cancelling |= event.type == "ESC" and event.value == "PRESS"
        if event.type != "TIMER":
            return {"PASS_THROUGH"} if self._steps is None or event.type in HARMLESS else {"RUNNING_MODAL"}
        last = self._try(context, self.turn, context)
        if last is None:
            return {"PASS_THROUGH"}
        self.cancel(context)
        return self._finish(context, last)

    def cancel(self, context):
        """End the job; Blender also calls this when it closes the window or opens another file under a running job."""
        context.window_manager.id2r.running = False
        context.window_manager.event_timer_remove(self._timer)
        if context.workspace:
            context.workspace.status_text_set(None)
        self._end_job()
        if self._steps:
            self._steps.close()  # what they have made until now goes again

    def turn(self, context) -> protocol.Event | None:
        """One turn of Blender's loop: a look at the worker, or some steps; returns how all ended when it has."""
        if self._steps is None:
            last = self.look_at(context)
            if not isinstance(last, protocol.Result):
                return last
            self._end_job()
            self._steps = self._bring_in(context, last)
            self._tick_faster(context)
            return None
        return protocol.Stopped() if context.window_manager.id2r.cancelling else self._go_on(TURN)

    def look_at(self, context) -> protocol.Event | None:
        """Show what the worker said since the last look; returns its last event when it has come."""
        if context.window_manager.id2r.cancelling:
            self._job.cancel()
        for event in self._job.poll():
            if isinstance(event, job.LAST_EVENTS):
                return event
            self._show(context, event)
        self._show_time(context)
        return None

    def _begin(self, context) -> None:
        self._job = self.begin(context)

    def _end_job(self) -> None:
        ended, self._job = self._job, None
        if ended:
            self._worker_ended = ended.close()

    def _tick_faster(self, context) -> None:
        manager = context.window_manager
        manager.event_timer_remove(self._timer)
        self._timer = manager.event_timer_add(SHORT_TICK, window=context.window)
        manager.id2r.stage = "scene"
        self._show_time(context)

    def _bring_in(self, context, result: protocol.Result) -> Steps[None]:
        """The steps of `done`, and what follows when all went well."""
        yield from self.done(context, result) or ()
        _usual.update(estimate.learnt(_usual, result.report.get("seconds", {})))
        context.window_manager.id2r.fraction = 1.0
        self._result = result

    def _go_on(self, seconds: float) -> protocol.Event | None:
        """Take a step, and more until this time is over; the result, once there are none left."""
        end = time.perf_counter() + seconds
        try:
            next(self._steps)
            while time.perf_counter() < end:
                next(self._steps)
        except StopIteration:
            return self._result
        return None

    def _try(self, context, work: Callable[..., protocol.Event | None], *arguments) -> protocol.Event | None:
        """What the work returns, or how it failed. A failure that nobody foresaw is kept for the problem report."""
        try:
            return work(*arguments)
        except Exception as error:  # noqa: BLE001 - the process edge: a bug ends the job, and the panel says so
            return protocol.Failed(*in_words(error, context.window_manager.id2r))

    def _start_status(self, context) -> None:
        status = context.window_manager.id2r
        for name in ("stage", "error", "hint", "warnings", "fraction", "cancelling", "seconds_left", "trace"):
            status.property_unset(name)
        status.running, status.task = True, self.task
        self._scene = context.scene.name
        start = {estimate.START: estimate.WARM_START} if job.is_warm() else {}
        self._estimate = estimate.Estimate(_usual | start) if self.timed else None

    def _show(self, context, event: protocol.Event) -> None:
        status = context.window_manager.id2r
        if isinstance(event, protocol.Progress):
            status.stage = event.stage
            status.fraction = event.done / event.total
            if self._estimate:
                self._estimate.begin(event.stage)
        elif isinstance(event, protocol.Warned):
            status.warnings = "\n".join(filter(None, (status.warnings, event.text)))

    def _show_time(self, context) -> None:
        status = context.window_manager.id2r
        if self._estimate and status.stage in ("", *self._estimate.usual):
            status.fraction, status.seconds_left = self._estimate.fraction, self._estimate.seconds_left
        if context.workspace:
            context.workspace.status_text_set(f"ID2R: {self.task}, {status.stage or 'starting'}.  Esc cancels")
        redraw(context)

    def _finish(self, context, last: protocol.Event) -> set[str]:
        """Say how the job ended; the status is no longer "running"."""
        status = context.window_manager.id2r
        status.running = status.cancelling = False
        redraw(context)
        is_done = isinstance(last, protocol.Result)
        if isinstance(last, protocol.Result):
            last = self._try(context, self.then, context, last)
        if isinstance(last, protocol.Failed):
            status.error, status.hint = last.message, last.hint
            self.report({"ERROR"}, f"{last.message} {last.hint}")
        elif not is_done:
            ended = " The worker was ended, too: the next start takes longer." if self._worker_ended else ""
            self.report({"INFO"}, f"Cancelled; the scene is unchanged.{ended}")
        return {"FINISHED"} if is_done else {"CANCELLED"}

    def scene(self):
        """The scene in which the job was started, whichever is open now."""
        scene = bpy.data.scenes.get(self._scene)
        if scene is None:
            raise errors.Id2rError("The scene of this job is gone.", "Start it again in another scene.")
        return scene


_usual = dict(estimate.USUAL_SECONDS)  # what the stages took the last time in this session


def begin_another(name: str, **arguments) -> None:
    """Start the job of another operator of ours by its name; what it cannot do stands in the panel."""
    operator = getattr(bpy.ops.id2r, name)  # type: ignore[attr-defined]
    if bpy.app.background:
        operator("EXEC_DEFAULT", **arguments)
        return
    with suppress(RuntimeError):  # an operator that reports an error also raises it; the status has it already
        operator("INVOKE_DEFAULT", **arguments)


def redraw(context) -> None:
    """Draw the sidebars of all windows again in which a job shows its progress, and not the viewports beside them."""
    areas = [area for window in context.window_manager.windows for area in window.screen.areas]
    for area in areas:
        for region in area.regions:
            if (area.type, region.type) in REGIONS:
                region.tag_redraw()


def start_in_worker(context, request: protocol.AnyRequest) -> job.Job:
    """Give a request to the worker of the preferences' Python."""
    return job.start(job.find_python(python_and_device(context)[0]), request, memory_limit(context))


def run_place():
    """The property by which an operator names a run."""
    return IntProperty(name="Run", default=-1, description="Place in the history, counted from 0; -1 is the last")


def run_folder():
    """The property by which an operator names the files of a run; the next button means the run that is shown then."""
    text = "Empty: that of the shown run"
    return StringProperty(name="Result Folder", subtype="DIR_PATH", description=text, options={"SKIP_SAVE"})


def mesh_name():
    """The property by which an operator names a mesh."""
    text = "Name of the mesh; empty: the active object"
    return StringProperty(name="Mesh", description=text, options={"SKIP_SAVE"})


def tell(operator: bpy.types.Operator, work: Callable, *arguments) -> set[str]:
    """Do the work of a quick operator; a failure becomes one clear sentence."""
    try:
        work(*arguments)
    except Exception as error:  # noqa: BLE001 - the process edge
        operator.report({"ERROR"}, " ".join(in_words(error, bpy.context.window_manager.id2r)))  # type: ignore[attr-defined]
        return {"CANCELLED"}
    return {"FINISHED"}


def in_words(error: Exception, status) -> tuple[str, str]:
    """Message and hint. Where in the code a failure happened that nobody foresaw is kept for the problem report."""
    if isinstance(error, errors.Id2rError):
        return error.message, error.hint
    status.trace = "".join(traceback.format_exception(error))
    traceback.print_exception(error)
    return errors.unforeseen(error)
