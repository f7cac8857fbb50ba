"""The machine's side: check, packs, problem reports, the command line; and the estimate of time."""

import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest

from addon import cli, estimate, gallery, job, packs, preferences
from addon.core import PACKAGE_ROOT, conventions, errors, protocol
from addon.operators import system
from tests.blender.conftest import write_result

SHIPPED = PACKAGE_ROOT / "id2r_core" / "packs" / "tiny"


@pytest.fixture
def status(addon):
    return bpy.context.window_manager.id2r


@pytest.fixture
def pack(tmp_path):
    """A pack of one file, whose hash is right."""
    import hashlib

    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a.safetensors").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    manifest = {"name": "mine", "files": {"a.safetensors": digest}, "templates": ["t1", "t2"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setattr(packs, "own_folder", lambda name: tmp_path / "user" / name)
    return tmp_path / "user" / "packs"


FOUND = {"id2r": "0", "devices": {"cpu": "2 threads"}, "findings": [], "lines": ["torch: 2", "All is here."]}
LACK = {"message": "This Python lacks torch.", "hint": "Install it."}
MISSING = FOUND | {"lines": ["torch: missing", "PROBLEM: This Python lacks torch. Install it."], "findings": [LACK]}


def test_a_check_names_devices_and_problems(status, fake_python):
    fake_python(f"say('result', out='', report={FOUND!r}); sys.stdin.readline()")
    assert bpy.ops.id2r.doctor() == {"FINISHED"}
    assert json.loads(status.devices) == {"cpu": "2 threads"}
    fake_python(f"say('result', out='', report={MISSING!r}); sys.stdin.readline()")
    with pytest.raises(RuntimeError, match="Install it"):
        bpy.ops.id2r.doctor()


def test_without_preferences_every_problem_is_said(status, fake_python):
    second = {"message": "The head file is missing.", "hint": "Install the zip."}
    fake_python(f"say('result', out='', report={MISSING | {'findings': [LACK, second]}!r}); sys.stdin.readline()")
    with pytest.raises(RuntimeError, match="lacks torch. The head file is missing. Install it. Install the zip."):
        bpy.ops.id2r.doctor()


def test_a_check_leaves_nothing_of_the_one_before(status, fake_python, monkeypatch):
    """The results of another Python, or of before something was mended, are not to be read as today's."""
    stored = SimpleNamespace(doctor="", python="", device="auto", memory=0.0)
    for module in (system, preferences):
        monkeypatch.setattr(module, "preferences_of", lambda context: stored)
    fake_python(f"say('result', out='', report={MISSING | {'findings': [LACK, LACK]}!r}); sys.stdin.readline()")
    with pytest.raises(RuntimeError, match="2 things are missing. They stand in the preferences"):
        bpy.ops.id2r.doctor()
    assert stored.doctor == "\n".join(MISSING["lines"]) and status.devices
    fake_python("sys.exit(3)")
    with pytest.raises(RuntimeError, match="ended unexpectedly"):
        bpy.ops.id2r.doctor()
    assert stored.doctor == "" and status.devices == ""


def test_the_command_doctor(addon, fake_python, capsys):
    fake_python(f"say('result', out='', report={FOUND!r}); sys.stdin.readline()")
    assert cli.execute(["doctor"]) == 0
    assert "All is here." in capsys.readouterr().out and not job.is_warm()
    fake_python(f"say('result', out='', report={MISSING!r}); sys.stdin.readline()")
    assert cli.execute(["doctor"]) == 2


def test_the_templates_are_chosen_by_eye(addon, fake_python, monkeypatch, tmp_path):
    monkeypatch.setattr("addon.gallery.own_folder", lambda name: tmp_path / name)
    settings = bpy.context.scene.id2r
    assert not gallery.has_templates("tiny") and settings.template_seen == "closest"
    fake_python("""
        import pathlib
        out = pathlib.Path(request["out"])
        out.mkdir(parents=True)
        (out / "order.json").write_text('["pale", "dark"]')
        say("result", out=str(out), report={"templates": 2})
        sys.stdin.readline()
    """)
    assert bpy.ops.id2r.show_templates() == {"FINISHED"} and gallery.has_templates("tiny")
    settings.template_seen = "dark"
    assert settings.template == "dark" and settings.template_seen == "dark"
    settings.template = "closest"
    assert settings.template_seen == "closest"
    first, again = (list(gallery.template_items(settings, None)) for _ in range(2))
    # Blender keeps pointers to their strings.
    assert len(first) == 3 and all(one is other for one, other in zip(first, again, strict=True))


def test_the_command_batch_goes_on_after_a_bad_photo(addon, fake_python, tmp_path, capsys, monkeypatch):
    from addon import batch

    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "b.jpg", "c.png", "notes.txt"):
        (photos / name).touch()
        write_result(tmp_path / "out" / name[0])
    small = batch.Options(renders=(), samples=1, size=16)
    monkeypatch.setattr(batch, "Options", lambda: small)
    fake_python("""
        while True:
            if request["photo"].endswith("b.jpg"):
                say("error", message="No face in b.jpg.", hint="Use another.")
            else:
                say("result", out=request["out"], report={})
            line = sys.stdin.readline()
            if not line or "request" not in line:
                break
            request = json.loads(line)["request"]
    """)
    assert cli.execute(["batch", str(photos), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert "2 of 3 people are done" in said.out and "No face in b.jpg" in said.err
    assert [(tmp_path / "out" / name / "head.blend").is_file() for name in "abc"] == [True, False, True]
    assert cli.execute(["batch", str(tmp_path / "user")]) == 2


def test_a_batch_keeps_the_preferences_and_goes_on_after_what_blender_says(addon, tmp_path, monkeypatch, capsys):
    """Making a .blend empties the file, and with it the preferences of an add-on that is no module."""
    chosen = iter([("/chosen/python", "cuda")])
    monkeypatch.setattr(cli, "python_and_device", lambda context: next(chosen, ("", "auto")))
    monkeypatch.setattr(cli.job, "find_python", lambda python: python)
    ran = []

    def run(python, request, each, memory):
        ran.append((Path(request.photo).stem, python, request.device))
        if len(ran) == 1:
            raise RuntimeError("Error: no such operator")
        return protocol.Result(request.out, {})

    monkeypatch.setattr(cli.job, "run", run)
    monkeypatch.setattr("addon.batch.build", lambda *_: None)
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    assert cli.execute(["batch", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert ran == [(name, "/chosen/python", "cuda") for name in "ab"]
    assert "no such operator" in capsys.readouterr().err


def test_a_batch_takes_folders_for_people(tmp_path):
    """Of several photos the first by name is the main one; what holds no photo is nobody."""
    for name in ("Bo.png", "Ada/2.jpg", "Ada/1.jpg", "notes/read.txt", "out/Ada/diffuse.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = cli.people(tmp_path)
    assert {name: [photo.name for photo in photos] for name, photos in found.items()} == {
        "Bo": ["Bo.png"], "Ada": ["1.jpg", "2.jpg"],
    }  # fmt: skip


def test_what_lies_about_in_a_batch_is_nobody(tmp_path):
    for name in ("Ada/1.png", "Ada/._1.png", "._Bob.jpg", "Ada 2/diffuse.png", "Ada 2/head.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert cli.people(tmp_path) == {"Ada": [tmp_path / "Ada/1.png"]}


@pytest.mark.parametrize("other", ["Ada.png", "Ada/1.jpg"])
def test_a_batch_overwrites_nobody_by_a_namesake(tmp_path, other):
    for name in ("Ada.jpg", other):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(errors.Id2rError, match="Ada"):
        cli.people(tmp_path)


def test_the_command_contact_sheet(addon, result_folder):
    options = ["--renders", "studio", "--samples", "1", "--size", "16"]
    assert cli.execute(["contact-sheet", str(result_folder), *options]) == 0
    assert (result_folder / "contact_sheet.png").is_file()
    assert cli.execute(["contact-sheet", str(result_folder / "nowhere"), *options]) == 2


def test_a_problem_report_has_versions_error_and_log(status, fake_python):
    fake_python("print('the log', file=sys.stderr); say('error', message='No.', hint='Try.'); sys.stdin.readline()")
    with pytest.raises(RuntimeError):
        bpy.ops.id2r.doctor()
    job.retire()
    text = system.problem_report(bpy.context)
    for each in (bpy.app.version_string, "No. Try.", "the log"):
        assert each in text
    assert bpy.ops.id2r.report_problem() == {"FINISHED"}


def test_the_shipped_pack_is_listed_and_as_published(own):
    assert SHIPPED in packs.pack_folders() and packs.word_of(SHIPPED) == "tiny"
    packs.verify(SHIPPED)
    assert packs.template_names("tiny") and packs.template_names("nowhere") == []


@pytest.mark.parametrize("as_zip", [False, True])
def test_a_pack_is_imported_and_chosen(addon, own, pack, tmp_path, as_zip):
    source = pack / "manifest.json"
    if as_zip:
        source = tmp_path / "mine.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for file in pack.iterdir():
                archive.write(file, f"mine/{file.name}")
    assert bpy.ops.id2r.import_pack(filepath=str(source)) == {"FINISHED"}
    settings = bpy.context.scene.id2r
    assert settings.pack == str(own / "mine") and own / "mine" in packs.pack_folders()
    assert packs.template_names(settings.pack) == ["t1", "t2"]


def test_a_damaged_pack_is_refused_and_not_installed(addon, own, pack):
    (pack / "a.safetensors").write_bytes(b"other")
    with pytest.raises(RuntimeError, match="its hash differs"):
        bpy.ops.id2r.import_pack(filepath=str(pack / "manifest.json"))
    assert not own.exists()


def test_what_is_no_pack_is_said(own, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(errors.Id2rError, match="cannot be opened"):
        packs.import_pack(tmp_path / "a.zip")
    shutil.rmtree(own, ignore_errors=True)
    with pytest.raises(errors.Id2rError, match="is no weight pack"):
        packs.import_pack(tmp_path)


def test_a_pack_cannot_write_outside_its_folder(own, pack):
    manifest = json.loads((pack / "manifest.json").read_text())
    manifest["files"]["../evil"] = "0"
    (pack / "manifest.json").write_text(json.dumps(manifest))
    (pack.parent / "evil").touch()
    with pytest.raises(errors.Id2rError, match="lacks"):
        packs.import_pack(pack)


def test_installing_needs_online_access(addon):
    assert bpy.app.online_access or not bpy.ops.id2r.install_runtime.poll()


# ---- the time that is left ----


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_every_stage_has_a_usual_time():
    assert list(estimate.USUAL_SECONDS) == [estimate.START, *conventions.STAGES]


def test_the_bar_moves_with_time_and_never_back():
    clock = Clock()
    guess = estimate.Estimate({"a": 2.0, "b": 6.0, "c": 2.0}, clock)
    seen = []
    for second, stage in enumerate("aabbbbbbbbbc"):
        clock.now = float(second)
        guess.begin(stage)
        seen.append(guess.fraction)
    assert seen == sorted(seen) and seen[2] == pytest.approx(0.2)
    assert max(seen[:-1]) < 0.8 == pytest.approx(seen[-1])  # "b" took longer than usual and waited for "c"


def test_a_slow_machine_is_noticed():
    clock = Clock()
    guess = estimate.Estimate({"a": 5.0, "b": 5.0}, clock)
    assert guess.seconds_left == pytest.approx(10.0)
    clock.now = 20.0  # four times as long as usual
    guess.begin("b")
    assert guess.seconds_left == pytest.approx(20.0)


def test_what_was_learnt_is_used():
    assert estimate.learnt({"a": 1.0, "b": 1.0}, {"b": 4.0, "other": 9.0}) == {"a": 1.0, "b": 4.0}


@pytest.mark.parametrize("seconds, said", [(0.4, "nearly done"), (19.6, "~20 s left"), (130, "~2 min left")])
def test_time_in_words(seconds, said):
    assert estimate.in_words(seconds) == said
