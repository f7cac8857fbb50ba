"""What a training command would cost: sizes, memory and time, from counts and one timed step (`train --dry-run`)."""

import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from ..configs import IDENTITY_WIDTH, Preset
from ..conventions import REFLECTANCE, VIEWS, Domain
from ..device import device_name
from ..nets import Nets, build_nets
from ..nets.discriminator import PatchDiscriminator
from ..nets.layers import resized
from .loop import Task, to_device
from .losses import Perceptual

ADAM_BYTES = 4 + 4 + 4 + 4 + 4  # weight, gradient, both moments, moving average; float32
PROBE_BATCH = {"cpu": 1}
PROBE_BATCH_ACCELERATOR = 8
PROBE_SECONDS = 4.0
BACKWARD = 2.0  # work of a backward pass in units of the forward pass
MIB, GIB = 2**20, 2**30
TRAINED = {
    "identity": ("identity",),
    "codebook": ("encoder", "decoder", "codebooks"),
    "domains": ("encoder", "decoder", "codebooks"),
    "fusion": ("fusion",),
    "swapper": ("swapper",),
    "translate": ("translator",),
    "templates": (),
}
WITH_ADVERSARY = ("codebook", "domains", "swapper")


@dataclass(frozen=True)
class StageCost:
    """Of one image of a stage: operations (multiplications and additions) and bytes kept for the backward pass."""

    operations: float
    kept_bytes: float


def describe_plan(task: Task, stages: tuple[str, ...]) -> str:
    """A table of the stages for people to read."""
    preset = task.preset
    with torch.device("meta"):
        nets = build_nets(preset)
    rate = measured_rate(task)
    lines = [
        f"preset {preset.name}: {preset.size} px, decoder levels {', '.join(map(str, preset.levels))}",
        "parameters, million: " + ", ".join(f"{n} {_count(net) / 1e6:.2f}" for n, net in nets.named()),
        f"pack: {sum(_count(net) for _, net in nets.named()) * 2 / MIB:.1f} MiB in half precision",
        f"rendered subjects: {pool_bytes(preset) / GIB:.1f} GiB {'of device memory' if task.in_memory else 'on disk'}",
        f"measured on {device_name(task.device)}: {rate / 1e12:.2f} T operations a second in this network",
        "",
        f"{'stage':<10} {'batch':>5} {'memory GiB':>10} {'G op/image':>10} {'images/s':>8} {'minutes':>7} {'images':>8}",
    ]
    for stage in stages:
        if not TRAINED.get(stage):
            continue
        cost, row = stage_cost(nets, preset, stage), preset.training[stage]
        batch, speed = task.batch_of(stage), rate / cost.operations
        minutes = task.minutes * (row.minutes_share if len(stages) > 1 else 1.0) if task.minutes else None
        images = speed * 60 * minutes if minutes else batch * (task.steps or row.steps)
        memory = (stage_memory(nets, preset, stage, batch, cost) + pool_bytes(preset) * task.in_memory) / GIB
        lines.append(
            f"{stage:<10} {batch:>5} {memory:>10.1f} {cost.operations / 1e9:>10.1f} {speed:>8.1f} "
            f"{minutes or images / speed / 60:>7.1f} {images:>8.0f}"
        )
    return "\n".join([*lines, "", "Rendering comes on top; the first steps are slower than the rest."])


def pool_bytes(preset: Preset) -> int:
    """Of all rendered subjects."""
    images = len(Domain) * VIEWS + preset.pool.photographs + len(REFLECTANCE)
    return preset.pool.subjects * images * 3 * preset.size**2


def stage_memory(nets: Nets, preset: Preset, stage: str, batch: int, cost: StageCost) -> float:
    """Bytes: parameters with Adam and average, and what a batch keeps for its backward pass."""
    trained = sum(_count(getattr(nets, name)) for name in TRAINED[stage])
    if stage in WITH_ADVERSARY:
        with torch.device("meta"):
            trained += _count(PatchDiscriminator(preset))
    return trained * ADAM_BYTES + batch * cost.kept_bytes


def stage_cost(nets: Nets, preset: Preset, stage: str) -> StageCost:
    """Counted on tensors without contents, in half precision, for a batch of one."""
    with torch.device("meta"):
        others = (Perceptual(preset.losses.perceptual_taps), PatchDiscriminator(preset))
        inputs = torch.empty(1, 3, preset.size, preset.size, dtype=torch.bfloat16)
    parts = [net.to(torch.bfloat16).train() for net in (*dict(nets.named()).values(), *others)]
    for net in parts:
        net.requires_grad_(True)
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[id(tensor)] = (tensor, tensor.numel() * tensor.element_size())
        return tensor

    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        _forward(nets, *others, inputs, preset, stage)
    weights = {id(p) for net in parts for p in net.parameters()}
    held = sum(size for key, (_, size) in kept.items() if key not in weights)
    return StageCost(counter.get_total_flops() * (1.0 + BACKWARD), held)


def _forward(
    nets: Nets, perceptual: nn.Module, rival: nn.Module, images: torch.Tensor, preset: Preset, stage: str
) -> None:
    """What a step of the stage computes on one image."""
    if stage == "identity":
        nets.identity.float()(images.float())
        return
    if stage == "translate":
        nets.translator(resized(images, nets.translator.size))
        return
    latent = nets.encoder(images)
    if stage == "fusion":
        made = nets.decoder(nets.fusion(latent).sum(1, keepdim=True) * latent)
    elif stage == "swapper":
        vector = torch.empty(1, IDENTITY_WIDTH, device="meta", dtype=torch.bfloat16)
        tone, domain = torch.empty(1, 3, device="meta"), torch.empty(1, dtype=torch.long, device="meta")
        view = torch.empty_like(domain)
        made = nets.swapper(nets.decoder, latent.detach(), vector, tone, domain, view)
        nets.identity.float()(made.float())
    else:
        made = nets.decoder(latent)
    perceptual(made, images)
    if stage in WITH_ADVERSARY:
        rival(made), rival(made.detach()), rival(images)


def measured_rate(task: Task) -> float:
    """Operations a second of the auto-encoder, forward and backward, on the task's device."""
    preset, device = task.preset, task.device
    batch = PROBE_BATCH.get(device.type, PROBE_BATCH_ACCELERATOR)
    with torch.device("meta"):
        counted = build_nets(preset)
        with FlopCounterMode(display=False) as counter:
            counted.decoder(counted.encoder(torch.empty(1, 3, preset.size, preset.size)))
    nets = build_nets(preset)
    parts = [to_device(net, device) for net in (nets.encoder, nets.decoder)]
    images = torch.rand(batch, 3, preset.size, preset.size, device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "mps"):
            made = parts[1](parts[0](images))
        made.float().mean().backward()
        _finish(device)

    step()
    began, steps = time.monotonic(), 0
    while steps == 0 or time.monotonic() - began < PROBE_SECONDS:
        step()
        steps += 1
    return counter.get_total_flops() * (1.0 + BACKWARD) * batch * steps / (time.monotonic() - began)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())
