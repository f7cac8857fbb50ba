"""Thumbnails of photos and environments. They are no data-blocks, so looking at them changes nothing in the file."""

from pathlib import Path
from zlib import crc32

import bpy
import bpy.utils.previews

from . import history, lookdev

_previews = []  # the one collection of thumbnails while the add-on is registered
_items: list[tuple] = []  # Blender reads the strings of dynamic items later: they must stay alive


def icon_of(path: Path | str) -> int:
    """The icon of a picture file; 0 (no icon) when there is no such file. A changed file gets a new thumbnail."""
    path = Path(bpy.path.abspath(str(path)))
    if not (_previews and str(path) != "." and path.is_file()):
        return 0
    known = _previews[0]
    key = f"{path} {path.stat().st_mtime_ns}"
    return (known[key] if key in known else known.load(key, str(path), "IMAGE")).icon_id


def environment_items(_self, context) -> list[tuple]:
    """Blender's eight environments and the files of the artist's folders, as items of an enum with thumbnails."""
    from .preferences import own_environments

    named = [(name, name.capitalize(), lookdev.hdri_path(name)) for name in lookdev.HDRIS]
    own = own_environments(context or bpy.context)
    photo_light = history.photo_light((context or bpy.context).scene)
    named += [(str(photo_light), "The Photo's Own", photo_light)] if photo_light else []
    named += [(str(file), file.stem, file) for file in own]
    numbers = list(lookdev.HDRIS)
    _items[:] = [
        (name, label, str(path), icon_of(path), numbers.index(name) if name in numbers else crc32(name.encode()) >> 1)
        for name, label, path in named  # a number of its own for each path: Blender stores numbers, not names
    ]
    return _items


def register() -> None:
    _previews.append(bpy.utils.previews.new())


def unregister() -> None:
    bpy.utils.previews.remove(_previews.pop())
