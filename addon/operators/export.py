"""Maps and models for other programs."""

from pathlib import Path

import bpy
from bpy.props import EnumProperty

from .. import export, material
from ..core import errors
from ..lookdev import lens_of
from ..mesh_io import mesh_of
from .lookdev import collection_of
from .modal import tell
from .result import head_of


class ID2R_OT_export_maps(bpy.types.Operator):
    """Write the maps of the shown head with the settings of this panel"""

    bl_idname = "id2r.export_maps"
    bl_label = "Export Maps"
    bl_options = {"REGISTER"}

    def execute(self, context):
        return tell(self, self._export, context)

    def _export(self, context) -> None:
        settings = context.scene.id2r
        size = 0 if settings.export_size == "MAPS" else int(settings.export_size)
        skin = next((own for own in mesh_of(head_of(context)).materials if material.skin_node(own)), None)
        if skin is None:
            raise errors.Id2rError("The head has no ID2R skin any more.", "Undo, or reconstruct it again.")
        folder = export_folder(settings)
        tile = settings.export_tile if settings.export_udim else 0
        options = size, settings.export_format, settings.export_normals, settings.export_orm, tile
        paths = export.export_maps(skin, folder, *options)
        self.report({"INFO"}, f"{len(paths)} maps are in {folder}.")


class ID2R_OT_export_model(bpy.types.Operator):
    """Write the shown head with its expressions and with materials that other programs understand; strands of hair stay in Blender"""

    bl_idname = "id2r.export_model"
    bl_label = "Export Model"
    bl_options = {"REGISTER"}

    kind: EnumProperty(
        name="Format",
        description="Kind of file",
        items=[("GLTF", "glTF", "One .glb file"), ("USD", "USD", "For pipelines"), ("FBX", "FBX", "For game engines")],
    )

    def execute(self, context):
        return tell(self, self._export, context)

    def _export(self, context) -> None:
        head = head_of(context)
        path = export_folder(context.scene.id2r) / f"{bpy.path.clean_name(head.name)}{export.MODELS[self.kind]}"
        export.export_model(head, path, self.kind)
        self.report({"INFO"}, f"The head is in {path}.")


class ID2R_OT_mark_asset(bpy.types.Operator):
    """Put the shown head into the asset library of this file"""

    bl_idname = "id2r.mark_asset"
    bl_label = "Mark as Asset"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context):
        return tell(self, self._mark, context)

    def _mark(self, context) -> None:
        collection = collection_of(head_of(context))
        if collection.library:
            raise errors.Id2rError(f"'{collection.name}' is linked from another file.", "Mark it there.")
        cameras = [lens_of(each) for each in collection.all_objects if each.type == "CAMERA"]
        photos = [behind.image for camera in cameras for behind in camera.background_images if behind.image]
        export.mark_as_asset(collection, photos[0] if photos else None)


def export_folder(settings) -> Path:
    """Where exported files go. Raises Id2rError for a folder beside a .blend that was never saved."""
    if settings.export_folder.startswith("//") and not bpy.data.filepath:
        raise errors.Id2rError(
            "This .blend has not been saved yet.", "Save it, or choose another folder for the export."
        )
    return Path(bpy.path.abspath(settings.export_folder))


CLASSES = (ID2R_OT_export_maps, ID2R_OT_export_model, ID2R_OT_mark_asset)
