"""The two load-bearing walls, and proof that these tests can fail.

Wall 1: Blender's module only in addon/, torch only in id2r_core/, subprocess in the add-on only in its job file.
Wall 2: protocol, errors, conventions and configs import without torch, protocol and errors without numpy.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "id2r_core").rglob("*.py"))
ADDON = sorted((ROOT / "addon").rglob("*.py"))
BLENDER = {"bpy", "bmesh", "mathutils", "gpu", "bpy_extras"}
HEAVY = {"torch", "mediapipe", "cv2", "scipy", "skimage"}
# What the add-on may use of the core.
UPPER_PART = {"protocol", "errors", "conventions", "configs", "facemesh"}


def imported_modules(source: str) -> set[str]:
    """Every module that the source can import, at any depth: statements, `__import__` and `import_module` alike.

    Relative imports keep their dots; `from .. import x` counts as `..x`.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found.add(base)
            found |= {base + ("" if base.endswith(".") else ".") + alias.name for alias in node.names}
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("__import__", "import_module") and isinstance(node.args[0].value, str):
                found.add(node.args[0].value)
    return found


def forbidden_imports(source: str, forbidden: set[str]) -> set[str]:
    """The forbidden top-level packages that the source imports."""
    return {name.split(".")[0] for name in imported_modules(source)} & forbidden


def core_modules_used(source: str) -> set[str]:
    """The modules of id2r_core that the source imports, absolutely or relatively; the package itself is none."""
    used = set()
    for name in imported_modules(source):
        parts = name.lstrip(".").split(".")
        if parts[0] == "id2r_core" and len(parts) > 1:
            used.add(parts[1])
    return used - {"__version__"}


def names_of(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_there_is_something_to_check():
    assert len(CORE) > 15 and len(ADDON) > 5


@pytest.mark.parametrize("path", CORE, ids=names_of(CORE))
def test_the_core_knows_nothing_of_blender(path):
    assert not forbidden_imports(path.read_text(), BLENDER)


@pytest.mark.parametrize("path", ADDON, ids=names_of(ADDON))
def test_the_addon_knows_nothing_of_torch(path):
    assert not forbidden_imports(path.read_text(), HEAVY)


@pytest.mark.parametrize("path", ADDON, ids=names_of(ADDON))
def test_the_addon_uses_only_the_upper_part_of_the_core(path):
    assert core_modules_used(path.read_text()) <= UPPER_PART


@pytest.mark.parametrize("path", [path for path in ADDON if path.name != "job.py"], ids=lambda path: path.stem)
def test_only_the_job_file_starts_processes(path):
    assert not forbidden_imports(path.read_text(), {"subprocess", "multiprocessing"})


def _third_of_load(call: ast.Call) -> bool:
    """`allow_pickle` by its place: numpy.load(file, mmap_mode, allow_pickle), or whatever a star stands for."""
    is_numpys = ast.unparse(call.func) in ("np.load", "numpy.load", "load")
    return is_numpys and (len(call.args) > 2 or any(isinstance(each, ast.Starred) for each in call.args))


def unpickles(source: str) -> bool:
    """Whether the source can open a pickle: by a module made for them, by `torch.load`, which is built on one, under
    whatever name, or by an `allow_pickle` that is not plainly False."""
    nodes = list(ast.walk(ast.parse(source)))
    by_torch = any(
        ast.unparse(node) in ("torch.load", "torch.jit.load") for node in nodes if isinstance(node, ast.Attribute)
    )
    by_torch |= any(isinstance(node, ast.Call) and _third_of_load(node) for node in nodes)
    keywords = (node.value for node in nodes if isinstance(node, ast.keyword) and node.arg == "allow_pickle")
    by_numpy = any(ast.unparse(value) != "False" for value in keywords)
    by_numpy |= any(isinstance(node, ast.Constant) and node.value == "allow_pickle" for node in nodes)
    loaders = {"pickle", "_pickle", "dill", "joblib", "shelve", "torch.load", "torch.jit.load", "torch.serialization"}
    modules = imported_modules(source)
    return by_torch or by_numpy or any({name, name.split(".")[0]} & loaders for name in modules)


@pytest.mark.parametrize("path", [*CORE, *ADDON], ids=names_of([*CORE, *ADDON]))
def test_no_pickle_is_ever_loaded(path):
    assert not unpickles(path.read_text())


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load('a.pth', weights_only=True)",
        "import torch\nread = torch.jit.load",
        "from torch import load",
        "from torch import load as read\nread('a.pth')",
        "from torch.jit import load",
        "from torch.serialization import load",
        "import pickle",
        "from pickle import load",
        "from pickle import loads",
        "import numpy as np\nnp.load('a.npz', allow_pickle=True)",
        "from numpy import load\nload('a.npz', None, allow_pickle=yes)",
        "import numpy as np\nnp.load('a.npz', **{'allow_pickle': True})",
        "import numpy as np\nnp.load('a.npz', None, True)",
        "from numpy import load\nload('a.npz', None, True)",
        "import numpy as np\nnp.load(*arguments)",
    ],
)
def test_the_pickle_test_can_fail(source):
    assert unpickles(source)


def test_arrays_without_pickles_and_other_loaders_are_no_pickles():
    assert not unpickles(
        "import json, numpy as np\njson.load(file)\nnp.load('a.npz', allow_pickle=False)\nnp.load('b')"
    )


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "import torch.nn as nn",
        "from torch import Tensor",
        "from torch.nn import functional",
        "def hidden():\n    if True:\n        import torch",
        "__import__('torch')",
        "import importlib\nimportlib.import_module('torch.nn')",
        "from importlib import import_module\nimport_module('torch')",
    ],
)
def test_the_import_test_can_fail(source):
    assert forbidden_imports(source, HEAVY) == {"torch"}


def test_words_in_texts_and_look_alikes_are_no_imports():
    assert not forbidden_imports('"""import torch"""\nimport torchlight\ntorch = 1', HEAVY)


@pytest.mark.parametrize(
    "source",
    ["from ..id2r_core import pipeline", "import id2r_core.nets.vqgan", "from id2r_core.swap import swap_identity"],
)
def test_the_upper_part_test_can_fail(source):
    assert not core_modules_used(source) <= UPPER_PART


def imports_without(module: str, blocked: str) -> subprocess.CompletedProcess:
    """Import one module in a fresh Python in which the blocked package cannot be imported."""
    script = f"import sys; sys.modules[{blocked!r}] = None; import {module}"
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", [*sorted(UPPER_PART), "photo", "landmarks", "crop", "worker", "__main__"])
def test_the_upper_part_imports_without_torch(module):
    finished = imports_without(f"id2r_core.{module}", "torch")
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("module", ["protocol", "errors", "__main__", "worker"])
def test_the_protocol_needs_nothing_but_python(module):
    finished = imports_without(f"id2r_core.{module}", "numpy")
    assert finished.returncode == 0, finished.stderr


def test_the_blocked_import_test_can_fail():
    finished = imports_without("id2r_core.geometry.camera", "torch")
    assert finished.returncode != 0 and "torch" in finished.stderr
