"""Every bad input, through the command line: one clear sentence with what to do, exit code 2, and no result."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

import id2r_core
from id2r_core import __main__ as cli

TINY_PACK = Path(id2r_core.__file__).parent / "packs" / "tiny"


@pytest.fixture
def refused(tmp_path, capsys):
    """Run `reconstruct` on bad input; returns what it says, after checking how it says it."""

    def run(photo: Path, *options: str, out: Path | None = None) -> str:
        out = out or tmp_path / "out"
        assert cli.main(["reconstruct", str(photo), "--out", str(out), *options]) == 2
        captured = capsys.readouterr()
        last_line = captured.err.strip().splitlines()[-1]
        assert last_line.startswith("Error: ") and last_line.count(". ") >= 1 and last_line.endswith(".")
        assert "Traceback" not in captured.err and captured.out == ""
        assert not out.is_dir() or list(out.iterdir()) == []
        return last_line

    return run


def save(path: Path, srgb: np.ndarray) -> Path:
    Image.fromarray(srgb).save(path)
    return path


def test_no_face(tmp_path, refused):
    assert "No face was found in 'cat.png'" in refused(save(tmp_path / "cat.png", skimage.data.chelsea()))


def test_a_face_under_64_pixels(tmp_path, refused):
    small = Image.fromarray(skimage.data.astronaut()).resize((220, 220), Image.Resampling.LANCZOS)
    assert "pixels high; 64 are the least" in refused(save(tmp_path / "small.png", np.asarray(small)))


def test_a_folder(tmp_path, refused):
    assert "is a folder" in refused(tmp_path)


def test_a_missing_file(tmp_path, refused):
    assert "There is no file" in refused(tmp_path / "ada.jpg")


def test_an_empty_file(tmp_path, refused):
    (tmp_path / "empty.png").touch()
    assert "is empty" in refused(tmp_path / "empty.png")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_truncated_file(tmp_path, refused, suffix):
    photo = save(tmp_path / f"cut{suffix}", skimage.data.astronaut())
    photo.write_bytes(photo.read_bytes()[:20000])
    assert "damaged or cut off" in refused(photo)


def test_thirty_thousand_pixels_square(tmp_path, refused):
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + bytes(4) + b"IDAT" + bytes(4))
    assert "the limit is 128 megapixels" in refused(tmp_path / "huge.png")


def test_a_text_file_called_jpg(tmp_path, refused):
    (tmp_path / "letter.jpg").write_text("Dear Sir or Madam,\n" * 50)
    assert "'letter.jpg' is not a picture" in refused(tmp_path / "letter.jpg")


def test_an_unwritable_output_folder(tmp_path, astronaut_path, refused):
    (tmp_path / "file").touch()
    assert "file" in refused(astronaut_path, out=tmp_path / "file" / "out")
    assert (tmp_path / "file").is_file()


def test_an_output_folder_that_is_a_file(tmp_path, astronaut_path, refused):
    (tmp_path / "taken").write_text("mine")
    assert "taken" in refused(astronaut_path, out=tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_an_unknown_pack(astronaut_path, refused):
    assert "nobodys" in refused(astronaut_path, "--pack", "nobodys")


def test_a_damaged_pack(tmp_path, astronaut_path, refused):
    shutil.copytree(TINY_PACK, tmp_path / "damaged")
    (weights, *_) = sorted((tmp_path / "damaged").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-100] ^= 1
    weights.write_bytes(data)
    assert "damaged" in refused(astronaut_path, "--pack", str(tmp_path / "damaged"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu(astronaut_path, refused):
    assert "cuda" in refused(astronaut_path, "--device", "cuda").lower()


def test_a_missing_landmark_model(tmp_path, astronaut_path, refused):
    assert "landmark model" in refused(astronaut_path, "--landmarks", str(tmp_path / "none.task"))


def test_an_unknown_template(astronaut_path, refused):
    assert "nobodys" in refused(astronaut_path, "--template", "nobodys")


def test_an_impossible_resolution(astronaut_path, refused):
    assert "resolution of 9" in refused(astronaut_path, "--resolution", "9")


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is another signal there")
def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path, astronaut_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "id2r_core", "reconstruct", str(astronaut_path), "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        seen = b""
        while b"identity" not in seen and (more := process.stderr.read1()):
            seen += more
        process.send_signal(signal.SIGINT)
        output, rest = process.communicate(timeout=60)
    assert process.returncode == 130, seen + rest
    assert output == b"" and b"Cancelled" in rest and b"Traceback" not in rest
    assert not out.exists()
