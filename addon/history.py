"""The runs of a scene: what was made from which photo with which options, and which of them are shown."""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import bpy

from . import lookdev
from .core import errors, protocol
from .mesh_io import HEAD_MARK

if TYPE_CHECKING:
    from .properties import Scene

ALONE = "id2r_alone"  # on a camera that stepped back: where it was before
SIDE_BY_SIDE = 0.28  # metres between the middles of two heads


def add_run(scene: "Scene", request: protocol.Request, event: protocol.Result, collection) -> None:
    """Remember a finished run, and show it alone."""
    run = scene.id2r_runs.add()
    run.name = collection.name
    run.photo, run.folder, run.request = request.photo, event.out, json.dumps(request.to_json())
    run.when = datetime.now().strftime("%Y-%m-%d %H:%M")
    run.seconds = sum(event.report.get("seconds", {}).values())
    run.warnings = "\n".join(event.report.get("warnings", ()))
    run.collection = collection
    show_run(scene, len(scene.id2r_runs) - 1)


def run_at(scene: "Scene", index: int):
    """The run at a place of the history; -1 is the last. Raises Id2rError when there is none."""
    runs = scene.id2r_runs
    if not -len(runs) <= index < len(runs):
        raise errors.Id2rError(f"There is no run {index} in this scene.", "Reconstruct a photo first.")
    return runs[index]


def request_of(scene: "Scene", index: int) -> dict:
    return json.loads(run_at(scene, index).request)


def show_run(scene: "Scene", index: int) -> None:
    """Show the head of one run, hide those of the others, and look at it with its own cameras."""
    shown = run_at(scene, index)
    scene.id2r_run_index = list(scene.id2r_runs).index(shown)
    for run in scene.id2r_runs:
        if run.collection:
            run.collection.hide_viewport = run.collection.hide_render = run != shown
            _stand_alone(run.collection)
    _aim(scene, shown.collection)


def _stand_alone(collection: bpy.types.Collection) -> None:
    """Back from side by side: the head in the middle, the camera as near as it was."""
    for each in collection.all_objects:
        if each.get(HEAD_MARK) == "head":
            each.location.x = 0.0
        if each.get(ALONE) is not None:
            each.location.y = each.pop(ALONE)


def show_side_by_side(scene: "Scene", first: int, second: int) -> None:
    """Show two runs, the second to the right of the first as the camera sees them."""
    pair = [run_at(scene, index) for index in (first, second)]
    show_run(scene, first)
    for run in pair:
        if run.collection is None:
            raise errors.Id2rError(f"The head of run '{run.name}' was deleted.", "Run it again.")
    for place, run in zip((-0.5, 0.5), pair, strict=True):
        run.collection.hide_viewport = run.collection.hide_render = False
        head_of(run.collection).location.x = place * SIDE_BY_SIDE
    camera = lookdev.portrait_of(pair[0].collection)
    camera[ALONE] = camera.location.y
    lookdev.step_back(scene, camera, SIDE_BY_SIDE + head_of(pair[0].collection).dimensions.x)


def remove_run(scene: "Scene", index: int) -> None:
    """Forget a run and delete what it made."""
    run = run_at(scene, index)
    collection = run.collection
    removed, shown = list(scene.id2r_runs).index(run), scene.id2r_run_index
    scene.id2r_runs.remove(removed)
    if collection:
        _remove_head(scene, collection)
    if scene.id2r_runs:
        show_run(scene, min(shown - (removed < shown), len(scene.id2r_runs) - 1))


def _remove_head(scene: "Scene", collection: bpy.types.Collection) -> None:
    """Delete the collection with the head, its parts and cameras; what the artist has put there moves to the scene."""
    ours = {each for each in collection.all_objects if each.get(HEAD_MARK)}
    for each in set(collection.all_objects) - ours:
        scene.collection.objects.link(each)
    bpy.data.batch_remove([*ours, collection])


def used_face(scene: "Scene", photo: str) -> int | None:
    """Which face of this photo the shown run was made from; None when it was made from another photo."""
    if not 0 <= scene.id2r_run_index < len(scene.id2r_runs):
        return None
    request = request_of(scene, scene.id2r_run_index)
    return request.get("face", 1) if request["photo"] == photo else None


def photo_light(scene: "Scene") -> Path | None:
    """The light of the shown run's photo as an environment, when the run has left that file."""
    runs = scene.id2r_runs
    if not 0 <= scene.id2r_run_index < len(runs):
        return None
    path = Path(bpy.path.abspath(runs[scene.id2r_run_index].folder)) / protocol.LIGHT
    return path if path.is_file() else None


def head_of(collection: bpy.types.Collection) -> bpy.types.Object:
    """The head object of a run's collection. Raises Id2rError when it was deleted."""
    head = _head_among(collection.all_objects)
    if head is None:
        raise errors.Id2rError(f"The head of '{collection.name}' was deleted.", "Undo, or run it again.")
    return head


def current_head(context) -> bpy.types.Object | None:
    """The head that the panels are about: the active object's, else that of the shown run, else any in the scene."""
    active = context.object
    for each in (active, active.parent if active else None):
        if each and each.get(HEAD_MARK) == "head":
            return each
    scene = context.scene
    shown = scene.id2r_runs[scene.id2r_run_index : scene.id2r_run_index + 1]
    of_run = _head_among(shown[0].collection.all_objects) if shown and shown[0].collection else None
    return of_run or _head_among(scene.objects)


def _head_among(objects) -> bpy.types.Object | None:
    return next((each for each in objects if each.get(HEAD_MARK) == "head"), None)


def _aim(scene: "Scene", collection: bpy.types.Collection | None) -> None:
    """Bind the frames that show a head's cameras to the cameras of this collection."""
    for camera in (each for each in collection.all_objects if each.type == "CAMERA") if collection else ():
        kind = camera.name.partition(".")[0]
        for marker in scene.timeline_markers:
            if marker.camera and marker.camera.name.partition(".")[0] == kind:
                marker.camera = camera
        if scene.camera and scene.camera.name.partition(".")[0] == kind:
            scene.camera = camera
