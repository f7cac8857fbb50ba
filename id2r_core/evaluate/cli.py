"""`python -m id2r_core evaluate NAME ...`: measure, and write tables and figures."""

import argparse
import datetime
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import torch

from ..errors import Id2rError
from ..protocol import DEVICES
from .albedo import evaluate_albedo
from .codebooks import evaluate_codebooks
from .context import Context
from .estimate import make_estimator
from .fair import evaluate_fair
from .likeness import evaluate_likeness
from .photos import evaluate_photos
from .recognition import evaluate_recognition
from .relight import evaluate_relight
from .report import Report, save_report
from .results import write_results
from .robustness import evaluate_robustness
from .shape import evaluate_shape
from .speed import evaluate_speed
from .subjects import evaluate_subjects
from .swap import evaluate_swap
from .swapper import evaluate_swapper

EVALUATIONS: dict[str, Callable[[Context], Report]] = {
    "fair": evaluate_fair,
    "albedo": evaluate_albedo,
    "relight": evaluate_relight,
    "shape": evaluate_shape,
    "swap": evaluate_swap,
    "robustness": evaluate_robustness,
    "photos": evaluate_photos,
    "speed": evaluate_speed,
    "likeness": evaluate_likeness,
    "codebooks": evaluate_codebooks,
    "recognition": evaluate_recognition,
    "swapper": evaluate_swapper,
    "subjects": evaluate_subjects,
}
OF_NETWORKS = ("codebooks", "recognition", "swapper", "subjects")  # on training runs, not on a validation set
SIZE, QUICK_SIZE = 1024, 512
QUICK_PER_TYPE = 2
DESCRIPTION = """Measure ID2R, its parts and simple rivals.

fair        typology angle by skin type: virtual FAIR, or the real one
albedo      all maps against the truth; colour, light left in, likeness under the fitted light
relight     the maps under other environments, against the truth, by Cycles
shape       the fitted head against the true one; NoW and REALY for those who have them
swap        ID-Retrieval and pose of the swapped images
robustness  yaw, resolution, blur, JPEG, occlusion, light, expression
photos      one to five photos of a person: what more of them bring
speed       seconds and memory
likeness    rendered heads of real portraits against their photographs (needs --portraits and --judge)
codebooks, recognition, swapper
            the networks one by one on the held-out people of a training run (needs --run; --data is the training data)
subjects    the codebooks of runs on more and more subjects (--run is the folder of runs RUNS/30, RUNS/60 ...)
all         everything but these four; likeness when --portraits and --judge are given
results     docs/results.md from the committed reports

From nothing to every table; each command goes on where it was stopped:
  python -m id2r_core capture validation --data DATA --out SET     unseen virtual people, from the training data
  python -m addon.photograph SET                                   Cycles photographs them
  python -m id2r_core evaluate all --data SET --out OUT

What DIR of --data may hold:
  validation.json ...              what `capture validation` and `python -m addon.photograph` write
  {validation,test}_crop_files.txt, crops/SCENE/N.png, albedos/SCENE/N.png, and masks/SCENE/N.png or mask.png
                                   FAIR (fair). Lists and crops lie as published; where the true albedos lie is not
                                   public, so put them there, in their own uv layout
  imagepathsvalidation.txt, **/iphone_pictures/, scans/, scans_lmks_onlypp/
                                   NoW as published (shape)
  REALY_scan_region/, REALY_HIFI3D_keypoints/, metrical_scale.txt as published, and the photographs as images/ID.jpg
                                   REALY (shape)
"""


def main(arguments: Sequence[str]) -> int:
    """Run one evaluation or all of them. What is done already is read from OUT, so that a stopped run goes on.

    Of several evaluations one that fails does not stop the others; Id2rError names it in the end.
    """
    options = _parser().parse_args(arguments)
    if options.name == "results":
        print(f"Written: {write_results()}")
        return 0
    if options.out is None or (options.data is None and options.name != "likeness"):
        raise Id2rError("--data and --out are needed.", "Give the validation set and a folder for the results.")
    if options.threads:
        torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    names, failures = _names(options), {}
    with closing(Progress(len(names))) as progress:
        context = _context(options, progress)
        for name in names:
            progress.next(name)
            started = time.monotonic()
            try:
                report = EVALUATIONS[name](context)
            except Id2rError as error:
                if len(names) == 1:
                    raise
                failures[name] = error.message
                continue
            save_report(report, _made_with(context, arguments, name, started), options.out)
    for name in names:
        if name not in failures:
            print((options.out / f"{name}.md").read_text(encoding="utf-8"))
    if failures:
        told = "; ".join(f"{name}: {why}" for name, why in failures.items())
        raise Id2rError(
            f"{len(failures)} of {len(names)} evaluations have no result. {told}",
            "Mend that and give the same command again: what is done is not done twice.",
        )
    return 0


def _context(options: argparse.Namespace, progress: "Progress") -> Context:
    size = options.size or (QUICK_SIZE if options.quick else SIZE)
    return Context(
        make_estimator(options.pack, size, options.out, options.device, options.judge),
        options.data or Path(),
        options.out,
        progress,
        quick=options.quick,
        per_type=options.per_type or (QUICK_PER_TYPE if options.quick else None),
        hdris=tuple(filter(None, options.hdris.split(","))),
        portraits=options.portraits,
        run=options.run,
    )


class Progress:
    """A bar on standard error that starts anew with every stage: which evaluation of how many, what, and how long."""

    def __init__(self, evaluations: int):
        from tqdm import tqdm

        layout = "{desc:<26} |{bar:24}| {n_fmt}/{total_fmt} {elapsed}<{remaining}"
        self._bar = tqdm(total=0, bar_format=layout, file=sys.stderr)
        self._evaluations, self._number, self._name, self._stage = evaluations, 0, "", None

    def next(self, name: str) -> None:
        """The next evaluation begins."""
        self._number, self._name, self._stage = self._number + 1, name, None

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self._bar.reset(total)
            self._stage = stage
        self._bar.total, self._bar.n = total, done
        self._bar.set_description_str(f"{self._number}/{self._evaluations} {self._name}: {stage}")

    def close(self) -> None:
        self._bar.close()


def _names(options: argparse.Namespace) -> list[str]:
    if options.name != "all":
        return [options.name]
    left_out = OF_NETWORKS if options.portraits and options.judge else (*OF_NETWORKS, "likeness")
    return [name for name in EVALUATIONS if name not in left_out]


def _made_with(context: Context, arguments: Sequence[str], name: str, started: float) -> dict:
    """What a table hangs on besides the code; folders of this machine are named by what they are."""
    pack = context.estimator.pack
    return {
        "command": f"python -m id2r_core evaluate {' '.join(_public(arguments))}",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "pack": {"name": pack.name, "sha256": pack.sha256},
        "size": context.estimator.size,
        "code": context.estimator.code,
        "quick": context.quick,
        "judge_sha256": context.estimator.judge.sha256 if context.estimator.judge else None,
        "seconds": round(time.monotonic() - started, 1),
    }


def _public(arguments: Sequence[str]) -> list[str]:
    """The arguments with paths replaced by capitals."""
    shown, previous = [], ""
    for argument in arguments:
        if previous == "--hdris":
            shown.append(",".join(Path(each).stem for each in argument.split(",")))
        elif previous in ("--data", "--out", "--judge", "--portraits", "--run") or "/" in argument:
            shown.append(previous.lstrip("-").upper())
        else:
            shown.append(argument)
        previous = argument
    return shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m id2r_core evaluate",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=[*EVALUATIONS, "all", "results"])
    parser.add_argument("--data", type=Path, metavar="DIR", help="a validation set (or FAIR, NoW, REALY as published)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where estimates, tables and figures go")
    parser.add_argument("--pack", default="tiny", metavar="NAME|PATH", help="weight pack (default: %(default)s)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few photographs, small maps: about five minutes on two idle cores (450 seconds of work)",
    )
    parser.add_argument(
        "--per-type", type=int, metavar="N", help="photographs of each skin type (default: all; quick: 2)"
    )
    parser.add_argument("--size", type=int, metavar="N", help="side of the maps (default: 1024; quick: 512)")
    parser.add_argument("--judge", type=Path, metavar="FILE.onnx", help="a recogniser that took no part in training")
    parser.add_argument("--portraits", type=Path, metavar="DIR", help="real portraits, for likeness")
    parser.add_argument("--run", type=Path, metavar="DIR", help="a training run, for its networks")
    parser.add_argument("--hdris", default="", metavar="HDRI,HDRI,...", help="environments to relight with")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads; as many photos are estimated side by side"
    )
    return parser
