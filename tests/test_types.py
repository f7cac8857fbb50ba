"""The add-on and what it imports of the core agree with the type hints of Blender's module, and proof that this can fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def check(*files: Path) -> subprocess.CompletedProcess:
    """mypy with the project's settings, over its own list of files or over these."""
    command = [sys.executable, "-m", "mypy", *map(str, files)]
    environment = os.environ | {"MYPYPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_types_are_right():
    done = check()
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "wrong, finding",
    [
        ("import bpy\nbpy.data.objects.new(1, None)", "arg-type"),
        ("from addon.mesh_io import mesh_of\nimport bpy\nmesh_of(bpy.data.objects[0]).vertexes", "attr-defined"),
        ("from id2r_core.protocol import Progress\nProgress('maps', 1)", "call-arg"),
    ],
)
def test_a_wrong_type_is_found(wrong, finding, tmp_path):
    (tmp_path / "wrong.py").write_text(wrong)
    done = check(tmp_path / "wrong.py")
    assert done.returncode == 1 and f"[{finding}]" in done.stdout
