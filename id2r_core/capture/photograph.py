"""What makes a photograph of a rendered head: pose, hair, background, exposure, white balance, sensor and JPEG."""

import math
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..conventions import linear_to_srgb
from ..facemesh import FIVE_POINTS
from ..geometry.camera import Camera, arcface_points, fit_similarity, look_at_head
from ..head.model import HeadModel
from .dice import Dice
from .light import LUMINANCE
from .render import Eyes, Hair, RenderMesh
from .subjects import Subjects

YAW_DEGREES, PITCH_DEGREES, ROLL_DEGREES = 14.0, 7.0, 5.0  # standard deviations, cut at 2.5 of them
DISTANCES = (0.45, 2.5)  # metres
GREY_CARD = 0.2
EXPOSURE = 0.26  # where cameras put what they meter, linear; portraits are bright
# How photographs are exposed: how often, how far the image itself decides (from, to) and not the light that falls in, and
# what the surroundings weigh in it if the face weighs 1. For the light that falls in, as studios with a fixed flash do;
# for the face; for the scene, in which a dark face before a bright wall stays dark.
METERS = ((0.30, (0.0, 0.1), 0.15), (0.35, (0.2, 0.6), 0.15), (0.35, (0.4, 1.0), 1.0))
BRIGHTEST_METERED = 4.0  # in units of what a white card would have: what is brighter is clipped and counts no more
STOPS = 0.33  # standard deviation of the exposure about what the meter says
FACE_LEVELS = (0.03, 0.55)  # linear means of faces in photographs that are kept
GLASSES_SHARE = 0.15
FRINGE_SHARE = 0.3
ALIGNMENT_JITTER = 0.012  # of the image side: what a landmark detector errs
# Action -> (how often it is on, its strength at most); most people smile at a camera.
PHOTO_EXPRESSIONS = {
    "mouthSmile": (0.6, 1.0), "browInnerUp": (0.2, 0.5), "browDown": (0.2, 0.5), "eyeSquint": (0.25, 0.5),
    "cheekSquint": (0.3, 0.5), "mouthFrown": (0.12, 0.4), "jawOpen": (0.3, 0.22), "mouthPress": (0.15, 0.4),
    "browOuterUp": (0.2, 0.5), "mouthStretch": (0.15, 0.3), "noseSneer": (0.15, 0.3), "eyeWide": (0.15, 0.4),
    "mouthPucker": (0.1, 0.3), "eyeBlink": (0.2, 0.35), "mouthUpperUp": (0.35, 0.6), "mouthLowerDown": (0.3, 0.5),
}  # fmt: skip
# Linear albedos of hair: black, dark brown, brown, blond, red, grey, white.
HAIR_LINEAR = (
    (0.008, 0.007, 0.006), (0.022, 0.014, 0.010), (0.065, 0.036, 0.020), (0.26, 0.165, 0.08), (0.15, 0.05, 0.02),
    (0.17, 0.165, 0.16), (0.45, 0.44, 0.42),
)  # fmt: skip
HAIRLINE_Z = (-0.20, -0.085, -0.066, -0.055, -0.035, -0.010, 0.020, 0.050)
HAIRLINE_Y = (-0.070, -0.060, -0.020, 0.000, 0.030, 0.052, 0.066, 0.072)
SCLERA_LINEAR = (0.57, 0.51, 0.46)
THROAT = (0.0, -0.135, -0.03)
BARE, SHORT, LONG = range(3)
STYLES_FEMALE, STYLES_MALE = (0.04, 0.26, 0.7), (0.22, 0.73, 0.05)
THICKNESS = ((0.0, 1e-6), (0.004, 0.022), (0.012, 0.035))  # metres, by style
IRIS_LINEAR = ((0.045, 0.022, 0.010), (0.09, 0.05, 0.02), (0.10, 0.10, 0.045), (0.10, 0.17, 0.24), (0.18, 0.21, 0.22))


def iris_colours(subjects: Subjects) -> Tensor:
    """Linear iris albedo [S, 3]; light eyes only where the skin is light."""
    palette = subjects.tone_linear.new_tensor(IRIS_LINEAR)
    lightest = 1 + (len(palette) - 1.01) * ((subjects.ita - 5) / 40).clamp(0, 1)
    chosen = (subjects.number("iris") * lightest).long()
    return palette[chosen] * subjects.between("iris_light", 0.6, 1.4)[:, None]


def eye_colours(subjects: Subjects) -> Eyes:
    """Eyes of subjects. Eye whites differ, and get darker and yellower with age (Russell et al., "Sclera color changes
    with age and is a cue for perceiving age, health, and beauty", 2014) and with the melanin of the skin."""
    dark, age = ((28 - subjects.ita) / 80).clamp(0, 1), subjects.number("age")
    own = (10 * subjects.number("iris_light")).frac()  # a number that nothing else is made from
    level = (0.9 + 0.2 * own) * (1 - 0.08 * age - 0.12 * dark)
    yellow = 0.10 * age + 0.08 * dark
    tint = torch.stack([torch.ones_like(level), 1 - 0.25 * yellow, 1 - yellow], dim=1)
    return Eyes(iris_colours(subjects), level[:, None] * tint * subjects.tone_linear.new_tensor(SCLERA_LINEAR))


def draw_hair(dice: Dice, mesh: RenderMesh, fine: Tensor, subjects: Subjects) -> Hair:
    """Hair for each subject: none, short, or long down the sides and the back; wavy at its edge.

    It is the scalp itself, swollen smoothly: cover decides what looks like hair, thickness only the silhouette.
    """
    masks, covers, thicknesses = mesh.region_masks, [], []
    for random, place, number in zip(
        dice, fine[:, : mesh.vertex_count], subjects.number("female").tolist(), strict=True
    ):
        style = random.choice(3, p=STYLES_FEMALE if number < 0.5 else STYLES_MALE)
        frequencies = place.new_tensor(random.normal(0, 60, (3, 3)))
        waves = torch.sin(place @ frequencies + place.new_tensor(random.uniform(0, 6, 3))).sum(1)
        fringe = random.uniform(0.01, 0.035) if style == LONG and random.random() < FRINGE_SHARE else 0.0
        above = place[:, 1] - _hairline(place[:, 2], random, fringe) + 0.002 * waves
        if style == LONG:
            # All that lies behind a slanted plane, ears and the back of the neck too.
            behind = random.uniform(-0.055, -0.03) - place[:, 2] + 0.3 * (place[:, 0].abs() - 0.06) + 0.002 * waves
            above = torch.maximum(above, behind)
        else:
            above = above - 0.1 * masks["ear"]
        above = above if style != BARE else above - 1.0
        covers.append((above / 0.006 + 0.5).clamp(0, 1))
        rise = (above / 0.03).clamp(0, 1)
        thicknesses.append(rise * rise * (3 - 2 * rise) * random.uniform(*THICKNESS[style]))
    chosen = torch.where(_is_grey(subjects), 5 + 1.9 * subjects.number("hair_colour"), _common_colour(subjects))
    palette = fine.new_tensor(HAIR_LINEAR)
    linear = palette[chosen.long().clamp(max=len(palette) - 1)] * subjects.between("hair_light", 0.6, 1.5)[:, None]
    return Hair(torch.stack(covers)[..., None], torch.stack(thicknesses)[..., None], linear)


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


def draw_garment(dice: Dice, cameras: Camera, radiance: Tensor, irradiance: Tensor) -> tuple[Tensor, Tensor]:
    """Clothes over the shoulders in front of radiance [B, 3, H, W]; returns it and where they are, [B, 1, H, W] bool.

    irradiance [B, 3] (divided by pi): what a surface facing the camera gets.
    """
    device = radiance.device
    size = radiance.shape[-1]
    throat = cameras.project(torch.tensor([THROAT], device=device))[:, 0]  # [B, 3]
    metre = (cameras.focal / throat[:, 2])[:, None, None]  # pixels
    y, x = torch.meshgrid(torch.arange(size, device=device), torch.arange(size, device=device), indexing="ij")
    beside = (x + 0.5 - throat[:, 0, None, None]).abs() / metre
    below = (y + 0.5 - throat[:, 1, None, None]) / metre
    lift, opening, fall = (radiance.new_tensor(column)[:, None, None] for column in dice.uniform(0, 1, 3).T)
    # From the collar's opening the cloth rises to the side of the neck, then falls away over the shoulder.
    collar = 0.035 - 0.02 * lift - (0.1 + 0.5 * opening) * beside.clamp(max=0.055)
    shoulder = (0.25 + 0.35 * fall) * (beside - 0.055).clamp(min=0)
    is_cloth = (below > collar + shoulder)[:, None]
    albedo = radiance.new_tensor(np.exp(dice.uniform(-3.5, -0.2, 1)) * dice.uniform(0.6, 1.0, 3))
    folds = (1 + 0.15 * torch.sin(beside * 90 + below * 40))[:, None]
    cloth = (albedo * irradiance)[..., None, None] * folds * 0.7
    return torch.where(is_cloth, cloth, radiance), is_cloth


def draw_glasses(
    dice: Dice, head: HeadModel, cameras: Camera, fine: Tensor, radiance: Tensor, irradiance: Tensor
) -> tuple[Tensor, Tensor]:
    """Glasses on some heads: two rims and a bridge of one thickness in front of the eyes; same returns as garments."""
    device, size = radiance.device, radiance.shape[-1]
    y, x = torch.meshgrid(
        torch.arange(size, device=device) + 0.5, torch.arange(size, device=device) + 0.5, indexing="ij"
    )
    # The eyes and a point one centimetre beside each give place, size and tilt of the rims in the image.
    eyes = head.landmarks(fine)[:, list(FIVE_POINTS[:2])] + fine.new_tensor([0.0, -0.004, 0.008])
    right, left = cameras.project(eyes)[..., :2].unbind(1)  # [B, 2]
    across = (left - right) / 2
    forms = radiance.new_tensor(dice.uniform(0, 1, 5))
    is_frame = torch.zeros(len(fine), 1, size, size, dtype=torch.bool, device=device)
    for row in range(len(fine)):
        wears, width, height, edge, square = forms[row].tolist()
        if wears > GLASSES_SHARE:
            continue
        unit = across[row].norm()  # pixels of half the eye distance, about 30 mm
        u = ((x - right[row, 0]) * across[row, 0] + (y - right[row, 1]) * across[row, 1]) / unit**2
        v = ((y - right[row, 1]) * across[row, 0] - (x - right[row, 0]) * across[row, 1]) / unit**2
        from_eye = torch.minimum(u.abs(), (u - 2).abs()) / (0.68 + 0.16 * width)
        power = 2 + 3 * square
        rim = (from_eye**power + (v.abs() / (0.45 + 0.2 * height)) ** power) ** (1 / power)
        thick = 0.02 + 0.1 * edge**2
        between = ((u - 1).abs() < 0.4) & ((v + 0.15).abs() < thick / 2 + 0.015)
        is_frame[row, 0] = ((rim - 1).abs() < thick) | (between & (rim > 1))
    albedo = radiance.new_tensor(np.exp(dice.uniform(-4.5, -1.0, 1)) * dice.uniform(0.7, 1.0, 3))
    return torch.where(is_frame, (albedo * irradiance)[..., None, None], radiance), is_frame


def _is_grey(subjects: Subjects) -> Tensor:
    """[S] bool, likelier with age."""
    return subjects.number("seed") < (subjects.number("age") - 0.5) * 1.6


def _common_colour(subjects: Subjects) -> Tensor:
    """[S] places in HAIR_LINEAR: dark hair for everybody, fair and red only with light skin."""
    return subjects.number("hair_colour") * torch.where(subjects.ita > 25, 5.0, 1.6)


def no_hair(count: int, mesh: RenderMesh) -> Hair:
    """`count` bare heads."""
    nothing = mesh.openness.new_zeros(count, mesh.vertex_count, 1)
    return Hair(nothing, nothing, nothing[:, :1, :].expand(-1, -1, 3)[:, 0])


def draw_cameras(dice: Dice, head: HeadModel, fine: Tensor, size: int) -> Camera:
    """A camera a head [B, Nf, 3] from about the front, aligned by the five points with a detector's error."""
    count, device = len(fine), fine.device
    yaw, pitch, roll = (dice.normal(math.radians(angle)) for angle in (YAW_DEGREES, PITCH_DEGREES, ROLL_DEGREES))
    distances = np.exp(dice.uniform(*np.log(DISTANCES)))
    views = [
        _turned(look_at_head(torch.tensor([y]), float(d), torch.zeros(3)), p, r, float(d))
        for y, p, r, d in zip(yaw, pitch, roll, distances, strict=True)
    ]
    ones = torch.ones(count, device=device)
    cameras = Camera(torch.cat(views).to(device), ones, torch.zeros(count, 2, device=device), size, size)
    five = head.landmarks(fine)[:, list(FIVE_POINTS)]
    seen = cameras.project(five)[..., :2]
    error = torch.from_numpy(dice.normal(ALIGNMENT_JITTER * size, 5, 2)).to(device)
    target = arcface_points(size, device) + error
    return cameras.warped(fit_similarity(target, seen), size, size)


def _turned(view_from_world: Tensor, pitch: float, roll: float, distance: float) -> Tensor:
    """Move a view about the point it looks at, `distance` ahead: first nod, then tilt. [1, 4, 4]."""
    cos_p, sin_p, cos_r, sin_r = math.cos(pitch), math.sin(pitch), math.cos(roll), math.sin(roll)
    nod = torch.tensor([[1, 0, 0], [0, cos_p, -sin_p], [0, sin_p, cos_p]], dtype=torch.float32)
    tilt = torch.tensor([[cos_r, -sin_r, 0], [sin_r, cos_r, 0], [0, 0, 1]], dtype=torch.float32)
    moved = view_from_world.clone()
    ahead = torch.tensor([0.0, 0.0, distance])
    turn = tilt @ nod
    moved[:, :3, :3] = turn @ view_from_world[:, :3, :3]
    moved[:, :3, 3] = (view_from_world[:, :3, 3] - ahead) @ turn.T + ahead
    return moved


def draw_backdrop(dice: Dice, scenery: Tensor, irradiance: Tensor) -> Tensor:
    """What lies behind the heads, radiance [B, 3, H, W]: the scenery out of focus, or a plain wall in the same light.

    scenery [B, 3, H, W]; irradiance [B, 3] (divided by pi) that a wall facing the camera gets.
    """
    rows = []
    size = scenery.shape[-1]
    for random, view, light in zip(dice, scenery, irradiance, strict=True):
        if random.random() < 0.5:
            steps = int(size / random.uniform(6, 24))
            blurred = functional.interpolate(view[None], size=(steps, steps), mode="area")
            wide = functional.interpolate(blurred, size=(size, size), mode="bicubic", align_corners=False)
            rows.append(wide[0].clamp(min=0))
            continue
        albedo = view.new_tensor(np.exp(random.uniform(-3.0, -0.1)) * random.uniform(0.6, 1.0, 3))
        corners = view.new_tensor(np.exp(random.normal(0, 0.25, (1, 1, 2, 2))))
        fall = functional.interpolate(corners, size=(size, size), mode="bilinear", align_corners=True)[0]
        rows.append((albedo * light)[:, None, None] * fall)
    return torch.stack(rows)


def expose(dice: Dice, radiance: Tensor, skin: Tensor, incident: Tensor) -> Tensor:
    """Camera's linear RGB [B, 3, H, W] of scene radiance: metered exposure and an imperfect white balance.

    skin: [B, 1, H, W] bool; incident: [B, 3] radiance of a white surface. The level of the face is evidence of its
    albedo, as in real photographs, but not proof; METERS says why.
    """
    weights = radiance.new_tensor(LUMINANCE)
    luminance = torch.einsum("c,bchw->bhw", weights, radiance)
    white = (incident @ weights).clamp(min=1e-5)
    face = skin[:, 0].float()
    kinds = [METERS[one.choice(len(METERS), p=[share for share, _, _ in METERS])] for one in dice]
    low, high = (radiance.new_tensor([kind[1][end] for kind in kinds]) for end in range(2))
    by_image = low + (high - low) * radiance.new_tensor(dice.uniform(0, 1))
    around = radiance.new_tensor([kind[2] for kind in kinds])[:, None, None]
    metered = _mean(luminance.minimum(BRIGHTEST_METERED * white[:, None, None]), around + (1 - around) * face)
    level = torch.lerp((GREY_CARD * white).log(), metered.clamp(min=1e-5).log(), by_image)
    stops = radiance.new_tensor(dice.normal(STOPS)) * math.log(2)
    gain = EXPOSURE * (stops - level).exp()
    lowest, highest = (limit / _mean(luminance, face).clamp(min=1e-5) for limit in FACE_LEVELS)
    gain = gain.clamp(lowest, highest)
    grey = incident / white[:, None]
    balance = grey.clamp(0.2, 5.0) ** -radiance.new_tensor(dice.uniform(0.7, 1.0, 1))
    tint = radiance.new_tensor(np.exp(dice.normal(0.035, 3) + np.float32((0.03, 0.0, -0.04))))
    return radiance * (gain[:, None] * balance * tint)[..., None, None]


def _mean(image: Tensor, weight: Tensor) -> Tensor:
    """[B] weighted means of [B, H, W]."""
    return (image * weight).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1e-6)


def develop(dice: Dice, linear: Tensor) -> Tensor:
    """Linear camera RGB [B, 3, H, W] to the sRGB of a stored file: shoulder, contrast, blur, noise, 8-bit JPEG."""
    images = []
    for random, image in zip(dice, linear, strict=True):
        shoulder = random.uniform(0.6, 0.99)
        over = (image - shoulder).clamp(min=0) / (1 - shoulder)
        srgb = linear_to_srgb(image.clamp(max=shoulder) + (1 - shoulder) * torch.tanh(over)).clamp(0, 1)
        srgb = torch.lerp(srgb, srgb * srgb * (3 - 2 * srgb), random.uniform(0.0, 0.5))
        grey = srgb.mean(0, keepdim=True)
        images.append((grey + random.uniform(0.95, 1.3) * (srgb - grey)).clamp(0, 1))
    pixels = torch.stack(images).permute(0, 2, 3, 1).cpu().numpy()
    with ThreadPoolExecutor(torch.get_num_threads()) as workers:  # beside a GPU this would else take most of the time
        stored = np.stack(list(workers.map(_store, dice, pixels)))
    return torch.from_numpy(stored).to(linear.device).permute(0, 3, 1, 2)


def _store(random: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """One image [H, W, 3] through lens blur, resizing, noise and JPEG; float32 as well."""
    size = pixels.shape[0]
    if random.random() < 0.35:
        small = max(48, int(size * random.uniform(0.45, 0.95)))
        pixels = cv2.resize(cv2.resize(pixels, (small, small), interpolation=cv2.INTER_AREA), (size, size))
    blur = random.uniform(0.35, 0.9) * size / 128 if size > 128 else random.uniform(0.3, 0.65)
    pixels = cv2.GaussianBlur(pixels, (0, 0), blur)
    noise = random.standard_normal(pixels.shape, dtype=np.float32) * (random.uniform(0.0, 0.02) * random.random())
    pixels = ((pixels + noise).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(60, 99))]
    stored = cv2.imdecode(cv2.imencode(".jpg", pixels[..., ::-1], quality)[1], cv2.IMREAD_COLOR)[..., ::-1]
    return stored.astype(np.float32) / 255.0
