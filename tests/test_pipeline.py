"""The main path as it ships: one photograph, the shipped tiny pack, a small atlas; and how it stops."""

import json
import os
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from id2r_core import __version__, pipeline
from id2r_core.conventions import STAGES
from id2r_core.errors import Cancelled, Id2rError
from id2r_core.packs import pack_folder, read_manifest
from id2r_core.pipeline import choose_device, reconstruct
from id2r_core.protocol import Request, Result, decode_event, encode_event

pytestmark = pytest.mark.usefixtures("one_thread")

TEXELS = 128
FILES = {
    "diffuse.png", "specular.png", "roughness.png", "normal.png", "coverage.png", "photo.png", "head.obj", "head.npz",
    "report.json", "displacement.png", "as_photographed.png", "as_photographed.obj", "folds.png", "hair.png", "light.exr",
    "strands.npz",
}  # fmt: skip
# The functions that the path calls, in its order; all but the last are replaced by what they returned once.
WORK = (
    "load_pack", "load_head", "load_photo", "detect_person", "crop_face", "embed_identity", "choose_template",
    "swap_identity", "translate_crop", "fit_heads", "make_atlas", "stitch_views", "refine_from_photos", "add_detail",
    "measure_irises", "likeness",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(astronaut_path, tmp_path_factory):
    """One whole run: its result, its progress, and what every function of the path returned."""
    returned, order, seen = {}, [], []

    def recorded(name):
        work = getattr(pipeline, name)

        def record(*arguments, **named):
            order.append(name)
            returned[name] = work(*arguments, **named)
            return returned[name]

        return record

    out = tmp_path_factory.mktemp("run") / "astronaut"
    with pytest.MonkeyPatch.context() as patch:
        for name in WORK:
            patch.setattr(pipeline, name, recorded(name))
        request = Request(str(astronaut_path), str(out), resolution=TEXELS, device="cpu")
        result = reconstruct(request, lambda *step: seen.append(step))
    return SimpleNamespace(result=result, request=request, returned=returned, order=order, progress=seen)


@pytest.fixture
def replay(run, monkeypatch):
    """The path again, at once: every function returns what it returned in the whole run."""
    for name in WORK:
        monkeypatch.setattr(pipeline, name, lambda *arguments, name=name, **named: run.returned[name])


@pytest.fixture
def request_into(run, tmp_path):
    """A request like that of the whole run with another folder and other values."""
    return lambda **values: Request(**{**run.request.to_json(), "out": str(tmp_path / "out"), **values})


# ---- what comes out ----


def test_every_stage_runs_once_in_the_order_of_the_path(run):
    assert run.order == list(WORK)


def test_progress_counts_the_stages_and_ends_at_all_of_them(run):
    count = len(STAGES)
    assert run.progress == [(stage, i, count) for i, stage in enumerate(STAGES)] + [(STAGES[-1], count, count)]


def test_the_folder_holds_the_files_and_nothing_else(run):
    assert {path.name for path in run.result.out.iterdir()} == FILES


def test_the_report_on_disk_is_the_report(run):
    text = (run.result.out / "report.json").read_text(encoding="utf-8")
    assert json.loads(text) == run.result.report


def test_the_report_says_what_was_used(run):
    report = run.result.report
    manifest, sha256 = read_manifest(pack_folder(run.request.pack))
    assert report["pack"] == {"name": manifest["name"], "preset": "tiny", "sha256": sha256}
    assert report["template"] in manifest["templates"]
    assert (report["id2r"], report["torch"], report["device"]) == (__version__, torch.__version__, "cpu")
    assert (report["photo"], report["more_photos"], report["resolution"]) == ("astronaut.png", [], TEXELS)
    assert list(report["seconds"]) == list(STAGES) and all(value >= 0 for value in report["seconds"].values())


def test_the_report_says_how_well_it_went(run):
    report = run.result.report
    assert 0 < report["landmark_error"] < 0.05
    assert 0.3 < report["coverage"] < 0.9 and 0.0 <= report["hair_curl"] <= 1.0
    assert -1 <= report["identity_cosine"] <= 1
    red, green, blue = report["tone_linear"]
    assert 0.6 > red > green > blue > 0.05
    assert report["morphs"] and all(0 < value <= 1 for value in report["morphs"].values())
    assert report["expressions"]["mouthSmileLeft"] > 0.1
    assert report["warnings"] == []


def test_the_result_passes_through_the_pipe(run):
    event = Result(str(run.result.out), run.result.report)
    assert decode_event(encode_event(event)) == event


def test_the_diffuse_map_is_the_astronauts_skin(run):
    """Light skin where the face is: no black holes, no white burns, redder than blue."""
    bgr = cv2.imread(str(run.result.out / "diffuse.png"))
    assert bgr.shape == (TEXELS, TEXELS, 3)
    atlas = run.returned["make_atlas"]
    face = (atlas.region("cheek") > 0.5).numpy()
    blue, green, red = bgr[face].mean(0)
    assert 220 > red > green > blue > 60
    assert bgr[atlas.mask.numpy()].max() < 254


def test_the_head_lies_over_the_photo(run):
    with np.load(run.result.out / "head.npz") as arrays:
        points = np.concatenate([arrays["photo_vertices"], np.ones((len(arrays["photo_vertices"]), 1))], 1)
        view = points @ arrays["camera_view_from_world"].T
        pixel = view[:, :2] / view[:, 2:3] * arrays["camera_focal"] + arrays["camera_principal"]
        assert arrays["photo_size"].tolist() == [512, 512]
    face = run.returned["detect_person"][0].points
    low, high = pixel.min(0), pixel.max(0)
    assert (low < face.min(0)).all() and (high > face.max(0)).all()
    assert (high - low < 3 * np.ptp(face, axis=0)).all()


def test_a_further_photo_joins_in(run, astronaut_path, tmp_path):
    """The same person, darker and from the left of the mirror; the first photo stays the main one."""
    picture = cv2.imread(str(astronaut_path))
    second = tmp_path / "mirror.png"
    cv2.imwrite(str(second), (0.8 * picture[:, ::-1]).astype(np.uint8))
    request = Request(
        str(astronaut_path), str(tmp_path / "out"), resolution=TEXELS, device="cpu", more_photos=(str(second),)
    )
    both, alone = reconstruct(request), run.result
    assert both.report["photo"] == "astronaut.png" and both.report["more_photos"] == ["mirror.png"]
    seen = [cv2.imread(str(result.out / "coverage.png"), cv2.IMREAD_UNCHANGED).mean() for result in (both, alone)]
    assert seen[0] > seen[1]
    assert both.report["seconds"]["head"] > 0 and both.report["warnings"] == []
    assert (both.out / "photo.png").read_bytes() == (alone.out / "photo.png").read_bytes()
    assert {path.name for path in both.out.iterdir()} == FILES
    with np.load(both.out / "head.npz") as found, np.load(alone.out / "head.npz") as before:
        assert abs(found["camera_focal"] / before["camera_focal"] - 1) < 0.2


# ---- what is asked for ----


def test_refinement_and_expression_are_what_the_request_says(replay, request_into, monkeypatch):
    passed = {}
    refine, save = pipeline.refine_from_photos, pipeline.save_result
    monkeypatch.setattr(pipeline, "refine_from_photos", lambda *a: passed.update(strength=a[-2]) or refine(*a))
    monkeypatch.setattr(pipeline, "save_result", lambda *a: passed.update(keep=a[-1]) or save(*a))
    reconstruct(request_into(refine=0.25, keep_expression=False))
    assert passed == {"strength": 0.25, "keep": False}


def test_an_earlier_result_gives_way_to_a_new_one(replay, request_into, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text("old")
    (tmp_path / "out" / "glasses.npz").write_text("of another person")
    result = reconstruct(request_into())
    assert {path.name for path in result.out.iterdir()} == FILES
    assert json.loads((result.out / "report.json").read_text())["photo"] == "astronaut.png"


# ---- how it stops ----


@pytest.mark.parametrize("step", range(len(STAGES) + 1), ids=[*STAGES, "end"])
def test_cancelling_leaves_nothing(replay, request_into, tmp_path, step):
    def cancel(stage, done, total):
        if done == step:
            raise Cancelled

    with pytest.raises(Cancelled):
        reconstruct(request_into(), cancel)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fails", ["fit_heads", "likeness", "save_result", "save_report"])
def test_a_failure_leaves_an_earlier_result_as_it_was(replay, request_into, tmp_path, monkeypatch, fails):
    def fail(*arguments):
        raise Id2rError("It broke.", "Mend it.")

    monkeypatch.setattr(pipeline, fails, fail)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diffuse.png").write_text("old")
    with pytest.raises(Id2rError, match="It broke"):
        reconstruct(request_into())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["diffuse.png"]
    assert (tmp_path / "out" / "diffuse.png").read_text() == "old"


def test_a_folder_that_cannot_be_written_fails_before_the_work(replay, request_into, tmp_path):
    (tmp_path / "file").write_text("in the way")
    started = []
    with pytest.raises(Id2rError, match="cannot be written"):
        reconstruct(request_into(out=os.path.join(tmp_path, "file", "out")), lambda *step: started.append(step))
    assert started == []


@pytest.mark.parametrize(
    ("values", "named"),
    [({"pack": "no such pack"}, "no such pack"), ({"template": "nobody"}, "nobody"), ({"photo": "no.jpg"}, "no.jpg")],
    ids=["pack", "template", "photo"],
)
def test_what_does_not_exist_is_named(replay, request_into, tmp_path, monkeypatch, values, named):
    for name in ("load_pack", "choose_template", "load_photo"):
        module = {"load_pack": "packs", "choose_template": "templates", "load_photo": "photo"}[name]
        real = getattr(__import__(f"id2r_core.{module}", fromlist=[name]), name)
        monkeypatch.setattr(pipeline, name, real)
    with pytest.raises(Id2rError, match=named) as caught:
        reconstruct(request_into(**values))
    assert caught.value.hint
    assert not (tmp_path / "out").exists()


# ---- devices ----


def test_a_device_that_is_not_there_is_an_error_with_advice(replay, request_into, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Id2rError, match="cuda") as caught:
        reconstruct(request_into(device="cuda"))
    assert "cpu" in caught.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_takes_the_fastest_device_there_is(monkeypatch, cuda, mps, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto").type == chosen
    assert choose_device("cpu").type == "cpu"
