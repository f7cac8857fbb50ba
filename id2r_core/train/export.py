"""A finished run becomes a weight pack, with a model card that states how it was made and how well it does."""

import json
from pathlib import Path

import torch

from ..configs import TRAIN_STAGES, get_preset
from ..conventions import REFLECTANCE, Domain
from ..nets import Nets, build_nets
from ..packs import save_pack
from .checkpoint import load_checkpoint
from .codebook import code_usage
from .figures import identity_figures, portrait_figures, reconstruction_figures, swap_figures
from .loop import CHECKPOINT, Task, load_trained
from .pool import open_pool, pool_folder
from .portraits import load_portraits
from .templates import load_templates

# Which stage leaves the final weights of each net.
STAGE_OF = {
    "identity": "identity",
    "encoder": "domains",
    "decoder": "domains",
    "codebooks": "domains",
    "fusion": "fusion",
    "swapper": "swapper",
}


def export_pack(run_dir: Path, preset_name: str, folder: Path) -> None:
    """Gather the nets and templates of a run, measure them on held-out subjects, and write the pack."""
    task = Task(get_preset(preset_name), data=Path(), out=Path(run_dir))
    nets = load_nets(task)
    templates = load_templates(task)
    pool = open_pool(pool_folder(task.out, "validation"))
    cpu = torch.device("cpu")
    figures = {
        "identity": identity_figures(nets, pool, cpu)
        | portrait_figures(nets, load_portraits(task.out, task.preset.size).split("test"), cpu),
        "reconstruction": reconstruction_figures(nets, pool, cpu),
        "swap": swap_figures(nets, templates, pool, cpu),
    }
    save_pack(folder, folder.name, task.preset, nets, templates, _card(task, len(templates.names), figures))


def load_nets(task: Task) -> Nets:
    """All networks as their stages left them, with averaged weights."""
    nets = build_nets(task.preset)
    for name, net in nets.named():
        load_trained(task, STAGE_OF[name], {name: net})
    return nets


def _card(task: Task, templates: int, figures: dict) -> str:
    text = (Path(__file__).parent / "card.md").read_text(encoding="utf-8")
    return text.format(
        preset=task.preset.name,
        size=task.preset.size,
        templates=templates,
        subjects=_pool_count(task, "train"),
        held_out=_pool_count(task, "validation"),
        portraits=len(load_portraits(task.out, task.preset.size).split("train")),
        photographs=figures["identity"].pop("photographs"),
        stages="\n".join(_stage_row(task, stage) for stage in TRAIN_STAGES[:-1]),
        identity="\n".join(f"| {name} | {value:.3f} |" for name, value in figures["identity"].items()),
        reconstruction="\n".join(_reconstruction_row(task, domain, figures) for domain in Domain),
        swap="\n".join(_swap_row(domain, figures["swap"][domain]) for domain in REFLECTANCE),
    )


def _pool_count(task: Task, split: str) -> int:
    return open_pool(pool_folder(task.out, split)).count()


def _stage_row(task: Task, stage: str) -> str:
    _, state = load_checkpoint(task.out / stage / CHECKPOINT)
    lines = (task.out / stage / "log.jsonl").read_text().splitlines()
    speed = sum(json.loads(line)["images_a_second"] for line in lines) / len(lines)
    return f"| {stage} | {state['seconds'] / 60:.1f} | {state['step']} | {speed:.1f} |"


def _reconstruction_row(task: Task, domain: Domain, figures: dict) -> str:
    row = figures["reconstruction"][domain]
    usage = next(v for k, v in code_usage(task, "domains").items() if f".{domain.value}." in k)
    return f"| {domain.value} | {row['psnr']:.2f} | {row['psnr_fused']:.2f} | {row['colour_error']:.1f} | {usage:.0%} |"


def _swap_row(domain: Domain, row: dict[str, float]) -> str:
    return f"| {domain.value} | {row['closest']:.2f} | {row['fixed']:.2f} | {row['colour_error']:.1f} |"
