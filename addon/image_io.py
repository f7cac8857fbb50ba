"""Files to Blender images and back to arrays: the only place that knows colour spaces and packing."""

from pathlib import Path

import bpy
import numpy as np

from .core import conventions, errors

COLOUR_SPACES = {
    "diffuse": "sRGB",
    "specular": "Non-Color",
    "roughness": "Non-Color",
    "normal": "Non-Color",
}


def load_maps(folder: Path) -> dict[str, bpy.types.Image]:
    """Load and pack the four reflectance maps of a result folder, keyed by their file stems."""
    return {name: load_image(folder / f"{name}.png", space) for name, space in COLOUR_SPACES.items()}


def load_image(path: Path, colour_space: str) -> bpy.types.Image:
    """Load one image and pack it into the .blend, so that the scene opens on any machine.

    The path kept beside the packed bytes is relative ("//name.png"), so "Unpack" puts the file next to the .blend.
    """
    if not path.is_file():
        raise errors.Id2rError(f"The image {path} is missing.", "Run the reconstruction again.")
    image = bpy.data.images.load(str(path))
    image.colorspace_settings.name = colour_space
    image.pack()
    image.filepath_raw = f"//{path.name}"
    return image


def median_linear(image: bpy.types.Image) -> np.ndarray:
    """The median colour of an sRGB image, linear [3]."""
    pixels = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(pixels)
    return conventions.srgb_to_linear(np.median(pixels.reshape(-1, 4)[:, :3], axis=0))


def read_pixels(path: Path) -> np.ndarray:
    """A PNG as stored, without colour conversion: float32 [H, W, 3] in [0, 1], first row at the top."""
    image = bpy.data.images.load(str(path))
    image.colorspace_settings.name = "Non-Color"
    try:
        width, height = image.size
        pixels = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(pixels)
    finally:
        bpy.data.images.remove(image)
    return pixels.reshape(height, width, 4)[::-1]  # [H, W, 4]


def write_png(path: Path, srgb: np.ndarray) -> None:
    """Write display-ready values [H, W, 3] in [0, 1], first row at the top, as an 8-bit PNG."""
    height, width, _ = srgb.shape
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :3] = srgb
    image = bpy.data.images.new("id2r sheet", width, height, alpha=False)
    try:
        image.pixels.foreach_set(rgba[::-1].ravel())
        image.filepath_raw = str(path)
        image.file_format = "PNG"
        image.save()
    finally:
        bpy.data.images.remove(image)
