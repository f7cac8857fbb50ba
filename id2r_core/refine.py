"""The photo's last word: solve the photo's light on the fitted head, divide it out, keep the person's own skin.

The photo decides where it sees the skin well. What changes slowly over the face is as the translation of the photo says,
which knows light from skin; the swapped maps are the prior for the light and for everything that the photo does not show.
Several photos of one person are read one by one, each in its own light, and then brought together (`combine`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .beard import Beard, see_beard
from .combine import Reading, combine
from .conventions import SKIN_IOR, Domain, decode_normal, encode_normal, ior_to_f0, linear_to_srgb, srgb_to_linear
from .cover import Cover, background, find_cover, over_forehead, person_in_photo, remove_rims
from .errors import Id2rError
from .facemesh import EYE_OUTLINES, INNER_MOUTH
from .folds import find_beard, find_folds, valleys
from .geometry.camera import HEAD_AXIS_Z
from .geometry.texture import blur, blur_inside, carried_on, erode, fade, fill_holes, known_slowly, ramp, soften
from .glasses import wears_glasses
from .gloss import remove_gloss
from .hair import CroppedHair, HairAround, grow_hair, unlike_skin, wear_hair
from .hairstyle import Hairstyle, alike, see_fringe, see_hairstyle
from .head.atlas import HeadAtlas, Seen, look, make_atlas
from .head.fit import FittedHead
from .head.model import HeadModel
from .identity import Identity
from .landmarks import Face
from .orientation import Orientation, as_strands_need, on_photo, see_orientation, up_to_hair, without_gaps
from .photo import Photo
from .relight import Light, diffuse_transfer, gloss_transfer
from .rims import Rims, find_rims
from .stitch import Maps
from .tone import common_tone, estimate_tone
from .translate import Translation

NOT_SKIN = (*EYE_OUTLINES, INNER_MOUTH)
CANVAS = 1536
LIGHT_SIZE = 128  # texels a side for the light solve
LIGHT_SMOOTHNESS, LIGHT_STEPS = 0.03, 100
LIGHT_ROUNDS = (1.0, 0.7, 0.5, 0.35)  # from which log of a ratio on a texel drops out of the solve, round by round
LIGHT_COLOURS = 0.12  # the same of its colour, in which beards and make-up differ, shadows hardly
FACING = (0.14, 0.42)  # cosine of the viewing angle from which the photo counts, and from which it counts fully
DARKEST_TRANSLATED = 5e-3  # linear
LEAST_SHADE = 0.08  # share of the mean shading: darker texels are in shadow and tell nothing
# Shares of the atlas: over which tone is carried on, slower than which the translation is believed, faster is detail.
TONE_BAND, SLOW_BAND, DETAIL_BAND = 0.06, 0.02, 0.004
MARK = 0.03  # of the atlas: darker spots and lines up to so wide, away from the features, are nobody's on both sides
HIGHLIGHT_SLACK, HIGHLIGHT_KEPT = 0.12, 0.8
# Widths of creases, shares of the atlas, the narrowest first; how deep one is, in its width, for a unit of log-luminance.
CREASE_BANDS, CREASE_DEPTH = (0.0015, 0.003, 0.006, 0.012), 0.35
# Of what changes faster than TONE_BAND, alike on both sides, in the shade that the fitted head does not explain. All of it
# gave five training portraits as much likeness as if both sides kept their own, 0.014 more than 0.4 of their own; it takes
# 0.13 dB of albedo from 14 virtual ones, 0.7 takes 0.04. And of the shade of a side whose other side is not seen.
OWN_SHADE, ONE_SIDED = 0.7, 0.4
DEEPEST_FOLD = 0.45  # log-luminance that folds come near
LASHES_DARKER, LASH_TRUST = (0.2, 0.8), 0.2  # in log-albedo; from which trust on all of it is believed
STANDS_OFF = (0.004, 0.01)  # metres that hair must stand off a head to be told from a skull that came out low
# Metres above the eyes, and before and behind the middle of the head, on the mean head.
ABOVE_EARS, ABOUT_EARS = 0.05, 0.02
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


@dataclass(frozen=True)
class Unlit:
    """light: of one photo; shading [3, T, T]: what it makes of a white head; of_face [3]: and of most of its face;
    of_outline [3]: and of hair at the outline of the head; log_albedo [3, T, T]: the photo without it; translated [3, T, T]:
    the linear albedo that the translation shows."""

    light: Light
    shading: Tensor
    of_face: Tensor
    of_outline: Tensor
    log_albedo: Tensor
    translated: Tensor


@dataclass(frozen=True)
class Refined:
    """maps: the final maps; light: the first photo's light; tone_linear [3]: mean linear albedo that the face was given;
    white_linear [3]: how bright a white diffuser facing the camera would be in the first photo;
    observed: the first photo on the head tile; trust [T, T]: how far texels of photos went into the maps; share [T, T]:
    what of that was the first photo's; folds [T, T]: what the photo's expression darkens (log) on top of the maps;
    hair [3, T, T]: how densely it grows, in [0, 1], how far it stands off the scalp and how far below the eyes it hangs,
    metres; hair_linear [3]: most of its albedo, None for a bald head; fringe [17]: metres above the eyes down to which hair
    hangs over the forehead, see `see_fringe`, None when none does; curl in [0, 1]: from straight hair over waves to tight
    curls; strands: how hair runs in the first photo, None where it shows too little; beard_linear [3]: most of a full
    beard's albedo, None without one. Where it grows, in front and below the eyes, `hair` tells its density and its length at
    the chin."""

    maps: Maps
    light: Light
    tone_linear: Tensor
    white_linear: Tensor
    observed: Observation
    trust: Tensor
    share: Tensor
    folds: Tensor
    hair: Tensor
    hair_linear: Tensor | None
    fringe: np.ndarray | None
    curl: float
    strands: Orientation | None
    beard_linear: Tensor | None


def refine_from_photos(
    maps: Maps,
    evidence: Sequence[Evidence],
    atlas: HeadAtlas,
    strength: float = 1.0,
    hair: float = 1.0,
) -> Refined:
    """Carry the person's own tone, colour and detail from the photos, the main one first, into the maps.

    strength in [0, 1]: from the swapped maps in the photos' tone, at 0, to what the photos show, hair included. hair in
    [0, 1]: how densely cropped hair is painted on the scalp where a photo shows hair; 0 leaves it bald. The coverage
    becomes the largest of the views' and the photos'.
    """
    observed = [observe(each.photo, each.face, each.head, atlas, each.rims) for each in evidence]
    translated = [show_translation(each.translation, shown) for each, shown in zip(evidence, observed, strict=True)]
    tones = [
        tone_in(each.identity, image, shown, atlas)
        for each, image, shown in zip(evidence, translated, observed, strict=True)
    ]
    tone = common_tone(tones, [each.ahead for each in evidence])
    prior = _with_tone(srgb_to_linear(maps.images[Domain.DIFFUSE]).clamp(min=2e-3), tone, atlas)
    unlit = [_take_light_out(*three, prior, maps, atlas) for three in zip(evidence, observed, translated, strict=True)]
    readings = [_read(*three, prior, atlas) for three in zip(evidence, observed, unlit, strict=True)]
    combined = combine(readings, atlas)
    reading, trust = combined.reading, strength * combined.reading.evidence
    hair = hair if strength else 0.0
    style = see_hairstyle(evidence[0].photo, evidence[0].face, evidence[0].head, observed[0].person)
    crop, growth = _hair_of(style, observed[0], unlit[0], reading, atlas)
    beard = see_beard(evidence[0].photo, evidence[0].head, reading.albedo, reading.beard, reading.trust, atlas)
    images = _dress(maps.images, reading, crop, prior, atlas, strength, hair)
    return Refined(
        maps=replace(maps, images=images, coverage=torch.maximum(maps.coverage, trust)),
        light=unlit[0].light,
        tone_linear=tone,
        white_linear=unlit[0].of_face,
        observed=observed[0],
        trust=trust,
        share=combined.share,
        folds=strength * reading.folds,
        hair=_with_beard(growth, beard) * growth.new_tensor([hair, 1.0, 1.0])[:, None, None],
        hair_linear=crop.colour() if hair else None,
        fringe=_fringe_of(evidence[0], observed[0], unlit[0], readings[0].cover, atlas) if hair else None,
        curl=style.curl if style and hair else 0.0,
        strands=_strands_of(evidence[0], observed[0], readings[0].cover, style, atlas) if hair else None,
        beard_linear=beard.linear if beard and hair else None,
    )


def _take_light_out(
    evidence: Evidence, observed: Observation, translated: Tensor, prior: Tensor, maps: Maps, atlas: HeadAtlas
) -> Unlit:
    """By the light under which the translation of the photo, and skin that mirrors as the maps say, look like the photo."""
    model, vertices = evidence.head.model, evidence.head.fine_vertices()
    translated = as_dark_as(prior, translated, observed, atlas)
    diffuse = diffuse_transfer(model, vertices)
    gloss = gloss_transfer(model, vertices, evidence.head.camera, *_mirroring(maps, atlas))
    light = solve_light(observed, translated, model, diffuse, gloss)
    shading = atlas.bake(diffuse @ light.radiance).clamp(min=1e-4)
    of_face = _median_under(shading, observed.trust * atlas.region("face"))
    # The solved gloss stays in what the photo shows: taken off, moles of black skin are as dark as they are, but all that is
    # fine and wrong is raised with them; twelve virtual photographs lost 0.1 to 0.2 dB.
    log_albedo = (observed.linear.clamp(min=1e-3) / shading).log()
    return Unlit(light, shading, of_face, _of_outline(shading, of_face, atlas), log_albedo, translated)


def _of_outline(shading: Tensor, of_face: Tensor, atlas: HeadAtlas) -> Tensor:
    """[3] how bright white hair would be around a head: half way, in logarithms, from the face to the skull beside it, which the
    light grazes; but hair stands off, and its outer strands face the light."""
    _, height, depth = atlas.surface
    beside = atlas.region("scalp") * (height > ABOVE_EARS) * ((depth - HEAD_AXIS_Z).abs() < ABOUT_EARS)
    return (of_face * _median_under(shading, beside)).sqrt()


def _mirroring(maps: Maps, atlas: HeadAtlas) -> tuple[float, float]:
    """Mean F0 and roughness of the face in the swapped maps."""
    face = atlas.region("face") > 0.5
    specular, roughness = (float(maps.images[name][0, face].mean()) for name in (Domain.SPECULAR, Domain.ROUGHNESS))
    return 2 * specular * ior_to_f0(SKIN_IOR), roughness


def _read(evidence: Evidence, observed: Observation, unlit: Unlit, prior: Tensor, atlas: HeadAtlas) -> Reading:
    """What one photo tells of the skin: its albedo, what covers it, and how far it is to be believed."""
    cover = find_cover(unlit.log_albedo, observed.trust, observed.rims, atlas)
    log_albedo = remove_rims(unlit.log_albedo, cover, observed.trust, prior.log(), atlas)
    beard = find_beard(log_albedo, observed.trust, atlas)
    # White hairs are brighter and greyer than skin, as gloss is.
    log_albedo = remove_gloss(log_albedo, unlit.translated, observed.trust * cover.skin * (1 - beard), atlas)
    folds = find_folds(log_albedo, observed.trust, beard, evidence.head, atlas)
    seen = observed.trust * _lit(unlit.shading, observed.trust)
    trust = seen * cover.skin
    log_albedo = log_albedo + folds + cover.near_hair * _too_dark_for_hair(unlit)
    albedo, own_shade = _calm(log_albedo, unlit.translated, trust, beard, atlas)
    folds = _narrow(folds) * trust
    return Reading(albedo, own_shade, cover, beard, folds, seen, trust, observed.clarity, evidence.ahead)


def _hair_of(
    style: Hairstyle | None, observed: Observation, unlit: Unlit, reading: Reading, atlas: HeadAtlas
) -> tuple[CroppedHair, Tensor]:
    """What to paint on the scalp, and [3, T, T] how hair grows out of it, as in `Refined`; the style is the main photo's."""
    shape = style.on_tile(atlas) if style else torch.zeros_like(reading.albedo[:2])
    skin, around = _median_under(reading.albedo, _plain(observed, atlas) * reading.cover.skin), None
    if style and style.sure:
        linear = torch.from_numpy(style.linear).to(unlit.of_face) / unlit.of_outline
        around = HairAround(linear, ramp(shape[0], *STANDS_OFF) * unlike_skin(linear, skin))
    crop = grow_hair(reading.albedo, reading.cover, reading.seen, skin, around, atlas)
    growth = torch.cat([crop.presence[None], shape])
    return crop, fill_holes(growth[None], atlas.mask[None, None])[0]  # no gap along the border of the tile


def _with_beard(growth: Tensor, beard: Beard | None) -> Tensor:
    """How hair grows [3, T, T], and the beard."""
    if beard is None:
        return growth
    grown = torch.stack([beard.density, torch.full_like(beard.density, beard.length), 0 * beard.density])
    return torch.where(beard.density > growth[0], grown, growth)


def _fringe_of(
    evidence: Evidence, observed: Observation, unlit: Unlit, cover: Cover, atlas: HeadAtlas
) -> np.ndarray | None:
    """The fringe of one photo, as in `Refined`."""
    skin = _plain(observed, atlas) * (1 - cover.hair)
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
    hair = without_gaps(hair, (person > 0.9) & alike(photo.srgb, linear), face)
    skin = _median_under(observed.linear, _plain(observed, atlas) * cover.skin).numpy(force=True)
    bare = up_to_hair(photo, face, shown(cover.skin), skin, np.asarray(linear))
    behind = background(person)
    strands = see_orientation(photo, face, hair & ~bare, np.float32(bare & ~behind) - behind)
    return strands and replace(strands, box=tuple(side / shrink for side in strands.box))


def _dress(
    images: dict[Domain, Tensor],
    reading: Reading,
    crop: CroppedHair,
    prior: Tensor,
    atlas: HeadAtlas,
    strength: float,
    hair: float,
) -> dict[Domain, Tensor]:
    """The images with what the photos tell: skin, hair, and the lines of the skin in its normals."""
    skin = _merge(reading.albedo, prior, reading.trust, reading.beard, atlas)
    skin = skin * (reading.own_shade * fade(reading.trust)).exp()
    diffuse = linear_to_srgb(torch.lerp(prior.log(), skin.log(), strength).exp())
    images = wear_hair(images | {Domain.DIFFUSE: diffuse}, crop, hair)
    images[Domain.NORMAL] = _carve_normals(images[Domain.NORMAL], reading.albedo, strength * reading.trust, atlas)
    return images


def _with_tone(prior: Tensor, tone: Tensor, atlas: HeadAtlas) -> Tensor:
    """Scale the prior [3, T, T] so that the plain skin of its face has the mean albedo `tone` [3]."""
    plain = atlas.region("face") * (1 - atlas.features) * atlas.mask
    mean = (prior * plain).sum((1, 2)) / plain.sum()
    return (prior * (tone / mean)[:, None, None]).clamp(2e-3, 0.95)


def show_translation(translation: Translation, observed: Observation) -> Tensor:
    """The linear albedo [3, T, T] that the translation of the photo shows at every texel."""
    image = translation.images[Domain.DIFFUSE].to(observed.pixel.device)
    matrix = torch.from_numpy(translation.from_photo).to(observed.pixel)
    place = observed.pixel @ matrix[:, :2].T + matrix[:, 2]  # continuous pixels of the image
    grid = place / image.shape[-1] * 2 - 1
    shown = functional.grid_sample(image[None], grid[None], padding_mode="border", align_corners=False)[0]
    return srgb_to_linear(shown).clamp(min=DARKEST_TRANSLATED)


def as_dark_as(prior: Tensor, translated: Tensor, observed: Observation, atlas: HeadAtlas) -> Tensor:
    """The translation [3, T, T] with plain skin as dark as the prior's: by the median, because a fringe lies over some of
    it."""
    return translated * _median_under(prior / translated, _plain(observed, atlas))[:, None, None]


def tone_in(identity: Identity, translated: Tensor, observed: Observation, atlas: HeadAtlas) -> Tensor:
    """Mean linear albedo [3] of the facial skin as one photo tells it; translated [3, T, T]: by its translation."""
    of_skin = lambda image: _median_under(image, _plain(observed, atlas))
    return estimate_tone(identity.tone_linear, of_skin(translated), of_skin(observed.linear))


def _plain(observed: Observation, atlas: HeadAtlas) -> Tensor:
    return observed.trust * atlas.region("face") * (1 - atlas.features)


def _median_under(image: Tensor, mask: Tensor) -> Tensor:
    """[C] median of the texels of [C, T, T] under the upper half of a mask, however little there is of it."""
    return image[:, mask >= 0.5 * mask.max()].median(1).values


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


def solve_light(
    observed: Observation, albedo: Tensor, model: HeadModel, diffuse: Tensor, gloss: Tensor | None = None
) -> Light:
    """Radiance of every light direction such that the albedo [3, T, T] times self-shadowed shading, and what the surface
    mirrors, explain the photo.

    diffuse, gloss [Nf, L]: what each direction gives to the fine vertices as photographed (`relight.diffuse_transfer`,
    `relight.gloss_transfer`); without gloss the head is matt.

    Non-negative least squares by multiplicative updates (Lee & Seung 2001), smooth over the sphere, and reweighted so
    that highlights, hair and whatever is not this skin drop out: the more, the better the light is known.
    """
    small = make_atlas(model, LIGHT_SIZE)
    shrink = lambda image: functional.interpolate(image[None], size=LIGHT_SIZE, mode="area")[0]
    of_face = small.region("face") * (1 - small.region("lip")) * (1 - small.region("brow")) * small.mask
    weight = (shrink(observed.trust[None])[0] * of_face).flatten()
    use = weight > 0.3
    of_texels = lambda transfer: small.bake(transfer).flatten(1).T[use]  # [P, L]
    diffuse = of_texels(diffuse)
    gloss = torch.zeros_like(diffuse) if gloss is None else of_texels(gloss)
    albedo, seen = (shrink(image).flatten(1).T[use] for image in (albedo, observed.linear))  # [P, 3]
    weight = weight[use][:, None]
    directions = model.light_directions
    closeness = (directions @ directions.T).clamp(min=0) ** 24
    closeness = closeness / closeness.sum(1, keepdim=True)
    radiance = (seen / albedo).mean(0).expand(len(directions), 3) / diffuse.sum(1).mean()
    for outlying in LIGHT_ROUNDS:
        explained = albedo * (diffuse @ radiance) + gloss @ radiance
        off = (seen.clamp(min=1e-3) / explained.clamp(min=1e-3)).log()
        off = off - off.median(0).values
        brighter = off.mean(1, keepdim=True)
        coloured = (off - brighter).norm(dim=1, keepdim=True)
        robust = weight / ((1 + (brighter / outlying) ** 2) * (1 + (coloured / LIGHT_COLOURS) ** 2)) ** 2
        channels = [
            _non_negative(albedo[:, [c]] * diffuse + gloss, seen[:, c], robust[:, 0], closeness, radiance[:, c])
            for c in range(3)
        ]
        radiance = torch.stack(channels, 1)
    radiance = _calm_colours(radiance)
    explained = albedo * (diffuse @ radiance) + gloss @ radiance
    return Light(directions, radiance * (robust * seen).sum(0) / (robust * explained).sum(0))


def _calm_colours(radiance: Tensor) -> Tensor:
    """Pull the colour of every direction half way to the mean colour: a face tells little of coloured light."""
    brightness = radiance.mean(1, keepdim=True).clamp(min=1e-6)
    mean_colour = radiance.mean(0) / radiance.mean()
    return brightness * (radiance / brightness).clamp(min=0.1).sqrt() * mean_colour.sqrt()


def _non_negative(transfer: Tensor, seen: Tensor, weight: Tensor, closeness: Tensor, radiance: Tensor) -> Tensor:
    """Radiance [L] of one channel after multiplicative updates; transfer [P, L], seen [P], weight [P]."""
    scaled = transfer * weight[:, None]
    normal, right = transfer.T @ scaled, scaled.T @ seen
    smooth = LIGHT_SMOOTHNESS * (scaled * transfer).sum() / len(closeness)
    radiance = radiance.clamp(min=1e-6)
    for _ in range(LIGHT_STEPS):
        radiance = radiance * (right + smooth * (closeness @ radiance)) / (normal @ radiance + smooth * radiance)
    return radiance


def _too_dark_for_hair(unlit: Unlit) -> Tensor:
    """[3, T, T] <= 0: how much less light (log) reaches a texel than most of the face. Hair stands off the scalp that turns
    away from the light under it: divided by so little, it would come out fair."""
    return (unlit.shading / unlit.of_face[:, None, None]).log().clamp(max=0)


def _lit(shading: Tensor, trust: Tensor) -> Tensor:
    """[T, T] 0 in deep shadow, where the photo tells nothing."""
    level = shading.mean(0)
    return ramp(level / level[trust > 0.5].mean(), LEAST_SHADE, 3 * LEAST_SHADE)


def _calm(
    log_albedo: Tensor, translated: Tensor, trust: Tensor, beard: Tensor, atlas: HeadAtlas
) -> tuple[Tensor, Tensor]:
    """Albedo [3, T, T] that the photo shows, without gloss: slow changes as in its translation, fast ones, and beards, as
    they are. Beyond the skin, in the hair, the light goes on as at its border. And [T, T] of the shade (log-luminance) taken
    out so, what belongs to this face: it has hollows that the fitted head has not, and is known by them under any light."""
    plain = trust * (1 - atlas.dark_by_nature) + 1e-3 * trust  # of brows and lips the translation knows less
    light = blur_inside(log_albedo - translated.log(), plain, SLOW_BAND)
    sure = known_slowly(trust, SLOW_BAND)
    light = torch.lerp(carried_on(light, sure, SLOW_BAND), light, fade(sure, SLOW_BAND))
    matt = log_albedo - (1 - beard) * light
    shade = (1 - beard) * light.mean(0, keepdim=True)
    finer = (shade - blur_inside(shade, plain, TONE_BAND))[0]
    albedo = torch.lerp(_soften_highlights(matt, trust, atlas), matt, beard).exp().clamp(2e-3, 0.95)
    return albedo, _own_shade(finer, trust)


def _own_shade(shade: Tensor, trust: Tensor) -> Tensor:
    """[T, T] what of a shade [T, T] is the face's own: a face is alike on both sides, light from aside is not. Where the photo
    does not show the other side, nobody knows."""
    other_seen = fade(trust).flip(-1)
    return torch.lerp(ONE_SIDED * shade, OWN_SHADE * (shade + shade.flip(-1)) / 2, other_seen)


def _narrow(folds: Tensor) -> Tensor:
    """[T, T] the depth of folds [3, T, T] without their slow part, which is the translation's to tell. The head as
    photographed has the hollow of a deep one, and its shade: pressed, it is not dark twice."""
    depth = folds.mean(0, keepdim=True)
    narrow = (depth - blur(depth, SLOW_BAND)).clamp(min=0)[0]
    return DEEPEST_FOLD * torch.tanh(narrow / DEEPEST_FOLD)


def _soften_highlights(log_albedo: Tensor, trust: Tensor, atlas: HeadAtlas) -> Tensor:
    """Press what is brighter than the plain skin around it and leave what is darker: albedo has moles but no gloss."""
    luminance = log_albedo.mean(0, keepdim=True)
    plain_skin = trust * (1 - atlas.features) + 1e-3 * trust
    around = blur_inside(luminance, plain_skin, TONE_BAND / 2)
    above = (luminance - around - HIGHLIGHT_SLACK).clamp(min=0)
    return log_albedo - (1 - HIGHLIGHT_KEPT) * above


def _merge(albedo: Tensor, prior: Tensor, trust: Tensor, beard: Tensor, atlas: HeadAtlas) -> Tensor:
    """Photo where it is trusted, elsewhere what it shows on the other side of the face, elsewhere the prior.

    Each layer is brought to the tone of the one above it by a membrane: the smooth continuation of their ratio from the
    trusted border, where that is skin: a beard does not darken the neck. The mirrored side lends its features but neither
    its moles nor what is finer.
    """
    log_albedo, skin = albedo.log(), trust * (1 - beard)
    carried = _continued(prior.log(), log_albedo, skin)
    spotless = log_albedo + (1 - atlas.features) * valleys(log_albedo, MARK)
    mirrored, trust_mirrored = blur_inside(spotless, trust, DETAIL_BAND).flip(-1), trust.flip(-1)
    lent = _continued(mirrored, log_albedo, skin * trust_mirrored)
    carried = torch.lerp(carried, lent, fade(trust_mirrored))
    return torch.lerp(
        carried, log_albedo, torch.maximum(fade(trust), _lash_line(log_albedo - prior.log(), trust, atlas))
    ).exp()


def _lash_line(above_prior: Tensor, trust: Tensor, atlas: HeadAtlas) -> Tensor:
    """[T, T] how far the photo is believed on the edges of the lids, of which little is seen: what is darker there than
    the prior is lashes and their shadow, what is brighter the white of the eye."""
    darker = ramp(-above_prior.mean(0), *LASHES_DARKER)
    return atlas.region("eyelid") * darker * ramp(trust, 0.0, LASH_TRUST)


def _continued(layer: Tensor, above: Tensor, trust: Tensor) -> Tensor:
    """`layer` [3, T, T] brought to the tone of `above`, which is known where it is trusted."""
    gain = blur_inside(above - layer, trust, TONE_BAND / 2)
    return layer + carried_on(gain, known_slowly(trust, TONE_BAND / 2), TONE_BAND / 2)


def _carve_normals(normal: Tensor, albedo: Tensor, trust: Tensor, atlas: HeadAtlas) -> Tensor:
    """Let the lines of the photo drive the normals: a crease is dark because it is a crease ("dark is deep", Beeler et
    al. 2010). A wide one is deeper than a narrow one as dark."""
    luminance = albedo.log().mean(0, keepdim=True)
    levels = [luminance, *(blur_inside(luminance, trust + 1e-3, band) for band in CREASE_BANDS)]
    narrower = zip(levels, levels[1:], CREASE_BANDS, strict=False)
    height = sum(band * (fine - coarse).clamp(-0.3, 0.3) for fine, coarse, band in narrower)
    quiet = 1 - torch.stack([soften(atlas.region(name), 0.003) for name in ("brow", "lip", "eyelid")]).amax(0)
    height = (CREASE_DEPTH * height[0] * trust * quiet)[None, None]
    right = functional.pad(height, (1, 1, 0, 0), mode="replicate")
    up = functional.pad(height, (0, 0, 1, 1), mode="replicate")
    slope_u = (right[..., 2:] - right[..., :-2])[0, 0] / 2 * atlas.size  # a side of the atlas, whatever its texels
    slope_v = (up[..., :-2, :] - up[..., 2:, :])[0, 0] / 2 * atlas.size
    frame = tile_frames(atlas)
    carved = decode_normal(normal) - slope_u * frame[0] - slope_v * frame[1]
    return encode_normal(functional.normalize(carved, dim=0))


def tile_frames(atlas: HeadAtlas) -> Tensor:
    """Unit directions of +u and +v on the mean head at every texel, [2, 3, T, T]."""
    position = atlas.surface
    along_u = torch.gradient(position, dim=2)[0]
    along_v = -torch.gradient(position, dim=1)[0]
    return torch.stack([functional.normalize(along_u, dim=0), functional.normalize(along_v, dim=0)])


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
