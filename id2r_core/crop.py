"""The aligned face crop: the photo under the similarity that brings the five points to the ArcFace template."""

from dataclasses import dataclass

import cv2
import numpy as np

from .landmarks import Face
from .photo import Photo

# Eyes, nose tip and mouth corners in a 112 x 112 window, the subject's right first (insightface.utils.face_align).
ARCFACE_TEMPLATE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
# In a crop of 128 units the window lies at rows 0..111, columns 8..119: insightface's convention for sizes such as 512.
CROP_UNITS, WINDOW_COLUMN = 128, 8


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
    return (ARCFACE_TEMPLATE_112 + (WINDOW_COLUMN, 0)) * (size / CROP_UNITS)


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
