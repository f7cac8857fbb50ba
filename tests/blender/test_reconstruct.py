"""The operator and its worker process: success, failures in plain words, cancel, crash."""

import gc
import json
import time
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest

from addon import job, properties
from addon.core import protocol
from addon.operators import modal as modal_module
from addon.operators.modal import JobOperator
from addon.operators.reconstruct import ID2R_OT_reconstruct
from tests.blender.conftest import write_result

TINY_PACK = job.PACKAGE_ROOT / "id2r_core" / "packs" / "tiny" / "manifest.json"


@pytest.fixture
def settings(addon, tmp_path):
    photo = tmp_path / "Ada.png"
    photo.write_bytes(b"a fake worker does not look")
    values = bpy.context.scene.id2r
    values.photo, values.out = str(photo), str(tmp_path / "out")
    return values


@pytest.fixture
def status(addon):
    return bpy.context.window_manager.id2r


SUCCESS = """
    say("progress", stage="photo", done=1, total=1)
    say("warning", text="The face is turned.")
    say("progress", stage="maps", done=1, total=1)
    say("result", out=request["out"], report={})
"""


def test_request_has_the_settings_as_absolute_paths(settings, tmp_path):
    settings.resolution, settings.refine, settings.keep_expression, settings.template = 512, 0.25, False, "t3"
    request = properties.request_of(settings, "cpu")
    assert request == protocol.Request(
        photo=str(tmp_path / "Ada.png"),
        out=str(tmp_path / "out" / "Ada"),
        resolution=512,
        device="cpu",
        template="t3",
        keep_expression=False,
        refine=0.25,
    )


def test_without_a_folder_the_files_go_to_blender_s_temporary_one(settings):
    settings.out = ""
    assert Path(properties.request_of(settings, "auto").out) == Path(bpy.app.tempdir) / "id2r" / "Ada"


def test_no_run_takes_the_folder_of_another(settings, tmp_path):
    for name in ("Ada", "Ada 2"):
        out = Path(properties.request_of(settings, "auto").out)
        assert out == tmp_path / "out" / name
        write_result(out)


def test_the_defaults_are_the_protocol_s(settings):
    request = properties.request_of(settings, "auto")
    assert request == protocol.Request(photo=request.photo, out=request.out)


def test_the_operator_brings_the_head_into_the_scene(settings, status, fake_python, tmp_path):
    write_result(tmp_path / "finished")
    fake_python(SUCCESS)
    assert bpy.ops.id2r.reconstruct() == {"FINISHED"}
    assert "ID2R Ada" in bpy.context.scene.collection.children
    assert bpy.context.scene.camera.name == "Portrait"
    lit = bpy.context.scene.world.node_tree.nodes["Environment Texture"].image
    assert lit.name == f"{settings.hdri}.exr"  # the light that the panel shows
    assert status.warnings == "The face is turned." and not status.running and not status.error
    assert (status.stage, status.fraction) == ("maps", 1.0)
    (run,) = bpy.context.scene.id2r_runs
    assert (Path(run.photo).name, run.collection.name) == ("Ada.png", "ID2R Ada")


def test_the_artist_s_scene_set_up_can_stay(settings, fake_python, tmp_path):
    write_result(tmp_path / "finished")
    fake_python(SUCCESS)
    settings.set_up_scene = False
    before = bpy.context.scene.render.engine, bpy.context.scene.frame_end
    bpy.ops.id2r.reconstruct()
    scene = bpy.context.scene
    assert (scene.render.engine, scene.frame_end) == before and scene.camera is None and scene.world is None


@pytest.mark.parametrize(
    "body, message",
    [
        ("say('error', message='No face in Ada.png.', hint='Use another photo.')", "No face in Ada.png"),
        ("print('out of memory', file=sys.stderr); sys.exit(9)", r"ended unexpectedly \(code 9\)(.|\n)*out of memory"),
        ("print('hello', flush=True); time.sleep(0.5)", "not JSON"),
        ("say('result', out=request['out'], report={})", "There is no head"),
    ],
)
def test_failures_are_plain_words_and_leave_the_scene(settings, status, fake_python, body, message):
    fake_python(body)
    with pytest.raises(RuntimeError, match=message):
        bpy.ops.id2r.reconstruct()
    assert status.error and status.hint and not status.running
    assert not bpy.data.objects and not bpy.data.collections


def test_no_photo_is_said_before_a_process_starts(settings, status, monkeypatch):
    settings.photo = ""
    monkeypatch.setattr(job, "start", None)
    with pytest.raises(RuntimeError, match="Open a photo first"):
        bpy.ops.id2r.reconstruct()
    assert not status.running


def test_a_second_try_starts_afresh(settings, status, fake_python, tmp_path):
    fake_python("say('error', message='No.', hint='Try.')")
    with pytest.raises(RuntimeError):
        bpy.ops.id2r.reconstruct()
    write_result(tmp_path / "finished")
    fake_python(SUCCESS)
    bpy.ops.id2r.reconstruct()
    assert not status.error and not status.hint


def test_every_window_sees_how_far_a_job_is():
    """A job that was started in the Preferences shows in the sidebars of the main window, too, and ends there."""
    drawn = []

    def window(kind, *regions):
        made = [SimpleNamespace(type=each, tag_redraw=lambda each=each: drawn.append((kind, each))) for each in regions]
        return SimpleNamespace(screen=SimpleNamespace(areas=[SimpleNamespace(type=kind, regions=made)]))

    windows = [window("PREFERENCES", "WINDOW"), window("VIEW_3D", "UI", "WINDOW")]
    modal_module.redraw(SimpleNamespace(window_manager=SimpleNamespace(windows=windows), screen=windows[0].screen))
    assert drawn == [("PREFERENCES", "WINDOW"), ("VIEW_3D", "UI")]  # and no viewport


class Modal:
    """An operator as the interface runs it, without an interface."""

    def __init__(self, kind):
        members = {name: value for name, value in vars(kind).items() if not name.startswith(("__", "bl_"))}
        self.reports = []
        self.operator = type("Operator", (JobOperator,), members)()
        self.operator.report = lambda kind, text: self.reports.append(text)

    def run(self, monkeypatch, each_tick=lambda: None, seconds: float = 20.0) -> set[str]:
        """Invoke, then timer events until it ends; each_tick is called between them."""
        manager = SimpleNamespace(
            id2r=bpy.context.window_manager.id2r,
            event_timer_add=lambda *_, **__: None,
            event_timer_remove=lambda _: None,
            modal_handler_add=lambda _: None,
            windows=[],
        )
        context = SimpleNamespace(
            scene=bpy.context.scene, window_manager=manager, window=None, workspace=None, screen=None,
            preferences=bpy.context.preferences, object=None,
        )  # fmt: skip
        monkeypatch.setattr(
            "addon.operators.modal.bpy", SimpleNamespace(app=SimpleNamespace(background=False), data=bpy.data)
        )
        gc.collect()
        gc.freeze()  # what other tests have imported, which Blender has not, takes 0.2 s to be looked through for garbage
        try:
            return self._turns(context, each_tick, seconds)
        finally:
            gc.unfreeze()

    def _turns(self, context, each_tick, seconds: float) -> set[str]:
        state = self.operator.invoke(context, None)
        self.slowest, end = 0.0, time.monotonic() + seconds
        while state in ({"RUNNING_MODAL"}, {"PASS_THROUGH"}) and time.monotonic() < end:
            time.sleep(0.01)
            started = time.monotonic()
            state = self.operator.modal(context, SimpleNamespace(type="TIMER"))
            self.slowest = max(self.slowest, time.monotonic() - started)
            each_tick()
        return state


SLOW_SUCCESS = """
    for done, stage in enumerate(("photo", "swap", "maps")):
        say("progress", stage=stage, done=done, total=3)
        time.sleep(0.3)
    say("result", out=request["out"], report={"seconds": {"swap": 0.3}, "warnings": []})
    sys.stdin.readline()
"""


def test_modal_the_interface_is_never_blocked_while_the_worker_works(
    settings, status, fake_python, tmp_path, monkeypatch
):
    write_result(tmp_path / "finished")
    fake_python(SLOW_SUCCESS)
    modal, seen = Modal(ID2R_OT_reconstruct), []
    assert modal.run(monkeypatch, lambda: seen.append((status.stage, status.fraction, status.seconds_left))) == {
        "FINISHED"
    }
    assert modal.slowest < 0.1
    assert {"photo", "swap", "maps"} <= {stage for stage, _, _ in seen}
    fractions = [fraction for _, fraction, _ in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert any(left > 0 for _, _, left in seen) and not status.running
    assert "ID2R Ada" in bpy.context.scene.collection.children


def test_modal_escape_cancels_and_leaves_the_scene(settings, status, fake_python, monkeypatch):
    fake_python("""
        say("progress", stage="swap", done=5, total=10)
        assert json.loads(sys.stdin.readline()) == {"command": "cancel"}
        say("cancelled")
        sys.stdin.readline()
    """)
    modal = Modal(ID2R_OT_reconstruct)

    def press_escape():
        for value in ("RELEASE", "PRESS") if status.stage == "swap" and not status.cancelling else ():
            assert not status.cancelling  # letting a key go cancels nothing
            modal.operator.modal(
                SimpleNamespace(window_manager=bpy.context.window_manager), SimpleNamespace(type="ESC", value=value)
            )

    assert modal.run(monkeypatch, press_escape) == {"CANCELLED"}
    assert modal.reports == ["Cancelled; the scene is unchanged."]
    assert not status.running and not status.error and not bpy.data.objects and job.is_warm()


def test_modal_a_worker_that_had_to_be_ended_is_said_to_be_gone(settings, status, fake_python, monkeypatch):
    monkeypatch.setattr(job, "STOP_PATIENCE", 0.1)
    fake_python("say('progress', stage='swap', done=5, total=10); sys.stdin.readline(); sys.stdin.readline()")
    modal = Modal(ID2R_OT_reconstruct)

    def cancel():
        status.cancelling = status.stage == "swap"

    assert modal.run(monkeypatch, cancel) == {"CANCELLED"}
    (said,) = modal.reports
    assert "the scene is unchanged" in said and "next start takes longer" in said and not job.is_warm()


def test_modal_a_killed_worker_is_one_sentence_and_the_next_job_works(
    settings, status, fake_python, tmp_path, monkeypatch
):
    fake_python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    modal = Modal(ID2R_OT_reconstruct)
    assert modal.run(monkeypatch) == {"CANCELLED"}
    assert status.error.startswith("The system ended the worker") and not bpy.data.objects and not status.running
    write_result(tmp_path / "finished")
    fake_python(SUCCESS)
    assert modal.run(monkeypatch) == {"FINISHED"} and not status.error


def test_modal_the_head_goes_into_the_scene_where_it_was_started(settings, fake_python, tmp_path, monkeypatch):
    write_result(tmp_path / "finished")
    fake_python(SLOW_SUCCESS)
    own, other = bpy.context.scene, bpy.data.scenes.new("Other")
    bpy.context.window_manager.id2r.property_unset("stage")
    modal = Modal(ID2R_OT_reconstruct)

    def leave():
        if bpy.context.window:
            bpy.context.window.scene = other

    assert modal.run(monkeypatch, leave) == {"FINISHED"}
    assert "ID2R Ada" in own.collection.children and not other.collection.children


def test_the_cancel_button(status):
    assert not bpy.ops.id2r.cancel.poll()
    status.running = True
    assert bpy.ops.id2r.cancel() == {"FINISHED"} and status.cancelling


def test_one_undo_step_takes_the_whole_result_back(settings, fake_python, tmp_path):
    write_result(tmp_path / "finished")
    fake_python(SUCCESS)
    bpy.ops.ed.undo_push(message="Before")
    bpy.ops.id2r.reconstruct("EXEC_DEFAULT", True)
    assert bpy.data.objects and len(bpy.context.scene.id2r_runs) == 1 and bpy.context.scene.world
    bpy.ops.ed.undo()
    scene = bpy.context.scene
    assert not bpy.data.objects and not scene.id2r_runs and scene.world is None and not scene.collection.children
    assert scene.id2r.photo  # what was set before stays
    bpy.ops.ed.redo()
    assert len(bpy.context.scene.id2r_runs) == 1 and bpy.data.objects["ID2R Ada"].data.shape_keys


def test_set_hdri_operator(addon):
    assert bpy.ops.id2r.set_hdri(name="forest") == {"FINISHED"}
    assert bpy.context.scene.world.node_tree.nodes["Environment Texture"].image.name == "forest.exr"
    with pytest.raises(RuntimeError, match="moon"):
        bpy.ops.id2r.set_hdri(name="moon")


def test_blender_command(addon, fake_python, tmp_path, capsys, monkeypatch):
    from addon import batch, cli

    write_result(tmp_path / "finished")
    fake_python(SUCCESS)
    small = batch.Options(renders=(), samples=1, size=16)
    monkeypatch.setattr(batch, "Options", lambda: small)
    assert cli.execute(["reconstruct", "Ada.png", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "head.blend").is_file()
    assert "The face is turned." in capsys.readouterr().err
    fake_python("say('error', message='No face.', hint='Use another.')")
    assert cli.execute(["reconstruct", "Ada.png", "--out", str(tmp_path / "out")]) == 2


@pytest.mark.skipif(not TINY_PACK.is_file(), reason="the tiny pack is not there")
def test_modal_the_real_worker_never_blocks_the_interface(settings, astronaut_path, monkeypatch):
    settings.photo, settings.resolution = str(astronaut_path), 256
    modal = Modal(ID2R_OT_reconstruct)
    assert modal.run(monkeypatch, seconds=600.0) == {"FINISHED"}
    assert modal.slowest < 0.1
    assert json.loads((Path(settings.out) / "astronaut" / "report.json").read_text())
    assert bpy.data.objects["ID2R astronaut"].data.shape_keys.key_blocks["jawOpen"]
