"""Everything that is done to this project, by one command each. Standard library only.

    python build.py run [PHOTO] [--out DIR] [RECONSTRUCT OPTIONS]
                                              a photo becomes head.blend, maps and a contact sheet in out/<photo name>/
    python build.py test [PYTEST OPTIONS]     all tests
    python build.py lint                      ruff: rules and formatting; mypy: types of the add-on
    python build.py package                   dist/id2r-VERSION.zip, the extension as Blender installs it
    python build.py validate                  Blender's own checks on that file
    python build.py bench [PHOTO] [--runs N]  seconds and memory of every stage
    python build.py screenshots [SHOT ...]    docs/screens/*.png: the zip in the window of a Blender 4.2 or newer
    python build.py responsiveness            how long Blender's window stands still while a photo is worked on

The last two need Blender and Xvfb (Debian 13 has both); --blender PATH names another Blender than that of PATH.

Each makes what it needs first: a private environment in .venv/ with the pinned packages of pyproject.toml, and the head
file. On Linux the package index serves PyTorch with CUDA; for the much smaller CPU build set, before the first run,
PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
HEAD_FOLDER = ROOT / "id2r_core" / "head"
HEAD_FILE = HEAD_FOLDER / "data" / "head.npz"
# The code that decides what is in the head file.
HEAD_SOURCES = (
    "build.py", "landmark_map.py", "lips.py", "model.py", "region_map.py", "teeth.py", "tile.py",
)  # fmt: skip
STAGED = ROOT / "build" / "id2r"
EXIT_FAILED, EXIT_CANCELLED = 2, 130
# The version for which Blender's wheel (bpy 5.0) and mediapipe's bundled landmark models exist.
PYTHON_VERSION = (3, 11)
RUN_GROUPS = ("head", "blender")
TEST_GROUPS = (*RUN_GROUPS, "train", "develop")
SHIPPED = ("blender_manifest.toml", "LICENSE", "constraints.txt", "addon", "id2r_core")
FORWARDING_INIT = '''"""ID2R as a Blender extension; everything is in `addon`."""

from .addon import register, unregister

__all__ = ["register", "unregister"]
'''
SCREENS = ROOT / "docs" / "screens"
SCREENSHOTS = (
    "start", "photo", "faces", "landmarks", "running", "refused", "result", "compare", "mesh", "lookdev", "export",
    "image_editor", "preferences",
)  # fmt: skip
WINDOW = (1200, 1150)  # pixels
# A picture keeps its colours as long as it is small; 256 of them are enough for panels over a lit head.
SHRINK = """
import os, sys, PIL.Image
picture = PIL.Image.open(sys.argv[1]).convert("RGB")
picture.save(sys.argv[1], optimize=True)
if os.path.getsize(sys.argv[1]) > 400_000:
    palette = picture.quantize(256)  # dithers only towards a palette that it is given
    picture.quantize(palette=palette, dither=PIL.Image.Dither.FLOYDSTEINBERG).save(sys.argv[1], optimize=True)
"""
OWN_OPTIONS = ("--out", "--runs", "--blender", "--help", "-h")
# NASA, public domain; carried by scikit-image.
SAMPLE_NAME = "astronaut"
SAVE_SAMPLE = "import sys, PIL.Image, skimage.data; PIL.Image.fromarray(skimage.data.astronaut()).save(sys.argv[1])"


class BuildError(Exception):
    """One sentence for the person at the terminal."""


# ---- commands ----


def run(options: argparse.Namespace) -> None:
    prepare(*RUN_GROUPS)
    photo = options.photo or sample_photo()
    out = options.out or ROOT / "out" / photo.stem
    with step("head and maps"):
        call_python("-m", "id2r_core", "reconstruct", photo, "--out", out, *options.more)
    with step("Blender"):
        call_python("-m", "addon.batch", out)
    print(f"Done: {out / 'contact_sheet.png'} and {out / 'head.blend'}")


def test(options: argparse.Namespace) -> None:
    prepare(*TEST_GROUPS)
    call_python("-m", "pytest", *options.more, folder=ROOT)


def lint(options: argparse.Namespace) -> None:
    ensure_environment(*TEST_GROUPS)
    call_python("-m", "ruff", "check", folder=ROOT)
    call_python("-m", "ruff", "format", "--check", folder=ROOT)
    call_python("-m", "mypy", folder=ROOT)


def package(options: argparse.Namespace) -> None:
    prepare(*RUN_GROUPS)
    with step("package"):
        archive = zip_path()
        archive.parent.mkdir(exist_ok=True)
        stage_extension(STAGED)
        extension_tool("build", "--source-dir", STAGED, "--output-filepath", archive)
    print(f"Done: {archive} ({archive.stat().st_size / 1e6:.1f} MB)")


def validate(options: argparse.Namespace) -> None:
    package(options)
    extension_tool("validate", zip_path())


def bench(options: argparse.Namespace) -> None:
    prepare(*RUN_GROUPS)
    photo = options.photo or sample_photo()
    runs = [measure(photo, ROOT / "out" / "bench") for _ in range(options.runs)]
    print(bench_table(runs))


def screenshots(options: argparse.Namespace) -> None:
    """Every state of the panels, in a real window; see tests/blender/screenshots.py."""
    with blender_window(options) as in_window:
        SCREENS.mkdir(parents=True, exist_ok=True)
        for name in options.more or SCREENSHOTS:
            with step(name):
                picture = in_window("screenshots.py", f"{name}.png")
                call_python("-c", SHRINK, picture)
                shutil.move(picture, SCREENS / picture.name)


def responsiveness(options: argparse.Namespace) -> None:
    """A table of the longest pauses of a real window; see tests/blender/responsiveness.py."""
    with blender_window(options) as in_window:
        print(in_window("responsiveness.py", "table.md").read_text())


# ---- a real window ----


@contextmanager
def blender_window(options: argparse.Namespace) -> Iterator[Callable[[str, str], Path]]:
    """Install the zip into an empty profile; yields what runs a script of tests/blender in a window with it.

    The script gets the result folder of the sample, the photo, a Python for the worker, and the file that it is to write,
    which is returned. They lie in a temporary folder, whose short paths the pictures show.
    """
    blender = find_blender(options.blender)
    package(options)
    photo = sample_photo()
    result = ROOT / "out" / photo.stem
    call_python("-m", "id2r_core", "reconstruct", photo, "--out", result)  # anew: the picture is of this code
    with tempfile.TemporaryDirectory(prefix="id2r-") as name:
        folder = Path(name)
        shown, python = folder / photo.name, folder / "python"
        shutil.copy2(photo, shown)
        python.write_text(f'#!/bin/sh\nexec "{environment_python()}" "$@"\n')
        python.chmod(0o755)
        profile = {"BLENDER_USER_RESOURCES": str(folder / "profile"), "LIBGL_ALWAYS_SOFTWARE": "1"}
        install_file = ["extension", "install-file", "--repo", "user_default", "--enable", str(zip_path())]
        call_blender([blender, "--command", *install_file], profile)

        def in_window(script: str, name: str) -> Path:
            written = folder / name
            size = ["--window-geometry", "0", "0", *map(str, WINDOW)]
            screen = ["xvfb-run", "-a", "-s", "-screen 0 {}x{}x24 -fbdir {}".format(*WINDOW, folder)]
            code = ["--python-exit-code", "1", "--python", str(ROOT / "tests" / "blender" / script), "--"]
            given = [str(each) for each in (result, shown, python, written)]
            said = call_blender([*screen, blender, "--enable-event-simulate", *size, *code, *given], profile)
            if not written.is_file():
                raise BuildError(f"{script} has not written {name}: {said}")
            return written

        yield in_window


def find_blender(chosen: str | None) -> str:
    """The Blender that was chosen, or that of PATH, when it can install the extension and Xvfb is there too."""
    blender = chosen or "blender"
    missing = [name for name in (blender, "xvfb-run") if shutil.which(name) is None]
    if missing:
        raise BuildError(f"{' and '.join(missing)} not found; on Debian 13: apt install blender xvfb")
    said = subprocess.run([blender, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"Blender (\d+)\.(\d+)", said)
    oldest = manifest()["blender_version_min"]
    if not found or tuple(map(int, found.groups())) < tuple(map(int, oldest.split(".")[:2])):
        what = found.group() if found else "no Blender"
        raise BuildError(f"'{blender}' is {what}; {oldest} or newer is needed (Debian 13 has 4.3). See --blender.")
    return blender


def call_blender(command: list[str], profile: dict[str, str]) -> str:
    """Run Blender to its end; returns the end of what it said."""
    # Debian's Blender looks for NumPy beside the first python3 of PATH, which must be Debian's own.
    path = os.pathsep.join([str(Path(shutil.which(command[0])).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, env=os.environ | profile | {"PATH": path}, capture_output=True, text=True, check=False
    )
    said = f"{done.stdout[-500:]}{done.stderr[-1500:]}"
    if done.returncode:
        raise BuildError(f"Blender ended with {done.returncode}: {said}")
    return said


# ---- environment ----


def prepare(*groups: str) -> None:
    """Environment and head file, as far as they are not there already."""
    ensure_environment(*groups)
    if not head_is_current():
        with step("head file (once; one minute, on a busy machine several)"):
            call_python("-m", "id2r_core.head.build")


def ensure_environment(*groups: str) -> None:
    """Install the pinned packages of the groups into .venv/; marker files make the second time instant."""
    markers = [ENVIRONMENT / f".installed-{group}" for group in groups]
    digest = requirements_digest()
    if all(marker.is_file() and marker.read_text() == digest for marker in markers):
        return
    if not environment_python().is_file():
        with step("environment"):
            create_environment()
    requirements = requirements_of(*groups)
    torch = [each for each in requirements if each.startswith("torch==")]
    with step("PyTorch (once, may take minutes)"):
        install(*torch)
    with step("packages (once, may take minutes)"):
        install("--constraint", ROOT / "constraints.txt", *requirements)
    for marker in markers:
        marker.write_text(digest)


def create_environment() -> None:
    wanted = ".".join(map(str, PYTHON_VERSION))
    python = sys.executable if sys.version_info[:2] == PYTHON_VERSION else shutil.which(f"python{wanted}")
    if python is None:
        found = ".".join(map(str, sys.version_info[:2]))
        raise BuildError(
            f"Python {wanted} is needed (Blender's package is made for it) and this is {found}; install it."
        )
    made = False
    try:
        made = subprocess.run([python, "-m", "venv", ENVIRONMENT], check=False).returncode == 0
    finally:
        if not made:
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    if not made:
        raise BuildError("Making .venv failed; on Debian and Ubuntu install the package python3-venv.")


def install(*arguments: str | Path) -> None:
    command = [environment_python(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    if subprocess.run(command, check=False).returncode:
        raise BuildError("Installing the packages failed; pip says why above.")


def requirements_of(*groups: str) -> list[str]:
    """The pinned requirements of the core and the groups, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    requirements = list(project["project"]["dependencies"])
    for group in groups:
        requirements += project["dependency-groups"][group]
    return requirements


def requirements_digest() -> str:
    lists = (ROOT / "pyproject.toml", ROOT / "constraints.txt")
    return hashlib.sha256(b"".join(path.read_bytes() for path in lists)).hexdigest()


def environment_python() -> Path:
    return ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def head_is_current() -> bool:
    """The head file exists and is younger than the code that builds it."""
    if not HEAD_FILE.is_file():
        return False
    return HEAD_FILE.stat().st_mtime >= max((HEAD_FOLDER / name).stat().st_mtime for name in HEAD_SOURCES)


def sample_photo() -> Path:
    """A real photograph that a dependency carries."""
    photo = ROOT / "out" / f"{SAMPLE_NAME}.png"
    if not photo.is_file():
        photo.parent.mkdir(exist_ok=True)
        call_python("-c", SAVE_SAMPLE, photo)
    return photo


# ---- packaging ----


def manifest() -> dict:
    return tomllib.loads((ROOT / "blender_manifest.toml").read_text())


def version() -> str:
    return manifest()["version"]


def zip_path() -> Path:
    return ROOT / "dist" / f"id2r-{version()}.zip"


def stage_extension(folder: Path) -> None:
    """Lay out what ships in an empty folder: the tests inside Blender and the zip both use it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in SHIPPED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    (folder / "__init__.py").write_text(FORWARDING_INIT)
    (folder / "requirements.txt").write_text("\n".join(requirements_of()) + "\n")  # for id2r_core.install


def extension_tool(*arguments: str | Path) -> None:
    """Blender's extension script, as the bpy wheel carries it."""
    scripts = ENVIRONMENT.glob("**/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
    call_python(next(scripts), *arguments)


# ---- benchmark ----


def measure(photo: Path, out: Path) -> dict:
    """One cold run: {"seconds": {stage: s}, "peak_bytes": {stage: bytes}, "total": s}; memory on Linux only."""
    started = time.perf_counter()
    command = [environment_python(), "-m", "id2r_core", "worker"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    request = {"photo": str(photo), "out": str(out)}
    with subprocess.Popen(command, text=True, env=python_path(), **pipes) as worker:
        worker.stdin.write(json.dumps({"command": "reconstruct", "request": request}) + "\n")
        worker.stdin.flush()
        stage, peaks, ended = "start", {}, threading.Event()

        def watch_memory() -> None:
            while not ended.wait(0.01):
                peaks[stage] = max(peaks.get(stage, 0), resident_bytes(worker.pid))

        watcher = threading.Thread(target=watch_memory)
        watcher.start()
        try:
            for line in worker.stdout:
                event = json.loads(line)
                stage = event.get("stage", stage)
                if event["event"] in ("result", "error", "cancelled"):
                    break
        finally:
            total = time.perf_counter() - started
            ended.set()
            watcher.join()
            worker.stdin.close()
    if event["event"] != "result":
        raise BuildError(" ".join(["The job to measure failed:", event.get("message", ""), event.get("hint", "")]))
    return {"seconds": event["report"]["seconds"], "peak_bytes": peaks, "total": total}


def resident_bytes(process: int) -> int:
    """Resident memory of a process now; 0 where /proc does not exist or the process is gone."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def bench_table(runs: list[dict]) -> str:
    """A Markdown table: the median of the runs by stage, and its share of the whole."""
    total = statistics.median(each["total"] for each in runs)
    rows = [("stage", "seconds", "share", "peak MiB"), ("---", "---:", "---:", "---:")]
    medians = {stage: statistics.median(each["seconds"][stage] for each in runs) for stage in runs[0]["seconds"]}
    medians["start and loading"] = total - sum(medians.values())
    for stage, seconds in medians.items():
        peak = max(each["peak_bytes"].get(stage, 0) for each in runs)
        rows.append((stage, f"{seconds:.2f}", f"{seconds / total:.0%}", mebibytes(peak)))
    peak = max(max(each["peak_bytes"].values(), default=0) for each in runs)
    rows.append((f"whole, median of {len(runs)}", f"{total:.2f}", "100%", mebibytes(peak)))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def mebibytes(count: int) -> str:
    return f"{count / 2**20:.0f}" if count else "-"


# ---- processes and steps ----


def call_python(*arguments: str | Path, folder: Path | None = None) -> None:
    """Run .venv's Python with the project importable, in `folder` or where the user stands; its failure is ours."""
    command = [environment_python(), *map(str, arguments)]
    with subprocess.Popen(command, env=python_path(), cwd=folder) as process:
        try:
            process.wait()
        except KeyboardInterrupt:  # the terminal interrupted it too: let it clean up
            process.wait()
            raise
    if process.returncode:
        raise SystemExit(process.returncode)


def python_path() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


@contextmanager
def step(label: str) -> Iterator[None]:
    """Print what starts, and what it took."""
    print(f"[{label}]", flush=True)
    started = time.perf_counter()
    yield
    print(f"[{label}] {time.perf_counter() - started:.1f} s", flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (run, test, lint, package, validate, bench, screenshots, responsiveness):
        sub = commands.add_parser(command.__name__)
        sub.set_defaults(function=command)
        if command in (run, bench):
            sub.add_argument("photo", nargs="?", type=Path)
        if command is run:
            sub.add_argument("--out", type=Path)
        if command is bench:
            sub.add_argument("--runs", type=int, default=3)
        if command in (screenshots, responsiveness):
            sub.add_argument("--blender", metavar="PATH")
    # What starts with a foreign option belongs to pytest or reconstruct, values included.
    foreign = (
        i for i, each in enumerate(arguments) if each.startswith("-") and each.partition("=")[0] not in OWN_OPTIONS
    )
    cut = next(foreign, len(arguments))
    options, unknown = parser.parse_known_args(arguments[:cut])
    options.more = unknown + arguments[cut:]
    if options.function is run:  # which must know it, wherever it stands
        late = argparse.ArgumentParser(add_help=False)
        late.add_argument("--out", type=Path, default=options.out)
        found, options.more = late.parse_known_args(options.more)
        options.out = found.out
    if options.more and options.function not in (run, test, screenshots):
        parser.error(f"unrecognized arguments: {' '.join(options.more)}")
    return options


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    try:
        options.function(options)
    except BuildError as error:
        print(f"Error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("\nCancelled.", file=sys.stderr)
        return EXIT_CANCELLED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
