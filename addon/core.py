"""The one door from the add-on to the torch-free part of the core, and what depends on where the add-on lives.

Inside the extension the package is `<extension>.addon` with `<extension>.id2r_core` beside it and only relative imports
are allowed; from the project root (`python -m addon.batch`, the tests) both are top-level packages.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__ == "addon":
    from id2r_core import __version__ as version
    from id2r_core import conventions, errors, facemesh, protocol

    EXTENSION_PACKAGE = "addon"
else:
    from ..id2r_core import __version__ as version
    from ..id2r_core import conventions, errors, facemesh, protocol

    EXTENSION_PACKAGE = __package__.rpartition(".")[0]

PACKAGE_ROOT = Path(__file__).resolve().parents[1]  # the folder that holds addon/ and id2r_core/

__all__ = ["EXTENSION_PACKAGE", "PACKAGE_ROOT", "conventions", "errors", "facemesh", "protocol", "version"]
