"""Where tensors live: the one place that asks PyTorch which devices this machine has."""

import torch

from .errors import Id2rError


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA, then MPS, then the CPU. Raises Id2rError when the named one is unknown or not there."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, found in available.items() if found)
    if name not in available:
        raise Id2rError(f"There is no device called '{name}'.", f"Choose one of: auto, {', '.join(available)}.")
    if not available[name]:
        raise Id2rError(f"PyTorch finds no {name} device on this machine.", "Use --device auto or --device cpu.")
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads" if device.type == "cpu" else str(device)
