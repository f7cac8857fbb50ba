"""Hair and caps of photographed heads: a swollen scalp, a fall of long hair behind the neck, fuzzy outlines.

They cover what real photographs cover, so that fit, identity and the nets do not count on a bare head. No strand is
modelled: the scalp is moved outwards and painted with fibres, and outlines are broken up in the picture.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..geometry.camera import Camera
from ..geometry.texture import ramp
from .dice import Dice
from .render import Hair, RenderMesh, Surface, box_mean, sample_fibres
from .subjects import Subjects

# Linear albedos of hair: black, dark brown, brown, blond, red, grey, white.
HAIR_LINEAR = (
    (0.008, 0.007, 0.006), (0.022, 0.014, 0.010), (0.065, 0.036, 0.020), (0.26, 0.165, 0.08), (0.15, 0.05, 0.02),
    (0.17, 0.165, 0.16), (0.45, 0.44, 0.42),
)  # fmt: skip
HAIRLINE_Z = (-0.20, -0.085, -0.066, -0.055, -0.035, -0.010, 0.020, 0.050)
HAIRLINE_Y = (-0.070, -0.060, -0.020, 0.000, 0.030, 0.052, 0.066, 0.072)
BEHIND_EARS, FALL_Z = -0.088, -0.095  # metres; where long hair begins to cover the neck, and where it hangs
EDGE = 0.006  # metres over which hair begins


@dataclass(frozen=True)
class Style:
    """How a head is covered: how often on women and on men, thickness in metres (from, to), shares of render.FIBRES."""

    women: float
    men: float
    thickness: tuple[float, float]
    fibres: tuple[float, float, float]


STYLES = {
    "bald": Style(0.01, 0.16, (0.0, 1e-6), (1, 0, 0)),
    "cropped": Style(0.04, 0.28, (0.0005, 0.003), (0.3, 0.7, 0)),
    "short": Style(0.15, 0.38, (0.006, 0.018), (0.9, 0.1, 0)),
    "curly": Style(0.10, 0.08, (0.012, 0.045), (0.1, 0.9, 0)),
    "long": Style(0.44, 0.03, (0.005, 0.014), (1, 0, 0)),
    "tied": Style(0.20, 0.01, (0.001, 0.005), (1, 0, 0)),
    "cap": Style(0.06, 0.06, (0.006, 0.013), (0, 0.3, 0.7)),
}
CURLY_UP_TO = 20.0  # degrees of typology angle; lighter people wear short hair instead
FRINGE_SHARE = 0.3


def draw_hair(dice: Dice, mesh: RenderMesh, fine: Tensor, subjects: Subjects) -> Hair:
    """A style for each subject, as cover and thickness of the scalp and what falls behind."""
    names, rows = list(STYLES), []
    women, men = ([getattr(style, who) for style in STYLES.values()] for who in ("women", "men"))
    for random, place, number, ita in zip(
        dice, fine[:, : mesh.vertex_count], subjects.number("female").tolist(), subjects.ita.tolist(), strict=True
    ):
        name = random.choice(names, p=women if number < 0.5 else men)
        name = "short" if name == "curly" and ita > CURLY_UP_TO else name
        rows.append((*_on_scalp(random, name, place, mesh.region_masks["ear"]), *_fall(random, name)))
    cover, thickness, fall, is_cap = zip(*((row[0], row[1], row[3:], row[2] == "cap") for row in rows), strict=True)
    chosen = torch.where(_is_grey(subjects), 5 + 1.9 * subjects.number("hair_colour"), _common_colour(subjects))
    palette = fine.new_tensor(HAIR_LINEAR)
    linear = palette[chosen.long().clamp(max=len(palette) - 1)] * subjects.between("hair_light", 0.6, 1.5)[:, None]
    cloth = fine.new_tensor(np.exp(dice.uniform(-3.5, -0.6, 1)) * dice.uniform(0.4, 1.0, 3))
    return Hair(
        cover=torch.stack(cover)[..., None],
        thickness=torch.stack(thickness)[..., None],
        linear=torch.where(torch.tensor(is_cap, device=fine.device)[:, None], cloth, linear),
        fibres=fine.new_tensor([STYLES[row[2]].fibres for row in rows]),
        fall=fine.new_tensor(fall),
    )


def _on_scalp(random: np.random.Generator, name: str, place: Tensor, ear: Tensor) -> tuple[Tensor, Tensor, str]:
    """Cover and thickness [N] of one head's vertices `place` [N, 3] in that style, and the style."""
    x, y, z = place.unbind(1)
    frequencies = place.new_tensor(random.normal(0, 60, (3, 3)))
    waves = torch.sin(place @ frequencies + place.new_tensor(random.uniform(0, 6, 3))).sum(1)
    if name == "cap":
        above = y - random.uniform(0.035, 0.06) - random.uniform(0.25, 0.6) * z.clamp(max=0.0)
    else:
        fringe = random.uniform(0.01, 0.035) if name == "long" and random.random() < FRINGE_SHARE else 0.0
        above = y - _hairline(z, random, fringe) + 0.002 * waves
    if name == "long":
        above = torch.maximum(above, BEHIND_EARS - z + 0.002 * waves)
    above = above - (1.0 if name == "bald" else 0.0) - 0.1 * ear
    thickness = ramp(above, 0.0, 0.012 if name == "cap" else 0.03) * random.uniform(*STYLES[name].thickness)
    if name in ("short", "long"):
        on_top = ((y - 0.01) / 0.07).clamp(0, 1)  # sides are flatter than the top, and there may be a parting
        parting = torch.exp(-(((x - random.uniform(-0.04, 0.04)) / 0.007) ** 2)) * (random.random() < 0.6)
        thickness = thickness * (0.4 + 0.6 * on_top) * (1 - 0.5 * parting) * (1 + 0.12 * waves)
    if name == "curly":
        thickness = thickness * (1 + 0.08 * waves)
    return (above / EDGE + 0.5).clamp(0, 1), thickness, name


def _fall(random: np.random.Generator, name: str) -> tuple[float, float, float]:
    """What hangs behind the neck: half its width at the ears in metres (0: nothing), how it widens, its lower end (y)."""
    if name != "long":
        return 0.0, 0.0, 0.0
    return random.uniform(0.078, 0.098), random.uniform(-0.1, 0.3), -random.uniform(0.08, 0.32)


def _hairline(depth: Tensor, random: np.random.Generator, fringe: float) -> Tensor:
    """[N] the height (metres) above which hair lies at z = `depth` [N]: forehead, temples, sideburns, nape.

    A fringe hangs that many metres below the line over the forehead.
    """
    z = depth.new_tensor(HAIRLINE_Z)
    receding = random.uniform(-0.004, 0.014)
    y = depth.new_tensor(HAIRLINE_Y) + depth.new_tensor(random.normal(0, 0.003, len(HAIRLINE_Y))) + receding - fringe
    place = torch.searchsorted(z, depth.contiguous()).clamp(1, len(z) - 1)
    share = ((depth - z[place - 1]) / (z[place] - z[place - 1])).clamp(0, 1)
    return torch.lerp(y[place - 1], y[place], share)


def _is_grey(subjects: Subjects) -> Tensor:
    """[S] bool, likelier with age."""
    return subjects.number("seed") < (subjects.number("age") - 0.5) * 1.6


def _common_colour(subjects: Subjects) -> Tensor:
    """[S] places in HAIR_LINEAR: dark hair for everybody, fair and red only with light skin."""
    return subjects.number("hair_colour") * torch.where(subjects.ita > 25, 5.0, 1.6)


def no_hair(count: int, mesh: RenderMesh) -> Hair:
    """`count` bare heads."""
    nothing = mesh.openness.new_zeros(count, mesh.vertex_count, 1)
    return Hair(nothing, nothing, *(mesh.openness.new_zeros(count, 3) for _ in range(3)))


def hang_hair(
    hair: Hair, mesh: RenderMesh, cameras: Camera, rays: Tensor, behind: Tensor, irradiance: Tensor
) -> Tensor:
    """Long hair behind the necks, in front of what lies `behind` [B, 3, H, W]: an upright sheet with fibres.

    rays [B, H, W, 3]; irradiance [B, 3] (divided by pi): what a surface facing the camera gets.
    """
    centre = cameras.centre()[:, None, None]
    along = (FALL_Z - centre[..., 2]) / rays[..., 2].clamp(max=-1e-3)
    x, y = (centre[..., k] + along * rays[..., k] for k in range(2))
    width, flare, end = (column[:, None, None] for column in hair.fall.unbind(1))
    below = width - flare * y.clamp(-0.15, 0.0)
    half = below * (1 - (y.clamp(min=0) / 0.12).square()).clamp(min=0).sqrt()
    fibre = sample_fibres(mesh.fibres, 0, 10 * x + 0.15 * (14 * y).sin(), 2 * y)
    inside = torch.minimum(half - x.abs(), 0.5 * (y - end)) + 0.004 * fibre
    cover = ((inside / EDGE + 0.5).clamp(0, 1) * (width > 0))[:, None]
    depth = 0.3 + 0.7 * (x.abs() / half.clamp(min=1e-3)).clamp(0, 1)  # it is dark behind the neck
    strands = (hair.linear * irradiance)[..., None, None] * (depth * (0.8 * fibre).exp())[:, None]
    return torch.lerp(behind, strands, cover)


def with_fuzz(surface: Surface, mesh: RenderMesh, radiance: Tensor, behind: Tensor) -> Tensor:
    """The heads' radiance [B, 3, H, W] before what is behind, where single fibres of hair stand out of the outline."""
    size = radiance.shape[-1]
    reach = max(round(0.010 * size), 1)
    hair = surface.hair * surface.mask
    share = box_mean(hair, reach)
    colour = box_mean(radiance * hair, reach) / share.clamp(min=1e-3)
    step = torch.arange(size, device=radiance.device) * (6.0 / size)
    noise = sample_fibres(mesh.fibres, 1, *torch.meshgrid(step, step, indexing="xy"))
    loose = ((share - 0.22 + 0.22 * noise) / 0.3).clamp(0, 1)
    return torch.where(surface.mask, radiance, torch.lerp(behind, colour, loose))
