"""What differs between one Blender and another."""

from importlib import import_module
from typing import Any

import bpy

# For properties with paths that may begin with "//", beside the .blend; Blender before 4.5 has no word for it.
BESIDE_THE_BLEND = {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set()


def has_denoiser() -> bool:
    """Was this Blender built with OpenImageDenoise? Debian's was not: there the same samples leave some grain."""
    cycles: Any = import_module("_cycles")
    return cycles.with_openimagedenoise


def eevee_name(render: bpy.types.RenderSettings) -> str:
    """What EEVEE is called, which is otherwise in Blender 4.2 to 4.5."""
    names = render.bl_rna.properties["engine"].enum_items.keys()  # type: ignore[attr-defined]
    return "BLENDER_EEVEE_NEXT" if "BLENDER_EEVEE_NEXT" in names else "BLENDER_EEVEE"
