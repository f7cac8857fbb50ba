"""The maps at their full size: the photo's own octaves where it shows them, and above them the fine relief of skin.

Two-dimensional sizes are wavelengths in millimetres. What networks and photo reconstructed at the working size is
enlarged; a sharp photo adds the octaves that the working size could not hold; `relief` adds what no photo of a whole
face shows. One height, in millimetres, is behind all of it: the normal map is its slope, and a pore that dents it is a
little darker, reflects less and is rougher.
"""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .conventions import (
    DISPLACEMENT_METRES,
    DISPLACEMENT_MIDDLE,
    HAIR_METRES,
    Domain,
    decode_normal,
    encode_normal,
    linear_to_srgb,
)
from .geometry.mesh import tangent_axes, tangent_frames
from .geometry.rasterize import interpolate
from .geometry.texture import blur_inside, fill_holes, soften
from .head.atlas import SKIN_PARTS, HeadAtlas
from .head.fit import FittedHead
from .photo import Photo
from .refine import Refined
from .relief import (
    GRID,
    METRES_TO_MILLIMETRES,
    Relief,
    Sheet,
    cell_area,
    enlarge,
    enlarge_smoothly,
    make_relief,
    make_sheet,
    metric,
    surface_noise,
)

WORKING_SIZE = 1024  # side on which networks and photo are brought together; larger maps are enlarged from it
MILLIMETRES_PER_UNIT = 1000 * DISPLACEMENT_METRES
NETWORK_WAVELENGTH = 3.0  # mm: what a pack of 128 pixels over a head still shows
MUCH_FINER = 0.8  # of that: what the photo must show for its texels to be taken apart from those of the networks
COARSEST_TEXEL = 0.6  # mm: on larger texels no pore and no furrow can be drawn
STEEPEST = 0.8  # of all slopes
STEEPEST_FORM = 0.35  # of the slopes that networks and photo give: wrinkles, not form
MESO_BAND = 0.02  # share of the tile: slower slopes belong to the mesh, faster ones to the normal map
GAIN_BAND = 0.03  # share of the tile over which the photo's brightness is carried on to where it sees nothing
SMOOTHED, LEAST_BLUR = 0.11, 0.3  # of the photo's finest wavelength; texels
WAVELENGTH_SIGMA = 0.35  # standard deviation, in wavelengths, of the blur that takes them away
# Octaves of the photo, finest first, in pixels; one counts as shown with at least this share of the contrast of the next.
OCTAVES, SHOWN = 4, 0.5
PHOTO_HEIGHT = 0.13  # mm that a unit of the photo's fine log-luminance stands out: a crease is dark because it is deep
PHOTO_CONTRAST = 0.25  # log-luminance that the photo's fine octaves may add
DEEP = 0.06  # mm: a cavity of 1
LINES_SHARE = 0.3  # of furrows in what looks like a cavity
CAVITY_DENSITY = (0.16, 0.24, 0.26)  # log-albedo that a cavity of 1 is darker: light that is caught turns red
CAVITY_SPECULAR, CAVITY_ROUGHNESS = -0.45, 0.10  # share of the specular, added roughness
MOTTLE_SPACINGS = (2.8, 1.5)  # mm
MELANIN, BLOOD = (0.30, 0.60, 0.85), (0.10, 0.75, 0.60)  # log-albedo per unit, directions of `pigment`
MELANIN_MOTTLE, BLOOD_MOTTLE = 0.018, 0.022  # standard deviations
HAIR_SIZE = 512  # its strands are no closer than these texels
GLOSS_MOTTLE = 0.04  # of specular and roughness, relative
SRGB_SLOPE = 1 / 2.2  # growth of the logarithm of an sRGB code with that of the light, away from black
AGED = {"age-old": 1.0, "head-age-incr": 0.5, "head-age-decr": -0.5}  # morphs and the share of old age that each is


@dataclass(frozen=True)
class Detailed:
    """The finished maps.

    images: file stem -> [T, T, C] as stored, RGB; 8 bit: diffuse, as_photographed (sRGB), coverage, folds, hair;
    16 bit: specular, roughness, normal (tangent space), displacement. Only hair is smaller: HAIR_SIZE at most.
    report: the entry "detail" of report.json.
    """

    images: dict[str, np.ndarray]
    report: dict


def working_size(resolution: int) -> int:
    """The side on which views and photo are brought together for maps of `resolution` texels a side."""
    return min(resolution, WORKING_SIZE)


def add_detail(
    refined: Refined, photo: Photo, head: FittedHead, atlas: HeadAtlas, resolution: int, pores: float = 1.0
) -> Detailed:
    """Enlarge the maps to `resolution`, with the photo's own fine octaves and synthesised ones above them.

    pores in [0, 1] is the strength of what is synthesised; 0 is none. The same photo always gives the same pores.
    """
    sheet, seed = make_sheet(head), content_seed(photo)
    texel = _median_texel(sheet, atlas) / resolution
    shown = shown_wavelength(refined, photo, head, atlas)
    pores = pores if texel <= COARSEST_TEXEL else 0.0
    working = _prepare(refined, head, atlas, sheet, shown, pores, np.random.default_rng([seed, 1]))
    photographed = photograph_tile(working, photo, resolution)
    fine = _fine_octaves(photographed, working, resolution) if shown < 2 * texel * resolution / atlas.size else None
    height = enlarge_smoothly(working.height, resolution)
    cavity = torch.zeros_like(height)
    if pores:
        relief = make_relief(sheet, resolution, seed, age_of(head))
        added, cavity = _above(relief, shown, texel, working.trust, pores)
        height += added
    if fine is not None:
        height += PHOTO_HEIGHT * fine
    diffuse = _diffuse(working, fine, cavity, resolution)
    images = {
        "diffuse": stored(diffuse, np.uint8),
        "specular": stored(_grey(working.specular, cavity, 0.0, CAVITY_SPECULAR, resolution), np.uint16),
        "roughness": stored(_grey(working.roughness, cavity, CAVITY_ROUGHNESS, 0.0, resolution), np.uint16),
        "normal": stored(normals_of(height, sheet), np.uint16),
        "displacement": stored((height / MILLIMETRES_PER_UNIT + DISPLACEMENT_MIDDLE)[None], np.uint16),
        "coverage": stored(enlarge(refined.maps.coverage.cpu(), resolution)[None], np.uint8),
        "folds": stored(enlarge((-refined.folds).exp().cpu(), resolution)[None], np.uint8),
        "hair": stored(
            _shrunk(refined.growth.hair.cpu() / torch.tensor([1.0, *HAIR_METRES])[:, None, None], HAIR_SIZE), np.uint8
        ),
        "as_photographed": stored(_completed(photographed, diffuse, working, resolution), np.uint8),
    }
    return Detailed(images, _report(texel, shown, fine is not None, atlas.size, resolution, pores, seed, head))


def _shrunk(image: Tensor, size: int) -> Tensor:
    """[C, T, T] with at most `size` texels a side."""
    return image if image.shape[-1] <= size else functional.interpolate(image[None], size=size, mode="area")[0]


def content_seed(photo: Photo) -> int:
    """A number that depends on nothing but the photo's pixels."""
    pixels = (photo.srgb * 255 + 0.5).astype(np.uint8)
    return int.from_bytes(hashlib.sha256(pixels.tobytes()).digest()[:6], "big")


def age_of(head: FittedHead) -> float:
    """How old the fitted morphs are, from 0 (a young adult) to 1."""
    names = head.model.identity_names
    age = sum(share * float(head.identity[names.index(name)]) for name, share in AGED.items())
    return min(1.0, max(0.0, age))


def shown_wavelength(refined: Refined, photo: Photo, head: FittedHead, atlas: HeadAtlas) -> float:
    """The finest wavelength, in mm on the skin, at which the photo still shows texture and not only blur.

    Natural pictures have about the same contrast in every octave (Field 1987); where an octave of the skin falls far
    below the next coarser one, the photo was enlarged, out of focus or smoothed.
    """
    inner = (atlas.region("face") * (1 - atlas.features) * refined.observed.trust > 0.5).cpu()
    pixel = refined.observed.pixel.cpu()[inner]
    step = float(_pixels_a_texel(refined.observed.pixel.cpu(), inner))
    low, high = pixel.amin(0).floor().int().tolist(), pixel.amax(0).ceil().int().tolist()
    window = photo.srgb[max(low[1], 0) : high[1] + 1, max(low[0], 0) : high[0] + 1]
    luminance = np.log(np.ascontiguousarray(window.mean(-1)) + 0.02)
    skin = np.zeros(luminance.shape, np.float32)
    x, y = (pixel - pixel.new_tensor([max(low[0], 0), max(low[1], 0)])).int().clamp(min=0).T.numpy()
    skin[y.clip(max=skin.shape[0] - 1), x.clip(max=skin.shape[1] - 1)] = 1
    skin = cv2.morphologyEx(skin, cv2.MORPH_CLOSE, np.ones((2 * int(step) + 3,) * 2)) > 0
    blurred = [luminance] + [cv2.GaussianBlur(luminance, (0, 0), 0.5 * 2**octave) for octave in range(OCTAVES + 1)]
    contrast = [float(np.median(np.abs(blurred[i] - blurred[i + 1])[skin])) for i in range(1, OCTAVES + 1)]
    shown = [contrast[i] >= SHOWN * contrast[i + 1] for i in range(OCTAVES - 1)]
    finest = shown.index(True) if True in shown else OCTAVES - 1
    return 2.0 ** (finest + 1) * millimetres_per_pixel(head)


def millimetres_per_pixel(head: FittedHead) -> float:
    """Of the photo, at the distance of the eyes, on skin that faces the camera."""
    centres = head.model.eyes(head.vertices)[0]
    depth = float(head.camera.project(centres)[0, :, 2].mean())
    return depth / float(head.camera.focal[0]) * METRES_TO_MILLIMETRES


def _pixels_a_texel(pixel: Tensor, where: Tensor) -> Tensor:
    along = torch.gradient(pixel, dim=1)[0].norm(dim=-1)
    return along[where].median()


def _median_texel(sheet: Sheet, atlas: HeadAtlas) -> float:
    """mm that the side of the tile is long on the face, in the median."""
    side = (cell_area(sheet) * GRID**2).sqrt()
    face = functional.interpolate(atlas.region("face")[None, None].cpu(), size=side.shape, mode="area")[0, 0]
    return float(side[face > 0.5].median())


# ---- at the working size ----


@dataclass(frozen=True)
class Working:
    """What the earlier stages found, at the working size t, on the CPU.

    diffuse_srgb [3, t, t], with the synthesised unevenness of colour; specular, roughness [t, t];
    height [t, t] mm: what the reconstructed normals stand for; trust [t, t]: of the photos' own skin; own [t, t]: of
    the first photo's, the only one whose octaves are looked up again;
    pixel [t, t, 2]: where in the photo a texel lies; photographed [3, t, t]: the photo there, sRGB; seen [t, t]: how well the photo sees it, whatever it shows;
    gain [3, t, t]: what the photo is brighter than the albedo, carried on to where it sees nothing (of sRGB codes).
    """

    diffuse_srgb: Tensor
    specular: Tensor
    roughness: Tensor
    height: Tensor
    trust: Tensor
    own: Tensor
    pixel: Tensor
    photographed: Tensor
    seen: Tensor
    gain: Tensor


def _prepare(
    refined: Refined, head: FittedHead, atlas: HeadAtlas, sheet: Sheet, shown: float, pores: float, random
) -> Working:
    images, observed = refined.maps.images, refined.observed
    diffuse = images[Domain.DIFFUSE].cpu()
    photographed = linear_to_srgb(observed.linear.cpu())
    seen = observed.trust.cpu()
    gain = (photographed.clamp(min=0.02) / diffuse.clamp(min=0.02)).log().clamp(-1.5, 1.5)
    gain = fill_holes((blur_inside(gain, seen, GAIN_BAND))[None], (soften(seen, GAIN_BAND) > 0.3).float()[None, None])
    specular, roughness = (images[domain].mean(0).cpu() for domain in (Domain.SPECULAR, Domain.ROUGHNESS))
    if pores:
        diffuse, specular, roughness = _mottled(diffuse, specular, roughness, atlas, sheet, shown, pores, random)
    height = height_of(tangent_slopes(images[Domain.NORMAL], head, atlas).cpu(), sheet)
    texel = _median_texel(sheet, atlas) / atlas.size
    return Working(
        diffuse_srgb=diffuse,
        specular=specular,
        roughness=roughness,
        height=_smoothed(height, SMOOTHED * shown / texel),
        trust=refined.trust.cpu(),
        own=(refined.trust * refined.share).cpu(),
        pixel=observed.pixel.cpu(),
        photographed=photographed,
        seen=seen,
        gain=gain[0].exp(),
    )


def _mottled(diffuse, specular, roughness, atlas, sheet, shown, pores, random):
    """Skin is nowhere one colour: melanin and blood vary over millimetres, and so does the gloss.

    Only where neither the networks nor the photo have shown it, and only at wavelengths that they could not.
    """
    size, skin = atlas.size, atlas.region("skin").cpu() * pores
    spacings = [spacing for spacing in MOTTLE_SPACINGS if spacing < shown]
    if not spacings:
        return diffuse, specular, roughness
    melanin, blood = (_unevenness(sheet, size, spacings, random) * skin for _ in range(2))
    gloss = surface_noise(sheet, min(size, GRID), spacings[0], random)
    gloss = enlarge(gloss, size) * skin
    density = MELANIN_MOTTLE * melanin * _column(MELANIN) + BLOOD_MOTTLE * blood * _column(BLOOD)
    diffuse = diffuse * (-SRGB_SLOPE * density).exp()
    return diffuse, specular * (1 + GLOSS_MOTTLE * gloss), roughness * (1 - GLOSS_MOTTLE * gloss)


def _unevenness(sheet: Sheet, size: int, spacings: list[float], random) -> Tensor:
    """Noise [t, t] of variance 1 with bumps of several sizes, mm; coarse ones are made on the coarser grid."""
    parts = [surface_noise(sheet, size if spacing < 2 else min(size, GRID), spacing, random) for spacing in spacings]
    return sum(enlarge(part, size) for part in parts) * len(parts) ** -0.5


def _column(values) -> Tensor:
    return torch.tensor(values)[:, None, None]


def tangent_slopes(normal_image: Tensor, head: FittedHead, atlas: HeadAtlas) -> Tensor:
    """Head-frame normals [3, T, T] as an image -> slopes (x / z, y / z) [2, T, T] in the tangent space (+y up) of the
    fitted head's own normals.

    The mesh carries the form; the map keeps what is finer than the mesh, so that an error of the networks in the slow
    part cannot bend the head's shading.
    """
    model = head.model
    vertices = head.fine_neutral_vertices()
    frames = tangent_frames(vertices[None], model.faces, model.fine_uv, model.faces_uv)[0]
    of_skin = model.faces_of(*SKIN_PARTS)
    tangent = interpolate(frames, model.faces_uv[of_skin], atlas.fragments)[0]
    normal = atlas.normals_of(vertices)
    axes = (*tangent_axes(tangent, normal, dim=0), normal)
    wanted = functional.normalize(decode_normal(normal_image), dim=0)
    local = torch.stack([(wanted * axis).sum(0) for axis in axes])
    fine = local[:2] - blur_inside(local[:2], atlas.mask.float(), MESO_BAND)
    # Lids, lips and ears fold within a few texels: the views' pixels there show a neighbour's slope.
    folded = torch.stack([atlas.region(name) for name in ("eyelid", "lip", "ear")]).amax(0)
    return (fine * (1 - soften(folded, 0.006)) * (atlas.region("skin") > 0.99)).clamp(-STEEPEST_FORM, STEEPEST_FORM)


def height_of(slope: Tensor, sheet: Sheet) -> Tensor:
    """Slopes (x over z, y over z) [2, t, t] of tangent-space normals -> the height [t, t], mm, that has them.

    The least-squares integral by Fourier transform (Frankot & Chellappa 1988); what no height can have is dropped.
    """
    size = slope.shape[-1]
    along, skew, beside = _steps(sheet, size)
    growth_x = -slope[0] * along
    growth_y = slope[1] * beside + skew * growth_x
    fx = torch.fft.rfftfreq(size)[None] * 2 * torch.pi
    fy = torch.fft.fftfreq(size)[:, None] * 2 * torch.pi
    spectrum = -1j * (fx * torch.fft.rfft2(growth_x) + fy * torch.fft.rfft2(growth_y))
    power = fx**2 + fy**2
    power[0, 0] = 1.0  # the mean height is nothing to be known
    return torch.fft.irfft2(spectrum / power, s=(size, size))


def _smoothed(height: Tensor, sigma: float) -> Tensor:
    """Without the noise of single texels, which no photo shows and which would be enlarged to a grid."""
    return torch.from_numpy(cv2.GaussianBlur(height.numpy(), (0, 0), sigma)) if sigma > LEAST_BLUR else height


def normals_of(height: Tensor, sheet: Sheet) -> Tensor:
    """Height [T, T] mm -> tangent-space normals as an image [3, T, T] (+y up), through the stretch of the tile."""
    along, skew, beside = _steps(sheet, height.shape[-1])
    central = {"ksize": 1, "scale": 0.5, "borderType": cv2.BORDER_REPLICATE}
    growth_x = torch.from_numpy(cv2.Sobel(height.numpy(), cv2.CV_32F, 1, 0, **central))
    growth_y = torch.from_numpy(cv2.Sobel(height.numpy(), cv2.CV_32F, 0, 1, **central))
    slope_y = growth_y.sub_(skew.mul_(growth_x)).div_(beside).clamp_(-STEEPEST, STEEPEST)
    slope_x = growth_x.div_(along).neg_().clamp_(-STEEPEST, STEEPEST)
    length = (slope_x * slope_x).addcmul_(slope_y, slope_y).add_(1).rsqrt_()
    normal = torch.empty(3, *height.shape)
    for plane, part in zip(normal, (slope_x, slope_y), strict=False):
        torch.mul(part, length, out=plane)
    normal[2] = length
    for plane in normal:
        plane.copy_(encode_normal(plane))
    return normal


def _steps(sheet: Sheet, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """[T, T] each: mm of a step along x; how far a step along y goes along x, in such steps; mm of it beside x."""
    xx, xy, yy = metric(sheet)
    xx = xx.clamp(min=1.0)
    steps = (xx.sqrt() / size, xy / xx, ((yy - xy**2 / xx).clamp(min=1.0)).sqrt() / size)
    return tuple(torch.from_numpy(cv2.resize(step.numpy(), (size, size))) for step in steps)


# ---- at the full size ----


def photograph_tile(working: Working, photo: Photo, size: int) -> np.ndarray:
    """The photo on the head tile, [T, T, 3] uint8 sRGB, whatever it shows there.

    A photo that the working size holds is enlarged from it; a larger one is looked up again.
    """
    side = working.pixel.shape[0]
    held = float(_pixels_a_texel(working.pixel, working.seen > 0.5))
    if held <= 1:
        return cv2.resize(stored(working.photographed, np.uint8), (size, size), interpolation=cv2.INTER_CUBIC)
    pixels = (photo.srgb * 255 + 0.5).astype(np.uint8)
    x, y = (cv2.resize(np.ascontiguousarray(axis), (size, size)) for axis in working.pixel.permute(2, 0, 1).numpy())
    shrink = held * side / size
    if shrink > 1:
        pixels = cv2.resize(pixels, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
        x, y = x / shrink, y / shrink
    return cv2.remap(pixels, x - 0.5, y - 0.5, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _fine_octaves(photographed: np.ndarray, working: Working, size: int) -> Tensor | None:
    """[T, T] log-luminance of what the photo shows and the working size could not hold; None when there is none."""
    side = working.trust.shape[-1]
    if size <= side:
        return None
    luminance = np.log(photographed.mean(-1, dtype=np.float32) / 255 + 0.02) / SRGB_SLOPE
    held = cv2.resize(cv2.resize(luminance, (side, side), interpolation=cv2.INTER_AREA), (size, size))
    fine = torch.from_numpy(luminance - held).clamp_(-PHOTO_CONTRAST, PHOTO_CONTRAST)
    return fine.mul_(enlarge(working.own, size))


def _above(relief: Relief, shown: float, texel: float, trust: Tensor, pores: float) -> tuple[Tensor, Tensor]:
    """Height (mm) and cavity [T, T] without the wavelengths that are known already: from the photo where it is trusted
    (trust [t, t]), from the networks elsewhere."""
    cavity = (relief.pores + LINES_SHARE * relief.lines).div_(DEEP)
    finer = shown < MUCH_FINER * NETWORK_WAVELENGTH
    trust = enlarge(trust, cavity.shape[-1]) if finer else trust
    parts = []
    for image in (relief.height, cavity):
        known = _slow(image, NETWORK_WAVELENGTH / texel)
        if finer:
            known.lerp_(_slow(image, shown / texel), trust)
        parts.append(torch.sub(image, known, out=known).mul_(pores))
    return parts[0], parts[1]


def _slow(image: Tensor, wavelength: float) -> Tensor:
    """What of an image [T, T] is slower than a wavelength in texels."""
    sigma = WAVELENGTH_SIGMA * wavelength
    shrink = max(1, int(sigma / 2))
    side = image.shape[-1]
    small = image.numpy()
    if shrink > 1:
        small = cv2.resize(small, (side // shrink, side // shrink), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / shrink)
    return torch.from_numpy(cv2.resize(small, (side, side)))


def _diffuse(working: Working, fine: Tensor | None, cavity: Tensor, size: int) -> Tensor:
    """[3, T, T] sRGB."""
    channels = []
    for code, density in zip(working.diffuse_srgb, CAVITY_DENSITY, strict=True):
        change = cavity * -density
        if fine is not None:
            change += fine
        channels.append(enlarge(code, size).mul_(change.mul_(SRGB_SLOPE).exp_()))
    return torch.stack(channels)


def _grey(image: Tensor, cavity: Tensor, added: float, relative: float, size: int) -> Tensor:
    """[1, T, T] an image [t, t] enlarged; `added`, and a share `relative` of it, more in a cavity of 1."""
    large = enlarge(image, size)
    if relative:
        large.mul_((cavity * relative).add_(1))
    return large.add_(cavity, alpha=added)[None]


def _completed(photographed: np.ndarray, diffuse: Tensor, working: Working, size: int) -> Tensor:
    """[3, T, T] sRGB: the photo where it sees the head, elsewhere the diffuse map as bright as the photo beside it."""
    seen = enlarge(working.seen, size).clamp_(0, 1)
    channels = []
    for index in range(3):
        shown = torch.from_numpy(photographed[..., index].astype(np.float32) / 255)
        channels.append(torch.lerp(diffuse[index] * enlarge(working.gain[index], size), shown, seen))
    return torch.stack(channels)


def stored(image: Tensor, dtype: type) -> np.ndarray:
    """[C, T, T] in [0, 1] -> [T, T, C] in whole numbers."""
    top, depth = np.iinfo(dtype).max, cv2.CV_8U if dtype is np.uint8 else cv2.CV_16U
    planes = [cv2.multiply(plane, 1.0, scale=top, dtype=depth) for plane in image.numpy(force=True)]  # rounds and clips
    return cv2.merge(planes) if len(planes) > 1 else planes[0][..., None]


# ---- the report ----


def _report(texel, shown, fine: bool, side: int, size: int, pores: float, seed: int, head: FittedHead) -> dict:
    """What was reconstructed and what was synthesised, by wavelength in mm on the face."""
    held = 2 * texel * size / side  # the finest wavelength that the working size holds
    finest = 2 * texel
    photo = max(shown, finest if fine else held)
    added = [round(finest, 3), round(photo, 3)] if pores and finest < photo else None
    by_networks = [round(max(NETWORK_WAVELENGTH, held), 3), None]
    return {
        "size": size,
        "enlarged_from": side if size > side else None,
        "texel_mm": round(texel, 4),
        "seed": seed,
        "pores": pores,
        "age": round(age_of(head), 3),
        "photo_shows_mm": round(shown, 3),
        "wavelengths_mm": {
            "diffuse": {"reconstructed_from_photo": [round(photo, 3), None], "synthesised": added},
            "specular": {"reconstructed_by_networks": by_networks, "synthesised": added},
            "roughness": {"reconstructed_by_networks": by_networks, "synthesised": added},
            "normal": {"reconstructed_from_photo": [round(photo, 3), None], "synthesised": added},
            "displacement": {"reconstructed_from_photo": [round(photo, 3), None], "synthesised": added},
            "folds": {"reconstructed_from_photo": [round(held, 3), None], "synthesised": None},
            "as_photographed": {"reconstructed_from_photo": [round(max(shown, finest), 3), None], "synthesised": None},
        },
        "displacement": {"millimetres_per_unit": MILLIMETRES_PER_UNIT, "mid_level": DISPLACEMENT_MIDDLE},
    }
