"""Registration: twice, from the project root and staged as an extension, and never halfway."""

import importlib
import shutil
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
