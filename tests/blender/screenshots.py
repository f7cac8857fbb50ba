"""One screenshot of the add-on in a real window: `blender --python screenshots.py -- SHOT RESULT PHOTO PYTHON PNG`.

Run by `python build.py screenshots` for every name in SHOTS, under Xvfb with software OpenGL.
"""

import sys
import time
import traceback
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))
import legacy

SETTLE = 2.0  # seconds until Blender's window has its size
DRAW = 4.0  # seconds for shaders, thumbnails and the panel
COMPILE = 90.0  # seconds for the shaders of a lit head
PATIENCE = 300.0  # seconds for a job of the worker
TABS = (24, 67, 113, 158, 205, 250)  # pixels from the top of the sidebar to where a tab may be
MOUTH_CORNER = 291  # landmark
TAB = 9  # pixels from the right edge of the sidebar to the middle of its tabs


class Shot:
    """prepare: what is done before the picture; opened: panels that stand open; editor: kind of editor.

    until: the picture is taken when it says so; lit: with materials and light, which takes software OpenGL minutes.
    then: steps between that and the picture, called with the window and the area.
    """

    def __init__(self, prepare, opened, editor="VIEW_3D", until=None, lit=False, then=None):
        self.prepare, self.opened, self.editor, self.until, self.lit = prepare, opened, editor, until, lit
        self.then = then


def photo(_result, file):
    bpy.context.scene.id2r.photo = bpy.path.relpath(file)  # as it is for an artist whose photo lies beside the .blend


def templates(_result, file):
    photo(_result, file)
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        bpy.ops.id2r.show_templates("INVOKE_DEFAULT")


def other_mesh(result, file):
    """A head of another make: the triangles are others, and the texture layout is not MakeHuman's."""
    from addon import mesh_io, target

    head(result, file)
    made = bpy.data.objects["ID2R astronaut"]
    parts = [made, *(each for each in made.children if each.type == "MESH")]
    for each in parts:
        each.data = each.data.copy()
        each.shape_key_clear()
        each.modifiers.clear()
        each.data.materials.clear()
        each.data.uv_layers.remove(each.data.uv_layers[target.LAYOUT])
    bpy.context.view_layer.objects.active = made
    with bpy.context.temp_override(active_object=made, object=made, selected_editable_objects=parts):
        bpy.ops.object.join()
    made.name = "Sculpture"
    del made[mesh_io.HEAD_MARK]
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
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        bpy.ops.id2r.preview_fit("INVOKE_DEFAULT")


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
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        bpy.ops.id2r.reconstruct("INVOKE_DEFAULT")


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
    for area in bpy.context.window_manager.windows[0].screen.areas:
        if area.type == "IMAGE_EDITOR":
            area.spaces.active.image = shown


def find_faces():
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        bpy.ops.id2r.find_faces("INVOKE_DEFAULT")


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
    find_faces()


def portrait(result, file):
    editor_image(result, file)
    find_faces()


def correct(window, area):
    """Take hold of the corner of the mouth and pull it aside."""
    from addon import faces
    from addon.operators import landmarks

    landmarks.edit_in(window, area)
    yield 2.0
    region = next(each for each in area.regions if each.type == "WINDOW")
    found = faces.found_in(bpy.context)
    x, y = found.face(1)["points"][MOUTH_CORNER]
    u, v = region.view2d.view_to_region(x / found.size[0], 1.0 - y / found.size[1])
    u, v = region.x + u, region.y + v
    window.event_simulate("MOUSEMOVE", "NOTHING", x=u, y=v)
    yield 0.3
    window.event_simulate("LEFTMOUSE", "PRESS", x=u, y=v)
    for step in range(1, 9):
        yield 0.2
        window.event_simulate("MOUSEMOVE", "NOTHING", x=u + 6 * step, y=v - 3 * step)
    yield DRAW


def preferences(_result, _file):
    bpy.context.preferences.addons["addon"].preferences.doctor = ""
    bpy.context.preferences.active_section = "ADDONS"
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
        bpy.ops.id2r.doctor("INVOKE_DEFAULT")


def status():
    return bpy.context.window_manager.id2r


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
    "preferences": Shot(preferences, set(), editor="PREFERENCES", until=lambda: not status().running),
}


def main(name: str, result: str, file: str, python: str, png: str) -> None:
    shot = SHOTS[name]
    bpy.ops.wm.save_as_mainfile(filepath=str(Path(file).with_name("portrait.blend")))
    legacy.register(python, shot.opened)
    steps = play(shot, result, file, png)

    def step():
        try:
            return next(steps)
        except StopIteration:
            bpy.ops.wm.quit_blender()
        except Exception:  # noqa: BLE001 - the process edge: a window would stay open for ever
            traceback.print_exc()
            sys.stderr.flush()
            import os

            os._exit(1)

    bpy.app.timers.register(step, first_interval=SETTLE)


def play(shot: Shot, result: str, file: str, png: str):
    """The steps to the picture; each yields the seconds until the next."""
    window = bpy.context.window_manager.windows[0]
    area = max(window.screen.areas, key=lambda each: each.width * each.height)
    for each in list(bpy.data.objects):
        bpy.data.objects.remove(each)
    area.type = shot.editor
    yield 0.5
    shot.prepare(result, file)
    if shot.editor != "PREFERENCES":
        yield from open_sidebar(window, area, shot.lit)
    started = time.monotonic()
    while shot.until and not shot.until() and time.monotonic() - started < PATIENCE:
        yield 0.2
    if shot.then:
        yield from shot.then(window, area)
    area.tag_redraw()
    yield COMPILE if shot.lit else DRAW if not shot.until else 0.4
    with bpy.context.temp_override(window=window, area=area):
        bpy.ops.screen.screenshot_area(filepath=png)
    if status().running:
        status().cancelling = True
        yield 4.0


def open_sidebar(window, area, lit: bool):
    """Show the sidebar, look through the camera, and click on our tab."""
    space = area.spaces.active
    space.show_region_ui = True
    if area.type == "VIEW_3D":
        space.shading.type = "MATERIAL" if lit else "SOLID"
        space.shading.color_type = "TEXTURE"
        bpy.context.scene.eevee.taa_samples = 1  # software OpenGL takes seconds for each
        space.shading.use_scene_world = space.shading.use_scene_lights = True
        space.overlay.show_extras = space.overlay.show_floor = False
        if bpy.context.scene.camera:
            space.region_3d.view_perspective = "CAMERA"
    yield 1.0
    sidebar = next(region for region in area.regions if region.type == "UI")
    x = sidebar.x + sidebar.width - TAB
    for below in TABS:  # downwards: where there is no tab a click does nothing, so the lowest tab wins, which is ours
        for value in ("PRESS", "RELEASE"):
            window.event_simulate("LEFTMOUSE", value, x=x, y=sidebar.y + sidebar.height - below)
        yield 0.3
    window.event_simulate("MOUSEMOVE", "NOTHING", x=area.x + area.width // 3, y=area.y + area.height // 8)
    yield 0.3


if __name__ == "__main__":
    main(*sys.argv[sys.argv.index("--") + 1 :])
