"""Files and folders that are complete or not there, and pictures that are written or an error. Needs no PyTorch."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

from .errors import Id2rError


def check_writable(out: Path) -> None:
    """Raise Id2rError when the folder cannot be made or written: before the work, not after it. Nothing is left."""
    with all_or_nothing(out):
        pass


@contextmanager
def all_or_nothing(out: Path, outdated: Sequence[str] = ()) -> Iterator[Path]:
    """A working folder inside `out` whose files move into it when the block succeeds, and vanish when it fails; folders that
    were made for it and stay empty vanish, too.

    outdated: names of files that must not stay from before when the block writes none.
    Raises Id2rError when `out` cannot be written.
    """
    try:
        missing = [path for path in (out, *out.parents) if not path.exists()]
        out.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".partial-", dir=out))
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        yield folder
        _move_all(folder, out, outdated)
    except OSError as error:
        if not _is_inside(error, out):
            raise  # the block's own affair
        raise _unwritable(out, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # which says that a folder is not empty
            for path in missing:
                path.rmdir()


def _move_all(folder: Path, out: Path, outdated: Sequence[str]) -> None:
    """Move the files of `folder` into `out`, and what is outdated away; when one cannot be moved, none is and what was
    there before stays."""
    with tempfile.TemporaryDirectory(prefix=".replaced-", dir=out) as aside:
        replaced, moved = Path(aside), []
        try:
            for name in outdated:
                if (out / name).is_file():
                    os.replace(out / name, replaced / name)
            for path in sorted(folder.iterdir()):
                if (out / path.name).is_file():
                    os.replace(out / path.name, replaced / path.name)
                os.replace(path, out / path.name)
                moved.append(out / path.name)
        except OSError:
            for path in moved:
                path.unlink()
            for path in replaced.iterdir():
                os.replace(path, out / path.name)
            raise


@contextmanager
def fresh_folder(path: Path) -> Iterator[Path]:
    """A working folder that takes the name `path` (and the place of what was there) when the block succeeds.

    Raises Id2rError when it cannot be written; what was there is there still.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".partial-{path.name}-", dir=path.parent))
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield partial
        os.chmod(partial, 0o755)
        with tempfile.TemporaryDirectory(prefix=f".replaced-{path.name}-", dir=path.parent) as aside:
            _exchange(partial, path, Path(aside) / path.name)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _exchange(new: Path, path: Path, aside: Path) -> None:
    """Give `new` the name `path`, and `aside` to what was there; where that fails, it comes back."""
    if path.is_dir():
        os.replace(path, aside)
    try:
        os.replace(new, path)
    except OSError:
        if aside.is_dir():
            os.replace(aside, path)
        raise


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, with the same ending, that becomes `path` when the block succeeds."""
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


def write_image(path: Path, pixels: np.ndarray, options: Sequence[int] = ()) -> None:
    """[H, W] or [H, W, C], RGB, as the kind of file that the name says; 8 and 16 bit go into a PNG as they are.

    Raises Id2rError when that fails, or OpenCV knows no such kind.
    """
    try:
        # In memory: OpenCV cannot open every path that Windows has.
        encoded, data = cv2.imencode(path.suffix, pixels[..., ::-1] if pixels.ndim == 3 else pixels, options)
    except cv2.error as error:
        raise Id2rError(f"'{path.name}' is no kind of picture that can be written.", "Name a .png or .jpg.") from error
    if not encoded:
        raise Id2rError(f"{path.name} could not be packed.", "Choose a smaller size.")
    try:
        path.write_bytes(data)
    except OSError as error:
        raise _unwritable(path, error) from error


def read_image(path: Path) -> np.ndarray | None:
    """A picture as stored, [H, W] or [H, W, C] in OpenCV's order; None when it is missing or no picture."""
    data = np.fromfile(path, np.uint8) if path.is_file() else np.empty(0, np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None


def write_exr(path: Path, linear: np.ndarray) -> None:
    """[H, W, 3] linear RGB as an OpenEXR picture of half floats."""
    os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")  # OpenCV asks when it first meets such a file
    write_image(path, linear.astype(np.float32), [cv2.IMWRITE_EXR_TYPE, cv2.IMWRITE_EXR_TYPE_HALF])


def _is_inside(error: OSError, folder: Path) -> bool:
    """Whether it is about something in a folder, or says nothing of where (a full disk)."""
    return error.filename is None or Path(os.fsdecode(error.filename)).is_relative_to(folder)


def _unwritable(out: Path, error: OSError) -> Id2rError:
    return Id2rError(
        f"'{out}' cannot be written ({error.strerror or error}).",
        "Check the free space of the disk, or choose another place with --out.",
    )
