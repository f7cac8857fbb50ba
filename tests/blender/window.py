"""What the scripts share that `python build.py` runs in a real window: the installed extension, and steps in time.

Blender draws and works on jobs only between the calls of a timer; a script is therefore a generator that yields the
seconds until it goes on.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np

EXTENSION = "bl_ext.user_default.id2r"
SETTLE = 2.0  # seconds until Blender's window has its size
PATIENCE = 600.0  # seconds for a job of the worker


def addon(name: str):
    """A module of the installed add-on."""
    return importlib.import_module(f"{EXTENSION}.addon.{name}")


def preferences():
    return bpy.context.preferences.addons[EXTENSION].preferences


def window():
    return bpy.context.window_manager.windows[0]


def status():
    return bpy.context.window_manager.id2r


def invoke(name: str, **arguments) -> None:
    """Call an operator of ours as its button does."""
    with bpy.context.temp_override(window=window()):
        getattr(bpy.ops.id2r, name)("INVOKE_DEFAULT", **arguments)


def largest_area():
    return max(window().screen.areas, key=lambda each: each.width * each.height)


def picture_of(area, screen: Path) -> np.ndarray:
    """What an area shows, [H, W, 3] from 0 to 1: from the file in which Xvfb keeps its screen (format XWD).

    Blender's own screenshot reads the front buffer, which is black with Mesa's software OpenGL of today.
    """
    header = np.fromfile(screen, ">u4", 20)
    size, height, row, colours = (int(header[field]) for field in (0, 5, 12, 19))
    content = np.fromfile(screen, np.uint8, height * row, offset=size + 12 * colours)
    pixels = content.reshape(height, row // 4, 4)[..., 2::-1]
    top = window().height - area.y - area.height
    return pixels[top : top + area.height, area.x : area.x + area.width] / 255.0


def play(steps: Iterator[float]) -> None:
    """Go through the steps, then end Blender; an exception ends it with exit status 1, or its window would stay open."""

    def step():
        try:
            return next(steps)
        except StopIteration:
            bpy.ops.wm.quit_blender()
        except Exception:  # noqa: BLE001 - the process edge
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    bpy.context.preferences.view.show_splash = False
    bpy.app.timers.register(step, first_interval=SETTLE)


def arguments() -> list[str]:
    return sys.argv[sys.argv.index("--") + 1 :]
