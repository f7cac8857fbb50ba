"""What the loops of all stages share: time box, rate, clipping, EMA, checkpoints, resuming, logs, sheets."""

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..configs import Preset, StageTraining
from ..device import device_name
from ..errors import Id2rError
from ..files import whole_file, write_image
from .checkpoint import (
    halved,
    has_checkpoint,
    load_checkpoint,
    load_state,
    save_checkpoint,
    with_prefix,
    without_prefix,
)
from .parallel import ALONE, Crew

CHECKPOINT_EVERY = 120.0  # seconds
LOG_EVERY = 20.0  # seconds
SHEET_SIDE = 256  # pixels of an image on a sample sheet
GRADIENT_NORM = 1.0
CHECKPOINT = "checkpoint.safetensors"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Task:
    """What one training command was asked to do. `minutes` or `steps` of None: not limited by it."""

    preset: Preset
    data: Path
    out: Path
    minutes: float | None = None
    steps: int | None = None
    device: torch.device = CPU
    seed: int = 0
    resume: bool = False
    batch: int | None = None  # None: that of the preset for this kind of device
    in_memory: bool = False  # rendered subjects stay in the memory of the device instead of a pool on disk
    deadline: float = math.inf  # of time.monotonic(); a loop that meets it saves and ends as if interrupted
    captures: Path | None = None  # imported captures whose skins join those of the data
    identity: Path | None = None  # an ArcFace model in ONNX whose vectors the pack is trained for; None: its own
    compile: str | None = None  # the backend of torch.compile for the networks of a step; None: not compiled
    crew: Crew = ALONE
    report: Callable[[str], None] = lambda line: None
    pools: dict = field(default_factory=dict)  # pools in memory, shared by the stages of one process

    def batch_of(self, stage: str) -> int:
        row = self.preset.training[stage]
        return self.batch or (row.batch if self.device.type == "cpu" else row.batch_accelerator)

    def compiled(self, module: nn.Module) -> nn.Module:
        """The module, compiled where that was asked for; parameters and names stay those of the module itself."""
        return torch.compile(module, backend=self.compile) if self.compile else module


class Loop:
    """Iterate over it for the step numbers; call `descend` once a step.

    trained: the modules that the stage teaches; they share one Adam and have a moving average each.
    rivals: discriminators, with an Adam of their own and no average.
    draw: () -> uint8 RGB [H, W, 3], the sample sheet, made with the averaged weights.
    """

    def __init__(
        self,
        task: Task,
        stage: str,
        trained: dict[str, nn.Module],
        rivals: dict[str, nn.Module] | None = None,
        draw: Callable[[], np.ndarray] | None = None,
    ):
        self.task, self.stage, self.draw = task, stage, draw
        self.row: StageTraining = task.preset.training[stage]
        self.trained, self.rivals = trained, rivals or {}
        self.folder = task.out / stage
        self.batch = task.batch_of(stage)
        self.step, self.seconds, self.interrupted = 0, 0.0, False
        self._warm_from = 0  # the step at which Adam began
        self._adam = _adam(trained, self.row.rate)
        self._rival_adam = _adam(self.rivals, self.row.discriminator_rate)
        self._average = {name: _copy(module) for name, module in trained.items()}
        self._sums, self._images, self._since = {}, 0, 0.0
        self._writer = _tensorboard(self.folder) if task.crew.leads else None
        if has_checkpoint(self.folder / CHECKPOINT):
            if not task.resume:
                raise Id2rError(
                    f"{self.folder} already holds a run.", "Add --resume to go on with it, or name another --out."
                )
            self._restore()

    @property
    def share(self) -> float:
        """How much of the run is done, 0 to 1: the further of steps and minutes."""
        steps = self.task.steps or (self.row.steps if self.task.minutes is None else None)
        by_steps = self.step / steps if steps else 0.0
        by_time = self.seconds / (60.0 * self.task.minutes) if self.task.minutes else 0.0
        return min(1.0, max(by_steps, by_time))

    @property
    def has_adversary(self) -> bool:
        """Whether the discriminator has joined by now."""
        return self.row.adversarial_from < 1.0 and self.share >= self.row.adversarial_from

    def generator(self) -> torch.Generator:
        """Randomness of this step on the CPU; the same again when the step is repeated after a restart."""
        return torch.Generator().manual_seed(hash((self.task.seed, self.step)) % 2**63)

    @contextmanager
    def autocast(self):
        """Half precision where it was measured to pay: bfloat16 on CPU and CUDA, none on MPS."""
        with torch.autocast(self.task.device.type, torch.bfloat16, enabled=self.task.device.type != "mps"):
            yield

    def __iter__(self) -> Iterator[int]:
        saved = logged = time.monotonic()
        crew = self.task.crew
        with _stop_on_signal() as stopped:
            while True:
                is_over = stopped.is_set() or time.monotonic() > self.task.deadline
                self.seconds, is_over = crew.agree(self.seconds, float(is_over))
                if self.share >= 1.0 or is_over:
                    break
                began = time.monotonic()
                torch.manual_seed(hash((self.task.seed, self.step)) % 2**63)
                self._set_rates()
                yield self.step
                self.step += 1
                now = time.monotonic()
                self.seconds += now - began
                self._since += now - began
                self._images += self.batch
                if now - logged > LOG_EVERY:
                    self._log()
                    logged = now
                if now - saved > CHECKPOINT_EVERY:
                    self.save()
                    saved = time.monotonic()
            self.interrupted = self.share < 1.0
        self._log()
        self.save()

    def descend(self, loss: torch.Tensor) -> None:
        """One step of the trained modules and of their moving averages."""
        self._descend(self._adam, loss, self.trained)
        decay = min(self.row.ema, (1.0 + self.step) / (10.0 + self.step))
        for name, module in self.trained.items():
            _average_into(self._average[name], module, decay)

    def descend_rival(self, loss: torch.Tensor) -> None:
        """One step of the discriminators."""
        self._descend(self._rival_adam, loss, self.rivals)

    def _descend(self, adam: torch.optim.Adam, loss: torch.Tensor, modules: dict[str, nn.Module]) -> None:
        """A single overflow must not end a night of training, but the log says what share of the steps it cost."""
        adam.zero_grad(set_to_none=True)
        loss.backward()
        self.task.crew.average_gradients(list(modules.values()))
        norm = nn.utils.clip_grad_norm_([p for module in modules.values() for p in module.parameters()], GRADIENT_NORM)
        is_finite = bool(torch.isfinite(norm))
        if is_finite:
            adam.step()
        self.note(overflowed=float(not is_finite))

    def note(self, **values: float | torch.Tensor) -> None:
        """Remember figures of this step; their means go to the log."""
        for name, value in values.items():
            total, count = self._sums.get(name, (0.0, 0))
            # Tensors are summed where they lie, so that nothing waits for a GPU.
            value = value.detach() if isinstance(value, torch.Tensor) else value
            self._sums[name] = (total + value, count + 1)

    @contextmanager
    def averaged(self):
        """Inside, the trained modules hold their moving averages."""
        own = {name: _copy(module) for name, module in self.trained.items()}
        self._load(self._average)
        try:
            yield
        finally:
            self._load(own)

    def save(self) -> None:
        """Checkpoint and sample sheet. What the curve follows from is kept exactly; the averages, which only later
        stages and packs read, in half precision."""
        if not self.task.crew.leads:
            return
        tensors = {}
        for name, module in (self.trained | self.rivals).items():
            tensors |= with_prefix(f"now/{name}", module.state_dict())
        for name, average in self._average.items():
            tensors |= with_prefix(f"average/{name}", halved(average))
        tensors |= with_prefix("adam", _adam_tensors(self._adam))
        tensors |= with_prefix("rival", _adam_tensors(self._rival_adam))
        state = {"stage": self.stage, "preset": self.task.preset.name, "seed": self.task.seed}
        state |= {"step": self.step, "seconds": self.seconds, "adam_steps": _adam_steps(self._adam)}
        state |= {"rival_steps": _adam_steps(self._rival_adam), "warm_from": self._warm_from}
        state |= {"finished": self.share >= 1.0, "batch": self.batch, "device": device_name(self.task.device)}
        save_checkpoint(self.folder / CHECKPOINT, tensors, state)
        if self.draw is not None:
            with self.averaged(), torch.no_grad():
                save_sheet(self.folder / "sheets" / f"{self.step:06d}.jpg", self.draw())

    def _restore(self) -> None:
        """Where a carried run brought the averages alone (`carry`), they are what is trained on, with a new warm-up; what
        it did not bring starts anew."""
        tensors, state = load_checkpoint(self.folder / CHECKPOINT)
        if state["preset"] != self.task.preset.name:
            raise Id2rError(f"{self.folder} was trained with the preset '{state['preset']}'.", "Use that --preset.")
        self.step, self.seconds = state["step"], state["seconds"]
        for name, average in self._average.items():
            stored = without_prefix(f"average/{name}", tensors)
            for key in average if stored or not state.get("carried") else ():
                average[key].copy_(stored[key])
        if state.get("carried"):
            self._load(self._average)
            self._warm_from = self.step
            return
        for name, module in (self.trained | self.rivals).items():
            module.load_state_dict(without_prefix(f"now/{name}", tensors))
        _restore_adam(self._adam, without_prefix("adam", tensors), state["adam_steps"])
        _restore_adam(self._rival_adam, without_prefix("rival", tensors), state["rival_steps"])
        self._warm_from = state.get("warm_from", 0)

    def _load(self, tensors: dict[str, dict[str, torch.Tensor]]) -> None:
        for name, module in self.trained.items():
            module.load_state_dict(tensors[name])

    def _set_rates(self) -> None:
        warm = min(1.0, (self.step - self._warm_from + 1) / max(1, self.row.warmup))
        fall = 0.5 + 0.5 * math.cos(math.pi * self.share)
        for group in self._adam.param_groups if self._adam else ():
            group["lr"] = warm * (self.row.final_rate + (self.row.rate - self.row.final_rate) * fall)

    def _log(self) -> None:
        if not self._images or not self.task.crew.leads:
            return
        means = {name: float(total) / count for name, (total, count) in self._sums.items()}
        speed = self._images / max(self._since, 1e-9)
        entry = {"step": self.step, "minutes": round(self.seconds / 60.0, 2), "images_a_second": round(speed, 2)}
        entry |= {name: float(f"{value:.4g}") for name, value in means.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        for name, value in means.items() if self._writer else ():
            self._writer.add_scalar(f"{self.stage}/{name}", value, self.step)
        self.task.report(f"{self.stage}: " + ", ".join(f"{name} {value}" for name, value in entry.items()))
        self._sums, self._images, self._since = {}, 0, 0.0


def is_finished(task: Task, stage: str) -> bool:
    """Whether the run folder holds a stage that came to its end."""
    path = task.out / stage / CHECKPOINT
    return has_checkpoint(path) and load_state(path).get("finished", False)


def load_trained(task: Task, stage: str, modules: dict[str, nn.Module]) -> None:
    """Fill modules with the averaged weights that an earlier stage of the run left, and freeze them."""
    tensors, _ = load_checkpoint(task.out / stage / CHECKPOINT, prefix="average/")
    for name, module in modules.items():
        module.load_state_dict(without_prefix(f"average/{name}", tensors))
        to_device(module, task.device).eval().requires_grad_(False)


def save_sheet(path: Path, image: np.ndarray) -> None:
    """uint8 RGB [H, W, 3] -> a JPEG."""
    with whole_file(path) as partial:
        write_image(partial, image, [cv2.IMWRITE_JPEG_QUALITY, 90])


def tile(rows: list[torch.Tensor], most: int = SHEET_SIDE) -> np.ndarray:
    """Each row [N, 3, H, W] in [-1, 1] -> one uint8 RGB picture of all rows; images wider than `most` are reduced."""
    rows = [row.float().cpu() for row in rows]
    rows = [F.interpolate(row, size=(most, most), mode="area") if row.shape[-1] > most else row for row in rows]
    lines = [torch.cat(list(row), dim=2) for row in rows]  # each [3, H, N * W]
    picture = torch.cat(lines, dim=1).clamp(-1.0, 1.0) * 127.5 + 127.5
    return picture.round().byte().permute(1, 2, 0).numpy()


def to_device(module: nn.Module, device: torch.device) -> nn.Module:
    """On CUDA in channels-last order; on the CPU that was measured slower."""
    return module.to(device, memory_format=torch.channels_last) if device.type == "cuda" else module.to(device)


def _adam(modules: dict[str, nn.Module], rate: float) -> torch.optim.Adam | None:
    parameters = [p for module in modules.values() for p in module.parameters()]
    return torch.optim.Adam(parameters, rate, betas=(0.9, 0.99)) if parameters else None


def _copy(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


@torch.no_grad()
def _average_into(average: dict[str, torch.Tensor], module: nn.Module, decay: float) -> None:
    now = module.state_dict()
    moving = [name for name, tensor in now.items() if tensor.is_floating_point()]
    torch._foreach_lerp_([average[name] for name in moving], [now[name] for name in moving], 1.0 - decay)
    for name in now.keys() - set(moving):
        average[name].copy_(now[name])


def _adam_tensors(adam: torch.optim.Adam | None) -> dict[str, torch.Tensor]:
    if adam is None:
        return {}
    state = adam.state_dict()["state"]
    return {f"{index}/{key}": entry[key] for index, entry in state.items() for key in ("exp_avg", "exp_avg_sq")}


def _adam_steps(adam: torch.optim.Adam | None) -> dict[str, float]:
    return {str(index): float(e["step"]) for index, e in adam.state_dict()["state"].items()} if adam else {}


def _restore_adam(adam: torch.optim.Adam | None, tensors: dict[str, torch.Tensor], steps: dict[str, float]) -> None:
    if adam is None:
        return
    entries = {int(i): without_prefix(i, tensors) | {"step": torch.tensor(steps[i])} for i in steps}
    adam.load_state_dict({"state": entries, "param_groups": adam.state_dict()["param_groups"]})


@contextmanager
def _stop_on_signal():
    """Ctrl-C or an end request lets the step finish and the state be saved. Not outside the main thread."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    kept = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _tensorboard(folder: Path):
    """A TensorBoard writer, or None where that package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
