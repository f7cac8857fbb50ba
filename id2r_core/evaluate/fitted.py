"""One photo as far as every method shares it: found, cropped, named, fitted and looked up on the head tile."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..conventions import srgb_to_linear
from ..crop import FaceCrop, crop_face
from ..delight import solve_light
from ..evidence import Observation, observe, show_translation, tone_in
from ..head.atlas import HeadAtlas
from ..head.fit import FittedHead, fit_head
from ..head.irises import Irises, measure_irises
from ..head.model import HeadModel
from ..identity import Identity, embed_identity
from ..landmarks import Face, detect_face
from ..packs import Pack
from ..photo import Photo
from ..relight import Light, diffuse_transfer, render_head
from ..translate import Translation, translate_crop

NEUTRAL_WHITE = 1.0  # linear; only the colour of the irises hangs on it


@dataclass(frozen=True)
class Fitted:
    """transfer [Nf, L]: what each light gives to the fine vertices; mean_diffuse_srgb [3, T, T]: a mean of templates."""

    photo: Photo
    face: Face
    crop: FaceCrop
    identity: Identity
    translation: Translation
    head: FittedHead
    atlas: HeadAtlas
    observed: Observation
    transfer: Tensor
    irises: Irises
    pack: Pack
    mean_diffuse_srgb: Tensor

    @cached_property
    def translated(self) -> Tensor:
        """The linear albedo [3, T, T] that the translation of the photo shows."""
        return show_translation(self.translation, self.observed)

    @cached_property
    def tone(self) -> Tensor:
        """Our estimate of the mean linear albedo [3] of the facial skin."""
        return tone_in(self.identity, self.translated, self.observed, self.atlas)

    def light_for(self, diffuse_srgb: Tensor) -> Light:
        """The light under which this diffuse map [3, T, T] explains the photo best."""
        albedo = srgb_to_linear(diffuse_srgb).clamp(min=2e-3)
        return solve_light(self.observed, albedo, self.head.model, self.transfer)

    def rendered(self, diffuse_srgb: Tensor, size: int | None = None) -> FaceCrop:
        """The head with this diffuse map under its own best light, in the photo's crop (or one of another size)."""
        size = size or self.crop.srgb.shape[0]
        matrix = torch.from_numpy(self.crop.crop_from_photo).float() * (size / self.crop.srgb.shape[0])
        camera = self.head.camera.warped(matrix, size, size)
        vertices, light = self.head.fine_vertices(), self.light_for(diffuse_srgb)
        image = render_head(self.head.model, vertices, diffuse_srgb, light, camera, self.irises)
        return FaceCrop(image.permute(1, 2, 0).numpy(force=True), matrix.numpy(force=True))


def fit_photo(photo: Photo, pack: Pack, model: HeadModel, atlas: HeadAtlas, mean_diffuse_srgb: Tensor) -> Fitted:
    """The stages of `pipeline.reconstruct` that all methods need. Raises Id2rError as they do."""
    face = detect_face(photo)
    crop = crop_face(photo, face, pack.preset.size)
    head = fit_head(photo, face, model)
    observed = observe(photo, face, head, atlas)
    transfer = diffuse_transfer(model, head.fine_vertices())
    irises = measure_irises(photo, face, head, torch.full((3,), NEUTRAL_WHITE))
    identity = embed_identity(crop, pack)
    translation = translate_crop(crop, pack)
    return Fitted(
        photo, face, crop, identity, translation, head, atlas, observed, transfer, irises, pack, mean_diffuse_srgb
    )
