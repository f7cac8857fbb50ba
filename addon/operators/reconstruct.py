"""Reconstruct: the photo of the scene's settings becomes a head in the scene."""

from pathlib import Path
from typing import ClassVar

import bpy

from .. import job, result
from ..core import errors, protocol
from ..preferences import python_and_device
from ..properties import request_of

TICK = 0.1  # seconds between looks at the worker


class ID2R_OT_reconstruct(bpy.types.Operator):
    """Turn the photo into a relightable head; one undo step takes it back"""

    bl_idname = "id2r.reconstruct"
    bl_label = "Reconstruct"
    bl_options: ClassVar[set[str]] = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        return not context.window_manager.id2r.running

    def execute(self, context):  # in background and from scripts: waits for the result
        return finish(self, context, wait_for_worker(context))

    def invoke(self, context, event):  # from the panel: leaves the interface free
        if bpy.app.background:
            return self.execute(context)
        try:
            self._job = job.Job(*begin(context))
        except errors.Id2rError as error:
            return finish(self, context, protocol.Failed(error.message, error.hint))
        self._timer = context.window_manager.event_timer_add(TICK, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context, event):
        context.window_manager.id2r.cancelling |= event.type == "ESC"
        last = look_at(self._job, context) if event.type == "TIMER" else None
        if last is None:
            return {"PASS_THROUGH"}
        self.cancel(context)
        return finish(self, context, last)

    def cancel(self, context):
        """End the worker; Blender also calls this when it closes the window under a running job."""
        context.window_manager.id2r.running = False
        context.window_manager.event_timer_remove(self._timer)
        self._job.close(patience=0.2)


class ID2R_OT_cancel(bpy.types.Operator):
    """Stop the running reconstruction; the scene stays as it is"""

    bl_idname = "id2r.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context):
        status = context.window_manager.id2r
        return status.running and not status.cancelling

    def execute(self, context):
        context.window_manager.id2r.cancelling = True
        return {"FINISHED"}


def begin(context) -> tuple[str, protocol.Request]:
    """The Python and the request; the panel's status starts afresh."""
    status = context.window_manager.id2r
    for name in ("stage", "error", "hint", "warnings", "fraction", "cancelling"):
        status.property_unset(name)
    chosen, device = python_and_device(context)
    request = request_of(context.scene.id2r, device)
    python = job.find_python(chosen)
    status.running = True
    return python, request


def wait_for_worker(context) -> protocol.Event:
    """Run the job to its last event."""
    try:
        return job.run(*begin(context), lambda event: show(context, event))
    except errors.Id2rError as error:
        return protocol.Failed(error.message, error.hint)


def look_at(running: job.Job, context) -> protocol.Event | None:
    """Show what the worker said since the last look; returns its last event when it has come."""
    if context.window_manager.id2r.cancelling:
        running.cancel()
    for event in running.poll():
        if isinstance(event, job.LAST_EVENTS):
            return event
        show(context, event)
    return None


def show(context, event: protocol.Event) -> None:
    """Bring one event to the panel."""
    status = context.window_manager.id2r
    if isinstance(event, protocol.Progress):
        status.stage = event.stage
        status.fraction = event.done / event.total
    elif isinstance(event, protocol.Warned):
        status.warnings = "\n".join(filter(None, (status.warnings, event.text)))
    for area in context.screen.areas if context.screen else ():
        if area.type == "VIEW_3D":
            area.tag_redraw()


def finish(operator: bpy.types.Operator, context, last: protocol.Event) -> set[str]:
    """Bring the result into the scene, or say what went wrong; the status is no longer "running"."""
    status = context.window_manager.id2r
    status.running = status.cancelling = False
    if isinstance(last, protocol.Result):
        try:
            settings = context.scene.id2r
            result.load_result(Path(last.out), context.scene, head_name(settings.photo), settings.set_up_scene)
            return {"FINISHED"}
        except errors.Id2rError as error:
            last = protocol.Failed(error.message, error.hint)
    if isinstance(last, protocol.Failed):
        status.error, status.hint = last.message, last.hint
        operator.report({"ERROR"}, f"{last.message} {last.hint}")
    else:
        operator.report({"INFO"}, "Cancelled; the scene is unchanged.")
    return {"CANCELLED"}


def head_name(photo: str) -> str:
    return f"ID2R {Path(photo).stem}"
