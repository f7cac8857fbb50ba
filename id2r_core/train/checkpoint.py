"""Training state in one safetensors file: tensors by name, everything else as JSON in its header. No pickle."""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..errors import Id2rError

Tensors = dict[str, torch.Tensor]


def save_checkpoint(path: Path, tensors: Tensors, state: dict) -> None:
    """Write both at once under a temporary name, then rename: a stop at any moment leaves the old file or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(tensors, partial, metadata={"state": json.dumps(state)})
    os.replace(partial, path)


def load_checkpoint(path: Path) -> tuple[Tensors, dict]:
    """Raises Id2rError when the file is missing or damaged."""
    if not path.is_file():
        raise Id2rError(f"There is no checkpoint at {path}.", "Train that stage first, or name another run folder.")
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, state
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise Id2rError(f"The checkpoint {path} cannot be read ({error}).", "Train that stage again.") from error


def with_prefix(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Tensors) -> Tensors:
    """Only the tensors under `prefix`, with it taken off."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + "/")}
