"""What one photo brings to the refinement, and how it lies on the head tile: its pixels, and its translation."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .conventions import Domain, srgb_to_linear
from .cover import person_in_photo
from .errors import Id2rError
from .facemesh import EYE_OUTLINES, INNER_MOUTH
from .geometry.texture import erode, median_under, ramp, soften
from .glasses import wears_glasses
from .head.atlas import HeadAtlas, Seen, look
from .head.fit import FittedHead
from .identity import Identity
from .landmarks import Face
from .photo import Photo
from .rims import Rims, find_rims
from .tone import estimate_tone
from .translate import Translation

NOT_SKIN = (*EYE_OUTLINES, INNER_MOUTH)
CANVAS = 1536
FACING = (0.14, 0.42)  # cosine of the viewing angle from which the photo counts, and from which it counts fully
DARKEST_TRANSLATED = 5e-3  # linear
LEAST_AHEAD = 0.05  # cosine of the head's turn
LEAST_SEEN = 0.01  # of the atlas: with less skin in the photo neither light nor tone can be told


@dataclass(frozen=True)
class Evidence:
    """What one photo brings to the refinement."""

    photo: Photo
    face: Face
    head: FittedHead
    identity: Identity
    translation: Translation

    @property
    def ahead(self) -> float:
        """Cosine of the head's turn away from the camera."""
        towards = functional.normalize(self.head.camera.centre()[0], dim=0)
        return float(towards[2].clamp(min=LEAST_AHEAD))

    @cached_property
    def rims(self) -> Rims | None:
        """Of the glasses in this photo; None when the person wears none."""
        return find_rims(self.photo, self.face, self.head) if wears_glasses(self.photo, self.face) else None


@dataclass(frozen=True)
class Observation:
    """The photo on the head tile: linear [3, T, T], how far each texel can be trusted [T, T] in [0, 1], which place of
    the photo it shows [T, T, 2], pixels, and how straight and sharply the photo looks at it [T, T] in [0, 1]. rims [T, T]
    in [0, 1]: where it shows glasses; person [H, W] in [0, 1]: 0 on the background of the photo."""

    linear: Tensor
    trust: Tensor
    pixel: Tensor
    clarity: Tensor
    rims: Tensor
    person: np.ndarray


def observe(photo: Photo, face: Face, head: FittedHead, atlas: HeadAtlas, rims: Rims | None = None) -> Observation:
    """Look up the photo at every texel of the head as photographed."""
    device = head.vertices.device
    seen = look(atlas, head.fine_vertices(), head.camera)
    srgb = torch.tensor(photo.srgb).permute(2, 0, 1).to(device)
    linear = srgb_to_linear(seen.sample(srgb).clamp(0, 1))
    facing = ramp(seen.cosine, *FACING)
    person = person_in_photo(photo, face, head)
    look_up = lambda image: seen.sample(torch.from_numpy(image)[None].to(device))[0].clamp(0, 1)
    facing = facing * look_up(person)
    trust = facing * seen.visible * _outside_eyes_and_mouth(seen, face) * (atlas.region("skin") > 0.99)
    trust = soften(erode(trust, 0.002), 0.002) * trust
    if (trust * atlas.region("face") > 0.5).float().mean() < LEAST_SEEN:
        raise Id2rError(
            f"'{photo.name}' shows too little of the face's skin.", "Use a photo taken more from the front."
        )
    on_rims = torch.zeros_like(trust) if rims is None else look_up(rims.in_photo(photo))
    return Observation(linear, trust, seen.pixel, seen.cosine.clamp(min=0) * _sharpness(seen), on_rims, person)


def _sharpness(seen: Seen) -> Tensor:
    """[T, T] pixels of the photo a texel, as a length; more than one adds nothing to the texel."""
    along, down = (torch.gradient(seen.pixel, dim=axis)[0] for axis in (1, 0))
    area = along[..., 0] * down[..., 1] - along[..., 1] * down[..., 0]
    return area.abs().sqrt().clamp(max=1)


def _outside_eyes_and_mouth(seen: Seen, face: Face) -> Tensor:
    """[T, T] 1 where the photo shows neither an open eye nor the inside of the mouth, soft by a fraction of a pixel.

    The outlines are drawn on a fine canvas round the face: lids and lips are only a few pixels wide in most photos.
    """
    low, span = face.points.min(0), np.ptp(face.points, axis=0).max()
    canvas = np.ones((CANVAS, CANVAS), np.float32)
    for outline in NOT_SKIN:
        corners = (face.points[list(outline)] - low) / span * CANVAS
        cv2.fillPoly(canvas, [corners.round().astype(np.int32)], 0.0)
    canvas = torch.from_numpy(cv2.GaussianBlur(canvas, (0, 0), CANVAS / 600)).to(seen.pixel.device)
    grid = (seen.pixel - torch.from_numpy(low).to(seen.pixel)) / span * 2 - 1
    return functional.grid_sample(canvas[None, None], grid[None], padding_mode="border", align_corners=False)[0, 0]


def show_translation(translation: Translation, observed: Observation) -> Tensor:
    """The linear albedo [3, T, T] that the translation of the photo shows at every texel."""
    image = translation.images[Domain.DIFFUSE].to(observed.pixel.device)
    matrix = torch.from_numpy(translation.from_photo).to(observed.pixel)
    place = observed.pixel @ matrix[:, :2].T + matrix[:, 2]  # continuous pixels of the image
    grid = place / image.shape[-1] * 2 - 1
    shown = functional.grid_sample(image[None], grid[None], padding_mode="border", align_corners=False)[0]
    return srgb_to_linear(shown).clamp(min=DARKEST_TRANSLATED)


def plain_skin(observed: Observation, atlas: HeadAtlas) -> Tensor:
    """[T, T] in [0, 1]: where the photo shows skin of the face that is neither brow, lid, lip, nostril nor where beards grow."""
    return observed.trust * atlas.region("face") * (1 - atlas.features)


def tone_in(identity: Identity, translated: Tensor, observed: Observation, atlas: HeadAtlas) -> Tensor:
    """Mean linear albedo [3] of the facial skin as one photo tells it; translated [3, T, T]: by its translation."""
    of_skin = lambda image: median_under(image, plain_skin(observed, atlas))
    return estimate_tone(identity.tone_linear, of_skin(translated), of_skin(observed.linear))
