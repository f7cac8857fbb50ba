"""What lighters hold beside a face: a grey ball, a chrome ball and a colour chart, fixed to the portrait camera."""

from typing import Any

import bmesh
import bpy
import numpy as np

from .core import conventions
from .lookdev import SENSOR, lens_of
from .material import add_node, principled

NAME = "ID2R Checks"
GREY = 0.18  # albedo of the grey ball
NEARER = 0.6  # of the way from the camera to the head
BALL = 0.05  # radius, of the height of the picture
PATCH = 0.03  # side of a patch of the chart, of the height of the picture
MARGIN = 0.02
# The 24 patches of the classic chart in rows of six, sRGB 8 bit: Pascale, "RGB coordinates of the ColorChecker" (2006).
PATCHES = (
    ((115, 82, 68), (194, 150, 130), (98, 122, 157), (87, 108, 67), (133, 128, 177), (103, 189, 170)),
    ((214, 126, 44), (80, 91, 166), (193, 90, 99), (94, 60, 108), (157, 188, 64), (224, 163, 46)),
    ((56, 61, 150), (70, 148, 73), (175, 54, 60), (231, 199, 31), (187, 86, 149), (8, 133, 161)),
    ((243, 243, 242), (200, 200, 200), (160, 160, 160), (122, 122, 121), (85, 85, 85), (52, 52, 52)),
)


def show_checks(camera: bpy.types.Object, collection: bpy.types.Collection, shown: bool) -> None:
    """Add the balls and the chart to the lower corners of a camera's picture, or take them away."""
    known = [each for each in camera.children if each.name.startswith(NAME)]
    bpy.data.batch_remove(known)
    if not shown:
        return
    distance = NEARER * abs(camera.location.y)
    height = distance * SENSOR / lens_of(camera).lens  # of the picture, at that distance
    bottom = -height / 2 + (MARGIN + BALL) * height
    left = -height / 2 * _aspect() + (MARGIN + BALL) * height
    grey = _material("ID2R Grey", (GREY, GREY, GREY, 1.0), roughness=1.0, metallic=0.0)
    chrome = _material("ID2R Chrome", (0.9, 0.9, 0.9, 1.0), roughness=0.0, metallic=1.0)
    made = [
        _ball("Grey", BALL * height, (left, bottom, -distance), grey),
        _ball("Chrome", BALL * height, (left + 2.4 * BALL * height, bottom, -distance), chrome),
        _chart(PATCH * height, (-left + BALL * height, -height / 2 + MARGIN * height, -distance)),
    ]
    for each in made:
        collection.objects.link(each)
        each.parent = camera


def are_shown(camera: bpy.types.Object) -> bool:
    return any(each.name.startswith(NAME) for each in camera.children)


def _aspect() -> float:
    render = bpy.context.scene.render
    return render.resolution_x / render.resolution_y


def _ball(name: str, radius: float, location, material) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(f"{NAME} {name}")
    shape = bmesh.new()
    bmesh.ops.create_uvsphere(shape, u_segments=48, v_segments=24, radius=radius)
    shape.to_mesh(mesh)
    shape.free()
    mesh.polygons.foreach_set("use_smooth", np.ones(len(mesh.polygons), bool))
    mesh.materials.append(material)
    made = bpy.data.objects.new(f"{NAME} {name}", mesh)
    made.location = location
    return made


def _chart(side: float, corner) -> bpy.types.Object:
    """Patches whose lower right corner lies at `corner`, facing the camera; colours as a linear attribute."""
    rows, columns = len(PATCHES), len(PATCHES[0])
    square = np.array([(0.04, 0.04), (0.96, 0.04), (0.96, 0.96), (0.04, 0.96)])
    places = [(column - columns, rows - 1 - row) for row in range(rows) for column in range(columns)]
    flat = np.concatenate([(square + place) * side for place in places])
    vertices = np.concatenate([flat, np.zeros((len(flat), 1))], 1)
    mesh = bpy.data.meshes.new(f"{NAME} Chart")
    mesh.from_pydata(vertices.tolist(), [], np.arange(len(vertices)).reshape(-1, 4).tolist())
    linear = conventions.srgb_to_linear(np.array(PATCHES, np.float32).reshape(-1, 3) / 255.0)
    colours = np.concatenate([linear, np.ones((len(linear), 1))], 1).repeat(4, 0)
    attribute: Any = mesh.color_attributes.new("Patch", "FLOAT_COLOR", "CORNER")
    attribute.data.foreach_set("color", colours.astype(np.float32).ravel())
    mesh.materials.append(_chart_material())
    made = bpy.data.objects.new(f"{NAME} Chart", mesh)
    made.location = corner
    return made


def _chart_material() -> bpy.types.Material:
    material = _material("ID2R Chart", (1.0, 1.0, 1.0, 1.0), roughness=1.0, metallic=0.0)
    tree = material.node_tree
    if "Patch" not in tree.nodes:
        node = add_node(tree, "ShaderNodeVertexColor", (-300, 300), name="Patch", layer_name="Patch")
        shader = next(each for each in tree.nodes if each.type == "BSDF_PRINCIPLED")
        tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    return material


def _material(name: str, colour, roughness: float, metallic: float) -> bpy.types.Material:
    inputs = {"Base Color": colour, "Roughness": roughness, "Metallic": metallic}
    return bpy.data.materials.get(name) or principled(name, inputs)[0]
