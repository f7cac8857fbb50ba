"""A GPU that is none: tensors that say they lie on another device, are computed on the CPU, and refuse what a real GPU refuses.

Catches, on machines without one, tensors forgotten on the CPU, `.numpy()` of device tensors, and factories without a
device. It knows nothing of a GPU's arithmetic, speed or memory.
"""

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("meta")  # a device that every build of PyTorch knows, unlike `cuda`
# A real GPU takes index tensors of the CPU, and copies between devices.
MAY_MIX = {
    "aten::_to_copy", "aten::copy_", "aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_",
    "aten::set_", "aten::_unsafe_index",
}  # fmt: skip


class OnGpu(torch.Tensor):
    """A tensor of the pretended GPU around one of the CPU."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor):
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, inner.stride(), inner.storage_offset(), dtype=inner.dtype, device=GPU
        )
        wrapper.inner = inner
        return wrapper

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _compute(func, args, kwargs)

    def numpy(self, *_, **__):
        raise TypeError("can't convert a tensor of the GPU to numpy; use .cpu() first")


def _compute(func, args, kwargs):
    """Run an operation on what the tensors hold; its results lie where a real GPU would leave them."""
    kwargs = dict(kwargs or {})
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
    assert all(isinstance(tensor, OnGpu) or tensor.device.type == "cpu" for tensor in tensors), "not seen being made"
    ours = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
    on_cpu = [t for t in tensors if not isinstance(t, OnGpu) and t.dim() > 0 and t.layout == torch.strided]
    if ours and on_cpu and func._schema.name not in MAY_MIX:
        raise RuntimeError(f"{func} mixes tensors of the GPU and of the CPU")
    asked = kwargs.get("device")
    on_gpu = bool(ours) if asked is None else _is_gpu(asked)
    if func._schema.name == "aten::copy_":
        on_gpu = isinstance(args[0], OnGpu)
    if asked is not None:
        kwargs["device"] = torch.device("cpu")
    wrappers = {id(tensor.inner): tensor for tensor in ours}
    found = func(*tree_map(_unwrapped, args), **tree_map(_unwrapped, kwargs))

    def wrapped(value):
        if not on_gpu or not isinstance(value, torch.Tensor) or value.layout != torch.strided:
            return value
        return wrappers[id(value)] if id(value) in wrappers else OnGpu(value)

    return tree_map(wrapped, found)


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _compute(func, args, kwargs)


class _Factories(TorchFunctionMode):
    """Factories and moves with a device of the GPU; everything else as usual."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in ("__getitem__", "__setitem__") and isinstance(args[0], OnGpu):
            args = (args[0], _index(args[1]), *args[2:])
        if name == "tolist" and isinstance(args[0], OnGpu):
            return args[0].inner.tolist()
        if name == "new_tensor" and isinstance(args[0], OnGpu):
            return OnGpu(torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)))
        if name == "to" and any(map(_is_gpu, (*args[1:], *kwargs.values()))):
            if isinstance(args[0], OnGpu) or args[0].layout != torch.strided:
                kept = [a for a in args[1:] if isinstance(a, torch.dtype)]
                return args[0].to(*kept) if kept else args[0]
            rest = [a for a in args[1:] if isinstance(a, torch.dtype)]
            moved = args[0].detach().to(*rest).clone() if rest else args[0].detach().clone()
            return OnGpu(moved).requires_grad_(args[0].requires_grad and moved.is_floating_point())
        if _is_gpu(kwargs.get("device")) and not any(isinstance(a, OnGpu) for a in args):
            return OnGpu(func(*args, **(kwargs | {"device": "cpu"})))
        return func(*args, **kwargs)


def _index(index):
    """Lists of numbers in an index become tensors; PyTorch would make them where this module does not see it."""
    if isinstance(index, list):
        return OnGpu(torch.tensor(index))
    if not isinstance(index, tuple):
        return index
    return tuple(OnGpu(torch.tensor(part)) if isinstance(part, (list, tuple)) else part for part in index)


def _is_gpu(value) -> bool:
    if isinstance(value, OnGpu):
        return True
    return isinstance(value, (torch.device, str)) and str(value) == "meta"


def _unwrapped(value):
    return value.inner if isinstance(value, OnGpu) else value


@contextmanager
def pretended_gpu():
    """Inside, `torch.device("cuda", 0)` can be used."""
    load = torch.nn.Module.load_state_dict
    torch.nn.Module.load_state_dict = _load_state_dict
    try:
        with _Factories(), _Operations():
            yield GPU
    finally:
        torch.nn.Module.load_state_dict = load


@torch.no_grad()
def _load_state_dict(module: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """PyTorch's own loads nothing into parameters of the meta device."""
    own = module.state_dict()
    assert own.keys() == tensors.keys()
    for name, tensor in tensors.items():
        own[name].copy_(tensor)
