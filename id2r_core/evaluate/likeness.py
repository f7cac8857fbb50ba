"""Likeness of rendered heads to their photos, by a face recogniser that takes no part in making them.

    python -m id2r_core evaluate likeness --portraits DIR --results DIR --judge FILE.onnx

RESULTS holds a folder per person and variant, `<name>/<variant>/`, each written by `reconstruct` and with the renders
`studio.png`, `courtyard.png` ... that `python -m addon.batch DIR --portraits --renders studio,courtyard` leaves there.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import Id2rError
from ..landmarks import detect_face
from ..photo import Photo, load_photo

# The judge's alignment (MobileFaceNet): where the five points lie in its 112 x 112 input, and its normalisation.
JUDGE_POINTS = ((38.29, 51.70), (73.53, 51.50), (56.03, 71.74), (41.55, 92.37), (70.73, 92.20))
# The PNGs of a result folder that are not renders.
NOT_RENDERS = {"diffuse", "specular", "roughness", "normal", "coverage", "photo", "contact_sheet"}
JUDGE_MEAN, JUDGE_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Judge:
    """A recognition network in ONNX: input 1x3x112x112 RGB, output an embedding."""

    def __init__(self, path: Path):
        if not path.is_file():
            raise Id2rError(f"There is no recognition network at '{path}'.", "Give its ONNX file with --judge.")
        self._net = cv2.dnn.readNetFromONNX(str(path))
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    def embed(self, photo: Photo) -> np.ndarray:
        """Unit vector [D] of the largest face of a picture. Raises Id2rError when there is none."""
        from skimage.transform import SimilarityTransform

        align = SimilarityTransform.from_estimate(detect_face(photo).five, np.array(JUDGE_POINTS)).params[:2]
        face = cv2.warpAffine(photo.srgb, align, (112, 112), flags=cv2.INTER_AREA)
        normalised = (face - np.float32(JUDGE_MEAN)) / np.float32(JUDGE_SPREAD)
        self._net.setInput(np.ascontiguousarray(normalised.transpose(2, 0, 1)[None]))
        vector = self._net.forward()[0].copy()
        return vector / np.linalg.norm(vector)


def score(results: Path, portraits: Path, judge: Judge) -> dict:
    """Cosine of photo and render for every `results/<name>/<variant>/<hdri>.png`, and the rank of the right person.

    The gallery for the rank is the photos of all people in `results`. Returns {variant: {hdri: {mean, rank_1, each}}}.
    """
    names = sorted(path.name for path in results.iterdir() if path.is_dir())
    gallery = {name: judge.embed(load_photo(_photo_of(portraits, name))) for name in names}
    stacked = np.stack(list(gallery.values()))
    table: dict = {}
    for render in sorted(results.glob("*/*/*.png")):
        name, variant, hdri = render.parts[-3], render.parts[-2], render.stem
        if hdri in NOT_RENDERS:
            continue
        cosines = stacked @ judge.embed(load_photo(render))
        cell = table.setdefault(variant, {}).setdefault(hdri, {"each": {}, "first": 0})
        cell["each"][name] = round(float(cosines[names.index(name)]), 4)
        cell["first"] += int(cosines.argmax() == names.index(name))
    for cell in (cell for row in table.values() for cell in row.values()):
        cell["mean"] = round(float(np.mean(list(cell["each"].values()))), 4)
        cell["rank_1"] = round(cell.pop("first") / len(cell["each"]), 4)
    return table


def _photo_of(portraits: Path, name: str) -> Path:
    found = sorted(portraits.glob(f"{name}.*"))
    if not found:
        raise Id2rError(f"There is no photo of '{name}' in {portraits}.", "Give the folder the results were made from.")
    return found[0]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="id2r_core evaluate likeness", description=__doc__.splitlines()[0])
    parser.add_argument("--portraits", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True)
    options = parser.parse_args(arguments)
    judge = Judge(options.judge)
    table = score(options.results, options.portraits, judge)
    for variant, row in table.items():
        cells = ", ".join(f"{hdri} {cell['mean']:.3f} (first {cell['rank_1']:.0%})" for hdri, cell in row.items())
        print(f"{variant}: {cells}")
    written = options.results / "likeness.json"
    written.write_text(json.dumps({"judge_sha256": judge.sha256, "variants": table}, indent=1) + "\n")
    return 0
