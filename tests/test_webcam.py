"""The webcam, for which a video file stands in."""

import cv2
import numpy as np
import pytest

from id2r_core import webcam
from id2r_core.errors import Cancelled, Id2rError

RATE, SIDE = 20, 128


@pytest.fixture
def video(tmp_path):
    """Two seconds: red on the left, a checkerboard on the right that is sharp only in one of the last frames."""
    path = tmp_path / "face.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), RATE, (SIDE, SIDE))
    checker = (np.indices((SIDE, SIDE)).sum(0) // 8 % 2 * 255).astype(np.uint8)
    for number in range(2 * RATE):
        blurred = checker if number == 2 * RATE - 14 else cv2.GaussianBlur(checker, (0, 0), 6)
        frame = np.repeat(blurred[..., None], 3, 2)
        frame[:, : SIDE // 2] = (0, 0, 40 + 5 * number)  # BGR: the red says which frame it is
        writer.write(frame)
    writer.release()
    assert path.stat().st_size > 1000
    return path


def test_the_sharpest_of_the_last_frames_is_kept_and_not_mirrored(video, tmp_path):
    seen = []
    out = tmp_path / "photos" / "photo.png"
    webcam.capture_photo(str(video), out, tmp_path / "preview.png", 1.5, lambda *each: seen.append(each))
    photo = cv2.imread(str(out))
    assert photo.shape == (SIDE, SIDE, 3)
    red = photo[:, 8 : SIDE // 2 - 8].reshape(-1, 3).mean(0)
    assert red[2] - red[0] > 100  # red stays on the left
    assert red[2] == pytest.approx(40 + 5 * (2 * RATE - 14), abs=8)
    assert seen[0] == ("camera", 0, 15) and seen[-1] == ("camera", 15, 15)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert not list(tmp_path.rglob("*preview*")) and not list(tmp_path.rglob("*.partial*"))


def test_the_preview_is_mirrored(video, tmp_path):
    previews = []

    def look(*_):
        if (tmp_path / "preview.png").exists():
            previews.append(cv2.imread(str(tmp_path / "preview.png")))

    webcam.capture_photo(str(video), tmp_path / "photo.png", tmp_path / "preview.png", 1.0, look)
    right = previews[-1][:, SIDE // 2 + 8 :].reshape(-1, 3).mean(0)
    assert len(previews) > 5 and right[2] - right[0] > 20


def test_cancelling_leaves_nothing(video, tmp_path):
    def stop(_stage, done, _total):
        if done == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        webcam.capture_photo(str(video), tmp_path / "photo.png", tmp_path / "preview.png", 1.0, stop)
    assert {path.name for path in tmp_path.iterdir()} == {"face.avi"}


@pytest.mark.parametrize("source, said", [("97", "no camera 97"), ("notes.txt", "no video")])
def test_what_is_no_camera_is_said(tmp_path, source, said):
    (tmp_path / "notes.txt").write_text("hello")
    path = source if source.isdigit() else str(tmp_path / source)
    with pytest.raises(Id2rError, match=said):
        webcam.capture_photo(path, tmp_path / "photo.png", tmp_path / "preview.png", 1.0, lambda *_: None)
