"""Real portraits as aligned crops, prepared once a run and kept as one safetensors file.

A portrait whose id has crc32(id) % 5 == 0 belongs to the test split and is never trained on.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..configs import Preset
from ..conventions import CROP_UNITS
from ..errors import Id2rError
from .checkpoint import load_checkpoint, save_checkpoint

FILE = "portraits.safetensors"
# Where both cheeks are in an aligned crop of CROP_UNITS.
CHEEK_ROWS, CHEEK_COLUMNS = (70, 88), ((34, 50), (78, 94))


@dataclass(frozen=True)
class Portraits:
    """images [N, 3, S, S] uint8 sRGB, aligned as in `crop.crop_face`; `ids[i]` names the person of image i."""

    images: torch.Tensor
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def pick(self, index: torch.Tensor) -> torch.Tensor:
        """[B] -> [B, 3, S, S] float32 in [-1, 1]."""
        return self.images[index].float() / 127.5 - 1.0

    def cheeks(self, index: torch.Tensor) -> torch.Tensor:
        """[B] -> the median sRGB colour of both cheeks [B, 3] in [0, 1]."""
        unit = self.images.shape[-1] / CROP_UNITS
        rows = slice(round(CHEEK_ROWS[0] * unit), round(CHEEK_ROWS[1] * unit))
        patches = [
            self.images[index][:, :, rows, round(a * unit) : round(b * unit)].flatten(2) for a, b in CHEEK_COLUMNS
        ]
        return torch.cat(patches, 2).median(2).values.float() / 255.0

    def split(self, name: str) -> "Portraits":
        """The portraits of the split "train" or "test"."""
        keep = [i for i, portrait in enumerate(self.ids) if is_test(portrait) == (name == "test")]
        return Portraits(self.images[keep], tuple(self.ids[i] for i in keep))


def is_test(portrait_id: str) -> bool:
    return zlib.crc32(portrait_id.encode()) % 5 == 0


def prepare_portraits(preset: Preset, data: Path, out: Path, report=lambda line: None) -> Portraits:
    """Crop every portrait of the training data, or load what an earlier command of the run kept."""
    path = Path(out) / FILE
    if not path.is_file():
        images, ids = _crop_all(Path(data) / "portraits", preset.size, report)
        save_checkpoint(path, {"images": images}, {"ids": ids})
    return load_portraits(out)


def load_portraits(out: Path) -> Portraits:
    """The crops that an earlier command of the run kept."""
    tensors, state = load_checkpoint(Path(out) / FILE)
    return Portraits(tensors["images"], tuple(state["ids"]))


def _crop_all(folder: Path, size: int, report) -> tuple[torch.Tensor, list[str]]:
    from ..crop import crop_face
    from ..landmarks import detect_face
    from ..photo import load_photo

    paths = sorted(folder.glob("*.jpg"))
    if not paths:
        raise Id2rError(f"There are no portraits in {folder}.", "Name the training data with --data.")
    images, ids = [], []
    for path in paths:
        photo = load_photo(path)
        try:
            crop = crop_face(photo, detect_face(photo), size)
        except Id2rError as error:
            report(f"portrait {path.stem} left out: {error.message}")
            continue
        images.append((np.clip(crop.srgb, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8).transpose(2, 0, 1))
        ids.append(path.stem)
        if len(ids) % 50 == 0:
            report(f"portraits: {len(ids)} of {len(paths)}")
    return torch.from_numpy(np.stack(images)), ids
