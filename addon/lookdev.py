"""Light and cameras: the HDRI world, the portrait camera and the camera that took the photo."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import hypot, pi, radians
from pathlib import Path
from typing import Any, cast

import bpy
import numpy as np
from mathutils import Matrix, Vector

from .builds import eevee_name, has_denoiser
from .core import conventions, errors
from .image_io import load_image
from .material import add_node, set_inputs, tree_of
from .mesh_io import CAMERA, HAIR, HEAD_MARK, HeadFile, HeadObjects, show_in_frame

SENSOR = 36.0  # mm, the long side of a full-frame picture
PORTRAIT_LENS = 200.0  # mm: seen from two metres, as portraits are taken, a head alone fills the picture
PORTRAIT_FRAME, PHOTO_FRAME = 1, 2
CAMERA_SIZE = 0.01  # metres as which a camera is drawn; with Blender's metre its lines would be around the head
TURNTABLE_FRAME = 101  # where the turntable begins: behind the frames of the portrait and of the photo
OWN_WORLD = "id2r"  # marks the worlds that this module made
OWN_FILE = "id2r_file"  # on the images of environments: which file, and of when
TURN = "ID2R Turn"  # the constraint by which a turning head stays in the middle of the portrait
GREY = "ID2R Grey"  # the node that says whether the camera sees grey
ROOM = 1.25  # of the width of two heads: what stands nearer than their middles looks larger
STARTUP_LAMP = 1000.0  # watts
STARTUP_CAMERA = (7.3589, -6.9258, 4.9583)
SAMPLES = {"PREVIEW": {"CYCLES": 32, "EEVEE": 16}, "FINAL": {"CYCLES": 256, "EEVEE": 64}}
GREY_BACKDROP = 0.10  # linear, behind the head
FRAMING = 1.15  # height of the portrait's frame, of the height of the head
VIEW_FROM_BLENDER_CAMERA = Matrix.Diagonal((1.0, -1.0, -1.0, 1.0))  # Blender's cameras look along -z with y up


@dataclass(frozen=True)
class Light:
    """How one of Blender's own HDRIs flatters a face that looks along -y: turn (radians) and exposure."""

    rotation: float
    strength: float


HDRIS = {
    "forest": Light(radians(90), 1.15),  # the first one is what a new head opens under: soft, in EEVEE too
    "studio": Light(radians(45), 1.15),
    "courtyard": Light(radians(110), 1.12),
    "interior": Light(radians(135), 1.20),
    "city": Light(radians(90), 0.78),
    "sunset": Light(radians(90), 1.22),
    "sunrise": Light(radians(90), 0.86),
    "night": Light(radians(180), 2.60),
}


def hdri_folder() -> Path:
    """Where Blender keeps its eight environments."""
    return Path(bpy.utils.system_resource("DATAFILES", path="studiolights/world"))  # type: ignore[attr-defined]


def hdri_path(name: str) -> Path:
    """One of Blender's own by name ("studio"), or any file by path."""
    path = hdri_folder() / f"{name}.exr" if name in HDRIS else Path(bpy.path.abspath(name))
    if not path.is_file():
        raise errors.Id2rError(f"There is no environment {name!r}.", f"Choose a file, or one of {', '.join(HDRIS)}.")
    return path


def set_hdri(
    scene: bpy.types.Scene, name: str, rotation: float = 0.0, strength: float = 1.0, background: str = "LIGHT"
) -> bpy.types.World:
    """Light the scene with an environment. rotation: radians about the vertical, on top of the environment's own.

    background: what the camera sees behind the head, "LIGHT" (the environment) or "GREY"
    """
    path = hdri_path(name)
    light = HDRIS.get(name, Light(0.0, 1.0))
    if not is_lit(scene):  # the artist's own world stays as it is
        scene.world = bpy.data.worlds.new("ID2R World")
        scene.world[OWN_WORLD] = True
    world: Any = scene.world
    world.sun_threshold = 0.0  # EEVEE would make one sun of all lamps; its hard shadow turns teeth black
    tree = tree_of(world)
    links = tree.links
    tree.nodes.clear()
    coordinates = add_node(tree, "ShaderNodeTexCoord", (0, 0))
    mapping = add_node(tree, "ShaderNodeMapping", (250, 0))
    texture = add_node(tree, "ShaderNodeTexEnvironment", (500, 0), image=_environment(path))
    lit = add_node(tree, "ShaderNodeBackground", (750, 0), name="Background")
    seen = add_node(tree, "ShaderNodeLightPath", (250, 500))
    is_grey = add_node(tree, "ShaderNodeMath", (500, 400), operation="MULTIPLY", name=GREY, label="Grey for the Camera")
    grey = add_node(tree, "ShaderNodeBackground", (750, -150), label="Grey Backdrop")
    mix = add_node(tree, "ShaderNodeMixShader", (1000, 0))
    output = add_node(tree, "ShaderNodeOutputWorld", (1250, 0))
    set_inputs(grey, {"Color": (GREY_BACKDROP, GREY_BACKDROP, GREY_BACKDROP, 1.0), "Strength": 1.0})
    is_grey.inputs[1].default_value = float(background == "GREY")
    set_inputs(mapping, {"Rotation": (0.0, 0.0, light.rotation + rotation)})
    set_inputs(lit, {"Strength": light.strength * strength})
    links.new(coordinates.outputs["Generated"], mapping.inputs["Vector"])
    links.new(mapping.outputs["Vector"], texture.inputs["Vector"])
    links.new(texture.outputs["Color"], lit.inputs["Color"])
    links.new(seen.outputs["Is Camera Ray"], is_grey.inputs[0])
    links.new(is_grey.outputs["Value"], mix.inputs[0])
    links.new(lit.outputs["Background"], mix.inputs[1])
    links.new(grey.outputs["Background"], mix.inputs[2])
    links.new(mix.outputs["Shader"], output.inputs["Surface"])
    return world


def turn_hdri(scene: bpy.types.Scene, name: str, rotation: float, strength: float) -> None:
    """Turn and dim the environment `name` that already lights the scene; another light stays as it is."""
    if not is_lit(scene):
        return
    light = HDRIS.get(name, Light(0.0, 1.0))
    nodes: Any = scene.world.node_tree.nodes
    nodes["Mapping"].inputs["Rotation"].default_value[2] = light.rotation + rotation
    nodes["Background"].inputs["Strength"].default_value = light.strength * strength


def set_background(scene: bpy.types.Scene, background: str) -> None:
    """What the camera sees behind the head: "GREY", the environment ("LIGHT") or nothing ("NONE")."""
    scene.render.film_transparent = background == "NONE"
    if is_lit(scene):
        is_grey: Any = scene.world.node_tree.nodes.get(GREY)
        if is_grey:  # worlds of older files have none
            is_grey.inputs[1].default_value = float(background == "GREY")


def is_lit(scene: bpy.types.Scene) -> bool:
    """Does an environment of ours light the scene?"""
    return bool(scene.world and scene.world.get(OWN_WORLD))


def _environment(path: Path) -> bpy.types.Image:
    """The packed image of an environment, loaded once a file: two photos' lights have one name and two folders."""
    file = f"{path} {path.stat().st_mtime_ns}"
    known = next((image for image in bpy.data.images if image.get(OWN_FILE) == file and not image.library), None)
    if known is None:
        known = load_image(path, "Linear Rec.709")
        known[OWN_FILE] = file
    return known


def add_portrait_camera(collection: bpy.types.Collection, head: bpy.types.Object) -> bpy.types.Object:
    """A camera two metres in front of the face: from nearer, noses grow and jaws shrink beside those of a portrait photo. Turn
    its parent "Portrait Orbit" for a three-quarter view."""
    low, high = _box(head)
    orbit = bpy.data.objects.new("Portrait Orbit", None)
    orbit.empty_display_size = 0.05
    orbit.location = (0.0, (low.y + high.y) / 2.0, (low.z + high.z) / 2.0)
    lens = bpy.data.cameras.new("Portrait")
    lens.lens = PORTRAIT_LENS
    lens.display_size = CAMERA_SIZE
    lens.sensor_fit = "VERTICAL"
    lens.sensor_height = SENSOR
    lens.clip_start = 0.01
    camera = bpy.data.objects.new("Portrait", lens)
    camera.location = (0.0, -_distance(head, PORTRAIT_LENS), 0.0)
    camera.rotation_euler = (pi / 2.0, 0.0, 0.0)
    camera.parent = orbit
    for made in (orbit, camera):
        made[HEAD_MARK] = CAMERA
        collection.objects.link(made)
    return camera


def _distance(head: bpy.types.Object, lens: float) -> float:
    """Metres from the middle of a head to a camera that sees its outline at one size whatever its lens, mm, as it would a ball's:
    the nearer, the more of a ball lies behind its outline."""
    low, high = _box(head)
    return hypot(lens * (high.z - low.z) * FRAMING / SENSOR, (high.y - low.y) / 2.0)


def lens_of(camera: bpy.types.Object) -> bpy.types.Camera:
    return cast(bpy.types.Camera, camera.data)


def _box(head: bpy.types.Object) -> tuple[Vector, Vector]:
    """Lowest and highest corner of a head, in its own axes, with the hair that stands above it."""
    corners = np.array(head.bound_box)
    hair = [each for each in head.children if each.get(HEAD_MARK) == HAIR]
    low, high = corners.min(0), corners.max(0)
    above = [(each.matrix_local @ Vector(corner)).z for each in hair for corner in each.bound_box]
    high[2] = max([high[2], *above])
    return Vector(low.tolist()), Vector(high.tolist())


def portrait_of(collection: bpy.types.Collection) -> bpy.types.Object:
    """The portrait camera of a run. Raises Id2rError when it was deleted."""
    found = [each for each in collection.all_objects if each.type == "CAMERA" and each.name.startswith("Portrait")]
    if not found:
        raise errors.Id2rError(f"'{collection.name}' has no portrait camera.", "Undo, or run it again.")
    return found[0]


def add_photo_camera(collection, data: HeadFile, photo: bpy.types.Image) -> bpy.types.Object:
    """The pinhole that took the photo, with the photo behind the head. Needs the render size to be the photo's."""
    width, height = data.photo_size
    lens = bpy.data.cameras.new("Photo")
    lens.display_size = CAMERA_SIZE
    camera = bpy.data.objects.new("Photo", lens)
    lens.sensor_fit = "HORIZONTAL"
    lens.sensor_width = SENSOR
    lens.lens = data.camera_focal * SENSOR / width
    lens.shift_x = 0.5 - float(data.camera_principal[0]) / width
    lens.shift_y = (float(data.camera_principal[1]) - height / 2.0) / width
    lens.clip_start = 0.01
    lens.show_background_images = True
    background = lens.background_images.new()
    background.image = photo
    background.alpha = 1.0
    background.display_depth = "BACK"
    background.frame_method = "STRETCH"
    camera.matrix_world = _blender_camera_to_world(data.camera_view_from_world)
    camera[HEAD_MARK] = CAMERA
    collection.objects.link(camera)
    return camera


def _blender_camera_to_world(view_from_world: np.ndarray) -> Matrix:
    """The core's view matrix (y-up world, OpenCV view) as the matrix_world of a Blender camera."""
    zup_from_yup = Matrix.Identity(4)
    axes = conventions.yup_to_zup(np.eye(3))  # row i is where the i-th y-up axis points
    for column in range(3):
        for row in range(3):
            zup_from_yup[row][column] = axes[column, row]
    return zup_from_yup @ Matrix(view_from_world.tolist()).inverted() @ VIEW_FROM_BLENDER_CAMERA


def bind_views(scene: bpy.types.Scene, made: HeadObjects, portrait: bpy.types.Object, photo: bpy.types.Object) -> None:
    """Frame 1: the head through Portrait. Frame 2: as photographed, through Photo, over the photo."""
    for frame, camera in ((PORTRAIT_FRAME, portrait), (PHOTO_FRAME, photo)):
        _bind(scene, frame, camera)
    show_in_frame(made.head, PHOTO_FRAME)
    scene.frame_start, scene.frame_end = PORTRAIT_FRAME, PHOTO_FRAME
    scene.frame_set(PORTRAIT_FRAME)
    scene.camera = portrait


def _bind(scene: bpy.types.Scene, frame: int, camera: bpy.types.Object) -> None:
    """From this frame on the scene is seen through this camera, whatever was bound there before."""
    for marker in [each for each in scene.timeline_markers if each.frame == frame and each.camera]:
        scene.timeline_markers.remove(marker)
    scene.timeline_markers.new(camera.name, frame=frame).camera = camera


def set_lens(camera: bpy.types.Object, head: bpy.types.Object, lens: float) -> None:
    """Another focal length in mm; the camera moves so that the outline of the head and of the hair that is on it now
    keeps its size in the picture."""
    lens_of(camera).lens = lens
    camera.location.y = -_distance(head, lens)


def step_back(scene: bpy.types.Scene, camera: bpy.types.Object, width: float) -> None:
    """Move the portrait camera away until it sees `width` metres around its target."""
    aspect = scene.render.resolution_x / scene.render.resolution_y
    camera.location.y = min(camera.location.y, -width * ROOM / aspect * lens_of(camera).lens / SENSOR)


def set_turntable(scene: bpy.types.Scene, head: bpy.types.Object, camera: bpy.types.Object, turn: str, frames: int):
    """A full turn of the "HEAD" or the "LIGHT" in the frames from TURNTABLE_FRAME on; "NONE" goes back to the portrait.

    A head turns about its middle, where the portrait camera looks, and not about its origin between the eyes.

    Raises Id2rError when the light is to turn and no environment of ours lights the scene.
    """
    first, last = TURNTABLE_FRAME, TURNTABLE_FRAME + frames
    light = _mapping(scene) if turn == "LIGHT" or is_lit(scene) else None
    _end_turn(head, "rotation_euler")
    _end_pivot(head)
    if light:
        _end_turn(light.inputs["Rotation"], "default_value")
    if turn == "NONE":
        scene.frame_start, scene.frame_end = PORTRAIT_FRAME, PHOTO_FRAME
        scene.frame_set(PORTRAIT_FRAME)
        return
    if light and turn == "LIGHT":
        _turn_over(light.inputs["Rotation"], "default_value", first, last)
    else:
        _turn_over(head, "rotation_euler", first, last)
        _pivot_about_middle(head)
    _bind(scene, first, camera)
    scene.frame_start, scene.frame_end = first, last - 1  # the last frame would repeat the first
    scene.frame_set(first)


def turn_now(scene: bpy.types.Scene, head: bpy.types.Object) -> str:
    """What turns in the turntable's frames: the "HEAD", the "LIGHT" or "NONE"."""
    if _turn_of(head, "rotation_euler"):
        return "HEAD"
    nodes: Any = scene.world.node_tree.nodes if is_lit(scene) else {}
    light = nodes.get("Mapping")
    return "LIGHT" if light and _turn_of(light.inputs["Rotation"], "default_value") else "NONE"


def _turn_over(owner, path: str, first: int, last: int) -> None:
    """Key a full turn about the vertical at even speed, from the angle that is set now."""
    angles = getattr(owner, path)
    start = angles[2]
    for frame, turn in ((first, 0.0), (last, 2.0 * pi)):
        angles[2] = start + turn
        owner.keyframe_insert(path, index=2, frame=frame)
    for point in _turn_of(owner, path).keyframe_points:
        point.interpolation = "LINEAR"


def _end_turn(owner, path: str) -> None:
    """Take the keys of a turn away and go back to the angle that it began with; other keys stay."""
    curve = _turn_of(owner, path)
    if curve:
        getattr(owner, path)[2] = curve.keyframe_points[0].co.y
        _curves(owner.id_data).remove(curve)


def _pivot_about_middle(head: bpy.types.Object) -> None:
    """Whatever way a head is turned, its middle stays where it is when it looks ahead."""
    low, high = _box(head)
    pivot: Any = head.constraints.new("PIVOT")
    pivot.name = TURN
    pivot.rotation_range = "ALWAYS_ACTIVE"
    pivot.use_relative_location = True
    pivot.offset = (0.0, (low.y + high.y) / 2.0, 0.0)


def _end_pivot(head: bpy.types.Object) -> None:
    pivot: Any = head.constraints.get(TURN)
    if pivot:
        head.constraints.remove(pivot)


def _turn_of(owner, path: str):
    """The animation curve of a turn about the vertical; None without."""
    whole = owner.path_from_id(path)
    keys = owner.id_data.animation_data
    curves = _curves(owner.id_data) if keys and keys.action else ()
    return next((each for each in curves if each.data_path == whole and each.array_index == 2), None)


def _mapping(scene: bpy.types.Scene):
    tree = scene.world.node_tree if is_lit(scene) else None
    mapping = tree.nodes.get("Mapping") if tree else None
    if mapping is None:
        raise errors.Id2rError("No environment lights this scene.", "Choose one in the Lookdev panel first.")
    return mapping


def _curves(keys: Any):
    """The animation curves of a data-block; since 4.4 they lie in a channel bag of the action's slot."""
    action = keys.animation_data.action
    if hasattr(action, "layers"):
        slot = keys.animation_data.action_slot
        bags = [strip.channelbag(slot) for layer in action.layers for strip in layer.strips if slot]
        return next((bag.fcurves for bag in bags if bag), ())  # an action that is still empty has no layer
    return action.fcurves


def clear_stage(scene: bpy.types.Scene) -> None:
    """Hide the cube, the lamp and the camera with which Blender starts, as long as they are as it made them: the head stands
    inside the cube, and the lines of the camera lie across the portrait."""
    cube: Any = scene.objects.get("Cube")
    lamp: Any = scene.objects.get("Light")
    camera: Any = scene.objects.get("Camera")
    if (
        cube
        and cube.type == "MESH"
        and cube.mode == "OBJECT"
        and len(cube.data.vertices) == 8
        and not any(cube.location)
    ):
        cube.hide_viewport = cube.hide_render = True
        for layer in scene.view_layers:
            if layer.objects.active == cube:  # what is not seen is not what the next command is for
                layer.objects.active = None
    if lamp and lamp.type == "LIGHT" and lamp.data.energy == STARTUP_LAMP:
        lamp.hide_viewport = lamp.hide_render = True
    if camera and camera.type == "CAMERA" and (camera.location - Vector(STARTUP_CAMERA)).length < 0.001:
        camera.hide_viewport = camera.hide_render = True


def show_through_camera(screen: bpy.types.Screen, collection: bpy.types.Collection | None = None) -> None:
    """The 3D viewports of a screen show the head as the camera sees it, textured and lit; in a local view, too."""
    for area in screen.areas:
        if area.type == "VIEW_3D":
            view: Any = area.spaces.active
            view.region_3d.view_perspective = "CAMERA"
            if view.shading.type in {"WIREFRAME", "SOLID"}:
                view.shading.type = "MATERIAL"
            view.shading.use_scene_world = True
            for made in collection.all_objects if collection and view.local_view else ():
                made.local_view_set(view, True)


def set_render(scene: bpy.types.Scene, size: tuple[int, int], samples: int) -> None:
    """Cycles with a denoiser, so that few samples do; size: (width, height) in pixels."""
    scene.render.resolution_x, scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    set_cycles(scene, samples)


def set_cycles(scene: bpy.types.Scene, samples: int) -> None:
    """Cycles, set up for skin."""
    scene.render.engine = "CYCLES"  # type: ignore[assignment]
    scene.render.use_persistent_data = True  # between views only the camera or the light changes
    scene.cycles.samples = samples
    scene.cycles.use_adaptive_sampling = True
    scene.cycles.adaptive_threshold = 0.03
    scene.cycles.use_denoising = has_denoiser()
    if scene.cycles.use_denoising:
        scene.cycles.denoiser = "OPENIMAGEDENOISE"
    scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
    set_view(scene)


def set_eevee(scene: bpy.types.Scene, samples: int) -> None:
    """EEVEE, set up for skin."""
    scene.render.engine = eevee_name(scene.render)  # type: ignore[assignment]
    scene.eevee.taa_render_samples = samples
    scene.eevee.use_shadows = True
    set_view(scene)


def render_now(scene: bpy.types.Scene) -> tuple[str, int]:
    """Which engine renders, as "CYCLES" or "EEVEE", with how many samples of a pixel; ("", 0) for any other."""
    if scene.render.engine == "CYCLES":
        return "CYCLES", scene.cycles.samples
    return ("EEVEE", scene.eevee.taa_render_samples) if "EEVEE" in scene.render.engine else ("", 0)


def set_view(scene: bpy.types.Scene) -> None:
    """The view transform under which the materials were tuned: it shows skin in its own colour, as photos do, and presses
    highlights alone. AgX pales everything that is bright, brown skin most."""
    view: Any = scene.view_settings
    view.look, view.view_transform = "None", "Khronos PBR Neutral"


@contextmanager
def developed_plainly(scene: bpy.types.Scene) -> Iterator[None]:
    """Inside, what is rendered comes out as bright as it is: under the light of its photo a head looks as in the photo."""
    view: Any = scene.view_settings
    kept = view.view_transform, view.look
    view.look, view.view_transform = "None", "Standard"
    try:
        yield
    finally:
        view.view_transform, view.look = kept
