"""Drawing only: the N-panel "ID2R" in the 3D viewport."""

from textwrap import wrap

import bpy

from .lookdev import HDRIS, PHOTO_FRAME, PORTRAIT_FRAME
from .preferences import own_environments

PIXELS_PER_LETTER = 7.0
LONGEST_TEXT = 400  # letters; the whole text is in the Info editor


class ID2R_PT_reconstruct(bpy.types.Panel):
    bl_idname = "ID2R_PT_reconstruct"
    bl_label = "Reconstruct"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "ID2R"

    def draw(self, context) -> None:
        status = context.window_manager.id2r
        column = self.layout.column()
        column.active = not status.running
        column.use_property_split = True
        column.use_property_decorate = False
        for name in ("photo", "pack", "resolution", "template", "refine", "keep_expression", "set_up_scene", "out"):
            column.prop(context.scene.id2r, name)
        draw_job(self.layout, status)
        draw_text(self.layout, context, status.error, "ERROR")
        draw_text(self.layout, context, status.hint, "INFO")
        for line in status.warnings.splitlines():
            draw_text(self.layout, context, line, "QUESTION")


class ID2R_PT_lookdev(bpy.types.Panel):
    bl_idname = "ID2R_PT_lookdev"
    bl_label = "Lookdev"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "ID2R"

    def draw(self, context) -> None:
        world = context.scene.world
        image = world.node_tree.nodes.get("Environment Texture") if world and world.node_tree else None
        name = image.image.name if image and image.image else "Choose an Environment"
        self.layout.menu("ID2R_MT_environments", text=name, icon="WORLD")
        if image:
            draw_world(self.layout, world.node_tree.nodes)
        row = self.layout.row(align=True)
        for label, frame in (("Portrait", PORTRAIT_FRAME), ("Over the Photo", PHOTO_FRAME)):
            jump = row.operator("screen.frame_offset", text=label, depress=context.scene.frame_current == frame)
            jump.delta = frame - context.scene.frame_current


class ID2R_MT_environments(bpy.types.Menu):
    bl_idname = "ID2R_MT_environments"
    bl_label = "Environment"

    def draw(self, context) -> None:
        for name in HDRIS:
            self.layout.operator("id2r.set_hdri", text=name.capitalize()).name = name
        self.layout.separator()
        for file in own_environments(context):
            self.layout.operator("id2r.set_hdri", text=file.stem).name = str(file)


def draw_world(layout, nodes) -> None:
    """Rotation and strength, live."""
    column = layout.column()
    column.use_property_split = True
    mapping, background = nodes.get("Mapping"), nodes.get("Background")
    if mapping:
        column.prop(mapping.inputs["Rotation"], "default_value", index=2, text="Rotation")
    if background:
        column.prop(background.inputs["Strength"], "default_value", text="Strength")


def draw_job(layout, status) -> None:
    """The button, or the progress of the running job with a way out."""
    if not status.running:
        row = layout.row()
        row.scale_y = 1.4
        row.operator("id2r.reconstruct", icon="USER")
        return
    text = "Cancelling" if status.cancelling else status.stage.capitalize() or "Starting"
    layout.progress(factor=status.fraction, text=text)
    layout.operator("id2r.cancel", icon="X")


def draw_text(layout, context, text: str, icon: str) -> None:
    """A sentence, wrapped to the width of the panel."""
    letters = max(20, int(context.region.width / (PIXELS_PER_LETTER * context.preferences.system.ui_scale)) - 6)
    column = layout.column(align=True)
    for row, line in enumerate(wrap(text[:LONGEST_TEXT], letters)):
        column.label(text=line, icon="BLANK1" if row else icon)
