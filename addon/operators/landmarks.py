"""Correct the landmarks: they are drawn over the photo in an Image Editor and follow the mouse."""

import json
from itertools import pairwise
from pathlib import Path

import bpy
import gpu
import numpy as np
from bpy.props import BoolProperty, StringProperty
from gpu_extras.batch import batch_for_shader

from .. import faces, landmarks
from ..core import errors, facemesh, protocol
from .modal import redraw, tell

SHADER = "UNIFORM_COLOR"
GRAB = 14.0  # pixels of the screen within which a point is taken hold of
AROUND = 0.25  # of the face's box that is also seen around it
HANDLE, OTHER = 3.0, 1.0  # half the sides of the drawn squares, pixels of the screen
LINE_COLOUR, HANDLE_COLOUR = (0.1, 0.9, 1.0, 0.6), (0.1, 0.9, 1.0, 1.0)
OTHER_COLOUR, HELD_COLOUR = (1.0, 1.0, 1.0, 0.35), (1.0, 0.6, 0.1, 1.0)
CIRCLE = 48  # corners
WINDOW_DELAY = 0.3  # seconds until a new window has its size
HELP = "Drag a point  |  Wheel while dragging: how far its neighbours follow  |  Ctrl Z: back  |  R: as found  |  "
HELP += "Enter: keep  |  Esc: discard"


class ID2R_OT_edit_landmarks(bpy.types.Operator):
    """Correct the landmarks of the face with the mouse, where they miss eyes, mouth or outline"""

    bl_idname = "id2r.edit_landmarks"
    bl_label = "Correct Landmarks"
    bl_options = {"REGISTER", "UNDO"}

    points: StringProperty(name="Points", description="JSON: [x, y] by number, in pixels of the upright photo")
    close: BoolProperty(name="Close", description="Close the window afterwards", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context):
        return not context.window_manager.id2r.running

    def execute(self, context):
        return tell(self, self._set, context)

    def _set(self, context) -> None:
        protocol.read_corrections(self.points)
        context.scene.id2r.landmarks = self.points

    def invoke(self, context, event):
        return {"RUNNING_MODAL"} if tell(self, self._begin, context) == {"FINISHED"} else {"CANCELLED"}

    def _begin(self, context) -> None:
        found = faces.found_in(context)
        if found is None:
            raise errors.Id2rError("Nobody has looked at this photo yet.", "Press Find Faces first.")
        face = found.face(context.scene.id2r.face)
        self._edit = landmarks.edit_of(face, context.scene.id2r.landmarks)
        self._size = np.array(found.size)
        self._held: int | None = None
        self._under: int | None = None
        self._area = context.area
        self._region = next(each for each in self._area.regions if each.type == "WINDOW")
        self._former = self._area.spaces.active.image
        self._photo = bpy.data.images.load(str(Path(found.folder) / protocol.PHOTO), check_existing=False)
        self._area.spaces.active.image = self._photo
        zoom_to(context, self._area, self._region, self._to_region(around(face["box"])))
        self._drawing = bpy.types.SpaceImageEditor.draw_handler_add(self._draw, (), "WINDOW", "POST_PIXEL")
        context.workspace.status_text_set(HELP)
        self._area.header_text_set(HELP)  # a window of its own has no status bar
        context.window_manager.modal_handler_add(self)

    def modal(self, context, event):
        if self._area.type != "IMAGE_EDITOR":
            return self._end(context, keep=False)
        self._area.tag_redraw()
        if event.value == "PRESS" and event.type in {"RET", "NUMPAD_ENTER"}:
            return self._end(context, keep=True)
        if event.value == "PRESS" and event.type in {"ESC", "RIGHTMOUSE"} and self._held is None:
            return self._end(context, keep=False)
        return {"RUNNING_MODAL"} if self._handle(event) else {"PASS_THROUGH"}

    def _handle(self, event) -> bool:
        """Do what a key or the mouse says; False for what Blender is to do: pan, zoom, other editors."""
        mouse = np.array([event.mouse_x - self._region.x, event.mouse_y - self._region.y], float)
        if event.type == "MOUSEMOVE" and self._held is None:
            self._under = self._near(mouse)
            return False
        if event.type == "MOUSEMOVE":
            self._edit.drag(self._held, self._to_photo(mouse))
        elif event.type == "LEFTMOUSE" and event.value == "PRESS" and self._near(mouse) is not None:
            self._held = self._near(mouse)
            self._edit.take()
        elif self._held is not None and event.type == "LEFTMOUSE" and event.value == "RELEASE":
            self._held = None
        elif self._held is not None and event.type in {"ESC", "RIGHTMOUSE"}:
            self._held = None
            self._edit.undo()
        elif self._held is not None and event.type in {"WHEELUPMOUSE", "WHEELDOWNMOUSE"}:
            self._edit.reach *= landmarks.WIDER if event.type == "WHEELUPMOUSE" else 1.0 / landmarks.WIDER
            self._edit.drag(self._held, self._to_photo(mouse))
        elif event.type == "Z" and event.ctrl and event.value == "PRESS":
            self._edit.undo()
        elif event.type == "R" and event.value == "PRESS":
            self._edit.reset()
        else:
            return False
        return True

    def _near(self, mouse: np.ndarray) -> int | None:
        inside = (mouse >= 0).all() and (mouse < (self._region.width, self._region.height)).all()
        return self._edit.nearest(self._to_photo(mouse), GRAB * self._pixel()) if inside else None

    def _pixel(self) -> float:
        """The side of a pixel of the screen, in pixels of the photo."""
        ends = np.array([self._to_photo(np.zeros(2)), self._to_photo(np.array([1.0, 0.0]))])
        return float(ends[1, 0] - ends[0, 0])

    def _to_photo(self, place: np.ndarray) -> np.ndarray:
        u, v = self._region.view2d.region_to_view(*place)
        return np.array([u, 1.0 - v]) * self._size

    def _to_region(self, points: np.ndarray) -> np.ndarray:
        """Places in the photo [N, 2] as pixels of the editor."""
        to_region = self._region.view2d.view_to_region
        share = np.asarray(points, float) / self._size
        return np.array([to_region(u, 1.0 - v, clip=False) for u, v in share.tolist()], np.float32)

    def _draw(self) -> None:
        if bpy.context.area != self._area:
            return
        places = self._to_region(self._edit.points)
        gpu.state.blend_set("ALPHA")
        draw_lines(places)
        squares(places, OTHER, OTHER_COLOUR)
        squares(places[list(landmarks.HANDLES)], HANDLE, HANDLE_COLOUR)
        marked = self._held if self._held is not None else self._under
        if marked is not None:
            squares(places[[marked]], 2.0 * HANDLE, HELD_COLOUR)
        if self._held is not None:
            draw_circle(places[self._held], self._edit.reach / self._pixel())
        gpu.state.blend_set("NONE")

    def _end(self, context, keep: bool):
        bpy.types.SpaceImageEditor.draw_handler_remove(self._drawing, "WINDOW")
        context.workspace.status_text_set(None)
        self._area.header_text_set(None)
        if self._area.type == "IMAGE_EDITOR":
            self._area.spaces.active.image = self._former
        bpy.data.images.remove(self._photo)
        if keep:
            self.points = json.dumps(self._edit.moved())
            context.scene.id2r.landmarks = self.points if self._edit.moved() else ""
        redraw(context)
        if self.close:
            close_soon(context.window)
        return {"FINISHED"} if keep else {"CANCELLED"}

    def cancel(self, context):
        """Blender closes the window or opens another file."""
        self.close = False
        self._end(context, keep=False)


class ID2R_OT_show_landmarks(bpy.types.Operator):
    """Show the landmarks over the photo in an Image Editor, and correct them where they miss"""

    bl_idname = "id2r.show_landmarks"
    bl_label = "Correct Landmarks"

    @classmethod
    def poll(cls, context):
        return not bpy.app.background and not context.window_manager.id2r.running

    def execute(self, context):
        areas = [each for each in context.screen.areas if each.type == "IMAGE_EDITOR"]
        if context.area and context.area.type == "IMAGE_EDITOR":
            areas.insert(0, context.area)
        if areas:
            edit_in(context.window, areas[0])
            return {"FINISHED"}
        bpy.ops.wm.window_new()
        window = context.window_manager.windows[-1]
        window.screen.areas[0].type = "IMAGE_EDITOR"
        bpy.app.timers.register(lambda: edit_in(window, window.screen.areas[0], True), first_interval=WINDOW_DELAY)
        return {"FINISHED"}


class ID2R_OT_reset_landmarks(bpy.types.Operator):
    """Use the landmarks as they were found, without the corrections"""

    bl_idname = "id2r.reset_landmarks"
    bl_label = "Reset Landmarks"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context):
        context.scene.id2r.property_unset("landmarks")
        return {"FINISHED"}


def edit_in(window, area, close: bool = False) -> None:
    """Begin to correct landmarks in this Image Editor; close: and close its window at the end."""
    region = next(each for each in area.regions if each.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.id2r.edit_landmarks(  # type: ignore[attr-defined]
            "INVOKE_DEFAULT", close=close
        )


def close_soon(window) -> None:
    """Close a window, once the operator that runs in it has ended."""

    def close() -> None:
        if window in bpy.context.window_manager.windows[:]:
            with bpy.context.temp_override(window=window):
                bpy.ops.wm.window_close()

    bpy.app.timers.register(close, first_interval=WINDOW_DELAY)


def around(box: list[int]) -> np.ndarray:
    """[2, 2] two corners of a face's box, made a little larger."""
    corners = np.array(box, float).reshape(2, 2)
    margin = AROUND * np.ptp(corners, axis=0)
    return corners + np.array([-margin, margin])


def zoom_to(context, area, region, corners: np.ndarray) -> None:
    """Let the editor show what lies between two corners, in its own pixels."""
    (left, top), (right, bottom) = np.sort(corners, axis=0).round().astype(int).tolist()
    with context.temp_override(area=area, region=region):
        bpy.ops.image.view_zoom_border(
            xmin=left, xmax=right, ymin=top, ymax=bottom, wait_for_input=False, zoom_out=False
        )


def draw_lines(places: np.ndarray) -> None:
    """Outlines of face, eyes, irises, brows and mouth, and the nose."""
    lines = [(*line, line[0]) for line in (*landmarks.OUTLINES, *landmarks.RIMS)] + [*facemesh.NOSE_LINES]
    pairs = [pair for line in lines for pair in pairwise(line)]
    draw("LINES", places[np.array(pairs).ravel()], LINE_COLOUR)


def draw_circle(middle: np.ndarray, radius: float) -> None:
    turn = np.linspace(0.0, 2.0 * np.pi, CIRCLE + 1)
    draw("LINE_STRIP", middle + radius * np.stack([np.cos(turn), np.sin(turn)], -1), HELD_COLOUR)


def squares(places: np.ndarray, half: float, colour) -> None:
    """A square around each place; points of a size of their own are not drawn alike by all graphics drivers."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, -1), (1, 1), (-1, 1)], np.float32) * half
    draw("TRIS", (places[:, None] + corners).reshape(-1, 2), colour)


def draw(kind: str, places: np.ndarray, colour) -> None:
    shader = gpu.shader.from_builtin(SHADER)
    at = np.zeros((len(places), 3), np.float32)
    at[:, :2] = places
    shader.uniform_float("color", colour)
    batch_for_shader(shader, kind, {"pos": at.tolist()}).draw(shader)


CLASSES = (ID2R_OT_edit_landmarks, ID2R_OT_show_landmarks, ID2R_OT_reset_landmarks)
