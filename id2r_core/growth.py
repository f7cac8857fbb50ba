"""What grows on the head: hair, how it hangs over the forehead and runs, as the main photo shows it, and a beard."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from .beard import Beard, see_beard
from .combine import Reading
from .conventions import srgb_to_linear
from .cover import Cover, background, over_forehead
from .delight import Unlit
from .evidence import Evidence, Observation, plain_skin
from .geometry.texture import fill_holes, median_under, ramp
from .hair import CroppedHair, HairAround, grow_hair, unlike_skin
from .hairstyle import Hairstyle, mostly_alike, see_fringe, see_hairstyle
from .head.atlas import HeadAtlas
from .orientation import Orientation, as_strands_need, on_photo, see_orientation, up_to_hair, without_gaps

STANDS_OFF = (0.004, 0.01)  # metres that hair must stand off a head to be told from a skull that came out low


@dataclass(frozen=True)
class Growth:
    """dense in [0, 1]: how densely to grow it, 0 for a bald head; crop: what of it to paint on the scalp;
    hair [3, T, T]: how densely it grows, in [0, 1], how far it stands off the scalp and how far below the eyes it hangs,
    metres; hair_linear [3]: most of its albedo, None for a bald head; fringe [17]: metres above the eyes down to which hair
    hangs over the forehead, see `see_fringe`, None when none does; curl in [0, 1]: from straight hair over waves to tight
    curls; strands: how it runs in the photo, None where that shows too little; beard_linear [3]: most of a full beard's
    albedo, None without one. Where it grows, in front and below the eyes, `hair` tells its density and its length at the
    chin."""

    dense: float
    crop: CroppedHair
    hair: Tensor
    hair_linear: Tensor | None
    fringe: np.ndarray | None = None
    curl: float = 0.0
    strands: Orientation | None = None
    beard_linear: Tensor | None = None


def see_growth(
    evidence: Evidence,
    observed: Observation,
    unlit: Unlit,
    cover: Cover,
    reading: Reading,
    atlas: HeadAtlas,
    dense: float,
) -> Growth:
    """Hair and beard of a person. Their form is the main photo's, of which all but `reading` are; their colour on the head, and
    where a beard grows, come from the reading of all photos. dense: as in `Growth`."""
    style = see_hairstyle(evidence.photo, evidence.face, evidence.head, observed.person)
    crop, hair = _hair_of(style, observed, unlit, reading, atlas)
    beard = see_beard(evidence.photo, evidence.head, reading.albedo, reading.beard, reading.trust, atlas)
    hair = _with_beard(hair, beard) * hair.new_tensor([dense, 1.0, 1.0])[:, None, None]
    if not dense:
        return Growth(dense, crop, hair, hair_linear=None)
    return Growth(
        dense,
        crop,
        hair,
        hair_linear=crop.colour(),
        fringe=_fringe_of(evidence, observed, unlit, cover, atlas),
        curl=style.curl if style else 0.0,
        strands=_strands_of(evidence, observed, cover, style, atlas),
        beard_linear=beard.linear if beard else None,
    )


def _hair_of(
    style: Hairstyle | None, observed: Observation, unlit: Unlit, reading: Reading, atlas: HeadAtlas
) -> tuple[CroppedHair, Tensor]:
    """What to paint on the scalp, and [3, T, T] how hair grows out of it, as in `Growth`; the style is the main photo's."""
    shape = style.on_tile(atlas) if style else torch.zeros_like(reading.albedo[:2])
    skin, around = median_under(reading.albedo, plain_skin(observed, atlas) * reading.cover.skin), None
    if style and style.sure:
        # Film and cameras let dark colours go with the light's less than skin: half of its colour is taken for true.
        light = (unlit.of_outline * unlit.of_outline.mean()).sqrt()
        linear = torch.from_numpy(style.linear).to(light) / light
        around = HairAround(linear, ramp(shape[0], *STANDS_OFF) * unlike_skin(linear, skin))
    crop = grow_hair(reading.albedo, reading.cover, reading.seen, skin, around, atlas)
    hair = torch.cat([crop.presence[None], shape])
    return crop, fill_holes(hair[None], atlas.mask[None, None])[0]  # no gap along the border of the tile


def _with_beard(hair: Tensor, beard: Beard | None) -> Tensor:
    """How hair grows [3, T, T], and the beard."""
    if beard is None:
        return hair
    grown = torch.stack([beard.density, torch.full_like(beard.density, beard.length), 0 * beard.density])
    return torch.where(beard.density > hair[0], grown, hair)


def _fringe_of(
    evidence: Evidence, observed: Observation, unlit: Unlit, cover: Cover, atlas: HeadAtlas
) -> np.ndarray | None:
    """The fringe of one photo, as in `Growth`."""
    skin = plain_skin(observed, atlas) * (1 - cover.hair)
    return see_fringe(over_forehead(unlit.log_albedo, cover.hair * observed.trust, skin, atlas), evidence.head, atlas)


def _strands_of(
    evidence: Evidence, observed: Observation, cover: Cover, style: Hairstyle | None, atlas: HeadAtlas
) -> Orientation | None:
    """How the hair of one photo runs, on the head and off it; looked for in the photo as large as strands need it."""
    shrink = as_strands_need(evidence.face)
    size = tuple(max(1, round(side * shrink)) for side in (evidence.photo.width, evidence.photo.height))
    smaller = lambda image: cv2.resize(np.float32(image), size, interpolation=cv2.INTER_AREA)
    photo = replace(evidence.photo, srgb=smaller(evidence.photo.srgb))
    face = replace(evidence.face, points=evidence.face.points * np.float32(shrink))
    person, pixel = smaller(observed.person), (shrink * observed.pixel).numpy(force=True)
    shown = lambda texels: on_photo((texels * observed.trust > 0.5).numpy(force=True), pixel, face, person.shape)
    hair = shown(cover.hair)
    hair = hair | (smaller(style.off_head) > 0.5) if style else hair
    if not hair.any():
        return None
    linear = style.linear if style else np.median(srgb_to_linear(photo.srgb[hair]), 0)
    skin = median_under(observed.linear, plain_skin(observed, atlas) * cover.skin).numpy(force=True)
    hair = without_gaps(hair, (person > 0.9) & mostly_alike(photo.srgb, linear, skin, face), face)
    bare = up_to_hair(photo, face, shown(cover.skin), skin, np.asarray(linear))
    behind = background(person)
    strands = see_orientation(photo, face, hair & ~bare, np.float32(bare & ~behind) - behind)
    return strands and replace(strands, box=tuple(side / shrink for side in strands.box))
