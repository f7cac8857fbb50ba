"""Seconds and memory of a whole job, each in a process of its own as a user runs it."""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ..conventions import STAGES
from ..errors import Id2rError
from .context import Context
from .report import Report, Table

RESOLUTIONS, RUNS = (512, 1024, 2048), 3
QUICK_RESOLUTIONS, QUICK_RUNS = (1024,), 1
ROOT = Path(__file__).parents[2]


def evaluate_speed(context: Context) -> Report:
    """Medians over some runs of `reconstruct` on the first photograph."""
    photo = context.shots()[0].file
    resolutions, runs = (QUICK_RESOLUTIONS, QUICK_RUNS) if context.quick else (RESOLUTIONS, RUNS)
    rows = []
    for place, resolution in enumerate(resolutions):
        measured = []
        for run in range(runs):
            context.progress("speed", place * runs + run, len(resolutions) * runs)
            measured.append(
                time_job(photo, context.estimator.pack_name, resolution, context.estimator.pack.device.type)
            )
        rows.append(_row(resolution, measured))
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    machine = f"{platform.system()}, {os.cpu_count()} cores, device {context.estimator.pack.device}"
    columns = (("maps", 0), ("whole job, s", 1), *((f"{stage}, s", 2) for stage in STAGES), ("peak MiB", 0))
    note = "The whole job includes the start of Python and loading."
    data = f"`reconstruct` in a process of its own, median of {runs}, on {machine}; load of the machine {load}."
    return Report("speed", "Speed", data, [Table("Seconds", columns, rows, note)])


def _row(resolution: int, measured: list[dict]) -> list:
    stages = [statistics.median(each["seconds"].get(stage, 0.0) for each in measured) for stage in STAGES]
    peaks = [each["peak_mib"] for each in measured if each["peak_mib"] is not None]
    whole = statistics.median(each["total"] for each in measured)
    return [resolution, whole, *stages, max(peaks) if peaks else None]


def time_job(photo: Path, pack: str, resolution: int, device: str) -> dict:
    """{"total": s, "seconds": {stage: s}, "peak_mib": largest resident memory, None where it is not told}."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as said:
        options = ["--out", folder, "--pack", pack, "--resolution", str(resolution), "--device", device, "--json"]
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "id2r_core", "reconstruct", str(photo), *options],
            cwd=ROOT,
            stdout=said,
            stderr=subprocess.DEVNULL,
        )
        peak = None
        if hasattr(os, "wait4"):
            _, status, used = os.wait4(process.pid, 0)
            code, peak = os.waitstatus_to_exitcode(status), used.ru_maxrss / 1024
        else:
            code = process.wait()
        total = time.perf_counter() - started
        if code:
            raise Id2rError(f"The job to measure failed on '{photo.name}'.", "Run `reconstruct` on it to see why.")
        said.seek(0)
        return {"total": total, "seconds": json.load(said)["seconds"], "peak_mib": peak}
