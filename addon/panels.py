"""Drawing only: the panels "ID2R" in the sidebar of the 3D viewport, and the reference panel in the Image Editor."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import bpy

from . import checks, faces, gallery, history, job, lookdev, material, mesh_io, target
from .core import EXTENSION_PACKAGE, protocol
from .preferences import DEVICE_NAMES, preferences_of
from .words import draw_progress, draw_text

THUMBNAIL = 7.0  # of a photo, in units of the interface
ENVIRONMENTS = 6.0
TEMPLATE, TEMPLATES = 4.0, 3.0  # the chosen one, and each in the gallery
FACE, FACES_A_ROW, PHOTOS_A_ROW = 3.0, 3, 4
RESOLUTIONS = (1024, 2048, 4096)
LENSES = (35, 50, 85, 200)
EXPRESSIONS = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp")


def split_column(layout):
    """A column with names to the left of their values."""
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    return column


if TYPE_CHECKING:
    Panel = bpy.types.Panel
else:
    Panel = object  # Blender takes a mix-in only when it is no panel itself


class InViewport(Panel):
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "ID2R"


class InImageEditor(Panel):
    bl_space_type = "IMAGE_EDITOR"
    bl_region_type = "UI"
    bl_category = "ID2R"


class ID2R_PT_reference(InViewport, bpy.types.Panel):
    bl_idname = "ID2R_PT_reference"
    bl_label = "Reference"

    def draw(self, context) -> None:
        draw_reference(self.layout, context)


class ID2R_PT_reference_image(InImageEditor, bpy.types.Panel):
    bl_idname = "ID2R_PT_reference_image"
    bl_label = "Reference"

    def draw(self, context) -> None:
        draw_reference(self.layout, context)
        draw_job(self.layout, context)


class ID2R_PT_reconstruct(InViewport, bpy.types.Panel):
    bl_idname = "ID2R_PT_reconstruct"
    bl_label = "Reconstruct"

    def draw(self, context) -> None:
        settings, status = context.scene.id2r, context.window_manager.id2r
        column = self.layout.column()
        column.active = not status.running
        row = column.row(align=True)
        row.prop(settings, "target", expand=True)
        column.prop(settings, "resolution")
        row = column.row(align=True)
        for side in RESOLUTIONS:
            button = row.operator("wm.context_set_int", text=f"{side // 1024}K", depress=settings.resolution == side)
            button.data_path, button.value = "scene.id2r.resolution", side
        column.prop(settings, "refine", slider=True)
        column.prop(settings, "hair", slider=True)
        column.prop(settings, "pores", slider=True)
        column.prop(settings, "keep_expression")
        draw_job(self.layout, context)


class ID2R_PT_options(InViewport, bpy.types.Panel):
    bl_idname = "ID2R_PT_options"
    bl_label = "Options"
    bl_parent_id = "ID2R_PT_reconstruct"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context) -> None:
        settings = context.scene.id2r
        column = split_column(self.layout)
        column.prop(settings, "pack")
        column.prop(settings, "template")
        draw_templates(self.layout, settings)
        column = split_column(self.layout)
        preferences = preferences_of(context)
        if preferences:
            column.prop(preferences, "device")
            draw_device(column, context, preferences.device)
        column.prop(settings, "out", text="Keep In")
        self.layout.prop(settings, "set_up_scene")


class ID2R_PT_result(InViewport, bpy.types.Panel):
    bl_idname = "ID2R_PT_result"
    bl_label = "Result"

    def draw(self, context) -> None:
        head = history.current_head(context)
        if head is None:
            draw_text(self.layout, context, "No head yet. Reconstruct a photo, or open an earlier result.", "INFO")
            self.layout.operator("id2r.open_result", icon="FILE_FOLDER")
            return
        skin = next((node for own in mesh_io.mesh_of(head).materials if (node := material.skin_node(own))), None)
        if skin is None:
            draw_text(self.layout, context, f"{head.name} has no ID2R skin any more.", "ERROR")
            return
        self.layout.label(text=head.name, icon="USER")
        column = split_column(self.layout)
        if head.get(mesh_io.PHOTO_EXPRESSION) is not None:
            column.prop(head, f'["{mesh_io.PHOTO_EXPRESSION}"]', text="Expression", slider=True)
        for name in material.CONTROLS:
            text = name.replace("Pore Strength", "Pores")
            column.prop(skin.inputs[name], "default_value", text=text, slider=True)


class ID2R_PT_expressions(InViewport, bpy.types.Panel):
    bl_idname = "ID2R_PT_expressions"
    bl_label = "Expression Keys"
    bl_parent_id = "ID2R_PT_result"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context):
        return history.current_head(context) is not None

    def draw(self, context) -> None:
        keys = mesh_io.keys_of(history.current_head(context)).key_blocks
        column = self.layout.column(align=True)
        for name in EXPRESSIONS:
            if name in keys:
                column.prop(keys[name], "value", text=name, slider=True)
        named = set(keys.keys()) - {"Basis", mesh_io.PHOTO_KEY}
        draw_text(self.layout, context, f"All {len(named)} are under Shape Keys in Object Data.", "INFO")


class ID2R_PT_history(InViewport, bpy.types.Panel):
    bl_idname = "ID2R_PT_history"
    bl_label = "History"
    bl_parent_id = "ID2R_PT_result"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context):
        return bool(context.scene.id2r_runs) or history.current_head(context) is not None

    def draw(self, context) -> None:
        scene = context.scene
        for index, run in enumerate(scene.id2r_runs):
            draw_run(self.layout.box(), index, run, is_shown=index == scene.id2r_run_index)
        if len(scene.id2r_runs) > 1:
            row = self.layout.row(align=True)
            row.operator("id2r.compare", text="Swap A/B", icon="ARROW_LEFTRIGHT").mode = "SWAP"
            row.operator("id2r.compare", text="Side by Side").mode = "SIDE"
        self.layout.operator("id2r.open_result", icon="FILE_FOLDER")


class ID2R_PT_target(InViewport, bpy.types.Panel):
    bl_idname = "ID2R_PT_target"
    bl_label = "Put on a Mesh"
    bl_parent_id = "ID2R_PT_result"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context):
        return history.current_head(context) is not None

    def draw(self, context) -> None:
        active = context.object
        if active is None or active.type != "MESH" or active.get(mesh_io.HEAD_MARK):
            draw_text(self.layout, context, "Select the mesh that is to have this skin.", "INFO")
            return
        self.layout.label(text=active.name, icon="MESH_DATA")
        if target.is_makehuman(active):
            draw_text(self.layout, context, "An MPFB human: the skin follows its own layout.", "CHECKMARK")
        else:
            draw_fit(self.layout, context, active)
        self.layout.operator("id2r.apply_to_mesh", text="Put On", icon="MOD_CLOTH").mesh = active.name


class ID2R_PT_lookdev(InViewport, bpy.types.Panel):
    bl_idname = "ID2R_PT_lookdev"
    bl_label = "Lookdev"

    def draw(self, context) -> None:
        settings = context.scene.id2r
        self.layout.template_icon_view(settings, "hdri", show_labels=True, scale=ENVIRONMENTS, scale_popup=5.0)
        self.layout.prop(settings, "hdri", text="")
        column = split_column(self.layout)
        for name in ("hdri_rotation", "hdri_strength"):
            column.prop(settings, name)
        self.layout.row(align=True).prop(settings, "background", expand=True)
        row = self.layout.row(align=True)
        for label, view in (("Portrait", "PORTRAIT"), ("Over the Photo", "PHOTO")):
            frame = {"PORTRAIT": lookdev.PORTRAIT_FRAME, "PHOTO": lookdev.PHOTO_FRAME}[view]
            is_now = context.scene.frame_current == frame
            row.operator("id2r.show_view", text=label, depress=is_now).view = view


class ID2R_PT_camera(InViewport, bpy.types.Panel):
    bl_idname = "ID2R_PT_camera"
    bl_label = "Camera and Checks"
    bl_parent_id = "ID2R_PT_lookdev"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context) -> None:
        camera = context.scene.camera
        row = self.layout.row(align=True)
        for lens in LENSES:
            is_set = camera is not None and abs(camera.data.lens - lens) < 0.5
            row.operator("id2r.set_lens", text=f"{lens} mm", depress=is_set).lens = lens
        shown = camera is not None and checks.are_shown(camera)
        text = "Hide Balls and Chart" if shown else "Show Balls and Chart"
        self.layout.operator("id2r.show_checks", text=text, icon="SHADING_RENDERED").shown = not shown
        row = self.layout.row(align=True)
        row.label(text="Turn:")
        head = history.current_head(context)
        now = lookdev.turn_now(context.scene, head) if head else ""
        for turn in ("HEAD", "LIGHT", "NONE"):
            row.operator("id2r.turntable", text=turn.capitalize(), depress=turn == now).turn = turn


class ID2R_PT_render(InViewport, bpy.types.Panel):
    bl_idname = "ID2R_PT_render"
    bl_label = "Render"
    bl_parent_id = "ID2R_PT_lookdev"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context) -> None:
        for engine, label in (("CYCLES", "Cycles"), ("EEVEE", "EEVEE")):
            row = self.layout.row(align=True)
            row.label(text=label)
            for quality in ("PREVIEW", "FINAL"):
                is_set = lookdev.render_now(context.scene) == (engine, lookdev.SAMPLES[quality][engine])
                button = row.operator("id2r.render_preset", text=quality.capitalize(), depress=is_set)
                button.engine, button.quality = engine, quality
        self.layout.operator("id2r.contact_sheet", icon="RENDERLAYERS")


class ID2R_PT_export(InViewport, bpy.types.Panel):
    bl_idname = "ID2R_PT_export"
    bl_label = "Export"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context) -> None:
        settings = context.scene.id2r
        self.layout.prop(settings, "export_folder", text="")
        column = split_column(self.layout)
        for name in ("export_size", "export_format", "export_normals", "export_orm"):
            column.prop(settings, name)
        row = column.row(heading="UDIM Tile")
        row.prop(settings, "export_udim", text="")
        row = row.row()
        row.active = settings.export_udim
        row.prop(settings, "export_tile", text="")
        self.layout.operator("id2r.export_maps", icon="TEXTURE")
        row = self.layout.row(align=True)
        for kind, label in (("GLTF", "glTF"), ("USD", "USD"), ("FBX", "FBX")):
            row.operator("id2r.export_model", text=label).kind = kind
        self.layout.operator("id2r.mark_asset", icon="ASSET_MANAGER")
        row = self.layout.row(align=True)
        row.operator("id2r.keep_maps", text="Pack Maps").where = "PACKED"
        row.operator("id2r.keep_maps", text="Unpack Maps").where = "BESIDE"


def draw_reference(layout, context) -> None:
    """The photo with its thumbnail, and the ways to choose one."""
    settings, status = context.scene.id2r, context.window_manager.id2r
    if status.running and status.stage == "camera" and Path(status.preview).is_file():
        layout.template_icon(icon_value=gallery.icon_of(status.preview), scale=THUMBNAIL)
    elif settings.photo and Path(bpy.path.abspath(settings.photo)).is_file():
        layout.template_icon(icon_value=gallery.icon_of(settings.photo), scale=THUMBNAIL)
    elif settings.photo:
        draw_text(layout, context, f"{Path(settings.photo).name} is not there any more. Open it again.", "ERROR")
    else:
        draw_text(layout, context, "Open a photo with one well-lit face, or drop one on the viewport.", "INFO")
    layout.prop(settings, "photo", text="")
    row = layout.row(align=True)
    row.operator("id2r.open_photo", text="Open", icon="FILE_FOLDER")
    row.operator("id2r.paste_photo", text="Paste", icon="PASTEDOWN")
    row = layout.row(align=True)
    row.operator("id2r.capture_photo", text="Webcam", icon="CAMERA_DATA")
    row.prop(settings, "camera", text="No.")
    draw_image_choice(layout, context)
    draw_faces(layout, context)
    draw_more_photos(layout, context)


def draw_more_photos(layout, context) -> None:
    """Further photos of the same person, each with a way to leave it out, and a way to add some."""
    settings = context.scene.id2r
    if not settings.photo or context.window_manager.id2r.running:
        return
    if settings.more_photos:
        grid = layout.grid_flow(row_major=True, columns=PHOTOS_A_ROW, even_columns=True, align=True)
        for index, photo in enumerate(settings.more_photos):
            column = grid.column(align=True)
            column.template_icon(icon_value=gallery.icon_of(photo.path), scale=FACE)
            column.operator("id2r.remove_photo", text="", icon="X").index = index
    if len(settings.more_photos) < protocol.MOST_MORE_PHOTOS:
        layout.operator("id2r.add_photos", icon="ADD")


def draw_templates(layout, settings) -> None:
    """The templates of the pack by eye, once somebody has asked for their thumbnails."""
    if gallery.has_templates(settings.pack):
        layout.template_icon_view(settings, "template_seen", show_labels=True, scale=TEMPLATE, scale_popup=TEMPLATES)
    else:
        layout.operator("id2r.show_templates", icon="IMGDISPLAY")


def draw_fit(layout, context, active) -> None:
    """How the head would lie on a mesh of any kind."""
    fit = target.fit_of(active)
    if fit:
        draw_text(layout, context, f"Fit: {fit[target.FIT_ERROR]:.1f} mm apart", "INFO")
        layout.operator("id2r.hide_fit", icon="HIDE_ON").mesh = active.name
    else:
        layout.operator("id2r.preview_fit", icon="MOD_SHRINKWRAP").mesh = active.name


def draw_image_choice(layout, context) -> None:
    """Take an image that this .blend holds already."""
    settings = context.scene.id2r
    if context.area and context.area.type == "IMAGE_EDITOR":
        layout.operator("id2r.use_image", text="Use This Image", icon="IMAGE_DATA").image = ""
    elif any(map(is_picture, bpy.data.images)):
        row = layout.row(align=True)
        row.prop(settings, "image", text="")
        row = row.row(align=True)
        row.enabled = settings.image is not None
        row.operator("id2r.use_image", text="Use Image").image = settings.image.name if settings.image else ""


def is_picture(image: bpy.types.Image) -> bool:
    """Can this image be taken? Every file has one for a render, also before anything was rendered."""
    return image.source != "VIEWER" or image.has_data


def draw_faces(layout, context) -> None:
    """The faces of the photo to choose from, and what is to be said about the chosen one."""
    settings, status = context.scene.id2r, context.window_manager.id2r
    if not settings.photo or status.running:
        return
    found = faces.found_in(context)
    if found is None:
        layout.operator("id2r.find_faces", icon="VIEWZOOM")
        return
    used = history.used_face(context.scene, found.photo)
    if len(found.faces) > 1:
        text = "Press another number to make that one:" if used else "Which face?"
        layout.label(text=text, icon="COMMUNITY")
        grid = layout.grid_flow(row_major=True, columns=FACES_A_ROW, even_columns=True, align=True)
        for face in found.faces:
            draw_face(grid.column(align=True), face, settings.face, redo=used not in (None, face["number"]))
    if settings.face > len(found.faces):
        return
    for line in found.face(settings.face)["warnings"]:
        draw_text(layout, context, line, "QUESTION")
    row = layout.row(align=True)
    row.operator("id2r.show_landmarks", icon="MOD_MESHDEFORM")
    if settings.landmarks:
        row.operator("id2r.reset_landmarks", text="", icon="LOOP_BACK")


def draw_face(column, face: dict, chosen: int, redo: bool) -> None:
    """One face of the picker."""
    number = face["number"]
    column.template_icon(icon_value=gallery.icon_of(face["thumbnail"]), scale=FACE)
    button = column.operator("id2r.choose_face", text=str(number), depress=chosen == number)
    button.number, button.redo = number, redo


def draw_job(layout, context) -> None:
    """The button, or the progress of the running job with a way out; then what the last job had to say."""
    status = context.window_manager.id2r
    if status.running:
        draw_progress(layout, status)
    else:
        row = layout.row()
        row.scale_y = 1.4
        row.operator("id2r.reconstruct", icon="USER")
    draw_text(layout, context, status.error, "ERROR")
    draw_text(layout, context, status.hint, "INFO")
    for line in status.warnings.splitlines():
        draw_text(layout, context, line, "QUESTION")
    if status.error:
        draw_ways_out(layout, context)


def draw_ways_out(layout, context) -> None:
    """What helps after an error: the preferences, when the hint speaks of them, and whom to tell."""
    if preferences_of(context) and "preferences" in context.window_manager.id2r.hint:
        button = layout.operator("preferences.addon_show", text="Preferences of ID2R", icon="PREFERENCES")
        button.module = EXTENSION_PACKAGE
    layout.operator("id2r.report_problem", icon="COPYDOWN")


def draw_device(layout, context, chosen: str) -> None:
    """The name of the device that would be used, once the worker has said it."""
    devices = json.loads(context.window_manager.id2r.devices or "{}")
    name = next(iter(devices), "") if chosen == "auto" else chosen
    if name in devices:
        layout.label(text=f"{DEVICE_NAMES[name]}: {devices[name]}", icon="INFO")
    elif devices:
        layout.label(text=f"There is no {DEVICE_NAMES[chosen]} here", icon="ERROR")
    else:
        layout.operator("id2r.doctor", icon="CHECKMARK")
    if job.is_warm():
        layout.operator("id2r.end_worker", icon="CANCEL")


def draw_run(layout, index: int, run, is_shown: bool) -> None:
    """One line of the history: thumbnail, what it was, and what can be done with it."""
    row = layout.row()
    icon = gallery.icon_of(run.photo) or gallery.icon_of(Path(run.folder) / protocol.PHOTO)  # the photo may have moved
    if icon:
        row.template_icon(icon_value=icon, scale=2.5)
    column = row.column(align=True)
    column.label(text=Path(run.photo).stem)
    request = json.loads(run.request)
    column.label(text=f"{request['resolution']} px, {run.seconds:.0f} s")
    row = layout.row(align=True)
    row.operator("id2r.show_run", text="Show", depress=is_shown).index = index
    row.operator("id2r.use_run", text="Use Settings").index = index
    row.operator("id2r.remove_run", text="", icon="TRASH").index = index


CLASSES = (
    ID2R_PT_reference,
    ID2R_PT_reference_image,
    ID2R_PT_reconstruct,
    ID2R_PT_options,
    ID2R_PT_result,
    ID2R_PT_expressions,
    ID2R_PT_history,
    ID2R_PT_target,
    ID2R_PT_lookdev,
    ID2R_PT_camera,
    ID2R_PT_render,
    ID2R_PT_export,
)
