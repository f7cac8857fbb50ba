"""The colour of skin from melanin and blood: a two-layer spectral model, tabulated.

An absorbing epidermis over a scattering dermis, after Jacques, "Skin Optics" (1998; absorption of melanin, baseline
and scattering of dermis), Krishnaswamy & Baranoski, "A Biophysically-Based Spectral Model of Light Interaction with
Human Skin" (BioSpec, 2004), Donner & Jensen, "A Spectral BSSRDF for Shading Human Skin" (2006) and Alotaibi & Smith,
"A Biophysical 3D Morphable Model of Face Appearance" (2017): light crosses the epidermis twice and the dermis returns
the diffuse reflectance of a half-space (Flock et al. 1989). Haemoglobin spectra: S. Prahl's compilation (1999).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

WAVELENGTHS = np.arange(400.0, 701.0, 10.0)  # nm
# Molar extinction, 1 / (cm M), at WAVELENGTHS.
OXYGENATED = (
    266232, 466840, 480360, 246072, 102580, 62816, 44480, 33209, 26629, 23684, 20933, 20035, 24202, 39957, 53236, 43016,
    32613, 44496, 50104, 14401, 3200, 1506, 942, 610, 442, 368, 320, 294, 278, 276, 290,
)  # fmt: skip
DEOXYGENATED = (
    223296, 303956, 407560, 528600, 413280, 103292, 23389, 16156, 14550, 16684, 20862, 25774, 31590, 39036, 46592, 53412,
    53788, 45072, 37020, 28324, 14677, 9444, 6510, 5149, 4345, 3750, 3227, 2795, 2408, 2052, 1794,
)  # fmt: skip
DAYLIGHT = (
    82.75, 91.49, 93.43, 86.68, 104.86, 117.01, 117.81, 114.86, 115.92, 108.81, 109.35, 107.80, 104.79, 107.69, 104.41,
    104.05, 100.00, 96.33, 95.79, 88.69, 90.01, 89.60, 87.70, 83.29, 83.70, 80.03, 80.21, 82.28, 78.28, 69.72, 71.61,
)  # fmt: skip
OXYGENATION = 0.75
EPIDERMIS_CENTIMETRES = 0.006
# Two numbers are chosen so that the table runs through typical CIELAB of light to very dark skin (from 68, 8, 14 to
# 36, 11, 14) within 2 in each: the in-vivo slope of melanin, flatter than the 3.33 of Jacques, and what melanosomes and
# the uppermost cells scatter back before melanin colours it, which is most of what dark skin returns in blue.
MELANIN_SLOPE = 2.8
MELANIN_AT_550 = 6.6e11 * 550.0**-3.33  # 1 / cm, of a melanosome
SUPERFICIAL = 0.045
HAEMOGLOBIN_MOLAR = 150.0 / 64500.0  # in whole blood: 150 g/l, 64.5 kg/mol
INTERNAL_REFLECTION = 2.0  # (1 + r) / (1 - r) of the diffuse reflection inside the surface
MELANIN_RANGE = (0.004, 0.80)  # volume fraction of melanosomes in the epidermis
BLOOD_RANGE = (0.002, 0.20)  # volume fraction of blood in the dermis
TABLE_SIZE = 96

RGB_FROM_XYZ = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
WHITE_XYZ = np.array([0.95047, 1.0, 1.08883])
# The six skin types by individual typology angle, degrees (Chardon et al. 1991), the outer ones closed.
ITA_EDGES = (-55.0, -30.0, 10.0, 28.0, 41.0, 55.0, 63.0)


@dataclass(frozen=True)
class PigmentTable:
    """Linear diffuse albedo by pigment.

    linear: [3, M, H]; linear[:, m, h] is the albedo at the m-th step of melanin and the h-th of blood
    ita: [M, H] degrees of the same
    Both axes run evenly over coordinates in [0, 1], the logarithm of the fractions.
    """

    linear: Tensor
    ita: Tensor

    def albedo(self, melanin: Tensor, blood: Tensor) -> Tensor:
        """Linear albedo [B, 3, ...] for coordinates [B, ...] of melanin and blood (clamped to [0, 1])."""
        grid = torch.stack([blood, melanin], dim=-1).flatten(1, -2)[:, None] * 2 - 1  # [B, 1, P, 2]
        table = self.linear.expand(len(melanin), -1, -1, -1)
        flat = functional.grid_sample(table, grid, padding_mode="border", align_corners=True)  # [B, 3, 1, P]
        return flat.reshape(len(melanin), 3, *melanin.shape[1:])

    def melanin_for(self, ita: Tensor, blood: Tensor) -> Tensor:
        """The melanin coordinate [S] at which skin with blood coordinates [S] has the typology angles [S]."""
        steps = self.ita.shape[1] - 1
        column = self.ita[:, (blood.clamp(0, 1) * steps).round().long()].T.contiguous()  # [S, M], falling
        above = (column >= ita[:, None]).sum(1).clamp(1, steps)
        rows = torch.arange(len(ita), device=ita.device)
        high, low = column[rows, above - 1], column[rows, above]
        return ((above - 1 + (high - ita) / (high - low)) / steps).clamp(0, 1)

    def slopes(self, melanin: Tensor, blood: Tensor) -> Tensor:
        """How -log(albedo) grows with both coordinates, [S, 3, 2], at [S] coordinates."""
        step = 0.02
        sides = [
            -self.albedo(melanin + dm, blood + db).log() for dm, db in ((step, 0), (-step, 0), (0, step), (0, -step))
        ]
        return torch.stack([sides[0] - sides[1], sides[2] - sides[3]], dim=-1) / (2 * step)


def build_pigment_table(device="cpu") -> PigmentTable:
    """Evaluate the model on an even grid; milliseconds."""
    melanin = np.geomspace(*MELANIN_RANGE, TABLE_SIZE)[:, None, None]
    blood = np.geomspace(*BLOOD_RANGE, TABLE_SIZE)[None, :, None]
    xyz = skin_reflectance(melanin, blood) @ _xyz_weights()  # [M, H, 3]
    linear = (xyz @ RGB_FROM_XYZ.T).clip(1e-3, 1.0)
    as_tensor = lambda array: torch.tensor(array, dtype=torch.float32, device=device)
    return PigmentTable(as_tensor(linear.transpose(2, 0, 1)), as_tensor(typology_angle(linear)))


def skin_reflectance(melanin: np.ndarray, blood: np.ndarray) -> np.ndarray:
    """Diffuse reflectance at WAVELENGTHS (last axis) for volume fractions that broadcast with them."""
    wavelength = WAVELENGTHS
    baseline = 0.244 + 85.3 * np.exp(-(wavelength - 154.0) / 66.2)  # 1 / cm
    epidermis = melanin * MELANIN_AT_550 * (wavelength / 550.0) ** -MELANIN_SLOPE + (1 - melanin) * baseline
    mixed = OXYGENATION * np.array(OXYGENATED) + (1 - OXYGENATION) * np.array(DEOXYGENATED)
    dermis = blood * np.log(10.0) * HAEMOGLOBIN_MOLAR * mixed + (1 - blood) * baseline
    scattering = 2e5 * wavelength**-1.5 + 2e12 * wavelength**-4.0
    reduced = scattering / (scattering + dermis)
    root = np.sqrt(3.0 * (1.0 - reduced))
    k = INTERNAL_REFLECTION
    half_space = reduced / (1.0 + 2.0 * k * (1.0 - reduced) + (1.0 + 2.0 * k / 3.0) * root)
    return SUPERFICIAL + np.exp(-2.0 * epidermis * EPIDERMIS_CENTIMETRES) * half_space


def typology_angle(linear: np.ndarray) -> np.ndarray:
    """Individual typology angle in degrees, atan((L* - 50) / b*), of linear sRGB [..., 3] under D65."""
    lab = lab_of(torch.as_tensor(linear, dtype=torch.float64)).numpy()
    return np.degrees(np.arctan2(lab[..., 0] - 50, lab[..., 2]))


def lab_of(linear: Tensor) -> Tensor:
    """CIELAB [..., 3] of linear sRGB [..., 3] under D65."""
    xyz = linear @ linear.new_tensor(np.linalg.inv(RGB_FROM_XYZ).T / WHITE_XYZ)
    cube = torch.where(xyz > 216 / 24389, xyz.clamp(min=1e-6) ** (1 / 3), (24389 / 27 * xyz + 16) / 116)
    x, y, z = cube.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def _xyz_weights() -> np.ndarray:
    """[wavelengths, 3]: CIE 1931 matching functions (fit of Wyman, Sloan & Shirley 2013) times D65, white being Y = 1."""

    def lobe(peak, below, above):
        inverse = np.where(WAVELENGTHS < peak, below, above)
        return np.exp(-0.5 * ((WAVELENGTHS - peak) * inverse) ** 2)

    x = 0.362 * lobe(442.0, 0.0624, 0.0374) + 1.056 * lobe(599.8, 0.0264, 0.0323) - 0.065 * lobe(501.1, 0.0490, 0.0382)
    y = 0.821 * lobe(568.8, 0.0213, 0.0247) + 0.286 * lobe(530.9, 0.0613, 0.0322)
    z = 1.217 * lobe(437.0, 0.0845, 0.0278) + 0.681 * lobe(459.0, 0.0385, 0.0725)
    weights = np.stack([x, y, z], axis=1) * np.array(DAYLIGHT)[:, None]
    # The short table loses a little at its ends; scaling each channel makes a perfect white exactly D65.
    return weights / weights.sum(0) * WHITE_XYZ
