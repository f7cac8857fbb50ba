"""The capture bundle: packed from sources made here, opened again, and trained from without the packages it replaces."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fake_capture import MICRO, write_vgg

from id2r_core.__main__ import main
from id2r_core.capture import CaptureStage, bundle, sources
from id2r_core.conventions import Domain
from id2r_core.errors import Id2rError
from id2r_core.head.model import HEAD_FILE, load_head
from id2r_core.train import losses, pool
from id2r_core.train.losses import VGG_FILE, Perceptual, load_perceptual
from id2r_core.train.portraits import crop_portraits, prepare_portraits

ROOT = Path(__file__).parents[1]
# What a bare GPU machine may lack, and what reads portraits and builds heads.
ABSENT = (
    "mediapipe", "anny", "bpy", "tensorboard", "tqdm", "skimage", "scipy", "PIL", "insightface", "onnxruntime", "onnx",
)  # fmt: skip


def small_data(folder: Path) -> Path:
    """Training data in small: noise for skins and environments of both splits, four crops, a perceptual network."""
    os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")
    random = np.random.default_rng(0)
    for split in sources.SPLITS:
        names = [f"young_lightskinned_male{i}" for i in range(40)]
        skin = next(name for name in names if sources.split_of(name) == split)
        sky = next(name for name in "abcdefghijklmnop" if sources.split_of(name) == split)
        for name, image in (
            (f"makehuman/skins/{skin}.jpg", random.integers(150, 200, (74, 139, 3)).astype(np.uint8)),
            (f"hdri/{sky}.exr", random.random((16, 32, 3)).astype(np.float32)),
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / name), image)
    (folder / "crops").mkdir()
    for index in range(4):
        cv2.imwrite(str(folder / f"crops/p{index}.jpg"), random.integers(0, 255, (64, 64, 3)).astype(np.uint8))
    (folder / VGG_FILE).parent.mkdir()
    torch.manual_seed(0)
    write_vgg(folder / VGG_FILE, Perceptual().state_dict())
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def packed(data, tmp_path, monkeypatch):
    monkeypatch.setattr(losses, "VGG_SHA256", losses.hashlib.sha256((data / VGG_FILE).read_bytes()).hexdigest())
    path = tmp_path / "capture.bundle"
    assert bundle.write_bundle(data, path) == path.stat().st_size
    return path


def test_a_bundle_holds_what_the_stage_loads(data, packed, tmp_path):
    opened = bundle.open_data(packed, tmp_path / "run")
    assert bundle.open_data(packed, tmp_path / "run") == opened
    heads = (load_head(), load_head(opened / bundle.HEAD))
    assert all(torch.equal(getattr(heads[0], n), getattr(heads[1], n)) for n in ("identity", "visibility", "faces"))
    for split in sources.SPLITS:
        images = []
        for folder, head in zip((data, opened), heads, strict=True):
            stage = CaptureStage(folder, 64, "cpu", 0, split, head)
            images.append(stage.views(stage.subjects([3]))[Domain.RGB])
        assert (images[0] - images[1]).abs().max() < 2e-3  # environments are stored in half precision
    image, target = torch.rand(2, 1, 3, 32, 32)
    before, after = (load_perceptual(folder, 2, torch.device("cpu")) for folder in (data, opened))
    assert torch.equal(before(image, target), after(image, target))


def test_skins_of_imported_captures_are_packed(data, packed, tmp_path):
    captures = tmp_path / "captures"
    for name, split in (("ada", "train"), ("bob", "validation")):
        (captures / name).mkdir(parents=True)
        about = {"name": name, "split": split, "ita_degrees": 30.0, "sex": "female", "age": 40}
        (captures / name / "capture.json").write_text(json.dumps(about))
        skin = np.full((128, 128, 3), (90, 120, 180), np.uint8)
        skin += np.random.default_rng(1).integers(0, 30, skin.shape).astype(np.uint8)
        cv2.imwrite(str(captures / name / "diffuse.png"), cv2.GaussianBlur(skin, (0, 0), 4))
        cv2.imwrite(str(captures / name / "skin.png"), np.full((128, 128), 255, np.uint8))
    bundle.write_bundle(data, tmp_path / "more", captures)
    opened = bundle.open_data(tmp_path / "more", tmp_path / "run")
    for split, name in (("train", "ada"), ("validation", "bob")):
        banks = [
            pool.open_stage(*where, replace(MICRO, size=48), torch.device("cpu"), 0, split, *rest)._skins
            for where, rest in (((opened,), ()), ((data,), (captures,)))
        ]
        assert [name in bank.names for bank in banks] == [True, True] and len(banks[0].names) == 2
        assert (banks[0].low - banks[1].low).abs().max() < 0.05  # JPEG


def test_the_same_data_gives_the_same_bundle(data, packed, tmp_path):
    assert main(["capture", "bundle", "--data", str(data), "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again").read_bytes() == packed.read_bytes()


def test_crops_lose_quality_before_the_bundle_is_too_large(data, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "MOST_BYTES", packed.stat().st_size - 1)
    bundle.write_bundle(data, tmp_path / "smaller")
    with zipfile.ZipFile(tmp_path / "smaller") as packed_smaller:
        assert json.loads(packed_smaller.read(bundle.DESCRIPTION))["quality"] < bundle.QUALITIES[0]
    monkeypatch.setattr(bundle, "MOST_BYTES", 1000)
    with pytest.raises(Id2rError, match="allowed"):
        bundle.write_bundle(data, tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_the_stage_reads_nothing_that_a_bundle_would_lack(data):
    with pytest.raises(ValueError, match="PATTERNS"):
        sources.list_sources(data, "secret/*.jpg", "train")


def test_other_files_are_refused(packed, tmp_path):
    with pytest.raises(Id2rError, match="no training data"):
        bundle.open_data(tmp_path / "nowhere", tmp_path)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(Id2rError, match="no capture bundle"):
        bundle.open_data(tmp_path / "text", tmp_path / "run")
    assert not list((tmp_path / "run").glob("data_*"))


def test_crops_of_a_bundle_come_in_any_size(data, packed, tmp_path):
    opened = bundle.open_data(packed, tmp_path / "run")
    assert [name for name, _ in crop_portraits(opened, 32)] == ["p0", "p1", "p2", "p3"]
    portraits = prepare_portraits(MICRO, opened, tmp_path / "run")
    assert portraits.pick(torch.tensor([0, 2])).shape == (2, 3, MICRO.size, MICRO.size)


def test_every_stage_trains_from_a_bundle_on_a_bare_machine(packed, tmp_path):
    """In a fresh Python in which the absent packages cannot be imported, from the bundle alone, through all stages."""
    script = f"""
import sys
for name in {ABSENT!r}:
    sys.modules[name] = None
sys.path.insert(0, "tests")
from fake_capture import MICRO
from id2r_core.configs import PRESETS
from id2r_core.__main__ import main
PRESETS["micro"] = MICRO
sys.exit(main(["train", "all", "--preset", "micro", "--data", {str(packed)!r}, "--out", {str(tmp_path / "run")!r},
               "--threads", "1", "--pool", "memory"]))
"""
    finished = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert (tmp_path / "run" / "templates").is_dir()
    assert not list((tmp_path / "run").glob("pool_*"))


def test_the_test_of_the_bare_machine_can_fail():
    script = "import sys; sys.modules['scipy'] = None; import id2r_core.head.build"
    finished = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode != 0 and "scipy" in finished.stderr


def test_the_head_file_fits(tmp_path):
    assert len(bundle._compressed(HEAD_FILE)) < 3 * 2**20
