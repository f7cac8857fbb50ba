"""One screenshot of the installed add-on: `blender --python screenshots.py -- RESULT PHOTO PYTHON SHOT.png`.

Run by `python build.py screenshots` for every name in SHOTS, under Xvfb with software OpenGL.
"""

import sys
import time
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))
from window import (
    EXTENSION,
    PATIENCE,
    addon,
    arguments,
    invoke,
    largest_area,
    picture_of,
    play,
    preferences,
    status,
    window,
)

DRAW = 3.0  # seconds for thumbnails, and for panels to slide to their places
COMPILE = 90.0  # seconds for the shaders of a lit head, and its samples
SAMPLES = 8  # in the viewport: software OpenGL takes a second or more for each
SCREEN = "Xvfb_screen0"  # where Xvfb keeps it, beside the picture
MOUTH_CORNER = 291  # landmark


class Shot:
    """prepare: what is done before the picture; opened: panels that stand open; editor: kind of editor.

    until: the picture is taken when it says so; lit: with materials and light, which takes software OpenGL minutes.
    then: steps between that and the picture, called with the area.
    """

    def __init__(self, prepare, opened, editor="VIEW_3D", until=None, lit=False, then=None):
        self.prepare, self.opened, self.editor, self.until, self.lit = prepare, opened, editor, until, lit
        self.then = then


def photo(_result, file):
    bpy.context.scene.id2r.photo = bpy.path.relpath(file)  # as it is for an artist whose photo lies beside the .blend


def templates(_result, file):
    photo(_result, file)
    invoke("show_templates")


def other_mesh(result, file):
    """A head of another make: the triangles are others, and the texture layout is not MakeHuman's."""
    head(result, file)
    made = bpy.data.objects["ID2R astronaut"]
    parts = [made, *(each for each in made.children if each.type == "MESH")]
    for each in parts:
        each.data = each.data.copy()
        each.shape_key_clear()
        each.modifiers.clear()
        each.data.materials.clear()
        if layout := each.data.uv_layers.get(addon("target").LAYOUT):  # the lashes have none
            each.data.uv_layers.remove(layout)
    bpy.context.view_layer.objects.active = made
    with bpy.context.temp_override(active_object=made, object=made, selected_editable_objects=parts):
        bpy.ops.object.join()
    made.name = "Sculpture"
    del made[addon("mesh_io").HEAD_MARK]
    fewer = made.modifiers.new("Fewer", "DECIMATE")
    fewer.ratio = 0.6
    with bpy.context.temp_override(active_object=made, object=made):
        bpy.ops.object.modifier_apply(modifier=fewer.name)
    made.location.x, made.scale = 0.02, (1.1, 1.0, 1.05)
    for own in made.users_collection:
        own.objects.unlink(made)
    bpy.context.scene.collection.objects.link(made)
    bpy.context.view_layer.update()
    bpy.ops.id2r.open_result(directory=result)
    bpy.context.scene.id2r_runs[-1].collection.hide_viewport = True
    bpy.context.view_layer.objects.active = made
    invoke("preview_fit")


def head(result, file):
    photo(result, file)
    bpy.ops.id2r.open_result(directory=result)
    bpy.context.scene.id2r.hdri = "forest"
    run = bpy.context.scene.id2r_runs[-1]
    run.photo = file


def heads(result, file):
    head(result, file)
    head(result, file)
    bpy.ops.id2r.compare(mode="SIDE")


def checks(result, file):
    head(result, file)
    bpy.ops.id2r.show_checks(shown=True)
    bpy.context.scene.id2r.hdri = "courtyard"


def running(result, file):
    photo(result, file)
    invoke("reconstruct")


def refused(_result, file):
    faceless = Path(file).with_name("wall.png")
    image = bpy.data.images.new("wall", 256, 256)
    image.pixels.foreach_set([0.75, 0.6, 0.45, 1.0] * (256 * 256))
    image.filepath_raw, image.file_format = str(faceless), "PNG"
    image.save()
    running(None, str(faceless))


def editor_image(result, file):
    photo(result, file)
    shown = bpy.data.images.load(file)
    for area in window().screen.areas:
        if area.type == "IMAGE_EDITOR":
            area.spaces.active.image = shown


def two_people(_result, file):
    """The person beside her mirror image."""
    import numpy as np

    single = bpy.data.images.load(file)
    width, height = single.size
    left, right, low = (int(share * width) for share in (0.16, 0.74, 0.42))
    person = np.array(single.pixels[:], np.float32).reshape(height, width, 4)[low:, left:right]
    both = np.concatenate([person, person[:, ::-1]], axis=1)
    image = bpy.data.images.new("two", both.shape[1], both.shape[0])
    image.pixels.foreach_set(both.ravel())
    pair = Path(file).with_name("two people.png")
    image.filepath_raw, image.file_format = str(pair), "PNG"
    image.save()
    for each in (single, image):
        bpy.data.images.remove(each)
    photo(None, str(pair))
    invoke("find_faces")


def portrait(result, file):
    editor_image(result, file)
    invoke("find_faces")


def correct(area):
    """Take hold of the corner of the mouth and pull it aside."""
    addon("operators.landmarks").edit_in(window(), area)
    yield 2.0
    region = next(each for each in area.regions if each.type == "WINDOW")
    found = addon("faces").found_in(bpy.context)
    x, y = found.face(1)["points"][MOUTH_CORNER]
    u, v = region.view2d.view_to_region(x / found.size[0], 1.0 - y / found.size[1])
    u, v = region.x + u, region.y + v
    window().event_simulate("MOUSEMOVE", "NOTHING", x=u, y=v)
    yield 0.3
    window().event_simulate("LEFTMOUSE", "PRESS", x=u, y=v)
    for step in range(1, 9):
        yield 0.2
        window().event_simulate("MOUSEMOVE", "NOTHING", x=u + 6 * step, y=v - 3 * step)
    yield DRAW


def preferences_page(_result, _file):
    bpy.context.preferences.active_section = "ADDONS"
    bpy.context.window_manager.addon_search = "ID2R"
    bpy.ops.preferences.addon_expand(module=EXTENSION)
    invoke("doctor")


REFERENCE, RECONSTRUCT, RESULT = "ID2R_PT_reference", "ID2R_PT_reconstruct", "ID2R_PT_result"
LOOKDEV, EXPORT = "ID2R_PT_lookdev", "ID2R_PT_export"
SHOTS = {
    "start": Shot(lambda result, file: None, {REFERENCE, RECONSTRUCT, RESULT}),
    "photo": Shot(templates, {REFERENCE, RECONSTRUCT, "ID2R_PT_options"}, until=lambda: not status().running),
    "faces": Shot(two_people, {REFERENCE, RECONSTRUCT}, until=lambda: bool(status().faces)),
    "landmarks": Shot(
        portrait, {"ID2R_PT_reference_image"}, editor="IMAGE_EDITOR", until=lambda: bool(status().faces), then=correct
    ),
    "running": Shot(running, {REFERENCE, RECONSTRUCT}, until=lambda: status().stage in ("head", "stitch", "refine")),
    "refused": Shot(refused, {REFERENCE, RECONSTRUCT}, until=lambda: bool(status().error)),
    "result": Shot(head, {RECONSTRUCT, RESULT, "ID2R_PT_expressions"}, lit=True),
    "compare": Shot(heads, {RESULT, "ID2R_PT_history"}, lit=True),
    "mesh": Shot(other_mesh, {RESULT, "ID2R_PT_target"}, until=lambda: not status().running),
    "lookdev": Shot(checks, {LOOKDEV, "ID2R_PT_camera", "ID2R_PT_render"}, lit=True),
    "export": Shot(head, {EXPORT}, lit=True),
    "image_editor": Shot(editor_image, {"ID2R_PT_reference_image"}, editor="IMAGE_EDITOR"),
    "preferences": Shot(preferences_page, set(), editor="PREFERENCES", until=lambda: not status().running),
}


def steps(result: str, file: str, python: str, png: str):
    """The steps to the picture; each yields the seconds until the next."""
    shot = SHOTS[Path(png).stem]
    preferences().python = python
    bpy.context.preferences.system.use_online_access = True  # as it is for an artist who lets PyTorch be installed
    open_panels(shot.opened)
    bpy.ops.wm.save_as_mainfile(filepath=str(Path(file).with_name("portrait.blend")))
    window().cursor_warp(0, 0)  # into a corner that no picture shows
    area = largest_area()
    for each in list(bpy.data.objects):
        bpy.data.objects.remove(each)
    area.type = shot.editor
    yield 0.5
    shot.prepare(result, file)
    if shot.editor != "PREFERENCES":
        yield from open_sidebar(area, shot.lit)
    started = time.monotonic()
    while shot.until and not shot.until() and time.monotonic() - started < PATIENCE:
        yield 0.2
    if shot.then:
        yield from shot.then(area)
    area.tag_redraw()
    yield COMPILE if shot.lit else DRAW
    addon("image_io").write_png(Path(png), picture_of(area, Path(png).with_name(SCREEN)))
    if status().running:
        status().cancelling = True
        yield 4.0


def open_panels(opened: set[str]) -> None:
    """The panels named stand open, all others closed."""
    panels = addon("panels").CLASSES
    for panel in reversed(panels):
        bpy.utils.unregister_class(panel)
    for panel in panels:
        panel.bl_options = set() if panel.__name__ in opened else {"DEFAULT_CLOSED"}
        bpy.utils.register_class(panel)


def open_sidebar(area, lit: bool):
    """Show the sidebar with our tab, and look through the camera."""
    space = area.spaces.active
    space.show_region_ui = True
    if area.type == "VIEW_3D":
        space.shading.type = "MATERIAL" if lit else "SOLID"
        space.shading.color_type = "TEXTURE"
        bpy.context.scene.eevee.taa_samples = SAMPLES
        space.shading.use_scene_world = space.shading.use_scene_lights = True
        space.overlay.show_extras = space.overlay.show_floor = False
        if bpy.context.scene.camera:
            space.region_3d.view_perspective = "CAMERA"
    yield 1.0
    next(region for region in area.regions if region.type == "UI").active_panel_category = "ID2R"
    window().event_simulate("MOUSEMOVE", "NOTHING", x=area.x + area.width // 3, y=area.y + area.height // 8)
    yield 0.3


if __name__ == "__main__":
    play(steps(*arguments()))
