"""A photo from a webcam: a countdown with a mirrored preview, then the sharpest of the last frames. OpenCV.

A video file can stand in for the camera; its time runs as fast as it can be read.
"""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from .errors import Id2rError
from .files import whole_file, write_image

PREVIEW_PIXELS = 480  # longest side of the preview
PREVIEW_EVERY = 0.1  # seconds
CANDIDATES = 8  # frames at the end of the countdown of which the sharpest is taken
WIDEST = (1920, 1080)  # what a camera is asked for; it gives what it can
LONGEST_WAIT = 10.0  # seconds without a frame

Progress = Callable[[str, int, int], None]


def capture_photo(source: str, out: Path, preview: Path, countdown: float, progress: Progress) -> None:
    """Count down, show what the camera sees in `preview` (PNG, mirrored), and write the photo to `out` (not mirrored).

    source: number of a camera, or path of a video. progress("camera", tenths, all tenths) may raise Cancelled.
    Raises Id2rError when there is no such camera, or when it sends no picture.
    """
    device = _open(source)
    steps = max(1, round(countdown * 10))
    last: deque[np.ndarray] = deque(maxlen=CANDIDATES)
    shown = -PREVIEW_EVERY
    try:
        for elapsed, frame in _frames(device, is_video=not source.isdigit()):
            last.append(frame)
            progress("camera", min(int(elapsed * 10), steps), steps)
            if elapsed - shown >= PREVIEW_EVERY:
                _write(preview, _small(frame)[:, ::-1])
                shown = elapsed
            if elapsed >= countdown:
                break
    finally:
        device.release()
        preview.unlink(missing_ok=True)
    if not last:
        raise Id2rError(f"The camera '{source}' sends no picture.", "Close other programs that use it, and try again.")
    _write(out, max(last, key=sharpness))


def sharpness(frame: np.ndarray) -> float:
    """Variance of the Laplacian of a BGR frame (Pech-Pacheco et al., "Diatom autofocusing", 2000)."""
    return float(cv2.Laplacian(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), cv2.CV_64F).var())


def _open(source: str) -> cv2.VideoCapture:
    device = cv2.VideoCapture(int(source) if source.isdigit() else source)
    if not device.isOpened():
        what = f"There is no camera {source}" if source.isdigit() else f"'{Path(source).name}' is no video"
        raise Id2rError(f"{what}.", "Connect one and allow programs to use it, or try another number (0 is the first).")
    if source.isdigit():
        device.set(cv2.CAP_PROP_FRAME_WIDTH, WIDEST[0])
        device.set(cv2.CAP_PROP_FRAME_HEIGHT, WIDEST[1])
    return device


def _frames(device: cv2.VideoCapture, is_video: bool):
    """(seconds since the first frame, BGR frame); ends with the video, or when a camera stays silent."""
    started = heard = time.monotonic()
    rate = device.get(cv2.CAP_PROP_FPS) or 25.0
    number = 0
    while time.monotonic() - heard < LONGEST_WAIT:
        received, frame = device.read()
        if received:
            heard = time.monotonic()
            yield (number / rate if is_video else heard - started), frame
            number += 1
        elif is_video:
            return


def _small(frame: np.ndarray) -> np.ndarray:
    scale = min(1.0, PREVIEW_PIXELS / max(frame.shape[:2]))
    return cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _write(path: Path, frame: np.ndarray) -> None:
    """A frame as OpenCV has it, [H, W, 3] BGR."""
    with whole_file(path) as partial:
        write_image(partial, frame[..., ::-1])
