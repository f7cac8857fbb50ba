"""Where the libraries, the device and more environments are found."""

from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty

from .core import EXTENSION_PACKAGE, protocol

DEVICE_NAMES = {"auto": "Automatic", "cpu": "CPU", "cuda": "NVIDIA GPU (CUDA)", "mps": "Apple GPU (Metal)"}
ENVIRONMENT_FILES = (".exr", ".hdr")


class ID2R_Preferences(bpy.types.AddonPreferences):
    bl_idname = EXTENSION_PACKAGE

    python: StringProperty(
        name="Python",
        description="A Python that has PyTorch and the other libraries of ID2R. Empty: found automatically",
        subtype="FILE_PATH",
    )
    device: EnumProperty(name="Device", items=[(name, DEVICE_NAMES[name], "") for name in protocol.DEVICES])
    hdri_folder: StringProperty(name="HDRI Folder", description="More environments to light with", subtype="DIR_PATH")

    def draw(self, _context) -> None:
        column = self.layout.column()
        column.use_property_split = True
        for name in ("python", "device", "hdri_folder"):
            column.prop(self, name)


def preferences_of(context) -> ID2R_Preferences | None:
    """The stored preferences; None while the add-on is registered without being enabled (scripts, tests)."""
    addon = context.preferences.addons.get(EXTENSION_PACKAGE)
    return addon.preferences if addon else None


def python_and_device(context) -> tuple[str, str]:
    """The chosen Python ("" = find one) and device."""
    preferences = preferences_of(context)
    return (preferences.python, preferences.device) if preferences else ("", "auto")


def own_environments(context) -> list[Path]:
    """The environment files of the chosen folder."""
    preferences = preferences_of(context)
    if not preferences or not preferences.hdri_folder:
        return []
    folder = Path(bpy.path.abspath(preferences.hdri_folder))
    return sorted(file for file in folder.glob("*") if file.suffix.lower() in ENVIRONMENT_FILES)


def register() -> None:
    bpy.utils.register_class(ID2R_Preferences)


def unregister() -> None:
    bpy.utils.unregister_class(ID2R_Preferences)
