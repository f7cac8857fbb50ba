"""Where the add-on may write: its own user folder, never the folder that it was installed into."""

from pathlib import Path

import bpy

from .core import EXTENSION_PACKAGE


def own_folder(name: str) -> Path:
    """A folder of ours for this user, by name; not made here."""
    if EXTENSION_PACKAGE.startswith("bl_ext."):
        return Path(bpy.utils.extension_path_user(EXTENSION_PACKAGE, path=name))
    return Path(bpy.utils.user_resource("DATAFILES", path=f"id2r/{name}"))
