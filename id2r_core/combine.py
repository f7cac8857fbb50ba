"""What the photos of one person show of the skin, brought together texel by texel.

What changes slowly is the mean of all photos that see it, each brought to it by a smooth gain that goes on beyond where
they overlap: no seam is left. What changes fast is that of one photo, the one that sees the place best: no fit lays two
photos over each other to the pixel, and a mean would show lips and lids twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .cover import Cover
from .geometry.texture import blur_inside, carried_on, known_slowly, ramp, soften
from .head.atlas import HeadAtlas

CLARITY_BAND = 0.03  # of the atlas: one photo wins over whole regions, not texel by texel
LEAST_CLARITY, CHOOSING = 0.2, 16.0  # the exponent with which the better photo wins
FIRST_PREFERRED = 1.15  # the first photo wins against others that see a place so much better
TURNED_POWER = 2.0  # exponent of the cosine of the head's turn in what a photo has to say
# Nose, lips, lids and brows are finer than a turned head's fit is exact: there a photo counts whose head is turned about as
# little as in the best one. Ratio of the cosines at which it does not count, and at which it does; of the atlas.
AS_FRONTAL, FEATURE_EDGE = (0.86, 0.96), 0.012
LEVEL_BAND = 0.02  # of the atlas: slower is the mean of the photos, faster is of one photo
UNSEEN = 1e-6


@dataclass(frozen=True)
class Reading:
    """What one photo shows, or several together, on the head tile.

    albedo [3, T, T] linear, without the folds of the expression; own_shade [T, T]: shade (log-luminance) of the face's own
    form that its albedo gets back; beard [T, T] in [0, 1]; folds [T, T]: how much darker (log) those make it; seen, trust
    [T, T] in [0, 1]: how far it can be believed, and how far as the person's skin; clarity [T, T] in [0, 1]: how straight
    and how sharply the photo looks at a texel, whatever covers it; ahead: cosine of the head's turn away from the camera.
    """

    albedo: Tensor
    own_shade: Tensor
    cover: Cover
    beard: Tensor
    folds: Tensor
    seen: Tensor
    trust: Tensor
    clarity: Tensor
    ahead: float

    @property
    def evidence(self) -> Tensor:
        """[T, T] trust without what was painted under the rims of glasses."""
        return self.trust * (1 - self.cover.rims)


@dataclass(frozen=True)
class Combined:
    """reading: of all photos, with the folds of the first one's expression; share [T, T]: what of its albedo is the first
    photo's own."""

    reading: Reading
    share: Tensor


def combine(readings: Sequence[Reading], atlas: HeadAtlas) -> Combined:
    """One reading of all; one alone stays as it is."""
    readings = _without_turned_features(readings, atlas)
    shares = _shares(readings, atlas)
    mixed = lambda images: (shares * torch.stack(images)).sum(0)
    most = lambda images: torch.stack(images).amax(0)
    levelled = torch.stack(_levelled(readings))
    covers = [each.cover for each in readings]
    cover = Cover(*(mixed([getattr(each, name) for each in covers]) for name in ("skin", "hair", "near_hair", "rims")))
    reading = Reading(
        albedo=(shares[:, None] * levelled).sum(0),
        own_shade=mixed([each.own_shade for each in readings]),
        cover=cover,
        beard=mixed([each.beard for each in readings]),
        folds=readings[0].folds * shares[0],
        seen=most([each.seen for each in readings]),
        trust=most([each.trust for each in readings]),
        clarity=mixed([each.clarity for each in readings]),
        ahead=readings[0].ahead,
    )
    return Combined(reading, shares[0])


def _without_turned_features(readings: Sequence[Reading], atlas: HeadAtlas) -> list[Reading]:
    """The readings; those of turned heads are not trusted on the features of the face."""
    named = [soften(atlas.region(name), FEATURE_EDGE) * 2 for name in ("nose", "lip", "eyelid", "brow")]
    features = torch.stack(named).amax(0).clamp(max=1)
    most = max(each.ahead for each in readings)
    turned = [1 - float(ramp(torch.tensor(each.ahead / most), *AS_FRONTAL)) for each in readings]
    return [
        replace(each, trust=each.trust * (1 - share * features)) for each, share in zip(readings, turned, strict=True)
    ]


def _shares(readings: Sequence[Reading], atlas: HeadAtlas) -> Tensor:
    """[P, T, T] how far each photo's fine detail counts, together 1: nearly all of one."""
    inside = atlas.mask.float()
    votes = []
    for number, each in enumerate(readings):
        clarity = blur_inside(each.clarity[None], inside, CLARITY_BAND)[0].clamp(min=LEAST_CLARITY)
        clarity = clarity * each.ahead**TURNED_POWER * (FIRST_PREFERRED if number == 0 else 1.0)
        votes.append(CHOOSING * clarity.log() + 2 * (each.evidence + UNSEEN).log() + 2 * (each.seen + UNSEEN).log())
    return torch.stack(votes).softmax(0)


def _levelled(readings: Sequence[Reading]) -> list[Tensor]:
    """The albedo of every photo [3, T, T], its slow part that of the mean of all that see the place."""
    says = torch.stack([each.evidence * each.clarity * each.ahead**TURNED_POWER for each in readings])  # [P, T, T]
    shown = torch.stack([each.albedo.log() for each in readings])
    middle = (says[:, None] * shown).sum(0) / says.sum(0).clamp(min=UNSEEN)
    levelled = []
    for number, each in enumerate(readings):
        others = [other.evidence for other in readings if other is not each]
        both = torch.minimum(each.evidence, torch.stack([torch.zeros_like(each.evidence), *others]).amax(0))
        slow = blur_inside(middle - shown[number], both, LEVEL_BAND)
        gain = carried_on(slow, known_slowly(both, LEVEL_BAND), LEVEL_BAND)
        levelled.append(each.albedo * gain.exp())
    return levelled
