"""Thumbnails of photos and environments. They are no data-blocks, so looking at them changes nothing in the file."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import crc32

import bpy
import bpy.utils.previews

from . import history, lookdev, packs
from .core import protocol
from .places import own_folder

_previews: list = []  # the one collection of thumbnails while the add-on is registered
_items: dict[tuple, tuple] = {}  # Blender reads the strings of dynamic items later: they must stay alive
EXACT = 1 << 24  # buttons pass the number of an item as a float


def icon_of(path: Path | str) -> int:
    """The icon of a picture file; 0 (no icon) when there is no such file. A changed file gets a new thumbnail."""
    path = Path(bpy.path.abspath(str(path)))
    if not (_previews and str(path) != "." and path.is_file()):
        return 0
    known = _previews[0]
    key = f"{path} {path.stat().st_mtime_ns}"
    return (known[key] if key in known else known.load(key, str(path), "IMAGE")).icon_id


def environment_items(_self, context: Any) -> list[tuple]:
    """Blender's eight environments and the files of the artist's folders, as items of an enum with thumbnails."""
    from .preferences import own_environments

    named = [(name, name.capitalize(), lookdev.hdri_path(name)) for name in lookdev.HDRIS]
    context = context or bpy.context
    own = own_environments(context)
    photo_light = history.photo_light(context.scene)
    named += [(str(photo_light), "The Photo's Own", photo_light)] if photo_light else []
    named += [(str(file), file.stem, file) for file in own]
    numbers = list(lookdev.HDRIS)
    number_of = lambda name: numbers.index(name) if name in numbers else crc32(name.encode()) % EXACT
    # A number of its own for each path: Blender stores numbers, not names.
    return _kept([(name, label, str(path), icon_of(path), number_of(name)) for name, label, path in named])


def _kept(items: list[tuple]) -> list[tuple]:
    """The same items, each as it was made the first time."""
    return [_items.setdefault(each, each) for each in items]


def template_folder(pack: str) -> Path:
    """Where the thumbnails of a pack's templates are kept: for this user, and for this very version of the pack."""
    folder = packs.folder_of(pack)
    return own_folder("templates") / f"{folder.name} {crc32(_read(folder / packs.MANIFEST)):08x}"


def has_templates(pack: str) -> bool:
    return bool(_template_order(pack))


def template_items(settings, _context) -> list[tuple]:
    """The closest one and the templates of the pack from light to dark, as items of an enum with thumbnails."""
    folder = template_folder(settings.pack)
    closest = ("closest", "Closest", "The template most like the person", "COMMUNITY", 0)
    templates = [
        (name, name, "Use the reflectance of this template", icon_of(folder / f"{name}.png"), number)
        for number, name in enumerate(_template_order(settings.pack), 1)
    ]
    return _kept([closest, *templates])


def _template_order(pack: str) -> list[str]:
    """The templates of a pack from light to dark; none before their thumbnails were made."""
    return json.loads(_read(template_folder(pack) / protocol.TEMPLATE_ORDER) or b"[]")


def _read(path: Path) -> bytes:
    """What a file holds, read again only when it has changed: panels ask at every redraw. Empty when it is missing."""
    return _read_version(path, path.stat().st_mtime_ns) if path.is_file() else b""


@lru_cache(maxsize=8)
def _read_version(path: Path, _changed: int) -> bytes:
    return path.read_bytes()


def register() -> None:
    _previews.append(bpy.utils.previews.new())


def unregister() -> None:
    bpy.utils.previews.remove(_previews.pop())
