"""Files to Blender images and back to arrays: the only place that knows colour spaces and packing."""

from os import SEEK_END
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .core import conventions, errors
from .steps import Steps

COLOUR_SPACES = {
    "diffuse": "sRGB",
    "specular": "Non-Color",
    "roughness": "Non-Color",
    "normal": "Non-Color",
}
MEDIAN_SIDE = 128  # pixels
LINEAR_FILES = (".exr", ".hdr")
OPTIONAL = {"displacement": "Non-Color", "folds": "Non-Color"}
PNG_BEGIN, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"  # the last chunk is empty


def load_maps(folder: Path, owner: str) -> Steps[dict[str, bpy.types.Image]]:
    """Load and pack the four reflectance maps of a result folder, by file stem, and displacement and folds if there are any.

    owner: name of what will wear them; unpacked, they go into a folder of its own
    """
    there = {name: space for name, space in OPTIONAL.items() if (folder / f"{name}.png").is_file()}
    images = {}
    for name, space in (COLOUR_SPACES | there).items():
        images[name] = load_image(folder / f"{name}.png", space, f"{textures_of(owner)}/")
        yield
    return images


def textures_of(owner: str) -> str:
    """Where the maps of a head lie beside the .blend when they are not in it."""
    return f"textures/{bpy.path.clean_name(owner)}"


def load_image(path: Path, colour_space: str, folder: str = "") -> bpy.types.Image:
    """Load one image and pack it into the .blend, so that the scene opens on any machine.

    The path kept beside the packed bytes is relative ("//name.png"), so "Unpack" puts the file next to the .blend, into a
    folder (which ends in a slash) there.
    """
    if not path.is_file():
        raise errors.Id2rError(f"The image {path} is missing.", "Run the reconstruction again.")
    image = _load(path)
    _set_space(image, colour_space)
    image.pack()
    image.filepath_raw = f"//{folder}{path.name}"
    return image


def _load(path: Path) -> bpy.types.Image:
    """Raises Id2rError for a file that is no picture: Blender itself takes it, and shows it pink."""
    image = bpy.data.images.load(str(path))
    if not is_whole_png(path) and not min(image.size):
        bpy.data.images.remove(image)
        raise errors.Id2rError(f"{path} is damaged.", "Copy it again, or reconstruct the photo again.")
    return image


def is_whole_png(path: Path) -> bool:
    """Does this file begin and end as a PNG does? Blender tells the size only after it has read all pixels, most of a second
    at 4096 texels, in which its window would stand still."""
    with path.open("rb") as file:
        begin = file.read(len(PNG_BEGIN))
        file.seek(-min(len(PNG_END), path.stat().st_size), SEEK_END)
        return begin == PNG_BEGIN and file.read() == PNG_END


def _set_space(image: bpy.types.Image, colour_space: str) -> None:
    image.colorspace_settings.name = colour_space  # type: ignore[assignment]


def median_linear(image: bpy.types.Image) -> np.ndarray:
    """The median colour of an sRGB image, linear [3]; of some of its pixels, because it must not take long."""
    step = max(1, min(image.size) // MEDIAN_SIDE)
    some = pixels_of(image)[::step, ::step, :3]
    return conventions.srgb_to_linear(np.median(some.reshape(-1, 3), axis=0))


def pixels_of(image: bpy.types.Image) -> np.ndarray:
    """What Blender holds of an image: float32 [H, W, 4], first row at the top."""
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    _buffer(image).foreach_get(pixels)
    return pixels.reshape(height, width, 4)[::-1]


def _buffer(image: bpy.types.Image) -> Any:
    return image.pixels  # a float, if the type hints were right


def read_pixels(path: Path) -> np.ndarray:
    """A PNG as stored, without colour conversion: float32 [H, W, 4] in [0, 1], first row at the top."""
    image = _load(path)
    _set_space(image, "Non-Color")
    try:
        return pixels_of(image)
    finally:
        bpy.data.images.remove(image)


def stored_pixels(image: bpy.types.Image) -> np.ndarray:
    """An image's values as its file has them: float32 [H, W, 3], first row at the top."""
    return pixels_of(image)[..., :3].copy() if image.filepath.endswith(LINEAR_FILES) else shown_pixels(image)


def shown_pixels(image: bpy.types.Image) -> np.ndarray:
    """An image's values as the artist sees them, sRGB: float32 [H, W, 3], first row at the top."""
    rgb = pixels_of(image)[..., :3].copy()
    is_linear = image.is_float and image.colorspace_settings.name != "Non-Color"
    return conventions.linear_to_srgb(rgb) if is_linear else rgb


def resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resample [H, W, C] to another size with Blender's own filter."""
    source_height, source_width, channels = pixels.shape
    if (source_width, source_height) == (width, height):
        return pixels
    rgba = np.ones((source_height, source_width, 4), np.float32)
    rgba[..., :channels] = pixels
    scratch = bpy.data.images.new("id2r scratch", source_width, source_height, alpha=True, float_buffer=True)
    try:
        _buffer(scratch).foreach_set(rgba.ravel())
        scratch.scale(width, height)
        scaled = np.empty(width * height * 4, np.float32)
        _buffer(scratch).foreach_get(scaled)
    finally:
        bpy.data.images.remove(scratch)
    return scaled.reshape(height, width, 4)[..., :channels]


def write_image(path: Path, pixels: np.ndarray, kind: str, bits: str) -> None:
    """Write [H, W, 3], first row at the top, unchanged as "PNG" (bits "8" or "16") or "OPEN_EXR" ("16" or "32")."""
    height, width, _ = pixels.shape
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :3] = pixels
    image = bpy.data.images.new("id2r export", width, height, alpha=False, float_buffer=True, is_data=True)
    scene = bpy.data.scenes.new("id2r export")  # carries the file settings; "Raw" leaves the values as they are
    try:
        _buffer(image).foreach_set(rgba[::-1].ravel())
        scene.view_settings.view_transform = "Raw"  # type: ignore[assignment]
        settings: Any = scene.render.image_settings
        settings.file_format, settings.color_mode, settings.color_depth = kind, "RGB", bits
        if kind == "OPEN_EXR":
            settings.exr_codec = "ZIP"
        image.save_render(str(path), scene=scene)
    finally:
        bpy.data.scenes.remove(scene)
        bpy.data.images.remove(image)
    if not path.is_file():
        raise errors.Id2rError(f"{path} could not be written.", "Choose another folder, or free some space.")


def save_photo(image: bpy.types.Image, path: Path) -> None:
    """Save any image of the file, as the artist sees it, as a PNG photo: also render results and packed ones."""
    if image.type != "RENDER_RESULT" and not image.has_data and not image.size[0]:
        raise errors.Id2rError(f"The image '{image.name}' is empty.", "Open a photo in the Image Editor first.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if image.type == "RENDER_RESULT":
        _save_render_result(image, path)
    else:
        write_image(path, shown_pixels(image), "PNG", "8")


def _save_render_result(image: bpy.types.Image, path: Path) -> None:
    shown, scene = bpy.context.scene.view_settings, bpy.data.scenes.new("id2r render")  # the artist's may write videos
    try:
        for name in ("view_transform", "look", "exposure", "gamma"):
            setattr(scene.view_settings, name, getattr(shown, name))
        settings: Any = scene.render.image_settings
        settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGB", "8"
        image.save_render(str(path), scene=scene)
    except RuntimeError as error:
        raise errors.Id2rError("There is no finished render.", "Render a picture first.") from error
    finally:
        bpy.data.scenes.remove(scene)


def keep_images(images: list[bpy.types.Image], packed: bool, folder: str) -> None:
    """Pack images into the .blend, or save them in `folder` beside it with relative paths.

    Raises Id2rError when the .blend has not been saved yet, because then there is no beside.
    """
    if not packed and not bpy.data.filepath:
        raise errors.Id2rError("This .blend has not been saved yet.", "Save it first; the maps then go beside it.")
    for image in images:
        if image.library:
            raise errors.Id2rError(f"'{image.name}' is linked from another file.", "Open that file to move its maps.")
        if packed:
            image.pack()
        elif image.packed_file:
            name = bpy.path.basename(image.filepath)  # the image's own may end in .001
            target = Path(bpy.path.abspath(f"//{folder}")) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(image.packed_file.data)
            image.unpack(method="REMOVE")
            image.filepath = f"//{folder}/{name}"


def write_png(path: Path, srgb: np.ndarray) -> None:
    """Write display-ready values [H, W, 3] in [0, 1], first row at the top, as an 8-bit PNG."""
    height, width, _ = srgb.shape
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :3] = srgb
    image = bpy.data.images.new("id2r sheet", width, height, alpha=False)
    try:
        _buffer(image).foreach_set(rgba[::-1].ravel())
        image.filepath_raw = str(path)
        image.file_format = "PNG"
        image.save()
    finally:
        bpy.data.images.remove(image)
