"""`blender --command id2r ...`, with the same words as `python -m id2r_core`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import bpy

from . import job
from .core import errors, protocol
from .preferences import memory_limit, python_and_device


def execute(arguments: list[str]) -> int:
    """Run one command; returns the exit code (0 done, 2 bad input, 130 cancelled)."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except errors.Id2rError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nCancelled.", file=sys.stderr)
        return 130
    finally:
        job.retire()


def reconstruct(options: argparse.Namespace) -> int:
    """Photo to maps in a worker, then head.blend and the contact sheet here."""
    out = Path(options.out or Path("out") / Path(options.photo).stem).absolute()
    _one(options, _runtime(), Path(options.photo).absolute(), out, options.more)
    print(f"The head is in {out}.")
    return 0


def batch(options: argparse.Namespace) -> int:
    """Everybody in a folder, one after another in one warm worker; a photo that fails does not stop the others."""
    everybody = people(Path(options.folder))
    runtime, failed = _runtime(), 0
    for name, photos in everybody.items():
        print(f"[{name}]", flush=True)
        try:
            main, *more = (photo.absolute() for photo in photos)
            _one(options, runtime, main, (Path(options.out) / name).absolute(), more)
        except (errors.Id2rError, OSError, RuntimeError) as error:  # the latter is what Blender's own operators raise
            failed += 1
            print(f"Error: {error}", file=sys.stderr)
    print(f"{len(everybody) - failed} of {len(everybody)} people are done, in {options.out}.")
    return 2 if failed else 0


def people(folder: Path) -> dict[str, list[Path]]:
    """The photos of everybody in a folder by the name of their result: a photo is a person, and so is a folder of photos,
    the first by name being the main one. Raises Id2rError when there is nobody, or two would share a result.
    Results of an earlier batch are nobody, and files that begin with a dot (macOS leaves them beside photos) no photos.
    """
    is_photo = lambda path: path.suffix.lower() in protocol.PHOTO_FILES and not path.name.startswith(".")
    photos = lambda place: sorted(each for each in place.glob("*") if is_photo(each))
    folders = sorted(each for each in folder.glob("*") if each.is_dir() and not (each / "head.npz").is_file())
    found = [(photo.stem, [photo]) for photo in photos(folder)]
    found += [(each.name, photos(each)) for each in folders if photos(each)]
    if not found:
        raise errors.Id2rError(
            f"There are no photos in {folder}.", f"Give a folder with {', '.join(protocol.PHOTO_FILES)} files."
        )
    everybody = dict(found)
    for name, chosen in found:
        if everybody[name] is not chosen:
            raise errors.Id2rError(f"Two in {folder} are called {name!r}.", "Give them names of their own.")
    return everybody


def contact_sheet(options: argparse.Namespace) -> int:
    """Render the contact sheet of a finished result."""
    from . import batch as blends

    renders = tuple(filter(None, options.renders.split(",")))
    blends.sheet(Path(options.out_dir), blends.Options(renders, options.samples, options.size), blends.print_progress)
    print(f"The contact sheet is {Path(options.out_dir) / 'contact_sheet.png'}.")
    return 0


def doctor(_options: argparse.Namespace) -> int:
    """Say what is installed, what is missing, and how to mend it."""
    python = job.find_python(python_and_device(bpy.context)[0])
    print(f"Blender {bpy.app.version_string}; worker: {python}")
    report = _report_of(job.run(python, protocol.InspectRequest(), lambda event: None))
    print("\n".join(report["lines"]))
    return 2 if report["findings"] else 0


class _Runtime(NamedTuple):
    """What the preferences say of the worker. Read once: a .blend is made in an empty file, which forgets them."""

    python: str
    device: str
    memory: float


def _runtime() -> _Runtime:
    python, device = python_and_device(bpy.context)
    return _Runtime(job.find_python(python), device, memory_limit(bpy.context))


def _one(
    options: argparse.Namespace, runtime: _Runtime, photo: Path, out: Path, more: Sequence[str | Path] = ()
) -> None:
    from . import batch as blends  # here, because `python -m addon.batch` imports this package before that module runs

    request = protocol.Request(
        photo=str(photo),
        out=str(out),
        pack=options.pack,
        resolution=options.resolution,
        device=options.device or runtime.device,
        template=options.template,
        keep_expression=options.keep_expression,
        refine=options.refine,
        hair=options.hair,
        pores=options.pores,
        face=options.face,
        interactive_landmarks=protocol.read_text(options.interactive_landmarks),
        more_photos=tuple(str(Path(each).absolute()) for each in more),
    )
    _report_of(job.run(runtime.python, request, _print_event, runtime.memory))
    blends.build(out, blends.Options(), blends.print_progress)


def _report_of(last: protocol.Event) -> dict:
    """What a job reports at its end. Raises Id2rError when it failed, KeyboardInterrupt when it was stopped."""
    if isinstance(last, protocol.Failed):
        raise errors.Id2rError(last.message, last.hint)
    if not isinstance(last, protocol.Result):
        raise KeyboardInterrupt
    return last.report


def _print_event(event: protocol.Event) -> None:
    from . import batch as blends

    if isinstance(event, protocol.Progress):
        blends.print_progress(event.stage, event.done, event.total)
    elif isinstance(event, protocol.Warned):
        print(f"Note: {event.text}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="blender --command id2r", description="Relightable heads from one photo.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("reconstruct", help="one photo to head.blend and its maps")
    command.set_defaults(run=reconstruct)
    command.add_argument("photo")
    command.add_argument("--more", nargs="+", default=(), metavar="PHOTO", help="further photos of the same person")
    command.add_argument("--out", metavar="DIR", help="output folder (default: out/<photo name>)")
    _add_options(command)
    command = commands.add_parser("batch", help="everybody in a folder")
    command.set_defaults(run=batch)
    command.add_argument(
        "folder", help="with a photo, or a folder of photos, for every person: the first is the main one"
    )
    command.add_argument("--out", metavar="DIR", default="out", help="one folder a person goes in here (default: out)")
    _add_options(command)
    command = commands.add_parser("contact-sheet", help="render a finished result under several environments")
    command.set_defaults(run=contact_sheet)
    command.add_argument("out_dir", metavar="DIR")
    command.add_argument("--renders", default="studio,courtyard,interior,sunrise", metavar="HDRI,HDRI,...")
    command.add_argument("--samples", type=int, default=16, metavar="N")
    command.add_argument("--size", type=int, default=512, metavar="PX")
    command = commands.add_parser("doctor", help="what is installed, what is missing, how to mend it")
    command.set_defaults(run=doctor)
    return parser


def _add_options(command: argparse.ArgumentParser) -> None:
    """The options of a reconstruction."""
    command.add_argument("--pack", default="tiny", metavar="NAME|PATH")
    command.add_argument("--resolution", type=int, default=1024, metavar="N")
    command.add_argument("--device", choices=protocol.DEVICES, help="default: as in the preferences")
    command.add_argument("--template", default="closest", metavar="closest|NAME")
    command.add_argument("--keep-expression", action=argparse.BooleanOptionalAction, default=True)
    command.add_argument("--refine", type=float, default=1.0, metavar="X")
    command.add_argument("--hair", type=float, default=1.0, metavar="X")
    command.add_argument("--pores", type=float, default=1.0, metavar="X")
    command.add_argument("--face", type=int, default=1, metavar="N", help="counted from the largest")
    command.add_argument("--interactive-landmarks", default="", metavar="FILE", help="corrected landmarks, JSON")
