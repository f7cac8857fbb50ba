"""The photo's last word: with its light divided out (`delight`), keep the person's own skin.

The photo decides where it sees the skin well. What changes slowly over the face is as the translation of the photo says,
which knows light from skin; the swapped maps are the prior for the light and for everything that the photo does not show.
Several photos of one person are read one by one, each in its own light, and then brought together (`combine`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from .combine import Reading, combine
from .conventions import Domain, decode_normal, encode_normal, linear_to_srgb, srgb_to_linear
from .cover import find_cover, remove_rims
from .delight import Unlit, lit, take_light_out, too_dark_for_hair
from .evidence import Evidence, Observation, observe, show_translation, tone_in
from .folds import find_beard, find_folds, valleys
from .geometry.texture import blur, blur_inside, carried_on, fade, known_slowly, ramp, soften
from .gloss import remove_gloss
from .growth import Growth, see_growth
from .hair import wear_hair
from .head.atlas import HeadAtlas
from .relight import Light
from .stitch import Maps
from .tone import common_tone

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


@dataclass(frozen=True)
class Refined:
    """maps: the final maps; light: the first photo's light; tone_linear [3]: mean linear albedo that the face was given;
    white_linear [3]: how bright a white diffuser facing the camera would be in the first photo;
    observed: the first photo on the head tile; trust [T, T]: how far texels of photos went into the maps; share [T, T]:
    what of that was the first photo's; folds [T, T]: what the photo's expression darkens (log) on top of the maps;
    growth: hair and beard."""

    maps: Maps
    light: Light
    tone_linear: Tensor
    white_linear: Tensor
    observed: Observation
    trust: Tensor
    share: Tensor
    folds: Tensor
    growth: Growth


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
    unlit = [take_light_out(*three, prior, maps, atlas) for three in zip(evidence, observed, translated, strict=True)]
    readings = [_read(*three, prior, atlas) for three in zip(evidence, observed, unlit, strict=True)]
    combined = combine(readings, atlas)
    reading, trust = combined.reading, strength * combined.reading.evidence
    growth = see_growth(
        evidence[0], observed[0], unlit[0], readings[0].cover, reading, atlas, hair if strength else 0.0
    )
    images = _dress(maps.images, reading, growth, prior, atlas, strength)
    return Refined(
        maps=replace(maps, images=images, coverage=torch.maximum(maps.coverage, trust)),
        light=unlit[0].light,
        tone_linear=tone,
        white_linear=unlit[0].of_face,
        observed=observed[0],
        trust=trust,
        share=combined.share,
        folds=strength * reading.folds,
        growth=growth,
    )


def _read(evidence: Evidence, observed: Observation, unlit: Unlit, prior: Tensor, atlas: HeadAtlas) -> Reading:
    """What one photo tells of the skin: its albedo, what covers it, and how far it is to be believed."""
    cover = find_cover(unlit.log_albedo, observed.trust, observed.rims, atlas)
    log_albedo = remove_rims(unlit.log_albedo, cover, observed.trust, prior.log(), atlas)
    beard = find_beard(log_albedo, observed.trust, atlas)
    # White hairs are brighter and greyer than skin, as gloss is.
    log_albedo = remove_gloss(log_albedo, unlit.translated, observed.trust * cover.skin * (1 - beard), atlas)
    folds = find_folds(log_albedo, observed.trust, beard, evidence.head, atlas)
    seen = observed.trust * lit(unlit.shading, observed.trust)
    trust = seen * cover.skin
    log_albedo = log_albedo + folds + cover.near_hair * too_dark_for_hair(unlit)
    albedo, own_shade = _calm(log_albedo, unlit.translated, trust, beard, atlas)
    folds = _narrow(folds) * trust
    return Reading(albedo, own_shade, cover, beard, folds, seen, trust, observed.clarity, evidence.ahead)


def _dress(
    images: dict[Domain, Tensor], reading: Reading, growth: Growth, prior: Tensor, atlas: HeadAtlas, strength: float
) -> dict[Domain, Tensor]:
    """The images with what the photos tell: skin, hair, and the lines of the skin in its normals."""
    skin = _merge(reading.albedo, prior, reading.trust, reading.beard, atlas)
    skin = skin * (reading.own_shade * fade(reading.trust)).exp()
    diffuse = linear_to_srgb(torch.lerp(prior.log(), skin.log(), strength).exp())
    images = wear_hair(images | {Domain.DIFFUSE: diffuse}, growth.crop, growth.dense)
    images[Domain.NORMAL] = _carve_normals(images[Domain.NORMAL], reading.albedo, strength * reading.trust, atlas)
    return images


def _with_tone(prior: Tensor, tone: Tensor, atlas: HeadAtlas) -> Tensor:
    """Scale the prior [3, T, T] so that the plain skin of its face has the mean albedo `tone` [3]."""
    plain = atlas.region("face") * (1 - atlas.features) * atlas.mask
    mean = (prior * plain).sum((1, 2)) / plain.sum()
    return (prior * (tone / mean)[:, None, None]).clamp(2e-3, 0.95)


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
