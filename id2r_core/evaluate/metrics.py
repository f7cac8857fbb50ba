"""The figures of all tables, each a small function with its source. Definitions are shared by every evaluation.

Images are [H, W, 3] sRGB in [0, 1] and masks [H, W] bool unless a line says otherwise; everything is numpy.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from ..conventions import srgb_to_linear

SKIN_TYPES = ("I", "II", "III", "IV", "V", "VI")
TYPE_EDGES = (55.0, 41.0, 28.0, 10.0, -30.0)  # degrees, between neighbouring types
SSIM_SIGMA = 6 / 7  # with skimage's cut at 3.5 sigma this is a window of 7 x 7
LUMINANCE = (0.2126, 0.7152, 0.0722)  # Rec. 709, of linear light
BIAS_DDOF = 1
DEALS = 2000  # of people to types, for the Bias by chance


def psnr(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over the mask: 10 log10(1 / MSE), all channels alike. Any number of channels."""
    error = np.square(image[mask].astype(np.float64) - truth[mask]).mean()
    return float(10 * np.log10(1 / max(error, 1e-10)))


def ssim(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004): 7 x 7 Gaussian window, data range 1, mean of the map over the mask."""
    _, similarity = structural_similarity(
        image.astype(np.float64),
        truth.astype(np.float64),
        data_range=1.0,
        channel_axis=2,
        gaussian_weights=True,
        sigma=SSIM_SIGMA,
        use_sample_covariance=False,
        full=True,
    )
    return float(similarity[mask].mean())


def mae_255(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute error of RGB over the mask, 0 to 255 (MAE of the FAIR benchmark, Feng et al. 2022)."""
    return float(np.abs(image[mask].astype(np.float64) - truth[mask]).mean() * 255)


class Lpips:
    """Learned perceptual distance (Zhang et al. 2018): package `lpips`, AlexNet. Nothing else is given under that name.

    Raises ImportError when the package is missing; `Lpips.available` tells beforehand.
    """

    def __init__(self):
        import lpips

        self._net = lpips.LPIPS(net="alex", spatial=True, verbose=False).eval()

    @staticmethod
    def available() -> bool:
        """Whether the package is installed and the weights of its backbone lie on this machine (nothing is fetched)."""
        if importlib.util.find_spec("lpips") is None:
            return False
        import torch

        return any((Path(torch.hub.get_dir()) / "checkpoints").glob("alexnet-*.pth"))

    def __call__(self, image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
        """Mean of the distance map over the mask; what lies outside is made equal first."""
        import torch

        image = np.where(mask[..., None], image, truth)
        both = [torch.from_numpy(each.astype(np.float32)).permute(2, 0, 1)[None] * 2 - 1 for each in (image, truth)]
        with torch.inference_mode():
            return float(self._net(*both)[0, 0].numpy()[mask].mean())


def ita_degrees(image: np.ndarray, mask: np.ndarray) -> float:
    """Individual typology angle (Chardon et al. 1991) of the mean L* and b* (CIELAB, D65) over the mask, degrees.

    arctan((L* - 50) / b*) with the plain arctangent, as published with the FAIR benchmark.
    """
    lab = rgb2lab(image[mask].astype(np.float64)[None])[0].mean(0)
    return float(np.degrees(np.arctan((lab[0] - 50) / lab[2])))


def skin_type(ita: float) -> str:
    """Skin type by its typology angle in degrees (Del Bino & Bernerd 2013): I > 55 > II > 41 > III > 28 > IV > 10 > V >
    -30 > VI."""
    return SKIN_TYPES[sum(ita < edge for edge in TYPE_EDGES)]


@dataclass(frozen=True)
class Fairness:
    """Per type: mean absolute ITA error in degrees; types without a face are left out, and then the sums are None."""

    per_type: dict[str, float]
    average: float | None
    bias: float | None
    score: float | None


def fairness(errors: dict[str, list[float]]) -> Fairness:
    """ITA errors of each skin type -> Avg ITA, Bias and Score of the FAIR benchmark (Feng et al., ECCV 2022).

    Avg ITA is the mean over the six types of the mean absolute error, Bias their standard deviation (ddof 1), Score
    the sum of both.
    """
    per_type = {name: float(np.mean(np.abs(errors[name]))) for name in SKIN_TYPES if errors.get(name)}
    if len(per_type) < len(SKIN_TYPES):
        return Fairness(per_type, None, None, None)
    values = list(per_type.values())
    average, bias = float(np.mean(values)), float(np.std(values, ddof=BIAS_DDOF))
    return Fairness(per_type, average, bias, average + bias)


def bias_by_chance(errors: dict[str, dict[str, list[float]]]) -> float | None:
    """The Bias that people would have whose skin type made no difference: median over dealing them to the types anew.

    errors: type -> person -> ITA errors in degrees. A permutation test's null (Good 2005): a measured Bias is only told
    from chance when it is well above. None when a type has nobody.
    """
    people = [list(errors.get(name, {}).values()) for name in SKIN_TYPES]
    if not all(people):
        return None
    starts = np.cumsum([0, *(len(of_type) for of_type in people[:-1])])
    sums = np.array([(np.abs(each).sum(), len(each)) for of_type in people for each in of_type])
    random, found = np.random.default_rng(0), []
    for _ in range(DEALS):
        total, count = np.add.reduceat(random.permutation(sums), starts).T
        found.append(np.std(total / count, ddof=BIAS_DDOF))
    return float(np.median(found))


def ciede2000(image: np.ndarray, other: np.ndarray, mask: np.ndarray) -> float:
    """Mean colour difference Delta E 2000 (CIE 142-2001; Sharma et al. 2005) over the mask, D65."""
    pair = [rgb2lab(each[mask].astype(np.float64)[None]) for each in (image, other)]
    return float(deltaE_ciede2000(*pair).mean())


def light_leak(albedo: np.ndarray, shading: np.ndarray, mask: np.ndarray) -> float:
    """Pearson correlation of the albedo's linear luminance with the true shading over the skin; 0 is clean.

    albedo: sRGB; shading: [H, W, 3] linear irradiance. Light that was left in the albedo varies with the shading.
    """
    leaked = srgb_to_linear(albedo[mask].astype(np.float64)) @ LUMINANCE
    lit = shading[mask].astype(np.float64) @ LUMINANCE
    return float(np.corrcoef(leaked, lit)[0, 1])


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine of two identity vectors (ID; as in ArcFace, Deng et al. 2019)."""
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def id_retrieval(vectors: np.ndarray, gallery: np.ndarray, identities: np.ndarray) -> float:
    """Rank-1 rate: how often vector i [N, D] is nearest by cosine to row identities[i] of the gallery [G, D].

    ID-Retrieval of face swapping (FaceShifter, Li et al. 2019).
    """
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return float(((unit(vectors) @ unit(gallery).T).argmax(1) == identities).mean())


def head_rotation(points: np.ndarray, surface: np.ndarray, side: float) -> np.ndarray:
    """Pitch, yaw and roll [3] in radians of a head from its landmarks, by perspective-n-point (Lepetit et al. 2009).

    points: [P, 2] pixels; surface: [P, 3] the same landmarks on the mean head (y up); side: of the image, pixels. The
    camera is taken to be two sides away in focal length.
    """
    camera = np.array([[2.0 * side, 0, side / 2], [0, 2.0 * side, side / 2], [0, 0, 1]])
    to_view = surface.astype(np.float64) * (1, -1, -1)
    _, turn, _ = cv2.solvePnP(to_view, points.astype(np.float64), camera, None, flags=cv2.SOLVEPNP_SQPNP)
    rotation, _ = cv2.Rodrigues(turn)
    return np.radians(cv2.RQDecomp3x3(rotation)[0])


def pose_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Mean absolute difference of two head rotations [3] in radians (pose error of FaceShifter, Li et al. 2019)."""
    turned = np.angle(np.exp(1j * (first - second)))
    return float(np.abs(turned).mean())
