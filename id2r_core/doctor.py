"""What is installed where this runs, what is missing, and how to mend it. Standard library only until it looks."""

import dataclasses
import importlib
import importlib.metadata
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import __version__
from .errors import Id2rError

# Module and distribution of everything that a reconstruction imports.
LIBRARIES = {
    "torch": "torch",
    "numpy": "numpy",
    "scipy": "scipy",
    "cv2": "opencv-python",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "mediapipe": "mediapipe",
    "safetensors": "safetensors",
    "tqdm": "tqdm",
}
HEAD_FILE = Path(__file__).parent / "head" / "data" / "head.npz"
ABSENT = "not installed"
PYTHON_OF_MEDIAPIPE = (3, 12)  # the newest for which mediapipe 0.10.21 exists, with the landmark models inside it


@dataclass(frozen=True)
class Finding:
    """One thing that is missing or broken, and what to do about it."""

    message: str
    hint: str


@dataclass(frozen=True)
class Inspection:
    """libraries: version by name, "" when it cannot be imported; devices: label by name, best first.

    packs: by name, "" when every file is as published, else what is wrong.
    """

    id2r: str
    python: str
    system: str
    libraries: dict[str, str]
    devices: dict[str, str]
    packs: dict[str, str]
    findings: tuple[Finding, ...]

    def to_json(self) -> dict:
        return dataclasses.asdict(self) | {"lines": self.lines()}

    def lines(self) -> list[str]:
        """For a terminal or a text block: what is there, then what is missing with its remedy."""
        said = [f"ID2R {self.id2r}, Python {self.python}, {self.system}"]
        said += [f"{name}: {version or 'missing'}" for name, version in self.libraries.items()]
        said += [f"device {name}: {label}" for name, label in self.devices.items()]
        said += [f"pack {name}: {wrong or 'all files as published'}" for name, wrong in self.packs.items()]
        said += [f"PROBLEM: {each.message} {each.hint}" for each in self.findings]
        return said if self.findings else [*said, "Everything that a reconstruction needs is here."]


def inspect(in_blender: bool = False) -> Inspection:
    """Import every library, ask for the devices, check the head file and the hashes of the packs.

    in_blender: whether the remedies are for somebody with the add-on's preferences before him instead of a terminal
    """
    found = {name: _import(name) for name in LIBRARIES}
    libraries = {name: version for name, (version, _) in found.items()}
    absent = [name for name, (_, why) in found.items() if why == ABSENT]
    broken = {name: why for name, (_, why) in found.items() if why and why != ABSENT}
    findings = [Finding(f"This Python lacks {', '.join(absent)}.", _remedy(absent, in_blender))] if absent else []
    findings += [
        Finding(f"{name} cannot be imported ({why}).", _remedy([name], in_blender)) for name, why in broken.items()
    ]
    if not HEAD_FILE.is_file():
        findings.append(Finding("The head file is missing.", "Run `python build.py run` once, or install the zip."))
    packs = _packs() if libraries["torch"] and libraries["safetensors"] else {}
    findings += [Finding(wrong, "Install the pack again.") for wrong in packs.values() if wrong]
    devices = _devices() if libraries["torch"] else {}
    system = f"{platform.system()} {platform.machine()}"
    return Inspection(__version__, platform.python_version(), system, libraries, devices, packs, tuple(findings))


def _import(name: str) -> tuple[str, str]:
    """Version and "", or "" and why it cannot be imported: ABSENT, or in the words of what went wrong."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        return "", ABSENT if error.name == name else str(error)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # a broken binary library raises any of these
        return "", str(error) or type(error).__name__
    version = getattr(module, "__version__", None)
    return str(version or importlib.metadata.version(LIBRARIES[name])), ""


def _remedy(names: Sequence[str], in_blender: bool) -> str:
    if "mediapipe" in names and sys.version_info[:2] > PYTHON_OF_MEDIAPIPE:
        return (
            "mediapipe exists up to Python 3.12: choose a Python 3.11 or 3.12 that has all of them in the preferences."
        )
    if in_blender:
        return (
            "Press Install PyTorch... in the preferences, or choose a Python 3.11 or 3.12 there that has all of them."
        )
    packages = " ".join(LIBRARIES[name] for name in names)
    return f"Install what is missing into this Python: {sys.executable} -m pip install {packages}"


def _devices() -> dict[str, str]:
    import torch

    devices = {"cpu": f"{torch.get_num_threads()} threads"}
    if torch.backends.mps.is_available():
        devices = {"mps": "Apple GPU", **devices}
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        devices = {"cuda": f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB", **devices}
    return devices


def _packs() -> dict[str, str]:
    from .packs import pack_folder, pack_names, verify_pack

    packs = {}
    for name in pack_names():
        try:
            verify_pack(pack_folder(name))
            packs[name] = ""
        except Id2rError as error:
            packs[name] = error.message
    return packs


def main(_arguments: Sequence[str]) -> int:
    """Print the inspection; 0 when nothing is missing."""
    found = inspect()
    print("\n".join(found.lines()))
    return 2 if found.findings else 0
