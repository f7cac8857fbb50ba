"""The add-on's own Python environment: complete or not at all, and what it does is said as events."""

import json
import sys
import types

import pytest

from id2r_core import install
from id2r_core.protocol import decode_event


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
    assert list((tmp_path / "runtime").rglob("here.py"))


def borrowed_environment(folder, with_pip):
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


def test_a_python_without_mediapipe_is_said_before_anything_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(install, "sys", types.SimpleNamespace(version_info=Version((3, 13)), stderr=sys.stderr))
    assert install.main([str(tmp_path / "runtime")]) == 2
    assert "Python 3.13" in said(capsys)[-1]["message"] and not (tmp_path / "runtime").exists()


class Version(tuple):
    major, minor = 3, 13
