"""`python -m id2r_core train STAGE`: the stages of a run, one after another or one alone."""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch._functorch.config

from ..capture.bundle import open_data
from ..configs import EXTRA_STAGES, PRESETS, TRAIN_STAGES, Preset, get_preset
from ..device import choose_device
from ..nets.onnx_identity import identity_path
from .carry import collect_run, restore_run, run_from_pack
from .codebook import train_codebook, train_domains
from .fusion import train_fusion
from .identity import train_identity
from .loop import Loop, Task, is_finished
from .parallel import join_crew, own_device
from .plan import describe_plan
from .pool import fill_pool, open_stage, pool_folder, validation_pool
from .portraits import prepare_portraits
from .swapper import train_swapper
from .templates import make_templates
from .tone import train_tone
from .translate import train_translate

EXIT_INTERRUPTED = 130

STAGES: dict[str, Callable[[Task], Loop | None]] = {
    "identity": train_identity,
    "codebook": train_codebook,
    "domains": train_domains,
    "fusion": train_fusion,
    "swapper": train_swapper,
    "translate": train_translate,
    "templates": make_templates,
}
EXTRA: dict[str, Callable[[Task], Loop]] = {"tone": train_tone}


def main(arguments: Sequence[str]) -> int:
    """Run one training command; returns the exit code (130 when it was interrupted; the state is saved then)."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    task = _task(options)
    if options.stage == "collect":
        task.report("\n".join(str(path) for path in collect_run(task.out, options.to)))
        return 0
    if options.stage == "restore":
        return run_from_pack(options.pack, task.out) if options.pack else restore_run(options.to, task.out)
    if options.dry_run:
        task.report(describe_plan(task, tuple(STAGES) if options.stage == "all" else (options.stage,)))
        return 0
    task = replace(task, data=open_data(options.data, options.out))
    if options.stage == "pool":
        return _render_pool(task)
    if task.crew.leads:
        prepare_portraits(task.preset, task.data, task.out, task.report)
    task.crew.wait()
    if options.stage == "all":
        return _train_all(task, stop_is_failure=options.stop_after is None)
    loop = run_stage(options.stage, task)
    return EXIT_INTERRUPTED if loop is not None and loop.interrupted and options.stop_after is None else 0


def run_stage(stage: str, task: Task) -> Loop | None:
    """One stage, from initial weights that the seed decides; None for the stage that learns nothing."""
    torch.manual_seed(task.seed)
    return (STAGES | EXTRA)[stage](task)


def _task(options: argparse.Namespace) -> Task:
    device = own_device(choose_device(options.device))
    crew = join_crew(device)
    if options.compile:
        # VQGAN's adaptive weight goes through the graph twice, which compiled graphs allow only so.
        torch._functorch.config.donated_buffer = False
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # images of one size: the best algorithm is worth looking for
        torch.set_float32_matmul_precision("high")
    in_memory = device.type != "cpu" if options.pool == "auto" else options.pool == "memory"
    return Task(
        preset=_preset(options),
        data=options.data,
        out=options.out,
        minutes=options.minutes,
        steps=options.steps,
        device=device,
        seed=options.seed,
        resume=options.resume,
        batch=options.batch,
        in_memory=in_memory,
        deadline=time.monotonic() + 60.0 * options.stop_after if options.stop_after else float("inf"),
        captures=options.captures,
        identity=identity_path(options.identity),
        compile=options.compile,
        crew=crew,
        report=(lambda line: print(line, flush=True)) if crew.leads else lambda line: None,
    )


def _preset(options: argparse.Namespace) -> Preset:
    """The preset, with as many training subjects as were asked for."""
    preset = get_preset(options.preset)
    if options.subjects is None:
        return preset
    pool = replace(preset.pool, subjects=options.subjects, start=min(preset.pool.start, options.subjects))
    return replace(preset, pool=pool)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m id2r_core train", description="Train a weight pack, stage by stage; Ctrl-C saves and ends."
    )
    stages = ("pool", *TRAIN_STAGES, "all", *EXTRA_STAGES, "collect", "restore")
    parser.add_argument(
        "stage", choices=stages, help="pool: only render subjects; collect, restore: a run as a few small files"
    )
    parser.add_argument("--preset", choices=tuple(PRESETS), default="tiny")
    parser.add_argument("--data", type=Path, default=Path("."), help="folder of the training data, or a bundle")
    parser.add_argument("--captures", type=Path, help="imported captures whose skins join in (a bundle brings its own)")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN_DIR", help="folder of the run")
    parser.add_argument("--to", type=Path, metavar="DIR", help="collect: where to; restore: where from")
    parser.add_argument("--pack", metavar="NAME", help="restore: from this weight pack instead of a collected run")
    parser.add_argument("--minutes", type=float, help="end after so many minutes (`all`: divided among the stages)")
    parser.add_argument("--steps", type=int, help="end after so many steps")
    parser.add_argument(
        "--stop-after", type=float, metavar="MINUTES", help="save and end this command then; --resume goes on"
    )
    parser.add_argument("--resume", action="store_true", help="go on with what the run folder holds")
    parser.add_argument("--dry-run", action="store_true", help="print sizes, memory and estimated time, train nothing")
    parser.add_argument("--batch", type=int, help="images a step (default: the preset's for the device)")
    parser.add_argument("--subjects", type=int, help="virtual subjects to train on (default: the preset's)")
    parser.add_argument(
        "--pool", choices=("auto", "disk", "memory"), default="auto", help="where rendered subjects are kept"
    )
    parser.add_argument(
        "--compile", nargs="?", const="inductor", metavar="BACKEND", help="compile networks first; pays in long runs"
    )
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--identity", metavar="insightface:PATH", help="train for the vectors of this ArcFace model in ONNX"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    return parser


def _train_all(task: Task, stop_is_failure: bool) -> int:
    """Every stage in order, with its share of the minutes; when resuming, finished stages are passed over."""
    for stage in STAGES:
        if task.resume and is_finished(task, stage):
            task.report(f"{stage}: finished already")
            continue
        share = task.preset.training[stage].minutes_share
        part = replace(task, minutes=task.minutes * share if task.minutes else None)
        loop = run_stage(stage, part)
        if loop is not None and loop.interrupted:
            task.report(f"{stage}: stopped after {loop.seconds / 60:.1f} minutes; go on with --resume")
            return EXIT_INTERRUPTED if stop_is_failure else 0
    return 0


def _render_pool(task: Task) -> int:
    """Render held-out subjects, then training subjects until the pool is full or the minutes are over."""
    validation_pool(task)
    began = time.monotonic()

    def is_over(count: int) -> bool:
        seconds = time.monotonic() - began
        task.report(f"pool: {count} of {task.preset.pool.subjects} subjects after {seconds:.0f} s")
        return task.minutes is not None and seconds > 60.0 * task.minutes

    stage = open_stage(task.data, task.preset, task.device, task.seed, "train", task.captures)
    fill_pool(pool_folder(task.out, "train"), task.preset, stage, task.preset.pool.subjects, is_over)
    return 0
