"""Where it breaks: one thing at a time is made worse, on photographs by our own renderer whose truth is known."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from ..conventions import Domain
from ..geometry.camera import Camera, look_at_head
from ..head.irises import TYPICAL_COLOUR, TYPICAL_RADIUS, Irises
from ..head.model import HeadModel
from ..relight import Light, render_head
from . import figures
from .context import Context
from .estimate import OURS, Estimate
from .metrics import ita_degrees, psnr
from .report import Report, Table, mean
from .validation_set import Subject

FACE_CENTRE = (0.0, -0.02, -0.07)
SIDE, FOCAL, DISTANCE = 640, 4.4, 1.3  # pixels; sides of the image; metres
KEY, AMBIENT, LOBE = 1.4, 0.75, 6  # radiance of the key light and of the surroundings, sharpness of the key
FRONT = (0.3, 0.4, 1.0)
SHOWN_SIDE = 224  # pixels of a photograph on the sheet


@dataclass(frozen=True)
class Case:
    """One way to photograph a head. change: what happens to the finished picture, uint8 RGB -> uint8 RGB."""

    factor: str
    level: str
    yaw: float = 0.0  # degrees, positive: the camera stands on the subject's left
    light: tuple[float, float, float] = FRONT
    ambient: float = AMBIENT
    expression: dict[str, float] = field(default_factory=dict)
    change: Callable[[np.ndarray], np.ndarray] = lambda picture: picture
    quick: bool = True


def smaller(share: float) -> Callable[[np.ndarray], np.ndarray]:
    """Resolution: the whole picture at a share of its side."""
    return lambda picture: cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)


def blurred(pixels: float) -> Callable[[np.ndarray], np.ndarray]:
    """Defocus as a Gaussian of that many pixels."""
    return lambda picture: cv2.GaussianBlur(picture, (0, 0), pixels)


def compressed(quality: int) -> Callable[[np.ndarray], np.ndarray]:
    """Through a JPEG of that quality."""

    def store(picture: np.ndarray) -> np.ndarray:
        held = io.BytesIO()
        Image.fromarray(picture).save(held, "JPEG", quality=quality)
        return np.asarray(Image.open(held))

    return store


def covered(top: float, left: float, bottom: float, right: float) -> Callable[[np.ndarray], np.ndarray]:
    """A dark cloth over a rectangle given in shares of the picture."""

    def hide(picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        hidden = picture.copy()
        hidden[round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = (52, 48, 60)
        return hidden

    return hide


SMILE = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8, "cheekSquintLeft": 0.4, "cheekSquintRight": 0.4}
FROWN = {"browDownLeft": 0.8, "browDownRight": 0.8, "mouthFrownLeft": 0.6, "mouthFrownRight": 0.6}
CASES = (
    Case("plain", "front, key light (beside the camera)"),
    Case("yaw", "15 degrees", yaw=15, quick=False),
    Case("yaw", "30 degrees", yaw=30),
    Case("yaw", "45 degrees", yaw=45),
    Case("yaw", "60 degrees", yaw=60, quick=False),
    Case("resolution", "half (face of about 180 px)", change=smaller(0.5), quick=False),
    Case("resolution", "a quarter (face of about 90 px)", change=smaller(0.25)),
    Case("blur", "2 px", change=blurred(2), quick=False),
    Case("blur", "5 px", change=blurred(5)),
    Case("JPEG", "quality 50", change=compressed(50), quick=False),
    Case("JPEG", "quality 15", change=compressed(15)),
    Case("occlusion", "mouth and chin", change=covered(0.58, 0.25, 0.85, 0.75)),
    Case("occlusion", "half of the face", change=covered(0.2, 0.5, 0.85, 0.85)),
    Case("light", "from the side", light=(1.0, 0.2, 0.25)),
    Case("light", "from above", light=(0.0, 1.0, 0.25), quick=False),
    Case("light", "from below", light=(0.0, -1.0, 0.4), quick=False),
    Case("light", "from the side, dark room", light=(1.0, 0.2, 0.25), ambient=0.1),
    Case("expression", "smile", expression=SMILE),
    Case("expression", "frown", expression=FROWN, quick=False),
    Case("expression", "open mouth", expression={"jawOpen": 0.5}),
)  # fmt: skip


def evaluate_robustness(context: Context) -> Report:
    """ID2R alone, over the cases, on one subject of each of some types."""
    subjects = _subjects(context)
    cases = [case for case in CASES if case.quick or not context.quick]
    folder = context.out / "robustness_photos"
    folder.mkdir(parents=True, exist_ok=True)
    photos = {}
    for subject in subjects:
        for number, case in enumerate(cases):
            name = f"robust-{subject.name}-{case.factor}-{number}"
            photos[name] = (subject, case, photograph(context.estimator.model, subject, case, folder / f"{name}.png"))
    found = context.estimator.all([(name, file) for name, (_, _, file) in photos.items()], context.progress, (OURS,))
    rows = [_row(context, case, subjects, photos, found) for case in cases]
    size = context.estimator.size
    of_first = list(photos.values())[: len(cases)]
    pictures = [(f"{case.factor}: {case.level.split(' (')[0]}", _read(file)) for _, case, file in of_first]
    rows_of_five = [pictures[at : at + 5] for at in range(0, len(pictures), 5)]
    figures.sheet(context.out / "robustness_photos.jpg", rows_of_five, SHOWN_SIDE)
    columns = (("what", None), ("how much", None), ("refused", None), ("PSNR dB", 2), ("ITA error", 2), ("ID", 3))
    note = (
        f"ID by {context.judge_name}. 'Refused': photographs that ID2R turned away with a reason. The heads are bald, "
        "the renderer is ours (Lambertian, self-shadowed): changes between rows count, not levels."
    )
    return Report(
        "robustness",
        "Robustness",
        f"{len(photos)} photographs by our own renderer of {len(subjects)} unseen virtual people, maps of {size}.",
        [Table("One thing made worse at a time", columns, rows, note)],
        figures=["robustness_photos.jpg"],
        failures={name: estimate.failed for name, estimate in found.items() if estimate.failed},
    )


def _subjects(context: Context) -> list[Subject]:
    """One subject of a light, a middle and a dark type; the middle one in a quick run. Any one where there is none."""
    wanted = ("III",) if context.quick else ("I", "III", "V")
    subjects = context.validation.subjects
    first = {subject.skin_type: subject for subject in reversed(subjects)}
    return [first[kind] for kind in wanted if kind in first] or [subjects[0]]


def photograph(model: HeadModel, subject: Subject, case: Case, file: Path) -> Path:
    """Write the picture of a case unless it is there; returns its file."""
    if file.is_file():
        return file
    weights = torch.tensor([case.expression.get(name, 0.0) for name in model.expression_names])
    vertices = subject.vertices() + (weights @ model.expression.flatten(1).cpu()).unflatten(0, (-1, 3))
    diffuse = torch.from_numpy(subject.map(Domain.DIFFUSE, 1024)).permute(2, 0, 1)
    irises = Irises(torch.full((2,), TYPICAL_RADIUS), torch.tensor(TYPICAL_COLOUR))
    device = model.neutral.device
    image = render_head(
        model,
        model.subdivide(vertices[None].to(device))[0],
        diffuse.to(device),
        studio_light(model, case.light, case.ambient),
        camera_at(case.yaw).to(device),
        irises,
    )
    pixels = (image.permute(1, 2, 0).numpy(force=True) * 255 + 0.5).astype(np.uint8)
    figures.save_picture(file, case.change(pixels))
    return file


def camera_at(yaw_degrees: float) -> Camera:
    """A portrait camera that sees the whole head; a batch of one."""
    view = look_at_head(torch.tensor([math.radians(yaw_degrees)]), DISTANCE, torch.tensor(FACE_CENTRE))
    return Camera(view, torch.tensor([FOCAL * SIDE]), torch.full((1, 2), SIDE / 2), SIDE, SIDE)


def studio_light(model: HeadModel, towards: Sequence[float], ambient: float) -> Light:
    """White light: a soft key from one direction over even surroundings, exposed for the face."""
    direction = functional.normalize(model.light_directions.new_tensor(towards), dim=0)
    lobe = (model.light_directions @ direction).clamp(min=0) ** LOBE
    lobe = lobe / lobe.mean()
    return Light(model.light_directions, (ambient + KEY * lobe)[:, None].expand(-1, 3).clone())


def _row(context: Context, case: Case, subjects, photos: dict, found: dict[str, Estimate]) -> list:
    size = context.estimator.size
    done = [(photos[name][0], found[name]) for name in photos if photos[name][1] is case and not found[name].failed]
    triples = [(e.diffuse(OURS, size), s.map(Domain.DIFFUSE, size), s.skin(size)) for s, e in done]
    tone = [abs(ita_degrees(image, mask) - ita_degrees(truth, mask)) for image, truth, mask in triples]
    return [
        case.factor,
        case.level,
        f"{len(subjects) - len(done)} of {len(subjects)}",
        mean([psnr(*three) for three in triples]),
        mean(tone),
        mean([estimate.record["identity"][OURS] for _, estimate in done]),
    ]


def _read(file: Path) -> np.ndarray:
    return cv2.imread(str(file))[..., ::-1] / np.float32(255)
