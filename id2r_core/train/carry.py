"""A run as a few small files, to be brought home from a borrowed machine and gone on with on another; or out of a pack.

`collect_run` keeps what later stages and packs read: the averaged weights in half precision, states, logs and the last
sample sheets. What it leaves out (current weights, Adam's moments, discriminators) makes a resumed run exact; without
it a stage goes on from its averages with a new warm-up.
"""

import io
import json
import zipfile
from pathlib import Path

from ..configs import EXTRA_STAGES, TRAIN_STAGES
from ..errors import Id2rError
from ..files import fresh_folder, whole_file
from ..packs import load_pack
from .checkpoint import halved, has_checkpoint, load_checkpoint, save_checkpoint, with_prefix, without_prefix
from .loop import CHECKPOINT

PAPERS = "run.zip"
WEIGHTS = "weights.safetensors"
NEEDS_NO_MORE = {"codebook": "domains"}  # a stage's weights are left out when the other has begun from them
# Which stage leaves the final weights of each net; those of the identity encoder's tone branch `tone`, if it has run.
STAGE_OF = {
    "identity": "identity",
    "encoder": "domains",
    "decoder": "domains",
    "codebooks": "domains",
    "fusion": "fusion",
    "swapper": "swapper",
    "translator": "translate",
}


def collect_run(run: Path, folder: Path | None) -> list[Path]:
    """Write the run into `folder`; returns the files. Raises Id2rError when there is nothing to collect."""
    if folder is None:
        raise Id2rError("`train collect` needs a folder to write to.", "Name it with --to.")
    stages = [stage for stage in (*TRAIN_STAGES, *EXTRA_STAGES) if has_checkpoint(run / stage / CHECKPOINT)]
    if not stages:
        raise Id2rError(f"There is no training run in {run}.", "Name the --out of a training command.")
    folder.mkdir(parents=True, exist_ok=True)
    tensors, states = {}, {}
    for stage in stages:
        prefix = "" if stage == "templates" else "average/"
        kept, states[stage] = load_checkpoint(run / stage / CHECKPOINT, prefix)
        if NEEDS_NO_MORE.get(stage) not in stages:
            tensors |= with_prefix(stage, kept if stage == "templates" else halved(kept))
    save_checkpoint(folder / WEIGHTS, tensors, states)
    with whole_file(folder / PAPERS) as partial:
        partial.write_bytes(_papers(run, stages))
    return sorted(folder.iterdir())


def restore_run(folder: Path | None, run: Path) -> int:
    """Lay a collected run out again as a run folder. Raises Id2rError when one is there already, or nothing to restore."""
    if folder is None:
        raise Id2rError("`train restore` needs the folder of a collected run.", "Name it with --to.")
    tensors, states = load_checkpoint(folder / WEIGHTS)
    if run.exists():
        raise Id2rError(f"{run} is there already.", "Name another --out.")
    with fresh_folder(run) as partial:
        for stage, state in states.items():
            state = state if stage == "templates" else state | {"carried": True}
            save_checkpoint(partial / stage / CHECKPOINT, without_prefix(stage, tensors), state)
        with zipfile.ZipFile(folder / PAPERS) as papers:
            papers.extractall(partial)
    return 0


def run_from_pack(name_or_path: str, run: Path) -> int:
    """Lay a weight pack out as a run, every stage of it finished: each can be gone on with alone, and later ones find it.

    What packs leave out starts anew: the codebook of stage 1, the classes of the identity stage, discriminators.
    Raises Id2rError when there is a run already, or no such pack.
    """
    if run.exists():
        raise Id2rError(f"{run} is there already.", "Name another --out.")
    pack = load_pack(name_or_path)
    state = {"preset": pack.preset.name, "step": 0, "seconds": 0.0, "finished": True, "carried": True}
    tensors = {stage: {} for stage in STAGE_OF.values()}
    for name, net in pack.nets.named():
        tensors[STAGE_OF[name]] |= with_prefix(f"average/{name}", net.state_dict())
    with fresh_folder(run) as partial:
        for stage, found in tensors.items():
            save_checkpoint(partial / stage / CHECKPOINT, halved(found), state)
    return 0


def _papers(run: Path, stages: list[str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as papers:
        for stage in stages:
            files = [run / stage / "log.jsonl", *sorted((run / stage / "sheets").glob("*.jpg"))[-2:]]
            for path in filter(Path.is_file, files):
                papers.write(path, path.relative_to(run))
        papers.writestr("stages.json", json.dumps(stages))
    return buffer.getvalue()
