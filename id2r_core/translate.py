"""The reflectance that a photo itself shows, in the photo's own view: spatially faithful evidence without its light."""

from dataclasses import dataclass

import numpy as np
import torch

from .conventions import REFLECTANCE, Domain
from .crop import FaceCrop
from .identity import with_mirror_image
from .nets.translator import mirror_reflectance
from .packs import Pack


@dataclass(frozen=True)
class Translation:
    """images: domain -> [3, S, S] in [0, 1] as stored (diffuse sRGB); from_photo: [2, 3] continuous pixels of the photo ->
    continuous pixels of the images."""

    images: dict[Domain, torch.Tensor]
    from_photo: np.ndarray


def translate_crop(crop: FaceCrop, pack: Pack) -> Translation:
    """What the aligned crop shows, in its own view, as the mean of what it and its mirror image say."""
    size = pack.nets.translator.size
    with torch.inference_mode():
        made, mirrored = pack.nets.translator(with_mirror_image(crop, size, pack.device))
        made = ((made + mirror_reflectance(mirrored)).float() / 4.0 + 0.5).clamp(0.0, 1.0)
    found = dict(zip(REFLECTANCE, made.clone(), strict=True))
    return Translation(found, crop.crop_from_photo * (size / crop.srgb.shape[0]))
