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
    assert found.libraries["skimage"] == "" and found.lines()[-1] == f"PROBLEM: {finding.message} {finding.hint}"


def test_all_missing_libraries_are_one_problem_with_one_remedy(monkeypatch):
    for name in ("cv2", "skimage"):
        monkeypatch.setitem(sys.modules, name, None)
    (finding,) = doctor.inspect().findings
    assert finding.message == "This Python lacks cv2, skimage."
    assert finding.hint.endswith("-m pip install opencv-python scikit-image")
    (finding,) = doctor.inspect(in_blender=True).findings
    assert "Install PyTorch..." in finding.hint and "pip" not in finding.hint  # there is no terminal


def test_a_broken_library_does_not_break_the_doctor(monkeypatch):
    def broken(name):
        raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    found = doctor.inspect()
    assert len(found.findings) == len(doctor.LIBRARIES) and "libgomp" in found.findings[0].message


def test_a_python_too_new_for_mediapipe_is_said(monkeypatch):
    monkeypatch.setattr(doctor, "sys", types.SimpleNamespace(version_info=(3, 13, 0), executable="python"))
    assert "3.12" in doctor._remedy(["torch", "mediapipe"], in_blender=False)
    assert "pip install torch" in doctor._remedy(["torch"], in_blender=False)


def test_a_missing_head_file(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "HEAD_FILE", tmp_path / "head.npz")
    assert any("head file" in each.message for each in doctor.inspect().findings)


@pytest.mark.parametrize("missing, code", [(None, 0), ("tqdm", 2)])
def test_the_command(monkeypatch, capsys, missing, code):
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    assert main(["doctor"]) == code
    assert "torch: " in capsys.readouterr().out
