"""Several processes that train as one (`torchrun`): each takes its slice of every batch, gradients are averaged.

All processes draw the whole batch from the same random numbers, so the slices together are the batch of a single one.
Without torchrun's environment there is one process and nothing here does anything.
"""

import os
import sys
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class Crew:
    """rank: which of `size` processes this is."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def mine(self, batch: torch.Tensor) -> torch.Tensor:
        """This process's rows of a batch; all of it where there are no others."""
        return batch.tensor_split(self.size)[self.rank] if self.size > 1 else batch

    def gather(self, part: torch.Tensor) -> torch.Tensor:
        """The whole batch from everybody's rows (not differentiable); all parts must have one shape."""
        if self.size == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.size)]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    def average(self, tensor: torch.Tensor) -> torch.Tensor:
        """The mean over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
            tensor.div_(self.size)
        return tensor

    def average_gradients(self, modules: list[nn.Module]) -> None:
        """A parameter that nobody used keeps no gradient, so that Adam leaves it alone as it would in one process."""
        if self.size == 1:
            return
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        used = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
        dist.all_reduce(used)
        for parameter, users in zip(parameters, used.tolist(), strict=True):
            if users:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                self.average(parameter.grad)

    def agree(self, *values: float) -> list[float]:
        """The leader's numbers."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64)
        if torch.cuda.is_available():
            shared = shared.cuda()
        dist.broadcast(shared, 0)
        return shared.tolist()

    def wait(self) -> None:
        """Until everybody is here."""
        if self.size > 1:
            dist.barrier()


ALONE = Crew()


def join_crew(device: torch.device) -> Crew:
    """The processes that torchrun started, or this one alone."""
    if "WORLD_SIZE" not in os.environ:
        return ALONE
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Crew(dist.get_rank(), dist.get_world_size())


def own_device(device: torch.device) -> torch.device:
    """The GPU of this process where torchrun started several."""
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


def leave(code: int) -> int:
    """The exit code of a process that trained alone. One of several ends here, at once: of torch 2.13 with gloo one run in
    eight aborted in the destructors of its end, when all had been written."""
    if dist.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
