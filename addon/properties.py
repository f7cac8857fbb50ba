"""What the artist sets (on the Scene), what was made (its history), and what the running job says (WindowManager)."""

from pathlib import Path
from typing import TYPE_CHECKING

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from . import gallery, lookdev, packs
from .builds import BESIDE_THE_BLEND
from .core import protocol

DEFAULTS = {name: field.default for name, field in protocol.Request.__dataclass_fields__.items()}
SIZES = [(str(side), str(side), f"{side} x {side} texels") for side in (512, 1024, 2048, 4096)]


def installed_packs(_settings, _context, _typed: str) -> list[str]:
    """Weight packs for the search field: names of those that come with the core, folders of the artist's own."""
    return [packs.word_of(folder) for folder in packs.pack_folders()]


def templates(settings, _context, _typed: str) -> list[str]:
    """The templates of the chosen pack, for the search field."""
    return ["closest", "fixed", *packs.template_names(settings.pack)]


def _another_photo(settings, _context) -> None:
    settings.property_unset("face")
    settings.property_unset("landmarks")
    settings.more_photos.clear()  # another photo is another person


def _another_face(settings, _context) -> None:
    settings.property_unset("landmarks")


def _relight(settings, context) -> None:
    light = settings.hdri, settings.hdri_rotation, settings.hdri_strength
    lookdev.set_hdri(context.scene, *light, settings.background)


def _turn(settings, context) -> None:
    lookdev.turn_hdri(context.scene, settings.hdri, settings.hdri_rotation, settings.hdri_strength)


def _set_background(settings, context) -> None:
    lookdev.set_background(context.scene, settings.background)


def _chosen_template(settings) -> int:
    numbers = {name: number for name, _, _, _, number in gallery.template_items(settings, None)}
    return numbers.get(settings.template, 0)


def _choose_template(settings, number: int) -> None:
    settings.template = gallery.template_items(settings, None)[number][0]


def factor(option: str, description: str):
    """A property for an option of the request from 0 to 1."""
    return FloatProperty(
        name=option.title(), description=description, default=DEFAULTS[option], min=0.0, max=1.0, subtype="FACTOR"
    )


class ID2R_MorePhoto(bpy.types.PropertyGroup):
    """A further photo of the same person."""

    path: StringProperty(
        name="Photo", description="A further photo of the same person", subtype="FILE_PATH", options=BESIDE_THE_BLEND
    )


class ID2R_Settings(bpy.types.PropertyGroup):
    """The options of one reconstruction, in the same words as on the command line; of lookdev; and of export."""

    photo: StringProperty(
        name="Photo",
        description="A photo with one well-lit face",
        subtype="FILE_PATH",
        options=BESIDE_THE_BLEND,
        update=_another_photo,
    )
    face: IntProperty(
        name="Face",
        description="Which face, when the photo shows several: 1 is the largest",
        default=DEFAULTS["face"],
        min=1,
        soft_max=8,
        update=_another_face,
    )
    more_photos: CollectionProperty(
        name="More Photos",
        description="Up to four further photos of the same person; choosing another photo forgets them",
        type=ID2R_MorePhoto,
    )
    landmarks: StringProperty(
        name="Landmarks", description="JSON: [x, y] of corrected landmarks by number, in pixels of the upright photo"
    )
    image: PointerProperty(name="Image", description="An image that is open in this file", type=bpy.types.Image)
    camera: IntProperty(name="Camera", description="Which webcam; 0 is the first", min=0, max=20)
    countdown: FloatProperty(
        name="Countdown", description="Seconds until the webcam takes the photo", default=3.0, min=0.0, max=60.0
    )
    out: StringProperty(
        name="Keep Files In",
        description="Folder for the maps, the OBJ and the report. Empty: the result lives in this .blend alone",
        subtype="DIR_PATH",
        options=BESIDE_THE_BLEND,
    )
    pack: StringProperty(
        name="Pack",
        description="Weight pack: the name of an installed one, or a folder",
        default=DEFAULTS["pack"],
        search=installed_packs,
        search_options={"SUGGESTION"},
    )
    resolution: IntProperty(
        name="Resolution",
        description="Side of the maps in texels; a texel is never sharper than the photo",
        default=DEFAULTS["resolution"],
        min=protocol.SMALLEST_RESOLUTION,
        max=protocol.LARGEST_RESOLUTION,
    )
    template: StringProperty(
        name="Template",
        description="Whose reflectance the person's identity is swapped into: 'closest', or a template's name",
        default=DEFAULTS["template"],
        search=templates,
        search_options={"SUGGESTION"},
    )
    template_seen: EnumProperty(
        name="Template",
        description="Whose reflectance the person's identity is swapped into, chosen by eye",
        items=gallery.template_items,
        get=_chosen_template,
        set=_choose_template,
        options={"SKIP_SAVE"},
    )
    keep_expression: BoolProperty(
        name="Keep Expression",
        description="Open the head with the expression of the photo on it; a slider of the result takes it off",
        default=DEFAULTS["keep_expression"],
    )
    refine: factor("refine", "How strongly the photo's own colour and detail go into the maps (0: networks alone)")
    hair: factor("hair", "How densely hair grows where the photo shows some (0: bald)")
    pores: factor(
        "pores", "How strongly pores and fine wrinkles are synthesised that the photo does not show (0: none)"
    )
    target: EnumProperty(
        name="Target",
        description="What the reconstruction puts into the scene",
        items=[
            ("NEW", "New Head", "A head of its own, fitted to the photo"),
            ("MESH", "Active Mesh", "Also put the skin on the active mesh, in its own UV map"),
        ],
    )
    set_up_scene: BoolProperty(
        name="Set Up Scene",
        description="Also set the world, the render settings and frames 1 (portrait) and 2 (over the photo)",
        default=True,
    )
    hdri: EnumProperty(name="Environment", description="The light", items=gallery.environment_items, update=_relight)
    hdri_rotation: FloatProperty(
        name="Rotation", description="Turns the light about the vertical", subtype="ANGLE", update=_turn
    )
    hdri_strength: FloatProperty(
        name="Strength", description="Brightness of the light", default=1.0, min=0.0, soft_max=4.0, update=_turn
    )
    background: EnumProperty(
        name="Background",
        description="What the camera sees behind the head; the environment lights it in any case",
        items=[
            ("GREY", "Grey", "A neutral grey, as in a studio"),
            ("LIGHT", "World", "The environment itself"),
            ("NONE", "None", "Nothing: the picture is transparent there"),
        ],
        update=_set_background,
    )
    export_folder: StringProperty(
        name="Folder",
        description="Where the exported files go",
        subtype="DIR_PATH",
        default="//id2r_export/",
        options=BESIDE_THE_BLEND,
    )
    export_size: EnumProperty(
        name="Size", items=[("MAPS", "As the Maps", "No resampling"), *SIZES], description="Side of the exported maps"
    )
    export_format: EnumProperty(
        name="Format",
        description="How the maps are stored",
        items=[
            ("PNG8", "PNG 8", "8 bit: small, enough for colour"),
            ("PNG16", "PNG 16", "16 bit: for roughness and normals"),
            ("EXR", "EXR", "Half float, linear"),
        ],
        default="PNG16",
    )
    export_normals: EnumProperty(
        name="Normals",
        description="Which way the green of the normal map points",
        items=[
            ("OPENGL", "OpenGL", "Green points up: Blender, Unity, glTF"),
            ("DIRECTX", "DirectX", "Green points down: Unreal, 3ds Max"),
        ],
    )
    export_orm: BoolProperty(
        name="Packed ORM",
        description="Also one picture with occlusion, roughness and metallic in red, green and blue",
    )

    export_udim: BoolProperty(
        name="UDIM",
        description="Put the number of a UDIM tile into the names of the maps: diffuse.1001.png",
    )
    export_tile: IntProperty(
        name="Tile",
        description="The UDIM tile in which you lay out the head; the models that are exported stay in the first",
        default=1001,
        min=1001,
        max=2000,
    )


class ID2R_Run(bpy.types.PropertyGroup):
    """One finished reconstruction; `request` is the JSON of its Request, `warnings` has one a line."""

    photo: StringProperty()
    folder: StringProperty()
    request: StringProperty()
    when: StringProperty()
    seconds: FloatProperty()
    warnings: StringProperty()
    collection: PointerProperty(type=bpy.types.Collection)


class ID2R_Status(bpy.types.PropertyGroup):
    """The running job and the outcome of the last one, for the panel."""

    running: BoolProperty()
    cancelling: BoolProperty()
    task: StringProperty(description="What the running job makes: its title in the panel")
    stage: StringProperty()
    fraction: FloatProperty(min=0.0, max=1.0)
    seconds_left: FloatProperty()
    error: StringProperty()
    hint: StringProperty()
    trace: StringProperty(description="Where in the code an unforeseen failure happened, for the problem report")
    warnings: StringProperty(description="One a line")
    preview: StringProperty(description="What the webcam sees now, while it is counting down")
    faces: StringProperty(description="JSON: the faces of the photo, as addon.faces keeps them")
    devices: StringProperty(description="JSON: label by device name, as the worker found them")


def request_of(settings: ID2R_Settings, device: str) -> protocol.Request:
    """The settings as a request with absolute paths. Raises Id2rError for values that no job can have."""
    photo = bpy.path.abspath(settings.photo) if settings.photo else ""
    base = Path(bpy.path.abspath(settings.out)) if settings.out else Path(bpy.app.tempdir) / "id2r"
    out = str(_free_folder(base / (Path(photo).stem or "head")))
    return protocol.Request(
        photo=photo,
        out=out,
        pack=settings.pack,
        resolution=settings.resolution,
        device=device,
        template=settings.template,
        keep_expression=settings.keep_expression,
        refine=round(settings.refine, 4),
        hair=round(settings.hair, 4),
        pores=round(settings.pores, 4),
        face=settings.face,
        interactive_landmarks=settings.landmarks,
        more_photos=tuple(bpy.path.abspath(each.path) for each in settings.more_photos),
    )


def apply_request(settings: ID2R_Settings, request: dict) -> None:
    """Set the options to those of an earlier request."""
    for name in ("photo", "face", "pack", "resolution", "template", "keep_expression", "refine", "hair", "pores"):
        setattr(settings, name, request.get(name, DEFAULTS.get(name)))  # .blend files of older versions lack some
    settings.landmarks = request.get("interactive_landmarks", "")
    for path in request.get("more_photos", ()):
        settings.more_photos.add().path = path


def _free_folder(folder: Path) -> Path:
    """This folder, or one beside it with a number, that no earlier run uses."""
    name, number = folder.name, 1
    while (folder / "head.npz").is_file():
        number += 1
        folder = folder.with_name(f"{name} {number}")
    return folder


CLASSES = (ID2R_MorePhoto, ID2R_Settings, ID2R_Run, ID2R_Status)
ADDED = (
    (bpy.types.Scene, "id2r", PointerProperty(type=ID2R_Settings)),
    (bpy.types.Scene, "id2r_runs", CollectionProperty(type=ID2R_Run)),
    (
        bpy.types.Scene,
        "id2r_run_index",
        IntProperty(name="Run", min=0, description="The run that the Result panel shows"),
    ),
    (bpy.types.WindowManager, "id2r", PointerProperty(type=ID2R_Status)),
)

if TYPE_CHECKING:

    class Scene(bpy.types.Scene):
        """A scene with what `register` adds, for the type checker."""

        id2r: ID2R_Settings
        id2r_runs: bpy.types.bpy_prop_collection_idprop[ID2R_Run]
        id2r_run_index: int


def register() -> None:
    for each in CLASSES:
        bpy.utils.register_class(each)
    for owner, name, kind in ADDED:
        setattr(owner, name, kind)


def unregister() -> None:
    for owner, name, _ in reversed(ADDED):
        delattr(owner, name)
    for each in reversed(CLASSES):
        bpy.utils.unregister_class(each)
