"""`python -m id2r_core train STAGE`: the stages of a run, one after another or one alone."""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ..configs import PRESETS, TRAIN_STAGES, get_preset
from ..device import choose_device
from ..errors import Id2rError
from .codebook import train_codebook, train_domains
from .fusion import train_fusion
from .identity import train_identity
from .loop import Loop, Task
from .pool import fill_pool, open_stage, pool_folder, validation_pool
from .swapper import train_swapper
from .templates import make_templates

EXIT_INTERRUPTED = 130

STAGES: dict[str, Callable[[Task], Loop | None]] = {
    "identity": train_identity,
    "codebook": train_codebook,
    "domains": train_domains,
    "fusion": train_fusion,
    "swapper": train_swapper,
    "templates": make_templates,
}


def main(arguments: Sequence[str]) -> int:
    """Run one training command; returns the exit code (130 when it was interrupted; the state is saved then)."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    task = Task(
        preset=get_preset(options.preset),
        data=_existing(options.data),
        out=options.out,
        minutes=options.minutes,
        steps=options.steps,
        device=choose_device(options.device),
        seed=options.seed,
        resume=options.resume,
        report=lambda line: print(line, flush=True),
    )
    if options.stage == "pool":
        return _render_pool(task)
    if options.stage == "all":
        return _train_all(task)
    loop = run_stage(options.stage, task)
    return EXIT_INTERRUPTED if loop is not None and loop.interrupted else 0


def run_stage(stage: str, task: Task) -> Loop | None:
    """One stage, from initial weights that the seed decides; None for the stage that learns nothing."""
    torch.manual_seed(task.seed)
    return STAGES[stage](task)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m id2r_core train", description="Train a weight pack, stage by stage; Ctrl-C saves and ends."
    )
    parser.add_argument("stage", choices=("pool", *TRAIN_STAGES, "all"), help="pool: only render subjects")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="tiny")
    parser.add_argument("--data", type=Path, required=True, help="folder of the training data")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN_DIR", help="folder of the run")
    parser.add_argument("--minutes", type=float, help="end after so many minutes (`all`: divided among the stages)")
    parser.add_argument("--steps", type=int, help="end after so many steps")
    parser.add_argument("--resume", action="store_true", help="go on with what the run folder holds")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    return parser


def _train_all(task: Task) -> int:
    """Every stage in order, with its share of the minutes; when resuming, a finished stage only loads and ends."""
    for stage in STAGES:
        share = task.preset.training[stage].minutes_share
        part = replace(task, minutes=task.minutes * share if task.minutes else None)
        loop = run_stage(stage, part)
        if loop is not None and loop.interrupted:
            return EXIT_INTERRUPTED
    return 0


def _render_pool(task: Task) -> int:
    """Render held-out subjects, then training subjects until the pool is full or the minutes are over."""
    validation_pool(task.preset, task.data, task.out, task.seed, task.device)
    began = time.monotonic()

    def is_over(count: int) -> bool:
        seconds = time.monotonic() - began
        task.report(f"pool: {count} of {task.preset.pool.subjects} subjects after {seconds:.0f} s")
        return task.minutes is not None and seconds > 60.0 * task.minutes

    stage = open_stage(task.data, task.preset.size, task.device, task.seed, "train")
    fill_pool(pool_folder(task.out, "train"), task.preset, stage, task.preset.pool.subjects, is_over)
    return 0


def _existing(data: Path) -> Path:
    if not data.is_dir():
        raise Id2rError(f"There is no training data in {data}.", "Name its folder with --data.")
    return data
