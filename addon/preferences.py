"""The machine's side: which Python runs the networks, on what device, how long it stays warm, packs, environments."""

from pathlib import Path

import bpy
from bpy.props import CollectionProperty, EnumProperty, FloatProperty, StringProperty

from . import job, packs, words
from .core import EXTENSION_PACKAGE, protocol

DEVICE_NAMES = {"auto": "Automatic", "cpu": "CPU", "cuda": "NVIDIA GPU (CUDA)", "mps": "Apple GPU (Metal)"}
DEVICE_TIPS = {
    "auto": "A GPU when there is one, else the CPU",
    "cpu": "Works everywhere; ten to sixty seconds a photo",
    "cuda": "Needs an NVIDIA GPU, and PyTorch with CUDA",
    "mps": "Needs a Mac with Apple silicon",
}
ENVIRONMENT_FILES = (".exr", ".hdr")
IDLE_MINUTES = 10.0
LEAST_MEMORY = 1.0  # GiB, without which the libraries of a worker cannot even be loaded
PROPERTY_SPLIT = 0.4  # where Blender splits a column between names and values


class ID2R_Folder(bpy.types.PropertyGroup):
    """A folder with environments; its path is in `path`."""

    path: StringProperty(name="Folder", description="More environments to light with", subtype="DIR_PATH")


def forget_check(context) -> None:
    """What the last check found is no longer so."""
    preferences = preferences_of(context)
    if preferences:
        preferences.doctor = ""
    context.window_manager.id2r.devices = ""


def _another_python(_preferences, context) -> None:
    forget_check(context)


class ID2R_Preferences(bpy.types.AddonPreferences):
    bl_idname = EXTENSION_PACKAGE

    python: StringProperty(
        name="Python",
        description="A Python that has PyTorch and the other libraries of ID2R. Empty: found automatically",
        subtype="FILE_PATH",
        update=_another_python,
    )
    device: EnumProperty(
        name="Device",
        description="Where the networks run",
        items=[(name, DEVICE_NAMES[name], DEVICE_TIPS[name]) for name in protocol.DEVICES],
    )
    idle_minutes: FloatProperty(
        name="Keep Warm",
        description="Minutes until an idle worker ends and gives its memory back",
        default=IDLE_MINUTES,
        min=0.0,
        soft_max=60.0,
        precision=0,
    )
    memory: FloatProperty(
        name="Memory Limit",
        description="The most memory in GiB that the worker may use, of the machine (Linux) and of an NVIDIA GPU each. "
        "0: no limit. A photo takes about 1.2 at 1024 texels",
        default=0.0,
        min=0.0,
        soft_max=64.0,
        precision=1,
    )
    hdri_folders: CollectionProperty(type=ID2R_Folder, description="Folders whose environments are offered in Lookdev")
    doctor: StringProperty(description="What the last check found, one thing a line", options={"SKIP_SAVE"})

    def draw(self, context) -> None:
        draw_preferences(self.layout, self, context)


def draw_preferences(layout, preferences, context) -> None:
    """All of them, in boxes."""
    draw_python(layout.box(), preferences, context)
    draw_packs(layout.box())
    draw_folders(layout.box(), preferences)
    layout.operator("id2r.report_problem", icon="COPYDOWN")


def draw_python(layout, preferences, context) -> None:
    """The Python, its device, the warm worker, and what the last check found."""
    layout.label(text="Python with PyTorch", icon="SCRIPT")
    column = layout.column()
    column.use_property_split = True
    column.prop(preferences, "python")
    row = column.split(factor=PROPERTY_SPLIT)
    names = row.row()
    names.alignment = "RIGHT"
    names.label(text="Used Now")
    row.label(text=words.python_in_words(preferences.python))
    column.prop(preferences, "device")
    column.prop(preferences, "idle_minutes", text="Keep Warm (Minutes)")
    column.prop(preferences, "memory", text="Memory Limit (GiB)")
    status = context.window_manager.id2r
    if status.running:
        words.draw_progress(layout, status)
    else:
        row = layout.row()
        row.operator("id2r.install_runtime", icon="IMPORT")
        row.operator("id2r.doctor", icon="CHECKMARK")
        row.operator("id2r.end_worker", icon="CANCEL")
    column = layout.column(align=True)
    for line in preferences.doctor.splitlines():
        words.draw_text(column, context, line, "ERROR" if line.startswith("PROBLEM") else "DOT")


def draw_packs(layout) -> None:
    """Each pack with its check and its model card, which also names its licence."""
    layout.label(text="Weight Packs", icon="PACKAGE")
    for folder in packs.pack_folders():
        row = layout.row()
        row.label(text=folder.name)
        row.operator("id2r.verify_pack", text="Verify").pack = packs.word_of(folder)
        row.operator("wm.path_open", text="Card and Licence").filepath = str(folder / packs.CARD)
    layout.operator("id2r.import_pack", icon="FILE_FOLDER")


def draw_folders(layout, preferences) -> None:
    """The artist's folders of environments."""
    layout.label(text="Folders with Environments", icon="WORLD")
    for index, folder in enumerate(preferences.hdri_folders):
        row = layout.row()
        row.prop(folder, "path", text="")
        row.operator("id2r.remove_hdri_folder", text="", icon="REMOVE").index = index
    layout.operator("id2r.add_hdri_folder", icon="ADD")


def preferences_of(context) -> ID2R_Preferences | None:
    """The stored preferences; None while the add-on is registered without being enabled (scripts, tests)."""
    addon = context.preferences.addons.get(EXTENSION_PACKAGE)
    return addon.preferences if addon else None


def python_and_device(context) -> tuple[str, str]:
    """The chosen Python ("" = find one) and device."""
    preferences = preferences_of(context)
    return (preferences.python, preferences.device) if preferences else ("", "auto")


def memory_limit(context) -> float:
    """The most GiB that the worker may use; 0 for no limit."""
    preferences = preferences_of(context)
    return max(preferences.memory, LEAST_MEMORY) if preferences and preferences.memory else 0.0


def own_environments(context) -> list[Path]:
    """The environment files of the chosen folders."""
    preferences = preferences_of(context)
    folders = (
        [Path(bpy.path.abspath(each.path)) for each in preferences.hdri_folders if each.path] if preferences else []
    )
    files = [file for folder in folders for file in sorted(folder.glob("*"))]
    return [file for file in files if file.suffix.lower() in ENVIRONMENT_FILES]


def look_after_worker() -> float:
    """A timer: end the worker when it has been idle for long; returns the seconds until the next look."""
    preferences = preferences_of(bpy.context)
    minutes = preferences.idle_minutes if preferences else IDLE_MINUTES
    status = bpy.context.window_manager.id2r  # type: ignore[attr-defined]
    if not status.running and job.idle_seconds() > 60.0 * minutes:
        job.retire()
    return 5.0


def register() -> None:
    bpy.utils.register_class(ID2R_Folder)
    bpy.utils.register_class(ID2R_Preferences)
    bpy.app.timers.register(look_after_worker, first_interval=5.0, persistent=True)


def unregister() -> None:
    if bpy.app.timers.is_registered(look_after_worker):
        bpy.app.timers.unregister(look_after_worker)
    bpy.utils.unregister_class(ID2R_Preferences)
    bpy.utils.unregister_class(ID2R_Folder)
