"""Registration: twice, from the project root and staged as an extension, and never halfway."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import bpy
import pytest

ROOT = Path(__file__).parents[2]


def preferences_class():
    return bpy.types.AddonPreferences.bl_rna_get_subclass_py("ID2R_Preferences")


def registered() -> list[bool]:
    return [
        hasattr(bpy.types.Scene, "id2r"),
        hasattr(bpy.types.WindowManager, "id2r"),
        hasattr(bpy.types, "ID2R_OT_reconstruct"),
        hasattr(bpy.types, "ID2R_PT_reconstruct"),
        preferences_class() is not None,
    ]


def test_registers_twice():
    import addon

    for _ in range(2):
        addon.register()
        assert all(registered())
        addon.unregister()
        assert not any(registered())


def test_refuses_an_old_blender_and_leaves_nothing(monkeypatch):
    import addon

    monkeypatch.setattr(addon, "OLDEST_BLENDER", (99, 0, 0))
    with pytest.raises(RuntimeError, match="4.2"):
        addon.register()
    assert not any(registered())


def test_works_as_an_extension(tmp_path, monkeypatch):
    """As staged for the zip: a package of any name whose root forwards to addon, with the core beside it."""
    staged = tmp_path / "staged_id2r"
    for name in ("addon", "id2r_core"):
        shutil.copytree(
            ROOT / name, staged / name, ignore=shutil.ignore_patterns("__pycache__", "data", "packs", "*.pt")
        )
    (staged / "__init__.py").write_text("from .addon import register, unregister\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    extension = importlib.import_module("staged_id2r")
    try:
        extension.register()
        assert all(registered())
        assert sys.modules["staged_id2r.addon.core"].EXTENSION_PACKAGE == "staged_id2r"
        assert sys.modules["staged_id2r.addon.core"].PACKAGE_ROOT == staged
        assert preferences_class().bl_idname == "staged_id2r"
        extension.unregister()
        assert not any(registered())
    finally:
        for name in [name for name in sys.modules if name.startswith("staged_id2r")]:
            del sys.modules[name]


INSTALLED = """
import sys, bpy
bpy.ops.extensions.package_install_files(filepath=sys.argv[1], repo="user_default", enable_on_install=True)
name = "bl_ext.user_default.id2r"
assert bpy.context.preferences.addons[name].preferences.device == "auto"
assert sys.modules[name + ".addon.preferences"].preferences_of(bpy.context) is not None
bpy.context.scene.id2r.photo = sys.argv[2]
try:
    bpy.ops.id2r.reconstruct()
except RuntimeError as error:
    print("SAID", error)
bpy.ops.preferences.addon_disable(module=name)
assert not hasattr(bpy.types.Scene, "id2r")
bpy.ops.preferences.addon_enable(module=name)
bpy.ops.id2r.open_result(directory=sys.argv[3])
other = bpy.data.scenes.new("Other")
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[4])
bpy.ops.wm.read_homefile(use_empty=True)
bpy.ops.wm.open_mainfile(filepath=sys.argv[4])
runs = {scene.name: len(scene.id2r_runs) for scene in bpy.data.scenes}
assert sorted(runs.values()) == [0, 1], runs
bpy.ops.id2r.show_run(index=0)
bpy.ops.preferences.addon_disable(module=name)
print("DONE")
"""


def test_works_from_the_zip(tmp_path, result_folder):
    """Built by Blender's own tool, installed into an empty profile: its worker answers in plain words, it can be
    disabled and enabled again, and a head survives in a saved file with two scenes."""
    import build

    staged, archive = tmp_path / "id2r", tmp_path / "id2r.zip"
    build.stage_extension(staged)
    build.extension_tool("build", "--source-dir", staged, "--output-filepath", archive)
    environment = os.environ | {"BLENDER_USER_RESOURCES": str(tmp_path / "profile")}
    command = [sys.executable, "-c", INSTALLED, str(archive), str(tmp_path / "nobody.png")]
    command += [str(result_folder), str(tmp_path / "saved.blend")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "DONE", done.stdout + done.stderr
    assert "SAID Error: " in done.stdout and "unforeseen" not in done.stdout
    installed = tmp_path / "profile" / "extensions" / "user_default" / "id2r"
    written = {path.name for path in installed.rglob("*") if path.suffix == ".pyc" and "id2r_core" in path.parts}
    assert not {name for name in written if name.startswith(("worker", "pipeline"))}  # the worker writes no caches
