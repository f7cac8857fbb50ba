"""A face recogniser that takes no part in making heads."""

import hashlib
from pathlib import Path

import cv2
import numpy as np

from ..errors import Id2rError
from ..landmarks import detect_face
from ..photo import Photo

# The judge's alignment (MobileFaceNet): where the five points lie in its 112 x 112 input, and its normalisation.
JUDGE_POINTS = ((38.29, 51.70), (73.53, 51.50), (56.03, 71.74), (41.55, 92.37), (70.73, 92.20))
JUDGE_MEAN, JUDGE_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Judge:
    """A recognition network in ONNX: input 1x3x112x112 RGB, output an embedding."""

    def __init__(self, path: Path):
        if not path.is_file():
            raise Id2rError(f"There is no recognition network at '{path}'.", "Give its ONNX file with --judge.")
        self.path = path
        self._net = cv2.dnn.readNetFromONNX(str(path))
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    def embed(self, photo: Photo) -> np.ndarray:
        """Unit vector [D] of the largest face of a picture. Raises NoFace when there is none."""
        from skimage.transform import SimilarityTransform

        align = SimilarityTransform.from_estimate(detect_face(photo).five, np.array(JUDGE_POINTS)).params[:2]
        return self.embed_aligned(cv2.warpAffine(photo.srgb, align, (112, 112), flags=cv2.INTER_AREA))

    def embed_aligned(self, face: np.ndarray) -> np.ndarray:
        """Unit vector [D] of a face that lies in its window [112, 112, 3] sRGB in [0, 1] as the network wants it."""
        normalised = (face - np.float32(JUDGE_MEAN)) / np.float32(JUDGE_SPREAD)
        self._net.setInput(np.ascontiguousarray(normalised.transpose(2, 0, 1)[None]))
        vector = self._net.forward()[0].copy()
        return vector / np.linalg.norm(vector)
