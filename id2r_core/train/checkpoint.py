"""Training state as safetensors in shards of at most SHARD_BYTES, and a JSON index beside them. No pickle.

`checkpoint.safetensors` is what callers name; on disk there are `checkpoint.json` and `checkpoint-<token>-<n>.safetensors`.
The index is written last and atomically, so that a stop at any moment leaves the old state or the new one.
"""

import json
import secrets
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import Id2rError
from ..files import whole_file

Tensors = dict[str, torch.Tensor]

SHARD_BYTES = 15 * 2**20
PIECE_BYTES = SHARD_BYTES // 2  # larger tensors are cut along their flattened length
PIECE = "#"  # between a tensor's name and the number of a piece of it


def save_checkpoint(path: Path, tensors: Tensors, state: dict) -> None:
    """Write tensors and state (anything that JSON can say) as one unit in place of what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(4)
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    shards, text = [], json.dumps({"state": state})  # fails before anything is written
    for number, shard in enumerate(_shards(tensors)):
        shards.append(f"{path.stem}-{token}-{number:02d}{path.suffix}")
        save_file(shard, path.parent / shards[-1])
    text = json.dumps({"state": state, "shapes": shapes, "shards": shards})
    with whole_file(index_of(path)) as partial:
        partial.write_text(text, encoding="utf-8")
    for old in path.parent.glob(f"{path.stem}-*{path.suffix}"):
        if old.name not in shards:
            old.unlink()
    path.unlink(missing_ok=True)


def index_of(path: Path) -> Path:
    return path.with_suffix(".json")


def has_checkpoint(path: Path) -> bool:
    return index_of(path).is_file() or path.is_file()


def load_checkpoint(path: Path, prefix: str = "") -> tuple[Tensors, dict]:
    """The tensors whose names begin with `prefix`, and the state. Raises Id2rError when it is missing or damaged.

    A single file, as earlier versions wrote it, is read as well.
    """
    if not has_checkpoint(path):
        raise Id2rError(f"There is no checkpoint at {path}.", "Train that stage first, or name another run folder.")
    try:
        if not index_of(path).is_file():
            return _load_single(path, prefix)
        index = json.loads(index_of(path).read_text(encoding="utf-8"))
        pieces: Tensors = {}
        for shard in index["shards"]:
            pieces |= _read(path.parent / shard, prefix)
        return _joined(pieces, index["shapes"]), index["state"]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise Id2rError(f"The checkpoint {path} cannot be read ({error}).", "Train that stage again.") from error


def load_state(path: Path) -> dict:
    """The state alone, without reading tensors."""
    return load_checkpoint(path, prefix=PIECE)[1]  # no tensor's name begins so


def with_prefix(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Tensors) -> Tensors:
    """Only the tensors under `prefix`, with it taken off."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + "/")}


def halved(tensors: Tensors) -> Tensors:
    """Floating-point tensors in half precision."""
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _shards(tensors: Tensors):
    """Dictionaries of flat pieces, each of at most SHARD_BYTES."""
    shard, size = {}, 0
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous().flatten()
        for number, piece in enumerate(flat.split(max(1, PIECE_BYTES // flat.element_size()))):
            length = piece.numel() * piece.element_size()
            if shard and size + length > SHARD_BYTES - 2**16:  # room for the header
                yield shard
                shard, size = {}, 0
            shard[f"{name}{PIECE}{number}"] = piece.clone()
            size += length
    if shard:
        yield shard


def _joined(pieces: Tensors, shapes: dict[str, list[int]]) -> Tensors:
    parts: dict[str, dict[int, torch.Tensor]] = {}
    for name, piece in pieces.items():
        whole, _, number = name.rpartition(PIECE)
        parts.setdefault(whole, {})[int(number)] = piece
    return {name: torch.cat([part[i] for i in sorted(part)]).reshape(shapes[name]) for name, part in parts.items()}


def _read(path: Path, prefix: str) -> Tensors:
    with safe_open(path, framework="pt") as file:
        names = file.keys()
        return {name: file.get_tensor(name) for name in names if name.startswith(prefix)}


def _load_single(path: Path, prefix: str) -> tuple[Tensors, dict]:
    with safe_open(path, framework="pt") as file:
        state = json.loads(file.metadata()["state"])
    return _read(path, prefix), state
