"""Every method on every photo, once, kept on disk: evaluations read what lies here and can be interrupted and resumed.

A photo's folder holds `id2r/`, exactly what `reconstruct` writes, a diffuse map for every other method, and
`record.json`, written last. A record made by other code, another pack or another size is made anew.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..conventions import Domain
from ..detail import stored
from ..device import choose_device
from ..errors import Id2rError, NoFace
from ..evidence import Evidence
from ..files import write_image
from ..head.atlas import HeadAtlas, make_atlas
from ..head.model import HeadModel, load_head
from ..identity import embed_identity
from ..packs import Pack, load_pack
from ..photo import Photo, load_photo
from ..pipeline import reconstruct
from ..protocol import Request
from ..refine import refine_from_photos
from ..stitch import stitch_views
from ..swap import swap_identity
from ..templates import choose_template
from .baselines import BASELINES, mean_template
from .fitted import Fitted, fit_photo
from .halves import HALVES
from .judge import Judge
from .metrics import cosine
from .validation_set import read_map

OURS, SWAP_ALONE = "ID2R", "ID2R, swapped maps alone"
METHODS = (OURS, SWAP_ALONE, *HALVES, *BASELINES)
OWN_FOLDER, RECORD = "id2r", "record.json"
JUDGED_SIZE = 384  # pixels of the face crop that a recogniser sees
CORE = Path(__file__).parents[1]
# What an estimate depends on besides the photo and the pack.
SOURCES = (
    "*.py",
    "head/*.py",
    "geometry/*.py",
    "nets/*.py",
    "packs/*.py",
    "evaluate/baselines.py",
    "evaluate/fitted.py",
)
# Processes that estimate side by side, and the fewest photos for which one more is worth its start. One photo leaves most of
# the cores idle.
MOST_PROCESSES, LEAST_PHOTOS = 8, 3
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Estimate:
    """What lies in the folder of one photo; record is its record.json."""

    folder: Path
    record: dict

    @property
    def failed(self) -> str | None:
        """Why there is no estimate, or None."""
        return self.record.get("failed")

    def diffuse(self, method: str, size: int) -> np.ndarray:
        """Estimated diffuse albedo [size, size, 3] sRGB."""
        return read_map(self.diffuse_file(method), size)

    def diffuse_file(self, method: str) -> Path:
        """Where that map lies."""
        return self.folder / _diffuse_file(method)

    def own_map(self, domain: Domain, size: int) -> np.ndarray:
        """A map of ID2R [size, size, 3] as stored."""
        return read_map(self.folder / OWN_FOLDER / f"{domain.value}.png", size)

    def own_vertices(self) -> np.ndarray:
        """The fitted head of ID2R without expression, [N, 3] metres."""
        with np.load(self.folder / OWN_FOLDER / "head.npz") as stored:
            return stored["vertices"].astype(np.float64)


@dataclass(frozen=True)
class Estimator:
    """Runs all methods on photos. judge: a recogniser that took no part in training; without it the pack's own encoder
    judges."""

    pack: Pack
    pack_name: str
    model: HeadModel
    atlas: HeadAtlas
    out: Path
    judge: Judge | None

    @property
    def size(self) -> int:
        return self.atlas.size

    def all(
        self, photos: Iterable[tuple[str, Path]], progress: Progress, methods: tuple[str, ...] = METHODS
    ) -> dict[str, Estimate]:
        """(unique name, file) of every photo -> name -> estimate. A photo that ID2R refuses becomes a failed one.

        methods: which albedos and likenesses are wanted; ID2R's own folder is always made.
        """
        photos = list(photos)
        self._make_side_by_side([each for each in photos if not self._is_there(*each, methods)], progress, methods)
        found = {}
        for number, (name, file) in enumerate(photos):
            progress("estimate", number, len(photos))
            found[name] = self.one(name, file, methods)
        progress("estimate", len(photos), len(photos))
        return found

    def one(self, name: str, file: Path, methods: tuple[str, ...] = METHODS, more: Sequence[Path] = ()) -> Estimate:
        """The estimate of one photo, from disk when it is there and current; more: further photos, for ID2R alone."""
        folder, fingerprint = self._folder(name), self._fingerprint((file, *more), methods)
        record = read_json(folder / RECORD)
        if record.get("fingerprint") != fingerprint:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            record = {"photo": file.name, "fingerprint": fingerprint} | self._make(file, folder, methods, more)
            write_json(folder / RECORD, record)
        return Estimate(folder, record)

    def fit(self, photo: Photo) -> Fitted:
        """What all methods share of a photo."""
        return fit_photo(photo, self.pack, self.model, self.atlas, self.mean_diffuse_srgb)

    @cached_property
    def mean_diffuse_srgb(self) -> Tensor:
        """The mean diffuse map of the pack's templates [3, T, T] sRGB."""
        file = self.out / f"mean-{self.pack.sha256[:12]}-{self.size}.npy"
        if not file.is_file():
            self.out.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(".partial.npy")
            np.save(partial, mean_template(self.pack, self.model, self.atlas).numpy(force=True))
            partial.replace(file)
        return torch.from_numpy(np.load(file)).to(self.pack.device)

    def _make_side_by_side(self, photos: list[tuple[str, Path]], progress: Progress, methods: tuple[str, ...]) -> None:
        """Estimate photos in processes of one thread each; nothing when there are too few, or a GPU does the work."""
        processes = min(MOST_PROCESSES, torch.get_num_threads(), len(photos) // LEAST_PHOTOS)
        if processes < 2 or self.pack.device.type != "cpu":
            return
        if methods:
            _ = self.mean_diffuse_srgb  # each process would make it
        given = self.pack_name, self.size, self.out, self.judge.path if self.judge else None
        pool = ProcessPoolExecutor(processes, get_context("spawn"), _open_estimator, given)
        try:
            made = [pool.submit(_estimate_here, *each, methods) for each in photos]
            for number, each in enumerate(as_completed(made), 1):
                each.result()
                progress("estimate", number, len(photos))
        finally:
            pool.shutdown(cancel_futures=True)  # a run that is stopped waits for no photo that has not begun

    def _is_there(self, name: str, file: Path, methods: tuple[str, ...]) -> bool:
        return read_json(self._folder(name) / RECORD).get("fingerprint") == self._fingerprint((file,), methods)

    def _folder(self, name: str) -> Path:
        return self.out / "estimates" / name

    def _make(self, file: Path, folder: Path, methods: tuple[str, ...], more: Sequence[Path]) -> dict:
        out, device = str(folder / OWN_FOLDER), self.pack.device.type
        others = tuple(map(str, more))
        request = Request(str(file), out, self.pack_name, self.size, device=device, more_photos=others)
        try:
            report = reconstruct(request).report
            fitted = self.fit(load_photo(file)) if methods else None
        except Id2rError as error:
            return {"failed": error.message}
        identity = {}
        for method in methods:
            diffuse = self._diffuse(method, fitted, folder)
            if method != OURS:
                write_image(folder / _diffuse_file(method), stored(diffuse, np.uint8))
            identity[method] = self._likeness(fitted, diffuse)
        kept = ("seconds", "warnings", "landmark_error", "coverage", "tone_linear", "identity_cosine")
        return {"identity": identity} | {key: report[key] for key in kept}

    def _diffuse(self, method: str, fitted: Fitted, folder: Path) -> Tensor:
        """The diffuse map [3, T, T] sRGB of one method."""
        if method == OURS:
            own = read_map(folder / _diffuse_file(OURS), self.size)
            return torch.from_numpy(own).permute(2, 0, 1).to(self.pack.device)
        if method == SWAP_ALONE:
            return swapped_alone(fitted)
        return (HALVES | BASELINES)[method](fitted)

    def _likeness(self, fitted: Fitted, diffuse_srgb: Tensor) -> float | None:
        """ID: cosine of photo and re-rendered head under the fitted camera and light; None when no face is found."""
        rendered = fitted.rendered(diffuse_srgb, JUDGED_SIZE if self.judge else None)
        if self.judge is None:
            vectors = [embed_identity(crop, self.pack).vector.numpy(force=True) for crop in (fitted.crop, rendered)]
            return round(cosine(*vectors), 4)
        try:
            seen = self.judge.embed(Photo(rendered.srgb, "render"))
        except NoFace:
            return None
        return round(cosine(self.judge.embed(fitted.photo), seen), 4)

    def _fingerprint(self, files: Sequence[Path], methods: tuple[str, ...]) -> str:
        parts = [self.code, self.pack.sha256, str(self.size), self.judge.sha256 if self.judge else "own", *methods]
        return hashlib.sha256("".join(parts).encode() + b"".join(file.read_bytes() for file in files)).hexdigest()

    @cached_property
    def code(self) -> str:
        """Hash of the sources that an estimate depends on."""
        files = sorted({path for pattern in SOURCES for path in CORE.glob(pattern)})
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def make_estimator(pack_name: str, size: int, out: Path, device: str = "cpu", judge: Path | None = None) -> Estimator:
    """Load what all photos share."""
    device = choose_device(device)
    model = load_head(device=device)
    recogniser = Judge(judge) if judge else None
    return Estimator(load_pack(pack_name, device), pack_name, model, make_atlas(model, size), out, recogniser)


_here: list[Estimator] = []  # the one of a process that estimates beside others


def _open_estimator(pack_name: str, size: int, out: Path, judge: Path | None) -> None:
    torch.set_num_threads(1)
    _here.append(make_estimator(pack_name, size, out, "cpu", judge))


def _estimate_here(name: str, file: Path, methods: tuple[str, ...]) -> None:
    _here[0].one(name, file, methods)


def swapped_alone(fitted: Fitted) -> Tensor:
    """The swapped diffuse map in the estimated tone, without any detail of the photo (`reconstruct --refine 0`)."""
    template = choose_template(fitted.pack, fitted.identity)
    stitched = stitch_views(
        swap_identity(template, fitted.identity, fitted.pack), fitted.head, fitted.atlas, fitted.pack.preset.sides
    )
    evidence = [Evidence(fitted.photo, fitted.face, fitted.head, fitted.identity, fitted.translation)]
    refined = refine_from_photos(stitched, evidence, fitted.atlas, strength=0.0)
    return refined.maps.images[Domain.DIFFUSE]


def _diffuse_file(method: str) -> str:
    """Where the diffuse map of a method lies in a photo's folder."""
    if method == OURS:
        return f"{OWN_FOLDER}/{Domain.DIFFUSE.value}.png"
    return f"method{METHODS.index(method)}.png"


def read_json(path: Path) -> dict:
    """The object in a JSON file; empty when there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_json(path: Path, values: dict) -> None:
    """A JSON file, complete or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
