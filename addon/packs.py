"""Weight packs on disk, as far as an artist handles them: list, import, check the hashes. Their weights stay unread."""

import hashlib
import json
import shutil
import tempfile
import zipfile
from pathlib import Path

from .core import PACKAGE_ROOT, errors
from .places import own_folder

MANIFEST = "manifest.json"
CARD = "README.md"


def shipped_folder() -> Path:
    return PACKAGE_ROOT / "id2r_core" / "packs"


def pack_folders() -> list[Path]:
    """The packs that come with the add-on, then the artist's own."""
    return [
        each.parent for root in (shipped_folder(), own_folder("packs")) for each in sorted(root.glob(f"*/{MANIFEST}"))
    ]


def word_of(folder: Path) -> str:
    """What the settings call a pack: its name when it is shipped, else its folder."""
    return folder.name if folder.parent == shipped_folder() else str(folder)


def folder_of(word: str) -> Path:
    """The folder of a pack that the settings name."""
    shipped = shipped_folder() / word
    return shipped if shipped.is_dir() else Path(word)


def template_names(word: str) -> list[str]:
    """The templates of a pack; none when there is no such pack."""
    path = folder_of(word) / MANIFEST
    return read_manifest(path.parent)["templates"] if path.is_file() else []


def read_manifest(folder: Path) -> dict:
    """Raises Id2rError when the folder is no pack."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        is_pack = isinstance(manifest["files"], dict) and isinstance(manifest["templates"], list)
    except (OSError, ValueError, KeyError, TypeError):
        is_pack = False
    if not is_pack:
        raise errors.Id2rError(f"'{folder.name}' is no weight pack.", f"A pack has a {MANIFEST} that lists its files.")
    return manifest


def verify(folder: Path) -> None:
    """Compare every file with its published hash. Raises Id2rError at the first that is missing or differs."""
    for name, published in read_manifest(folder)["files"].items():
        path = folder / name
        if path.parent != folder or not path.is_file():
            raise errors.Id2rError(f"The pack '{folder.name}' lacks {name}.", "Get it again from where it came.")
        if hashlib.sha256(path.read_bytes()).hexdigest() != published:
            raise errors.Id2rError(
                f"{name} of the pack '{folder.name}' is damaged: its hash differs.", "Get it again from where it came."
            )


def import_pack(source: Path) -> Path:
    """Copy a pack, a folder or a .zip of one, into the user's own packs, after its hashes were checked."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = _unzipped(source, Path(scratch)) if source.suffix.lower() == ".zip" else source
        if folder.is_file():  # a file of the pack was chosen
            folder = folder.parent
        verify(folder)
        manifest = read_manifest(folder)
        target = own_folder("packs") / Path(str(manifest.get("name", folder.name))).name
        target.mkdir(parents=True, exist_ok=True)
        for name in (*manifest["files"], MANIFEST):
            shutil.copy2(folder / name, target / name)
    return target


def _unzipped(archive: Path, scratch: Path) -> Path:
    """The one pack inside an archive, unpacked. Nothing is written outside `scratch`: zipfile cleans the names."""
    try:
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(scratch)
    except (OSError, zipfile.BadZipFile) as error:
        raise errors.Id2rError(f"'{archive.name}' cannot be opened.", "Choose the .zip of a weight pack.") from error
    manifests = sorted(scratch.rglob(MANIFEST))
    if len(manifests) != 1:
        raise errors.Id2rError(f"'{archive.name}' holds no weight pack.", f"It must hold one folder with a {MANIFEST}.")
    return manifests[0].parent
