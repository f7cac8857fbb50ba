"""The reflectance that a photo itself shows, in the photo's own view: spatially faithful evidence without its light."""

import torch
import torch.nn.functional as F

from .conventions import REFLECTANCE, Domain
from .crop import FaceCrop
from .errors import Id2rError
from .packs import Pack
from .swap import GREY


def translate_crop(crop: FaceCrop, pack: Pack) -> dict[Domain, torch.Tensor]:
    """For each reflectance domain the image [3, S, S] in [0, 1] of what the aligned crop shows, S the pack's size.

    Pixel (x, y) of crop and result are the same place (scaled to S). Raises Id2rError when the pack has no translator.
    """
    nets = pack.nets
    if nets.translator is None:
        raise Id2rError(f"The pack '{pack.name}' has no translator.", "Train it: train translate, then pack export.")
    image = torch.from_numpy(crop.srgb).to(pack.device).permute(2, 0, 1)[None].float()
    side = (pack.preset.size,) * 2
    image = F.interpolate(image, size=side, mode="bilinear", antialias=True, align_corners=False).clamp(0.0, 1.0)
    with torch.inference_mode():
        rgb = nets.codebooks[Domain.RGB](nets.encoder(image * 2.0 - 1.0)).latent
        made = nets.decoder(nets.translator.translate(rgb, nets.codebooks)[0])  # [4, 3, S, S]
    made = made.float().mul(0.5).add(0.5).clamp(0.0, 1.0).clone()
    found = dict(zip(REFLECTANCE, made, strict=True))
    return found | {domain: found[domain].mean(0, keepdim=True).expand(3, -1, -1) for domain in GREY}
