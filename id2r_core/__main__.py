"""The command line: `python -m id2r_core COMMAND ...`. The process edge of the core: the only place that prints."""

import argparse
import json
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from . import __version__
from .errors import Cancelled, Id2rError, unforeseen
from .protocol import DEVICES, MOST_MORE_PHOTOS, Request, read_text

EXIT_BAD_INPUT, EXIT_BUG, EXIT_CANCELLED = 2, 1, 130
USAGE = """usage: python -m id2r_core COMMAND ...

  reconstruct PHOTO   one photo in (--more: up to five of one person), a fitted head and its reflectance maps out
  capture ...         the virtual capture stage: `capture preview`, `import`, `validation`, `shapes`
  train ...           train a weight pack, stage by stage
  evaluate ...        measure results: `evaluate fair`, `evaluate albedo`, `evaluate all` ...
  pack ...            list, check and describe weight packs
  doctor              what is installed here, what is missing, how to mend it
  worker              serve jobs over a pipe (for the add-on)

`python -m id2r_core COMMAND --help` explains one command."""


class ProgressBar:
    """A progress callback that draws a bar on standard error, named after the stage that runs."""

    def __init__(self):
        from tqdm import tqdm

        layout = "{desc:<10} |{bar:32}| {n_fmt}/{total_fmt} {elapsed}"
        self._bar = tqdm(total=0, bar_format=layout, file=sys.stderr)

    def __call__(self, stage: str, done: int, total: int) -> None:
        self._bar.total, self._bar.n = total, done
        self._bar.set_description_str(stage)

    def close(self) -> None:
        self._bar.close()


def reconstruct(arguments: Sequence[str]) -> int:
    options = _reconstruct_parser().parse_args(arguments)
    request = Request(
        photo=options.photo,
        out=options.out or str(Path("out") / Path(options.photo).stem),
        pack=options.pack,
        resolution=options.resolution,
        device=options.device,
        template=options.template,
        keep_expression=options.keep_expression,
        refine=options.refine,
        hair=options.hair,
        pores=options.pores,
        task_file=options.landmarks,
        face=options.face,
        interactive_landmarks=read_text(options.interactive_landmarks),
        more_photos=options.more,
    )
    from .pipeline import reconstruct as run_pipeline

    if options.json:
        print(json.dumps(run_pipeline(request).report, indent=2))
        return 0
    with closing(ProgressBar()) as bar:
        result = run_pipeline(request, bar)
    for text in result.report["warnings"]:
        print(f"Note: {text}", file=sys.stderr)
    print(f"The head and its maps are in {result.out}.")
    return 0


def _reconstruct_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m id2r_core reconstruct", description="One photo, or several of one person, to head and maps."
    )
    parser.add_argument("photo", help="JPEG, PNG, WebP or TIFF with one well-lit face")
    parser.add_argument(
        "--more",
        nargs="+",
        default=(),
        metavar="PHOTO",
        help=f"up to {MOST_MORE_PHOTOS} further photos of the same person, best from other sides; the first stays the main one",
    )
    parser.add_argument("--out", metavar="DIR", help="output folder (default: out/<photo name>)")
    parser.add_argument("--pack", default="tiny", metavar="NAME|PATH", help="weight pack (default: %(default)s)")
    parser.add_argument("--resolution", type=int, default=1024, metavar="N", help="map side (default: %(default)s)")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where networks run (default: %(default)s)")
    parser.add_argument("--template", default="closest", metavar="closest|NAME", help="template (default: %(default)s)")
    parser.add_argument(
        "--keep-expression",
        action=argparse.BooleanOptionalAction,
        default=Request.keep_expression,
        help="open the head with the expression of the photo on it",
    )
    parser.add_argument(
        "--refine", type=float, default=1.0, metavar="X", help="strength of the photo's own detail, 0 to 1"
    )
    parser.add_argument(
        "--hair", type=float, default=1.0, metavar="X", help="density of the cropped hair on the scalp, 0 (bald) to 1"
    )
    parser.add_argument(
        "--pores", type=float, default=1.0, metavar="X", help="strength of synthesised pores and wrinkles, 0 to 1"
    )
    parser.add_argument(
        "--face", type=int, default=1, metavar="N", help="which face, counted from the largest (default: %(default)s)"
    )
    parser.add_argument(
        "--interactive-landmarks",
        default="",
        metavar="FILE",
        help='corrected landmarks, JSON in photo pixels: all 478 as [[x, y], ...], or some as {"61": [x, y], ...}',
    )
    parser.add_argument("--landmarks", default="", metavar="FILE.task", help="MediaPipe face_landmarker model")
    parser.add_argument("--json", action="store_true", help="print the report as JSON and no progress bars")
    return parser


def capture(arguments: Sequence[str]) -> int:
    from .capture.cli import main as capture_main

    return capture_main(arguments)


def train(arguments: Sequence[str]) -> int:
    from .train.cli import main as train_main
    from .train.parallel import leave

    return leave(train_main(arguments))


def evaluate(arguments: Sequence[str]) -> int:
    from .evaluate.cli import main as evaluate_main

    return evaluate_main(arguments)


def pack(arguments: Sequence[str]) -> int:
    from .packs.cli import main as pack_main

    return pack_main(arguments)


def doctor(arguments: Sequence[str]) -> int:
    from .doctor import main as doctor_main

    return doctor_main(arguments)


def worker(arguments: Sequence[str]) -> int:
    from .worker import main as worker_main

    parser = argparse.ArgumentParser(prog="python -m id2r_core worker")
    parser.add_argument(
        "--memory", type=float, default=0.0, metavar="GIB", help="most memory to use (default: no limit)"
    )
    return worker_main(parser.parse_args(arguments).memory)


COMMANDS: dict[str, Callable[[Sequence[str]], int | None]] = {
    command.__name__: command for command in (reconstruct, capture, train, evaluate, pack, doctor, worker)
}


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code (0 done, 2 bad input, 1 a bug, 130 cancelled)."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else EXIT_BAD_INPUT
    if arguments[0] == "--version":
        print(__version__)
        return 0
    try:
        if arguments[0] not in COMMANDS:
            raise Id2rError(f"There is no command '{arguments[0]}'.", f"Use one of: {', '.join(COMMANDS)}.")
        return COMMANDS[arguments[0]](list(arguments[1:])) or 0
    except Id2rError as error:
        return _fail(error.message, error.hint, EXIT_BAD_INPUT)
    except (Cancelled, KeyboardInterrupt):
        print("\nCancelled; nothing half-written was left.", file=sys.stderr)
        return EXIT_CANCELLED
    except Exception as error:  # noqa: BLE001 - the process edge
        traceback.print_exc()
        return _fail(*unforeseen(error), EXIT_BUG)


def _fail(message: str, hint: str, code: int) -> int:
    print(f"Error: {message} {hint}", file=sys.stderr)
    return code


if __name__ == "__main__":
    # A terminated job cleans up like an interrupted one; one started in the background by a shell can be interrupted too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
