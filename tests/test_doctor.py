"""What the inspection finds, and what it says to do about it."""

import sys
import types

import pytest

from id2r_core import doctor
from id2r_core.__main__ import main


def test_here_nothing_is_missing():
    found = doctor.inspect()
    assert found.findings == () and all(found.libraries.values()) and found.packs["tiny"] == ""
    assert "cpu" in found.devices
    assert found.lines()[-1].startswith("Everything") and found.to_json()["lines"] == found.lines()


def test_a_missing_library_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    found = doctor.inspect()
    (finding,) = found.findings
    assert "skimage" in finding.message and "pip install scikit-image" in finding.hint
    assert found.libraries["skimage"] == "" and any(line.startswith("PROBLEM: skimage") for line in found.lines())


def test_a_broken_library_does_not_break_the_doctor(monkeypatch):
    def broken(name):
        raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    found = doctor.inspect()
    assert len(found.findings) == len(doctor.LIBRARIES) and "libgomp" in found.findings[0].message


def test_a_python_too_new_for_mediapipe_is_said(monkeypatch):
    monkeypatch.setattr(doctor, "sys", types.SimpleNamespace(version_info=(3, 13, 0), executable="python"))
    assert "3.12" in doctor._remedy("mediapipe") and "pip install torch" in doctor._remedy("torch")


def test_a_missing_head_file(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "HEAD_FILE", tmp_path / "head.npz")
    assert any("head file" in each.message for each in doctor.inspect().findings)


@pytest.mark.parametrize("missing, code", [(None, 0), ("tqdm", 2)])
def test_the_command(monkeypatch, capsys, missing, code):
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    assert main(["doctor"]) == code
    assert "torch: " in capsys.readouterr().out
