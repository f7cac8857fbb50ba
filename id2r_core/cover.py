"""What the photo shows at every texel of the head: the person's skin, the hair of the head, glasses, or none of these.

Each photo is its own training set: the middle of the face shows what this person's skin looks like under this light,
the top of the head what the hair looks like, the chin whether there is a beard. Every other texel goes to the one that
it resembles.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from .facemesh import OVAL
from .geometry.texture import blur, connected, dilate, erode, fill_holes, ramp, soften
from .head.atlas import HeadAtlas
from .head.fit import FittedHead
from .landmarks import Face
from .photo import Photo

NOSE_BASE, BORDER_OF_FACE = (0.0, -0.045, 0.03), (0.062, 0.074)  # metres on the mean head
SCALP_ABOVE = 0.066  # metres above the eyes
SIDEBURN = (0.0, 0.02)  # metres above the eyes at which sideburns end
# The hairline behind: metres over the eyes behind the ears, and the depth from which on it falls to the nape, so steeply; and
# within how many metres of it hair thins out.
BEHIND_EARS, BEHIND_FROM, TO_NAPE, NAPE_THINS = -0.03, -0.085, 0.76, 0.007
HAIR_EDGE = 0.009  # of the atlas
# Log-ratio of blue to red: grey hair is at 0, a blue sky behind it above; and the log-luminance from which on blue is a
# sky and not black hair that mirrors one.
BLUEST_HAIR, DARKEST_SKY = 0.1, -3.2
LEAST_COVERED = 0.35  # of the scalp that the photo sees: with less than this unlike skin the head is bald
HAIRLINE_REACH = 0.045  # of the atlas: how far hairlines and sideburns reach beyond the mean head's scalp
# How far from the look of skin to that of the hair over the forehead a texel is to be hair there; shares of the atlas: the
# least of such hair that is a fringe; how far below its edge a brow is in it.
OF_FRINGE, LEAST_FRINGE, FRINGE_HIDES = 0.5, 0.002, 0.014
LOOKS_FLOOR = (0.2, 0.06, 0.1, 0.012)  # least spread of brightness, hue (two log-ratios) and fine contrast
UNLIKE_SKIN = (1.2, 1.8)  # standard deviations from which a texel near the border of the face is not skin
UNLIKE_CHEEK = (2.0, 3.0)  # the same on the cheeks, over which a lock may hang
ODD_LUMINANCE, ODD_CHROMA = 0.9, 0.42  # log-luminance and log-chroma at which ears and neck are something else
UNDERSIDE, SHADOW = (0.45, 0.7), (0.15, 0.45)  # how far the jaw faces down there; log-luminance that its shadow takes
COLLAR_EDGE = 0.01  # of the atlas: how far cloth and background bleed into the skin beside them
BLUE_SPILL = (0.12, 0.3)  # log-ratio of red to blue below the face's: what mirrors a blue ground at the edge of a head
FAIRER = (0.25, 0.5)  # log-luminance over the face's that skin of ears and neck has not: a collar lights it, or bleeds
BEARD_LIKE, BEARD_REACH = 2.0, 0.06  # standard deviations; metres from the chin
LEAST_SHARE = 0.0008  # of the atlas: less scalp than this in the photo tells nothing about the hair
RIM_BLEEDS = 0.008  # of the atlas: how far from a coloured rim brows take its colour
BROW_SEEN = (0.4, 0.7)  # share of the brows beside the rims from which on their form is the photo's
# Brows under a rim are as dark against the skin as those of the prior when hair is darker by this (log-luminance), lighter
# when it is; without hair to see they are in between.
DARK_HAIR, LEAST_BROW, UNKNOWN_BROW = 1.0, 0.15, 0.6
PERSON_SIDE, PERSON_ROUNDS = 320, 4  # pixels of the longer side of the photo for the segmentation; its iterations
BEHIND = 1.5  # times what is taken off the person's edge
PERSON_ERODED = 2  # of these pixels: the background's colours bleed into the edge of a person
# The head with its hair, in sizes of the bare head: as a rule, and before a plain backdrop.
HAIR_ROOM, MOST_HAIR = 1.4, 2.2
# How many colours a backdrop has; differences in CIELAB within which it is plain, and beyond which something stands before it.
BACKDROP_COLOURS, PLAIN_BACKDROP, UNLIKE_BACKDROP = 4, 8.0, 20.0
FILM_GRAIN = 1.5  # of 255: a picture without any noise keeps GrabCut busy for half a minute
FRAME = 0.02  # of the photo's side: the strip along its edge that shows background


@dataclass(frozen=True)
class Cover:
    """[T, T] each, in [0, 1]; only meaningful where the photo sees the texel.

    skin: the person's own, brows and beard included; hair: of the head, wherever it lies; near_hair: hair with its soft
    edge; rims: of glasses.
    """

    skin: Tensor
    hair: Tensor
    near_hair: Tensor
    rims: Tensor


def find_cover(log_albedo: Tensor, trust: Tensor, rims: Tensor, atlas: HeadAtlas) -> Cover:
    """Tell skin and hair apart. log_albedo [3, T, T]: what the photo shows, its light divided out; trust [T, T];
    rims [T, T]: where it shows glasses."""
    looks = _looks(log_albedo, trust, atlas)
    middle = atlas.region("face") * (1 - _border_of_face(atlas))
    of_skin = middle * (1 - atlas.features) * trust * (1 - rims)
    unlike_skin = _unlikeness(looks, of_skin)
    lock = atlas.region("cheek") * ramp(unlike_skin, *UNLIKE_CHEEK)
    own = torch.maximum(middle * (1 - atlas.region("forehead")) * (1 - lock), atlas.region("face") * atlas.features)
    is_sky = (log_albedo[2] - log_albedo[0] > BLUEST_HAIR) & (log_albedo.mean(0) > DARKEST_SKY)
    may_be_hair = 1 - is_sky.float()
    hair = _hair(looks, unlike_skin, trust * may_be_hair, atlas) * may_be_hair * (1 - own)
    near_hair = dilate(hair, HAIR_EDGE) * (1 - own)  # the soft edge of hair is hair too
    near_hair = torch.maximum(near_hair, _brows_under(over_forehead(log_albedo, hair * trust, of_skin, atlas), atlas))
    skin = _like_skin(looks, of_skin, trust, atlas)
    return Cover(
        skin=soften(erode(torch.minimum(skin, 1 - near_hair), 0.003), 0.003),
        hair=hair,
        near_hair=soften(near_hair, 0.003),
        rims=rims,
    )


def over_forehead(log_albedo: Tensor, hair: Tensor, skin: Tensor, atlas: HeadAtlas) -> Tensor:
    """[T, T] 1 on hair over the forehead where none of the head's own may grow; all 0 where there is too little of it.

    hair, skin [T, T]: where the photo shows them. Seen through its strands' contrast, hair ends a finger's breadth too low:
    here it ends where the colour turns from its own to the skin's.
    """
    there = (hair * atlas.region("forehead") > 0.5) & (at_home(atlas) < 0.5)
    if there.float().mean() < LEAST_FRINGE:
        return torch.zeros_like(hair)
    of_skin = log_albedo[:, skin > 0.5].median(1).values
    to_hair = log_albedo[:, there].median(1).values - of_skin
    along = torch.einsum("chw,c->hw", log_albedo - of_skin[:, None, None], to_hair) / to_hair.square().sum()
    return (there & (along > OF_FRINGE)).float()


def _brows_under(fringe: Tensor, atlas: HeadAtlas) -> Tensor:
    """[T, T] 1 on brows that a fringe reaches: what the photo shows there is its strands."""
    if not fringe.any():
        return fringe
    brow = (soften(atlas.region("brow"), 0.006) * 2).clamp(max=1)
    return brow * dilate(fringe, FRINGE_HIDES)


def person_in_photo(photo: Photo, face: Face, head: FittedHead) -> np.ndarray:
    """[H, W] in [0, 1]: 0 on the background of the photo.

    GrabCut (Rother et al. 2004): the edge of the photo is background, the face is not, and the fitted head is the guess
    in between.
    """
    shrink = min(1.0, PERSON_SIDE / max(photo.height, photo.width))
    size = (max(1, round(photo.width * shrink)), max(1, round(photo.height * shrink)))
    grain = np.random.default_rng(0).normal(0.0, FILM_GRAIN, (size[1], size[0], 3))
    shrunk = cv2.resize(photo.srgb, size, interpolation=cv2.INTER_AREA) * 255 + grain
    image = shrunk.clip(0, 255).astype(np.uint8)
    outline = head.camera.project(head.vertices)[0, :, :2].numpy(force=True)
    labels = _guessed_person(image, outline * shrink, face.points[list(OVAL)] * shrink)
    if not (labels == cv2.GC_BGD).any():
        return np.ones(photo.srgb.shape[:2], np.float32)
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image, labels, None, *models, PERSON_ROUNDS, cv2.GC_INIT_WITH_MASK)
    person = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    person = cv2.GaussianBlur(cv2.erode(person, np.ones((2 * PERSON_ERODED + 1,) * 2)), (0, 0), 1.0)
    return cv2.resize(person, (photo.width, photo.height), interpolation=cv2.INTER_LINEAR)


def background(person: np.ndarray) -> np.ndarray:
    """[H, W] bool: what is surely behind a `person_in_photo` [H, W], which is smaller than the person."""
    width = 2 * round(BEHIND * eroded_by(person.shape)) + 1
    return cv2.dilate(np.float32(person > 0.5), np.ones((width, width))) == 0


def eroded_by(shape: tuple[int, ...]) -> float:
    """Pixels of a photo [H, W] by which its `person_in_photo` is smaller than the person, all round."""
    return PERSON_ERODED * max(1.0, max(shape) / PERSON_SIDE)


def _guessed_person(image: np.ndarray, outline: np.ndarray, oval: np.ndarray) -> np.ndarray:
    """GrabCut's labels [H, W] of an image [H, W, 3] of 8 bit to begin with, from points [P, 2] of the head and of the face's
    oval."""
    size = image.shape[1::-1]
    labels = np.full((size[1], size[0]), cv2.GC_PR_BGD, np.uint8)
    chin = int(np.clip(oval[:, 1].max(), 1, size[1]))
    strip = max(2, round(FRAME * max(size)))
    low, high = outline.min(0), outline.max(0)
    if low[1] > 3 * strip:  # else the head is cut off by the photo's edge, which then shows hair
        labels[:strip] = cv2.GC_BGD
    if low[0] > 3 * strip:
        labels[: chin // 2, :strip] = cv2.GC_BGD
    if high[0] < size[0] - 3 * strip:
        labels[: chin // 2, -strip:] = cv2.GC_BGD
    free = labels != cv2.GC_BGD
    labels[free & _within(outline, HAIR_ROOM, labels.shape)] = cv2.GC_PR_FGD
    labels[free & _within(outline, MOST_HAIR, labels.shape) & _before_backdrop(image, ~free)] = cv2.GC_PR_FGD
    labels[chin:] = cv2.GC_PR_FGD  # shoulders: cloth is told from skin by its look
    cv2.fillPoly(labels, [oval.round().astype(np.int32)], cv2.GC_FGD)
    return labels


def _within(outline: np.ndarray, times: float, shape: tuple[int, ...]) -> np.ndarray:
    """[H, W] bool: the hull of points [P, 2] so many times as large."""
    larger = (outline - outline.mean(0)) * times + outline.mean(0)
    drawn = cv2.fillConvexPoly(np.zeros(shape, np.uint8), cv2.convexHull(larger.round().astype(np.int32)), 1)
    return drawn > 0


def _before_backdrop(image: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """[H, W] bool: what of an image [H, W, 3] of 8 bit looks unlike its edge [H, W] bool, if that is a plain backdrop."""
    nothing = np.zeros(edge.shape, bool)
    if edge.sum() < BACKDROP_COLOURS:
        return nothing
    colour = cv2.cvtColor(np.float32(image) / 255, cv2.COLOR_RGB2LAB)
    cv2.setRNGSeed(0)
    rounds = cv2.TERM_CRITERIA_MAX_ITER, 10, 0.0
    _, _, middles = cv2.kmeans(colour[edge], BACKDROP_COLOURS, None, rounds, 1, cv2.KMEANS_PP_CENTERS)
    off = np.linalg.norm(colour[:, :, None] - middles, axis=-1).min(-1)
    return off > UNLIKE_BACKDROP if np.quantile(off[edge], 0.95) < PLAIN_BACKDROP else nothing


def remove_rims(log_albedo: Tensor, cover: Cover, trust: Tensor, log_prior: Tensor, atlas: HeadAtlas) -> Tensor:
    """Continue the skin of [3, T, T] under the rims of glasses, from the skin alone: lids and brows are darker. A brow goes on
    under a rim; of one that hardly looks out, the prior [3, T, T] knows the form. What of brows is seen beside a rim takes
    the colour of the skin."""
    bare = (cover.rims == 0) & (trust > 0.3)
    known = (bare & (_lids_and_brows(atlas) < 0.3)).float()
    if not cover.rims.any() or not known.any():
        return log_albedo
    fill = lambda image, mask: fill_holes((image * mask)[None], mask[None, None])[0]
    skin, of_prior = fill(log_albedo, known), fill(log_prior, known)
    brow = atlas.region("brow")
    guessed = (log_prior - of_prior).mean(0).clamp(max=0) * brow * _brow_strength(log_albedo, cover, known)
    is_brow = brow > 0.5
    looks_out = ramp(bare[is_brow].float().mean(), *BROW_SEEN) * (2 * brow).clamp(max=1)
    under = torch.lerp(skin + guessed, fill(log_albedo, (bare & is_brow).float()), looks_out)
    taken_off = torch.lerp(log_albedo, under, soften((cover.rims > 0.3).float(), 0.0015))
    browned = taken_off.mean(0) + (skin - skin.mean(0))[:, known > 0].median(1).values[:, None, None]
    beside = soften(dilate((cover.rims > 0.3).float(), RIM_BLEEDS), 0.004)
    return torch.lerp(taken_off, browned, (soften(brow, 0.004) * 2).clamp(max=1) * beside)


def _brow_strength(log_albedo: Tensor, cover: Cover, skin: Tensor) -> float:
    """How dark brows are that nobody sees: as the hair of the head is."""
    luminance, is_hair = log_albedo.mean(0), cover.hair > 0.5
    if is_hair.float().mean() < LEAST_SHARE:
        return UNKNOWN_BROW
    darker = luminance[skin > 0].median() - luminance[is_hair].median()
    return float((darker / DARK_HAIR).clamp(LEAST_BROW, 1.0))


def at_home(atlas: HeadAtlas) -> Tensor:
    """[T, T] 1 where the hair of the head may grow: the mean head's scalp down to the hairline of the nape, and as far as
    hairlines and sideburns reach."""
    _, height, depth = atlas.surface
    above_nape = height - BEHIND_EARS - TO_NAPE * (depth - BEHIND_FROM).clamp(max=0)
    scalp = atlas.region("scalp") * ramp(above_nape, -NAPE_THINS, NAPE_THINS)
    reach = soften(dilate(atlas.region("scalp"), HAIRLINE_REACH), 0.008) * ramp(height, *SIDEBURN)
    return torch.maximum(scalp, reach) * (1 - atlas.region("ear")) * (1 - atlas.region("neck"))


def _looks(log_albedo: Tensor, trust: Tensor, atlas: HeadAtlas) -> Tensor:
    """[4, T, T]: brightness and hue against the face's median, and fine contrast (hair has strands)."""
    middle = log_albedo[:, trust * atlas.region("face") > 0.5].median(1).values
    off = log_albedo - middle[:, None, None]
    luminance = off.mean(0)
    strands = blur((luminance - soften(luminance, 0.004)).abs()[None], 0.01)[0]
    return torch.stack([luminance, off[0] - off[1], off[0] - off[2], strands])


def _like_skin(looks: Tensor, of_skin: Tensor, trust: Tensor, atlas: HeadAtlas) -> Tensor:
    """[T, T] 1 on skin. The face is believed; ears, neck and scalp must look like it, or like the beard near the chin,
    and so must the underside of the jaw, which lies in the shadow of the head where no light model knows it."""
    middle = looks[:, of_skin > 0.5].median(1).values
    off = looks[:3] - middle[:3, None, None]
    odd = torch.maximum(off[0].abs() / ODD_LUMINANCE, off[1:].norm(dim=0) / ODD_CHROMA)
    underside = ramp(-atlas.normal[1], *UNDERSIDE) * (atlas.surface[1] < _centre(atlas, "lip")[1])
    own = (1 - ramp(odd, 0.8, 1.2)) * (1 - underside * ramp(-off[0], *SHADOW))
    own = own * (1 - ramp(-off[2], *BLUE_SPILL)) * (1 - ramp(off[0], *FAIRER))
    chin = atlas.region("beard") * (1 - atlas.region("lip")) * trust
    if (chin > 0.5).sum() > LEAST_SHARE * chin.numel():
        near = (atlas.surface - _centre(atlas, "chin")[:, None, None]).norm(dim=0) < BEARD_REACH
        near = near * (1 - atlas.region("neck"))  # a beard that hangs before it is not on it
        own = torch.maximum(own, near * (1 - ramp(_unlikeness(looks, chin), BEARD_LIKE, 1.5 * BEARD_LIKE)))
    believed = atlas.region("face") * (1 - underside)
    return believed + (1 - believed) * erode(own, COLLAR_EDGE)


def _hair(looks: Tensor, unlike_skin: Tensor, trust: Tensor, atlas: HeadAtlas) -> Tensor:
    """[T, T] 1 on hair: unlike the skin of the face and more like what covers the top of the head; 0 on bald heads."""
    scalp = (atlas.region("scalp") > 0.5) & (atlas.surface[1] > SCALP_ABOVE) & (trust > 0.1)
    covered = scalp & (unlike_skin > UNLIKE_SKIN[0])
    if covered.sum() < max(LEAST_SHARE * scalp.numel(), LEAST_COVERED * scalp.sum()):
        return torch.zeros_like(unlike_skin)
    found = ramp(unlike_skin, *UNLIKE_SKIN) * (_unlikeness(looks, covered.float()) < unlike_skin)
    return found * connected(found * trust > 0.05, covered)


def _unlikeness(looks: Tensor, mask: Tensor) -> Tensor:
    """[T, T] distance of looks [4, T, T] from those under a mask, in (robust, floored) standard deviations."""
    inside = looks[:, mask > 0.5]
    middle = inside.median(1).values
    spread = 1.5 * (inside - middle[:, None]).abs().median(1).values
    spread = torch.maximum(spread, spread.new_tensor(LOOKS_FLOOR))
    return ((looks - middle[:, None, None]) / spread[:, None, None]).square().mean(0).sqrt()


def _lids_and_brows(atlas: HeadAtlas) -> Tensor:
    """[T, T] 1 on brows and on lids, these soft at their borders."""
    return torch.maximum(_lids(atlas), atlas.region("brow"))


def _lids(atlas: HeadAtlas) -> Tensor:
    """[T, T] 1 on the lids, soft at their borders."""
    return (soften(atlas.region("eyelid"), 0.004) * 2).clamp(max=1)


def _border_of_face(atlas: HeadAtlas) -> Tensor:
    """[T, T] 1 towards the border of the face and beyond, where hair may hang over it."""
    position = atlas.surface
    return ramp((position - position.new_tensor(NOSE_BASE)[:, None, None]).norm(dim=0), *BORDER_OF_FACE)


def _centre(atlas: HeadAtlas, region: str) -> Tensor:
    """Mean position [3] of a region on the mean head."""
    weight = atlas.region(region)
    return (atlas.surface * weight).sum((1, 2)) / weight.sum()
