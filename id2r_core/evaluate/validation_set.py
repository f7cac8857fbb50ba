"""Reading what `capture validation` writes: photographs of virtual people whose true maps are known."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ..capture.light import sky_pixels, sky_uv
from ..capture.validation import from_blender_panorama
from ..conventions import Domain
from ..errors import Id2rError
from ..geometry.mesh import vertex_normals
from ..head.atlas import HeadAtlas
from ..head.model import HeadModel
from .metrics import SKIN_TYPES

INDEX = "validation.json"
MAKE_ONE = "Make one with `python -m id2r_core capture validation` and `python -m addon.photograph`."
INSIDE = 0.999  # of a shrunken mask: only texels that lie wholly in it count
SKY_ROWS = 64  # the light is read at this height


@dataclass(frozen=True)
class Subject:
    """A virtual person; folder holds the true maps, skin.png and head.npz."""

    name: str
    skin_type: str
    folder: Path

    def map(self, domain: Domain, size: int) -> np.ndarray:
        """A true map [size, size, 3] in [0, 1] as stored (diffuse sRGB, the others Non-Color; grey ones repeat)."""
        return read_map(self.folder / f"{domain.value}.png", size)

    def skin(self, size: int) -> np.ndarray:
        """The evaluation mask [size, size] bool."""
        return read_map(self.folder / "skin.png", size)[..., 0] > INSIDE

    def vertices(self) -> Tensor:
        """The true head without expression, [N, 3] metres."""
        with np.load(self.folder / "head.npz") as stored:
            return torch.from_numpy(stored["vertices"]).float()


@dataclass(frozen=True)
class Shot:
    """One photograph. name is unique in the set; light: the scene's environment as Blender reads it, None when unknown;
    expression: coefficients by name; view_from_world [4, 4] the true camera, None when unknown."""

    name: str
    file: Path
    subject: Subject
    scene: str
    hdri: str
    light: Path | None
    expression: dict[str, float]

    def true_shading(self, model: HeadModel, atlas: HeadAtlas) -> np.ndarray:
        """Irradiance / pi [T, T, 3] of the scene's light on the true head as photographed, self-shadowed; linear."""
        weights = [self.expression.get(name, 0.0) for name in model.expression_names]
        moved = torch.tensor(weights) @ model.expression.flatten(1).cpu()
        vertices = (self.subject.vertices() + moved.unflatten(0, (-1, 3))).to(model.neutral)
        fine = model.subdivide(vertices[None])
        cosine = (vertex_normals(fine, model.faces)[0] @ model.light_directions.T).clamp(min=0) * model.visibility
        power = light_power(read_light(self.light), model.light_directions.cpu()).to(cosine)
        return atlas.bake(cosine @ power / torch.pi).permute(1, 2, 0).numpy(force=True)


@dataclass(frozen=True)
class ValidationSet:
    """seed, date, command: how it was made; shots in the order of the scenes."""

    folder: Path
    seed: int
    date: str
    command: str
    subjects: tuple[Subject, ...]
    shots: tuple[Shot, ...]

    def some(self, per_type: int | None) -> tuple[Shot, ...]:
        """All photographs, or the first `per_type` of each skin type: those of one person after those of another, so
        that two photographs of a person are among them as soon as `per_type` is 2."""
        if per_type is None:
            return self.shots
        order = {subject.name: number for number, subject in enumerate(self.subjects)}
        chosen = []
        for skin_type in SKIN_TYPES:
            of_type = [shot for shot in self.shots if shot.subject.skin_type == skin_type]
            chosen += sorted(of_type, key=lambda shot: order[shot.subject.name])[:per_type]
        return tuple(chosen)


def read_validation(folder: Path) -> ValidationSet:
    """Raises Id2rError when the folder holds no validation set, or one whose photographs are not complete."""
    path = folder / INDEX
    if not path.is_file():
        raise Id2rError(f"'{folder}' holds no {INDEX}.", MAKE_ONE)
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        subjects = {
            each["name"]: Subject(each["name"], each["skin_type"], folder / "subjects" / each["name"])
            for each in index["subjects"]
        }
        shots = tuple(_shot(folder, scene, photo, subjects) for scene in index["scenes"] for photo in scene["photos"])
        made = {key: index[key] for key in ("seed", "date", "command")}
    except (ValueError, KeyError, TypeError) as error:
        raise Id2rError(f"{path} is damaged ({error!r}).", MAKE_ONE) from error
    missing = [shot.file.name for shot in shots if not shot.file.is_file()]
    if missing or not shots:
        raise Id2rError(f"{len(missing)} photographs of '{folder}' are missing, such as {missing[:1]}.", MAKE_ONE)
    return ValidationSet(folder, subjects=tuple(subjects.values()), shots=shots, **made)


def _shot(folder: Path, scene: dict, photo: dict, subjects: dict[str, Subject]) -> Shot:
    file = folder / photo["file"]
    light = folder / scene["light"] if "light" in scene else None
    return Shot(
        file.stem, file, subjects[photo["subject"]], scene["name"], scene["hdri"], light, photo.get("expression", {})
    )


def read_map(path: Path, size: int) -> np.ndarray:
    """A map or mask file, 8 or 16 bit, as float32 [size, size, 3] in [0, 1]; shrunk by area, enlarged bilinearly."""
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if stored is None:
        raise Id2rError(f"'{path}' cannot be read.", "Make the folder it lies in again.")
    image = stored.astype(np.float32) / np.iinfo(stored.dtype).max
    image = image[..., None].repeat(3, 2) if image.ndim == 2 else image[..., 2::-1]
    if image.shape[0] == size:
        return np.ascontiguousarray(image)
    way = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=way)


def read_light(path: Path) -> np.ndarray:
    """A scene's environment [64, 128, 3] linear, turned from Blender's panorama to the head frame's (see `sky_uv`)."""
    os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if stored is None:
        raise Id2rError(f"'{path}' cannot be read as an environment.", MAKE_ONE)
    ours = from_blender_panorama(stored[..., 2::-1].astype(np.float32))
    return cv2.resize(ours, (2 * SKY_ROWS, SKY_ROWS), interpolation=cv2.INTER_AREA)


def light_power(sky: np.ndarray, directions: Tensor) -> Tensor:
    """Irradiance [L, 3] that a surface facing each of `directions` [L, 3] gets from that part of a sky [H, 2H, 3]."""
    towards, solid_angle = sky_pixels(sky.shape[0])
    column, row = sky_uv(towards)
    pixels = sky[(row * sky.shape[0]).long().clamp(max=sky.shape[0] - 1), (column * sky.shape[1]).long()]
    power = torch.zeros(len(directions), 3)
    return power.index_add_(
        0, (towards @ directions.T).argmax(1), torch.from_numpy(pixels).flatten(1) * solid_angle[:, None]
    )
