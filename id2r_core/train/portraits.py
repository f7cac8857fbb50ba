"""Real portraits as aligned crops, prepared once a run and kept as one safetensors file.

A portrait whose id has crc32(id) % 5 == 0 belongs to the test split and is never trained on.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from ..capture.bundle import CROPS
from ..configs import Preset
from ..conventions import CROP_UNITS
from ..errors import Id2rError
from .checkpoint import has_checkpoint, load_checkpoint, save_checkpoint

FILE = "portraits.safetensors"
LARGEST_CROP = 256  # pixels kept; the portraits of the training data are not larger, so larger images are enlarged ones
# Where both cheeks are in an aligned crop of CROP_UNITS.
CHEEK_ROWS, CHEEK_COLUMNS = (70, 88), ((34, 50), (78, 94))


@dataclass(frozen=True)
class Portraits:
    """images [N, 3, C, C] uint8 sRGB, aligned as in `crop.crop_face`; `ids[i]` names the person of image i;
    size: the side S at which they are shown."""

    images: torch.Tensor
    ids: tuple[str, ...]
    size: int

    def __len__(self) -> int:
        return len(self.ids)

    def pick(self, index: torch.Tensor) -> torch.Tensor:
        """[B] -> [B, 3, S, S] float32 in [-1, 1]."""
        images = self.images[index.to(self.images.device)].float() / 127.5 - 1.0
        if images.shape[-1] == self.size:
            return images
        return F.interpolate(images, size=(self.size,) * 2, mode="bicubic", align_corners=False).clamp(-1.0, 1.0)

    def cheeks(self, index: torch.Tensor) -> torch.Tensor:
        """[B] -> the median sRGB colour of both cheeks [B, 3] in [0, 1]."""
        unit = self.images.shape[-1] / CROP_UNITS
        rows = slice(round(CHEEK_ROWS[0] * unit), round(CHEEK_ROWS[1] * unit))
        chosen = self.images[index.to(self.images.device)]
        patches = [chosen[:, :, rows, round(a * unit) : round(b * unit)].flatten(2) for a, b in CHEEK_COLUMNS]
        return torch.cat(patches, 2).float().median(2).values / 255.0

    def split(self, name: str) -> "Portraits":
        """The portraits of the split "train" or "test"."""
        keep = [i for i, portrait in enumerate(self.ids) if is_test(portrait) == (name == "test")]
        return Portraits(self.images[keep], tuple(self.ids[i] for i in keep), self.size)

    def to(self, device: torch.device) -> "Portraits":
        return replace(self, images=self.images.to(device))


def is_test(portrait_id: str) -> bool:
    return zlib.crc32(portrait_id.encode()) % 5 == 0


def prepare_portraits(preset: Preset, data: Path, out: Path, report=lambda line: None) -> Portraits:
    """Crop every portrait of the training data, or load what an earlier command of the run kept."""
    path = Path(out) / FILE
    if not has_checkpoint(path):
        found = list(crop_portraits(data, min(preset.size, LARGEST_CROP), report))
        images = torch.from_numpy(np.stack([crop.transpose(2, 0, 1) for _, crop in found]))
        save_checkpoint(path, {"images": images}, {"ids": [name for name, _ in found]})
    return load_portraits(out, preset.size)


def load_portraits(out: Path, size: int) -> Portraits:
    """The crops that an earlier command of the run kept, to be shown at `size` pixels."""
    tensors, state = load_checkpoint(Path(out) / FILE)
    return Portraits(tensors["images"], tuple(state["ids"]), size)


def crop_portraits(data: Path, size: int, report=lambda line: None) -> Iterator[tuple[str, np.ndarray]]:
    """Each portrait of the training data that shows a face: its id and its aligned crop, uint8 sRGB [size, size, 3].

    A capture bundle holds the crops themselves, so that nothing has to be detected. Raises Id2rError without any.
    """
    crops = sorted((Path(data) / CROPS).glob("*.jpg"))
    paths = crops or sorted((Path(data) / "portraits").glob("*.jpg"))
    if not paths:
        raise Id2rError(f"There are no portraits in {data}.", "Name the training data with --data.")
    for number, path in enumerate(paths):
        if number and number % 50 == 0:
            report(f"portraits: {number} of {len(paths)}")
        if crops:
            yield path.stem, resized(cv2.imread(str(path))[..., ::-1], size)
            continue
        try:
            yield path.stem, _detected(path, size)
        except Id2rError as error:
            report(f"portrait {path.stem} left out: {error.message}")


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """[H, W, 3] -> [size, size, 3], averaged where that is smaller."""
    kind = cv2.INTER_AREA if size < len(image) else cv2.INTER_CUBIC
    return cv2.resize(image, (size, size), interpolation=kind)


def _detected(path: Path, size: int) -> np.ndarray:
    from ..crop import crop_face
    from ..landmarks import detect_face
    from ..photo import load_photo

    photo = load_photo(path)
    crop = crop_face(photo, detect_face(photo), size)
    return (np.clip(crop.srgb, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
