"""Colour profiles at full precision: matrix and grey ICC profiles (ICC.1:2022) to sRGB in floating point.

Pillow's colour management works in 8 bit and knows every kind of profile; this file serves the deep images, whose
profiles are practically always of the two kinds that a few curves and one matrix describe.
"""

import struct
from dataclasses import dataclass

import numpy as np

from .conventions import linear_to_srgb

# XYZ (D50, the connection space of ICC) -> linear sRGB; Bradford adaptation, as in the sRGB v4 profile.
LINEAR_SRGB_FROM_XYZ_D50 = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
)
_CURVE_SAMPLES = 65536
# How many of the numbers g a b c d e f a parametric curve of type 0..4 stores (ICC.1:2022, table 68).
_PARAMETERS = (1, 3, 4, 5, 7)


@dataclass(frozen=True)
class MatrixProfile:
    """curves: [C, 65536] float32, encoded value i / 65535 -> linear; linear_srgb_from_device: [3, C], C is 3 or 1."""

    curves: np.ndarray
    linear_srgb_from_device: np.ndarray


def read_matrix_profile(profile: bytes) -> MatrixProfile | None:
    """The curves and the matrix of a profile; None when it is damaged or of another kind (lookup tables, CMYK)."""
    try:
        tags = _tags(profile)
        if b"rTRC" in tags:
            curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
            xyz = np.stack([_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")], axis=1)
            return MatrixProfile(np.stack(curves), LINEAR_SRGB_FROM_XYZ_D50 @ xyz)
        if b"kTRC" in tags:
            return MatrixProfile(_curve(tags[b"kTRC"])[None], np.ones((3, 1)))
    except (struct.error, KeyError, ValueError, IndexError):
        return None
    return None


def to_srgb(pixels: np.ndarray, profile: MatrixProfile) -> np.ndarray:
    """[H, W, C] uint16 in the profile's colours -> [H, W, 3] float32 sRGB in [0, 1]."""
    linear = np.stack([curve[pixels[..., index]] for index, curve in enumerate(profile.curves)], axis=-1)
    return linear_to_srgb(linear @ profile.linear_srgb_from_device.T.astype(np.float32)).clip(0.0, 1.0)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = (struct.unpack_from(">4sII", profile, 132 + 12 * index) for index in range(min(count, 100)))
    return {name: profile[offset : offset + size] for name, offset, size in entries}


def _xyz(tag: bytes) -> np.ndarray:
    return np.array(struct.unpack_from(">3i", tag, 8)) / 65536.0


def _curve(tag: bytes) -> np.ndarray:
    """[65536] float32: the tag's tone curve at evenly spaced encoded values."""
    encoded = np.linspace(0.0, 1.0, _CURVE_SAMPLES)
    if tag[:4] == b"para":
        return _parametric_curve(tag, encoded).astype(np.float32)
    if tag[:4] != b"curv":
        raise ValueError("unknown kind of tone curve")
    (count,) = struct.unpack_from(">I", tag, 8)
    values = np.frombuffer(tag, ">u2", count, 12)
    if count == 0:
        return encoded.astype(np.float32)
    if count == 1:
        return (encoded ** (values[0] / 256.0)).astype(np.float32)
    return np.interp(encoded, np.linspace(0.0, 1.0, count), values / 65535.0).astype(np.float32)


def _parametric_curve(tag: bytes, encoded: np.ndarray) -> np.ndarray:
    """(a x + b)^g + e where x >= d, else c x + f; the shorter types leave out what is then 0 or derived."""
    (kind,) = struct.unpack_from(">H", tag, 8)
    stored = [value / 65536.0 for value in struct.unpack_from(f">{_PARAMETERS[kind]}i", tag, 12)]
    g, a, b, c, d, e, f = stored + [0.0] * (7 - len(stored))
    if kind == 0:
        a = 1.0
    if kind in (1, 2):
        c, d, e, f = 0.0, -b / a, c, c
    power = (a * encoded + b).clip(0.0) ** g + e
    return np.where(encoded >= d, power, c * encoded + f)
