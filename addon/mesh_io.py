"""head.npz to objects: head (skin, mouth, sockets), eyes, teeth, gums and lashes, with UV layers, parts, shape keys; hair.

Eyes, teeth, gums (with the tongue) and eyelashes are objects of their own: subsurface light in Cycles walks through the
whole object that it enters, and it must not leave the lids through an eyeball. Shape keys that move them exist on them too
and are driven by the head's.
"""

import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import bpy
import numpy as np

from .beard import grow_beard, is_beard
from .comb import Comb, Combed, lay_skin
from .core import conventions, errors
from .fringe import lay_fringe
from .groom import Groom, HairShown, grow_groom, scatter_roots, under_face
from .lashes import grow_lashes
from .steps import Steps

UV_LAYER = "HeadTile"
UV_LAYER_MAKEHUMAN = "MakeHuman"
PHOTO_KEY = "AsPhotographed"
PHOTO_EXPRESSION = "photo_expression"  # on the head: how much of PHOTO_KEY it shows
EYE_ATTRIBUTE = "eye_direction"
ROOT_ATTRIBUTE = "surface_uv_coordinate"  # Blender's own name for where on the surface's UV a strand grows
SHADE_ATTRIBUTE = "strand_lightness"  # share by which it is lighter than the hair is: 0 on strands that an artist adds
HEAD_MARK = "id2r_part"  # on our objects: "head", HAIR, BEARD, GLASSES, CAMERA or one of FOLLOWERS
GLASSES, CAMERA = "glasses", "camera"
SKIN, MOUTH, EYE, TOOTH, GUM, LASH, HAIR, BEARD, FRAME, LENS = (
    "skin", "mouth", "eye", "tooth", "gum", "lash", "hair", "beard", "frame", "lens",
)  # fmt: skip
MATERIAL_OF_PART = {
    "skin": SKIN,
    "mouth_interior": MOUTH,
    "eye_socket": MOUTH,
    "tongue": GUM,
    "gums": GUM,
    "teeth": TOOTH,
    "eyeball_left": EYE,
    "eyeball_right": EYE,
}
# The objects that follow the head, each of one material.
FOLLOWERS = {"eyes": EYE, "teeth": TOOTH, "gums": GUM, "lashes": LASH}
KEYS_A_STEP = 16  # shape keys
# Of a strand that has fewer points, about; with twelve between any two, which is Blender's own, it stood still for 0.1 s.
SEGMENTS = 24
STILL = 1e-6  # metres: a shape key that moves no vertex further than this is left out of the head's followers


@dataclass(frozen=True)
class HeadFile:
    """What head.npz holds, in Blender's frame (metres, z up, the face looks along -y).

    `quads[q]` are four vertex indices, `quads_uv[q]` the four uv rows of the same corners; `part[q]` indexes
    `part_names`; `expressions[e]` are offsets at weight 1. The photo camera stays in the core's frame and in pixels.
    """

    format: int  # conventions.HEAD_FORMAT
    vertices: np.ndarray  # [N, 3]
    photo_vertices: np.ndarray  # [N, 3]
    quads: np.ndarray  # [Q, 4]
    part: np.ndarray  # [Q]
    part_names: tuple[str, ...]
    uv: np.ndarray  # [U, 2]
    quads_uv: np.ndarray  # [Q, 4]
    uv_makehuman: np.ndarray  # [M, 2]
    quads_uv_makehuman: np.ndarray  # [Q, 4]
    expressions: np.ndarray  # [E, N, 3]
    expression_names: tuple[str, ...]
    eye_centres: np.ndarray  # [2, 3] left, right of the subject
    eye_radius: np.ndarray  # [2]
    iris_radius: np.ndarray  # [2]
    iris_colour_linear: np.ndarray  # [3]
    camera_view_from_world: np.ndarray  # [4, 4] world is y up
    camera_focal: float
    camera_principal: np.ndarray  # [2]
    photo_size: tuple[int, int]  # width, height
    keep_expression: bool  # whether the head opens as photographed


def read_head(path: Path) -> HeadFile:
    """Read head.npz and turn it to Blender's axes. Raises Id2rError for a missing or foreign file."""
    if not path.is_file():
        raise errors.Id2rError(f"There is no head at {path}.", "Run the reconstruction first; it writes head.npz.")
    to_blender = conventions.yup_to_zup
    try:
        data = _arrays_of(path)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path) from error
    for name in ("vertices", "photo_vertices", "expressions", "eye_centres"):
        data[name] = to_blender(data[name].astype(np.float32))
    for name in ("part_names", "expression_names"):
        data[name] = tuple(str(item) for item in data[name])
    data["format"] = int(data["format"])
    data["camera_focal"] = float(data["camera_focal"])
    data["keep_expression"] = bool(data["keep_expression"])
    data["photo_size"] = tuple(int(side) for side in data["photo_size"])
    return HeadFile(**data)


@dataclass(frozen=True)
class GlassesFile:
    """What glasses.npz holds, in Blender's frame (metres); frame_linear [3] is the albedo of all that is no lens."""

    vertices: np.ndarray  # [N, 3]
    quads: np.ndarray  # [Q, 4]
    is_lens: np.ndarray  # [Q]
    frame_linear: np.ndarray


def read_glasses(path: Path) -> GlassesFile | None:
    """Read glasses.npz; None when the person wears none. Raises Id2rError for a damaged file."""
    data = _optional_arrays(path, GlassesFile.__dataclass_fields__)
    return GlassesFile(**data | {"vertices": conventions.yup_to_zup(data["vertices"])}) if data else None


def _optional_arrays(path: Path, names: Iterable[str]) -> dict[str, Any] | None:
    """The arrays of these names; None when there is no such file. Raises Id2rError for a damaged one."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> errors.Id2rError:
    return errors.Id2rError(f"{path} is damaged.", "Copy it again, or reconstruct the photo again.")


def _arrays_of(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        _check_format(path, int(file["format"]) if "format" in file.files else 1)
        missing = sorted(set(HeadFile.__dataclass_fields__) - set(file.files))
        if missing:
            raise errors.Id2rError(f"{path} lacks {', '.join(missing)}.", "Write it again with this version of ID2R.")
        return {name: file[name] for name in HeadFile.__dataclass_fields__}


def _check_format(path: Path, found: int) -> None:
    wanted = conventions.HEAD_FORMAT
    if found != wanted:
        kind = "an older" if found < wanted else "a newer"
        raise errors.Id2rError(
            f"{path} is of {kind} version of ID2R (format {found}, not {wanted}).",
            "Reconstruct the photo again with this version.",
        )


@dataclass(frozen=True)
class HeadObjects:
    """The objects of a reconstruction; all but the head are its children and, but for the hair, follow its shape
    keys.

    teeth: the objects of teeth and of gums and tongue, as far as the head has them; lashes: None when it has no lids;
    hair, beard, glasses: None when it has none
    """

    head: bpy.types.Object
    eyes: bpy.types.Object
    teeth: tuple[bpy.types.Object, ...]
    lashes: bpy.types.Object | None
    hair: bpy.types.Object | None
    beard: bpy.types.Object | None
    glasses: bpy.types.Object | None


def build_head(
    data: HeadFile,
    materials: dict[str, bpy.types.Material],
    collection: bpy.types.Collection,
    name: str,
    hair: HairShown | None = None,
    glasses: GlassesFile | None = None,
) -> Steps[HeadObjects]:
    """Make the objects and link them to `collection`. materials: one for each of SKIN, MOUTH, EYE, TOOTH, GUM, LASH and
    HAIR, for glasses also of FRAME and LENS, for a beard of BEARD."""
    kind = np.array([MATERIAL_OF_PART.get(part, SKIN) for part in data.part_names])[data.part]  # [Q]
    of_head = ~np.isin(kind, list(FOLLOWERS.values()))
    head = yield from _add_object(data, of_head, name, "head", materials, collection)
    _drive_photo_key(head, float(data.keep_expression))
    followers = {}
    for part, of_kind in FOLLOWERS.items():
        if (kind == of_kind).any():
            chosen = kind == of_kind
            followers[part] = yield from _add_object(data, chosen, f"{name} {part}", part, materials, collection)
    lashes = yield from _add_lashes(data, f"{name} lashes", materials[LASH], collection)
    if lashes:
        followers["lashes"] = lashes
    for follower in followers.values():
        follower.parent = head
        _drive_shape_keys(follower, head)
        yield
    eyes, lashes = followers.pop("eyes"), followers.pop("lashes", None)
    eyes["iris"] = (data.iris_radius / data.eye_radius).tolist()
    eyes["iris_colour_linear"] = data.iris_colour_linear.tolist()
    _store_eye_directions(mesh_of(eyes))
    yield
    strands = beard = worn = None
    if hair is not None:
        strands, beard = yield from _add_hair(data, hair, name, materials, head, collection)
    if glasses:
        worn = _add_glasses(glasses, f"{name} glasses", materials, head, collection)
        yield
    return HeadObjects(head, eyes, tuple(followers.values()), lashes, strands, beard, worn)


def _add_object(
    data: HeadFile, chosen: np.ndarray, name: str, part: str, materials, collection
) -> Steps[bpy.types.Object]:
    """A marked, smooth object of the chosen quads [Q] with its shape keys."""
    made = _object_of_quads(data, chosen, name, materials)
    made[HEAD_MARK] = part
    collection.objects.link(made)
    yield
    used, _ = _compact(data.quads[chosen])
    yield from _add_shape_keys(made, data, used, lambda vertices: vertices[used], keep_still=part == "head")
    _smooth(made)
    return made


def _add_lashes(data: HeadFile, name: str, material: bpy.types.Material, collection) -> Steps[bpy.types.Object | None]:
    """A marked object with the eyelashes and its shape keys; None when the head has no lids."""
    part = np.array(data.part_names)[data.part]  # [Q]
    yield
    lashes = grow_lashes(data.vertices, data.quads, part == "eye_socket", part == "skin")
    if lashes is None:
        return None
    yield
    mesh = _mesh_of_quads(name, lashes.place(data.vertices), lashes.quads)
    mesh.polygons.foreach_set("use_smooth", np.ones(len(mesh.polygons), bool))
    mesh.materials.append(material)
    made = bpy.data.objects.new(name, mesh)
    made[HEAD_MARK] = "lashes"
    collection.objects.link(made)
    yield from _add_shape_keys(made, data, lashes.used, lashes.place, keep_still=False)
    return made


def _add_hair(
    data: HeadFile,
    hair: HairShown,
    name: str,
    materials,
    head: bpy.types.Object,
    collection,
) -> Steps[tuple[bpy.types.Object | None, bpy.types.Object | None]]:
    """Curves objects of the hair and of the beard that a result tells of; None for what it does not. Hair follows the
    head, but not its shape keys, which move the scalp by a millimetre at most; the beard follows these, too."""
    of_skin = np.array(data.part_names)[data.part] == "skin"
    scalp = yield from scatter_roots(data.vertices, data.quads[of_skin], data.uv, data.quads_uv[of_skin], hair.map)
    if scalp is None:
        return None, None
    yield
    strands = beard = None
    in_beard = is_beard(scalp) & (BEARD in materials)
    if in_beard.any():
        groom = yield from grow_beard(scalp.only(in_beard))
        yield
        beard = yield from _add_strands(groom, f"{name} beard", BEARD, materials[BEARD], head, collection)
        _follow_skin(beard, head)
        yield
    comb = _comb_of(hair.combed, data, data.quads[of_skin]) if hair.combed else None
    yield
    in_hair = ~in_beard & ~under_face(scalp)
    yield
    if comb:
        in_hair &= ~comb.bares(scalp.roots)
        yield
    if in_hair.any():
        over_face = lay_fringe(hair.fringe, data.vertices, data.quads[of_skin]) if hair.fringe is not None else None
        yield
        groom = yield from grow_groom(scalp.only(in_hair), over_face, hair.curl, comb)
        yield
        strands = yield from _add_strands(groom, f"{name} hair", HAIR, materials[HAIR], head, collection)
        yield
    return strands, beard


def _comb_of(combed: Combed, data: HeadFile, skin: np.ndarray) -> Comb:
    """The hair in the photo, for the head that it belongs to; skin [Q, 4]: quads."""
    camera = data.camera_view_from_world, data.camera_focal, data.camera_principal
    return Comb(combed, *camera, lay_skin(data.vertices, skin))


def read_combed(path: Path) -> Combed | None:
    """Read strands.npz; None when there is none. Raises Id2rError for a damaged file."""
    data = _optional_arrays(path, ("combed", "box"))
    if data is None:
        return None
    combed, box = data["combed"], data["box"]
    is_image = combed.dtype == np.int8 and combed.ndim == 3 and len(combed) == 4 and min(combed.shape[1:]) > 1
    if not is_image or box.shape != (4,) or not np.isfinite(box).all() or not (box[:2] < box[2:]).all():
        raise _damaged(path)
    return Combed(combed.astype(np.float32) / 127.0, box)


def _add_strands(
    groom: Groom, name: str, part: str, material: bpy.types.Material, head: bpy.types.Object, collection
) -> Steps[bpy.types.Object]:
    """A marked curves object of strands, the head's child."""
    count, points, _ = groom.points.shape
    curves: Any = bpy.data.hair_curves.new(name)
    curves.add_curves([points] * count)
    yield
    curves.attributes["position"].data.foreach_set("vector", groom.points.ravel())
    yield
    radius = curves.attributes.get("radius") or curves.attributes.new("radius", "FLOAT", "POINT")
    radius.data.foreach_set("value", np.tile(groom.radius, count))
    yield
    between = curves.attributes.new("resolution", "INT", "CURVE")
    between.data.foreach_set("value", [max(1, round(SEGMENTS / points))] * count)
    shade = curves.attributes.new(SHADE_ATTRIBUTE, "FLOAT", "POINT")
    shade.data.foreach_set("value", groom.shade.ravel() - 1.0)
    yield
    roots = curves.attributes.new(ROOT_ATTRIBUTE, "FLOAT2", "CURVE")
    roots.data.foreach_set("vector", groom.uv.ravel())
    curves.materials.append(material)
    made = bpy.data.objects.new(name, curves)
    made[HEAD_MARK] = part
    made.parent = head
    collection.objects.link(made)
    return made


def _follow_skin(strands: bpy.types.Object, head: bpy.types.Object) -> None:
    """Let strands go with the skin at their roots whatever shape keys make of it."""
    curves: Any = strands.data
    curves.surface, curves.surface_uv_map = head, UV_LAYER
    head.add_rest_position_attribute = True
    tree: Any = bpy.data.node_groups.new("ID2R Follow Skin", "GeometryNodeTree")
    for in_out in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=in_out, socket_type="NodeSocketGeometry")
    enter, deform, leave = map(
        tree.nodes.new, ("NodeGroupInput", "GeometryNodeDeformCurvesOnSurface", "NodeGroupOutput")
    )
    tree.links.new(enter.outputs[0], deform.inputs["Curves"])
    tree.links.new(deform.outputs["Curves"], leave.inputs[0])
    modifier: Any = strands.modifiers.new("Follow Skin", "NODES")
    modifier.node_group = tree


def _add_glasses(
    data: GlassesFile, name: str, materials: dict[str, bpy.types.Material], head: bpy.types.Object, collection
):
    """A marked object that keeps its place on the head whatever the face does."""
    mesh = _mesh_of_quads(name, data.vertices, data.quads)
    for material in (FRAME, LENS):
        mesh.materials.append(materials[material])
    mesh.polygons.foreach_set("material_index", data.is_lens.astype(np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(len(data.is_lens), bool))
    made = bpy.data.objects.new(name, mesh)
    made[HEAD_MARK] = GLASSES
    made.parent = head
    collection.objects.link(made)
    return made


def _object_of_quads(data: HeadFile, chosen: np.ndarray, name: str, materials: dict[str, bpy.types.Material]):
    """An object made of the chosen quads [Q], with UV layers, material slots and one vertex group a part."""
    used, quads = _compact(data.quads[chosen])
    mesh = _mesh_of_quads(name, data.vertices[used], quads)
    if mesh.validate():
        raise errors.Id2rError("The head mesh has broken faces.", "Write head.npz again with this version of ID2R.")
    _add_uv_layer(mesh, UV_LAYER, data.uv[data.quads_uv[chosen]])
    _add_uv_layer(mesh, UV_LAYER_MAKEHUMAN, data.uv_makehuman[data.quads_uv_makehuman[chosen]])
    mesh.uv_layers[UV_LAYER].active = True
    mesh.uv_layers[UV_LAYER].active_render = True
    made = bpy.data.objects.new(name, mesh)
    _assign_parts(made, quads, data.part[chosen], data.part_names, materials)
    return made


def _mesh_of_quads(name: str, vertices: np.ndarray, quads: np.ndarray) -> bpy.types.Mesh:
    """What `from_pydata` makes of vertices [n, 3] and quads [q, 4], without a Python list for each of them."""
    mesh: Any = bpy.data.meshes.new(name)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.astype(np.float32).ravel())
    mesh.loops.add(quads.size)
    mesh.polygons.add(len(quads))
    mesh.polygons.foreach_set("loop_start", np.arange(0, quads.size, 4, dtype=np.int32))
    mesh.polygons.foreach_set("vertices", quads.astype(np.int32).ravel())
    mesh.update(calc_edges=True)
    return mesh


def _compact(quads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the vertices in use [n], and the quads renumbered to them [q, 4]."""
    used, renumbered = np.unique(quads, return_inverse=True)
    return used, renumbered.reshape(quads.shape)


def _add_uv_layer(mesh: bpy.types.Mesh, name: str, corners: np.ndarray) -> None:
    """corners: [q, 4, 2] uv of each face corner in face order."""
    layer = mesh.uv_layers.new(name=name)
    layer.data.foreach_set("uv", np.ascontiguousarray(corners, np.float32).ravel())


def _assign_parts(made, quads, part, part_names, materials) -> None:
    """Vertex groups by part name, one material slot a material in use."""
    mesh = made.data
    slots = []
    slot_of_face = np.zeros(len(quads), np.int32)
    for index in np.unique(part):
        part_name = part_names[index]
        group = made.vertex_groups.new(name=part_name)
        group.add(np.unique(quads[part == index]).tolist(), 1.0, "REPLACE")
        material = materials[MATERIAL_OF_PART.get(part_name, SKIN)]
        if material not in slots:
            slots.append(material)
            mesh.materials.append(material)
        slot_of_face[part == index] = slots.index(material)
    mesh.polygons.foreach_set("material_index", slot_of_face)
    mesh.polygons.foreach_set("use_smooth", np.ones(len(quads), bool))


def _add_shape_keys(
    made, data: HeadFile, used, place: Callable[[np.ndarray], np.ndarray], keep_still: bool
) -> Steps[None]:
    """Basis, AsPhotographed and the named expressions; `keep_still=False` leaves out keys that move nothing here.

    used: the vertices of the head on which the object's own depend; place: the object's own, from the head in any shape
    """
    shapes = {PHOTO_KEY: data.photo_vertices}
    shapes.update(zip(data.expression_names, data.vertices + data.expressions, strict=True))
    made.shape_key_add(name="Basis", from_mix=False)
    for number, (name, vertices) in enumerate(shapes.items()):
        if number % KEYS_A_STEP == 0:
            yield
        if keep_still or np.abs(vertices[used] - data.vertices[used]).max() > STILL:
            key = made.shape_key_add(name=name, from_mix=False)
            key.points.foreach_set("co", place(vertices).astype(np.float32).ravel())
            key.value = 0.0


def mesh_of(made: bpy.types.Object) -> bpy.types.Mesh:
    return cast(bpy.types.Mesh, made.data)


def keys_of(made: bpy.types.Object) -> bpy.types.Key:
    return mesh_of(made).shape_keys


def _drive_photo_key(head: bpy.types.Object, shown: float) -> None:
    """A slider on the head itself says how much of the photo's expression it shows: 0 is neutral."""
    head[PHOTO_EXPRESSION] = shown
    slider: Any = head.id_properties_ui(PHOTO_EXPRESSION)
    slider.update(min=0.0, max=1.0, description="Expression of the photo; 0 is neutral")
    driver = cast(bpy.types.FCurve, keys_of(head).key_blocks[PHOTO_KEY].driver_add("value")).driver
    add_variable(driver, "shown", "OBJECT", head, f'["{PHOTO_EXPRESSION}"]')
    driver.expression = "shown"


def show_in_frame(head: bpy.types.Object, frame: int) -> None:
    """In this frame the head is as photographed, whatever the slider says."""
    curve = next(each for each in keys_of(head).animation_data.drivers if PHOTO_KEY in each.data_path)
    curve.driver.expression = f"1.0 if frame == {frame} else shown"  # Blender works this out without Python


def _drive_shape_keys(follower: bpy.types.Object, leader: bpy.types.Object) -> None:
    """Each key of `follower` takes the value of the leader's key of the same name."""
    for key in keys_of(follower).key_blocks[1:]:
        driver = cast(bpy.types.FCurve, key.driver_add("value")).driver
        driver.type = "SUM"
        add_variable(driver, "leader", "KEY", keys_of(leader), f'key_blocks["{key.name}"].value')


def add_variable(driver: bpy.types.Driver, name: str, id_type: Any, owner: bpy.types.ID, data_path: str) -> None:
    """A driver's variable: the property at `data_path` of a data-block."""
    variable = driver.variables.new()
    variable.name, variable.type = name, "SINGLE_PROP"
    target = variable.targets[0]
    target.id_type, target.id, target.data_path = id_type, owner, data_path


def _store_eye_directions(mesh: bpy.types.Mesh) -> None:
    """On each vertex of the eyes, the direction from its eye's centre as it was when the eye looked straight ahead: as its
    layout has it, an azimuthal equidistant projection about the pupil.

    The iris is painted by this attribute, so it turns with the eye when the head's own shape or a shape key turns it.
    """
    uv, corner = np.empty(len(mesh.loops) * 2, np.float32), np.empty(len(mesh.loops), np.int32)
    layer: Any = mesh.uv_layers[UV_LAYER]
    layer.data.foreach_get("uv", uv)
    mesh.loops.foreach_get("vertex_index", corner)
    from_pupil = np.zeros((len(mesh.vertices), 2), np.float32)
    from_pupil[corner] = 2 * np.pi * (uv.reshape(-1, 2) - 0.5)  # radians
    angle = np.linalg.norm(from_pupil, axis=1, keepdims=True)
    across, up = (from_pupil * np.sinc(angle / np.pi)).T  # sin(angle) along the way from the pupil
    attribute: Any = mesh.attributes.new(EYE_ATTRIBUTE, "FLOAT_VECTOR", "POINT")
    attribute.data.foreach_set("vector", np.stack([across, -np.cos(angle[:, 0]), up], 1).astype(np.float32).ravel())


def _smooth(made: bpy.types.Object) -> None:
    """Catmull-Clark as in the core, or the texture would swim: linear uv, no limit surface."""
    modifier: Any = made.modifiers.new("Subdivision", "SUBSURF")
    modifier.levels = 1
    modifier.render_levels = 2
    modifier.uv_smooth = "NONE"
    modifier.boundary_smooth = "ALL"
    modifier.use_limit_surface = False
