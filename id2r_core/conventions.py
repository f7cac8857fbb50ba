"""Names, units and the conversions between frames and colour encodings. Each conversion exists here, once, as a pair.

All functions take numpy arrays and torch tensors alike: they use only operators that both have, so that the torch-free
part of the house (and Blender) shares them with the core.
"""

from enum import Enum


class Domain(str, Enum):
    """The five image domains of the multi-domain codebooks (C^T, C^D, C^S, C^R, C^N in the paper)."""

    RGB = "rgb"
    DIFFUSE = "diffuse"
    SPECULAR = "specular"
    ROUGHNESS = "roughness"
    NORMAL = "normal"


REFLECTANCE = (Domain.DIFFUSE, Domain.SPECULAR, Domain.ROUGHNESS, Domain.NORMAL)
GREY = (Domain.SPECULAR, Domain.ROUGHNESS)  # their three channels are one
STAGES = (
    "photo", "landmarks", "crop", "identity", "template", "swap", "translate", "head", "stitch", "refine", "detail", "maps",
)  # fmt: skip

VIEWS = 3  # of a capture: from the front, from the subject's left, from the right
SKIN_IOR = 1.4
WHITE_OF_EYE_LINEAR = (0.48, 0.43, 0.395)  # of our eyes; the iris is measured against it, and shown beside it
# Of displacement.png: metres from 0 to 1, and the value of the mesh itself.
DISPLACEMENT_METRES, DISPLACEMENT_MIDDLE = 0.008, 0.5
# What 1 means in hair.png: its green, how far hair stands off the scalp; its blue, how far below the eyes it hangs.
HAIR_METRES = (0.1, 0.4)
# What 1 means in the lightness of strands.npz: linear log-brightness, a little more than in the photo, whose gleams it is measured
# without.
STRANDS_LIGHTEST = 1.6
# Where report.json tells of a fringe: metres from the middle of the face, from its right to its left.
FRINGE_COLUMNS = tuple(round(-0.08 + 0.01 * column, 2) for column in range(17))
HEAD_FORMAT = 3  # of head.npz in a result folder: 3 is neutral whatever it shows, and says what it shows

# Eyes, nose tip and mouth corners, the subject's right first, in a crop of 128 x 128 units whose window at rows 0..111,
# columns 8..119 is ArcFace's input (insightface.utils.face_align: template, and its convention for sizes such as 512).
CROP_UNITS = 128
CROP_FIVE_POINTS = (
    (46.2946, 51.6963), (81.5318, 51.5014), (64.0252, 71.7366), (49.5493, 92.3655), (78.7299, 92.2041),
)  # fmt: skip

# Where the two side cameras of a capture stand, (yaw, pitch) in degrees, a negative pitch from below. The views of a pack
# are those it was trained with. Level cameras miss the underside of chin and nose at any yaw: of the texels of face and
# neck they show 92.9 % at less than 70 degrees, and at their best yaw (80) 93.9 %; the low ones show 97.2 %.
LEVEL_SIDES = (50.0, 0.0)
LOW_SIDES = (60.0, -20.0)


def ior_to_f0(ior: float) -> float:
    """Reflectance at normal incidence of a dielectric in air, ((n - 1) / (n + 1))^2 (Fresnel)."""
    return ((ior - 1.0) / (ior + 1.0)) ** 2


def srgb_to_linear(srgb):
    """Decode sRGB (IEC 61966-2-1). Any shape; values below 0 are clipped."""
    srgb = srgb.clip(0.0)
    is_toe = srgb <= 0.04045
    return is_toe * (srgb / 12.92) + ~is_toe * ((srgb + 0.055) / 1.055) ** 2.4


def linear_to_srgb(linear):
    """Encode linear light as sRGB (IEC 61966-2-1). Any shape; values below 0 are clipped, above 1 kept."""
    linear = linear.clip(0.0)
    is_toe = linear <= 0.0031308
    # The clip keeps the gradient of the power finite at 0, where the toe is used anyway.
    return is_toe * (linear * 12.92) + ~is_toe * (1.055 * linear.clip(0.0031308) ** (1 / 2.4) - 0.055)


def yup_to_zup(points):
    """Core's frame to Blender's: [..., 3] (x, y, z) -> (x, -z, y)."""
    return points[..., [0, 2, 1]] * _row_like(points, (1.0, -1.0, 1.0))


def zup_to_yup(points):
    """Blender's frame to the core's: [..., 3] (x, y, z) -> (x, z, -y)."""
    return points[..., [0, 2, 1]] * _row_like(points, (1.0, 1.0, -1.0))


def uv_to_pixel(uv, height: int, width: int):
    """[..., 2] uv (v up) -> continuous pixel coordinates (y down)."""
    return (uv * _row_like(uv, (1.0, -1.0)) + _row_like(uv, (0.0, 1.0))) * _row_like(uv, (float(width), float(height)))


def pixel_to_uv(pixel, height: int, width: int):
    """[..., 2] continuous pixel coordinates (y down) -> uv (v up)."""
    uv = pixel / _row_like(pixel, (float(width), float(height)))
    return uv * _row_like(pixel, (1.0, -1.0)) + _row_like(pixel, (0.0, 1.0))


def encode_normal(normal):
    """Unit vectors in [-1, 1] -> image values in [0, 1]."""
    return normal * 0.5 + 0.5


def decode_normal(image):
    """Image values in [0, 1] -> vectors in [-1, 1] (not renormalised)."""
    return image * 2.0 - 1.0


def _row_like(reference, values):
    """A constant row of the same array library, dtype and device as `reference`."""
    if hasattr(reference, "new_tensor"):
        return reference.new_tensor(values)
    import numpy

    return numpy.asarray(values, dtype=reference.dtype)
