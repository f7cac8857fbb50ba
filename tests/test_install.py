"""The add-on's own Python environment: complete or not at all, and what it does is said as events."""

import json
import sys
import types

import pytest

from id2r_core import install
from id2r_core.protocol import COMPLETE, decode_event, encode_command


@pytest.fixture(autouse=True)
def nobody_speaks(monkeypatch):
    monkeypatch.setattr(sys, "stdin", [])


@pytest.fixture
def requirements(tmp_path):
    """A list that needs no network: one package that lies beside it."""
    package = tmp_path / "here"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (package / "backend.py").write_text(BACKEND)
    path = tmp_path / "requirements.txt"
    path.write_text(f"# a comment\n{package}\n")
    return path


# The smallest build backend there is: a wheel with one module.
BACKEND = """
import zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "here-1.0-py3-none-any.whl"
    meta = "Metadata-Version: 2.1\\nName: here\\nVersion: 1.0\\n"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("here.py", "")
        wheel.writestr("here-1.0.dist-info/METADATA", meta)
        wheel.writestr("here-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("here-1.0.dist-info/RECORD", "")
    return name
"""


def said(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_environment_has_what_the_list_names(requirements, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(install, "CHECK", "import here")
    monkeypatch.setattr(install.install, "__defaults__", (requirements,))
    assert install.main([str(tmp_path / "runtime")]) == 0
    events = said(capsys)
    assert events[0]["stage"] == "environment" and events[-1] == {
        "event": "result", "out": str(tmp_path / "runtime"), "report": {},
    }  # fmt: skip
    assert all(decode_event(json.dumps(event)) for event in events)
    assert list((tmp_path / "runtime").rglob("here.py")) and (tmp_path / "runtime" / COMPLETE).is_file()
    assert [event["stage"] for event in events[:-1]] == ["environment", "processing here", "installing", "check"]
    done = [event["done"] for event in events[:-1]]
    assert done == sorted(done) and done[-1] < events[0]["total"]


def test_what_the_packages_pull_in_is_pinned_too(requirements, tmp_path, monkeypatch, capsys):
    """Without these pip downloaded jaxlib in twelve versions, one after the other, to look at each."""
    (tmp_path / "constraints.txt").write_text("# as tested\nhere==2.0\n")
    monkeypatch.setattr(install.install, "__defaults__", (requirements,))
    monkeypatch.setattr(install.venv, "create", borrowed_environment)
    assert install.main([str(tmp_path / "runtime")]) == 2
    events = said(capsys)
    assert "Cannot install" in events[-1]["hint"] and "here" in events[-1]["hint"] and events[0]["total"] == 4


@pytest.mark.skipif(sys.platform == "win32", reason="the borrowed Python is a shell script")
@pytest.mark.parametrize("word", ["cancel", "quit"])
def test_a_stopped_installation_leaves_nothing_and_says_so(requirements, tmp_path, monkeypatch, capsys, word):
    (tmp_path / "here" / "backend.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(install.install, "__defaults__", (requirements,))
    monkeypatch.setattr(install.venv, "create", borrowed_environment)
    monkeypatch.setattr(sys, "stdin", [encode_command(word)])
    assert install.main([str(tmp_path / "runtime")]) == 130
    assert said(capsys)[-1] == {"event": "cancelled"} and not (tmp_path / "runtime").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Collecting opencv-python==4.11.0.86 (from -r /of/requirements.txt (line 4))", "collecting opencv-python"),
        ("Collecting imageio!=2.35.0,>=2.33 (from scikit-image==0.26.0)", "collecting imageio"),
        ("Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (2130.2 MB)", "downloading torch (2130.2 MB)"),
        (
            "Downloading https://host/opencv_python-4.11.0.86-cp37-abi3.whl (63.0 MB)",
            "downloading opencv_python (63.0 MB)",
        ),
        ("Processing /wheels/torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl", "processing torch"),
        ("Installing collected packages: torch, numpy", "installing"),
    ],
)
def test_the_bar_says_what_pip_does_and_how_large_it_is(line, words):
    assert install.in_words(line) == words


def borrowed_environment(folder, with_pip, symlinks):
    """A folder like an environment whose Python is this one."""
    (folder / "bin").mkdir(parents=True)
    launcher = folder / "bin" / "python"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    launcher.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="the borrowed Python is a shell script")
@pytest.mark.parametrize("broken", ["list", "check"])
def test_a_failure_leaves_no_environment(requirements, tmp_path, monkeypatch, capsys, broken):
    monkeypatch.setattr(install.install, "__defaults__", (requirements,))
    monkeypatch.setattr(install.venv, "create", borrowed_environment)  # nothing is installed: this Python will do
    requirements.write_text(f"{tmp_path}/nowhere\n" if broken == "list" else "")
    monkeypatch.setattr(install, "CHECK", "import nowhere")
    assert install.main([str(tmp_path / "runtime")]) == 2
    last = said(capsys)[-1]
    assert last["event"] == "error" and "nowhere" in last["hint"]
    assert not (tmp_path / "runtime").exists()


def test_a_folder_that_cannot_be_written_is_said_with_what_python_said(requirements, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(install.install, "__defaults__", (requirements,))
    (tmp_path / "file").touch()
    assert install.main([str(tmp_path / "file" / "runtime")]) == 2
    assert "can be written" in said(capsys)[-1]["hint"]


def test_a_python_without_pip_is_said_with_its_own_words(requirements, tmp_path, monkeypatch, capsys):
    def no_ensurepip(*_, **__):
        raise install.subprocess.CalledProcessError(1, "ensurepip", output=b"No module named ensurepip")

    monkeypatch.setattr(install.install, "__defaults__", (requirements,))
    monkeypatch.setattr(install.venv, "create", no_ensurepip)
    assert install.main([str(tmp_path / "runtime")]) == 2
    assert said(capsys)[-1]["hint"].endswith("No module named ensurepip")


def test_a_python_without_mediapipe_is_said_before_anything_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(install, "sys", types.SimpleNamespace(version_info=Version((3, 13)), stderr=sys.stderr))
    assert install.main([str(tmp_path / "runtime")]) == 2
    assert "Python 3.13" in said(capsys)[-1]["message"] and not (tmp_path / "runtime").exists()


class Version(tuple):
    major, minor = 3, 13
