"""The build script: what it decides, without installing or building anything."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import build
import id2r_core

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty place that the build script takes for the project, with the real lists of requirements."""
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "ENVIRONMENT", tmp_path / ".venv")
    monkeypatch.setattr(build, "HEAD_FOLDER", tmp_path / "head")
    monkeypatch.setattr(build, "HEAD_FILE", tmp_path / "head" / "data" / "head.npz")
    return tmp_path


@pytest.fixture
def installed(project, monkeypatch):
    """The arguments of every installation, none of which happens."""
    calls = []
    monkeypatch.setattr(build, "install", lambda *arguments: calls.append([str(each) for each in arguments]))
    build.environment_python().parent.mkdir(parents=True)
    build.environment_python().touch()
    return calls


def test_the_continuous_integration_calls_the_test_command_and_nothing_else():
    script = ROOT / ".ci" / "run"
    assert script.read_text() == "#!/bin/sh\nexec python3 build.py test\n"
    assert os.access(script, os.X_OK)


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == id2r_core.__version__ == build.version()


def test_everything_is_pinned():
    lists = build.requirements_of(*build.TEST_GROUPS) + (ROOT / "constraints.txt").read_text().splitlines()[1:]
    names = [line.partition("==")[0].lower() for line in lists]
    assert all(line.count("==") == 1 for line in lists)
    assert len(set(names)) == len(names)


def test_torch_comes_first_and_the_rest_in_one_go(installed, capsys):
    build.ensure_environment("head")
    first, second = installed
    assert [name.partition("==")[0] for name in first] == ["torch"]
    assert second[:2] == ["--constraint", str(build.ROOT / "constraints.txt")]
    assert second[2:] == build.requirements_of("head") and any(name.startswith("anny==") for name in second)


def test_the_second_time_installs_nothing_until_a_list_changes(installed, project, capsys):
    build.ensure_environment("head", "blender")
    installed.clear()
    build.ensure_environment("head")
    build.ensure_environment("head", "blender")
    assert installed == []
    (project / "constraints.txt").write_text("attrs==1.0\n")
    build.ensure_environment("head")
    assert len(installed) == 2


def test_a_failed_installation_is_not_remembered(installed, monkeypatch, capsys):
    def fail(*arguments):
        raise build.BuildError("no network")

    monkeypatch.setattr(build, "install", fail)
    for _ in range(2):
        with pytest.raises(build.BuildError):
            build.ensure_environment("head")


def test_another_python_is_one_clear_sentence(project, monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    assert build.main(["run"]) == build.EXIT_FAILED
    assert "Python 3.11 is needed" in capsys.readouterr().err
    assert not (project / ".venv").exists()


def test_the_head_is_built_again_only_when_its_code_is_younger(project):
    build.HEAD_FILE.parent.mkdir(parents=True)
    for name in build.HEAD_SOURCES:
        (build.HEAD_FOLDER / name).touch()
        os.utime(build.HEAD_FOLDER / name, (1000, 1000))
    assert not build.head_is_current()
    build.HEAD_FILE.touch()
    assert build.head_is_current()
    os.utime(build.HEAD_FILE, (500, 500))
    assert not build.head_is_current()


def test_the_sources_of_the_head_are_there():
    assert all((build.HEAD_FOLDER / name).is_file() for name in build.HEAD_SOURCES)


def test_run_without_a_photo_uses_the_sample_and_hands_on_options(project, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(build, "prepare", lambda *groups: None)
    monkeypatch.setattr(build, "call_python", lambda *arguments, **_: calls.append([str(each) for each in arguments]))
    assert build.main(["run", "--pack", "mine"]) == 0
    sample, reconstruct, blender = calls
    photo, out = str(project / "out" / "astronaut.png"), str(project / "out" / "astronaut")
    assert sample[-1] == photo
    assert reconstruct == ["-m", "id2r_core", "reconstruct", photo, "--out", out, "--pack", "mine"]
    assert blender == ["-m", "addon.batch", out]
    calls.clear()
    assert build.main(["run", "ada.jpg", "--out", "here"]) == 0
    assert calls[0][3:] == ["ada.jpg", "--out", "here"]


@pytest.mark.parametrize(
    "order", [["--out", "X", "--hair", "0"], ["--hair", "0", "--out", "X"], ["--hair", "0", "--out=X"]]
)
def test_the_folder_is_known_wherever_it_stands(order):
    options = build.parse(["run", "photo.jpg", *order])
    assert options.out == Path("X") and options.more == ["--hair", "0"]


def test_pytest_gets_the_further_arguments(monkeypatch):
    calls = []
    monkeypatch.setattr(build, "prepare", lambda *groups: None)
    monkeypatch.setattr(build, "call_python", lambda *arguments, **_: calls.append(arguments))
    build.main(["test", "-k", "photo", "tests/test_photo.py"])
    assert calls == [("-m", "pytest", "-k", "photo", "tests/test_photo.py")]


def test_other_commands_take_no_unknown_arguments(capsys):
    with pytest.raises(SystemExit):
        build.main(["lint", "--fast"])
    assert "--fast" in capsys.readouterr().err


def test_a_failing_step_ends_the_command_with_its_exit_code(monkeypatch):
    monkeypatch.setattr(build, "environment_python", lambda: sys.executable)
    with pytest.raises(SystemExit) as caught:
        build.call_python("-c", "raise SystemExit(7)")
    assert caught.value.code == 7


def test_what_is_staged_is_what_ships(tmp_path):
    build.stage_extension(tmp_path / "id2r")
    for name in ("__init__.py", "blender_manifest.toml", "LICENSE", "addon/__init__.py", "id2r_core/protocol.py"):
        assert (tmp_path / "id2r" / name).is_file()
    for name in ("requirements.txt", "constraints.txt"):  # what the button of the add-on installs
        assert "==" in (tmp_path / "id2r" / name).read_text()
    assert not list((tmp_path / "id2r").rglob("__pycache__"))
    compile((tmp_path / "id2r" / "__init__.py").read_text(), "__init__.py", "exec")


@pytest.mark.skipif(os.name == "nt", reason="pretends with shell scripts")
@pytest.mark.parametrize("said, accepted", [("Blender 3.4.1", False), ("Blender 4.2.0", True), ("nothing", False)])
def test_pictures_need_a_blender_that_takes_extensions(tmp_path, monkeypatch, said, accepted):
    for name in ("blender", "xvfb-run"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{said}'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    if accepted:
        assert build.find_blender(None) == "blender"
        return
    with pytest.raises(build.BuildError, match="4.2.0 or newer is needed"):
        build.find_blender(str(tmp_path / "blender"))


def test_the_benchmark_table():
    mebibyte = 2**20
    run = {"seconds": {"photo": 1.0, "swap": 6.0}, "peak_bytes": {"photo": 100 * mebibyte, "swap": 900 * mebibyte}}
    runs = [run | {"total": total} for total in (8.0, 10.0, 9.0)]
    lines = build.bench_table(runs).splitlines()
    assert lines[2:] == [
        "| photo | 1.00 | 11% | 100 |",
        "| swap | 6.00 | 67% | 900 |",
        "| start and loading | 2.00 | 22% | - |",
        "| whole, median of 3 | 9.00 | 100% | 900 |",
    ]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_resident_memory():
    assert build.resident_bytes(os.getpid()) > 10 * 2**20
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert build.resident_bytes(gone.pid) == 0


def test_the_build_script_needs_nothing_but_python():
    """-S leaves out site-packages, -I the environment."""
    subprocess.run([sys.executable, "-I", "-S", str(ROOT / "build.py"), "--help"], check=True, capture_output=True)
