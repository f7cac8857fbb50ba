"""Photo intake: a picture file becomes an upright float32 sRGB image, or one clear error."""

import io
import struct
import warnings as python_warnings
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from . import icc
from .errors import Id2rError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
# Decoded at all: above the largest single-shot cameras. Kept: more than any atlas can use, small enough for 3 GiB.
DECODE_LIMIT_PIXELS = 128_000_000
WORKING_LIMIT_PIXELS = 25_000_000
BACKGROUND_SRGB = 0.5
PROFILE_UNUSED = "The photo's colour profile could not be used; its numbers were taken as sRGB."
EXPORT_AGAIN = "Copy or export the photo again."
USE_ANOTHER_FILE = "Save the picture again as JPEG, PNG, WebP or TIFF and try that file."

# For EXIF orientation 1..8: mirror left to right first?, then quarter turns counter-clockwise.
_UPRIGHT = ((False, 0), (True, 0), (False, 2), (True, 2), (True, 1), (False, 3), (True, 3), (False, 1))


@dataclass(frozen=True)
class Photo:
    """One photograph, upright, in display colour.

    srgb: [H, W, 3] float32 in [0, 1], sRGB encoded; `srgb[y, x]` is the pixel whose centre is (x + 0.5, y + 0.5).
    name: the file's name, for messages and reports.
    focal_35mm: focal length in the 35 mm equivalent of the EXIF data, in millimetres; None when it is not known.
    warnings: plain sentences about what had to be assumed or changed.
    """

    srgb: np.ndarray
    name: str
    focal_35mm: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        return self.srgb.shape[0]

    @property
    def width(self) -> int:
        return self.srgb.shape[1]


def load_photo(path: str | Path) -> Photo:
    """Read a JPEG, PNG (8 or 16 bit), WebP or TIFF file.

    Alpha is composited over mid grey, embedded colour profiles are converted to sRGB, EXIF orientation is applied.
    Raises Id2rError for everything that is not a readable picture of a sensible size; the size is checked before
    any pixel is decoded.
    """
    path = Path(path)
    data = _read_bytes(path)
    Image.init()  # Pillow registers WebP and TIFF only on demand
    warnings: list[str] = []
    with _decoding_errors(path.name), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_size(image.size, path.name)
        exif = image.getexif()
        focal_35mm = _focal_35mm(exif)
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        profile = image.info.get("icc_profile")
        is_deep = _is_deep(image, data)
        if image.format == "TIFF":
            orientation = 1  # Pillow turns TIFF files upright while it decodes them
        image.load()
        pixels = _deep_pixels(data) if is_deep else None
        if pixels is None:
            pixels = _pixels(image, profile, warnings)
        elif profile:
            pixels = _deep_to_srgb(_limit_working_size(pixels, warnings), profile, warnings)
    pixels = _upright(_limit_working_size(pixels, warnings), orientation)
    return Photo(_to_srgb_float(pixels), path.name, focal_35mm, tuple(warnings))


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise Id2rError(f"'{path}' is a folder, not a picture.", "Give the path of one photo inside it.")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise Id2rError(f"There is no file '{path}'.", "Check the path and the spelling of the name.") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "Check the permissions of the file and its folder."
        raise Id2rError(f"'{path}' cannot be read: {reason}.", hint) from error
    if not data:
        raise Id2rError(f"'{path.name}' is empty (0 bytes).", EXPORT_AGAIN)
    return data


@contextmanager
def _decoding_errors(name: str):
    """Turn whatever the decoders raise on foreign or damaged files into one clear sentence."""
    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")  # size and metadata: checked here, in plain words
            yield
    except UnidentifiedImageError as error:
        raise Id2rError(f"'{name}' is not a picture in a format that can be read.", USE_ANOTHER_FILE) from error
    except Image.DecompressionBombError as error:
        raise _too_large(name, "far more pixels") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, cv2.error) as error:
        raise Id2rError(f"'{name}' is damaged or cut off and cannot be decoded.", EXPORT_AGAIN) from error


def _too_large(name: str, found: str) -> Id2rError:
    limit = DECODE_LIMIT_PIXELS // 1_000_000
    hint = "Scale the photo down; 4000 pixels a side are plenty."
    return Id2rError(f"'{name}' has {found}; the limit is {limit} megapixels.", hint)


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > DECODE_LIMIT_PIXELS:
        raise _too_large(name, f"{width} x {height} pixels")


def _focal_35mm(exif: Image.Exif) -> float | None:
    focal = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm)
    return float(focal) if isinstance(focal, (int, float)) and focal > 0 else None


def _is_deep(image: Image.Image, data: bytes) -> bool:
    """More than 8 bits a channel; Pillow would cut colour images of that kind down to 8."""
    if image.format == "PNG":
        return data[24] == 16  # the bit depth in the IHDR chunk
    if image.format == "TIFF":
        return max(image.tag_v2.get(ExifTags.Base.BitsPerSample, (8,))) > 8
    return False


def _deep_pixels(data: bytes) -> np.ndarray | None:
    """[H, W, C] uint16 of a deep PNG or TIFF, C in (1, 3, 4), RGB order; None for a layout OpenCV lacks."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        return None
    if pixels.ndim == 2:
        return pixels[..., None]
    order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}.get(pixels.shape[2])
    return None if order is None else cv2.cvtColor(pixels, order)


def _pixels(image: Image.Image, profile: bytes | None, warnings: list[str]) -> np.ndarray:
    """[H, W, 3 or 4] uint8 sRGB of any other image: palettes, grey, CMYK, Lab, with or without alpha and profile."""
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    if image.mode in ("I", "F"):
        raise UnidentifiedImageError("more than 16 bits a channel")
    if has_alpha or image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("RGBA" if has_alpha else "RGB")
    if profile:
        image = _profile_to_srgb(image, profile, warnings)
    return np.asarray(image if image.mode in ("RGB", "RGBA") else image.convert("RGB"))


def _profile_to_srgb(image: Image.Image, profile: bytes, warnings: list[str]) -> Image.Image:
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        warnings.append(PROFILE_UNUSED)
        return image


def _deep_to_srgb(pixels: np.ndarray, profile: bytes, warnings: list[str]) -> np.ndarray:
    """As `_profile_to_srgb`, for [H, W, C] uint16; returns float32, or the uint16 as they are."""
    matrix_profile = icc.read_matrix_profile(profile)
    channels = 0 if matrix_profile is None else len(matrix_profile.curves)
    if channels == 0 or pixels.shape[2] < channels:
        warnings.append(PROFILE_UNUSED)
        return pixels
    colour = icc.to_srgb(pixels[..., :channels], matrix_profile)
    if pixels.shape[2] != 4:
        return colour
    return np.concatenate([colour, _unit_range(pixels[..., 3:])], axis=2)


def _limit_working_size(pixels: np.ndarray, warnings: list[str]) -> np.ndarray:
    height, width, channels = pixels.shape
    scale = (WORKING_LIMIT_PIXELS / (height * width)) ** 0.5
    if scale >= 1.0:
        return pixels
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    warnings.append(f"The photo was reduced from {width} x {height} to {size[0]} x {size[1]} pixels.")
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], channels)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    mirror, quarter_turns = _UPRIGHT[orientation - 1 if orientation in range(1, 9) else 0]
    return np.rot90(pixels[:, ::-1] if mirror else pixels, quarter_turns)


def _to_srgb_float(pixels: np.ndarray) -> np.ndarray:
    """[H, W, 1, 3 or 4] uint8, uint16 or float32 -> [H, W, 3] float32 in [0, 1], alpha composited."""
    colour = _unit_range(pixels[..., :3])
    if pixels.shape[2] == 4:
        alpha = _unit_range(pixels[..., 3:])
        colour = colour * alpha + np.float32(BACKGROUND_SRGB) * (1.0 - alpha)
    height, width, _ = pixels.shape
    return np.ascontiguousarray(np.broadcast_to(colour, (height, width, 3)))


def _unit_range(pixels: np.ndarray) -> np.ndarray:
    """uint8, uint16 or float32 of any shape -> float32 in [0, 1]."""
    white = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}.get(pixels.dtype, 1.0)
    return np.nan_to_num(np.multiply(pixels, np.float32(1.0 / white), dtype=np.float32)).clip(0.0, 1.0)
