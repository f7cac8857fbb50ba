"""The operator and its worker process: success, failures in plain words, cancel, crash."""

import json
import time
from pathlib import Path

import bpy
import pytest

from addon import job, properties
from addon.core import protocol
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
    settings.resolution, settings.refine, settings.keep_expression, settings.template = 512, 0.25, True, "t3"
    request = properties.request_of(settings, "cpu")
    assert request == protocol.Request(
        photo=str(tmp_path / "Ada.png"),
        out=str(tmp_path / "out"),
        resolution=512,
        device="cpu",
        template="t3",
        keep_expression=True,
        refine=0.25,
    )


def test_without_a_folder_the_files_go_to_blender_s_temporary_one(settings):
    settings.out = ""
    assert Path(properties.request_of(settings, "auto").out) == Path(bpy.app.tempdir) / "id2r" / "Ada"


def test_the_defaults_are_the_protocol_s(settings):
    request = properties.request_of(settings, "auto")
    assert request == protocol.Request(photo=request.photo, out=request.out)


def test_the_operator_brings_the_head_into_the_scene(settings, status, fake_python, tmp_path):
    write_result(tmp_path / "out")
    fake_python(SUCCESS)
    assert bpy.ops.id2r.reconstruct() == {"FINISHED"}
    assert "ID2R Ada" in bpy.context.scene.collection.children
    assert bpy.context.scene.camera.name == "Portrait"
    assert status.warnings == "The face is turned." and not status.running and not status.error
    assert (status.stage, status.fraction) == ("maps", 1.0)


def test_the_artist_s_scene_set_up_can_stay(settings, fake_python, tmp_path):
    write_result(tmp_path / "out")
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
    monkeypatch.setattr(job, "Job", None)
    with pytest.raises(RuntimeError, match="photo is missing"):
        bpy.ops.id2r.reconstruct()
    assert not status.running


def test_a_second_try_starts_afresh(settings, status, fake_python, tmp_path):
    fake_python("say('error', message='No.', hint='Try.')")
    with pytest.raises(RuntimeError):
        bpy.ops.id2r.reconstruct()
    write_result(tmp_path / "out")
    fake_python(SUCCESS)
    bpy.ops.id2r.reconstruct()
    assert not status.error and not status.hint


def request() -> protocol.Request:
    return protocol.Request(photo="a.png", out="out")


def poll_until_last(running: job.Job, seconds: float) -> list[protocol.Event]:
    events, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        events += running.poll()
        if events and isinstance(events[-1], job.LAST_EVENTS):
            return events
        time.sleep(0.01)
    raise AssertionError(f"no last event, only {events}")


def test_polling_never_waits_and_cancel_reaches_the_worker(fake_python):
    fake_python("""
        say("progress", stage="photo", done=0, total=1)
        assert json.loads(sys.stdin.readline()) == {"command": "cancel"}
        say("cancelled")
    """)
    running = job.Job(job.find_python(), request())
    started = time.monotonic()
    running.poll()
    assert time.monotonic() - started < 0.1
    running.cancel()
    running.cancel()  # asks once
    assert isinstance(poll_until_last(running, 20)[-1], protocol.Stopped)
    running.close()


def test_a_worker_that_does_not_listen_is_ended(fake_python, monkeypatch):
    monkeypatch.setattr(job, "STOP_PATIENCE", 0.2)
    fake_python("time.sleep(60)")
    running = job.Job(job.find_python(), request())
    running.cancel()
    assert isinstance(poll_until_last(running, 20)[-1], protocol.Stopped)
    started = time.monotonic()
    running.close(patience=0.1)
    assert time.monotonic() - started < 5


def test_the_panel_s_cancel_asks_the_job_to_stop(status, fake_python):
    from addon.operators.reconstruct import look_at

    fake_python("say('progress', stage='swap', done=11, total=20); sys.stdin.readline(); say('cancelled')")
    assert not bpy.ops.id2r.cancel.poll()
    status.running = True
    running = job.Job(job.find_python(), request())
    assert bpy.ops.id2r.cancel() == {"FINISHED"}
    end = time.monotonic() + 20
    while (last := look_at(running, bpy.context)) is None and time.monotonic() < end:
        time.sleep(0.01)
    running.close()
    assert isinstance(last, protocol.Stopped) and status.stage == "swap" and 0.5 < status.fraction < 0.6


def test_a_wrong_python_is_named(tmp_path):
    from addon.core import errors

    with pytest.raises(errors.Id2rError, match="preferences"):
        job.find_python(str(tmp_path / "nothing"))
    no_program = tmp_path / "text"
    no_program.write_text("no program")
    with pytest.raises(errors.Id2rError, match="could not be started"):
        job.Job(str(no_program), request())


def test_set_hdri_operator(addon):
    assert bpy.ops.id2r.set_hdri(name="forest") == {"FINISHED"}
    assert bpy.context.scene.world.node_tree.nodes["Environment Texture"].image.name == "forest.exr"
    with pytest.raises(RuntimeError, match="moon"):
        bpy.ops.id2r.set_hdri(name="moon")


def test_blender_command(addon, fake_python, tmp_path, capsys, monkeypatch):
    from addon import batch, cli

    write_result(tmp_path / "out")
    fake_python(SUCCESS)
    small = batch.Options(renders=(), samples=1, size=16)
    monkeypatch.setattr(batch, "Options", lambda: small)
    assert cli.execute(["reconstruct", "Ada.png", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "head.blend").is_file()
    assert "The face is turned." in capsys.readouterr().err
    fake_python("say('error', message='No face.', hint='Use another.')")
    assert cli.execute(["reconstruct", "Ada.png", "--out", str(tmp_path / "out")]) == 2


@pytest.mark.skipif(not TINY_PACK.is_file(), reason="the tiny pack is not there")
def test_the_real_worker(settings, astronaut_path):
    settings.photo, settings.resolution = str(astronaut_path), 256
    assert bpy.ops.id2r.reconstruct() == {"FINISHED"}
    assert json.loads((Path(settings.out) / "report.json").read_text())
    assert bpy.data.objects["ID2R astronaut"].data.shape_keys.key_blocks["jawOpen"]
