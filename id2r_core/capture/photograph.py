"""What makes a photograph of a rendered head: pose, clothes, background, exposure, white balance, sensor and JPEG."""

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
from .render import Eyes
from .subjects import Subjects

YAW_DEGREES, PITCH_DEGREES, ROLL_DEGREES = 14.0, 7.0, 5.0  # standard deviations, cut at 2.5 of them
PORTRAIT_YAW_DEGREES = 22.0
FRAMING, RAISED = 0.66, 0.03  # size of the aligned crop in a portrait; how far up its middle moves, of the side
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
ALIGNMENT_JITTER = 0.012  # of the image side: what a landmark detector errs
# Action -> (how often it is on, its strength at most); most people smile at a camera.
PHOTO_EXPRESSIONS = {
    "mouthSmile": (0.6, 1.0), "browInnerUp": (0.2, 0.5), "browDown": (0.2, 0.5), "eyeSquint": (0.25, 0.5),
    "cheekSquint": (0.3, 0.5), "mouthFrown": (0.12, 0.4), "jawOpen": (0.3, 0.22), "mouthPress": (0.15, 0.4),
    "browOuterUp": (0.2, 0.5), "mouthStretch": (0.15, 0.3), "noseSneer": (0.15, 0.3), "eyeWide": (0.15, 0.4),
    "mouthPucker": (0.1, 0.3), "eyeBlink": (0.2, 0.35), "mouthUpperUp": (0.35, 0.6), "mouthLowerDown": (0.3, 0.5),
}  # fmt: skip
SCLERA_LINEAR = (0.57, 0.51, 0.46)
THROAT = (0.0, -0.135, -0.03)
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


def draw_cameras(dice: Dice, head: HeadModel, fine: Tensor, size: int, yaw_degrees: float = YAW_DEGREES) -> Camera:
    """A camera a head [B, Nf, 3] from about the front, aligned by the five points with a detector's error."""
    count, device = len(fine), fine.device
    yaw, pitch, roll = (dice.normal(math.radians(angle)) for angle in (yaw_degrees, PITCH_DEGREES, ROLL_DEGREES))
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


def draw_portrait_cameras(dice: Dice, head: HeadModel, fine: Tensor, size: int) -> Camera:
    """The same with room for head and shoulders, of heads that are turned further."""
    return stand_back(draw_cameras(dice, head, fine, size, PORTRAIT_YAW_DEGREES))


def stand_back(camera: Camera) -> Camera:
    """The camera of an aligned crop widened to head and shoulders' room."""
    size = camera.width
    middle = size / 2
    shift = [middle - FRAMING * middle, middle - FRAMING * middle - RAISED * size]
    wider = [[FRAMING, 0.0, shift[0]], [0.0, FRAMING, shift[1]]]
    return camera.warped(torch.tensor(wider, device=camera.focal.device), size, size)


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
