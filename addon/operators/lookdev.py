"""Light, cameras, turntable, checks, render settings and the contact sheet."""

from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from .. import checks, history, job, lookdev
from ..core import errors, protocol
from .modal import JobOperator, run_folder, tell
from .result import head_of

SHEET = "contact_sheet.png"


class ID2R_OT_set_hdri(bpy.types.Operator):
    """Light the scene with this environment"""

    bl_idname = "id2r.set_hdri"
    bl_label = "Set HDRI"
    bl_options = {"REGISTER", "UNDO"}

    name: StringProperty(name="Environment", description="One of Blender's own by name, or a file", default="forest")
    rotation: FloatProperty(name="Rotation", description="About the vertical", subtype="ANGLE")
    strength: FloatProperty(name="Strength", description="Brightness", default=1.0, min=0.0, soft_max=4.0)

    def execute(self, context):
        light = self.name, self.rotation, self.strength
        return tell(self, lookdev.set_hdri, context.scene, *light, context.scene.id2r.background)


class ID2R_OT_set_lens(bpy.types.Operator):
    """Look through the portrait camera with this focal length; the head keeps its size in the picture"""

    bl_idname = "id2r.set_lens"
    bl_label = "Portrait Camera"
    bl_options = {"REGISTER", "UNDO"}

    lens: FloatProperty(
        name="Focal Length", description="Millimetres", default=lookdev.PORTRAIT_LENS, min=10.0, max=300.0
    )

    def execute(self, context):
        return tell(self, self._set, context)

    def _set(self, context) -> None:
        head = head_of(context)
        camera = lookdev.portrait_of(collection_of(head))
        lookdev.set_lens(camera, head, self.lens)
        if context.scene.frame_current == lookdev.PHOTO_FRAME:
            context.scene.frame_set(lookdev.PORTRAIT_FRAME)
        context.scene.camera = camera


class ID2R_OT_show_view(bpy.types.Operator):
    """Look at the head as a portrait, or over the photo with the expression that it has there"""

    bl_idname = "id2r.show_view"
    bl_label = "Show View"
    bl_options = {"REGISTER", "UNDO"}

    view: EnumProperty(
        name="View",
        description="Through which camera to look",
        items=[("PORTRAIT", "Portrait", "The portrait camera"), ("PHOTO", "Over the Photo", "The photo's own camera")],
    )

    def execute(self, context):
        frames = {"PORTRAIT": lookdev.PORTRAIT_FRAME, "PHOTO": lookdev.PHOTO_FRAME}
        context.scene.frame_set(frames[self.view])
        over_photo = self.view == "PHOTO"  # which a background would hide
        lookdev.set_background(context.scene, "NONE" if over_photo else context.scene.id2r.background)
        space = context.space_data
        if space and space.type == "VIEW_3D":
            space.region_3d.view_perspective = "CAMERA"
        return {"FINISHED"}


class ID2R_OT_turntable(bpy.types.Operator):
    """Turn the head or the light once around, in frames of its own"""

    bl_idname = "id2r.turntable"
    bl_label = "Turntable"
    bl_options = {"REGISTER", "UNDO"}

    turn: EnumProperty(
        name="Turn",
        description="What goes round",
        items=[
            ("HEAD", "Head", "The head turns in still light"),
            ("LIGHT", "Light", "The light turns around the head"),
            ("NONE", "None", "Back to the portrait"),
        ],
    )
    frames: IntProperty(name="Frames", description="Length of the turn", default=96, min=4, max=10000)

    def execute(self, context):
        return tell(self, self._turn, context)

    def _turn(self, context) -> None:
        head = head_of(context)
        camera = lookdev.portrait_of(collection_of(head))
        lookdev.set_turntable(context.scene, head, camera, self.turn, self.frames)


class ID2R_OT_show_checks(bpy.types.Operator):
    """Grey ball, chrome ball and colour chart in the corners of the portrait"""

    bl_idname = "id2r.show_checks"
    bl_label = "Balls and Chart"
    bl_options = {"REGISTER", "UNDO"}

    shown: BoolProperty(name="Shown", description="Off: remove them", default=True)

    def execute(self, context):
        return tell(self, self._show, context)

    def _show(self, context) -> None:
        collection = collection_of(head_of(context))
        checks.show_checks(lookdev.portrait_of(collection), collection, self.shown)


class ID2R_OT_render_preset(bpy.types.Operator):
    """Set the render engine up for skin"""

    bl_idname = "id2r.render_preset"
    bl_label = "Render Preset"
    bl_options = {"REGISTER", "UNDO"}

    engine: EnumProperty(
        name="Engine",
        description="What renders",
        items=[("CYCLES", "Cycles", "Path tracing: true subsurface"), ("EEVEE", "EEVEE", "Fast, for the viewport")],
    )
    quality: EnumProperty(
        name="Quality",
        description="Speed against noise",
        items=[("PREVIEW", "Preview", "Few samples"), ("FINAL", "Final", "Many samples")],
    )

    def execute(self, context):
        set_engine = {"CYCLES": lookdev.set_cycles, "EEVEE": lookdev.set_eevee}[self.engine]
        set_engine(context.scene, lookdev.SAMPLES[self.quality][self.engine])
        return {"FINISHED"}


class ID2R_OT_contact_sheet(JobOperator, bpy.types.Operator):
    """Render the shown head under all environments in the background, as one picture"""

    bl_idname = "id2r.contact_sheet"
    bl_label = "Contact Sheet"
    bl_options = {"REGISTER"}
    task = "Contact Sheet"

    folder: run_folder()
    environments: StringProperty(
        name="Environments", default=",".join(lookdev.HDRIS), description="With commas between"
    )
    samples: IntProperty(name="Samples", description="Of every pixel", default=16, min=1)
    size: IntProperty(name="Size", default=512, min=16, description="Side of one picture in pixels")

    def begin(self, context) -> job.Job:
        run_folder = self.folder or history.run_at(context.scene, context.scene.id2r_run_index).folder
        self._folder = Path(bpy.path.abspath(run_folder))
        if not (self._folder / "head.npz").is_file():
            raise errors.Id2rError("The files of this run are gone.", "Run it again, with a folder in Keep In.")
        options = ["--renders", self.environments, "--samples", str(self.samples), "--size", str(self.size)]
        return job.start_render([str(self._folder), "--sheet-only", *options])

    def done(self, context, event: protocol.Result) -> None:
        image = bpy.data.images.load(str(self._folder / SHEET), check_existing=True)
        image.reload()
        for area in context.screen.areas if context.screen else ():
            if area.type == "IMAGE_EDITOR":
                area.spaces.active.image = image
        self.report({"INFO"}, f"The contact sheet is the image '{image.name}', and {self._folder / SHEET}.")


def collection_of(head: bpy.types.Object) -> bpy.types.Collection:
    """The collection that a run has made around its head."""
    return head.users_collection[0]


CLASSES = (
    ID2R_OT_set_hdri,
    ID2R_OT_set_lens,
    ID2R_OT_show_view,
    ID2R_OT_turntable,
    ID2R_OT_show_checks,
    ID2R_OT_render_preset,
    ID2R_OT_contact_sheet,
)
