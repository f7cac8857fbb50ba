"""Skins: the sources as pigment fields in the head tile, and the maps of a subject mixed from them.

A source skin becomes deviations from its own mean: of melanin, of blood (both in the pigment table's coordinates), and
a remainder of optical density for what is no pigment of the skin, such as hair. Separating skin colour into these two
pigments by density follows Tsumura et al., "Image-based skin color and texture analysis/synthesis by extracting
hemoglobin and melanin information in the skin" (2003). A subject takes low and high frequencies, hair and lips from
different sources and re-colours them at its own tone, so that only the pigments change, never a scale of RGB.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..conventions import srgb_to_linear
from ..errors import Id2rError
from ..geometry.rasterize import interpolate
from ..geometry.texture import atlas_fragments, fill_holes, sample_texture
from ..head.model import OFF_TILE, HeadModel
from ..pigment import PigmentTable
from .sources import list_sources, read_srgb
from .subjects import Subjects

SKINS = "makehuman/skins*/*.jpg"
# The sources are this rectangle (columns, rows) of a 2048 atlas, turned so that the forehead is up.
ATLAS, CROP_LEFT, CROP_TOP, CROP_WIDTH, CROP_HEIGHT = 2048, 1304, 364, 740, 1388
LOW_BAND = 28  # the low band holds what is larger than a 28th of the tile
DARKEST = 0.004  # linear albedo
DAMPING = 0.1
BROAD_HIGHLIGHT, HIGHLIGHT = 0.14, 0.22  # density by which broad and any paint may be brighter than the mean skin
MELANIN, BLOOD, RED, GREEN, BLUE = range(5)  # channels of a field; the last three are the remaining density
PAINTED_HAIR = 0.12  # density, beside the pigments, above which a captured skin shows hair
LIP_LEAST = 0.4  # of the skin's albedo, softly: no lip is black, whatever lipstick its source wore
MESO_METRES = 3e-4  # depth of a crease that is one unit of density darker
PORE_METRES = 1.5e-5

# Specular as an image value (0.5 is F0 at IOR 1.4) and GGX roughness by region. The order of regions follows the
# measurements of Weyrich et al., "Analysis of Human Faces using a Measurement-Based Skin Reflectance Model" (2006):
# nose and forehead gloss most, cheeks and chin less, neck and ears least; lips are moist.
# Roughness is the square root of the width alpha (Burley 2012, as in Principled). What is known of skin are widths of
# other lobes, carried over so that the peaks agree: the Blinn-Phong exponents 12 and 48 between which Gotardo et al.,
# "Practical Dynamic Facial Appearance Modeling and Acquisition" (2018) and Riviere et al. (2020) mix what they capture
# (alpha^2 = 2 / (n + 2), Walter et al. 2007), and Beckmann slopes m = alpha of 0.25 to 0.45 over the face after Weyrich
# et al., 0.3 (d'Eon & Luebke 2007) and 0.35 (Donner & Jensen 2006) for all of it. Together: 0.45 to 0.67.
SHARPEST_EXPONENT, WIDEST_SLOPE = 48.0, 0.45
SKIN_ROUGHNESS = ((2 / (SHARPEST_EXPONENT + 2)) ** 0.25, WIDEST_SLOPE**0.5)
REGION_SPECULAR = {
    "forehead": 0.53, "nose": 0.56, "cheek": 0.46, "lip": 0.54, "eyelid": 0.48, "brow": 0.45, "chin": 0.47,
    "beard": 0.46, "ear": 0.45, "neck": 0.44, "scalp": 0.45,
}  # fmt: skip
REGION_ROUGHNESS = {
    "forehead": 0.51, "nose": 0.49, "cheek": 0.545, "lip": 0.50, "eyelid": 0.52, "brow": 0.56, "chin": 0.53,
    "beard": 0.55, "ear": 0.555, "neck": 0.575, "scalp": 0.57,
}  # fmt: skip
PLAIN_ROUGHNESS = 0.54  # of skin that belongs to no region
REGION_PORES = {"forehead": 0.6, "nose": 1.3, "cheek": 1.0, "chin": 0.9, "neck": 0.4, "lip": 0.3, "beard": 0.8}
CAPTURE_AGES, DARK_ITA = (20.0, 65.0), 5.0  # years that are "young" and "old"; degrees below which skin is dark
PLAIN_REGIONS = ("lip", "eyelid", "brow", "beard", "ear")  # left out where the mean tone is taken
INSIDE_LINEAR = (0.22, 0.06, 0.055)  # albedo of the inside of the mouth


@dataclass(frozen=True)
class HeadTile:
    """The head tile of one head model at T texels, as images.

    regions: name -> [1, 1, T, T] soft mask; plain: [1, 1, T, T] facial skin without features
    smooth_regions: the same, blurred over the low band
    shade: [1, 2, T, T] logarithm of the mean head's ambient openness, and how much it faces up
    is_skin, is_inside: [1, 1, T, T] bool, texels of the skin and of mouth and eye sockets
    crop_uv: [1, T, T, 2] where the texel lies in a source; in_source: [1, 1, T, T] bool, whether it does
    """

    size: int
    regions: dict[str, Tensor]
    smooth_regions: dict[str, Tensor]
    plain: Tensor
    shade: Tensor
    is_skin: Tensor
    is_inside: Tensor
    crop_uv: Tensor
    in_source: Tensor


@dataclass(frozen=True)
class SkinBank:
    """Source skins as fields; low + high is the field of a source.

    low, high: [K, 5, T, T] deviations (MELANIN, BLOOD, RED, GREEN, BLUE)
    slope: [K] how -log(albedo), averaged over RGB, grows with melanin at the source's own tone
    is_dark, is_female, age: [K] what is told of the sources; age 0 young, 0.5 middle, 1 old
    has_hair: [K] 1 where brows and scalp may be taken from the source too
    noise: [4, 1, T, T] band-passed unit noise of pore size, and blotches
    """

    names: tuple[str, ...]
    low: Tensor
    high: Tensor
    slope: Tensor
    is_dark: Tensor
    is_female: Tensor
    age: Tensor
    has_hair: Tensor
    noise: Tensor


@dataclass(frozen=True)
class SkinMaps:
    """Maps of subjects in the head tile.

    diffuse_linear: [S, 3, T, T]; specular, roughness: [S, 1, T, T] image values
    height_slope: [S, 2, T, T] growth of the meso height along u and v, metres per unit of uv
    """

    diffuse_linear: Tensor
    specular: Tensor
    roughness: Tensor
    height_slope: Tensor


def make_tile(head: HeadModel, size: int) -> HeadTile:
    """Bake what skins need to know of the head into tile images."""
    on_tile = ~head.faces_of(*OFF_TILE)
    faces, faces_uv = head.faces[on_tile], head.faces_uv[on_tile]
    fragments = atlas_fragments(head.fine_uv, faces_uv, size)
    masks = fill_holes(interpolate(head.region_masks.T.contiguous(), faces, fragments), fragments.mask)
    regions = {name: masks[:, i : i + 1] for i, name in enumerate(head.regions)}
    part_skin = head.faces_of("skin")[on_tile]
    is_skin = fragments.mask & part_skin[fragments.face.clamp(min=0)][:, None]
    plain = regions["face"].clone()
    for name in PLAIN_REGIONS:
        plain = plain * (1 - regions[name]).clamp(0, 1)
    from_faces = head.faces_uv_makehuman[on_tile]
    atlas_uv = interpolate(head.fine_uv_makehuman, from_faces, fragments)[0].permute(1, 2, 0)
    crop_uv = _crop_uv(atlas_uv)
    in_crop = ((crop_uv > 0) & (crop_uv < 1)).all(-1)[None, None]
    # At the rims of mouth and eyes the sources show what lies beside their island.
    rim = functional.max_pool2d((~is_skin).float(), 2 * (size // 128) + 1, stride=1, padding=size // 128) > 0
    shade = interpolate(_openness(head), faces, fragments)
    return HeadTile(
        size=size,
        regions=regions,
        smooth_regions={name: low_band(mask).clamp(0, 1) for name, mask in regions.items()},
        plain=plain * is_skin,
        shade=fill_holes(shade, fragments.mask),
        is_skin=is_skin,
        is_inside=fragments.mask & ~is_skin,
        crop_uv=crop_uv[None],
        in_source=is_skin & in_crop & ~rim,
    )


@dataclass(frozen=True)
class Source:
    """One source skin: field [1, 5, T, T], and what SkinBank holds of it."""

    name: str
    field: Tensor
    slope: Tensor
    is_dark: float
    is_female: float
    age: float
    has_hair: float


def load_skins(
    data_dir: Path, split: str, tile: HeadTile, pigments: PigmentTable, seed: int = 0, captures: Path | None = None
) -> SkinBank:
    """Read the source skins of the split into pigment fields on the tile's device.

    captures: a folder that `capture import` has filled; its skins of the split join those of the training data.
    """
    sources = [_painted_source(path, tile, pigments) for path in list_sources(data_dir, SKINS, split)]
    sources += [_captured_source(folder, tile, pigments) for folder in list_captures(captures, split)]
    dtype = torch.float32 if tile.size <= 512 else torch.float16
    low, high = [], []
    for source in sources:
        low.append(low_band(source.field))
        high.append((source.field - low[-1]).to(dtype))
    column = lambda name: tile.plain.new_tensor([getattr(source, name) for source in sources])
    return SkinBank(
        names=tuple(source.name for source in sources),
        low=torch.cat(low).to(dtype),
        high=torch.cat(high),
        slope=torch.stack([source.slope for source in sources]),
        is_dark=column("is_dark"),
        is_female=column("is_female"),
        age=column("age"),
        has_hair=column("has_hair"),
        noise=_pore_noise(tile.size, seed).to(tile.plain.device),
    )


def list_captures(captures: Path | None, split: str) -> list[Path]:
    """The imported captures of a split, sorted by name. Raises Id2rError when a folder is given that holds none at all."""
    if captures is None:
        return []
    every = sorted(path.parent for path in Path(captures).glob("*/capture.json"))
    if not every:
        raise Id2rError(f"'{captures}' holds no imported captures.", "Make some: python -m id2r_core capture import")
    return [folder for folder in every if _about(folder)["split"] == split]


def _about(folder: Path) -> dict:
    return json.loads((folder / "capture.json").read_text(encoding="utf-8"))


def _painted_source(path: Path, tile: HeadTile, pigments: PigmentTable) -> Source:
    """A MakeHuman skin; its file's name tells whose it is."""
    srgb = read_srgb(path)
    scale = min(1.0, 1.6 * tile.size / srgb.shape[1])
    if scale < 1.0:
        srgb = cv2.resize(srgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    linear = srgb_to_linear(torch.from_numpy(srgb).to(tile.plain.device)).permute(2, 0, 1)[None]
    field, slope = _source_field(sample_texture(linear, tile.crop_uv), tile.in_source, tile, pigments)
    age = float("old_" in path.stem) + 0.5 * ("middleage_" in path.stem)
    return Source(path.stem, field, slope, float("dark" in path.stem), float("female" in path.stem), age, has_hair=1.0)


def _captured_source(folder: Path, tile: HeadTile, pigments: PigmentTable) -> Source:
    """The skin of an imported capture, where it shows bare skin; brows and scalp are not taken from it."""
    about = _about(folder)
    side = (tile.size, tile.size)
    diffuse = next(folder.glob("diffuse.*"))  # PNG as imported, JPEG in a bundle
    srgb = cv2.resize(read_srgb(diffuse), side, interpolation=cv2.INTER_AREA)
    skin = cv2.resize(read_srgb(folder / "skin.png")[..., 0], side, interpolation=cv2.INTER_AREA) > 0.999
    linear = srgb_to_linear(torch.from_numpy(srgb).to(tile.plain.device)).permute(2, 0, 1)[None]
    known = torch.from_numpy(skin).to(tile.plain.device)[None, None] & tile.is_skin
    field, slope = _source_field(linear, known, tile, pigments)
    # What is much darker than its skin, and no lip, are remains of painted hair that the mask of skin let through.
    field[:, RED:] = field[:, RED:].clamp(max=PAINTED_HAIR + tile.regions["lip"])
    young, old = CAPTURE_AGES
    return Source(
        name=about["name"],
        field=field,
        slope=slope,
        is_dark=float(about["ita_degrees"] < DARK_ITA),
        is_female=float(about["sex"] == "female"),
        age=min(max((about["age"] - young) / (old - young), 0.0), 1.0),
        has_hair=0.0,
    )


def low_band(field: Tensor) -> Tensor:
    """The smooth part of [K, C, T, T]: what is larger than a LOW_BAND-th of the tile."""
    coarse = functional.interpolate(field, size=(2 * LOW_BAND, 2 * LOW_BAND), mode="area")
    coarse = functional.avg_pool2d(functional.pad(coarse, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return functional.interpolate(coarse, size=field.shape[-2:], mode="bicubic", align_corners=False)


def skin_maps(subjects: Subjects, bank: SkinBank, tile: HeadTile, pigments: PigmentTable) -> SkinMaps:
    """Mix the maps of subjects; a pure function of the subjects' numbers."""
    regions = tile.regions
    field_low, field_high, source = _mixed_fields(subjects, bank, regions)
    hair = _hair_mask(regions)
    column = lambda name, low, high: subjects.between(name, low, high)[:, None, None, None]
    field = field_low * column("low_gain", 0.5, 1.0) + field_high * column("high_gain", 0.7, 1.4)
    # A source's melanin varies by what it means at the source's tone; most of it is kept as contrast at the new one.
    steepness = pigments.slopes(subjects.melanin[:, None], subjects.blood[:, None])[:, :, 0].mean(1)[:, 0]  # [S]
    gain = (bank.slope[source] / steepness.clamp(min=0.05)).clamp(0.1, 6.0) ** 0.7
    noise = _rolled_noise(subjects, bank.noise)
    melanin = field[:, MELANIN] * gain[:, None, None] + _spots(subjects, regions, noise) / steepness[:, None, None]
    blood = field[:, BLOOD] + _redness(subjects, regions, noise)
    albedo = pigments.albedo(
        (melanin + subjects.melanin[:, None, None]).clamp(0, 1), (blood + subjects.blood[:, None, None]).clamp(0, 1)
    )
    density = (
        field[:, RED:] * _hair_gain(subjects, regions)
        + _beard(subjects, tile, noise)
        + _brows(subjects, regions, noise)
    )
    diffuse = _at_exact_tone(albedo * (-density).exp(), subjects.tone_linear, tile.plain)
    least = LIP_LEAST * subjects.tone_linear[..., None, None]
    diffuse = torch.lerp(diffuse, diffuse + least * (-diffuse / least).exp(), regions["lip"])
    diffuse = torch.where(tile.is_inside, diffuse.new_tensor(INSIDE_LINEAR)[:, None, None], diffuse)
    crease = field_high[:, :BLOOD].sum(1, keepdim=True) * bank.slope[source][:, None, None, None] * (1 - hair)
    crease = crease + field_high[:, RED:].mean(1, keepdim=True) * (1 - hair)
    return SkinMaps(
        diffuse_linear=diffuse.clamp(DARKEST, 0.95),
        specular=_specular(subjects, tile.smooth_regions, crease, hair),
        roughness=_roughness(subjects, tile.smooth_regions, noise, hair),
        height_slope=_height_slope(subjects, regions, crease, noise, tile.size),
    )


def _crop_uv(atlas_uv: Tensor) -> Tensor:
    """MakeHuman atlas uv -> uv of the cropped and turned source image, both v up."""
    column, row = atlas_uv[..., 0] * ATLAS, (1 - atlas_uv[..., 1]) * ATLAS
    x, y = CROP_TOP + CROP_HEIGHT - row, column - CROP_LEFT
    return torch.stack([x / CROP_HEIGHT, 1 - y / CROP_WIDTH], dim=-1)


def _openness(head: HeadModel) -> Tensor:
    """[Nf, 2]: log of the cosine-weighted visible share of the sky, and the height of the normal, on the mean head."""
    return torch.stack([head.openness.clamp(min=0.05).log(), head.neutral_normals[:, 1]], dim=1)


def _source_field(linear: Tensor, known: Tensor, tile: HeadTile, pigments: PigmentTable) -> tuple[Tensor, Tensor]:
    """One source, linear [1, 3, T, T] where known [1, 1, T, T]: deviations [1, 5, T, T] from its mean, melanin slope."""
    device = tile.plain.device
    density = -fill_holes(linear, known).clamp(min=DARKEST).log()
    mean = _weighted_mean(density, tile.plain)  # [1, 3]
    deviation = _without_baked_shade(density - mean[..., None, None], tile)
    melanin, blood = _nearest_pigments(mean, pigments)
    slopes = pigments.slopes(melanin[:, None], blood[:, None])[0, :, 0]  # [3, 2]
    skin = 1 - _hair_mask(tile.regions)
    # The two pigments colour RGB nearly alike, so the separation is damped: noise must not become blood and its opposite.
    normal = slopes.T @ slopes
    damped = torch.linalg.solve(normal + DAMPING * normal.trace() * torch.eye(2, device=device), slopes.T)
    solved = torch.einsum("pc,bcij->bpij", damped, deviation * skin).clamp(-0.3, 0.3)
    remainder = deviation - torch.einsum("cp,bpij->bcij", slopes, solved)
    # What is left is hair and paint: mostly grey, its colour halved.
    grey = remainder.mean(1, keepdim=True)
    remainder = torch.lerp(grey, remainder, 0.5)
    return torch.cat([solved, remainder], dim=1), slopes[:, 0].mean()


def _weighted_mean(image: Tensor, weight: Tensor) -> Tensor:
    return (image * weight).sum((-2, -1)) / weight.sum((-2, -1))


def _without_baked_shade(deviation: Tensor, tile: HeadTile) -> Tensor:
    """Take out of the density what the openness of the head explains, and painted highlights.

    Baked ambient occlusion makes closed places darker: the density then falls with the logarithm of the openness. One
    factor a source, fitted on plain skin, where nothing else follows the openness.
    """
    features = torch.cat([tile.shade, torch.ones_like(tile.shade[:, :1])], dim=1)[0].flatten(1)  # [3, P]
    weight = tile.plain.flatten().sqrt()
    target = low_band(deviation).mean(1).flatten()
    solution = torch.linalg.lstsq((features * weight).T, (target * weight)[:, None]).solution[:, 0]
    baked = solution[0].clamp(-1.0, 0.0) * tile.shade[:, :1] + solution[1].clamp(-0.3, 0.3) * tile.shade[:, 1:]
    free = deviation - (baked - _weighted_mean(baked, tile.plain)[..., None, None])
    # Paint much brighter than the mean is a highlight; the neck, which the sources lack, takes the mean tone.
    free = free - _excess(low_band(free), BROAD_HIGHLIGHT)
    free = free - _excess(free, HIGHLIGHT)
    return free * (1 - 0.8 * tile.smooth_regions["neck"])


def _excess(density: Tensor, limit: float) -> Tensor:
    """[K, 1, T, T] how far the mean of RGB lies below what a soft limit lets through."""
    bright = density.mean(1, keepdim=True).clamp(max=0.0)
    return bright + limit * torch.tanh(-bright / limit)


def _nearest_pigments(mean_density: Tensor, pigments: PigmentTable) -> tuple[Tensor, Tensor]:
    """Coordinates [1], [1] of the table's colour nearest to a mean density [1, 3]."""
    distance = (-pigments.linear.log() - mean_density[0, :, None, None]).square().sum(0)
    steps = distance.shape[1] - 1
    best = int(distance.argmin())
    return tuple(mean_density.new_tensor([value / steps]) for value in divmod(best, steps + 1))


def _hair_mask(regions: dict[str, Tensor]) -> Tensor:
    """[1, 1, T, T] where what is painted is hair rather than skin."""
    return torch.maximum(regions["brow"], regions["scalp"]).clamp(0, 1)


def _pick(uniform: Tensor, weights: Tensor) -> Tensor:
    """[S] indices drawn from rows of weights [S, K] by uniform numbers [S]."""
    share = weights.cumsum(1) / weights.sum(1, keepdim=True)
    return (share < uniform[:, None]).sum(1).clamp(max=weights.shape[1] - 1)


def _mixed_fields(subjects: Subjects, bank: SkinBank, regions: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Low and high bands [S, 5, T, T] of each subject, and the source [S] that its skin comes from."""
    dark = (subjects.ita < 0).float()[:, None]
    female = (subjects.number("female") < 0.5).float()[:, None]
    near = (1 - (bank.is_dark - dark).abs() * 0.97) * (1 - (bank.is_female - female).abs() * 0.8)
    aged = near * (1.1 - (bank.age - subjects.number("age")[:, None]).abs())
    low = _pick(subjects.number("low_source"), near)
    high = _pick(subjects.number("high_source"), aged)
    hair = _pick(subjects.number("hair_source"), aged * bank.has_hair)
    lip = _pick(subjects.number("lip_source"), near)
    hair_at = torch.maximum(_hair_mask(regions), regions["eyelid"])
    lip_at = regions["lip"] * (1 - hair_at)
    skin_at = 1 - hair_at - lip_at
    mix = lambda fields, skin: (
        fields[skin].float() * skin_at + fields[hair].float() * hair_at + fields[lip].float() * lip_at
    )
    return mix(bank.low, low), mix(bank.high, high), low


def _pore_noise(size: int, seed: int) -> Tensor:
    """[4, 1, T, T] unit noise, band-passed at the size of pores (or of two texels), wrapping around."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(4, 1, size, size, generator=generator)
    frequency = torch.fft.fftfreq(size)[:, None].square() + torch.fft.rfftfreq(size)[None].square()
    radius = frequency.sqrt() * size  # cycles a tile
    wanted = min(0.35 * size, 220.0)
    band = torch.exp(-((radius.clamp(min=1e-3) / wanted).log() / 0.5).square())
    shaped = torch.fft.irfft2(torch.fft.rfft2(noise) * band, s=(size, size))
    return shaped / shaped.flatten(1).std(1)[:, None, None, None]


def _rolled_noise(subjects: Subjects, noise: Tensor) -> Tensor:
    """[S, 1, T, T]: each subject's own stretch of the wrapping noise."""
    size = noise.shape[-1]
    shift = torch.stack([subjects.number("noise_u"), subjects.number("noise_v")], 1).mul(size).long().tolist()
    which = (subjects.number("seed") * len(noise)).long().tolist()
    return torch.stack([noise[k].roll((u, v), (-2, -1)) for k, (u, v) in zip(which, shift, strict=True)])


def _spots(subjects: Subjects, regions: dict[str, Tensor], noise: Tensor) -> Tensor:
    """Freckles and moles as density, [S, T, T]; freckles where the sun shines and on skin light enough for them."""
    size = noise.shape[-1]
    freckled = ((subjects.number("freckles") - 0.75) / 0.25).clamp(min=0) * (subjects.ita > 20)
    sunny = (regions["nose"] + regions["cheek"] + 0.4 * regions["forehead"]).clamp(0, 1) * (1 - regions["lip"])
    freckles = (noise[:, 0] - 1.2).clamp(0, 1.5) * 0.35 * freckled[:, None, None] * sunny[0]
    moles = torch.zeros_like(freckles)
    for row, (count, seed) in enumerate(
        zip(subjects.number("moles").tolist(), subjects.number("seed").tolist(), strict=True)
    ):
        random = np.random.default_rng(int(seed * 2**31))
        for _ in range(int(9 * count**2)):
            x, y = random.integers(size // 4, size - size // 4, 2)
            radius = random.uniform(0.0012, 0.0035) * size
            _stamp(moles[row], x, y, radius, random.uniform(0.4, 1.4))
    return freckles + moles * (1 - _hair_mask(regions))[0] * (1 - regions["lip"])[0]


def _stamp(image: Tensor, x: int, y: int, radius: float, strength: float) -> None:
    """Add a soft round spot to [T, T] in place."""
    reach = math.ceil(2 * radius)
    top, left = max(y - reach, 0), max(x - reach, 0)
    window = image[top : y + reach + 1, left : x + reach + 1]
    down = torch.arange(window.shape[0], device=image.device)[:, None] + (top - y)
    along = torch.arange(window.shape[1], device=image.device)[None] + (left - x)
    window += strength * torch.exp(-((down.square() + along.square()) / radius**2).square())


def _redness(subjects: Subjects, regions: dict[str, Tensor], noise: Tensor) -> Tensor:
    """Blood above the subject's mean in its lips, cheeks, nose, and in blotches, [S, T, T]."""
    by_region = (("lip", "lip_red", 0.14), ("cheek", "cheek_red", 0.10), ("nose", "nose_red", 0.10))
    red = sum(
        regions[region][:, 0] * subjects.between(name, 0.0, most)[:, None, None] for region, name, most in by_region
    )
    size = noise.shape[-1]
    blotch = functional.interpolate(noise[:, :, :10, :10], size=(size, size), mode="bicubic", align_corners=False)
    return red + blotch[:, 0] * subjects.between("blotches", 0.0, 0.035)[:, None, None]


def _hair_gain(subjects: Subjects, regions: dict[str, Tensor]) -> Tensor:
    """How dark the painted hair is, [S, 1, T, T]; some heads are bald."""
    dark = hair_darkness(subjects)
    brow = (subjects.between("brow_gain", 0.9, 2.2) * dark)[:, None, None, None]
    scalp = (subjects.between("scalp_gain", -0.4, 1.4).clamp(min=0.05) * dark)[:, None, None, None]
    gain = 1 + (scalp - 1) * regions["scalp"]
    return gain + (brow - gain) * regions["brow"].sqrt()


def hair_darkness(subjects: Subjects) -> Tensor:
    """[S] in [0.5, 1.4]: black hair absorbs more than fair; fair hair comes only with light skin."""
    fair = subjects.number("hair_colour") * ((subjects.ita - 10) / 30).clamp(0, 1)
    return 1.4 - 0.9 * fair


def _beard(subjects: Subjects, tile: HeadTile, noise: Tensor) -> Tensor:
    """Density [S, 1, T, T] of what is shaved or grows around the mouth of men: nothing, stubble, or a full beard."""
    grown = ((subjects.number("beard_gain") - 0.45) / 0.55).clamp(0, 1) ** 2 * 1.6
    amount = (grown * hair_darkness(subjects) * (subjects.number("female") >= 0.5))[:, None, None, None]
    place = (tile.smooth_regions["beard"] * 1.3).clamp(0, 1) * (1 - tile.regions["lip"]).clamp(0, 1)
    return amount * place * (1 + 0.3 * noise).clamp(0.2, 2.0)


def _brows(subjects: Subjects, regions: dict[str, Tensor], noise: Tensor) -> Tensor:
    """Density [S, 1, T, T] of hair on the brows beyond what the sources paint, from none to dense."""
    amount = (1.1 * subjects.between("brow_gain", -0.2, 1.0).clamp(min=0) * hair_darkness(subjects))[
        :, None, None, None
    ]
    place = ((regions["brow"] - 0.25) / 0.3).clamp(0, 1)
    return amount * place * (1 + 0.35 * noise).clamp(0.2, 2.0)


def _at_exact_tone(albedo: Tensor, tone: Tensor, plain: Tensor) -> Tensor:
    """Move the mean of plain skin onto the tone by a small power of each channel (a change of density)."""
    for _ in range(2):
        mean = _weighted_mean(albedo, plain)
        albedo = albedo * (tone / mean)[..., None, None]
    return albedo


def _by_region(values: dict[str, float], regions: dict[str, Tensor], contrast: Tensor, elsewhere: float) -> Tensor:
    """[S, 1, T, T]: the values of regions blended by their masks, pushed away from `elsewhere` by contrast [S]."""
    total = sum(regions[name] for name in values)
    offset = sum(regions[name] * (value - elsewhere) for name, value in values.items()) / total.clamp(min=1.0)
    return elsewhere + offset * contrast[:, None, None, None]


def _specular(subjects: Subjects, regions: dict[str, Tensor], crease: Tensor, hair: Tensor) -> Tensor:
    contrast = subjects.between("specular_contrast", 0.5, 1.5)
    base = _by_region(REGION_SPECULAR, regions, contrast, elsewhere=0.48)
    base = base + subjects.between("specular", -0.05, 0.06)[:, None, None, None]
    cavity = 1 - 0.8 * crease.clamp(0, 0.35)
    return (base * cavity * (1 - 0.2 * hair)).clamp(0.1, 0.8)


def _roughness(subjects: Subjects, regions: dict[str, Tensor], noise: Tensor, hair: Tensor) -> Tensor:
    contrast = subjects.between("roughness_contrast", 0.5, 1.4)
    base = _by_region(REGION_ROUGHNESS, regions, contrast, elsewhere=PLAIN_ROUGHNESS)
    individual = subjects.between("roughness", -0.04, 0.04) + 0.04 * (subjects.number("age") - 0.5)
    return (base + individual[:, None, None, None] + 0.015 * noise * (1 - hair)).clamp(*SKIN_ROUGHNESS)


def _height_slope(subjects: Subjects, regions: dict[str, Tensor], crease: Tensor, noise: Tensor, size: int) -> Tensor:
    """Creases are low where the albedo is dark; pores are noise, deeper on nose and cheeks. [S, 2, T, T]."""
    depth = subjects.between("meso", 0.4, 1.2) + 0.8 * subjects.number("age")
    pores = sum(regions[name] * value for name, value in REGION_PORES.items()).clamp(0, 1.3)
    pores = pores * subjects.between("pores", 0.3, 1.5)[:, None, None, None] * PORE_METRES
    height = -crease.clamp(-0.5, 0.5) * depth[:, None, None, None] * MESO_METRES + noise * pores
    along_u = (height.roll(-1, -1) - height.roll(1, -1)) * (size / 2)
    along_v = (height.roll(1, -2) - height.roll(-1, -2)) * (size / 2)
    return torch.cat([along_u, along_v], dim=1)
