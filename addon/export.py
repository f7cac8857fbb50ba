"""Maps and heads for other programs: PNG and EXR files, glTF, USD and FBX, and the asset library."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bpy
import numpy as np

from . import image_io, material
from .core import conventions, errors
from .mesh_io import EYE_ATTRIBUTE, FOLLOWERS, GLASSES, HEAD_MARK, UV_LAYER, mesh_of

DEPTHS = {"PNG8": ("PNG", "8"), "PNG16": ("PNG", "16"), "EXR": ("OPEN_EXR", "16")}
MODELS = {"GLTF": ".glb", "USD": ".usdc", "FBX": ".fbx"}
EYE_TEXTURE = 512  # pixels
EYE_LAYER = "EyeFront"
LIMBUS = 0.94  # of the iris radius, where its colour begins to fade into the sclera


def export_maps(
    skin: bpy.types.Material, folder: Path, size: int, depth: str, normals: str, orm: bool, tile: int = 0
) -> list[Path]:
    """Write the maps of a skin. size: side in texels, 0 as they are; depth: of DEPTHS; normals: OPENGL or DIRECTX.

    tile: number of a UDIM tile for the files' names, 0 for none.

    orm: also one file with occlusion (white), roughness and metallic (black) in red, green and blue.
    Colour files of EXR are linear, as that format is read; the other maps are data and stay as they are.
    """
    stored = {name: _sized(pixels, size) for name, pixels in _map_pixels(skin).items()}
    if normals == "DIRECTX":
        stored["normal"][..., 1] = 1.0 - stored["normal"][..., 1]
    if orm:
        stored["orm"] = _packed(stored["roughness"])
    return list(_write_maps(stored, folder, depth, f".{tile}" if tile else "").values())


def _map_pixels(skin: bpy.types.Material) -> dict[str, np.ndarray]:
    images = material.maps_of(skin)
    if not set(images) >= set(material.MAP_INPUTS):
        raise errors.Id2rError(f"'{skin.name}' lacks some of the four maps.", "Select a head that ID2R has made.")
    return {name: image_io.stored_pixels(image) for name, image in images.items()}


def _packed(roughness: np.ndarray) -> np.ndarray:
    """Occlusion (white), roughness and metallic (black) in one picture [H, W, 3]."""
    rough = roughness[..., 0]
    return np.stack([np.ones_like(rough), rough, np.zeros_like(rough)], -1)


def _write_maps(stored: dict[str, np.ndarray], folder: Path, depth: str, ending: str = "") -> dict[str, Path]:
    """Maps [H, W, 3] by name -> their files, whose names end in `ending`."""
    if depth == "EXR":
        stored = stored | {"diffuse": conventions.srgb_to_linear(stored["diffuse"])}
    folder.mkdir(parents=True, exist_ok=True)
    kind, bits = DEPTHS[depth]
    suffix = "exr" if kind == "OPEN_EXR" else "png"
    paths = {name: folder / f"{name}{ending}.{suffix}" for name in stored}
    for name, pixels in stored.items():
        image_io.write_image(paths[name], pixels, kind, bits)
    return paths


def _sized(pixels: np.ndarray, size: int) -> np.ndarray:
    """[H, W, 3] at another size; 0 keeps it."""
    return image_io.resized(pixels, size, size) if size else pixels


def export_model(head: bpy.types.Object, path: Path, kind: str) -> None:
    """Write head, eyes, teeth, gums, lashes and glasses with shape keys and with materials that other programs understand.

    kind: of MODELS. A .glb holds its textures, an .fbx too; USD and FBX have them beside the file. Strands are left out.
    """
    if not _is_there(*EXPORTERS[kind]):
        raise errors.Id2rError(
            f"This Blender cannot write {kind}.",
            "glTF and FBX are add-ons that can be switched on in the preferences; some distributions leave out USD.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    pieces = [head, *(each for each in head.children if each.get(HEAD_MARK) in (*FOLLOWERS, GLASSES))]
    with _texture_folder(path, kind) as textures, _plain_materials(pieces, textures), _alone(pieces):
        WRITERS[kind](str(path))
    if not path.is_file():
        raise errors.Id2rError(
            f"{path.name} was not written.", "Look into the system console for the exporter's words."
        )


@contextmanager
def _texture_folder(path: Path, kind: str) -> Iterator[Path]:
    """Where the exporter finds the pictures: beside the file; a .glb holds them, so for it they are gone afterwards."""
    if kind != "GLTF":
        yield path.parent / f"{path.stem}_textures"
        return
    with TemporaryDirectory(prefix="id2r_") as name:
        yield Path(name)


def _is_there(group: str, name: str) -> bool:
    """Does this Blender have an operator of this name?"""
    try:
        getattr(getattr(bpy.ops, group), name).get_rna_type()
    except KeyError:
        return False
    return True


def _write_gltf(path: str) -> None:
    bpy.ops.export_scene.gltf(
        filepath=path, export_format="GLB", use_selection=True, export_morph=True, export_animations=False,
        export_cameras=False, export_lights=False, export_apply=False, export_image_format="AUTO",
    )  # fmt: skip


def _write_usd(path: str) -> None:
    operator: Any = bpy.ops.wm.usd_export
    # A second copy in a folder "textures" would be shared by all heads that are exported to one place.
    knows_mode = "export_textures_mode" in operator.get_rna_type().properties  # 4.2 has a switch
    textures = {"export_textures_mode": "KEEP"} if knows_mode else {"export_textures": False}
    operator(
        filepath=path, selected_objects_only=True, export_animation=False, export_materials=True,
        generate_preview_surface=True, export_shapekeys=True, convert_world_material=False, **textures,
    )  # fmt: skip


def _write_fbx(path: str) -> None:
    bpy.ops.export_scene.fbx(
        filepath=path, use_selection=True, path_mode="COPY", embed_textures=True, use_mesh_modifiers=False,
        mesh_smooth_type="FACE", add_leaf_bones=False, bake_anim=False, object_types={"MESH"},
    )  # fmt: skip


EXPORTERS = {"GLTF": ("export_scene", "gltf"), "USD": ("wm", "usd_export"), "FBX": ("export_scene", "fbx")}
WRITERS = {"GLTF": _write_gltf, "USD": _write_usd, "FBX": _write_fbx}


@contextmanager
def _alone(chosen: list[bpy.types.Object]):
    """Select exactly these objects, without subdivision, for the time of the export; their shape keys stay as they are."""
    layer = bpy.context.view_layer
    selected, active = list(bpy.context.selected_objects), layer.objects.active
    hidden = [(modifier, modifier.show_viewport) for each in chosen for modifier in each.modifiers]
    for each in selected:
        each.select_set(False)
    for each in chosen:
        each.select_set(True)
    for modifier, _ in hidden:
        modifier.show_viewport = False
    layer.objects.active = chosen[0]
    try:
        yield
    finally:
        for each in chosen:
            each.select_set(False)
        for each in selected:
            each.select_set(True)
        for modifier, shown in hidden:
            modifier.show_viewport = shown
        layer.objects.active = active


@contextmanager
def _plain_materials(chosen: list[bpy.types.Object], textures: Path):
    """Give the objects plain Principled materials over files that exporters can read, for the time of the export."""
    before: dict[bpy.types.Mesh, list] = {mesh_of(each): list(mesh_of(each).materials) for each in chosen}
    made: list[bpy.types.ID] = []
    try:
        for each in chosen:
            mesh = mesh_of(each)
            for slot, own in enumerate(before[mesh]):
                plain = _plain(each, own, textures)
                nodes: Any = plain.node_tree.nodes
                made += [plain, *(node.image for node in nodes if node.type == "TEX_IMAGE")]
                mesh.materials[slot] = plain
        yield
    finally:
        for mesh, materials in before.items():
            for slot, own in enumerate(materials):
                mesh.materials[slot] = own
            if EYE_LAYER in mesh.uv_layers:
                mesh.uv_layers.remove(mesh.uv_layers[EYE_LAYER])
        bpy.data.batch_remove(set(made))


def _plain(made: bpy.types.Object, own: bpy.types.Material, textures: Path) -> bpy.types.Material:
    if material.skin_node(own):
        return _plain_skin(own, textures)
    if made.get(HEAD_MARK) == "eyes":
        return _plain_eye(made, textures)
    if made.get(HEAD_MARK) == "teeth":
        enamel = {"Base Color": (*material.ENAMEL, 1.0), "Roughness": material.tooth_inputs()["Roughness"]}
        return material.principled("ID2R Tooth plain", enamel)[0]
    if made.get(HEAD_MARK) == "gums":
        return material.principled("ID2R Gum plain", material.GUM_INPUTS)[0]
    if made.get(HEAD_MARK) == GLASSES:
        return _plain_glasses(own)
    if made.get(HEAD_MARK) == "lashes":
        return material.principled("ID2R Lash plain", material.LASH_INPUTS)[0]
    return material.principled("ID2R Mouth plain", material.MOUTH_INPUTS)[0]


def _plain_glasses(own: bpy.types.Material) -> bpy.types.Material:
    """The frame as it is; a lens lets most light through."""
    nodes: Any = own.node_tree.nodes
    frame = next((node for node in nodes if node.type == "BSDF_PRINCIPLED"), None)
    if frame:
        colour = tuple(frame.inputs["Base Color"].default_value)
        return material.principled("ID2R Frame plain", {**material.FRAME_INPUTS, "Base Color": colour})[0]
    return material.principled("ID2R Lens plain", {"Roughness": 0.0, "Alpha": material.LENS_ALPHA})[0]


def _plain_skin(own: bpy.types.Material, textures: Path) -> bpy.types.Material:
    """Diffuse with the tone in it, roughness in the green of ORM, and the normal map."""
    controls = material.skin_node(own).inputs
    stored = _map_pixels(own)
    tone = np.array(controls["Tone"].default_value[:3], np.float32)
    toned = conventions.srgb_to_linear(stored["diffuse"]) * tone
    stored["diffuse"] = conventions.linear_to_srgb(toned).clip(0, 1)
    smoothing = 1.0 - material.OIL_SMOOTHS * controls["Oiliness"].default_value
    stored["roughness"] = (stored["roughness"] * controls["Roughness"].default_value * smoothing).clip(0, 1)
    pictures = {"diffuse": stored["diffuse"], "orm": _packed(stored["roughness"]), "normal": stored["normal"]}
    paths = _write_maps(pictures, textures, "PNG8")
    plain, shader = material.principled("ID2R Skin plain", {"IOR": conventions.SKIN_IOR, "Metallic": 0.0})
    tree = plain.node_tree
    nodes = {name: tree.nodes.new("ShaderNodeTexImage") for name in paths}
    for name, node in nodes.items():
        node.image = bpy.data.images.load(str(paths[name]))
        node.image.colorspace_settings.name = "sRGB" if name == "diffuse" else "Non-Color"
    channels, normal = tree.nodes.new("ShaderNodeSeparateColor"), tree.nodes.new("ShaderNodeNormalMap")
    normal.uv_map = UV_LAYER
    tree.links.new(nodes["diffuse"].outputs["Color"], shader.inputs["Base Color"])
    tree.links.new(nodes["orm"].outputs["Color"], channels.inputs["Color"])
    tree.links.new(channels.outputs["Green"], shader.inputs["Roughness"])
    tree.links.new(channels.outputs["Blue"], shader.inputs["Metallic"])
    tree.links.new(nodes["normal"].outputs["Color"], normal.inputs["Color"])
    tree.links.new(normal.outputs["Normal"], shader.inputs["Normal"])
    return plain


def _plain_eye(eyes: bpy.types.Object, textures: Path) -> bpy.types.Material:
    """The iris as a picture on a projection of each eye from the front."""
    _unwrap_from_the_front(mesh_of(eyes))
    path = textures / "eyes.png"
    image_io.write_image(path, eye_picture(eyes["iris"][0], eyes["iris_colour_linear"]), "PNG", "8")
    plain, shader = material.principled("ID2R Eye plain", {"Roughness": 0.05, "IOR": material.CORNEA_IOR})
    tree = plain.node_tree
    uv, node = tree.nodes.new("ShaderNodeUVMap"), tree.nodes.new("ShaderNodeTexImage")
    uv.uv_map = EYE_LAYER
    node.image = bpy.data.images.load(str(path))
    tree.links.new(uv.outputs["UV"], node.inputs["Vector"])
    tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    return plain


def _unwrap_from_the_front(mesh: bpy.types.Mesh) -> None:
    """A uv layer in which (0.5, 0.5) is the middle of the pupil and the eye's outline the inscribed circle."""
    direction = np.empty(len(mesh.vertices) * 3, np.float32)
    attribute: Any = mesh.attributes[EYE_ATTRIBUTE]
    attribute.data.foreach_get("vector", direction)
    corner = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", corner)
    layer = mesh.uv_layers.new(name=EYE_LAYER)
    uv = 0.5 + 0.5 * direction.reshape(-1, 3)[corner][:, [0, 2]]
    layer.data.foreach_set("uv", np.ascontiguousarray(uv, np.float32).ravel())


def eye_picture(iris: float, colour_linear) -> np.ndarray:
    """An eye from the front, srgb [H, W, 3]; iris: its radius, of the eye's."""
    axis = (np.arange(EYE_TEXTURE) + 0.5) / EYE_TEXTURE * 2.0 - 1.0
    distance = np.hypot(*np.meshgrid(axis, axis))[..., None] / iris
    colour, white = np.array(colour_linear, np.float32), np.array(material.SCLERA[:3], np.float32)
    limbus = np.clip((distance - LIMBUS) / (1.12 - LIMBUS), 0, 1)
    ring = np.clip((distance - 0.75) / 0.25, 0, 1) * 0.6
    painted = colour * (1.0 - ring) * (1.0 - limbus) + white * limbus
    painted = painted * np.clip((distance - material.PUPIL) / 0.06, 0, 1)
    return conventions.linear_to_srgb(painted.astype(np.float32)).clip(0, 1)


def mark_as_asset(collection: bpy.types.Collection, photo: bpy.types.Image | None) -> None:
    """Put the head into the asset library, with the photo as its preview."""
    collection.asset_mark()
    collection.asset_data.description = "A relightable head made by ID2R"
    collection.asset_data.tags.new("ID2R", skip_if_exists=True)
    if photo is None:
        return
    width, height = photo.size
    side = 128
    square = image_io.resized(image_io.stored_pixels(photo), side, round(side * height / width))[:side]
    rgba = np.ones((side, side, 4), np.float32)
    rgba[: len(square), :, :3] = square
    preview: Any = collection.preview_ensure()
    preview.image_size = (side, side)
    preview.image_pixels_float.foreach_set(rgba[::-1].ravel())
