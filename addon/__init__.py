"""ID2R in Blender: registers the operators, panels, properties, preferences and the command."""

import bpy

from . import cli, panels, preferences, properties
from .operators.lookdev import ID2R_OT_set_hdri
from .operators.reconstruct import ID2R_OT_cancel, ID2R_OT_reconstruct

OLDEST_BLENDER = (4, 2, 0)
CLASSES = (
    ID2R_OT_reconstruct,
    ID2R_OT_cancel,
    ID2R_OT_set_hdri,
    panels.ID2R_MT_environments,
    panels.ID2R_PT_reconstruct,
    panels.ID2R_PT_lookdev,
)
_commands = []


def register() -> None:
    if bpy.app.version < OLDEST_BLENDER:
        raise RuntimeError(f"ID2R needs Blender 4.2 or newer; this is {bpy.app.version_string}.")
    properties.register()
    preferences.register()
    for each in CLASSES:
        bpy.utils.register_class(each)
    _commands.append(bpy.utils.register_cli_command("id2r", cli.execute))


def unregister() -> None:
    bpy.utils.unregister_cli_command(_commands.pop())
    for each in reversed(CLASSES):
        bpy.utils.unregister_class(each)
    preferences.unregister()
    properties.unregister()
