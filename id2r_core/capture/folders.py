"""Folders that appear complete or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import Id2rError


@contextmanager
def fresh_folder(path: Path) -> Iterator[Path]:
    """A working folder that takes the name `path` (and the place of what was there) when the block succeeds.

    Raises Id2rError when it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".partial-{path.name}-", dir=path.parent))
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield partial
        if path.is_dir():
            shutil.rmtree(path)
        os.chmod(partial, 0o755)
        os.replace(partial, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unwritable(path: Path, error: OSError) -> Id2rError:
    return Id2rError(f"'{path}' cannot be written ({error.strerror or error}).", "Choose a folder you may write to.")
