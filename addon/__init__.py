"""ID2R in Blender: registers the operators, panels, properties, preferences and the command."""

import bpy

from . import cli, gallery, job, operators, panels, preferences, properties

OLDEST_BLENDER = (4, 2, 0)
CLASSES = (*operators.CLASSES, *panels.CLASSES)
_commands: list = []


def register() -> None:
    if bpy.app.version < OLDEST_BLENDER:
        raise RuntimeError(f"ID2R needs Blender 4.2 or newer; this is {bpy.app.version_string}.")
    gallery.register()
    properties.register()
    preferences.register()
    for each in CLASSES:
        bpy.utils.register_class(each)
    _commands.append(bpy.utils.register_cli_command("id2r", cli.execute))


def unregister() -> None:
    job.retire()
    bpy.utils.unregister_cli_command(_commands.pop())
    for each in reversed(CLASSES):
        bpy.utils.unregister_class(each)
    preferences.unregister()
    properties.unregister()
    gallery.unregister()
