"""The processes: a warm worker that serves many jobs, one that is killed, one that idles, a Blender that renders."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import bpy
import cv2
import pytest
import skimage.data

from addon import job, preferences
from addon.core import errors, protocol
from tests.blender.conftest import write_result

# Serves any number of jobs, and says its process number with every result.
SERVER = """
    import os
    while True:
        say("progress", stage="swap", done=1, total=2)
        say("result", out=request["out"], report={"pid": os.getpid()})
        line = sys.stdin.readline()
        if not line or json.loads(line)["command"] == "quit":
            break
        request = json.loads(line)["request"]
"""


def request() -> protocol.Request:
    return protocol.Request(photo="a.png", out="out")


def run() -> protocol.Event:
    return job.run(job.find_python(), request(), lambda event: None)


def poll_until_last(running: job.Job, seconds: float) -> list[protocol.Event]:
    events, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        events += running.poll()
        if events and isinstance(events[-1], job.LAST_EVENTS):
            return events
        time.sleep(0.01)
    raise AssertionError(f"no last event, only {events}")


def test_the_second_job_finds_the_worker_warm(fake_python):
    fake_python(SERVER)
    assert not job.is_warm()
    first, second = run(), run()
    assert first.report["pid"] == second.report["pid"] and job.is_warm()
    job.retire()
    assert not job.is_warm()
    assert run().report["pid"] != first.report["pid"]


def test_a_worker_that_was_killed_between_jobs_is_replaced(fake_python):
    fake_python(SERVER)
    pid = run().report["pid"]
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 10
    while job.is_warm() and time.monotonic() < end:
        time.sleep(0.01)
    assert run().report["pid"] != pid


def test_a_worker_that_is_killed_in_its_job_is_one_clear_sentence(fake_python):
    fake_python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    last = run()
    assert last.message == "The system ended the worker process, most likely for want of memory."
    assert "lower resolution" in last.hint and not job.is_warm()


def test_a_memory_limit_that_is_too_low_is_said_and_the_scene_stays(addon, tmp_path, monkeypatch):
    """With the real worker: at the least memory that can be set, 4096 texels are too many."""
    photo = tmp_path / "astronaut.png"
    cv2.imwrite(str(photo), skimage.data.astronaut()[..., ::-1])
    settings = bpy.context.scene.id2r
    settings.photo, settings.resolution, settings.out = str(photo), 4096, str(tmp_path / "out")
    monkeypatch.setattr("addon.operators.modal.memory_limit", lambda context: preferences.LEAST_MEMORY)
    before = len(bpy.data.objects), len(bpy.data.images), len(bpy.data.meshes)
    with pytest.raises(RuntimeError, match=r"memory was not enough. .* raise the memory limit"):
        bpy.ops.id2r.reconstruct()
    assert before == (len(bpy.data.objects), len(bpy.data.images), len(bpy.data.meshes))
    assert not (tmp_path / "out" / "head.npz").exists() and job.is_warm()
    job.retire()


def test_another_memory_limit_ends_the_warm_worker(fake_python):
    fake_python(SERVER)
    pids = [job.run(job.find_python(), request(), lambda event: None, gib).report["pid"] for gib in (0.0, 2.0, 2.0)]
    assert pids[0] != pids[1] == pids[2]


def test_another_python_ends_the_warm_worker(fake_python, monkeypatch, tmp_path):
    fake_python(SERVER)
    pid = run().report["pid"]
    other = tmp_path / "other"
    other.write_bytes((tmp_path / "python").read_bytes())
    other.chmod(0o755)
    assert job.run(str(other), request(), lambda event: None).report["pid"] != pid


def test_an_idle_worker_gives_its_memory_back(addon, fake_python, monkeypatch):
    fake_python(SERVER)
    run()
    assert preferences.look_after_worker() > 0 and job.is_warm()
    monkeypatch.setattr(preferences, "IDLE_MINUTES", 0.0)
    preferences.look_after_worker()
    assert not job.is_warm()


def test_a_busy_worker_is_not_idle(addon, fake_python, monkeypatch):
    fake_python(SERVER)
    run()
    monkeypatch.setattr(preferences, "IDLE_MINUTES", 0.0)
    bpy.context.window_manager.id2r.running = True
    preferences.look_after_worker()
    assert job.is_warm()


def test_unregistering_ends_the_worker(fake_python):
    import addon

    addon.register()
    fake_python(SERVER)
    run()
    addon.unregister()
    assert not job.is_warm()


def test_polling_never_waits_and_cancel_reaches_the_worker(fake_python):
    fake_python("""
        say("progress", stage="photo", done=0, total=1)
        assert json.loads(sys.stdin.readline()) == {"command": "cancel"}
        say("cancelled")
        sys.stdin.readline()
    """)
    running = job.start(job.find_python(), request())
    started = time.monotonic()
    running.poll()
    assert time.monotonic() - started < 0.1
    running.cancel()
    running.cancel()  # asks once
    assert isinstance(poll_until_last(running, 20)[-1], protocol.Stopped)
    running.close()
    assert job.is_warm()  # it answered: it serves the next job


def test_a_worker_that_does_not_listen_is_ended(fake_python, monkeypatch):
    monkeypatch.setattr(job, "STOP_PATIENCE", 0.2)
    fake_python("time.sleep(60)")
    running = job.start(job.find_python(), request())
    running.cancel()
    assert isinstance(poll_until_last(running, 20)[-1], protocol.Stopped)
    started = time.monotonic()
    running.close(patience=0.1)
    assert time.monotonic() - started < 5 and not job.is_warm()


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="Windows has classes of priority")
def test_the_window_comes_before_the_worker(fake_python):
    fake_python(
        "import os; time.sleep(0.5); say('result', out='', report={'nice': os.getpriority(os.PRIO_PROCESS, 0)})"
    )
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert run().report["nice"] == min(own + job.BEHIND, 19)


def test_the_log_outlives_the_worker(fake_python):
    fake_python("print('CUDA is sulking', file=sys.stderr, flush=True); say('result', out='', report={})")
    run()
    job.retire()
    assert "CUDA is sulking" in job.last_log()


def test_a_wrong_python_is_named(tmp_path):
    with pytest.raises(errors.Id2rError, match="preferences"):
        job.find_python(str(tmp_path / "nothing"))
    no_program = tmp_path / "text"
    no_program.write_text("no program")
    with pytest.raises(errors.Id2rError, match="could not be started"):
        job.start(str(no_program), request())
    assert not job.is_warm()


def test_our_own_runtime_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(job, "own_folder", lambda name: tmp_path / name)
    python = job.python_of(tmp_path / job.RUNTIME)
    assert job.find_python() != str(python)
    python.parent.mkdir(parents=True)
    python.touch()
    assert job.find_python() != str(python)  # its installation was stopped
    (tmp_path / job.RUNTIME / protocol.COMPLETE).touch()
    assert job.find_python() == str(python)


def test_the_real_worker_stays_warm_and_ends(addon):
    first, second = (job.run(sys.executable, protocol.InspectRequest(), lambda event: None) for _ in range(2))
    assert first.report["findings"] == [] and second.report["libraries"]["torch"]
    assert job.is_warm()
    job.retire()


def test_a_blender_of_its_own_renders_the_sheet(addon, result_folder):
    from addon.operators.lookdev import SHEET

    assert bpy.ops.id2r.contact_sheet(folder=str(result_folder), environments="studio", samples=1, size=16) == {
        "FINISHED"
    }
    assert (result_folder / SHEET).is_file() and SHEET in bpy.data.images
    assert not (result_folder / "head.blend").exists()


def test_a_render_can_be_stopped(result_folder):
    running = job.start_render([str(result_folder), "--sheet-only", "--renders", "studio", "--samples", "9999"])
    try:
        while not any(isinstance(event, protocol.Progress) for event in [running.wait()]):
            pass
    finally:
        running.close(patience=0.0)
    assert not (result_folder / "contact_sheet.png").exists()


BLENDER_DIES = """
import bpy, sys, os
sys.path.insert(0, sys.argv[1])
import addon
addon.register()
from addon import job
from addon.core import protocol
print(job.run(sys.executable, protocol.InspectRequest(), lambda event: None).report["id2r"], flush=True)
print(job._kept.worker._process.pid, flush=True)
os._exit(9)
"""


def test_a_blender_that_dies_leaves_no_worker_behind(tmp_path):
    root = str(Path(job.PACKAGE_ROOT))
    done = subprocess.run([sys.executable, "-c", BLENDER_DIES, root], capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    pid = int(done.stdout.split()[-1])
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError("the worker lives on")


WORKER_DIES = """
import signal, sys, time
sys.path.insert(0, sys.argv[1])
from addon import job
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
worker = job.Process([sys.executable, "-c", ""])
while worker.is_alive():
    time.sleep(0.01)
worker.send("Are you there?")
worker.close()
print("Blender lives", signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.sigpending())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="Windows has no such signal")
def test_a_worker_that_dies_takes_no_blender_with_it():
    """In Blender itself, unlike in any other Python, the signal of a broken pipe ends the process."""
    command = [sys.executable, "-c", WORKER_DIES, str(job.PACKAGE_ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout.strip().splitlines()[-1:]  # Blender 5.2 says before what colours it uses
    assert (done.returncode, said) == (0, ["Blender lives set() set()"]), done.stderr


def test_write_result_is_what_the_core_writes(tmp_path):
    """The made-up result has the files that the add-on reads of a real one."""
    names = {path.name for path in write_result(tmp_path / "r").iterdir()}
    assert {"diffuse.png", "normal.png", "photo.png", "head.npz", "report.json", "coverage.png"} <= names
