"""What the artist sets (on the Scene) and what the running job says (on the WindowManager)."""

from pathlib import Path

import bpy
from bpy.props import BoolProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from .core import PACKAGE_ROOT, protocol

DEFAULTS = {name: field.default for name, field in protocol.Request.__dataclass_fields__.items()}


def installed_packs(_self, _context, _typed: str) -> list[str]:
    """Names of the weight packs that come with the core, for the search field."""
    folder = PACKAGE_ROOT / "id2r_core" / "packs"
    return sorted(each.parent.name for each in folder.glob("*/*.safetensors"))


class ID2R_Settings(bpy.types.PropertyGroup):
    """The options of one reconstruction; the same words as on the command line."""

    photo: StringProperty(name="Photo", description="A photo with one well-lit face", subtype="FILE_PATH")
    out: StringProperty(
        name="Keep Files In",
        description="Folder for the maps, the OBJ and the report. Empty: the result lives in this .blend alone",
        subtype="DIR_PATH",
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
        description="Side of the maps in texels",
        default=DEFAULTS["resolution"],
        min=protocol.SMALLEST_RESOLUTION,
        max=protocol.LARGEST_RESOLUTION,
    )
    template: StringProperty(
        name="Template",
        description="Whose reflectance the person's identity is swapped into: 'closest', or a template's name",
        default=DEFAULTS["template"],
    )
    keep_expression: BoolProperty(
        name="Keep Expression",
        description="Show the expression of the photo instead of a neutral face",
        default=DEFAULTS["keep_expression"],
    )
    refine: FloatProperty(
        name="Photo Detail",
        description="How strongly the photo's own colour and detail go into the maps (0: networks alone)",
        default=DEFAULTS["refine"],
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    set_up_scene: BoolProperty(
        name="Set Up Light and Cameras",
        description="Also set the world, the render settings and frames 1 (portrait) and 2 (over the photo)",
        default=True,
    )


class ID2R_Status(bpy.types.PropertyGroup):
    """The running job and the outcome of the last one, for the panel."""

    running: BoolProperty()
    cancelling: BoolProperty()
    stage: StringProperty()
    fraction: FloatProperty(min=0.0, max=1.0)
    error: StringProperty()
    hint: StringProperty()
    warnings: StringProperty(description="One a line")


def request_of(settings: ID2R_Settings, device: str) -> protocol.Request:
    """The settings as a request with absolute paths. Raises Id2rError for values that no job can have."""
    photo = bpy.path.abspath(settings.photo) if settings.photo else ""
    name = Path(photo).stem or "head"
    out = bpy.path.abspath(settings.out) if settings.out else str(Path(bpy.app.tempdir) / "id2r" / name)
    return protocol.Request(
        photo=photo,
        out=out,
        pack=settings.pack,
        resolution=settings.resolution,
        device=device,
        template=settings.template,
        keep_expression=settings.keep_expression,
        refine=round(settings.refine, 4),
    )


CLASSES = (ID2R_Settings, ID2R_Status)


def register() -> None:
    for each in CLASSES:
        bpy.utils.register_class(each)
    bpy.types.Scene.id2r = PointerProperty(type=ID2R_Settings)
    bpy.types.WindowManager.id2r = PointerProperty(type=ID2R_Status)


def unregister() -> None:
    del bpy.types.WindowManager.id2r
    del bpy.types.Scene.id2r
    for each in reversed(CLASSES):
        bpy.utils.unregister_class(each)
