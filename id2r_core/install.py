"""`python -m id2r_core.install FOLDER`: a Python environment with everything a reconstruction needs. Standard library.

Says what it does as the events of `protocol`, for the add-on's progress bar. The folder appears complete or not at all.
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from .errors import Id2rError
from .protocol import Event, Failed, Progress, Result, encode_event

REQUIREMENTS = Path(__file__).parents[1] / "requirements.txt"  # written by build.py from the pinned lists
STEPS = ("Collecting", "Downloading", "Installing collected packages")
CHECK = "import torch, numpy, scipy, cv2, PIL, skimage, mediapipe, safetensors"
NEWEST_PYTHON = (3, 12)


def install(folder: Path, requirements: Path = REQUIREMENTS) -> None:
    """Make the environment. Raises Id2rError when something fails; then the folder is gone."""
    if sys.version_info[:2] > NEWEST_PYTHON:
        raise Id2rError(
            f"This Blender has Python {sys.version_info.major}.{sys.version_info.minor}, for which mediapipe 0.10.21 "
            "does not exist.",
            "Install Python 3.11 and the libraries yourself, and choose it in the preferences.",
        )
    packages = [line for line in requirements.read_text().splitlines() if line and not line.startswith("#")]
    shutil.rmtree(folder, ignore_errors=True)
    done = False
    try:
        say(Progress("environment", 0, len(packages) + 2))
        venv.create(folder, with_pip=True)
        python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        _pip(python, requirements, len(packages) + 2)
        say(Progress("check", len(packages) + 1, len(packages) + 2))
        checked = subprocess.run([python, "-c", CHECK], capture_output=True, text=True, check=False)
        if checked.returncode:
            raise Id2rError("The installed libraries do not start.", checked.stderr.strip()[-300:])
        done = True
    except (OSError, subprocess.CalledProcessError) as error:
        raise Id2rError(f"The environment could not be made: {error}.", "Check the free space of the disk.") from error
    finally:
        if not done:
            shutil.rmtree(folder, ignore_errors=True)


def _pip(python: Path, requirements: Path, total: int) -> None:
    """Install the list; every collected package is a step."""
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--requirement", requirements]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    last, collected = "", 0
    with subprocess.Popen(command, env=environment, **pipes) as process:
        for line in process.stdout:
            last = line.strip() or last
            print(last, file=sys.stderr)
            if line.startswith(STEPS):
                collected = min(collected + line.startswith("Collecting"), total - 2)
                say(Progress(line.split("==")[0].split("(")[0].strip().lower()[:40], collected, total))
    if process.returncode:
        raise Id2rError("Installing the libraries failed.", f"pip said: {last[-300:]}")


def say(event: Event) -> None:
    print(encode_event(event), flush=True)


def main(arguments: list[str]) -> int:
    try:
        install(Path(arguments[0]))
    except Id2rError as error:
        say(Failed(error.message, error.hint))
        return 2
    say(Result(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
