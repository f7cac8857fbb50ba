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


def inspect() -> Inspection:
    """Import every library, ask for the devices, check the head file and the hashes of the packs."""
    found = {name: _import(name) for name in LIBRARIES}
    libraries = {name: version for name, (version, _) in found.items()}
    findings = [
        Finding(f"{name} cannot be imported ({why}).", _remedy(name)) for name, (_, why) in found.items() if why
    ]
    if not HEAD_FILE.is_file():
        findings.append(Finding("The head file is missing.", "Run `python build.py run` once, or install the zip."))
    packs = _packs() if libraries["torch"] and libraries["safetensors"] else {}
    findings += [Finding(wrong, "Install the pack again.") for wrong in packs.values() if wrong]
    devices = _devices() if libraries["torch"] else {}
    system = f"{platform.system()} {platform.machine()}"
    return Inspection(__version__, platform.python_version(), system, libraries, devices, packs, tuple(findings))


def _import(name: str) -> tuple[str, str]:
    """Version and "", or "" and why it cannot be imported."""
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # a broken binary library raises any of these
        return "", str(error) or type(error).__name__
    version = getattr(module, "__version__", None)
    return str(version or importlib.metadata.version(LIBRARIES[name])), ""


def _remedy(name: str) -> str:
    if name == "mediapipe" and sys.version_info[:2] > PYTHON_OF_MEDIAPIPE:
        return "It needs Python 3.9 to 3.12: choose such a Python in the preferences."
    return f"Install it into this Python: {sys.executable} -m pip install {LIBRARIES[name]}"


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
