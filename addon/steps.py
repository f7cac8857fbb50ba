"""Work on a scene in short steps, between which Blender draws and listens; and all of it, or nothing.

Such work is a generator: it yields where the window may have its turn, and returns what it made.
"""

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

import bpy
from mathutils import Vector

from .builds import has_denoiser

Made = TypeVar("Made")
Steps = Generator[None, None, Made]

# The data-blocks that our steps make; what hangs on them (shape keys, node trees of materials) goes with them.
KINDS = (
    "actions", "cameras", "collections", "hair_curves", "images", "materials", "meshes", "node_groups", "objects", "worlds",
)  # fmt: skip
STARTUP = ("Cube", "Light", "Camera")  # what Blender's new file has, and a first head hides


def run(steps: Steps[Made]) -> Made:
    """All steps at once; what they return."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def all_or_nothing(steps: Steps[Made], scene: bpy.types.Scene) -> Steps[Made]:
    """The same steps; when one of them fails or they are closed early, `scene` is as before and what they made is gone.

    What others make between two steps stays.
    """
    before, made = SceneBefore(scene), set[int]()
    try:
        while True:
            there = _blocks().keys()
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            finally:
                made |= _blocks().keys() - there
            yield
    except BaseException:
        before.restore()
        bpy.data.batch_remove([block for number, block in _blocks().items() if number in made])
        raise


def _blocks() -> dict[int, bpy.types.ID]:
    """The data-blocks of this file by their numbers, which no other has in this session."""
    every: Any = bpy.data
    return {block.session_uid: block for kind in KINDS for block in getattr(every, kind)}


HIDDEN = ("hide_viewport", "hide_render")
PLACE = (*HIDDEN, "location")
# What our steps set of a scene, by the owner of the setting; a setting that decides what another may be comes first.
SETTINGS = {
    "render": ("engine", "resolution_x", "resolution_y", "resolution_percentage", "use_persistent_data"),
    "view_settings": ("view_transform", "look"),
    "cycles": (
        "samples", "use_adaptive_sampling", "adaptive_threshold", "use_denoising", "denoiser", "caustics_reflective",
        "caustics_refractive",
    ),
    "": ("camera", "world", "frame_start", "frame_end", "frame_current", "id2r_run_index"),
}  # fmt: skip


class SceneBefore:
    """The settings of a scene, its timeline, an active cube and its runs, to be put back."""

    def __init__(self, scene: bpy.types.Scene):
        startup = [scene.objects[name] for name in STARTUP if name in scene.objects]
        shown = [run.collection for run in _runs(scene) if run.collection]
        placed = startup + [each for collection in shown for each in collection.all_objects]
        self._scene = scene
        without = set() if has_denoiser() else {"denoiser"}  # to read a choice of nothing makes Blender complain
        self._values = [
            _Values(getattr(scene, owner, None) if owner else scene, [name for name in names if name not in without])
            for owner, names in SETTINGS.items()
        ]
        self._values += [_Values(each, HIDDEN) for each in shown] + [_Values(each, PLACE) for each in placed]
        self._numbers = [(each, _numbers_on(each)) for each in placed]
        self._markers = _markers(scene)
        self._active = [(layer, layer.objects.active) for layer in scene.view_layers if layer.objects.active in startup]
        self._runs = len(_runs(scene))

    def restore(self) -> None:
        runs = _runs(self._scene)
        while len(runs) > self._runs:
            runs.remove(len(runs) - 1)
        if _markers(self._scene) != self._markers:
            self._scene.timeline_markers.clear()
            for name, frame, camera in self._markers:
                self._scene.timeline_markers.new(name, frame=frame).camera = camera
        for each in self._values:
            each.restore()
        for layer, active in self._active:
            layer.objects.active = layer.objects.active or active  # who chose another meanwhile keeps it
        for owner, numbers in self._numbers:
            for name in _numbers_on(owner).keys() - numbers:
                del owner[name]
            for name, number in numbers.items():
                owner[name] = number


class _Values:
    """Some properties of an owner as they are now; those that it does not have are passed over."""

    def __init__(self, owner: Any, names: Sequence[str]):
        self._owner = owner
        self._values = {name: _plain(getattr(owner, name)) for name in names if hasattr(owner, name)}

    def restore(self) -> None:
        for name, value in self._values.items():
            if _plain(getattr(self._owner, name)) != value:
                setattr(self._owner, name, value)


def _plain(value: Any) -> Any:
    """A value that does not change with its owner."""
    return value.copy() if isinstance(value, Vector) else value


def _runs(scene: Any):
    return getattr(scene, "id2r_runs", ())  # none while the add-on is not registered: `python -m addon.batch`


def _markers(scene: bpy.types.Scene) -> list[tuple[str, int, bpy.types.Object]]:
    return [(marker.name, marker.frame, marker.camera) for marker in scene.timeline_markers]


def _numbers_on(owner: bpy.types.Object) -> dict[str, float]:
    """Custom properties that are a number: where a camera was before it stepped back is one."""
    return {name: value for name, value in owner.items() if isinstance(value, (int, float))}
