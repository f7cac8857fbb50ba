"""Weight packs: a folder of safetensors files, a manifest with their hashes and a model card. Format: FORMAT.md.

Nothing but safetensors and JSON is ever read, and no file before its sha256 has been checked. Networks are mapped into
memory and made when they are first asked for: a job never makes the encoder, which only training and templates need.
"""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import nn

from ..configs import PRESETS, Preset
from ..errors import Id2rError
from ..files import fresh_folder
from ..nets import Nets, build_nets
from ..nets.onnx_identity import ForeignIdentity, file_hash, load_onnx_identity
from ..templates import TemplateLibrary

FOLDER = Path(__file__).parent
MANIFEST = "manifest.json"
TEMPLATES = "templates.safetensors"
CARD = "README.md"
FORMAT, FORMAT_FOREIGN = 1, 2  # the second: the identity vector is that of a model which is not in the pack
INSIGHTFACE = Path("~/.insightface/models")
HINT_DAMAGED = "Install it again, or choose another pack."


@dataclass(frozen=True)
class Pack:
    """A loaded weight pack; sha256 is that of its manifest, which holds those of all its files."""

    name: str
    preset: Preset
    nets: "Nets | LazyNets"
    templates: TemplateLibrary
    sha256: str
    device: torch.device


class LazyNets:
    """The networks of a pack by the names of `Nets`, frozen and in float32, each made when it is first asked for."""

    def __init__(self, folder: Path, manifest: dict, device: torch.device):
        self._folder, self._device = folder, device
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced; the caller's randomness stays
            self._plans = dict(build_nets(PRESETS[manifest["preset"]]).named())
        for name, plan in self._plans.items():
            _check_sizes(plan, folder / f"{name}.safetensors")
        self._foreign = find_identity(folder, manifest)

    def __getattr__(self, name: str) -> nn.Module:
        if name.startswith("_") or name not in self._plans:
            raise AttributeError(name)
        tensors = load_file(self._folder / f"{name}.safetensors")  # mapped, not read
        tensors = {key: t.float() if t.is_floating_point() else t.clone() for key, t in tensors.items()}
        net = self._plans[name]
        net.load_state_dict(tensors, assign=True)
        if name == "identity" and self._foreign is not None:
            net = ForeignIdentity(net, load_onnx_identity(self._foreign, self._device))
        net = net.to(self._device).eval().requires_grad_(False)
        setattr(self, name, net)
        return net

    def named(self) -> list[tuple[str, nn.Module]]:
        """All of them."""
        return [(name, getattr(self, name)) for name in self._plans]


def find_identity(folder: Path, manifest: dict) -> Path | None:
    """The identity model that a pack names by hash: beside the pack or where insightface keeps its models.

    None for packs with an identity encoder of their own. Raises Id2rError when the model is not at hand.
    """
    wanted = manifest.get("identity")
    if wanted is None:
        return None
    places = [folder / wanted["file"], *sorted(INSIGHTFACE.expanduser().rglob(wanted["file"]))]
    for path in filter(Path.is_file, places):
        if file_hash(path) == wanted["sha256"]:
            return path
    raise Id2rError(
        f"The weight pack '{manifest['name']}' was trained for the identity model {wanted['file']} "
        f"(sha256 {wanted['sha256'][:12]}...), which is not at hand.",
        f"Put that very file into {folder} or below {INSIGHTFACE}; its licence is between you and its publisher.",
    )


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
        known = manifest["format"] in (FORMAT, FORMAT_FOREIGN) and manifest["preset"] in PRESETS
        complete = isinstance(manifest["files"], dict) and isinstance(manifest["templates"], list)
    except (ValueError, KeyError, TypeError) as error:
        raise Id2rError(f"The manifest of the weight pack in {folder} is damaged.", HINT_DAMAGED) from error
    if not (known and complete):
        raise Id2rError(f"The weight pack in {folder} is of a kind this program does not know.", "Update the program.")
    return manifest, hashlib.sha256(text).hexdigest()


def load_pack(name_or_path: str | Path, device: torch.device | str = "cpu") -> Pack:
    """Load a pack by name or folder onto a device, in float32.

    Raises Id2rError when the pack is unknown, when a file is missing, when its hash is not that of the manifest, or when
    the identity model that it was trained for is not at hand.
    """
    folder, device = pack_folder(name_or_path), torch.device(device)
    manifest, sha256 = read_manifest(folder)
    nets = {f"{field.name}.safetensors" for field in fields(Nets)}
    for file in sorted(nets) + [TEMPLATES]:
        _check_hash(folder, file, manifest)
    stored = load_file(folder / TEMPLATES)
    templates = TemplateLibrary(
        tuple(manifest["templates"]),
        unpacked_codes(stored).to(device, torch.int64),
        stored["vectors"].to(device, torch.float32),
        stored["tones_linear"].to(device, torch.float32),
    )
    nets = LazyNets(folder, manifest, device)
    return Pack(manifest["name"], PRESETS[manifest["preset"]], nets, templates, sha256, device)


def verify_pack(folder: Path) -> dict:
    """Check the hash of every file; returns the manifest. Raises Id2rError at the first that differs."""
    manifest, _ = read_manifest(folder)
    for name in manifest["files"]:
        _check_hash(folder, name, manifest)
    return manifest


def save_pack(
    folder: Path,
    name: str,
    preset: Preset,
    nets: Nets,
    templates: TemplateLibrary,
    card: str,
    identity: dict[str, str] | None = None,
) -> None:
    """Write a pack in half precision; the folder appears complete or not at all.

    identity: `file` and `sha256` of the identity model that the pack was trained for, where that is not its own.
    """
    contents = {f"{part}.safetensors": save_tensors(_halved(net.state_dict())) for part, net in nets.named()}
    library = packed_codes(templates.codes.cpu()) | {
        "vectors": templates.vectors.half(),
        "tones_linear": templates.tones_linear.float(),
    }
    contents[TEMPLATES] = save_tensors({key: tensor.cpu().contiguous() for key, tensor in library.items()})
    contents[CARD] = card.encode()
    hashes = {file: hashlib.sha256(data).hexdigest() for file, data in contents.items()}
    manifest = {"format": FORMAT, "name": name, "preset": preset.name, "files": hashes}
    if identity is not None:
        manifest |= {"format": FORMAT_FOREIGN, "identity": identity}
    manifest["templates"] = list(templates.names)
    with fresh_folder(folder) as partial:
        for file, data in contents.items():
            (partial / file).write_bytes(data)
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def packed_codes(codes: torch.Tensor) -> dict[str, torch.Tensor]:
    """Code indices below 1024 [T, V, D, h, w] in ten bits each: the low eight, and the high two of four codes a byte."""
    if int(codes.max()) >= 1 << 10 or codes.shape[-1] % 4:
        return {"codes": codes.to(torch.uint16)}
    high = (codes >> 8).unflatten(-1, (-1, 4)) << torch.tensor([0, 2, 4, 6])  # [T, V, D, h, w / 4, 4]
    return {"codes_low": (codes & 255).to(torch.uint8), "codes_high": high.sum(-1).to(torch.uint8)}


def unpacked_codes(stored: dict[str, torch.Tensor]) -> torch.Tensor:
    """The inverse of `packed_codes`, int64; earlier packs hold `codes` as they are."""
    if "codes" in stored:
        return stored["codes"].long()
    high = (stored["codes_high"].long()[..., None] >> torch.tensor([0, 2, 4, 6])) & 3
    return stored["codes_low"].long() + (high.flatten(-2) << 8)


def _check_hash(folder: Path, file: str, manifest: dict) -> None:
    if file not in manifest["files"] or not (folder / file).is_file():
        raise Id2rError(f"The weight pack '{manifest['name']}' lacks {file}.", HINT_DAMAGED)
    if file_hash(folder / file) != manifest["files"][file]:
        raise Id2rError(f"{file} of the weight pack '{manifest['name']}' is damaged (its hash differs).", HINT_DAMAGED)


def _check_sizes(net: nn.Module, path: Path) -> None:
    """Raises Id2rError when the tensors of a file are not this preset's; reads only the file's head."""
    expected = {name: list(tensor.shape) for name, tensor in net.state_dict().items()}
    with safe_open(path, framework="pt") as file:
        names = file.keys()
        found = {name: file.get_slice(name).get_shape() for name in names}
    if expected != found:
        raise Id2rError(f"The weights in {path.parent} are of other sizes than this program's.", "Update the program.")


def _halved(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {n: (t.half() if t.is_floating_point() else t).cpu().contiguous() for n, t in tensors.items()}
