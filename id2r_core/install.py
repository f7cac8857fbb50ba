"""`python -m id2r_core.install FOLDER`: a Python environment with everything a reconstruction needs. Standard library.

Says what it does as the events of `protocol`, for the add-on's progress bar, and ends when it reads the command "quit". Only
a complete environment holds the file COMPLETE.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import venv
from pathlib import Path

from .errors import Cancelled, Id2rError
from .protocol import COMPLETE, Event, Failed, Progress, Result, Stopped, encode_command, encode_event

REQUIREMENTS = Path(__file__).parents[1] / "requirements.txt"  # written by build.py from the pinned lists
CONSTRAINTS = "constraints.txt"  # beside it: versions of what those pull in. Without them pip tries dozens of jaxlib
STEPS = ("Collecting", "Processing", "Downloading", "Installing collected packages")
CHECK = "import torch, numpy, scipy, cv2, PIL, skimage, mediapipe, safetensors"
NEWEST_PYTHON = (3, 12)
STOPPING = {encode_command("cancel"), encode_command("quit")}


def install(folder: Path, requirements: Path = REQUIREMENTS) -> None:
    """Make the environment. Raises Id2rError when something fails; then the folder is gone."""
    if sys.version_info[:2] > NEWEST_PYTHON:
        raise Id2rError(
            f"This Blender has Python {sys.version_info.major}.{sys.version_info.minor}, for which mediapipe 0.10.21 "
            "does not exist.",
            "Install Python 3.11 and the libraries yourself, and choose it in the preferences.",
        )
    total = len(_listed(requirements)) + len(_listed(requirements.with_name(CONSTRAINTS))) + 2
    shutil.rmtree(folder, ignore_errors=True)
    done = False
    try:
        say(Progress("environment", 0, total))
        venv.create(folder, with_pip=True, symlinks=os.name != "nt")  # a copy finds no libpython beside it
        python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        _pip(python, requirements, total)
        say(Progress("check", total - 1, total))
        checked = subprocess.run([python, "-c", CHECK], capture_output=True, text=True, check=False)
        if checked.returncode:
            raise Id2rError("The installed libraries do not start.", checked.stderr.strip()[-300:])
        (folder / COMPLETE).touch()
        done = True
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "output", None) or b"").decode(errors="replace").strip()[-300:]
        hint = f"Check the free space of the disk, and that the folder can be written. {said}".strip()
        raise Id2rError(f"The environment could not be made: {error}.", hint) from error
    finally:
        if not done:
            shutil.rmtree(folder, ignore_errors=True)


def _pip(python: Path, requirements: Path, total: int) -> None:
    """Install the list; every collected package is a step."""
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--requirement", requirements]
    constraints = requirements.with_name(CONSTRAINTS)
    if constraints.is_file():
        command += ["--constraint", constraints]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    why, collected = "", 0  # pip's first word of an error says why, else its last word does
    with subprocess.Popen(command, env=environment, **pipes) as process:
        told = threading.Event()
        threading.Thread(target=_end_when_told, args=(process, told), daemon=True).start()
        for line in process.stdout:
            line = line.strip()  # what is indented belongs to the package above: its download
            why = why if why.startswith("ERROR") else line or why
            print(line, file=sys.stderr)
            if line.startswith(STEPS):
                collected = min(collected + line.startswith(STEPS[:2]), total - 2)
                say(Progress(in_words(line), collected, total))
    if told.is_set():
        raise Cancelled
    if process.returncode:
        raise Id2rError("Installing the libraries failed.", f"pip said: {why[-300:]}")


def _end_when_told(process: subprocess.Popen, told: threading.Event) -> None:
    for line in sys.stdin:
        if line.strip() in STOPPING:
            told.set()
            process.terminate()


def in_words(line: str) -> str:
    """What pip does now, for a progress bar: "downloading torch (2100 MB)"."""
    doing, _, what = line.partition(" ")
    size = re.search(r" \([\d.]+ [kMG]?B\)$", what)
    name = re.match(r"[\w.]+?(?=-\d|$)|[\w.-]+", what.partition(" ")[0].split("/")[-1])
    if doing == "Installing" or not name:
        return "installing"
    return f"{doing.lower()} {name.group()}{size.group() if size else ''}"


def _listed(path: Path) -> list[str]:
    """The packages in a list; none when there is no such file."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return [line for line in lines if line and not line.startswith("#")]


def say(event: Event) -> None:
    print(encode_event(event), flush=True)


def main(arguments: list[str]) -> int:
    try:
        install(Path(arguments[0]))
    except Id2rError as error:
        say(Failed(error.message, error.hint))
        return 2
    except Cancelled:
        say(Stopped())
        return 130
    say(Result(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
