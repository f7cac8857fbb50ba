"""Reconstruct: the photo of the scene's settings becomes a head in the scene."""

from pathlib import Path

import bpy

from .. import history, job, lookdev, result, target
from ..core import protocol
from ..preferences import python_and_device
from ..properties import apply_request, request_of
from ..steps import Steps, all_or_nothing
from .modal import JobOperator, begin_another, run_place, start_in_worker, tell


class ID2R_OT_reconstruct(JobOperator, bpy.types.Operator):
    """Turn the photo into a relightable head; one undo step takes it back"""

    bl_idname = "id2r.reconstruct"
    bl_label = "Reconstruct"
    bl_options = {"REGISTER", "UNDO"}
    task = "Reconstruct"
    timed = True

    @classmethod
    def poll(cls, context):
        if not (context.scene.id2r.photo or context.scene.library):  # a linked scene can take none, which is said later
            cls.poll_message_set("Open a photo first, in the panel Reference")
            return False
        return super().poll(context)

    def begin(self, context) -> job.Job:
        result.check_own(context.scene)
        settings = context.scene.id2r
        self._request = request_of(settings, python_and_device(context)[1])
        self._set_up_scene = settings.set_up_scene
        self._mesh = target.chosen_mesh(context).name if settings.target == "MESH" else None
        return start_in_worker(context, self._request)

    def done(self, context, event: protocol.Result) -> Steps[None]:
        return all_or_nothing(self._head(context, event), self.scene())

    def then(self, context, event: protocol.Result) -> None:
        if self._mesh:
            begin_another("apply_to_mesh", folder=event.out, mesh=target.named_mesh(self._mesh).name)

    def _head(self, context, event: protocol.Result) -> Steps[None]:
        scene = self.scene()
        name = head_name(self._request.photo)
        made = yield from result.bring_in(Path(event.out), scene, name, self._set_up_scene)
        history.add_run(scene, self._request, event, made.collection)
        if self._set_up_scene and context.screen and scene == context.scene:
            lookdev.show_through_camera(context.screen, made.collection)


class ID2R_OT_cancel(bpy.types.Operator):
    """Stop the running job; the scene stays as it is"""

    bl_idname = "id2r.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context):
        status = context.window_manager.id2r
        return status.running and not status.cancelling

    def execute(self, context):
        context.window_manager.id2r.cancelling = True
        return {"FINISHED"}


class ID2R_OT_use_run(bpy.types.Operator):
    """Take over the photo and the options of this run, to run it again with other settings"""

    bl_idname = "id2r.use_run"
    bl_label = "Use These Settings"
    bl_options = {"REGISTER", "UNDO"}

    index: run_place()

    def execute(self, context):
        return tell(self, self._use, context)

    def _use(self, context) -> None:
        apply_request(context.scene.id2r, history.request_of(context.scene, self.index))


def head_name(photo: str) -> str:
    return f"ID2R {Path(photo).stem}"


CLASSES = (ID2R_OT_reconstruct, ID2R_OT_cancel, ID2R_OT_use_run)
