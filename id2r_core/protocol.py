"""What crosses wall 1: a request in, events out, each one line of JSON. Standard library only; Blender imports it.

to the worker      {"command": "reconstruct", "request": {"photo": ..., "out": ..., ...}}
                   {"command": "faces", "request": {"photo": ..., "out": ...}}  which faces a photo shows
                   {"command": "makehuman", "request": {"folder": ..., "size": ...}}
                   {"command": "transfer", "request": {"folder": ..., "mesh": ..., "out": ..., "size": ...}}
                   {"command": "templates", "request": {"pack": ..., "out": ...}}  thumbnails of them
                   {"command": "capture", "request": {"source": "0", "out": ..., "preview": ..., "countdown": 3}}
                   {"command": "inspect", "request": {}}  what is installed here (see `doctor`)
                   {"command": "cancel"}                  stops the running job at its next progress report
                   {"command": "quit"}, or end of file    stops the running job and the worker
from the worker    {"event": "ready", "version": ...}     once
                   {"event": "progress", "stage": ..., "done": ..., "total": ...}
                   {"event": "warning", "text": ...}
                   and one of these at the end of every job:
                   {"event": "result", "out": ..., "report": {...}}
                   {"event": "error", "message": ..., "hint": ...}
                   {"event": "cancelled"}
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from .errors import Id2rError
from .facemesh import COUNT

DEVICES = ("auto", "cpu", "cuda", "mps")
SMALLEST_RESOLUTION, LARGEST_RESOLUTION = 64, 8192
MOST_MORE_PHOTOS = 4
# Files that one side writes and the other reads.
PHOTO_FILES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")  # what can be a reference
PHOTO = "photo.png"  # upright: its pixels are those of the landmarks
GLASSES = "glasses.npz"
STRANDS = "strands.npz"  # how the hair runs in the photo
COMPLETE = "complete"  # in an environment of our own, when all of it is there
LIGHT = "light.exr"  # of the photo, as a world texture
TEMPLATE_ORDER = "order.json"  # beside the thumbnails: the templates' names from light to dark
FIT = "fit.npz"  # the wrapped head, to look at: vertices [N, 3] in the world of the mesh, quads [Q, 4] of its skin
FIT_REPORT = "transfer.json"  # how well it fits
GIVE_LANDMARKS = 'Give JSON in pixels of the upright photo: all 478 as [[x, y], ...], or some as {"61": [x, y], ...}.'
UPDATE_BOTH = "Make sure that the add-on and the core have the same version."


@dataclass(frozen=True)
class Request:
    """One job: the photo, the output folder and every option that the command line has.

    photo, out: paths; out is a folder and is made when it does not exist.
    pack: name of an installed weight pack or path of a pack folder.
    resolution: side of the maps in texels.
    template: "closest" or a template's name.
    keep_expression: open the head with the expression of the photo on it, which a slider takes off; otherwise neutral.
    refine: strength of the photo's last word, 0 (swapped maps alone) to 1.
    hair: how densely cropped hair grows on the scalp where the photo shows hair, 0 (bald) to 1.
    pores: strength of the synthesised pores, furrows and wrinkles, 0 (none) to 1.
    task_file: a MediaPipe face_landmarker .task file; empty for the landmark models inside mediapipe.
    face: which of the photo's faces, counted from the largest, which is 1.
    more_photos: paths of up to four further photos of the same person. The first photo stays the main one: its camera,
        light and expression, `face` and the corrected landmarks are its own; of the others the largest face is used.
    interactive_landmarks: JSON text of landmarks that a person has corrected, in pixels of the upright photo: all 478
        as [[x, y], ...], or some by number as {"61": [x, y], ...}; empty: as they are found.
    Raises Id2rError for values that no job can have.
    """

    photo: str
    out: str
    pack: str = "tiny"
    resolution: int = 1024
    device: str = "auto"
    template: str = "closest"
    keep_expression: bool = True
    refine: float = 1.0
    hair: float = 1.0
    pores: float = 1.0
    task_file: str = ""
    face: int = 1
    interactive_landmarks: str = ""
    more_photos: tuple[str, ...] = ()

    def __post_init__(self):
        _require_texts(self, "photo", "out", "pack", "template")
        _require_more_photos(self)
        _require_task_file(self.task_file)
        _require_side(self.resolution, "resolution")
        _require_device(self.device)
        _require(
            _is_whole(self.face) and self.face >= 1,
            f"There is no face number {self.face!r}.",
            "Give 1 for the largest face of the photo, 2 for the next, and so on.",
        )
        _require(isinstance(self.keep_expression, bool), "keep_expression is not a switch.", "Give true or false.")
        _require(
            isinstance(self.interactive_landmarks, str), "The corrected landmarks are not text.", "Give JSON text."
        )
        for value, what in ((self.refine, "refinement"), (self.hair, "hair"), (self.pores, "pore")):
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            _require(
                is_number and 0.0 <= value <= 1.0,
                f"A {what} strength of {value!r} is not possible.",
                "Give a number from 0 (off) to 1 (full).",
            )

    @property
    def photos(self) -> tuple[str, ...]:
        """All photos, the main one first."""
        return (self.photo, *self.more_photos)

    def to_json(self) -> dict:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class FacesRequest:
    """Which faces a photo shows: `out` gets the upright photo and a thumbnail of every face (see `faces`)."""

    photo: str
    out: str
    task_file: str = ""

    def __post_init__(self):
        _require_texts(self, "photo", "out")
        _require_task_file(self.task_file)


@dataclass(frozen=True)
class MakeHumanRequest:
    """The maps of a finished result folder, once more in the MakeHuman/MPFB layout; size: side in texels."""

    folder: str
    size: int = 2048

    def __post_init__(self):
        _require_texts(self, "folder")
        _require_side(self.size, "size")


@dataclass(frozen=True)
class TransferRequest:
    """The maps of a finished result folder on any mesh (see `transfer`).

    mesh: .npz with vertices [N, 3] in Blender's world, faces [F, 3], uv [U, 2] and faces_uv [F, 3]; out: a folder
    folder: the result; may be empty when only_fit: then only the fit is made, to look at
    """

    folder: str
    mesh: str
    out: str
    size: int = 2048
    only_fit: bool = False

    def __post_init__(self):
        _require_texts(self, *(() if self.only_fit else ("folder",)), "mesh", "out")
        _require_side(self.size, "size")


@dataclass(frozen=True)
class TemplatesRequest:
    """A thumbnail of every template of a pack, into the folder `out` (see `gallery`)."""

    pack: str
    out: str
    device: str = "auto"

    def __post_init__(self):
        _require_texts(self, "pack", "out")
        _require_device(self.device)


@dataclass(frozen=True)
class CaptureRequest:
    """A photo from a webcam after a countdown.

    source: number of the camera, or path of a video that stands in for it; out: the photo; preview: what the camera
    sees meanwhile; countdown in seconds.
    """

    source: str
    out: str
    preview: str
    countdown: float = 3.0

    def __post_init__(self):
        _require_texts(self, "source", "out", "preview")
        _require(
            isinstance(self.countdown, (int, float)) and 0.0 <= self.countdown <= 60.0,
            f"A countdown of {self.countdown!r} is not possible.",
            "Give seconds from 0 to 60.",
        )


@dataclass(frozen=True)
class InspectRequest:
    """What is installed where the worker runs."""


@dataclass(frozen=True)
class Ready:
    """The worker is up; `version` is id2r_core's."""

    version: str


@dataclass(frozen=True)
class Progress:
    """`stage` runs (see conventions.STAGES), and `done` of the `total` steps of the whole job are finished."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Warned:
    """A plain sentence for the user; the job goes on."""

    text: str


@dataclass(frozen=True)
class Result:
    """The job is done: the folder with its files, and what there is to tell (of a reconstruction: report.json)."""

    out: str
    report: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """The job failed and has left nothing; the two sentences of an Id2rError."""

    message: str
    hint: str


@dataclass(frozen=True)
class Stopped:
    """The job was stopped on request and has left nothing."""


@dataclass(frozen=True)
class Command:
    """What the other side wants: one of JOBS with its request, "cancel" or "quit"."""

    command: str
    request: "AnyRequest | None" = None


Event = Ready | Progress | Warned | Result | Failed | Stopped
EVENTS = {
    "ready": Ready,
    "progress": Progress,
    "warning": Warned,
    "result": Result,
    "error": Failed,
    "cancelled": Stopped,
}
AnyRequest = (
    Request | FacesRequest | MakeHumanRequest | TransferRequest | TemplatesRequest | CaptureRequest | InspectRequest
)
JOBS = {
    "reconstruct": Request,
    "faces": FacesRequest,
    "makehuman": MakeHumanRequest,
    "transfer": TransferRequest,
    "templates": TemplatesRequest,
    "capture": CaptureRequest,
    "inspect": InspectRequest,
}
COMMANDS = (*JOBS, "cancel", "quit")


def read_text(path: str) -> str:
    """The text of a JSON file that an option names; empty without one. Raises Id2rError when it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise Id2rError(f"'{path}' cannot be read as text.", "Give the path of a JSON file.") from error


def read_corrections(text: str) -> dict[int, tuple[float, float]]:
    """Corrected landmarks by number, from JSON (see Request). Raises Id2rError for anything else."""
    try:
        given = json.loads(text or "{}")
        pairs = given.items() if isinstance(given, dict) else enumerate(given)
        places = {int(index): (float(x), float(y)) for index, (x, y) in pairs}
    except (ValueError, TypeError) as error:
        raise Id2rError("The corrected landmarks cannot be read.", GIVE_LANDMARKS) from error
    if isinstance(given, list):
        _require(len(given) == COUNT, f"There are {len(given)} corrected landmarks in the list.", GIVE_LANDMARKS)
    for index in places:
        _require(0 <= index < COUNT, f"There is no landmark {index}.", GIVE_LANDMARKS)
    return places


def encode_event(event: Event) -> str:
    """One line of JSON, without the line break."""
    (name,) = (name for name, kind in EVENTS.items() if type(event) is kind)
    return json.dumps({"event": name} | dataclasses.asdict(event))


def decode_event(line: str) -> Event:
    """The event of one line. Raises Id2rError for anything else."""
    values = _object(line)
    name = str(values.pop("event", None))
    _require(name in EVENTS, f"The worker sent a line that is no event: {line.strip()[:120]!r}.", UPDATE_BOTH)
    return _build(EVENTS[name], values)


def encode_command(command: str, request: AnyRequest | None = None) -> str:
    """One line of JSON, without the line break."""
    values: dict = {"command": command}
    if request is not None:
        values["request"] = dataclasses.asdict(request)
    return json.dumps(values)


def encode_job(request: AnyRequest) -> str:
    """The command that does what the request asks for, as one line of JSON."""
    (command,) = (command for command, kind in JOBS.items() if type(request) is kind)
    return encode_command(command, request)


def decode_command(line: str) -> Command:
    """The command of one line. Raises Id2rError for unknown commands and impossible requests."""
    values = _object(line)
    command = str(values.get("command"))
    _require(command in COMMANDS, f"The worker knows no command {command!r}.", f"Use one of: {', '.join(COMMANDS)}.")
    if command not in JOBS:
        return Command(command)
    return Command(command, _build(JOBS[command], values.get("request")))


def _object(line: str) -> dict:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise Id2rError(f"A line is not JSON: {line.strip()[:120]!r}.", UPDATE_BOTH) from error
    _require(isinstance(values, dict), f"A line is not a JSON object: {line.strip()[:120]!r}.", UPDATE_BOTH)
    return values


def _build(kind: type, values):
    """A dataclass from a JSON object; missing and unknown names are errors, so that typing errors show."""
    name = kind.__name__.lower()
    _require(isinstance(values, dict), f"The {name} is not a JSON object.", UPDATE_BOTH)
    fields = dataclasses.fields(kind)
    unknown = sorted(set(values) - {each.name for each in fields})
    _require(not unknown, f"The {name} has unknown entries: {', '.join(unknown)}.", UPDATE_BOTH)
    needed = {each.name for each in fields if each.default is each.default_factory is dataclasses.MISSING}
    missing = sorted(needed - set(values))
    _require(not missing, f"The {name} lacks: {', '.join(missing)}.", UPDATE_BOTH)
    return kind(**values)


def _is_whole(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require_texts(request, *names: str) -> None:
    for name in names:
        value = getattr(request, name)
        _require(isinstance(value, str) and value != "", f"The {name} is missing.", f"Give a {name}.")


def _require_more_photos(request: Request) -> None:
    """Lists, as JSON has them, become tuples."""
    paths = request.more_photos
    _require(
        isinstance(paths, (list, tuple)) and all(isinstance(path, str) and path for path in paths),
        "The further photos are not a list of paths.",
        "Give the path of every photo as text.",
    )
    _require(
        len(paths) <= MOST_MORE_PHOTOS,
        f"{len(paths)} further photos are too many.",
        f"Give at most {MOST_MORE_PHOTOS} besides the first.",
    )
    twice = next((path for number, path in enumerate(request.photos) if path in request.photos[:number]), None)
    _require(twice is None, f"'{twice}' is given twice.", "Give every photo once.")
    object.__setattr__(request, "more_photos", tuple(paths))


def _require_side(side, what: str) -> None:
    _require(
        _is_whole(side) and SMALLEST_RESOLUTION <= side <= LARGEST_RESOLUTION,
        f"A map {what} of {side!r} is not possible.",
        f"Give a whole number from {SMALLEST_RESOLUTION} to {LARGEST_RESOLUTION}, such as 1024.",
    )


def _require_device(device) -> None:
    _require(device in DEVICES, f"There is no device '{device}'.", f"Use one of: {', '.join(DEVICES)}.")


def _require_task_file(path) -> None:
    _require(isinstance(path, str), "The landmark model is not a path.", "Give the path as text.")


def _require(condition: bool, message: str, hint: str) -> None:
    if not condition:
        raise Id2rError(message, hint)
