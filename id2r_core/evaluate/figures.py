"""Pictures of results, drawn with OpenCV: bars by group, rows of pictures with captions, error maps."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..files import write_image

PAPER, INK, FAINT = (255, 255, 255), (40, 40, 40), (222, 222, 222)
# Colours of the series, RGB, told apart by the colour-blind too (Okabe & Ito 2008).
SERIES = (
    (0, 114, 178), (86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (213, 94, 0), (240, 228, 66), (0, 0, 0),
)  # fmt: skip
FONT, LETTERS = cv2.FONT_HERSHEY_SIMPLEX, 0.42
CAPTION, MARGIN = 22, 56
JPEG_QUALITY = 88
WORST_ERROR = 0.25  # sRGB, mean of the channels: the hot end of error maps


def bars(path: Path, title: str, groups: Sequence[str], series: dict[str, Sequence[float | None]], unit: str) -> None:
    """Grouped bars: series[name][i] belongs to groups[i]; None leaves a gap."""
    height, width = 360, 2 * MARGIN + max(640, 26 * len(groups) * len(series))
    picture = np.full((height, width, 3), PAPER, np.uint8)
    most = max((value for row in series.values() for value in row if value is not None), default=1.0)
    top, bottom = 70, height - 40
    scale = (bottom - top) / _round_up(most)
    for step in range(5):
        value = _round_up(most) * step / 4
        y = round(bottom - value * scale)
        cv2.line(picture, (MARGIN, y), (width - 10, y), FAINT, 1)
        _write(picture, f"{value:g}", (8, y + 4))
    wide = (width - MARGIN - 20) / len(groups)
    for place, group in enumerate(groups):
        left = MARGIN + place * wide + 8
        one = (wide - 16) / len(series)
        for number, row in enumerate(series.values()):
            if row[place] is None:
                continue
            corner = (round(left + number * one), round(bottom - row[place] * scale))
            cv2.rectangle(picture, corner, (round(left + (number + 1) * one) - 2, bottom), SERIES[number], -1)
        _write(picture, group, (round(left + wide / 2 - 14), bottom + 18))
    _write(picture, f"{title} ({unit})", (MARGIN, 20))
    x = MARGIN
    for number, name in enumerate(series):
        cv2.rectangle(picture, (x, 34), (x + 12, 46), SERIES[number], -1)
        _write(picture, name, (x + 16, 45))
        x += 30 + cv2.getTextSize(name, FONT, LETTERS, 1)[0][0]
    save_picture(path, picture)


def sheet(path: Path, rows: Sequence[Sequence[tuple[str, np.ndarray]]], side: int = 192) -> None:
    """Rows of captioned pictures [h, w, 3] sRGB in [0, 1], each brought to side x side."""
    save_picture(path, np.concatenate([_row(row, side, max(map(len, rows))) for row in rows]))


def scatter(path: Path, points: np.ndarray, group: np.ndarray, names: Sequence[str], side: int = 480) -> None:
    """Points [N, 2] in the colour of their group [N], which indexes names; scaled to fill the picture."""
    picture = np.full((side + CAPTION, side, 3), PAPER, np.uint8)
    low, high = points.min(0), points.max(0)
    places = (points - low) / (high - low).max() * (side - 16) + 8
    for (x, y), number in zip(places, group, strict=True):
        cv2.circle(picture, (round(float(x)), round(float(y)) + CAPTION), 3, SERIES[number], -1, cv2.LINE_AA)
    x = 8
    for number, name in enumerate(names):
        cv2.circle(picture, (x, CAPTION // 2), 5, SERIES[number], -1, cv2.LINE_AA)
        _write(picture, name, (x + 9, CAPTION // 2 + 4))
        x += 24 + cv2.getTextSize(name, FONT, LETTERS, 1)[0][0]
    save_picture(path, picture)


def error_map(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean absolute error of RGB as colour, black (none) to yellow (0.25 and more), white outside the mask."""
    error = np.abs(image - truth).mean(2) / WORST_ERROR
    coloured = cv2.applyColorMap((error.clip(0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.where(mask[..., None], coloured / np.float32(255), np.float32(1))


def cut_to(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The part of an image round a mask, white outside the mask."""
    rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    shown = np.where(mask[..., None], image, np.float32(1))
    return shown[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def save_picture(path: Path, picture: np.ndarray) -> None:
    """uint8 RGB [H, W, 3]; JPEG for photographs, PNG for drawings."""
    write_image(path, picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def _row(row: Sequence[tuple[str, np.ndarray]], side: int, columns: int) -> np.ndarray:
    strip = np.full((side + CAPTION, columns * side, 3), PAPER, np.uint8)
    for place, (caption, image) in enumerate(row):
        fitted = fit_square(image, side)
        strip[CAPTION:, place * side : (place + 1) * side] = (fitted.clip(0, 1) * 255 + 0.5).astype(np.uint8)
        _write(strip[:, place * side : (place + 1) * side - 4], caption, (4, CAPTION - 7))
    return strip


def fit_square(image: np.ndarray, side: int) -> np.ndarray:
    """The whole image in the middle of a white square."""
    scale = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    square = np.ones((side, side, 3), np.float32)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = small
    return square


def _write(picture: np.ndarray, text: str, at: tuple[int, int]) -> None:
    cv2.putText(picture, text, at, FONT, LETTERS, INK, 1, cv2.LINE_AA)


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 5 or 10 times a power of ten."""
    power = 10 ** np.floor(np.log10(max(value, 1e-6)))
    return float(next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value * 0.999))
