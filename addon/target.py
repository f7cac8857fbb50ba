"""The maps on a mesh that is not ours.

An MPFB or MakeHuman human takes them through its own texture layout; any other mesh with a uv layout by its surface.
"""

import json
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import image_io, material
from .core import errors, protocol
from .mesh_io import mesh_of
from .steps import Steps

MAKEHUMAN_VERTICES = (13380, 19158)  # the body alone, and with the helpers around it
MPFB_MARK = "MPFB_GEN_object_type"  # MPFB's own property on its base mesh
LAYOUT = "MakeHuman"  # name of that uv layer on our own heads
FOLDER = "transfer"  # of meshes on their way to the worker, and of maps in a result folder
FIT_MARK, FIT_ERROR = "id2r_fit_of", "id2r_fit_mm"  # properties of the wire that shows it
MADE_OF = "id2r_of"  # of a material: the one that it was copied from, or an empty word
PORES = 640.0  # over the side of the MakeHuman layout, in which the head is smaller than on the head tile


def chosen_mesh(context, name: str = "") -> bpy.types.Object:
    """The mesh of this name, or the active one, that the maps can go on. Raises Id2rError when there is none."""
    if not name and context.object is None:
        raise errors.Id2rError("No mesh is active.", "Select the mesh of a head, or choose the target New Head.")
    return named_mesh(name or context.object.name)


def named_mesh(name: str) -> bpy.types.Object:
    """A mesh with a uv layout. Raises Id2rError for anything else."""
    found: bpy.types.Object | None = bpy.data.objects.get(name)
    if found is None or found.type != "MESH":
        raise errors.Id2rError(f"There is no mesh called '{name}'.", "Select the mesh of a head, not its rig.")
    if found.mode == "EDIT":  # in which its layout cannot be read
        raise errors.Id2rError(f"'{name}' is in Edit Mode.", "Leave it first (Tab).")
    if found.library or mesh_of(found).library:
        raise errors.Id2rError(f"'{name}' is linked from another file.", "Make it local: Object > Relations.")
    if not mesh_of(found).uv_layers or not mesh_of(found).polygons:
        raise errors.Id2rError(f"'{name}' has no UV map.", "Unwrap it first: Edit Mode, UV > Unwrap.")
    return found


def is_makehuman(made: bpy.types.Object) -> bool:
    """Does the mesh have the texture layout of MakeHuman and MPFB?"""
    known = made.get(MPFB_MARK) == "Basemesh" or len(mesh_of(made).vertices) in MAKEHUMAN_VERTICES
    return known or LAYOUT in mesh_of(made).uv_layers


def layer_of(made: bpy.types.Object) -> str:
    """The name of the uv layer that the maps follow."""
    layers = mesh_of(made).uv_layers
    if LAYOUT in layers:
        return LAYOUT
    return layers[0].name if is_makehuman(made) else layers.active.name


def request_for(made: bpy.types.Object, folder: str, size: int, only_fit: bool = False) -> protocol.AnyRequest:
    """What the worker is to do so that the maps of a result folder fit the mesh."""
    if is_makehuman(made) and not only_fit:
        return protocol.MakeHumanRequest(folder, size)
    name = bpy.path.clean_name(made.name)
    stored = Path(bpy.app.tempdir) / FOLDER / f"{name}.npz"
    store_mesh(made, stored)
    out = Path(bpy.app.tempdir) / FOLDER / f"{name} fit" if only_fit else Path(folder) / FOLDER / name
    return protocol.TransferRequest(folder, str(stored), str(out), size, only_fit)


def store_mesh(made: bpy.types.Object, path: Path) -> None:
    """The mesh at rest as the worker reads it: vertices in the world, triangles, and their places in the uv layer."""
    mesh = mesh_of(made)
    mesh.calc_loop_triangles()
    count = len(mesh.loop_triangles)
    arrays: dict[str, tuple[Any, str, int, type]] = {
        "vertices": (mesh.vertices, "co", len(mesh.vertices) * 3, np.float32),
        "faces": (mesh.loop_triangles, "vertices", count * 3, np.int32),
        "faces_uv": (mesh.loop_triangles, "loops", count * 3, np.int32),
        "uv": (mesh.uv_layers[layer_of(made)].data, "uv", len(mesh.loops) * 2, np.float32),
    }
    values: dict[str, np.ndarray] = {}
    for name, (collection, attribute, length, kind) in arrays.items():
        values[name] = np.empty(length, kind)
        collection.foreach_get(attribute, values[name])
    world = np.array(made.matrix_world, np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        vertices=values["vertices"].reshape(-1, 3) @ world[:3, :3].T + world[:3, 3],
        faces=values["faces"].reshape(-1, 3),
        faces_uv=values["faces_uv"].reshape(-1, 3),
        uv=values["uv"].reshape(-1, 2),
    )


def show_fit(made: bpy.types.Object, folder: Path, report: dict) -> bpy.types.Object:
    """The wrapped head as a wire over the mesh, to judge whether the maps will lie right; an earlier one goes."""
    hide_fit(made)
    with np.load(folder / protocol.FIT) as file:
        vertices, quads = file["vertices"], file["quads"]
    mesh = bpy.data.meshes.new(f"{made.name} Fit")
    mesh.from_pydata(vertices.tolist(), [], quads.tolist())
    fit = bpy.data.objects.new(f"{made.name} Fit", mesh)
    fit.display_type, fit.show_in_front, fit.hide_render = "WIRE", True, True
    fit[FIT_MARK], fit[FIT_ERROR] = made.name, report["error_mm"]
    for collection in made.users_collection:
        collection.objects.link(fit)
    return fit


def fit_of(made: bpy.types.Object) -> bpy.types.Object | None:
    """The wire that shows how the head lies on the mesh."""
    return next((each for each in bpy.data.objects if each.get(FIT_MARK) == made.name), None)


def hide_fit(made: bpy.types.Object) -> None:
    """Delete that wire, if there is one."""
    fit = fit_of(made)
    if fit:
        bpy.data.batch_remove([fit, fit.data])


def apply_to_mesh(folder: Path, made: bpy.types.Object, red: float | None = None) -> Steps[bpy.types.Material]:
    """Give a human the skin of `folder` (the MakeHuman maps of a result); body and rest keep their own material.

    red: of the person's skin, see material.skin_red
    The material of the head is replaced by a copy in which the mask fades from its own surface to the new skin; done again,
    by another copy of what was there first.
    """
    images = yield from image_io.load_maps(folder, made.name)
    mask = image_io.load_image(folder / "mask.png", "Non-Color")
    yield
    uv_layer = layer_of(made)
    materials = mesh_of(made).materials
    slot = _slot_of_the_head(made, uv_layer, mask)
    blended = _blended(_before_us(materials[slot]) if materials else None, images, mask, uv_layer, tile_of(folder), red)
    hide_fit(made)
    if materials:
        materials[slot] = blended
    else:
        materials.append(blended)
    return blended


def _before_us(made: bpy.types.Material | None) -> bpy.types.Material | None:
    """The material that was there before a skin of ours came over it; None when there was none."""
    return made.get(MADE_OF, made) or None if made else None


def tile_of(folder: Path) -> tuple[int, int]:
    """The UDIM tile that the maps of a folder are for, counted from the first."""
    path = folder / protocol.FIT_REPORT
    return tuple(json.loads(path.read_text(encoding="utf-8"))["tile"]) if path.is_file() else (0, 0)


def _slot_of_the_head(made: bpy.types.Object, uv_layer: str, mask: bpy.types.Image) -> int:
    """The material slot of most polygons that lie in the mask."""
    mesh = mesh_of(made)
    if len(mesh.materials) < 2:
        return 0
    uv = np.empty(len(mesh.loops) * 2, np.float32)
    mesh.uv_layers[uv_layer].data.foreach_get("uv", uv)
    first, slot = np.empty(len(mesh.polygons), np.int32), np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("loop_start", first)
    mesh.polygons.foreach_get("material_index", slot)
    white = image_io.pixels_of(mask)[::-1, :, 0] > 0.5  # [H, W], first row at the bottom, like v
    column, row = (uv.reshape(-1, 2)[first] % 1.0 * np.subtract(list(mask.size), 1)).astype(int).T
    inside = white[row, column]
    return int(np.bincount(slot[inside], minlength=1).argmax())


def _blended(
    own: bpy.types.Material | None, images, mask, uv_layer: str, tile: tuple[int, int], red: float | None
) -> bpy.types.Material:
    """A copy of a material with the skin over it where the mask is white."""
    blended = own.copy() if own else bpy.data.materials.new(material.SKIN_NAME)
    blended.name = f"{own.name} with ID2R Skin" if own else material.SKIN_NAME
    blended[MADE_OF] = own or ""
    tree = material.tree_of(blended)
    own_nodes, output = list(tree.nodes), tree.get_output_node("ALL")
    before = output.inputs["Surface"].links[0].from_socket if output.inputs["Surface"].is_linked else None
    skin = material.add_skin_nodes(tree, images, uv_layer, PORES, red)
    uv = material.add_node(tree, "ShaderNodeUVMap", (-1000, 600), uv_map=uv_layer)
    home = material.add_node(tree, "ShaderNodeVectorMath", (-700, 600), operation="SUBTRACT", label="Home Tile")
    home.inputs[1].default_value = (*tile, 0.0)
    texture = material.add_node(tree, "ShaderNodeTexImage", (-350, 600), image=mask, name="mask", label="mask")
    texture.extension = "CLIP"  # in other tiles of the layout the mesh keeps its own surface
    blend = material.add_node(tree, "ShaderNodeMixShader", (450, 300), name="ID2R Blend", label="ID2R Blend")
    tree.links.new(uv.outputs["UV"], home.inputs[0])
    tree.links.new(home.outputs["Vector"], texture.inputs["Vector"])
    tree.links.new(texture.outputs["Color"], blend.inputs[0])
    if before:
        tree.links.new(before, blend.inputs[1])
    tree.links.new(skin.outputs["BSDF"], blend.inputs[2])
    tree.links.new(blend.outputs["Shader"], output.inputs["Surface"])
    _frame_below(tree, own_nodes)
    return blended


def _frame_below(tree: bpy.types.NodeTree, own_nodes: list[bpy.types.Node]) -> None:
    """Put the nodes that are new in the tree into a frame under those that were there."""
    made = [node for node in tree.nodes if node not in own_nodes]
    lowest = min((node.location.y - node.height for node in own_nodes), default=0.0)
    drop = lowest - max(node.location.y for node in made) - 100.0
    frame = material.add_node(tree, "NodeFrame", (0, 0), label=material.SKIN_NAME)
    for node in made:
        node.location.y += drop
        node.parent = frame
