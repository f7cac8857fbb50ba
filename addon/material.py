"""The materials of a head: skin as a node group over the four maps, eyes and teeth by their form, a plain wet mouth.

Sockets are addressed by name, which is the same in Blender 4.2 to 5.x, and every socket that matters is set, because
defaults differ between versions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import asin, sin
from typing import Any

import bpy

from .core import conventions
from .image_io import median_linear
from .mesh_io import (
    BEARD,
    EYE,
    EYE_ATTRIBUTE,
    FRAME,
    GUM,
    HAIR,
    LASH,
    LENS,
    MOUTH,
    ROOT_ATTRIBUTE,
    SHADE_ATTRIBUTE,
    SKIN,
    TOOTH,
    UV_LAYER,
    add_variable,
)
from .steps import Steps

SUBSURFACE_RADIUS = (1.0, 0.2, 0.1)  # mean free path of red, green, blue in skin, relative to the scale
SUBSURFACE_SCALE = 0.004  # metres on a life-size head
OPAQUE = (0.2, 0.8)  # of the skin's median red: where scattering begins, and where it is that of skin
PORES = 420.0  # over the side of the head tile: about 0.7 mm apart on the cheek
PORE_DEPTH = 0.0003  # metres
PORE_STRENGTH = 0.35
NEUTRAL_SPECULAR = 0.5  # "Specular IOR Level" at which F0 is that of the IOR
CORNEA_IOR = 1.376
CORNEA_HEIGHT = 0.0011  # metres by which the cornea stands out of the sphere
LOOK = (0.0, -1.0, 0.0)  # the axis of an eye that looks straight ahead
SCLERA = (*conventions.WHITE_OF_EYE_LINEAR, 1.0)
MOUTH_INPUTS: "Inputs" = {"Base Color": (0.20, 0.055, 0.045, 1.0), "Roughness": 0.35}
GUM_INPUTS: "Inputs" = {"Base Color": (0.34, 0.11, 0.10, 1.0), "Roughness": 0.3}
LASH_INPUTS: "Inputs" = {"Base Color": (0.05, 0.03, 0.02, 1.0), "Roughness": 0.35, "IOR": 1.55}  # hair, dark brown
HAIR_INPUTS: "Inputs" = {"Roughness": 0.4, "IOR": 1.55, "Specular IOR Level": 0.3}
# Share of the hair's own colour in that of a strand; the rest is the map's at its root, which has skin in it.
HAIR_EVEN = 0.7
# Strands shade each other: under an even sky, hair as dense as ours looks 2.2 times as dark as a strand is (Cycles; 2.3 for
# an albedo of 0.2, 2.5 for 0.4, 2.3 for 0.8, gloss included, at a roughness of 0.5).
STRANDS_SHADE = 2.2
# Linear albedo added to what hair shows, in its own colour: "Khronos PBR Neutral" takes the 4 % that a surface mirrors off dark
# colours, but strands in each other's shade mirror less, and black hair would lose most of its own. Under another view transform
# ("Standard" over the photo) black hair comes out that much too bright.
MIRRORS_LESS = 0.008
HAIR_UNREST = 0.75, 1.25  # brightness of the darkest and of the brightest strand
FRAME_INPUTS: "Inputs" = {"Roughness": 0.35, "IOR": 1.5, "Specular IOR Level": 0.5}
LENS_IOR, COATED = 1.5, 0.08  # and the share of its reflection that an anti-reflective coating leaves
LENS_ALPHA = 0.08  # of a lens in other programs
ENAMEL_IOR = 1.58  # F0 of 0.05: wet enamel
# Linear colours of a tooth (between B1 and A2 of the Vita guide; CIELAB lightness 77, as Turgut et al. 2018 measure in mouths)
# by height: neck, body, translucent edge.
ENAMEL_STOPS = (
    (0.0, (0.49, 0.39, 0.26)), (0.35, (0.575, 0.515, 0.41)), (0.85, (0.58, 0.53, 0.44)), (1.0, (0.51, 0.49, 0.43)),
)  # fmt: skip
ENAMEL = ENAMEL_STOPS[1][1]
SCLERA_CORNER = (0.40, 0.24, 0.20, 1.0)
SCLERA_RIM = (0.14, 0.07, 0.055, 1.0)
LID_SHADE = 0.004  # metres from the lids
PUPIL = 0.42  # of the iris radius, indoors

SKIN_NAME = "ID2R Skin"
GROUP = "ID2R Skin"
HAIR_COLOUR = "Hair Colour"
MAP_INPUTS = {"diffuse": "Diffuse", "specular": "Specular", "roughness": "Roughness Map", "normal": "Normal"}
DISPLACEMENT, FOLDS = "displacement", "folds"
CONTROLS = ("Tone", "Oiliness", "Roughness", "Pore Strength", "Subsurface")  # the inputs that panels show
OIL_SMOOTHS = 0.35  # of the roughness, at full oiliness
OIL_FILM = 0.4  # weight of the coat, at full oiliness
OIL_ROUGHNESS = 0.3  # of that coat

Inputs = Mapping[str, float | tuple[float, ...]]
Images = dict[str, bpy.types.Image]


@dataclass(frozen=True)
class Socket:
    """An input of the skin's node group."""

    name: str
    kind: str
    text: str
    default: float | tuple[float, ...] | None = None
    limits: tuple[float, float] | None = None


FLOAT, COLOUR, VECTOR = "NodeSocketFloat", "NodeSocketColor", "NodeSocketVector"
SKIN_SOCKETS = (
    Socket("Tone", COLOUR, "Multiplies the colour of the skin", (1.0, 1.0, 1.0, 1.0)),
    Socket("Oiliness", FLOAT, "A shiny film, and smoother skin under it", 0.0, (0.0, 1.0)),
    Socket("Roughness", FLOAT, "Multiplies the roughness map", 1.0, (0.0, 2.0)),
    Socket("Pore Strength", FLOAT, "Depth of the pores that are finer than the maps", PORE_STRENGTH, (0.0, 1.0)),
    Socket("Subsurface", FLOAT, "Multiplies how far light walks under the skin", 1.0, (0.0, 3.0)),
    Socket("Diffuse", COLOUR, "True diffuse albedo"),
    Socket("Folds", FLOAT, "What the folds of the photo's expression leave of the colour", 1.0, (0.0, 1.0)),
    Socket("Fold Depth", FLOAT, "How much of the folds shows; follows the expression of the photo", 0.0, (0.0, 1.0)),
    Socket("Specular", FLOAT, "Specular IOR Level: 0.5 is textbook skin", NEUTRAL_SPECULAR),
    Socket("Roughness Map", FLOAT, "GGX roughness", 0.5),
    Socket("Normal", VECTOR, "From a Normal Map node"),
    Socket("Coordinates", VECTOR, "UV, for the pores"),
    Socket("Skin Red", FLOAT, "The person's own red albedo: what is much darker scatters less", 0.5, (0.0, 1.0)),
    Socket("Pore Scale", FLOAT, "Pores over the side of the UV square", PORES, (1.0, 10000.0)),
)


def build_materials(
    images: Images,
    data,
    pore_strength: float = PORE_STRENGTH,
    red: float | None = None,
    hair_linear: Sequence[float] | None = None,
    frame_linear: Sequence[float] | None = None,
    beard_linear: Sequence[float] | None = None,
) -> Steps[dict[str, bpy.types.Material]]:
    """The materials of one head, keyed by SKIN, MOUTH, EYE, TOOTH, GUM, LASH and HAIR. data: the HeadFile; red: see
    skin_red; hair_linear [3]: most of the hair's colour, else its roots' alone. With frame_linear [3], the albedo of the
    frame of glasses, also FRAME and LENS; with beard_linear [3], most of a full beard's colour, also BEARD."""
    iris = float((data.iris_radius / data.eye_radius).mean())
    skin = skin_material(images, pore_strength, red)
    yield
    eye = eye_material(iris, tuple(data.iris_colour_linear.tolist()))
    yield
    worn = {FRAME: frame_material(frame_linear), LENS: lens_material()} if frame_linear is not None else {}
    if beard_linear is not None:
        worn[BEARD] = hair_material(images["diffuse"], beard_linear, "ID2R Beard")
    return worn | {
        SKIN: skin,
        MOUTH: mouth_material(),
        EYE: eye,
        TOOTH: tooth_material(),
        GUM: principled("ID2R Gum", {**wet_inputs(), **GUM_INPUTS})[0],
        LASH: principled("ID2R Lash", LASH_INPUTS)[0],
        HAIR: hair_material(images["diffuse"], hair_linear),
    }


def skin_material(images: Images, pore_strength: float = PORE_STRENGTH, red: float | None = None) -> bpy.types.Material:
    """Skin: four plain image nodes into the node group GROUP, whose inputs are the artist's to set. red: see skin_red.

    images: "diffuse" (sRGB), "specular", "roughness", "normal" (Non-Color, tangent space, +Y), and if there is one
    "displacement", which waits beside the output: the normal map shows the same relief; and "folds" (Non-Color), which
    `show_folds` lets follow a shape key.
    """
    material, shader = principled(SKIN_NAME, {})
    tree = material.node_tree
    output = tree.get_output_node("ALL")
    tree.nodes.remove(shader)
    skin = add_skin_nodes(tree, images, UV_LAYER, PORES, red)
    skin.inputs["Pore Strength"].default_value = pore_strength
    if FOLDS in images:
        tree.links.new(_add_map(tree, FOLDS, images, 600).outputs["Color"], skin.inputs["Folds"])
    if DISPLACEMENT in images:
        _add_displacement(tree, images)
    output.location = (400, 0)
    tree.links.new(skin.outputs["BSDF"], output.inputs["Surface"])
    return material


def add_skin_nodes(tree, images: Images, uv_layer: str, pore_scale: float, red: float | None = None):
    """The group node of the skin with its maps, in any material's tree. red: see skin_red."""
    skin = add_node(tree, "ShaderNodeGroup", (100, 0), node_tree=skin_group(), width=220)
    skin.name = skin.label = GROUP
    uv = add_node(tree, "ShaderNodeUVMap", (-1000, 0), uv_map=uv_layer)
    tree.links.new(uv.outputs["UV"], skin.inputs["Coordinates"])
    for row, name in enumerate(MAP_INPUTS):
        texture = _add_map(tree, name, images, 300 - 300 * row)
        if name == "normal":
            normal = add_node(tree, "ShaderNodeNormalMap", (-350, -600), space="TANGENT", uv_map=uv_layer)
            tree.links.new(texture.outputs["Color"], normal.inputs["Color"])
            tree.links.new(normal.outputs["Normal"], skin.inputs[MAP_INPUTS[name]])
        else:
            tree.links.new(texture.outputs["Color"], skin.inputs[MAP_INPUTS[name]])
    set_inputs(skin, {"Skin Red": skin_red(images) if red is None else red, "Pore Scale": pore_scale})
    return skin


def skin_red(images: Images) -> float:
    """The red albedo of most of the skin, linear. Reads the map, for whose report does not say it: at 4096 for seconds."""
    return float(median_linear(images["diffuse"])[0])


def show_folds(material: bpy.types.Material, key: bpy.types.ShapeKey) -> None:
    """Let the folds of the photo's expression show as far as a shape key does."""
    curve: Any = skin_node(material).inputs["Fold Depth"].driver_add("default_value")
    curve.driver.type = "SUM"
    add_variable(curve.driver, "shown", "KEY", key.id_data, key.path_from_id("value"))


def _add_map(tree, name: str, images: Images, height: float):
    """The image node of a map, on the UV node that is there."""
    texture = add_node(tree, "ShaderNodeTexImage", (-700, height), image=images[name], interpolation="Cubic")
    texture.name = texture.label = name
    uv = next(node for node in tree.nodes if node.type == "UVMAP")
    tree.links.new(uv.outputs["UV"], texture.inputs["Vector"])
    return texture


def _add_displacement(tree, images: Images) -> None:
    """The nodes of true displacement in metres, for the artist to link in the place of the normal map."""
    texture = _add_map(tree, DISPLACEMENT, images, -900)
    scale = add_node(tree, "ShaderNodeDisplacement", (100, -900), label="Link me to Displacement for close-ups")
    set_inputs(scale, {"Midlevel": conventions.DISPLACEMENT_MIDDLE, "Scale": conventions.DISPLACEMENT_METRES})
    tree.links.new(texture.outputs["Color"], scale.inputs["Height"])


def skin_node(material: bpy.types.Material | None):
    """The group node whose inputs the artist sets; None when the material is no skin of ours."""
    tree = material.node_tree if material else None
    return next((node for node in tree.nodes if node.name == GROUP and node.type == "GROUP"), None) if tree else None


def maps_of(material: bpy.types.Material) -> Images:
    """The images of the skin's maps, by name."""
    nodes: Any = material.node_tree.nodes
    return {
        name: nodes[name].image for name in (*MAP_INPUTS, FOLDS, DISPLACEMENT) if name in nodes and nodes[name].image
    }


def skin_group() -> bpy.types.NodeTree:
    """The node group of all skins in this file, made when it is not there.

    The base colour is the true diffuse albedo. The specular map is in units of "Specular IOR Level": 0.5 is the F0
    of the IOR, which is that of skin, so it goes in unchanged.
    """
    known = next((group for group in bpy.data.node_groups if _is_skin_group(group)), None)
    if known:
        return known
    tree = bpy.data.node_groups.new(GROUP, "ShaderNodeTree")
    _group_socket(tree, "BSDF", "NodeSocketShader", "OUTPUT")
    for each in SKIN_SOCKETS:
        socket = _group_socket(tree, each.name, each.kind, "INPUT", each.text)
        if each.default is not None:
            socket.default_value = each.default
        if each.limits is not None:
            socket.min_value, socket.max_value = each.limits
    given = add_node(tree, "NodeGroupInput", (-1200, 0)).outputs
    shader = add_node(tree, "ShaderNodeBsdfPrincipled", (300, 0), subsurface_method="RANDOM_WALK_SKIN")
    set_inputs(shader, skin_inputs())
    tinted = _mix(tree, (-300, 300), 1.0, given["Diffuse"], given["Tone"], blend="MULTIPLY")
    folded = _mix(tree, (-100, 300), given["Fold Depth"], tinted, given["Folds"], blend="MULTIPLY")
    tree.links.new(folded, shader.inputs["Base Color"])
    tree.links.new(given["Specular"], shader.inputs["Specular IOR Level"])
    oil = _math(tree, (-600, -200), "MULTIPLY", given["Oiliness"], OIL_SMOOTHS)
    dry = _math(tree, (-400, -200), "SUBTRACT", 1.0, oil)
    rough = _math(tree, (-400, -50), "MULTIPLY", given["Roughness Map"], given["Roughness"])
    tree.links.new(_math(tree, (-200, -100), "MULTIPLY", rough, dry), shader.inputs["Roughness"])
    tree.links.new(_math(tree, (0, -300), "MULTIPLY", given["Oiliness"], OIL_FILM), shader.inputs["Coat Weight"])
    tree.links.new(_scatter(tree, given), shader.inputs["Subsurface Scale"])
    tree.links.new(_pores(tree, given), shader.inputs["Normal"])
    output = add_node(tree, "NodeGroupOutput", (600, 0))
    tree.links.new(shader.outputs["BSDF"], output.inputs["BSDF"])
    return tree


def _is_skin_group(group: Any) -> bool:
    """Is it ours, of this version? An artist's own may have the same name, a linked one may go with its file."""
    is_named = group.name.partition(".")[0] == GROUP and group.type == "SHADER" and not group.library
    return is_named and {each.name for each in SKIN_SOCKETS} <= {each.name for each in group.interface.items_tree}


def _group_socket(tree, name: str, kind: str, direction: str, text: str = ""):
    return tree.interface.new_socket(name, description=text, in_out=direction, socket_type=kind)


def _scatter(tree, given):
    """How far light walks in metres: less where the skin is much darker than the person's own (median red albedo).

    Lashes, brows and the edges of lids let no light through; with the walk of skin they would glow orange.
    """
    channels = add_node(tree, "ShaderNodeSeparateColor", (-800, 150))
    tree.links.new(given["Diffuse"], channels.inputs["Color"])
    node = add_node(tree, "ShaderNodeMapRange", (-400, 150), interpolation_type="SMOOTHSTEP")
    node.name = node.label = "Scatter"
    set_inputs(node, {"To Min": 0.0, "To Max": SUBSURFACE_SCALE})
    for row, (share, limit) in enumerate(zip(OPAQUE, ("From Min", "From Max"), strict=True)):
        red = _math(tree, (-600, 150 - 150 * row), "MULTIPLY", given["Skin Red"], share)
        tree.links.new(red, node.inputs[limit])
    tree.links.new(channels.outputs["Red"], node.inputs["Value"])
    return _math(tree, (-200, 150), "MULTIPLY", node.outputs["Result"], given["Subsurface"])


def _pores(tree, given):
    """A bump finer than any map: pits between the cells of the skin."""
    cells = add_node(tree, "ShaderNodeTexVoronoi", (-700, -500), feature="SMOOTH_F1")
    set_inputs(cells, {"Smoothness": 0.6})
    tree.links.new(given["Coordinates"], cells.inputs["Vector"])
    tree.links.new(given["Pore Scale"], cells.inputs["Scale"])
    bump = add_node(tree, "ShaderNodeBump", (-200, -500))
    bump.name = bump.label = "Pores"
    set_inputs(bump, {"Distance": PORE_DEPTH})
    tree.links.new(given["Pore Strength"], bump.inputs["Strength"])
    tree.links.new(cells.outputs["Distance"], bump.inputs["Height"])
    tree.links.new(given["Normal"], bump.inputs["Normal"])
    return bump.outputs["Normal"]


def skin_inputs() -> Inputs:
    """The sockets that make skin of the Principled BSDF, apart from the maps."""
    return {
        "Metallic": 0.0,
        "IOR": conventions.SKIN_IOR,
        "Subsurface Weight": 1.0,
        "Subsurface Radius": SUBSURFACE_RADIUS,
        "Subsurface Scale": SUBSURFACE_SCALE,
        "Subsurface IOR": conventions.SKIN_IOR,
        "Subsurface Anisotropy": 0.0,
        "Specular Tint": (1.0, 1.0, 1.0, 1.0),
        "Coat Weight": 0.0,
        "Coat Roughness": OIL_ROUGHNESS,
        "Sheen Weight": 0.0,
    }


def mouth_material() -> bpy.types.Material:
    """Dark wet pink for what lies behind lips and lids."""
    return principled("ID2R Mouth", {**wet_inputs(), **MOUTH_INPUTS})[0]


def wet_inputs() -> Inputs:
    """Flesh under saliva."""
    return {**skin_inputs(), "Specular IOR Level": NEUTRAL_SPECULAR}


def hair_material(
    diffuse: bpy.types.Image, hair_linear: Sequence[float] | None, name: str = "ID2R Hair"
) -> bpy.types.Material:
    """Strands in the colour of the scalp's map at their roots, evened out towards the node "Hair Colour", which is the
    artist's to set, and as light, one beside the other, as in the photo.

    EEVEE (4.3) reads white where strands look up a map, and its strands, as wide as a pixel, shade each other little: there they
    are matt, and all of that colour.
    """
    material, shader = principled(name, HAIR_INPUTS)
    tree = material.node_tree
    root = add_node(tree, "ShaderNodeAttribute", (-1000, 300), attribute_name=ROOT_ATTRIBUTE)
    texture = add_node(tree, "ShaderNodeTexImage", (-800, 300), image=diffuse, interpolation="Linear")
    tree.links.new(root.outputs["Vector"], texture.inputs["Vector"])
    own = add_node(tree, "ShaderNodeRGB", (-800, 0), name=HAIR_COLOUR, label=HAIR_COLOUR)
    own.outputs[0].default_value = (*(hair_linear or (0.0, 0.0, 0.0)), 1.0)
    even = _mix(tree, (-500, 200), HAIR_EVEN if hair_linear else 0.0, texture.outputs["Color"], own.outputs[0])
    strand = add_node(tree, "ShaderNodeHairInfo", (-800, -200))
    unrest = add_node(tree, "ShaderNodeMapRange", (-500, -200))
    set_inputs(unrest, {"To Min": HAIR_UNREST[0], "To Max": HAIR_UNREST[1]})
    tree.links.new(strand.outputs["Random"], unrest.inputs["Value"])
    shown = add_node(tree, "ShaderNodeAttribute", (-500, -450), attribute_name=SHADE_ATTRIBUTE)
    lighter = _math(tree, (-350, -450), "ADD", shown.outputs["Fac"], 1.0)
    shade = _math(tree, (-350, -300), "MULTIPLY", unrest.outputs["Result"], lighter)
    varied = lambda colour, y, by: _mix(tree, (-200, y), 1.0, colour, by, blend="MULTIPLY")
    lifted = _lifted(tree, even, 400)
    unshaded = _mix(
        tree,
        (0, 400),
        1.0,
        varied(lifted, 200, shade),
        (STRANDS_SHADE, STRANDS_SHADE, STRANDS_SHADE, 1.0),
        blend="MULTIPLY",
    )
    unshaded.node.clamp_result = True  # fair strands give back no more light than they get
    tree.links.new(unshaded, shader.inputs["Base Color"])
    if hair_linear:
        tree.get_output_node("ALL").target = "CYCLES"
        matt = add_node(tree, "ShaderNodeBsdfPrincipled", (200, -300))
        set_inputs(matt, {"Roughness": 1.0, "Specular IOR Level": 0.0})
        tree.links.new(
            varied(_lifted(tree, own.outputs[0], -700), -100, unrest.outputs["Result"]), matt.inputs["Base Color"]
        )
        output = add_node(tree, "ShaderNodeOutputMaterial", (500, -300), target="EEVEE")
        tree.links.new(matt.outputs["BSDF"], output.inputs["Surface"])
    return material


def _lifted(tree, colour, y: float):
    """A colour of hair with MIRRORS_LESS added."""
    grey = add_node(tree, "ShaderNodeRGBToBW", (-800, y))
    tree.links.new(colour, grey.inputs["Color"])
    share = _math(
        tree,
        (-500, y + 150),
        "DIVIDE",
        MIRRORS_LESS,
        _math(tree, (-650, y + 150), "MAXIMUM", grey.outputs["Val"], 1e-3),
    )
    return _mix(tree, (-350, y), 1.0, colour, _math(tree, (-350, y + 150), "ADD", share, 1.0), blend="MULTIPLY")


def frame_material(linear: Sequence[float]) -> bpy.types.Material:
    """The frame of glasses, lacquered, in its albedo [3]."""
    return principled("ID2R Frame", {**FRAME_INPUTS, "Base Color": (*linear, 1.0)})[0]


def lens_material() -> bpy.types.Material:
    """Thin glass: light goes straight through, a little is mirrored, most where it is grazed."""
    material, shader = principled("ID2R Lens", {})
    tree = material.node_tree
    tree.nodes.remove(shader)
    clear = add_node(tree, "ShaderNodeBsdfTransparent", (0, 100))
    mirror = add_node(tree, "ShaderNodeBsdfAnisotropic", (0, -100))
    set_inputs(mirror, {"Roughness": 0.0})
    fresnel = add_node(tree, "ShaderNodeFresnel", (-400, 300))
    set_inputs(fresnel, {"IOR": LENS_IOR})
    mix = add_node(tree, "ShaderNodeMixShader", (250, 0))
    tree.links.new(_math(tree, (-200, 300), "MULTIPLY", fresnel.outputs[0], COATED), mix.inputs[0])
    tree.links.new(clear.outputs[0], mix.inputs[1])
    tree.links.new(mirror.outputs[0], mix.inputs[2])
    tree.links.new(mix.outputs[0], tree.get_output_node("ALL").inputs["Surface"])
    return material


def tooth_material() -> bpy.types.Material:
    """Enamel: yellower at the neck, greyer at the edge, light wanders a little inside; uv runs from the root upwards."""
    material, shader = principled("ID2R Tooth", tooth_inputs())
    tree = material.node_tree
    uv = add_node(tree, "ShaderNodeUVMap", (-900, 300), uv_map=UV_LAYER)
    height = add_node(tree, "ShaderNodeSeparateXYZ", (-700, 300))
    tree.links.new(uv.outputs["UV"], height.inputs["Vector"])
    ramp = add_node(tree, "ShaderNodeValToRGB", (-400, 300))
    tree.links.new(height.outputs["Y"], ramp.inputs["Fac"])
    elements = ramp.color_ramp.elements
    for index, (position, colour) in enumerate(ENAMEL_STOPS):
        element = elements[index] if index < 2 else elements.new(position)
        element.position, element.color = position, (*colour, 1.0)
    tree.links.new(ramp.outputs["Color"], shader.inputs["Base Color"])
    return material


def tooth_inputs() -> Inputs:
    """Smooth wet enamel over dentine."""
    return {
        "Metallic": 0.0,
        "IOR": ENAMEL_IOR,
        "Roughness": 0.22,
        "Specular IOR Level": NEUTRAL_SPECULAR,
        "Subsurface Weight": 1.0,
        "Subsurface Radius": (1.0, 0.8, 0.6),
        "Subsurface Scale": 0.001,
        "Subsurface IOR": conventions.SKIN_IOR,
        "Subsurface Anisotropy": 0.0,
        "Coat Weight": 0.0,
        "Sheen Weight": 0.0,
    }


def eye_material(iris: float, colour: tuple[float, float, float]) -> bpy.types.Material:
    """Sclera, iris and pupil by direction from the eye's centre, under a wet cornea.

    iris: radius of the iris in units of the eye's radius; colour: of the iris, linear.
    """
    material, shader = principled("ID2R Eye", eye_inputs())
    tree = material.node_tree
    around, distance = _iris_coordinates(tree, iris)
    is_sclera = _ramp(tree, (-500, 100), distance, ((0.92, 0.0), (1.12, 1.0)))
    painted = _mix(tree, (-150, 300), is_sclera, _iris(tree, around, distance, colour), _sclera(tree, distance))
    tree.links.new(painted, shader.inputs["Base Color"])
    tree.links.new(is_sclera, shader.inputs["Subsurface Weight"])
    dome = _ramp(tree, (-500, -600), distance, ((0.0, 1.0), (0.5, 0.75), (1.0, 0.0)))
    _bump(tree, (-200, -500), dome, -0.5 * CORNEA_HEIGHT, shader.inputs["Normal"])  # the iris is a shallow bowl
    _bump(tree, (-200, -750), dome, CORNEA_HEIGHT, shader.inputs["Coat Normal"])
    return material


def eye_inputs() -> Inputs:
    """A matt ball under a thin clear film."""
    return {
        "Metallic": 0.0,
        "IOR": conventions.SKIN_IOR,
        "Roughness": 0.5,
        "Specular IOR Level": 0.0,  # the wet film reflects, what lies under it does not
        "Subsurface Radius": SUBSURFACE_RADIUS,
        "Subsurface Scale": 0.25 * SUBSURFACE_SCALE,
        "Subsurface IOR": conventions.SKIN_IOR,
        "Coat Weight": 1.0,
        "Coat Roughness": 0.02,
        "Coat IOR": CORNEA_IOR,
        "Sheen Weight": 0.0,
    }


def _iris_coordinates(tree, iris: float):
    """Two sockets: the direction around the eye's axis (unit vector) and the distance from it, 1 at the limbus."""
    attribute = add_node(tree, "ShaderNodeAttribute", (-1700, 0), attribute_name=EYE_ATTRIBUTE)
    direction = _vector(tree, (-1500, 0), "NORMALIZE", attribute.outputs["Vector"])
    flat = _vector(tree, (-1300, 200), "MULTIPLY", direction, (1.0, 0.0, 1.0))
    around = _vector(tree, (-1100, 200), "NORMALIZE", flat)
    chord = _vector(tree, (-1300, -100), "DISTANCE", direction, LOOK, output="Value")
    limbus = 2.0 * sin(asin(iris) / 2.0)  # the chord of the limbus on the unit sphere
    return around, _math(tree, (-1100, -100), "DIVIDE", chord, limbus)


def _iris(tree, around, distance, colour: tuple[float, float, float]):
    """Radial fibres of the iris colour, lighter round the pupil, dark at the limbus, black in the pupil."""
    depth = add_node(tree, "ShaderNodeCombineXYZ", (-1100, 450))
    tree.links.new(distance, depth.inputs["Y"])
    noise = add_node(tree, "ShaderNodeTexNoise", (-700, 450))
    set_inputs(noise, {"Scale": 7.0, "Detail": 4.0, "Roughness": 0.6})
    tree.links.new(_vector(tree, (-900, 450), "ADD", around, depth.outputs["Vector"]), noise.inputs["Vector"])
    dark, light = (tuple(gain * channel for channel in colour) + (1.0,) for gain in (0.45, 1.5))
    fibres = _mix(tree, (-500, 450), noise.outputs[0], dark, light)
    stops = ((PUPIL - 0.04, 0.0), (PUPIL + 0.04, 1.0), (0.55, 0.9), (0.80, 0.75), (1.0, 0.25))
    return _mix(tree, (-300, 450), _ramp(tree, (-700, 700), distance, stops), (0.0, 0.0, 0.0, 1.0), fibres)


def _sclera(tree, distance):
    """Off-white that reddens towards the corners, in the shade of lashes and lids at its rim."""
    reddened = _ramp(tree, (-700, 150), distance, ((1.15, 0.0), (2.2, 1.0)))
    colour = _mix(tree, (-300, 150), reddened, SCLERA, SCLERA_CORNER)
    rim = add_node(tree, "ShaderNodeAmbientOcclusion", (-500, 0), samples=8)
    set_inputs(rim, {"Distance": LID_SHADE})
    return _mix(tree, (-150, 150), rim.outputs["AO"], SCLERA_RIM, colour)


def principled(name: str, inputs: Inputs):
    """A new material whose tree is one Principled BSDF with the given sockets set."""
    material = bpy.data.materials.new(name)
    shader: Any = next(node for node in tree_of(material).nodes if node.type == "BSDF_PRINCIPLED")
    shader.subsurface_method = "RANDOM_WALK_SKIN"
    set_inputs(shader, inputs)
    return material, shader


def tree_of(owner: bpy.types.Material | bpy.types.World) -> bpy.types.ShaderNodeTree:
    """The node tree of a material or a world; made where Blender does not make it by itself (before 5.0)."""
    if owner.node_tree is None:  # 5.x warns about `use_nodes`
        owner.use_nodes = True
    return owner.node_tree


def add_node(tree, kind: str, location: tuple[float, float], **properties) -> Any:
    """A new node with its properties set; Any, because the type hints know no kinds of nodes."""
    node = tree.nodes.new(kind)
    node.location = location
    for name, value in properties.items():
        setattr(node, name, value)
    return node


def set_inputs(node, inputs: Inputs) -> None:
    for name, value in inputs.items():
        node.inputs[name].default_value = value


def _feed(tree, source, socket) -> None:
    """Link a socket, or set a constant."""
    if isinstance(source, bpy.types.NodeSocket):
        tree.links.new(source, socket)
    else:
        socket.default_value = source


def _vector(tree, location, operation: str, first, second=None, output: str = "Vector"):
    node = add_node(tree, "ShaderNodeVectorMath", location, operation=operation)
    _feed(tree, first, node.inputs[0])
    if second is not None:
        _feed(tree, second, node.inputs[1])
    return node.outputs[output]


def _math(tree, location, operation: str, first, second):
    node = add_node(tree, "ShaderNodeMath", location, operation=operation)
    _feed(tree, first, node.inputs[0])
    _feed(tree, second, node.inputs[1])
    return node.outputs["Value"]


def _mix(tree, location, factor, first, second, blend: str = "MIX"):
    """Colour `first` at factor 0, `second` (or another blend of both) at 1; each a socket or RGBA."""
    node = add_node(tree, "ShaderNodeMix", location, data_type="RGBA", blend_type=blend)
    sockets = {socket.identifier: socket for socket in node.inputs}
    for source, identifier in ((factor, "Factor_Float"), (first, "A_Color"), (second, "B_Color")):
        _feed(tree, source, sockets[identifier])
    return next(socket for socket in node.outputs if socket.identifier == "Result_Color")


def _ramp(tree, location, value, stops: tuple[tuple[float, float], ...]):
    """A grey ramp over `value`; stops are (position, grey), rescaled to the ramp's own [0, 1]."""
    end = stops[-1][0]
    node = add_node(tree, "ShaderNodeValToRGB", location)
    _feed(tree, _math(tree, (location[0] - 180, location[1]), "DIVIDE", value, end), node.inputs["Fac"])
    elements = node.color_ramp.elements
    for index, (position, grey) in enumerate(stops):
        element = elements[index] if index < 2 else elements.new(position / end)
        element.position = position / end
        element.color = (grey, grey, grey, 1.0)
    return node.outputs["Color"]


def _bump(tree, location, height, distance: float, socket) -> None:
    node = add_node(tree, "ShaderNodeBump", location)
    set_inputs(node, {"Strength": 1.0, "Distance": distance})
    tree.links.new(height, node.inputs["Height"])
    tree.links.new(node.outputs["Normal"], socket)
