"""What is done with a finished head: history, comparison, where its maps live, and other meshes."""

from pathlib import Path

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from .. import history, image_io, job, material, result, target
from ..core import errors, protocol
from ..mesh_io import mesh_of
from ..steps import Steps, all_or_nothing, run
from .modal import JobOperator, mesh_name, run_folder, run_place, start_in_worker, tell


class ID2R_OT_open_result(bpy.types.Operator):
    """Bring in a head that was reconstructed before: the folder with its head.npz and maps"""

    bl_idname = "id2r.open_result"
    bl_label = "Open Result Folder"
    bl_options = {"REGISTER", "UNDO"}

    directory: StringProperty(name="Folder", description="The folder with head.npz", subtype="DIR_PATH")

    def invoke(self, context, event):
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context):
        return tell(self, self._open, context)

    def _open(self, context) -> None:
        run(all_or_nothing(self._head(context), context.scene))

    def _head(self, context) -> Steps[None]:
        folder = Path(bpy.path.abspath(self.directory))
        name = f"ID2R {folder.name}"
        made = yield from result.bring_in(folder, context.scene, name, context.scene.id2r.set_up_scene)
        report = result.read_report(folder)
        request = protocol.Request(photo=str(folder / protocol.PHOTO), out=str(folder))
        history.add_run(context.scene, request, protocol.Result(str(folder), report), made.collection)


class ID2R_OT_show_run(bpy.types.Operator):
    """Show the head of this run and hide the others"""

    bl_idname = "id2r.show_run"
    bl_label = "Show Run"
    bl_options = {"REGISTER", "UNDO"}

    index: run_place()

    def execute(self, context):
        return tell(self, history.show_run, context.scene, self.index)


class ID2R_OT_remove_run(bpy.types.Operator):
    """Delete this run: its head, its cameras and its line in the history"""

    bl_idname = "id2r.remove_run"
    bl_label = "Delete Run"
    bl_options = {"REGISTER", "UNDO"}

    index: run_place()

    def execute(self, context):
        return tell(self, history.remove_run, context.scene, self.index)


class ID2R_OT_compare(bpy.types.Operator):
    """Compare two runs: swap which one is seen, or stand them side by side"""

    bl_idname = "id2r.compare"
    bl_label = "Compare A/B"
    bl_options = {"REGISTER", "UNDO"}

    mode: EnumProperty(
        name="Mode",
        description="How the two are shown",
        items=[
            ("SWAP", "Swap A and B", "Show the other one, from the same camera position"),
            ("SIDE", "Side by Side", "Both at once"),
        ],
    )
    a: IntProperty(name="A", default=-2, description="Place in the history; -2 is the last but one")
    b: IntProperty(name="B", default=-1, description="Place in the history; -1 is the last")

    def execute(self, context):
        return tell(self, self._compare, context.scene)

    def _compare(self, scene) -> None:
        if len(scene.id2r_runs) < 2:
            raise errors.Id2rError("There is only one run.", "Reconstruct again with other settings, then compare.")
        if self.mode == "SIDE":
            history.show_side_by_side(scene, self.a, self.b)
            return
        shown = scene.id2r_run_index == self.b % len(scene.id2r_runs)
        history.show_run(scene, self.a if shown else self.b)


class ID2R_OT_keep_maps(bpy.types.Operator):
    """Pack the maps of this head into the .blend, or save them beside it with relative paths"""

    bl_idname = "id2r.keep_maps"
    bl_label = "Keep Maps"
    bl_options = {"REGISTER", "UNDO"}

    where: EnumProperty(
        name="Where",
        description="Where the maps are kept",
        items=[
            ("PACKED", "In the .blend", "One file that opens anywhere"),
            ("BESIDE", "Beside the .blend", "Picture files in a folder next to it"),
        ],
    )

    def execute(self, context):
        return tell(self, self._keep, context)

    def _keep(self, context) -> None:
        head = head_of(context)
        folder = image_io.textures_of(head.name)
        for own in mesh_of(head).materials:
            if material.skin_node(own):
                image_io.keep_images(list(material.maps_of(own).values()), self.where == "PACKED", folder)


class ID2R_OT_apply_to_mesh(JobOperator, bpy.types.Operator):
    """Put the skin of the shown head on the active mesh, in its own UV map"""

    bl_idname = "id2r.apply_to_mesh"
    bl_label = "Put on Active Mesh"
    bl_options = {"REGISTER", "UNDO"}
    task = "Put on Mesh"

    folder: run_folder()
    mesh: mesh_name()
    size: IntProperty(name="Size", default=2048, min=64, max=8192, description="Side of the maps in texels")

    def begin(self, context) -> job.Job:
        mesh = target.chosen_mesh(context, self.mesh)
        self.mesh = mesh.name
        folder = self.folder or history.run_at(context.scene, context.scene.id2r_run_index).folder
        self._of_run = Path(bpy.path.abspath(folder))
        return start_in_worker(context, target.request_for(mesh, str(self._of_run), self.size))

    def done(self, context, event: protocol.Result) -> Steps[bpy.types.Material]:
        red = result.red_of(result.read_report(self._of_run))
        steps = target.apply_to_mesh(Path(event.out), target.named_mesh(self.mesh), red)
        return all_or_nothing(steps, self.scene())


class ID2R_OT_preview_fit(JobOperator, bpy.types.Operator):
    """Show as a wire how the head would be laid onto the active mesh; its maps will lie where the wire does"""

    bl_idname = "id2r.preview_fit"
    bl_label = "Preview Fit"
    bl_options = {"REGISTER", "UNDO"}
    task = "Preview Fit"

    mesh: mesh_name()

    def begin(self, context) -> job.Job:
        mesh = target.chosen_mesh(context, self.mesh)
        self.mesh = mesh.name
        request = target.request_for(mesh, "", protocol.SMALLEST_RESOLUTION, only_fit=True)
        return start_in_worker(context, request)

    def done(self, context, event: protocol.Result) -> None:
        target.show_fit(target.named_mesh(self.mesh), Path(event.out), event.report)
        self.report({"INFO"}, f"The head lies {event.report['error_mm']:.1f} mm from '{self.mesh}' (median).")


class ID2R_OT_hide_fit(bpy.types.Operator):
    """Remove the wire of the preview"""

    bl_idname = "id2r.hide_fit"
    bl_label = "Hide Fit"
    bl_options = {"REGISTER", "UNDO"}

    mesh: mesh_name()

    def execute(self, context):
        return tell(self, self._hide, context)

    def _hide(self, context) -> None:
        target.hide_fit(target.chosen_mesh(context, self.mesh))


def head_of(context) -> bpy.types.Object:
    """The head that the panels are about. Raises Id2rError when there is none."""
    head = history.current_head(context)
    if head is None:
        raise errors.Id2rError("There is no ID2R head in this scene.", "Reconstruct a photo first.")
    return head


CLASSES = (
    ID2R_OT_open_result,
    ID2R_OT_show_run,
    ID2R_OT_remove_run,
    ID2R_OT_compare,
    ID2R_OT_keep_maps,
    ID2R_OT_apply_to_mesh,
    ID2R_OT_preview_fit,
    ID2R_OT_hide_fit,
)
