"""How like the photo the result is, by the pack's own identity encoder."""

import torch

from .conventions import Domain
from .crop import FaceCrop
from .head.fit import FittedHead
from .head.irises import Irises
from .identity import embed_identity
from .packs import Pack
from .refine import Refined
from .relight import render_head


def likeness(refined: Refined, head: FittedHead, crop: FaceCrop, irises: Irises, pack: Pack) -> float:
    """Cosine of the identity vectors of the photo's crop and of the head rendered into it, light and camera as solved."""
    size = crop.srgb.shape[0]
    camera = head.camera.warped(torch.from_numpy(crop.crop_from_photo).float(), size, size)
    image = render_head(
        head.model, head.fine_vertices(), refined.maps.images[Domain.DIFFUSE], refined.light, camera, irises
    )
    rendered = FaceCrop(image.permute(1, 2, 0).numpy(force=True), crop.crop_from_photo)
    vectors = [embed_identity(picture, pack).vector for picture in (crop, rendered)]
    return round(float(vectors[0] @ vectors[1]), 4)
