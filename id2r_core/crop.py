"""The aligned face crop: the photo under the similarity that brings the five points to the ArcFace template."""

from dataclasses import dataclass

import cv2
import numpy as np

from .conventions import CROP_FIVE_POINTS, CROP_UNITS
from .landmarks import Face
from .photo import Photo


@dataclass(frozen=True)
class FaceCrop:
    """The aligned face.

    srgb: [S, S, 3] float32 in [0, 1]; what lies outside the photo repeats its edge.
    crop_from_photo: [2, 3] similarity, continuous pixels of the photo -> continuous pixels of the crop.
    """

    srgb: np.ndarray
    crop_from_photo: np.ndarray


def template_points(size: int) -> np.ndarray:
    """[5, 2] where the five points lie in a crop of size x size pixels."""
    return np.array(CROP_FIVE_POINTS) * (size / CROP_UNITS)


def similarity_to_template(five: np.ndarray, size: int) -> np.ndarray:
    """[2, 3] least-squares similarity (Umeyama 1991) from the five points [5, 2] to their places in the crop."""
    from skimage.transform import SimilarityTransform

    return SimilarityTransform.from_estimate(five, template_points(size)).params[:2]


def crop_face(photo: Photo, face: Face, size: int) -> FaceCrop:
    """Warp the photo into the aligned crop of size x size pixels, averaging where the crop is the coarser one."""
    crop_from_photo = similarity_to_template(face.five, size)
    return FaceCrop(warp_image(photo.srgb, crop_from_photo, size, size), crop_from_photo)


def warp_image(image: np.ndarray, target_from_source: np.ndarray, height: int, width: int) -> np.ndarray:
    """[H, W, C] float32 under a similarity in continuous pixels -> [height, width, C] float32.

    A reduction of more than two would alias under bilinear sampling; the image is halved by area first.
    """
    matrix = np.asarray(target_from_source, np.float64)
    while np.hypot(*matrix[:, 0]) < 0.5 and min(image.shape[:2]) >= 2:
        rows, columns = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
        image = cv2.resize(image[:rows, :columns], (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([2.0, 2.0, 1.0])
    # OpenCV counts from the centre of the first pixel; ours are continuous, that centre is (0.5, 0.5).
    half = np.array([0.5, 0.5])
    shifted = np.column_stack([matrix[:, :2], matrix[:, 2] + matrix[:, :2] @ half - half])
    return cv2.warpAffine(image, shifted, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
