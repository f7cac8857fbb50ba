"""Lets the add-on run in Blender 3.4, far enough to draw its panels and show a head: for screenshots, never shipped.

Debian's Blender is the one that opens a real window under Xvfb. What 3.4 lacks is replaced by the nearest that it has;
the materials are therefore plainer than in the versions that the add-on is made for.
"""

import sys
from pathlib import Path

import bpy

ROOT = Path(__file__).resolve().parents[2]


def register(python: str, opened: set[str], hdri_folder: str = ""):
    """Register the add-on with a worker Python; panels named in `opened` start open, all other sub-panels closed."""
    bpy.utils.register_cli_command = lambda *_: None
    bpy.utils.unregister_cli_command = lambda *_: None
    sys.path.insert(0, str(ROOT))
    import addon
    from addon import job, panels, words
    from addon.operators.system import ID2R_OT_install_runtime

    addon.OLDEST_BLENDER = (3, 4, 0)
    words.draw_bar = _draw_progress
    words.python_in_words = lambda _chosen: Path(python).name  # pictures show no path of the machine
    job.find_python = lambda _chosen="": python
    ID2R_OT_install_runtime.poll = classmethod(lambda cls, context: True)
    for panel in panels.CLASSES:
        panel.bl_options = set() if panel.__name__ in opened else {"DEFAULT_CLOSED"}
    _plain_materials(addon)
    _older_names(addon)
    bpy.context.preferences.addons.new().module = "addon"
    addon.register()
    _preferences_panel()
    stored = bpy.context.preferences.addons["addon"].preferences
    if hdri_folder:
        stored.hdri_folders.add().path = hdri_folder
    return addon


def _preferences_panel() -> None:
    """3.4 shows preferences only of add-ons in its own folders; ours get a panel of their own in that editor."""
    from addon import preferences

    class ID2R_PT_preferences(bpy.types.Panel):
        bl_label = "ID2R"
        bl_space_type = "PREFERENCES"
        bl_region_type = "WINDOW"
        bl_context = "addons"

        def draw(self, context):
            preferences.draw_preferences(self.layout, preferences.preferences_of(context), context)

    bpy.utils.unregister_class(bpy.types.USERPREF_PT_addons)
    bpy.utils.register_class(ID2R_PT_preferences)
    bpy.context.preferences.view.show_splash = False


def _draw_progress(layout, fraction: float, text: str) -> None:
    """3.4 has no progress bar; a slider looks nearly the same."""
    layout.prop(bpy.context.window_manager.id2r, "fraction", text=text, slider=True)


def _older_names(addon) -> None:
    from addon import image_io, lookdev

    lookdev._environment = lambda path: bpy.data.images.get(path.name) or image_io.load_image(path, "Linear")
    lookdev.set_view = lambda scene: setattr(scene.view_settings, "view_transform", "Filmic")
    lookdev.set_cycles = lambda scene, samples: setattr(scene.render, "engine", "BLENDER_EEVEE")


def _plain_materials(addon) -> None:
    """The same node group with the same inputs, over the Principled BSDF of 3.4; eyes as they are exported."""
    from addon import checks, export, material, mesh_io, result

    def group():
        known = bpy.data.node_groups.get(material.GROUP)
        if known:
            return known
        tree = bpy.data.node_groups.new(material.GROUP, "ShaderNodeTree")
        tree.outputs.new("NodeSocketShader", "BSDF")
        for each in material.SKIN_SOCKETS:
            socket = tree.inputs.new(each.kind, each.name)
            if each.default is not None:
                socket.default_value = each.default
            if each.limits is not None:
                socket.min_value, socket.max_value = each.limits
        given, shader = tree.nodes.new("NodeGroupInput").outputs, tree.nodes.new("ShaderNodeBsdfPrincipled")
        output = tree.nodes.new("NodeGroupOutput")
        tinted = material._mix(tree, (0, 0), 1.0, given["Diffuse"], given["Tone"], blend="MULTIPLY")
        tree.links.new(tinted, shader.inputs["Base Color"])
        tree.links.new(given["Specular"], shader.inputs["Specular"])
        tree.links.new(given["Roughness Map"], shader.inputs["Roughness"])
        tree.links.new(given["Oiliness"], shader.inputs["Clearcoat"])
        tree.links.new(given["Normal"], shader.inputs["Normal"])
        tree.links.new(shader.outputs["BSDF"], output.inputs["BSDF"])
        return tree

    def principled(name, inputs):
        made = bpy.data.materials.new(name)
        made.use_nodes = True
        shader = made.node_tree.nodes["Principled BSDF"]
        for socket, value in inputs.items():
            if socket in ("Base Color", "Roughness", "Metallic", "IOR"):
                shader.inputs[socket].default_value = value
        return made, shader

    material.skin_group, material.principled, checks.principled = group, principled, principled
    material.eye_material = lambda iris, colour: principled("ID2R Eye", {})[0]
    build = mesh_io.build_head

    def build_head(data, materials, collection, name):
        made = build(data, materials, collection, name)
        made.eyes.data.materials[0] = export._plain_eye(made.eyes, Path(bpy.app.tempdir))
        return made

    result.mesh_io.build_head = build_head
