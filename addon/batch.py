"""`python -m addon.batch OUT_DIR`: a result folder gets its head.blend and contact_sheet.png (Blender as a module).

Both files appear complete or not at all.
"""

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import bpy

from . import contact_sheet, image_io, lookdev
from .contact_sheet import Progress
from .core import errors, protocol
from .result import Result, load_result

EXIT_CANCELLED = 130
BAR = 24  # letters


@dataclass(frozen=True)
class Options:
    """renders: environments by name or path; samples a pixel; size: side of one picture of the sheet in pixels."""

    renders: tuple[str, ...] = ("studio", "courtyard", "interior", "sunrise")
    samples: int = 16
    size: int = 512


def build(folder: Path, options: Options, progress: Progress) -> None:
    """Write head.blend and contact_sheet.png into a result folder. Starts from an empty scene."""
    folder = folder.absolute()  # Blender reads relative paths in its own way
    made = open_result(folder, progress)
    lookdev.show_through_camera(bpy.data.screens["Layout"])
    save_blend(folder / "head.blend")
    progress("scene", 1, 1)
    write_sheet(made, folder, options, progress)


def sheet(folder: Path, options: Options, progress: Progress) -> None:
    """Write contact_sheet.png alone into a result folder. Starts from an empty scene."""
    folder = folder.absolute()
    made = open_result(folder, progress)
    progress("scene", 1, 1)
    write_sheet(made, folder, options, progress)


def write_sheet(made: Result, folder: Path, options: Options, progress: Progress) -> None:
    """Render the contact sheet of an open result."""
    scene = bpy.context.scene
    pixels = contact_sheet.contact_sheet(made, folder, scene, options.renders, options.samples, options.size, progress)
    partial = folder / ".contact_sheet.partial.png"
    image_io.write_png(partial, pixels)
    os.replace(partial, folder / "contact_sheet.png")
    progress("sheet", 1, 1)


def render_head(out_dir, hdri: str, png_path, size: int = 512, samples: int = 32, orbit: float = 0.0) -> None:
    """Render the head of a result folder under one environment to a square PNG (for evaluation).

    hdri: one of Blender's own by name, or a file; orbit: degrees by which the camera stands aside.
    """
    made = open_result(Path(out_dir).absolute(), silent)
    scene = bpy.context.scene
    lookdev.set_render(scene, (size, size), samples)
    scene.render.film_transparent = True
    image_io.write_png(Path(png_path).absolute(), contact_sheet.portrait(made, scene, hdri, size, orbit))


def portraits(folder: Path, options: Options, progress: Progress) -> None:
    """Render the head alone under each environment to `<environment>.png` in the result folder (for evaluation)."""
    for index, hdri in enumerate(options.renders):
        progress("render", index, len(options.renders))
        render_head(folder, hdri, folder / f"{Path(hdri).stem}.png", options.size, options.samples)
    progress("render", len(options.renders), len(options.renders))


def open_result(folder: Path, progress: Progress) -> Result:
    """An empty file with the head of a result folder (an absolute path) in it."""
    progress("scene", 0, 1)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return load_result(folder, bpy.context.scene, "Head")


def save_blend(path: Path) -> None:
    """Save a copy of the open scene; everything it needs is packed."""
    partial = path.with_name(f".{path.stem}.partial.blend")
    bpy.ops.wm.save_as_mainfile(filepath=str(partial), copy=True, compress=True, relative_remap=False)
    os.replace(partial, path)


def silent(_stage: str, _done: int, _total: int) -> None:
    """A progress callback for callers that show nothing."""


def print_progress(stage: str, done: int, total: int) -> None:
    """A bar on standard error, like the ones of `python -m id2r_core`."""
    bar = "█" * round(BAR * done / total)
    end = "\n" if done == total else ""
    print(f"\r{stage:<10} |{bar:<{BAR}}| {done}/{total}", end=end, file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    defaults = Options()
    parser = argparse.ArgumentParser(prog="python -m addon.batch", description=__doc__)
    parser.add_argument("out_dir", type=Path, help="a folder that `python -m id2r_core reconstruct` has written")
    parser.add_argument("--renders", default=",".join(defaults.renders), metavar="HDRI,HDRI,...")
    parser.add_argument("--samples", type=int, default=defaults.samples, metavar="N")
    parser.add_argument("--size", type=int, default=defaults.size, metavar="PX")
    parser.add_argument("--portraits", action="store_true", help="only render the head, to DIR/<hdri>.png each")
    parser.add_argument("--sheet-only", action="store_true", help="only the contact sheet")
    parser.add_argument("--json", action="store_true", help="progress as JSON lines on standard output")
    options = parser.parse_args(arguments)
    events = take_standard_output()
    end_at_interrupt(options.out_dir)
    try:
        renders = tuple(filter(None, options.renders.split(",")))
        for name in renders:
            lookdev.hdri_path(name)
        progress = _json_progress(events) if options.json else print_progress
        make = portraits if options.portraits else sheet if options.sheet_only else build
        make(options.out_dir, Options(renders, options.samples, options.size), progress)
        if options.json:
            _say(events, protocol.Result(str(options.out_dir)))
    except errors.Id2rError as error:
        print(f"Error: {error}", file=sys.stderr)
        if options.json:
            _say(events, protocol.Failed(error.message, error.hint))
        return 2
    except KeyboardInterrupt:
        return EXIT_CANCELLED
    finally:
        remove_partials(options.out_dir)
    return 0


def end_at_interrupt(folder: Path) -> None:
    """End the process at once at Ctrl-C: Cycles does not come back to Python before the picture is done."""
    receiving, sending = socket.socketpair()
    sending.setblocking(False)
    signal.set_wakeup_fd(sending.fileno(), warn_on_full_buffer=False)

    def watch(keep_open: socket.socket) -> None:
        while receiving.recv(1) != bytes([signal.SIGINT]):
            pass
        remove_partials(folder)
        print("\nCancelled; nothing half-written was left.", file=sys.stderr, flush=True)
        os._exit(EXIT_CANCELLED)

    threading.Thread(target=watch, args=(sending,), daemon=True).start()


def remove_partials(folder: Path) -> None:
    for partial in folder.glob(".*.partial.*"):
        partial.unlink(missing_ok=True)


def take_standard_output():
    """Keep standard output for ourselves; what Blender writes there goes nowhere."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return own


def _json_progress(events) -> Progress:
    def report(stage: str, done: int, total: int) -> None:
        _say(events, protocol.Progress(stage, done, total))

    return report


def _say(events, event: protocol.Event) -> None:
    events.write(protocol.encode_event(event) + "\n")
    events.flush()


def end(code: int) -> NoReturn:
    """End the process at once: bpy 4.5 as a module waits forever at its end for a thread of its own, bpy 4.2 crashes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    end(main(sys.argv[1:]))
