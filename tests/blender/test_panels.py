"""The panels name only what exists, and say the right things in each state (Blender as a module draws no windows)."""

from types import SimpleNamespace

import bpy
import pytest

from addon import lookdev, panels


class Layout:
    """Stands in for UILayout: checks every name against Blender, and keeps what was drawn."""

    def __init__(self, drawn: list | None = None):
        self.drawn = [] if drawn is None else drawn

    def column(self, align=False):
        return Layout(self.drawn)

    row = column

    def prop(self, data, name, index=-1, text=""):
        getattr(data, name)
        self.drawn.append(name)

    def operator(self, name, text="", icon="NONE", depress=False):
        category, function = name.split(".")
        kind = getattr(getattr(bpy.ops, category), function).get_rna_type()
        self.drawn.append(name)
        return SimpleNamespace(**{each.identifier: None for each in kind.properties})

    def menu(self, name, text="", icon="NONE"):
        assert hasattr(bpy.types, name)
        self.drawn.append(text)

    def progress(self, factor, text):
        assert 0 <= factor <= 1
        self.drawn.append(text)

    def label(self, text="", icon="NONE"):
        self.drawn.append(text)

    def separator(self):
        pass


@pytest.fixture
def draw(addon):
    context = SimpleNamespace(
        scene=bpy.context.scene,
        window_manager=bpy.context.window_manager,
        preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=1.0), addons={}),
        region=SimpleNamespace(width=260),
    )

    def draw_panel(panel) -> list:
        layout = Layout()
        panel.draw(SimpleNamespace(layout=layout), context)
        return layout.drawn

    return draw_panel


@pytest.fixture
def status(addon):
    return bpy.context.window_manager.id2r


def test_at_rest_there_are_options_and_a_button(draw):
    drawn = draw(panels.ID2R_PT_reconstruct)
    assert {"photo", "pack", "resolution", "template", "refine", "keep_expression"} <= set(drawn)
    assert drawn[-1] == "id2r.reconstruct"


def test_while_running_there_are_progress_and_cancel(draw, status):
    status.running, status.stage, status.fraction = True, "swap", 0.5
    drawn = draw(panels.ID2R_PT_reconstruct)
    assert drawn[-2:] == ["Swap", "id2r.cancel"] and "id2r.reconstruct" not in drawn
    status.cancelling = True
    assert "Cancelling" in draw(panels.ID2R_PT_reconstruct)


def test_errors_and_warnings_are_whole_sentences_in_short_lines(draw, status):
    status.error = "The photo group.jpg shows no face that is large enough to be measured."
    status.hint = "Use a photo in which the face is at least 64 pixels wide."
    status.warnings = "Two faces were found.\nThe face is turned 40 degrees."
    drawn = draw(panels.ID2R_PT_reconstruct)
    said = " ".join(drawn[drawn.index("id2r.reconstruct") + 1 :])
    assert said == f"{status.error} {status.hint} " + status.warnings.replace("\n", " ")
    assert max(map(len, drawn)) < 45


def test_lookdev_before_and_after_there_is_light(draw):
    assert "Choose an Environment" in draw(panels.ID2R_PT_lookdev)
    lookdev.set_hdri(bpy.context.scene, "forest")
    drawn = draw(panels.ID2R_PT_lookdev)
    assert "forest.exr" in drawn and drawn.count("default_value") == 2


def test_the_menu_offers_blender_s_environments(draw):
    assert draw(panels.ID2R_MT_environments).count("id2r.set_hdri") == len(lookdev.HDRIS)
