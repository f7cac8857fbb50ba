"""The panels name only what exists, and say the right things in each state (Blender as a module draws no windows)."""

from types import SimpleNamespace

import bpy
import pytest

from addon import lookdev, panels, preferences
from addon.core import EXTENSION_PACKAGE, errors
from tests.blender.conftest import EXPRESSIONS


class Layout:
    """Stands in for UILayout: checks every name against Blender, and keeps what was drawn."""

    def __init__(self, drawn: list | None = None):
        self.drawn = [] if drawn is None else drawn

    def column(self, align=False, heading=""):
        return Layout(self.drawn)

    row = column

    def grid_flow(self, row_major, columns, even_columns, align):
        return Layout(self.drawn)

    def split(self, factor):
        assert 0 < factor < 1
        return Layout(self.drawn)

    def box(self):
        return Layout(self.drawn)

    def prop(self, data, name, index=-1, text="", icon="NONE", slider=False, expand=False):
        getattr(data, name)
        self.drawn.append(name)

    def operator(self, name, text="", icon="NONE", depress=False):
        category, function = name.split(".")
        kind = getattr(getattr(bpy.ops, category), function).get_rna_type()
        self.drawn.append(name)
        return SimpleNamespace(**{each.identifier: None for each in kind.properties})

    def progress(self, factor, text):
        assert 0 <= factor <= 1
        self.drawn.append(text)

    def label(self, text="", icon="NONE"):
        assert icon in bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items
        self.drawn.append(text)

    def template_icon(self, icon_value, scale):
        assert isinstance(icon_value, int)
        self.drawn.append("thumbnail")

    def template_icon_view(self, data, name, show_labels, scale, scale_popup):
        getattr(data, name)
        self.drawn.append(name)


@pytest.fixture
def context():
    return context_of()


def context_of():
    """What a panel that is drawn needs of a context."""
    return SimpleNamespace(
        scene=bpy.context.scene,
        window_manager=bpy.context.window_manager,
        preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=1.0), addons={}),
        region=SimpleNamespace(width=260),
        area=SimpleNamespace(type="VIEW_3D"),
        object=None,
    )


@pytest.fixture
def draw(addon, context):
    def draw_panel(panel) -> list:
        layout = Layout()
        if not hasattr(panel, "poll") or panel.poll(context):
            panel.draw(SimpleNamespace(layout=layout), context)
        return layout.drawn

    return draw_panel


@pytest.fixture
def status(addon):
    return bpy.context.window_manager.id2r


@pytest.mark.parametrize("panel", panels.CLASSES, ids=lambda panel: panel.__name__)
def test_every_panel_draws_in_an_empty_scene(draw, panel):
    draw(panel)


@pytest.mark.parametrize("panel", panels.CLASSES, ids=lambda panel: panel.__name__)
def test_every_panel_draws_with_two_heads(draw, panel, result_folder):
    for _ in range(2):
        bpy.ops.id2r.open_result(directory=str(result_folder))
    assert draw(panel)


def test_without_a_photo_the_panel_says_what_to_do(draw):
    drawn = draw(panels.ID2R_PT_reference)
    assert drawn[0].startswith("Open a photo") and {"id2r.open_photo", "id2r.paste_photo"} <= set(drawn)
    assert "id2r.use_image" not in drawn
    assert not panels.is_picture(SimpleNamespace(source="VIEWER", has_data=False))  # before the first render
    bpy.data.images.new("Mine", 4, 4)
    assert "id2r.use_image" in draw(panels.ID2R_PT_reference)


def test_a_photo_is_shown(draw, result_folder):
    bpy.context.scene.id2r.photo = str(result_folder / "photo.png")
    assert draw(panels.ID2R_PT_reference)[0] == "thumbnail"


def test_at_rest_there_are_options_and_a_button(draw):
    drawn = draw(panels.ID2R_PT_reconstruct)
    assert {"target", "resolution", "refine", "keep_expression"} <= set(drawn)
    assert drawn[-1] == "id2r.reconstruct"
    assert {"pack", "template", "out"} <= set(draw(panels.ID2R_PT_options))


def test_without_a_photo_the_button_says_why_it_is_grey(addon):
    with pytest.raises(RuntimeError, match="Open a photo first"):
        bpy.ops.id2r.reconstruct()


def test_the_preset_that_is_set_is_shown(addon, context):
    pressed = []
    layout = Layout()
    operator = Layout.operator

    def remember(self, name, text="", icon="NONE", depress=False):
        pressed.extend([text] if depress else [])
        return operator(self, name, text, icon, depress)

    layout.operator, layout.row = remember.__get__(layout), lambda align=False: layout
    for engine, quality in (("CYCLES", "Final"), ("EEVEE", "Preview")):
        bpy.ops.id2r.render_preset(engine=engine, quality=quality.upper())
        panels.ID2R_PT_render.draw(SimpleNamespace(layout=layout), context)
        assert pressed.pop() == quality and not pressed
    bpy.context.scene.render.engine = "BLENDER_WORKBENCH"
    panels.ID2R_PT_render.draw(SimpleNamespace(layout=layout), context)
    assert not pressed


def test_while_running_there_are_progress_and_cancel(draw, status):
    status.running, status.stage, status.fraction, status.seconds_left = True, "swap", 0.5, 9.6
    drawn = draw(panels.ID2R_PT_reconstruct)
    assert drawn[-2:] == ["Swap, ~10 s left", "id2r.cancel"] and "id2r.reconstruct" not in drawn
    status.stage, status.seconds_left, status.task = "", 0.0, "Reconstruct"
    assert "Starting: Reconstruct" in draw(panels.ID2R_PT_reconstruct)
    status.cancelling = True
    assert "Cancelling" in draw(panels.ID2R_PT_reconstruct)


def test_errors_and_warnings_are_whole_sentences_in_short_lines(draw, status):
    status.error = "The photo group.jpg shows no face that is large enough to be measured."
    status.hint = "Use a photo in which the face is at least 64 pixels wide."
    status.warnings = "Two faces were found.\nThe face is turned 40 degrees."
    drawn = draw(panels.ID2R_PT_reconstruct)
    said = " ".join(drawn[drawn.index("id2r.reconstruct") + 1 : -1])
    assert said == f"{status.error} {status.hint} " + status.warnings.replace("\n", " ")
    assert max(map(len, drawn)) < 45 and drawn[-1] == "id2r.report_problem"


def test_after_an_error_the_preferences_are_one_click_away(draw, status, context):
    context.preferences.addons[EXTENSION_PACKAGE] = SimpleNamespace(preferences=SimpleNamespace())
    status.error, status.hint = "No face was found.", "Use a sharp, upright photo."
    assert "preferences.addon_show" not in draw(panels.ID2R_PT_reconstruct)
    status.error, status.hint = errors.unforeseen(ModuleNotFoundError("No module", name="torch"))
    assert draw(panels.ID2R_PT_reconstruct)[-2:] == ["preferences.addon_show", "id2r.report_problem"]


def test_the_expressions_are_counted_without_the_photo_s_own(draw, result_folder):
    bpy.ops.id2r.open_result(directory=str(result_folder))
    assert f"All {len(EXPRESSIONS)} are under" in " ".join(draw(panels.ID2R_PT_expressions))


def test_what_needs_a_head_is_shown_with_one_alone(draw, result_folder):
    assert draw(panels.ID2R_PT_target) == draw(panels.ID2R_PT_history) == []
    bpy.ops.id2r.open_result(directory=str(result_folder))
    assert draw(panels.ID2R_PT_target) and draw(panels.ID2R_PT_history)


def test_the_device_is_named_when_it_is_known(draw, status, context):
    layout = Layout()
    panels.draw_device(layout, context, "auto")
    assert layout.drawn == ["id2r.doctor"]
    status.devices = '{"cuda": "NVIDIA H200, 139 GiB", "cpu": "16 threads"}'
    for chosen, said in (("auto", "NVIDIA GPU (CUDA): NVIDIA H200, 139 GiB"), ("cpu", "CPU: 16 threads")):
        layout = Layout()
        panels.draw_device(layout, context, chosen)
        assert layout.drawn == [said]
    layout = Layout()
    panels.draw_device(layout, context, "mps")
    assert layout.drawn == ["There is no Apple GPU (Metal) here"]


def test_the_skin_has_its_controls(draw, result_folder):
    assert "No head yet." in draw(panels.ID2R_PT_result)[0]
    bpy.ops.id2r.open_result(directory=str(result_folder))
    assert draw(panels.ID2R_PT_result).count("default_value") == 5


def test_lookdev_shows_where_we_look(draw, result_folder):
    bpy.ops.id2r.open_result(directory=str(result_folder))
    assert {"hdri", "hdri_rotation", "hdri_strength", "background"} <= set(draw(panels.ID2R_PT_lookdev))
    assert "Show Balls and Chart" not in draw(panels.ID2R_PT_camera)


def test_every_control_has_a_tooltip(addon):
    from addon import operators, properties

    kinds = {each: each.bl_rna for each in (properties.ID2R_Settings, preferences.ID2R_Preferences)}
    for each in operators.CLASSES:
        if issubclass(each, bpy.types.Operator):
            category, function = each.bl_idname.split(".")
            kinds[each] = getattr(getattr(bpy.ops, category), function).get_rna_type()
            assert kinds[each].description and not kinds[each].description.endswith(".")
    assert len(kinds) > 30
    for kind, rna in kinds.items():
        for name in set(getattr(kind, "__annotations__", {})) & set(rna.properties.keys()):
            told = rna.properties[name]
            assert told.is_hidden or told.description, f"{kind.__name__}.{name}"
            items = told.enum_items if told.type == "ENUM" else ()
            assert all(item.description for item in items), f"{kind.__name__}.{name}"


def test_the_preferences_draw(addon, context):
    layout = Layout()
    stored = SimpleNamespace(
        layout=layout, python="", device="auto", memory=0.0, idle_minutes=10.0, hdri_folders=[SimpleNamespace(path="/x")],
        doctor="torch: 2\nPROBLEM: cv2 cannot be imported. Install it.",
    )  # fmt: skip
    preferences.ID2R_Preferences.draw(stored, context)
    drawn = layout.drawn
    assert {"python", "device", "idle_minutes", "id2r.install_runtime", "id2r.verify_pack", "path"} <= set(drawn)
    bpy.context.window_manager.id2r.running = True
    bpy.context.window_manager.id2r.stage = "collecting torch"
    preferences.ID2R_Preferences.draw(stored, context)
    assert drawn[drawn.index("Collecting torch") + 1] == "id2r.cancel"
    assert "tiny" in drawn and "PROBLEM: cv2 cannot be" in " ".join(drawn)


def test_the_gallery_offers_blender_s_environments(addon):
    settings = bpy.context.scene.id2r
    settings.hdri = "forest"
    assert bpy.context.scene.world.node_tree.nodes["Environment Texture"].image.name == "forest.exr"
    own = lookdev.HDRIS["forest"]
    settings.hdri_rotation, settings.hdri_strength = 0.5, 2.0
    nodes = bpy.context.scene.world.node_tree.nodes
    assert nodes["Mapping"].inputs["Rotation"].default_value[2] == pytest.approx(own.rotation + 0.5)
    assert nodes["Background"].inputs["Strength"].default_value == pytest.approx(own.strength * 2.0)
    settings.hdri = "city"  # keeps the turn and the strength that were set
    nodes = bpy.context.scene.world.node_tree.nodes
    assert nodes["Mapping"].inputs["Rotation"].default_value[2] == pytest.approx(lookdev.HDRIS["city"].rotation + 0.5)
    settings.background = "NONE"
    assert bpy.context.scene.render.film_transparent
