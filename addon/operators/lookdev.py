"""Light the scene with an environment."""

from typing import ClassVar

import bpy
from bpy.props import FloatProperty, StringProperty

from .. import lookdev
from ..core import errors


class ID2R_OT_set_hdri(bpy.types.Operator):
    """Light the scene with this environment"""

    bl_idname = "id2r.set_hdri"
    bl_label = "Set HDRI"
    bl_options: ClassVar[set[str]] = {"REGISTER", "UNDO"}

    name: StringProperty(name="Environment", description="One of Blender's own by name, or a file", default="studio")
    rotation: FloatProperty(name="Rotation", description="About the vertical", subtype="ANGLE")
    strength: FloatProperty(name="Strength", default=1.0, min=0.0, soft_max=4.0)

    def execute(self, context):
        try:
            lookdev.set_hdri(context.scene, self.name, self.rotation, self.strength)
        except errors.Id2rError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}
