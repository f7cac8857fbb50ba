"""The maps on a mesh that is not ours: an MPFB or MakeHuman human takes them through its own texture layout."""

from pathlib import Path

import bpy
import numpy as np

from . import image_io, material
from .core import errors

MAKEHUMAN_VERTICES = (13380, 19158)  # the body alone, and with the helpers around it
MPFB_MARK = "MPFB_GEN_object_type"  # MPFB's own property on its base mesh
LAYOUT = "MakeHuman"  # name of that uv layer on our own heads
PORES = 640.0  # over the side of the MakeHuman layout, in which the head is smaller than on the head tile


def active_mesh(context) -> str:
    """The name of the active object. Raises Id2rError when the maps cannot go on it."""
    active = context.object
    if active is None:
        raise errors.Id2rError(
            "No mesh is active.", "Select an MPFB or MakeHuman human, or choose the target New Head."
        )
    return named_mesh(active.name).name


def named_mesh(name: str) -> bpy.types.Object:
    """A mesh with the MakeHuman layout. Raises Id2rError for anything else."""
    found = bpy.data.objects.get(name)
    if found is None or found.type != "MESH":
        raise errors.Id2rError(f"There is no mesh called '{name}'.", "Select an MPFB or MakeHuman human.")
    known = found.get(MPFB_MARK) == "Basemesh" or len(found.data.vertices) in MAKEHUMAN_VERTICES
    if not (known or LAYOUT in found.data.uv_layers) or not found.data.uv_layers:
        raise errors.Id2rError(
            f"'{name}' has not the texture layout of MPFB or MakeHuman.",
            "Select the base mesh of such a human; other meshes are not supported yet.",
        )
    return found


def apply_to_mesh(folder: Path, made: bpy.types.Object) -> bpy.types.Material:
    """Give a human the skin of `folder` (the MakeHuman maps of a result); body and rest keep their own material.

    Every material of the mesh is replaced by a copy in which the mask fades from its own surface to the new skin.
    """
    images = image_io.load_maps(folder)
    mask = image_io.load_image(folder / "mask.png", "Non-Color")
    layers = made.data.uv_layers
    uv_layer = LAYOUT if LAYOUT in layers else layers[0].name
    if not made.data.materials:
        made.data.materials.append(None)
    slot = _slot_of_the_head(made, uv_layer, mask)
    blended = _blended(made.data.materials[slot], images, mask, uv_layer)
    made.data.materials[slot] = blended
    return blended


def _slot_of_the_head(made: bpy.types.Object, uv_layer: str, mask: bpy.types.Image) -> int:
    """The material slot of most polygons that lie in the mask."""
    mesh = made.data
    if len(mesh.materials) == 1:
        return 0
    uv = np.empty(len(mesh.loops) * 2, np.float32)
    mesh.uv_layers[uv_layer].data.foreach_get("uv", uv)
    first, slot = np.empty(len(mesh.polygons), np.int32), np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("loop_start", first)
    mesh.polygons.foreach_get("material_index", slot)
    width, height = mask.size
    pixels = np.empty(width * height * 4, np.float32)
    mask.pixels.foreach_get(pixels)
    column, row = (uv.reshape(-1, 2)[first] % 1.0 * (width - 1, height - 1)).astype(int).T
    inside = pixels.reshape(height, width, 4)[row, column, 0] > 0.5
    return int(np.bincount(slot[inside], minlength=1).argmax())


def _blended(own: bpy.types.Material | None, images, mask, uv_layer: str) -> bpy.types.Material:
    """A copy of a material with the skin over it where the mask is white."""
    blended = own.copy() if own else bpy.data.materials.new(material.SKIN_NAME)
    if blended.node_tree is None:
        blended.use_nodes = True
    blended.name = f"{own.name} with ID2R Skin" if own else material.SKIN_NAME
    tree = blended.node_tree
    output = next(node for node in tree.nodes if node.type == "OUTPUT_MATERIAL" and node.is_active_output)
    before = output.inputs["Surface"].links[0].from_socket if output.inputs["Surface"].is_linked else None
    skin = material.add_skin_nodes(tree, images, uv_layer, PORES)
    uv = tree.nodes.new("ShaderNodeUVMap")
    uv.uv_map = uv_layer
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.name = texture.label = "mask"
    texture.image = mask
    blend = tree.nodes.new("ShaderNodeMixShader")
    blend.name = blend.label = "ID2R Blend"
    tree.links.new(uv.outputs["UV"], texture.inputs["Vector"])
    tree.links.new(texture.outputs["Color"], blend.inputs[0])
    if before:
        tree.links.new(before, blend.inputs[1])
    tree.links.new(skin.outputs["BSDF"], blend.inputs[2])
    tree.links.new(blend.outputs["Shader"], output.inputs["Surface"])
    return blended
