"""A full beard: where it stands off the skin as strands, how long they are, and their colour. Stubble stays painted."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .conventions import srgb_to_linear
from .geometry.texture import blur_inside, dilate, fill_holes, ramp, soften
from .hairstyle import alike
from .head.atlas import HeadAtlas
from .head.fit import FittedHead
from .photo import Photo

# Mean contrast of the chin at the scale of strands (log-luminance) from which on a beard is full. Of 12 training portraits,
# five full beards have 0.05 to 0.107, stubble 0.032, bare chins at most 0.025.
FULL = (0.037, 0.047)
STRANDS, AROUND = 0.002, 0.012  # shares of the atlas: what is finer is a strand; over which their contrast is looked at
SHOWN = (0.03, 0.055)  # that contrast where single places of a full beard have none, and all, of it
SURE = 0.5  # trust from which on a place tells it
REACH, EDGE = 0.02, 0.006  # shares of the atlas: how far under the jaw it goes on; its soft border
LEAST = 0.002  # of the atlas: less is none
SHORTEST, LONGEST, STEP, GAP = 0.006, 0.03, 0.0005, 4  # metres below the chin; steps that are no end yet
BELOW_CHIN = np.linspace(-0.012, 0.012, 9)  # metres from the middle: where its length is measured


@dataclass(frozen=True)
class Beard:
    """density [T, T] in [0, 1]; length: metres at the chin; linear [3]: most of its albedo."""

    density: Tensor
    length: float
    linear: Tensor


def see_beard(
    photo: Photo, head: FittedHead, albedo: Tensor, beard: Tensor, trust: Tensor, atlas: HeadAtlas
) -> Beard | None:
    """The full beard of a photo; None for a bare chin, stubble, or too little to tell. albedo [3, T, T] linear; beard,
    trust [T, T]: where there may be one (`find_beard`), and how far the albedo is the photo's."""
    bare = 1 - atlas.dark_by_nature
    chin = atlas.region("beard") * bare * beard * trust > SURE
    if chin.float().mean() < LEAST or not (atlas.region("cheek") * trust > SURE).any():
        return None
    luminance = albedo.log().mean(0, keepdim=True)
    strands = (luminance - blur_inside(luminance, trust + 1e-3, STRANDS)).abs()
    full = float(ramp(strands[0, chin].mean(), *FULL))
    shown = ramp(blur_inside(strands, trust + 1e-3, AROUND)[0], *SHOWN)
    known = (beard * trust > SURE).float()
    room = soften(dilate(atlas.region("beard"), REACH), EDGE) * bare * (1 - atlas.region("nose"))
    density = full * room * fill_holes((shown * known)[None, None], known[None, None])[0, 0]
    sure = chin & (density > 0.5)
    if sure.float().mean() < LEAST:
        return None
    return Beard(density, _length(photo, head, atlas, sure), _colour(albedo, sure, trust, atlas))


def _colour(albedo: Tensor, sure: Tensor, trust: Tensor, atlas: HeadAtlas) -> Tensor:
    """Linear [3] of the half of a mask [T, T] that is less like the cheeks: between the strands the skin shows."""
    cheek = albedo[:, atlas.region("cheek") * trust > SURE].log().median(1).values
    shown = albedo[:, sure]
    unlike = (shown.log() - cheek[:, None]).norm(dim=0)
    return shown[:, unlike >= unlike.median()].median(1).values


def _length(photo: Photo, head: FittedHead, atlas: HeadAtlas, sure: Tensor) -> float:
    """Metres below the chin down to which the photo goes on in the colour of the beard under a mask [T, T]."""
    on_head = atlas.bake(head.fine_vertices())[:, sure]
    chin = on_head[:, on_head[1].argmin()]
    down = torch.arange(-SHORTEST, LONGEST, STEP)
    across = torch.from_numpy(BELOW_CHIN).to(chin)
    points = chin + torch.stack(
        torch.broadcast_tensors(across[:, None], -down.to(chin), torch.zeros(1, 1).to(chin)), -1
    )
    size = torch.tensor([photo.width, photo.height]).to(chin)
    look_up = lambda points: srgb_to_linear(_pixels(photo, head.camera.project(points.reshape(-1, 3))[0, :, :2], size))
    linear = np.median(look_up(on_head.T), 0)
    like = alike(look_up(points), linear).reshape(len(across), len(down))
    lengths = [_without_gap(line) * STEP - SHORTEST for line in like]
    return float(np.clip(np.median(lengths), SHORTEST, LONGEST))


def _pixels(photo: Photo, pixel: Tensor, size: Tensor) -> np.ndarray:
    """sRGB [P, 3] of the photo at pixels [P, 2], those outside at its edge."""
    column, row = torch.minimum(pixel.clamp(min=0), size - 1).long().T.numpy(force=True)
    return photo.srgb[row, column]


def _without_gap(line: np.ndarray) -> int:
    """How many of [P] bool from the start on are true, but for gaps shorter than GAP."""
    gone = np.convolve(~line, np.ones(GAP), "valid") >= GAP
    return int(gone.argmax()) if gone.any() else len(line)
