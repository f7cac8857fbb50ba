"""The capture bundle: all that training needs in one small file, for a GPU machine without Blender, MediaPipe or anny.

A zip of the training data's own layout: the sources of the capture stage (`sources.PATTERNS`; environments as half
precision arrays), `head.npz`, the skins of imported captures in `captures/`, the portraits as aligned crops in `crops/`,
and the perceptual network's weights.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import save

from .. import __version__
from ..errors import Id2rError
from ..files import whole_file
from ..head.model import HEAD_FILE
from .skins import list_captures
from .sources import PATTERNS, PLAIN, SPLITS, read_environment, read_srgb, source_files

MOST_BYTES = 18 * 2**20
CROP_SIZE = 256  # the portraits are 225 to 335 pixels wide: larger crops would hold nothing more
QUALITIES = (95, 92, 88, 84, 80)  # of crops and captured skins; the best that fits is taken
CAPTURED_SIZE = 1024  # texels; the capture stage works with no larger tiles
DESCRIPTION = "bundle.json"
HEAD, CROPS, CAPTURES, PERCEPTUAL = "head.npz", "crops", "captures", "models/perceptual.safetensors"
FORMAT = 1


def write_bundle(
    data: Path, path: Path, captures: Path | None = None, head: Path = HEAD_FILE, report=lambda line: None
) -> int:
    """Pack the training data in the folder `data` into the file `path`; returns its size in bytes.

    captures: a folder that `capture import` has filled; what the capture stage reads of it is packed too. Raises Id2rError when something is missing or does not fit into MOST_BYTES.
    """
    entries = _sources(data) | {HEAD: _compressed(head), PERCEPTUAL: _perceptual(data)}
    crops = {f"{CROPS}/{name}.jpg": crop for name, crop in _portrait_crops(data, report).items()}
    files, skins = _captured(captures) if captures else ({}, {})
    entries |= files
    for quality in QUALITIES:
        pictures = {name: _jpeg(image, quality) for name, image in (crops | skins).items()}
        packed = _zip(entries | pictures | {DESCRIPTION: _description(data, len(crops), len(skins), quality)})
        if len(packed) <= MOST_BYTES:
            with whole_file(path) as partial:
                partial.write_bytes(packed)
            report(f"{path.name}: {len(packed) / 2**20:.1f} MiB, {len(skins)} captures, JPEG quality {quality}")
            return len(packed)
    raise Id2rError(
        f"The bundle would have {len(packed) / 2**20:.1f} MiB, {MOST_BYTES // 2**20} are allowed.",
        "Leave some skins or environments out of the training data.",
    )


def open_data(data: Path, out: Path) -> Path:
    """The folder of training data that `data` means: itself, or for a bundle its contents, unpacked once into `out`.

    Raises Id2rError when there is nothing, or the file is no bundle of this program.
    """
    if data.is_dir():
        return data
    if not data.is_file():
        raise Id2rError(f"There is no training data in {data}.", "Name its folder or a capture bundle with --data.")
    content = data.read_bytes()
    folder = out / f"data_{hashlib.sha256(content).hexdigest()[:12]}"
    if not folder.is_dir():
        partial = out / f"{folder.name}.{os.getpid()}.partial"
        _unpack(content, partial, data)
        try:
            os.rename(partial, folder)
        except OSError:  # another process of the same run was faster
            shutil.rmtree(partial)
    return folder


def _unpack(content: bytes, folder: Path, name: Path) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            known = json.loads(packed.read(DESCRIPTION))["format"] == FORMAT
            packed.extractall(folder)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise Id2rError(f"{name} is no capture bundle ({error}).", "Make one: capture bundle --data DATA.") from error
    if not known:
        raise Id2rError(f"{name} is a bundle of another version of the program.", "Make it again: capture bundle.")


def _sources(data: Path) -> dict[str, bytes]:
    entries = {}
    for pattern in PATTERNS:
        paths = source_files(data, pattern)
        if not paths:
            raise Id2rError(f"{data} holds no '{pattern}'.", "Name the folder of the training data with --data.")
        for path in paths:
            name = path.relative_to(data)
            if path.suffix == ".exr":
                entries[str(name.with_suffix(PLAIN))] = _array(read_environment(path).astype(np.float16))
            else:
                entries[str(name)] = path.read_bytes()
    return entries


def _array(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _compressed(head: Path) -> bytes:
    if not head.is_file():
        raise Id2rError(f"The head model {head.name} has not been built.", "Run: python -m id2r_core.head.build")
    buffer = io.BytesIO()
    with np.load(head) as stored:
        np.savez_compressed(buffer, **{name: stored[name] for name in stored.files})
    return buffer.getvalue()


def _perceptual(data: Path) -> bytes:
    from ..train.losses import perceptual_weights

    return save({name: tensor.numpy() for name, tensor in perceptual_weights(data).items()})


def _portrait_crops(data: Path, report) -> dict[str, np.ndarray]:
    from ..train.portraits import crop_portraits

    return dict(crop_portraits(data, CROP_SIZE, report))


def _captured(captures: Path) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """What the capture stage reads of imported captures: small files as they are, and skins [T, T, 3] uint8 sRGB."""
    files, skins = {}, {}
    for split in SPLITS:
        for folder in list_captures(captures, split):
            place = f"{CAPTURES}/{folder.name}"
            files |= {f"{place}/{name}": (folder / name).read_bytes() for name in ("capture.json", "skin.png")}
            srgb = read_srgb(next(folder.glob("diffuse.*")))
            if len(srgb) > CAPTURED_SIZE:
                srgb = cv2.resize(srgb, (CAPTURED_SIZE, CAPTURED_SIZE), interpolation=cv2.INTER_AREA)
            skins[f"{place}/diffuse.jpg"] = (srgb * 255.0 + 0.5).astype(np.uint8)
    return files, skins


def _jpeg(srgb: np.ndarray, quality: int) -> bytes:
    return cv2.imencode(".jpg", srgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _description(data: Path, portraits: int, captures: int, quality: int) -> bytes:
    counts = {pattern: len(source_files(data, pattern)) for pattern in PATTERNS}
    counts |= {"portraits": portraits, "captures": captures}
    return json.dumps({"format": FORMAT, "program": __version__, "quality": quality, "sources": counts}).encode()


def _zip(entries: dict[str, bytes]) -> bytes:
    """The same entries give the same bytes: no dates."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in sorted(entries.items()):
            method = zipfile.ZIP_LZMA if name.endswith(PLAIN) else zipfile.ZIP_DEFLATED
            packed.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def main(arguments: list[str]) -> int:
    """`capture bundle --data DATA [--captures CAPTURES] --out FILE`."""
    parser = argparse.ArgumentParser(prog="python -m id2r_core capture bundle", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the training data")
    parser.add_argument("--captures", type=Path, help="a folder that `capture import` has filled")
    parser.add_argument("--out", type=Path, default=Path("capture.bundle"), metavar="FILE")
    given = parser.parse_args(arguments)
    write_bundle(given.data, given.out, given.captures, report=lambda line: print(line, flush=True))
    return 0
