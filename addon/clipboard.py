"""What the clipboard holds: a copied file path as text, or a picture where Blender can paste one."""

from pathlib import Path
from urllib.parse import unquote, urlparse

import bpy

from .core import errors


def copied_file(context) -> Path | None:
    """The file whose path or file:// address was copied as text; None when the text is none."""
    text = context.window_manager.clipboard.strip().strip("\"'")
    lines = text.splitlines()
    if len(lines) != 1:
        return None
    address = urlparse(text)
    path = Path(unquote(address.path) if address.scheme == "file" else text)
    return path if path.is_file() else None


def pasted_image(context) -> bpy.types.Image:
    """A new image with the picture in the clipboard. Raises Id2rError when there is none or Blender cannot paste."""
    area = context.area or next(iter(context.screen.areas if context.screen else ()), None)
    if area is None or "clipboard_paste" not in dir(bpy.ops.image):
        raise _nothing()
    before, kind = set(bpy.data.images), area.type
    area.type = "IMAGE_EDITOR"  # the only kind of editor in which Blender pastes
    try:
        with context.temp_override(area=area, region=area.regions[-1]):
            if bpy.ops.image.clipboard_paste.poll():  # type: ignore[call-arg]
                bpy.ops.image.clipboard_paste()
    except RuntimeError as error:
        raise _nothing() from error
    finally:
        area.type = kind
    made = set(bpy.data.images) - before
    if not made:
        raise _nothing()
    return made.pop()


def _nothing() -> errors.Id2rError:
    return errors.Id2rError("The clipboard holds no picture.", "Copy a picture or the path of one, and paste again.")
