"""Blender in a process of its own: the core does not know it."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import Id2rError

ROOT = Path(__file__).parents[2]


def render_portraits(folder: Path, hdris: Sequence[str], size: int, samples: int) -> None:
    """Render the head of a result folder under each environment (a name of Blender's own, or a file) to `<name>.png`.

    Raises Id2rError with what Blender said when it failed.
    """
    options = ["--portraits", "--renders", ",".join(hdris), "--size", str(size), "--samples", str(samples)]
    command = [sys.executable, "-m", "addon.batch", str(Path(folder).absolute()), *options]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if finished.returncode:
        said = finished.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise Id2rError(f"Blender could not render '{folder.name}': {said[0]}", "Is the package bpy installed?")
