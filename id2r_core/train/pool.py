"""The pool: a store of rendered subjects that training draws from, on disk or in the memory of the device.

Rendering a subject costs as much as several training steps, so each is kept and replayed in every stage. On a CPU the
pool lies on disk and a process beside the training goes on rendering; its folder holds `views.u8`, `photographs.u8`,
`pairs.u8`, `tone_linear.f32`, `parameters.f32` (flat arrays, entry i is subject i) and `pool.json`. On a GPU it lies in
its memory (18 MB a subject at 512 px) and is rendered there, between the training steps, within a share of their time.
"""

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..configs import Preset
from ..conventions import REFLECTANCE, VIEWS, Domain
from ..errors import Id2rError

if TYPE_CHECKING:
    from ..capture import CaptureStage
    from .loop import Task

RENDERING_SHARE = 0.15  # of the training time, until a pool in memory is full
WAIT_SECONDS = 1.0
WAIT_MOST = 900.0


@dataclass(frozen=True)
class Pool:
    """An open pool.

    views [N, 5, 3, 3, H, W] uint8: `views[i, d, v]` is the skin of subject i on the mean head, in domain d (order of
    Domain) from fixed view v.
    photographs [N, P, 3, H, W] uint8: aligned as photos are, each under its own light and pose.
    tone_linear [N, 3], parameters [N, K] float32. Only the first `count()` entries are filled.
    pairs [N, 4, 3, H, W] uint8: the reflectance that each first photograph shows, in its own view. A pool of photographs
    alone has no views.
    """

    folder: Path
    views: np.memmap | None
    photographs: np.memmap
    tone_linear: np.memmap
    parameters: np.memmap
    pairs: np.memmap

    @property
    def shots(self) -> int:
        """Photographs a subject."""
        return self.photographs.shape[1]

    def kept(self, values: torch.Tensor) -> np.ndarray:
        """Rendered values as the arrays take them."""
        return values.numpy(force=True)

    def count(self) -> int:
        """How many subjects are there by now."""
        return json.loads((self.folder / "pool.json").read_text())["count"]

    def render_on(self) -> None:
        """Nothing to do: a process beside this one renders."""

    def view_images(self, subject: torch.Tensor, domain: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
        """Index tensors [B] each -> [B, 3, H, W] float32 in [-1, 1]."""
        return _to_image(self.views[subject.numpy(), domain.numpy(), view.numpy()])

    def photograph_images(self, subject: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        """Index tensors [B] each -> [B, 3, H, W] float32 in [-1, 1]."""
        return _to_image(self.photographs[subject.numpy(), which.numpy()])

    def paired_images(self, subject: torch.Tensor) -> torch.Tensor:
        """[B] -> the reflectance that the first photograph shows, [B, 4, 3, H, W] float32 in [-1, 1]."""
        return _to_image(self.pairs[subject.numpy()])

    def tones(self, subject: torch.Tensor) -> torch.Tensor:
        """[B] -> mean linear diffuse albedo of the facial skin [B, 3]."""
        return torch.from_numpy(self.tone_linear[subject.numpy()])

    def parameter_rows(self, subject: torch.Tensor) -> torch.Tensor:
        """[B] -> the numbers that the subjects were generated from [B, K]."""
        return torch.from_numpy(self.parameters[subject.numpy()])


class MemoryPool:
    """A pool in the memory of the stage's device; the same questions as to a `Pool`, answered there.

    Index tensors may lie on the CPU or on the device; images come back on the device.
    """

    def __init__(self, preset: Preset, stage, capacity: int):
        """stage: a CaptureStage or anything with its `subjects`, `views`, `photographs` and `device`."""
        self._stage, self._chunk, self.capacity = stage, preset.pool.chunk, capacity
        self.shots = preset.pool.photographs
        size, device = preset.size, stage.device
        self.views = torch.empty(capacity, len(Domain), VIEWS, 3, size, size, dtype=torch.uint8, device=device)
        self.photographs = torch.empty(capacity, self.shots, 3, size, size, dtype=torch.uint8, device=device)
        # Of the first photograph of each subject: its reflectance in the photograph's own view.
        self.pairs = torch.empty(capacity, len(REFLECTANCE), 3, size, size, dtype=torch.uint8, device=device)
        self.tone_linear, self.parameters = torch.empty(capacity, 3, device=device), None
        self._count, self._rendering, self._began = 0, 0.0, time.monotonic()

    def kept(self, values: torch.Tensor) -> torch.Tensor:
        """Rendered values as the arrays take them: as they are."""
        return values

    def count(self) -> int:
        """How many subjects are there by now."""
        return self._count

    def fill(self, subjects: int, seconds: float = 0.0) -> None:
        """Render until that many are there, and on until that much time has passed."""
        began = time.monotonic()
        while self._count < self.capacity and (self._count < subjects or time.monotonic() - began < seconds):
            self._render_chunk()

    def render_on(self) -> None:
        """Call it once a step: renders some subjects when rendering has had less than its share of the time."""
        due = RENDERING_SHARE * (time.monotonic() - self._began)
        if self._count < self.capacity and self._rendering < due:
            self._render_chunk()

    def view_images(self, subject: torch.Tensor, domain: torch.Tensor, view: torch.Tensor) -> torch.Tensor:
        """Index tensors [B] each -> [B, 3, H, W] float32 in [-1, 1]."""
        device = self.views.device
        return self.views[subject.to(device), domain.to(device), view.to(device)].float() / 127.5 - 1.0

    def photograph_images(self, subject: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        """Index tensors [B] each -> [B, 3, H, W] float32 in [-1, 1]."""
        device = self.views.device
        return self.photographs[subject.to(device), which.to(device)].float() / 127.5 - 1.0

    def paired_images(self, subject: torch.Tensor) -> torch.Tensor:
        """[B] -> the reflectance that the first photograph shows, [B, 4, 3, H, W] float32 in [-1, 1]."""
        return self.pairs[subject.to(self.pairs.device)].float() / 127.5 - 1.0

    def tones(self, subject: torch.Tensor) -> torch.Tensor:
        """[B] -> mean linear diffuse albedo of the facial skin [B, 3]."""
        return self.tone_linear[subject.to(self.tone_linear.device)]

    def parameter_rows(self, subject: torch.Tensor) -> torch.Tensor:
        """[B] -> the numbers that the subjects were generated from [B, K]."""
        return self.parameters[subject.to(self.tone_linear.device)]

    def _render_chunk(self) -> None:
        began = time.monotonic()
        subjects = self._stage.subjects(range(self._count, min(self.capacity, self._count + self._chunk)))
        rows = slice(self._count, self._count + len(subjects.tone_linear))
        if self.parameters is None:
            self.parameters = self.tone_linear.new_empty(self.capacity, _parameters(subjects).shape[1])
        _render_into(self, rows, self._stage, subjects)
        self._count = rows.stop
        self._rendering += time.monotonic() - began


def pool_folder(out: Path, split: str) -> Path:
    return Path(out) / f"pool_{split}"


def open_stage(
    data: Path, preset: Preset, device: torch.device, seed: int, split: str, captures: Path | None = None
) -> "CaptureStage":
    """The virtual capture stage. Imported here so that the rest of training runs without it, on a full pool.

    captures: a folder of imported captures whose skins join in; a bundle brings its own.
    """
    from ..capture import CaptureStage
    from ..capture.bundle import CAPTURES, HEAD
    from ..head.model import load_head

    head = load_head(data / HEAD) if (data / HEAD).is_file() else None
    captures = captures or (data / CAPTURES if (data / CAPTURES).is_dir() else None)
    return CaptureStage(data, preset.size, device, seed, split, head, sides=preset.sides, captures=captures)


def open_pool(folder: Path) -> Pool:
    """Raises Id2rError when there is none."""
    path = folder / "pool.json"
    if not path.is_file():
        raise Id2rError(f"There is no pool of rendered subjects in {folder}.", "Run `train pool` first.")
    shape = json.loads(path.read_text())
    capacity, size = shape["capacity"], shape["size"]

    def array(name: str, dtype: type, *rest: int) -> np.memmap:
        return np.memmap(folder / name, dtype, mode="r+", shape=(capacity, *rest))

    return Pool(
        folder,
        array("views.u8", np.uint8, len(Domain), VIEWS, 3, size, size) if (folder / "views.u8").is_file() else None,
        array("photographs.u8", np.uint8, shape["photographs"], 3, size, size),
        array("tone_linear.f32", np.float32, 3),
        array("parameters.f32", np.float32, shape["parameters"]),
        array("pairs.u8", np.uint8, len(REFLECTANCE), 3, size, size),
    )


def fill_pool(
    folder: Path,
    preset: Preset,
    stage,
    capacity: int,
    until: Callable[[int], bool] | None = None,
    with_views: bool = True,
) -> None:
    """Render subjects into the pool until it is full or until(count) says so. One process at a time; others wait.

    stage: a CaptureStage or anything with its `subjects`, `views` and `photographs`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _only_filler(folder):
        while True:
            count = _count(folder)
            if count >= capacity or (until is not None and until(count)):
                return
            subjects = stage.subjects(range(count, min(capacity, count + preset.pool.chunk)))
            rows = len(subjects.tone_linear)
            if count == 0:
                _create(folder, preset, capacity, _parameters(subjects).shape[1], with_views)
            _render_into(open_pool(folder), slice(count, count + rows), stage, subjects)
            _write_shape(folder, _shape(folder) | {"count": count + rows})


def _render_into(pool: Pool | MemoryPool, rows: slice, stage, subjects) -> None:
    """Render subjects and keep them as the entries `rows`."""
    if pool.views is not None:
        views = stage.views(subjects, on_mean_head=True)
        for index, domain in enumerate(Domain):
            pool.views[rows, index] = pool.kept(_to_uint8(views[domain]))
    for shot in range(pool.shots):
        taken = stage.photographs(subjects, take=shot + 1)
        pool.photographs[rows, shot] = pool.kept(_to_uint8(taken.srgb))
        if shot == 0:
            reflectance = torch.stack([taken.reflectance[domain] for domain in REFLECTANCE], 1)
            pool.pairs[rows] = pool.kept(_to_uint8(reflectance))
    pool.tone_linear[rows] = pool.kept(subjects.tone_linear)
    pool.parameters[rows] = pool.kept(_parameters(subjects))


@contextmanager
def growing_pool(task: "Task", photographs_alone: bool = False) -> Iterator[Pool | MemoryPool]:
    """The training pool, which goes on growing until it is full; waits for the first subjects.

    photographs_alone: another pool on disk, of many more subjects without their views; in memory there is one for all.
    Processes that train as one draw from the number of subjects, so they wait for all of them.
    """
    preset = task.preset
    capacity = preset.pool.photographed if photographs_alone else preset.pool.subjects
    start = preset.pool.start if task.crew.size == 1 else capacity
    if task.in_memory:
        yield _memory_pool(task, "train", preset.pool.subjects, min(start, preset.pool.subjects))
        return
    folder, filler = pool_folder(task.out, "photographs" if photographs_alone else "train"), None
    if _count(folder) < capacity and task.crew.leads:
        spawn = multiprocessing.get_context("spawn")
        where = (task.data, task.seed, str(task.device), task.captures)
        arguments = (folder, preset, where, capacity, not photographs_alone)
        filler = spawn.Process(target=_fill_beside, args=arguments, daemon=True)
        filler.start()
    try:
        _wait_for(folder, start, filler)
        yield open_pool(folder)
    finally:
        if filler is not None:
            filler.terminate()
            filler.join()


def validation_pool(task: "Task") -> Pool | MemoryPool:
    """The pool of held-out subjects, rendered now where it is not there yet."""
    preset, folder = task.preset, pool_folder(task.out, "validation")
    count = preset.pool.validation_subjects
    if task.in_memory:
        return _memory_pool(task, "validation", count, count)
    if _count(folder) < count:
        stage = open_stage(task.data, preset, task.device, task.seed, "validation", task.captures)
        fill_pool(folder, preset, stage, count)
    return open_pool(folder)


def _memory_pool(task: "Task", split: str, capacity: int, start: int) -> MemoryPool:
    if split not in task.pools:
        began = time.monotonic()
        stage = open_stage(task.data, task.preset, task.device, task.seed, split, task.captures)
        task.pools[split] = MemoryPool(task.preset, stage, capacity)
        task.pools[split].fill(start, task.preset.pool.fill_seconds if start < capacity else 0.0)
        task.report(f"pool: {task.pools[split].count()} {split} subjects after {time.monotonic() - began:.0f} s")
    return task.pools[split]


def _fill_beside(folder: Path, preset: Preset, where: tuple, capacity: int, with_views: bool) -> None:
    torch.set_num_threads(1)
    data, seed, device, captures = where
    stage = open_stage(data, preset, torch.device(device), seed, "train", captures)
    fill_pool(folder, preset, stage, capacity, with_views=with_views)


def _wait_for(folder: Path, subjects: int, filler) -> None:
    began = time.monotonic()
    while _count(folder) < subjects:
        if filler is not None and not filler.is_alive() and _count(folder) < subjects:
            raise Id2rError("Rendering the training subjects stopped early.", "Its message stands above this line.")
        if time.monotonic() - began > WAIT_MOST:
            raise Id2rError(f"Only {_count(folder)} subjects were rendered in 15 minutes.", "Run `train pool` before.")
        time.sleep(WAIT_SECONDS)


def _create(folder: Path, preset: Preset, capacity: int, parameters: int, with_views: bool) -> None:
    shape = {"capacity": capacity, "size": preset.size, "photographs": preset.pool.photographs}
    pixels = 3 * preset.size**2
    sizes = {
        "views.u8": len(Domain) * VIEWS * pixels,
        "photographs.u8": preset.pool.photographs * pixels,
        "tone_linear.f32": 3 * 4,
        "parameters.f32": parameters * 4,
        "pairs.u8": len(REFLECTANCE) * pixels,
    }
    if not with_views:
        del sizes["views.u8"]
    for name, size in sizes.items():
        with open(folder / name, "wb") as file:
            file.truncate(capacity * size)  # sparse: it takes room on disk only as it fills
    _write_shape(folder, shape | {"parameters": parameters, "count": 0})


def _shape(folder: Path) -> dict:
    return json.loads((folder / "pool.json").read_text())


def _write_shape(folder: Path, shape: dict) -> None:
    partial = folder / "pool.json.partial"
    partial.write_text(json.dumps(shape))
    os.replace(partial, folder / "pool.json")


def _count(folder: Path) -> int:
    return _shape(folder)["count"] if (folder / "pool.json").is_file() else 0


@contextmanager
def _only_filler(folder: Path) -> Iterator[None]:
    """Wait for the pool's lock and hold it; the system frees it when this process ends."""
    import fcntl  # here, because only a pool on disk needs a Unix system

    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _parameters(subjects) -> torch.Tensor:
    """[S, K] all numbers that subjects were generated from: shape coefficients, then those of skin and colours."""
    return torch.cat((subjects.identity, subjects.params), 1)


def _to_uint8(image: torch.Tensor) -> torch.Tensor:
    return (image.clamp(0.0, 1.0) * 255.0 + 0.5).to(torch.uint8)


def _to_image(stored: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(stored)).float() / 127.5 - 1.0
