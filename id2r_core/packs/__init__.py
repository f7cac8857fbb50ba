"""Weight packs: a folder of safetensors files, a manifest with their hashes and a model card. Format: FORMAT.md.

Nothing but safetensors and JSON is ever read, and no file before its sha256 has been checked.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ..configs import PRESETS, Preset
from ..errors import Id2rError
from ..nets import Nets, build_nets
from ..templates import TemplateLibrary

FOLDER = Path(__file__).parent
MANIFEST = "manifest.json"
TEMPLATES = "templates.safetensors"
CARD = "README.md"
FORMAT = 1
HINT_DAMAGED = "Install it again, or choose another pack."


@dataclass(frozen=True)
class Pack:
    """A loaded weight pack; sha256 is that of its manifest, which holds those of all its files."""

    name: str
    preset: Preset
    nets: Nets
    templates: TemplateLibrary
    sha256: str
    device: torch.device


def pack_names() -> list[str]:
    """The packs that come with the program."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{MANIFEST}"))


def pack_folder(name_or_path: str | Path) -> Path:
    """Raises Id2rError, naming the packs that exist, when there is none of that name or at that path."""
    for folder in (FOLDER / str(name_or_path), Path(name_or_path)):
        if (folder / MANIFEST).is_file():
            return folder
    names = ", ".join(pack_names()) or "none yet"
    raise Id2rError(
        f"There is no weight pack '{name_or_path}'.", f"Packs that come with the program: {names}; or give a folder."
    )


def read_manifest(folder: Path) -> tuple[dict, str]:
    """The manifest and its sha256. Raises Id2rError when it is damaged or from a newer program."""
    text = (folder / MANIFEST).read_bytes()
    try:
        manifest = json.loads(text)
        known = manifest["format"] == FORMAT and manifest["preset"] in PRESETS
        complete = isinstance(manifest["files"], dict) and isinstance(manifest["templates"], list)
    except (ValueError, KeyError, TypeError) as error:
        raise Id2rError(f"The manifest of the weight pack in {folder} is damaged.", HINT_DAMAGED) from error
    if not (known and complete):
        raise Id2rError(f"The weight pack in {folder} is of a kind this program does not know.", "Update the program.")
    return manifest, hashlib.sha256(text).hexdigest()


def load_pack(name_or_path: str | Path, device: torch.device | str = "cpu") -> Pack:
    """Load a pack by name or folder onto a device, in float32.

    Raises Id2rError when the pack is unknown, when a file is missing, or when its hash is not that of the manifest.
    """
    folder, device = pack_folder(name_or_path), torch.device(device)
    manifest, sha256 = read_manifest(folder)
    preset = PRESETS[manifest["preset"]]
    with torch.random.fork_rng(
        devices=[]
    ):  # the weights drawn here are replaced; the caller's randomness is not touched
        nets = build_nets(preset)
    for name, net in nets.named():
        tensors = _checked_tensors(folder, f"{name}.safetensors", manifest)
        _fill(net, tensors, folder)
        net.to(device).eval().requires_grad_(False)
    stored = _checked_tensors(folder, TEMPLATES, manifest)
    templates = TemplateLibrary(
        tuple(manifest["templates"]),
        stored["codes"].to(device, torch.int64),
        stored["vectors"].to(device, torch.float32),
        stored["tones_linear"].to(device, torch.float32),
    )
    return Pack(manifest["name"], preset, nets, templates, sha256, device)


def verify_pack(folder: Path) -> dict:
    """Check the hash of every file; returns the manifest. Raises Id2rError at the first that differs."""
    manifest, _ = read_manifest(folder)
    for name in manifest["files"]:
        _checked_bytes(folder, name, manifest)
    return manifest


def save_pack(folder: Path, name: str, preset: Preset, nets: Nets, templates: TemplateLibrary, card: str) -> None:
    """Write a pack in half precision; the folder appears complete or not at all."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    contents = {f"{part}.safetensors": save_tensors(_halved(net.state_dict())) for part, net in nets.named()}
    library = {
        "codes": templates.codes.to(torch.uint16),
        "vectors": templates.vectors.half(),
        "tones_linear": templates.tones_linear.float(),
    }
    contents[TEMPLATES] = save_tensors({key: tensor.cpu().contiguous() for key, tensor in library.items()})
    contents[CARD] = card.encode()
    for file, data in contents.items():
        (partial / file).write_bytes(data)
    hashes = {file: hashlib.sha256(data).hexdigest() for file, data in contents.items()}
    manifest = {"format": FORMAT, "name": name, "preset": preset.name, "files": hashes}
    manifest["templates"] = list(templates.names)
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


def _checked_bytes(folder: Path, file: str, manifest: dict) -> bytes:
    if file not in manifest["files"] or not (folder / file).is_file():
        raise Id2rError(f"The weight pack '{manifest['name']}' lacks {file}.", HINT_DAMAGED)
    data = (folder / file).read_bytes()
    if hashlib.sha256(data).hexdigest() != manifest["files"][file]:
        raise Id2rError(f"{file} of the weight pack '{manifest['name']}' is damaged (its hash differs).", HINT_DAMAGED)
    return data


def _checked_tensors(folder: Path, file: str, manifest: dict) -> dict[str, torch.Tensor]:
    return load_tensors(_checked_bytes(folder, file, manifest))


def _fill(net: torch.nn.Module, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """Give the tensors to a net. Raises Id2rError when they are not this preset's."""
    expected = {name: tensor.shape for name, tensor in net.state_dict().items()}
    if expected != {name: tensor.shape for name, tensor in tensors.items()}:
        raise Id2rError(f"The weights in {folder} are of other sizes than this program's.", "Update the program.")
    tensors = {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}
    net.load_state_dict(tensors, assign=True)


def _halved(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {n: (t.half() if t.is_floating_point() else t).cpu().contiguous() for n, t in tensors.items()}
