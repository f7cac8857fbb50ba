"""A head comes into the scene in short steps, all of it or nothing."""

import time
import warnings
from types import SimpleNamespace

import bpy
import cv2
import numpy as np
import pytest

from addon import history, result, steps
from addon.core import errors
from addon.operators import system
from addon.operators.reconstruct import ID2R_OT_reconstruct
from tests.blender.conftest import write_result
from tests.blender.test_reconstruct import SUCCESS, Modal


@pytest.fixture
def scene(addon, tmp_path):
    """A new file as Blender makes it, with marks of the artist's and two earlier heads side by side."""
    bpy.ops.wm.read_factory_settings()
    made = bpy.context.scene
    made.timeline_markers.new("Cut", frame=40).camera = bpy.data.objects["Camera"]
    made.frame_start, made.frame_end = 5, 77
    made.view_settings.exposure = 0.5
    for name in ("first", "second"):
        bpy.ops.id2r.open_result(directory=str(write_result(tmp_path / name)))
    bpy.ops.id2r.compare(mode="SIDE")
    made.render.engine, made.frame_end, made.render.resolution_x = "BLENDER_WORKBENCH", 80, 333
    made.view_settings.view_transform = "Standard"
    made.cycles.samples = 3
    bpy.data.objects["Cube"].hide_viewport = bpy.data.objects["Cube"].hide_render = False
    bpy.context.view_layer.objects.active = bpy.data.objects["Cube"]
    return made


@pytest.fixture
def folder(tmp_path):
    folder = write_result(tmp_path / "finished")
    cv2.imwrite(str(folder / "hair.png"), np.full((8, 8), 40, np.uint8))
    return folder


def everything(scene) -> dict:
    """What a file holds, far beyond what our steps touch: every data-block, and every setting that can be written."""
    collections = [each for each in bpy.data.bl_rna.properties if each.type == "COLLECTION"]
    found = {each.identifier: sorted(getattr(bpy.data, each.identifier).keys()) for each in collections}
    found["active"] = [str(layer.objects.active) for layer in scene.view_layers]
    owners = {"scene": scene, "render": scene.render, "view": scene.view_settings, "cycles": scene.cycles}
    owners |= {f"object {each.name}": each for each in bpy.data.objects}
    owners |= {f"collection {each.name}": each for each in bpy.data.collections}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Blender will take away
        for name, owner in owners.items():
            found[name] = {
                each.identifier: str(getattr(owner, each.identifier))
                for each in owner.bl_rna.properties
                if not each.is_readonly and each.type in {"BOOLEAN", "INT", "FLOAT", "STRING", "ENUM", "POINTER"}
            }
            if isinstance(owner, bpy.types.Object):
                places = [list(row) for row in owner.matrix_basis]
                found[name] |= {"place": places, "own": sorted(f"{key}: {owner[key]}" for key in dict(owner))}
    found["markers"] = [(each.name, each.frame, each.camera.name) for each in scene.timeline_markers]
    found["runs"] = [each.name for each in scene.id2r_runs]
    return found


def failing(work: steps.Steps, at: int) -> steps.Steps:
    """The same steps, of which one fails when all that it does is done."""
    for number in range(at + 1):
        try:
            next(work)
        except StopIteration as end:
            if number == at:
                raise ZeroDivisionError("a bug") from None
            return end.value
        if number < at:
            yield
    raise ZeroDivisionError("a bug")


def head_and_run(folder, scene) -> steps.Steps:
    made = yield from result.bring_in(folder, scene, "ID2R third")
    history.add_run(scene, SimpleNamespace(photo="", to_json=dict), SimpleNamespace(out="", report={}), made.collection)


def test_whichever_step_fails_the_scene_is_as_before(scene, folder):
    before, failed = everything(scene), 0
    while True:
        work = steps.all_or_nothing(failing(head_and_run(folder, scene), failed), scene)
        try:
            steps.run(work)
            break
        except ZeroDivisionError:
            failed += 1
        after = everything(scene)
        assert {name: after[name] for name in after if after[name] != before.get(name)} == {}, f"step {failed}"
    assert failed > 12  # or the steps are not short
    assert "ID2R third" in scene.collection.children and len(scene.id2r_runs) == 3


# Each leaves something half made when it fails at its end.
@pytest.mark.parametrize(
    "place",
    [
        "mesh_io.read_head", "image_io.load_image", "image_io._set_space", "material.add_skin_nodes",
        "material.eye_material", "mesh_io._mesh_of_quads", "mesh_io._assign_parts", "mesh_io._drive_shape_keys",
        "mesh_io._smooth", "mesh_io.grow_lashes", "lookdev.add_portrait_camera", "lookdev.add_photo_camera",
        "lookdev.bind_views", "lookdev._bind", "lookdev.clear_stage", "lookdev.set_cycles", "lookdev.set_view",
        "history.show_run", "history._aim",
    ],
)  # fmt: skip
def test_a_bug_in_the_middle_of_a_step_is_said_and_the_scene_stays(scene, folder, fake_python, monkeypatch, place):
    settings, status = scene.id2r, bpy.context.window_manager.id2r
    settings.photo, settings.out = str(folder / "photo.png"), str(folder.parent / "out")
    before = everything(scene)
    module, name = place.split(".")
    owner = __import__(f"addon.{module}", fromlist=[name])
    work = getattr(owner, name)

    def breaks(*given, **named):
        work(*given, **named)
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(owner, name, breaks)
    fake_python(SUCCESS)
    with pytest.raises(RuntimeError, match="unforeseen happened: ZeroDivisionError: a bug"):
        bpy.ops.id2r.reconstruct()
    assert everything(scene) == before and not status.running and status.hint
    assert "in breaks" in system.problem_report(bpy.context)
    monkeypatch.setattr(owner, name, work)
    fake_python(SUCCESS)
    assert bpy.ops.id2r.reconstruct() == {"FINISHED"} and not status.trace and len(scene.id2r_runs) == 3


def test_what_the_artist_makes_between_two_steps_stays(scene, folder):
    work = steps.all_or_nothing(result.bring_in(folder, scene, "Head"), scene)
    for _ in range(9):
        next(work)
    bpy.data.meshes.new("Mine")
    next(work)
    work.close()
    assert "Mine" in bpy.data.meshes and "Head" not in bpy.data.objects


def test_a_result_folder_that_lacks_a_file_leaves_no_pictures(scene, folder):
    (folder / "photo.png").unlink()
    before = everything(scene)
    with pytest.raises(RuntimeError, match=r"photo\.png is missing"):
        bpy.ops.id2r.open_result(directory=str(folder))
    assert everything(scene) == before


# ---- in the window ----


@pytest.fixture
def modal(scene, folder, fake_python):
    scene.id2r.photo, scene.id2r.out = str(folder / "photo.png"), str(folder.parent / "out")
    fake_python(SUCCESS)
    return Modal(ID2R_OT_reconstruct)


def in_turns(modal) -> bool:
    """Is the operator between two steps of bringing the head in?"""
    return modal.operator._steps is not None and "ID2R photo" in bpy.data.collections


def test_modal_every_step_has_a_turn_when_it_takes_long(scene, modal, monkeypatch):
    monkeypatch.setattr("addon.operators.modal.TURN", 0.0)
    turns = []
    assert modal.run(monkeypatch, lambda: turns.append(in_turns(modal))) == {"FINISHED"}
    assert sum(turns) > 5 and len(scene.id2r_runs) == 3 and modal.slowest < 0.1


def test_modal_escape_between_two_steps_leaves_the_scene(scene, modal, monkeypatch):
    monkeypatch.setattr("addon.operators.modal.TURN", 0.0)
    before, status = everything(scene), bpy.context.window_manager.id2r

    def press_escape():
        if in_turns(modal):
            event = SimpleNamespace(type="ESC", value="PRESS")
            modal.operator.modal(SimpleNamespace(window_manager=bpy.context.window_manager), event)

    assert modal.run(monkeypatch, press_escape) == {"CANCELLED"}
    assert everything(scene) == before and modal.reports == ["Cancelled; the scene is unchanged."]
    assert not status.running


def test_modal_nothing_else_changes_the_scene_between_two_steps(scene, modal, monkeypatch):
    monkeypatch.setattr("addon.operators.modal.TURN", 0.0)
    said: dict[bool, set] = {False: set(), True: set()}

    def press_keys():
        context = SimpleNamespace(window_manager=bpy.context.window_manager)
        for kind in ("Z", "X", "LEFTMOUSE", "MOUSEMOVE", "MIDDLEMOUSE"):
            (answer,) = modal.operator.modal(context, SimpleNamespace(type=kind))
            said[modal.operator._steps is not None].add((kind, answer))

    modal.run(monkeypatch, press_keys)
    blocked = {(kind, "RUNNING_MODAL") for kind in ("Z", "X", "LEFTMOUSE")}
    free = {(kind, "PASS_THROUGH") for kind in ("MOUSEMOVE", "MIDDLEMOUSE")}
    assert said[True] == blocked | free and all(answer == "PASS_THROUGH" for _, answer in said[False])


def test_modal_a_window_that_closes_under_the_steps_leaves_no_half_head(scene, modal, monkeypatch):
    monkeypatch.setattr("addon.operators.modal.TURN", 0.0)
    before, closed = everything(scene), []

    def close():
        if in_turns(modal) and not closed:
            closed.append(True)
            manager = SimpleNamespace(id2r=bpy.context.window_manager.id2r, event_timer_remove=lambda _: None)
            modal.operator.cancel(SimpleNamespace(window_manager=manager, workspace=None))
            modal.operator._steps = iter(())  # Blender calls it no more
            modal.operator._result = None
            raise EOFError

    with pytest.raises(EOFError):
        modal.run(monkeypatch, close)
    assert everything(scene) == before and not bpy.context.window_manager.id2r.running


@pytest.mark.parametrize("how", ["execute", "invoke"])
def test_a_bug_before_the_job_begins_leaves_the_panel_usable(addon, monkeypatch, how):
    def breaks(self, context):
        raise PermissionError("the folder cannot be written")

    monkeypatch.setattr(ID2R_OT_reconstruct, "begin", breaks)
    bpy.context.scene.id2r.photo = "//photo.png"
    status = bpy.context.window_manager.id2r
    if how == "execute":
        with pytest.raises(RuntimeError, match="cannot be written"):
            bpy.ops.id2r.reconstruct()
    else:
        assert Modal(ID2R_OT_reconstruct).run(monkeypatch) == {"CANCELLED"}
    assert not status.running and "PermissionError" in status.error and bpy.ops.id2r.reconstruct.poll()


def test_the_person_s_own_red_comes_from_the_report_and_no_map_is_decoded(addon, folder, monkeypatch):
    (folder / "report.json").write_text('{"tone_linear": [0.25, 0.2, 0.1]}')
    monkeypatch.setattr("addon.material.median_linear", None)
    made = result.load_result(folder, bpy.context.scene, "Head")
    skin = made.objects.head.data.materials[0].node_tree.nodes["ID2R Skin"]
    assert skin.inputs["Skin Red"].default_value == pytest.approx(0.25)


def test_a_mesh_that_cannot_take_the_skin_keeps_its_own(addon, folder, monkeypatch):
    from addon import target

    bpy.ops.mesh.primitive_cube_add()
    cube, before = bpy.context.object, everything(bpy.context.scene)
    (folder / "mask.png").write_bytes((folder / "coverage.png").read_bytes())
    monkeypatch.setattr(target, "_frame_below", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        steps.run(steps.all_or_nothing(target.apply_to_mesh(folder, cube), bpy.context.scene))
    assert everything(bpy.context.scene) == before and not cube.data.materials


def test_an_error_of_ours_passes_unchanged(addon, tmp_path):
    with pytest.raises(errors.Id2rError, match="no head"):
        result.load_result(tmp_path, bpy.context.scene, "Head")


def test_steps_are_taken_until_the_turn_is_over():
    from addon.operators import modal

    def slow():
        for _ in range(100):
            time.sleep(0.004)
            yield

    operator = modal.JobOperator()
    operator._steps, operator._result = slow(), "made"
    started, turns = time.perf_counter(), 1
    while operator._go_on(modal.TURN) is None:
        turns += 1
    assert turns > 5 and time.perf_counter() - started > 0.4
