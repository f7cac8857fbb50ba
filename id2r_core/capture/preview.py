"""A contact sheet of the capture stage: every subject's photograph, its three views, and their reflectance.

With --photographs only the photographs, in a square of rows.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch

from ..conventions import Domain
from ..detail import stored
from ..device import choose_device
from ..files import whole_file, write_image
from .sources import SPLITS
from .stage import CaptureStage

SHEET_DOMAINS = (Domain.DIFFUSE, Domain.SPECULAR, Domain.ROUGHNESS, Domain.NORMAL)
AT_ONCE = 4


def write_preview(stage: CaptureStage, count: int, path: Path, progress=None) -> None:
    """Write subjects 0 .. count - 1, one a row: photograph | RGB of the three views | front diffuse, specular,
    roughness, normal | left diffuse, normal. Calls progress("preview", done, total)."""
    rows = []
    for start in range(0, count, AT_ONCE):
        subjects = stage.subjects(range(start, min(start + AT_ONCE, count)))
        views, photographs = stage.views(subjects), stage.photographs(subjects, take=1)
        columns = [photographs.srgb, *views[Domain.RGB].unbind(1)]
        columns += [views[domain][:, 0] for domain in SHEET_DOMAINS]
        columns += [views[Domain.DIFFUSE][:, 1], photographs.reflectance[Domain.DIFFUSE]]
        rows += list(torch.cat(columns, dim=3))
        if progress:
            progress("preview", len(rows), count)
    _write_sheet(torch.cat(rows, dim=1), path)


def write_photographs(stage: CaptureStage, count: int, path: Path, progress=None) -> None:
    """Write one photograph of each of subjects 0 .. count - 1, in rows of about as many as there are rows."""
    images = []
    for start in range(0, count, AT_ONCE):
        subjects = stage.subjects(range(start, min(start + AT_ONCE, count)))
        images += list(stage.photographs(subjects, take=1).srgb)
        if progress:
            progress("preview", len(images), count)
    columns = math.ceil(math.sqrt(count))
    images += [torch.zeros_like(images[0])] * (-count % columns)
    rows = [torch.cat(images[start : start + columns], dim=2) for start in range(0, len(images), columns)]
    _write_sheet(torch.cat(rows, dim=1), path)


def _write_sheet(srgb: torch.Tensor, path: Path) -> None:
    """[3, H, W] as a picture file."""
    with whole_file(Path(path)) as partial:
        write_image(partial, stored(srgb, np.uint8))


def main(argv: list[str]) -> int:
    """`capture preview --count N --data DIR --out FILE`."""
    parser = argparse.ArgumentParser(prog="id2r_core capture preview", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the directory of training data")
    parser.add_argument("--out", type=Path, default=Path("capture.png"))
    parser.add_argument("--captures", type=Path, help="imported captures whose skins join in")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--photographs", action="store_true", help="only photographs, in a square")
    parser.add_argument("--size", type=int, default=256, help="pixels of one picture")
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(argv)
    stage = CaptureStage(
        given.data, given.size, choose_device(given.device), given.seed, given.split, captures=given.captures
    )
    write = write_photographs if given.photographs else write_preview
    write(stage, given.count, given.out)
    return 0
