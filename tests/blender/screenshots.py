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
COMPILE = 40.0  # seconds for the shaders of a lit head
PATIENCE = 300.0  # seconds for a job of the worker
TABS = (24, 67, 113, 158, 205, 250)  # pixels from the top of the sidebar to where a tab may be
TAB = 9  # pixels from the right edge of the sidebar to the middle of its tabs


class Shot:
    """prepare: what is done before the picture; opened: panels that stand open; editor: kind of editor.

    until: the picture is taken when it says so; lit: with materials and light, which takes software OpenGL minutes.
    """

    def __init__(self, prepare, opened, editor="VIEW_3D", until=None, lit=False):
        self.prepare, self.opened, self.editor, self.until, self.lit = prepare, opened, editor, until, lit


def photo(_result, file):
    bpy.context.scene.id2r.photo = bpy.path.relpath(file)  # as it is for an artist whose photo lies beside the .blend


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
    faceless = Path(bpy.app.tempdir) / "wall.png"
    image = bpy.data.images.new("wall", 256, 256)
    image.pixels.foreach_set([0.5] * (256 * 256 * 4))
    image.filepath_raw, image.file_format = str(faceless), "PNG"
    image.save()
    running(None, str(faceless))


def editor_image(result, file):
    photo(result, file)
    shown = bpy.data.images.load(file)
    for area in bpy.context.window_manager.windows[0].screen.areas:
        if area.type == "IMAGE_EDITOR":
            area.spaces.active.image = shown


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
    "photo": Shot(photo, {REFERENCE, RECONSTRUCT, "ID2R_PT_options"}),
    "running": Shot(running, {REFERENCE, RECONSTRUCT}, until=lambda: status().stage in ("head", "stitch", "refine")),
    "refused": Shot(refused, {REFERENCE, RECONSTRUCT}, until=lambda: bool(status().error)),
    "result": Shot(head, {RECONSTRUCT, RESULT, "ID2R_PT_expressions"}, lit=True),
    "compare": Shot(heads, {RESULT, "ID2R_PT_history"}, lit=True),
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
