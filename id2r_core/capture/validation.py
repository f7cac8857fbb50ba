"""The validation set: unseen virtual people with their true maps, and the scenes in which Cycles photographs them.

    python -m id2r_core capture validation --data DATA --out DIR
    python -m addon.photograph DIR

The first command writes everything but the photographs; the second (Blender as a module) adds those. Both can be
interrupted and called again. Subjects, skins and environments are all of the validation split.
"""

import argparse
import datetime
import json
import math
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from skimage.color import rgb2lab
from torch import Tensor
from torch.nn import functional

from ..conventions import Domain, encode_normal, linear_to_srgb
from ..device import choose_device
from ..errors import Id2rError
from ..files import all_or_nothing, whole_file, write_exr, write_image
from ..geometry.camera import Camera, capture_cameras
from ..head.atlas import SKIN_PARTS, HeadAtlas, make_atlas
from ..head.fit import FittedHead
from ..head.irises import TYPICAL_RADIUS, Irises
from ..maps import save_maps
from ..photo import Photo
from ..pigment import ITA_EDGES
from ..stitch import Maps
from .dice import Dice
from .light import LUMINANCE, SHADE, about, muted, sky_pixels, sky_uv
from .photograph import EXPOSURE, GREY_CARD, PHOTO_EXPRESSIONS, draw_cameras, iris_colours, stand_back
from .render import tilt_by_height
from .sources import list_sources, read_environment
from .stage import CaptureStage
from .subjects import Subjects, draw_expression

SKIN_TYPES = ("VI", "V", "IV", "III", "II", "I")  # in the order of ITA_EDGES, the darkest first
STAGE_SIZE = 512  # pixels of its views; its maps have twice as many texels a side
FACES_A_SCENE = 3  # as in FAIR
TYPE_MARGIN = 2.0  # degrees: no subject lies on the border of two types
HAIRY, GROWN = 0.15, 0.1  # region masks above the one are hair; a beard denser than the other hides skin
SCENE_TAKE, PHOTO_TAKE = 1001, 2001  # streams of random numbers, apart from those of training photographs
LIGHT_HEIGHT = 256
STOPS = 0.2  # standard deviation of the exposure
YEARS = (18.0, 80.0)  # what the ends of the stage's age scale stand for
# Cycles' heads have no teeth: lips may smile but stay closed.
OPEN_MOUTH = ("jawOpen", "mouthUpperUp", "mouthLowerDown", "mouthStretch")
CLOSED_EXPRESSIONS = {name: PHOTO_EXPRESSIONS[name] for name in PHOTO_EXPRESSIONS if name not in OPEN_MOUTH}

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ValidationPlan:
    """What is asked for; two sets of one plan are equal.

    subjects_per_type: how many people of each of the six skin types; lights: how many photographs of each person,
    every one in a scene of its own, three people a scene; size: side of a photograph in pixels.
    """

    subjects_per_type: int = 2
    lights: int = 2
    size: int = 512
    seed: int = 0


@dataclass(frozen=True)
class Person:
    """One chosen subject and what was measured on its true maps."""

    name: str
    subject: Subjects = field(repr=False)
    skin_type: str
    ita_degrees: float

    def entry(self) -> dict:
        """What validation.json says of it."""
        low, high = YEARS
        return {
            "name": self.name,
            "index": int(self.subject.index[0]),
            "skin_type": self.skin_type,
            "ita_degrees": round(self.ita_degrees, 2),
            "age": round(low + (high - low) * float(self.subject.number("age")[0])),
            "sex": "female" if self.subject.number("female")[0] < 0.5 else "male",
        }


def write_validation(data_dir: Path, out: Path, plan: ValidationPlan, command: str, device, progress: Progress) -> Path:
    """Write the set without its photographs; returns validation.json, which is written last.

    Finished subjects are kept when the same plan is asked for again. Raises Id2rError when `out` holds another plan.
    """
    done = _same_plan(out, plan)
    stage = CaptureStage(data_dir, STAGE_SIZE, device, plan.seed, "validation")
    atlas = make_atlas(stage.head, stage.tile.size)
    people = choose_people(stage, atlas, plan)
    for number, person in enumerate(people):
        progress("subjects", number, len(people))
        _write_subject(stage, atlas, person, out / "subjects" / person.name)
    scenes = make_scenes(stage, Path(data_dir), people, plan, out / "lights", progress)
    progress("subjects", len(people), len(people))
    if done:
        return out / "validation.json"
    index = {
        "seed": plan.seed,
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "size": plan.size,
        "subjects_per_type": plan.subjects_per_type,
        "lights": plan.lights,
        "subjects": [person.entry() for person in people],
        "scenes": scenes,
    }
    with all_or_nothing(out) as folder:
        (folder / "validation.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return out / "validation.json"


def _same_plan(out: Path, plan: ValidationPlan) -> bool:
    """Whether `out` already holds this plan's validation.json; Id2rError when it holds another's."""
    path = out / "validation.json"
    if not path.is_file():
        return False
    found = json.loads(path.read_text(encoding="utf-8"))
    wanted = {"seed": plan.seed, "size": plan.size, "subjects_per_type": plan.subjects_per_type, "lights": plan.lights}
    held = {name: found.get(name) for name in wanted}
    if held != wanted:
        raise Id2rError(
            f"'{out}' holds another validation set ({held}).", "Choose an empty folder, or ask for the same set."
        )
    return True


def choose_people(stage: CaptureStage, atlas: HeadAtlas, plan: ValidationPlan) -> list[Person]:
    """The first subjects that fill every skin type, by the ITA of their true diffuse map; sexes as even as can be."""
    found: dict[str, list[Person]] = {skin_type: [] for skin_type in SKIN_TYPES}
    index = 0
    while any(len(people) < plan.subjects_per_type for people in found.values()):
        subject = stage.subjects([index])
        skin_type = type_of(float(subject.ita[0]))
        female = bool(subject.number("female")[0] < 0.5)
        wanted_sex = (len(found[skin_type]) + SKIN_TYPES.index(skin_type)) % 2 == 0
        if len(found[skin_type]) < plan.subjects_per_type and female == wanted_sex:
            srgb = linear_to_srgb(stage.skins(subject).diffuse_linear[0])
            ita = measured_ita(srgb, evaluation_mask(subject, atlas))
            if type_of(ita) == skin_type and _is_inside(ita):
                found[skin_type].append(Person(f"{skin_type}-{index:05d}", subject, skin_type, ita))
        index += 1
    return [person for skin_type in reversed(SKIN_TYPES) for person in found[skin_type]]


def type_of(ita: float) -> str:
    """The skin type ("I" lightest to "VI" darkest) of a typology angle in degrees."""
    return SKIN_TYPES[int(np.searchsorted(ITA_EDGES[1:-1], ita))]


def _is_inside(ita: float) -> bool:
    return min(abs(ita - edge) for edge in ITA_EDGES[1:-1]) > TYPE_MARGIN


def measured_ita(diffuse_srgb: Tensor, mask: Tensor) -> float:
    """Individual typology angle in degrees of [3, T, T] over the mask [T, T] bool: of the mean L* and b* (D65)."""
    pixels = diffuse_srgb[:, mask].T.clamp(0, 1).numpy(force=True)
    lightness, _, yellow = rgb2lab(pixels[None])[0].mean(0)
    return math.degrees(math.atan((lightness - 50) / yellow))


def evaluation_mask(subject: Subjects, atlas: HeadAtlas) -> Tensor:
    """[T, T] bool: skin of face and neck, without eyes, mouth, lashes, brows, scalp, ears and a grown beard."""
    skin = torch.maximum(atlas.region("face"), atlas.region("neck")) > 0.5
    for name in ("brow", "scalp", "eyelid", "ear"):
        skin &= atlas.region(name) < HAIRY
    has_beard = subject.number("female")[0] >= 0.5 and subject.number("beard_gain")[0] > 0.45 + GROWN
    if has_beard:
        skin &= atlas.region("beard") < HAIRY
    return skin & (atlas.region("skin") > 0.9) & atlas.mask


def _write_subject(stage: CaptureStage, atlas: HeadAtlas, person: Person, folder: Path) -> None:
    """The folder of one subject in the format that `reconstruct` writes, plus skin.png; kept when it is complete."""
    if (folder / "skin.png").is_file():
        return
    subject = person.subject
    head = _true_head(stage, subject)
    front = stage.views(subject)[Domain.RGB][0, 0].permute(1, 2, 0).numpy(force=True)
    photo = Photo(srgb=front, name=f"{person.name} by the capture stage")
    irises = Irises(torch.full((2,), TYPICAL_RADIUS), iris_colours(subject)[0].cpu())
    mask = evaluation_mask(subject, atlas)
    with all_or_nothing(folder) as partial:
        save_maps(partial, true_maps(stage, atlas, subject), head, atlas, photo, irises, keep_expression=False)
        write_image(partial / "skin.png", mask.numpy(force=True).astype(np.uint8) * 255)


def _true_head(stage: CaptureStage, subject: Subjects) -> FittedHead:
    """The subject's own head, as a perfect fit would find it in the front view."""
    identity, expression = subject.identity[0], subject.expression[0]
    vertices = stage.head.shape(subject.identity, subject.expression)[0]
    neutral = stage.head.shape(subject.identity, torch.zeros_like(subject.expression))[0]
    camera = capture_cameras(stage.size, vertices.device)[0]
    return FittedHead(stage.head, camera, vertices, neutral, identity, expression, error=0.0)


def true_maps(stage: CaptureStage, atlas: HeadAtlas, subject: Subjects) -> Maps:
    """The subject's maps on the head tile, as `stitch` would hand them on if it knew the truth."""
    maps = stage.skins(subject)
    fine = stage.head.subdivide(stage.head.shape(subject.identity, torch.zeros_like(subject.expression)))
    smooth = atlas.normals_of(fine[0]).permute(1, 2, 0)[None]
    on_skin = stage.head.faces_of(*SKIN_PARTS)
    normal = tilt_by_height(
        smooth, maps.height_slope, atlas.fragments, fine, atlas.faces, stage.head.fine_uv, stage.head.faces_uv[on_skin]
    )
    three = lambda image: image[0].expand(3, -1, -1)
    images = {
        Domain.DIFFUSE: linear_to_srgb(maps.diffuse_linear[0]),
        Domain.SPECULAR: three(maps.specular),
        Domain.ROUGHNESS: three(maps.roughness),
        Domain.NORMAL: encode_normal(normal[0].permute(2, 0, 1)),
    }
    return Maps(images, atlas.mask.float())


def make_scenes(
    stage: CaptureStage, data_dir: Path, people: list[Person], plan: ValidationPlan, folder: Path, progress: Progress
) -> list[dict]:
    """The scenes of the set as validation.json lists them; each scene's light is written to `folder`.

    Every round photographs everybody once, three people of different skin types under one light. The lights of a round
    and of the following ones are different environments until all have been used.
    """
    environments = list_sources(data_dir, "hdri/*.exr", "validation")
    order = np.random.default_rng((plan.seed, SCENE_TAKE)).permutation(len(environments))
    count = plan.lights * len(people) // FACES_A_SCENE
    scenes = []
    for number in range(count):
        progress("lights", number, count)
        round_, place = divmod(number, len(people) // FACES_A_SCENE)
        hdri = environments[order[number % len(environments)]]
        dice = Dice([(plan.seed, SCENE_TAKE, number)])
        light, face_light = _place_light(dice, hdri, stage)
        scene = folder / f"scene{number:03d}.exr"
        if not scene.is_file():
            with whole_file(scene) as partial:
                write_exr(partial, light)
        scenes.append(
            {
                "name": f"scene{number:03d}",
                "hdri": hdri.stem,
                "light": f"{folder.name}/scene{number:03d}.exr",
                "gain": _camera_gain(dice, face_light),
                "photos": [
                    _make_photo(stage, person, plan, number, f"photos/scene{number:03d}-{person.name}.png")
                    for person in _cast_of(people, round_, place)
                ],
            }
        )
    return scenes


def _cast_of(people: list[Person], round_: int, place: int) -> list[Person]:
    """Three people of different skin types; other rounds bring other people together."""
    a_type = len(people) // len(SKIN_TYPES)
    types = (place % 2, place % 2 + 2, place % 2 + 4)  # people are listed type by type
    return [people[kind * a_type + (place // 2 + rank * round_) % a_type] for rank, kind in enumerate(types)]


def _place_light(dice: Dice, hdri: Path, stage: CaptureStage) -> tuple[np.ndarray, np.ndarray]:
    """An environment of mean luminance 1 as Blender wants it, [H, 2H, 3] linear, and the irradiance / pi of a face, [3].

    It is turned about the vertical, until a face that looks along +z does not stand in the shade.
    """
    image = torch.from_numpy(muted(read_environment(hdri))).permute(2, 0, 1)[None]
    directions, solid_angle = (part.numpy() for part in sky_pixels(LIGHT_HEIGHT))
    weights = solid_angle[:, None] / (4 * math.pi)
    for _ in range(8):
        heading = float(dice.uniform(-math.pi, math.pi)[0])
        turned = torch.from_numpy(directions) @ about(1, heading).T
        sky = _look_up(image, turned).numpy()
        sky /= float(((sky * weights).sum(0) * LUMINANCE).sum())
        facing = (sky * weights * 4 * directions[:, 2:].clip(0)).sum(0)
        if facing @ LUMINANCE > SHADE:
            break
    return to_blender_panorama(sky.reshape(LIGHT_HEIGHT, 2 * LIGHT_HEIGHT, 3)), facing


def to_blender_panorama(panorama: np.ndarray) -> np.ndarray:
    """An environment [H, 2H, 3] of the stage as Blender wants it.

    Blender's run the other way round and have what lies at +x of its world, not at the core's +z, in the middle.
    """
    return np.roll(panorama[:, ::-1], len(panorama) // 2, axis=1)


def from_blender_panorama(panorama: np.ndarray) -> np.ndarray:
    """The other way round."""
    return np.ascontiguousarray(np.roll(panorama, -(len(panorama) // 2), axis=1)[:, ::-1])


def camera_of(photo: dict, size: int) -> Camera:
    """The camera of a photograph as validation.json lists it."""
    return Camera(
        torch.tensor([photo["view_from_world"]]),
        torch.tensor([photo["focal"]]),
        torch.tensor([photo["principal"]]),
        size,
        size,
    )


def _look_up(image: Tensor, directions: Tensor) -> Tensor:
    """Radiance [P, 3] of an equirectangular image [1, 3, H, W] in directions [P, 3]."""
    column, row = sky_uv(directions)
    width = image.shape[-1]
    padded = torch.cat([image[..., -1:], image, image[..., :1]], dim=-1)
    grid = torch.stack([(column * width + 1) / (width + 2), row], dim=-1) * 2 - 1
    return functional.grid_sample(padded, grid[None, None], padding_mode="border", align_corners=False)[0, :, 0].T


def _camera_gain(dice: Dice, face_light: np.ndarray) -> list[float]:
    """What the scene's one camera multiplies radiance with: exposure for a grey card, an imperfect white balance."""
    level = float(face_light @ LUMINANCE)
    exposure = EXPOSURE / (GREY_CARD * level) * 2.0 ** float(dice.normal(STOPS)[0])
    balance = (face_light / level).clip(0.2, 5.0) ** -float(dice.uniform(0.75, 1.0)[0])
    return [round(float(value), 5) for value in exposure * balance]


def _make_photo(stage: CaptureStage, person: Person, plan: ValidationPlan, scene: int, file: str) -> dict:
    """Pose and camera of one photograph."""
    names = stage.head.expression_names
    dice = Dice([(plan.seed, PHOTO_TAKE, scene, int(person.subject.index[0]))])
    drawn = np.stack([draw_expression(random, names, CLOSED_EXPRESSIONS) for random in dice]).astype(np.float32)
    vertices = stage.head.shape(person.subject.identity, torch.from_numpy(drawn).to(stage.device))
    camera = stand_back(draw_cameras(dice, stage.head, stage.head.subdivide(vertices), plan.size))
    return {
        "file": file,
        "subject": person.name,
        "expression": {name: round(float(w), 4) for name, w in zip(names, drawn[0], strict=True) if w > 1e-3},
        "view_from_world": camera.view_from_world[0].tolist(),
        "focal": float(camera.focal[0]),
        "principal": camera.principal[0].tolist(),
        "cloth_linear": [round(float(value), 4) for value in _cloth(plan, person)],
    }


def _cloth(plan: ValidationPlan, person: Person) -> np.ndarray:
    """The linear albedo of what a person wears, the same in every photograph."""
    dice = Dice([(plan.seed, PHOTO_TAKE, int(person.subject.index[0]))])
    return np.exp(dice.uniform(-3.5, -0.9)[0]) * dice.uniform(0.6, 1.0, 3)[0]


def main(argv: list[str]) -> int:
    """`capture validation --data DATA --out DIR`."""
    plan = ValidationPlan()
    parser = argparse.ArgumentParser(prog="id2r_core capture validation", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the directory of training data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--subjects-per-type", type=int, default=plan.subjects_per_type, metavar="N")
    parser.add_argument("--lights", type=int, default=plan.lights, metavar="N", help="photographs of each subject")
    parser.add_argument("--size", type=int, default=plan.size, metavar="PX", help="side of a photograph")
    parser.add_argument("--seed", type=int, default=plan.seed)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(argv)
    for name, least in (("subjects_per_type", 1), ("lights", 1), ("size", 128)):
        if getattr(given, name) < least:
            raise Id2rError(f"--{name.replace('_', '-')} is {getattr(given, name)}.", f"It must be at least {least}.")
    plan = replace(
        plan, subjects_per_type=given.subjects_per_type, lights=given.lights, size=given.size, seed=given.seed
    )
    command = "python -m id2r_core capture validation " + shlex.join(argv)
    device = choose_device(given.device)

    def show(stage: str, done: int, total: int) -> None:
        print(f"\r{stage:<10} {done}/{total}", end="", file=sys.stderr, flush=True)

    path = write_validation(given.data, given.out, plan, command, device, show)
    print(f"\n{path} lists the set. Add its photographs with: python -m addon.photograph {given.out}")
    return 0
