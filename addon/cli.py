"""`blender --command id2r ...`, with the same words as `python -m id2r_core`."""

import argparse
import sys
from pathlib import Path

import bpy

from . import job
from .core import errors, protocol
from .preferences import python_and_device


def execute(arguments: list[str]) -> int:
    """Run one command; returns the exit code (0 done, 2 bad input, 130 cancelled)."""
    options = _parser().parse_args(arguments)
    try:
        return reconstruct(options)
    except errors.Id2rError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nCancelled.", file=sys.stderr)
        return 130


def reconstruct(options: argparse.Namespace) -> int:
    """Photo to maps in a worker, then head.blend and the contact sheet here."""
    from . import batch  # here, because `python -m addon.batch` imports this package before the module it runs

    chosen, device = python_and_device(bpy.context)
    request = protocol.Request(
        photo=str(Path(options.photo).absolute()),
        out=str(Path(options.out or Path("out") / Path(options.photo).stem).absolute()),
        pack=options.pack,
        resolution=options.resolution,
        device=options.device or device,
        template=options.template,
        keep_expression=options.keep_expression,
        refine=options.refine,
    )
    last = job.run(job.find_python(chosen), request, lambda event: _print_event(event, batch.print_progress))
    if isinstance(last, protocol.Failed):
        raise errors.Id2rError(last.message, last.hint)
    batch.build(Path(request.out), batch.Options(), batch.print_progress)
    print(f"The head is in {request.out}.")
    return 0


def _print_event(event: protocol.Event, print_progress) -> None:
    if isinstance(event, protocol.Progress):
        print_progress(event.stage, event.done, event.total)
    elif isinstance(event, protocol.Warned):
        print(f"Note: {event.text}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="blender --command id2r", description="Relightable heads from one photo.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("reconstruct", help="one photo to head.blend and its maps")
    command.add_argument("photo")
    command.add_argument("--out", metavar="DIR", help="output folder (default: out/<photo name>)")
    command.add_argument("--pack", default="tiny", metavar="NAME|PATH")
    command.add_argument("--resolution", type=int, default=1024, metavar="N")
    command.add_argument("--device", choices=protocol.DEVICES, help="default: as in the preferences")
    command.add_argument("--template", default="closest", metavar="closest|NAME")
    command.add_argument("--keep-expression", action="store_true")
    command.add_argument("--refine", type=float, default=1.0, metavar="X")
    return parser
