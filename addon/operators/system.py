"""The machine: check it, install what is missing, end the worker, packs, folders of environments, problem reports."""

import json
import platform
from pathlib import Path

import bpy
from bpy.props import IntProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from .. import gallery, job, packs, places
from ..core import errors, protocol, version
from ..preferences import forget_check, preferences_of, python_and_device
from .modal import JobOperator, start_in_worker, tell


class ID2R_OT_doctor(JobOperator, bpy.types.Operator):
    """Check that everything is here that a reconstruction needs, and say how to mend what is not"""

    bl_idname = "id2r.doctor"
    bl_label = "Check Installation"
    bl_options = {"REGISTER"}
    task = "Check Installation"

    def begin(self, context) -> job.Job:
        forget_check(context)
        return start_in_worker(context, protocol.InspectRequest())

    def done(self, context, event: protocol.Result) -> None:
        context.window_manager.id2r.devices = json.dumps(event.report["devices"])
        lines, findings = event.report["lines"], event.report["findings"]
        preferences = preferences_of(context)
        if preferences:
            preferences.doctor = "\n".join(lines)
        if len(findings) > 1 and preferences:
            raise errors.Id2rError(f"{len(findings)} things are missing.", "They stand in the preferences of ID2R.")
        if findings:
            raise errors.Id2rError(*(" ".join(each[word] for each in findings) for word in ("message", "hint")))
        self.report({"INFO"}, lines[-1])


class ID2R_OT_install_runtime(bpy.types.Operator):
    """Make a Python environment with PyTorch in the add-on's own user folder; needs the network and about 2 to 6 GB"""

    bl_idname = "id2r.install_runtime"
    bl_label = "Install PyTorch..."

    @classmethod
    def poll(cls, context):
        if not bpy.app.online_access:
            cls.poll_message_set("Allow online access in Preferences, System")
            return False
        return not context.window_manager.id2r.running

    def invoke(self, context, event):
        return context.window_manager.invoke_props_dialog(self, width=420)

    def draw(self, context):
        for line in (
            "PyTorch and the other libraries will be downloaded",
            "from the Python Package Index: about 2 GB, with CUDA 6 GB.",
            f"They go to {places.own_folder(job.RUNTIME)}.",
        ):
            self.layout.label(text=line)

    def execute(self, context):
        bpy.ops.id2r.install_now("EXEC_DEFAULT" if bpy.app.background else "INVOKE_DEFAULT")
        return {"FINISHED"}


class ID2R_OT_install_now(JobOperator, bpy.types.Operator):
    """Install PyTorch without asking again; ends with a complete environment or none"""

    bl_idname = "id2r.install_now"
    bl_label = "Install PyTorch"
    bl_options = {"INTERNAL"}
    task = "Install PyTorch"

    @classmethod
    def poll(cls, context):
        return bpy.app.online_access and super().poll(context)

    def begin(self, context) -> job.Job:
        job.retire()
        return job.start_install(places.own_folder(job.RUNTIME))

    def done(self, context, event: protocol.Result) -> None:
        self.report({"INFO"}, f"PyTorch is installed in {event.out}.")


class ID2R_OT_end_worker(bpy.types.Operator):
    """End the warm worker and give its memory back"""

    bl_idname = "id2r.end_worker"
    bl_label = "Free Memory"

    @classmethod
    def poll(cls, context):
        return job.is_warm() and not context.window_manager.id2r.running

    def execute(self, context):
        job.retire()
        return {"FINISHED"}


class ID2R_OT_import_pack(ImportHelper, bpy.types.Operator):
    """Add a weight pack from a .zip or a folder, after its hashes were checked"""

    bl_idname = "id2r.import_pack"
    bl_label = "Import Pack..."

    filter_glob: StringProperty(default="*.zip;manifest.json", options={"HIDDEN"})

    def execute(self, context):
        return tell(self, self._import, context)

    def _import(self, context) -> None:
        folder = packs.import_pack(Path(bpy.path.abspath(self.filepath)))  # type: ignore[attr-defined]
        context.scene.id2r.pack = str(folder)
        self.report({"INFO"}, f"The pack '{folder.name}' is installed and chosen.")


class ID2R_OT_verify_pack(bpy.types.Operator):
    """Compare every file of the pack with its published hash"""

    bl_idname = "id2r.verify_pack"
    bl_label = "Verify Pack"

    pack: StringProperty(name="Pack", description="Its name, or its folder", default="tiny")

    def execute(self, context):
        return tell(self, self._verify)

    def _verify(self) -> None:
        packs.verify(packs.folder_of(self.pack))
        self.report({"INFO"}, f"All files of the pack '{self.pack}' are as published.")


class ID2R_OT_show_templates(JobOperator, bpy.types.Operator):
    """Make thumbnails of the pack's templates, once, so that one can be chosen by eye"""

    bl_idname = "id2r.show_templates"
    bl_label = "Show Templates"
    bl_options = {"REGISTER"}
    task = "Show Templates"

    def begin(self, context) -> job.Job:
        pack, device = context.scene.id2r.pack, python_and_device(context)[1]
        return start_in_worker(context, protocol.TemplatesRequest(pack, str(gallery.template_folder(pack)), device))

    def done(self, context, event: protocol.Result) -> None:
        self.report({"INFO"}, f"{event.report['templates']} templates; click the picture to choose one.")


class ID2R_OT_add_hdri_folder(bpy.types.Operator):
    """Offer the environments of another folder"""

    bl_idname = "id2r.add_hdri_folder"
    bl_label = "Add Folder"

    path: StringProperty(name="Folder", description="A folder with .exr and .hdr files", subtype="DIR_PATH")

    def execute(self, context):
        return tell(self, self._add, context)

    def _add(self, context) -> None:
        stored_preferences(context).hdri_folders.add().path = self.path


class ID2R_OT_remove_hdri_folder(bpy.types.Operator):
    """Offer the environments of this folder no longer"""

    bl_idname = "id2r.remove_hdri_folder"
    bl_label = "Remove Folder"

    index: IntProperty(name="Folder", description="Place in the list, counted from 0")

    def execute(self, context):
        return tell(self, self._remove, context)

    def _remove(self, context) -> None:
        stored_preferences(context).hdri_folders.remove(self.index)


class ID2R_OT_report_problem(bpy.types.Operator):
    """Copy versions, the last error and the last log, to paste them into a report"""

    bl_idname = "id2r.report_problem"
    bl_label = "Report a Problem"

    def execute(self, context):
        context.window_manager.clipboard = problem_report(context)
        self.report({"INFO"}, "Versions and the last log are in the clipboard; paste them into your report.")
        return {"FINISHED"}


def problem_report(context) -> str:
    """What a developer needs to know; it names no file of the artist except in the log's own words."""
    status = context.window_manager.id2r
    return "\n".join(
        [
            f"ID2R {version}, Blender {bpy.app.version_string}, {platform.platform()}",
            f"Error: {status.error or 'none'} {status.hint}".strip(),
            f"Stage: {status.stage or 'none'}",
            *filter(None, [status.trace]),
            "Log of the last worker:",
            job.last_log() or "(empty)",
        ]
    )


def stored_preferences(context):
    """The preferences. Raises Id2rError while the add-on is not enabled as one."""
    preferences = preferences_of(context)
    if preferences is None:
        raise errors.Id2rError("The add-on has no preferences here.", "Enable it in Preferences, Add-ons.")
    return preferences


CLASSES = (
    ID2R_OT_doctor,
    ID2R_OT_install_runtime,
    ID2R_OT_install_now,
    ID2R_OT_end_worker,
    ID2R_OT_import_pack,
    ID2R_OT_verify_pack,
    ID2R_OT_show_templates,
    ID2R_OT_add_hdri_folder,
    ID2R_OT_remove_hdri_folder,
    ID2R_OT_report_problem,
)
