"""A finished run becomes a weight pack, with a model card that states how it was made and how well it does."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from ..capture.bundle import open_data
from ..configs import EXTRA_STAGES, TRAIN_STAGES, get_preset
from ..conventions import REFLECTANCE, Domain
from ..errors import Id2rError
from ..nets import Nets, build_nets
from ..packs import save_pack
from .carry import STAGE_OF
from .checkpoint import load_state
from .codebook import code_usage
from .figures import identity_figures, portrait_figures, reconstruction_figures, swap_figures, translation_figures
from .identity import identity_name, load_tone, trained_encoder
from .loop import CHECKPOINT, CPU, Task, load_trained
from .pool import open_pool, pool_folder, validation_pool
from .portraits import load_portraits, prepare_portraits
from .templates import load_templates

WITHOUT_ADVERSARY = (
    "The adversarial loss of the paper was not used: there was no time for it to pay. Maps are therefore soft."
)
WITH_ADVERSARY = "The adversarial loss of the paper joined for a part of the run only; fine structure may be invented."


def export_pack(
    run_dir: Path,
    preset_name: str,
    folder: Path,
    data: Path | None = None,
    device: torch.device = CPU,
    identity: Path | None = None,
) -> None:
    """Gather the nets and templates of a run, measure them on held-out subjects, and write the pack.

    data: the training data or a bundle; a run on a GPU leaves no rendered subjects, so they are rendered again from it.
    """
    task = Task(get_preset(preset_name), Path(), Path(run_dir), device=device, identity=identity)
    named = _trained_for(task)
    nets, templates = load_nets(task), load_templates(task)
    shown = replace(nets, identity=trained_encoder(task))
    if data is not None:
        task = replace(task, data=open_data(data, task.out), in_memory=True)
        prepare_portraits(task.preset, task.data, task.out)
    pool = validation_pool(task)
    portraits = load_portraits(task.out, task.preset.size)
    figures = {
        "identity": identity_figures(shown, pool, device) | portrait_figures(shown, portraits.split("test"), device),
        "reconstruction": reconstruction_figures(nets, pool, device),
        "swap": swap_figures(shown, templates, pool, device),
        "translation": translation_figures(nets, pool, device),
    }
    text = _card(task, len(templates.names), pool.count(), len(portraits.split("train")), figures)
    save_pack(folder, folder.name, task.preset, nets, templates, text, named)


def _trained_for(task: Task) -> dict[str, str] | None:
    """The identity model of the run. Raises Id2rError when the one at hand is another."""
    named = load_state(task.out / "templates" / CHECKPOINT).get("identity")
    given = identity_name(task.identity)
    if named == given:
        return named
    told = lambda model: f"{model['file']} ({model['sha256'][:12]}...)" if model else "its own identity encoder"
    raise Id2rError(
        f"The run was trained for {told(named)}, not for {told(given)}.", "Give the same --identity as in training."
    )


def load_nets(task: Task) -> Nets:
    """All networks as their stages left them, with averaged weights."""
    nets = build_nets(task.preset)
    for name, net in nets.named():
        load_trained(task, STAGE_OF[name], {name: net})
    load_tone(task, nets.identity)
    return nets


def _card(task: Task, templates: int, held_out: int, portraits: int, figures: dict) -> str:
    text = (Path(__file__).parent / "card.md").read_text(encoding="utf-8")
    is_sharpened = any(row.adversarial_from < 1.0 for row in task.preset.training.values())
    return text.format(
        preset=task.preset.name,
        size=task.preset.size,
        templates=templates,
        subjects=_subjects(task),
        held_out=held_out,
        portraits=portraits,
        photographs=figures["identity"].pop("photographs"),
        stages="\n".join(_stage_row(task, stage) for stage in _stages(task)),
        identity="\n".join(f"| {name} | {value:.3f} |" for name, value in figures["identity"].items()),
        reconstruction="\n".join(_reconstruction_row(task, domain, figures) for domain in Domain),
        translation="\n".join(_translation_row(domain, row) for domain, row in figures["translation"].items()),
        swap="\n".join(_swap_row(domain, figures["swap"][domain]) for domain in REFLECTANCE),
        adversary=WITH_ADVERSARY if is_sharpened else WITHOUT_ADVERSARY,
    )


def _subjects(task: Task) -> int:
    """How many virtual subjects were trained on."""
    state = load_state(task.out / "templates" / CHECKPOINT)
    return state["subjects"] if "subjects" in state else open_pool(pool_folder(task.out, "train")).count()


def _stages(task: Task) -> list[str]:
    """Those that taught a network something in this run; one that began from a pack may have left some as they were."""
    stages = [stage for stage in (*TRAIN_STAGES, *EXTRA_STAGES) if stage != "templates"]
    return [stage for stage in stages if (task.out / stage / "log.jsonl").is_file()]


def _stage_row(task: Task, stage: str) -> str:
    state = load_state(task.out / stage / CHECKPOINT)
    lines = (task.out / stage / "log.jsonl").read_text().splitlines()
    speed = sum(json.loads(line)["images_a_second"] for line in lines) / len(lines)
    device = state.get("device", "CPU")
    return f"| {stage} | {state['seconds'] / 60:.1f} | {state['step']} | {speed:.1f} | {device} |"


def _reconstruction_row(task: Task, domain: Domain, figures: dict) -> str:
    row = figures["reconstruction"][domain]
    usage = next(v for k, v in code_usage(task, "domains").items() if f".{domain.value}." in k)
    figures = f"{row['psnr']:.2f} | {row['psnr_fused']:.2f} | {row['colour_error']:.1f} | {row['detail']:.2f}"
    return f"| {domain.value} | {figures} | {usage:.0%} |"


def _translation_row(domain: Domain, row: dict[str, float]) -> str:
    return f"| {domain.value} | {row['psnr']:.2f} | {row['colour_error']:.1f} | {row['detail']:.2f} |"


def _swap_row(domain: Domain, row: dict[str, float]) -> str:
    return f"| {domain.value} | {row['closest']:.2f} | {row['fixed']:.2f} | {row['colour_error']:.1f} | {row['detail']:.2f} |"
