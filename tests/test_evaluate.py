"""Readers, tables and figures, with estimates whose quality is known; and one photograph through all real methods."""

import json
import shutil
import zlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from synthetic_head import FACE_CENTRE, camera_at, light_from
from synthetic_validation import LIGHTS, PEOPLE, write_set

from id2r_core.capture.light import sky_pixels
from id2r_core.conventions import Domain, yup_to_zup
from id2r_core.errors import Id2rError
from id2r_core.evaluate import baselines, cli, estimate, figures, likeness, metrics, relight, robustness, speed
from id2r_core.evaluate.albedo import evaluate_albedo
from id2r_core.evaluate.context import Context
from id2r_core.evaluate.estimate import METHODS, OURS, Estimate, Estimator, make_estimator
from id2r_core.evaluate.fair import PUBLISHED, evaluate_fair, read_fair
from id2r_core.evaluate.report import Report, Table, markdown, rivals_that_win, save_report
from id2r_core.evaluate.results import results_text, write_results
from id2r_core.evaluate.swap import evaluate_swap
from id2r_core.evaluate.validation_set import light_power, read_light, read_validation
from id2r_core.head.atlas import make_atlas
from id2r_core.relight import diffuse_transfer

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model) -> Path:
    path = tmp_path_factory.mktemp("set") / "validation"
    write_set(path, model)
    return path


@pytest.fixture(scope="module")
def estimator(tmp_path_factory) -> Estimator:
    return make_estimator("tiny", SIZE, tmp_path_factory.mktemp("out"))


@pytest.fixture
def context(folder, estimator, tmp_path, monkeypatch) -> Context:
    """Estimates without work: ID2R is the truth, every other method is the truth at 80 per cent; ID 0.9 and 0.5."""

    def one(self, name, file, methods=METHODS):
        kept = self.out / "fake" / name
        own = folder / "subjects" / name.split("-", 1)[1]
        if not kept.is_dir():
            shutil.copytree(own, kept / "id2r")
            truth = cv2.imread(str(own / "diffuse.png")).astype(np.float32)
            for index in range(1, len(METHODS)):
                cv2.imwrite(str(kept / f"method{index}.png"), (0.8 * truth).astype(np.uint8))
        identity = {method: 0.9 if method == OURS else 0.5 for method in METHODS}
        return Estimate(kept, {"identity": identity, "fingerprint": name})

    monkeypatch.setattr(Estimator, "one", one)
    return Context(replace(estimator, out=tmp_path), folder, tmp_path, lambda stage, done, total: None)


def cells(table: Table) -> dict:
    """First cell of a row -> heading -> cell."""
    headings = [name for name, _ in table.columns]
    return {row[0]: dict(zip(headings, row, strict=True)) for row in table.rows}


# ---- the validation set ----


def test_the_set_is_read(folder):
    found = read_validation(folder)
    assert [subject.name for subject in found.subjects] == list(PEOPLE)
    assert len(found.shots) == 4 and found.shots[0].subject.skin_type == "II"
    assert found.shots[0].subject.skin(SIZE).mean() > 0.02
    assert [shot.scene for shot in found.some(1)] == ["scene000", "scene000"]
    assert len({shot.hdri for shot in found.some(2) if shot.subject.skin_type == "V"}) == 2


def test_a_missing_photograph_is_named(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "photos" / "scene001-V-00002.png").unlink()
    with pytest.raises(Id2rError, match="scene001-V-00002"):
        read_validation(copy)


@pytest.mark.parametrize("text", [None, "{", '{"subjects": []}'])
def test_no_set_and_a_damaged_one_are_told(tmp_path, text):
    if text:
        (tmp_path / "validation.json").write_text(text)
    with pytest.raises(Id2rError, match=r"validation\.json"):
        read_validation(tmp_path)


def test_true_shading_is_that_of_the_light_that_was_photographed(folder, model):
    """The same lobe of light, once as directions of the head frame and once read back from Blender's panorama."""
    atlas = make_atlas(model, SIZE)
    for shot in read_validation(folder).shots[:3:2]:
        fine = model.subdivide(shot.subject.vertices()[None])[0]
        light = light_from(model, LIGHTS[shot.scene], 0.6, 2.5)
        expected = atlas.bake(diffuse_transfer(model, fine) @ light.radiance).permute(1, 2, 0).numpy()
        mask, found = shot.subject.skin(SIZE), shot.true_shading(model, atlas)
        assert np.corrcoef(found[mask].mean(1), expected[mask].mean(1))[0, 1] > 0.99
        mirrored = found[:, ::-1][mask].mean(1)
        assert np.corrcoef(mirrored, expected[mask].mean(1))[0, 1] < 0.95


@pytest.mark.parametrize("towards", [(0.0, 0.1, 1.0), (1.0, 0.3, 0.2), (-0.5, -0.6, 0.4), (0.2, 0.9, -0.3)])
def test_a_lamp_is_read_where_blender_sees_it(tmp_path, towards):
    """Cycles looks up a direction (x, y, z) of its world at u = 1/2 - atan2(y, x) / 2 pi, v = 1/2 + asin(z) / pi."""
    core = np.array(towards) / np.linalg.norm(towards)
    x, y, z = yup_to_zup(core)
    sky = np.full((128, 256, 3), 0.01, np.float32)
    row, column = int((0.5 - np.arcsin(z) / np.pi) * 128), int((0.5 - np.arctan2(y, x) / (2 * np.pi)) * 256)
    sky[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = 100.0
    cv2.imwrite(str(tmp_path / "lamp.exr"), sky)
    seen = read_light(tmp_path / "lamp.exr")
    directions = sky_pixels(seen.shape[0])[0].numpy()
    assert directions[seen.mean(2).argmax()] @ core > np.cos(np.radians(6))


def test_an_even_sky_gives_every_surface_its_radiance_times_pi(model, tmp_path):
    path = tmp_path / "even.exr"
    cv2.imwrite(str(path), np.full((64, 128, 3), 0.7, np.float32))
    power = light_power(read_light(path), model.light_directions)
    normals = model.neutral_normals[::50]
    irradiance = (normals @ model.light_directions.T).clamp(min=0) @ power
    assert irradiance.numpy() == pytest.approx(0.7 * np.pi, rel=0.03)


# ---- estimates ----


def test_one_photograph_through_every_method(folder, estimator, monkeypatch):
    monkeypatch.setattr(baselines, "MEAN_OF", 3)
    shot = read_validation(folder).shots[0]
    made = estimator.one(shot.name, shot.file)
    assert not made.failed and set(made.record["identity"]) == set(METHODS)
    truth, mask = shot.subject.map(Domain.DIFFUSE, SIZE), shot.subject.skin(SIZE)
    maps = {method: made.diffuse(method, SIZE) for method in METHODS}
    assert all(np.isfinite(image).all() and image[mask].std() > 0.003 for image in maps.values())
    for method, other in pairwise(METHODS):
        assert np.abs(maps[method] - maps[other]).mean() > 0.003, f"{method} and {other} are the same"
    shading = shot.true_shading(estimator.model, make_atlas(estimator.model, SIZE))
    leak = {method: metrics.light_leak(maps[method], shading, mask) for method in METHODS}
    assert leak["projection"] > leak["projection / SH"] + 0.1
    assert metrics.ssim(maps["projection / SH"], truth, mask) > metrics.ssim(maps["projection"], truth, mask)
    again = estimator.one(shot.name, shot.file)
    assert again.record == made.record


def test_many_photos_are_estimated_side_by_side(folder, estimator, tmp_path, monkeypatch):
    def here(*_):
        raise AssertionError("made in this process")

    monkeypatch.setattr(estimate, "LEAST_PHOTOS", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(Estimator, "_make", here)
    empty = tmp_path / "empty.png"
    cv2.imwrite(str(empty), np.full((256, 256, 3), 128, np.uint8))
    photos = [("a face", read_validation(folder).shots[0].file), ("none", empty)]
    told = []
    own = replace(estimator, out=tmp_path)
    found = own.all(photos, lambda stage, done, total: told.append((done, total)), methods=())
    assert found["a face"].own_map(Domain.DIFFUSE, SIZE).std() > 0.01 and found["a face"].record["coverage"] > 0
    assert found["none"].failed.startswith("No face") and told[:2] == [(1, 2), (2, 2)]
    assert own.all(photos, lambda *_: None, methods=()) == found  # read from disk


def test_estimates_are_kept_until_photo_or_pack_changes(folder, estimator, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        Estimator, "_make", lambda self, file, kept, methods, more: made.append(file.name) or {"number": len(made)}
    )
    photo = shutil.copy(read_validation(folder).shots[0].file, tmp_path / "photo.png")
    own = replace(estimator, out=tmp_path)
    assert own.one("a", photo).record["number"] == own.one("a", photo).record["number"] == 1
    other_pack = replace(own, pack=replace(own.pack, sha256="0" * 64))
    assert other_pack.one("a", photo).record["number"] == 2
    photo.write_bytes(read_validation(folder).shots[1].file.read_bytes())
    assert own.one("a", photo).record["number"] == 3


def test_a_refused_photograph_is_a_failure_and_no_crash(estimator, tmp_path):
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.full((200, 200, 3), 128, np.uint8))
    found = replace(estimator, out=tmp_path).one("blank", blank)
    assert "No face" in found.failed


def test_what_was_interrupted_is_made_again(estimator, tmp_path, monkeypatch, folder):
    own, file = replace(estimator, out=tmp_path), read_validation(folder).shots[0].file

    def interrupted(self, file, kept, methods, more):
        (kept / "method1.png").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Estimator, "_make", interrupted)
    with pytest.raises(KeyboardInterrupt):
        own.one("a", file)
    monkeypatch.setattr(
        Estimator, "_make", lambda self, file, kept, methods, more: {"left": [p.name for p in kept.iterdir()]}
    )
    assert own.one("a", file).record["left"] == []


def test_a_set_without_any_estimate_is_told(context, monkeypatch):
    monkeypatch.setattr(Estimator, "one", lambda self, name, *rest: Estimate(Path(), {"failed": f"No face in {name}."}))
    with pytest.raises(Id2rError, match=r"None of 4 photographs .* No face in scene000"):
        context.estimates()


def test_the_data_are_described_as_they_are(context):
    told = context.describe(context.shots())
    assert "4 photographs" in told and "2 unseen virtual people of skin type II, V under 2 unseen HDRIs" in told


# ---- tables ----


def test_albedo_of_a_perfect_estimate_and_of_a_darker_one(context):
    report = evaluate_albedo(context)
    rows = cells(report.tables[0])
    assert rows[OURS]["PSNR dB"] > 60 and rows[OURS]["MAE"] < 0.2 and rows[OURS]["ID"] == 0.9
    shot = context.shots()[0]
    truth, mask = shot.subject.map(Domain.DIFFUSE, SIZE), shot.subject.skin(SIZE)
    expected = np.mean([metrics.psnr(0.8 * truth, truth, mask)])
    by_type = cells(report.tables[1])
    assert by_type["projection"]["II"] == pytest.approx(expected, abs=0.3) and by_type["projection"]["I"] is None
    assert rows["projection"]["light leak"] == pytest.approx(rows["truth"]["light leak"], abs=0.05)
    assert rows[OURS]["same person, two lights: CIEDE2000"] == pytest.approx(0, abs=1e-6)
    assert cells(report.tables[2])["normal"]["PSNR dB"] > 60
    assert (context.out / report.figures[0]).is_file()
    assert "Better than ID2R on PSNR: none of the rivals." in report.tables[0].note


def test_virtual_fair_is_named_so_and_counts_by_the_true_type(context):
    report = evaluate_fair(context)
    rows = cells(report.tables[0])
    assert "irtual FAIR" in report.title and rows[OURS]["Score"] is None  # four types have no face
    seen = {
        metrics.skin_type(metrics.ita_degrees(s.subject.map(Domain.DIFFUSE, SIZE), s.subject.skin(SIZE)))
        for s in context.shots()
    }
    assert {name for name in metrics.SKIN_TYPES if rows[OURS][name] is not None} == seen
    assert all(rows[OURS][name] < 0.1 < rows["projection"][name] for name in seen)
    assert "too light" in report.tables[0].note and len(report.tables[1].rows) == len(PUBLISHED)


def test_the_real_fair_layout_is_read(context, tmp_path, folder):
    subject = read_validation(folder).subjects[0]
    real = tmp_path / "fair"
    lines = []
    for face in range(3):
        file = f"scene_000001/{face}.png"
        lines.append(f"./FAIR_benchmark/validation_set/crops/{file}")
        for place, source in (("crops", "photo.png"), ("albedos", "diffuse.png"), ("masks", "skin.png")):
            (real / place / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(subject.folder / source, real / place / file)
    (real / "validation_crop_files.txt").write_text("\n".join(lines))
    assert [face.name for face in read_fair(real)] == [f"scene_000001-{face}" for face in range(3)]

    class Estimates:
        def __getattr__(self, name):
            return getattr(context.estimator, name)

        def all(self, photos, progress, methods=METHODS):
            shot = context.shots()[0]
            return {name: context.estimator.one(shot.name, shot.file) for name, _ in photos}

    report = evaluate_fair(replace(context, data=real, estimator=Estimates()))
    rows = cells(report.tables[0])
    kind = metrics.skin_type(metrics.ita_degrees(subject.map(Domain.DIFFUSE, 512), subject.skin(512)))
    assert report.title == "FAIR" and rows[OURS][kind] < 2 and rows[OURS]["MAE"] is None
    (real / "albedos" / "scene_000001" / "2.png").unlink()
    with pytest.raises(Id2rError, match="albedos/scene_000001/2"):
        read_fair(real)
    (real / "validation_crop_files.txt").write_text("0.png\n")
    with pytest.raises(Id2rError, match="lists '0.png'"):
        read_fair(real)


def test_relighting_compares_the_maps_on_one_head(context, monkeypatch):
    """Blender's part is played by a picture of the folder's diffuse map before a grey wall."""
    rendered = []

    def render(folder, hdris, size, samples):
        for hdri in hdris:
            rendered.append((folder.name, hdri))
            picture = np.full((size, size, 3), 82, np.uint8)
            inner = cv2.resize(cv2.imread(str(folder / "diffuse.png")), (size // 2, size // 2))
            picture[size // 4 : size // 4 + size // 2, size // 4 : size // 4 + size // 2] = inner
            cv2.imwrite(str(folder / f"{Path(hdri).stem}.png"), picture)

    monkeypatch.setattr(relight, "render_portraits", render)
    quick = replace(context, quick=True)
    rows = cells(relight.evaluate_relight(quick).tables[0])
    assert rows[OURS]["PSNR dB"] > 60 > rows["projection"]["PSNR dB"] > 15
    count = len(rendered)
    assert {name for name, _ in rendered if name == "truth"} and count == len(set(rendered))
    relight.evaluate_relight(quick)
    assert len(rendered) == count, "renders that exist are made again"


def test_the_mask_of_a_render_is_its_head():
    render = np.full((40, 40, 3), 0.32, np.float32)
    render[10:30, 12:28] = np.random.default_rng(0).random((20, 16, 3))
    render[20, 20] = 0.32  # skin as grey as the wall
    mask = relight.head_mask(render)
    assert mask[10:30, 12:28].all() and mask.sum() == 20 * 16


def test_the_photographs_of_the_robustness_table(model, folder):
    picture = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    assert robustness.smaller(0.25)(picture).shape == (16, 16, 3)
    assert robustness.blurred(3)(picture).std() < picture.std() / 3
    stored = [np.abs(robustness.compressed(q)(picture).astype(int) - picture).mean() for q in (95, 15)]
    assert stored[0] < stored[1]
    hidden = robustness.covered(0.5, 0.0, 1.0, 0.5)(picture)
    assert (hidden[:32] == picture[:32]).all() and hidden[40:, :30].std(axis=(0, 1)).max() == 0
    light = robustness.studio_light(model, (1, 0, 0), 0.5)
    brightest = light.directions[light.radiance.mean(1).argmax()]
    assert brightest[0] > 0.9 and light.radiance.min() >= 0.5
    left = robustness.camera_at(30).project(torch.tensor([[*FACE_CENTRE[:2], 0.1]]))[0, 0, 0]
    right = camera_at(30, size=robustness.SIDE).project(torch.tensor([[*FACE_CENTRE[:2], 0.1]]))[0, 0, 0]
    assert (left < robustness.SIDE / 2) == (right < robustness.SIDE / 2)
    subject = read_validation(folder).subjects[1]
    assert robustness._subjects(Context(None, folder, folder, None)) == [subject]  # V; the set has no I and no III
    photo = robustness.photograph(model, subject, robustness.CASES[0], folder / "plain.png")
    assert cv2.imread(str(photo)).shape == (robustness.SIDE, robustness.SIDE, 3)


def test_speed_takes_medians():
    measured = [{"total": t, "seconds": {"head": t / 2}, "peak_mib": 100 * t} for t in (4.0, 2.0, 9.0)]
    row = speed._row(1024, measured)
    assert row[:2] == [1024, 4.0] and row[2 + list(speed.STAGES).index("head")] == 2.0 and row[-1] == 900


# ---- reports ----


@pytest.fixture
def report():
    table = Table("T", [("name", None), ("x", 2)], [["a", 1.23456], ["b", None], ["c", float("nan")]], "Note.")
    return Report("demo", "Demo", "Data.", [table], ["One note."], ["demo.png"], {"photo 1": "no face"})


MADE_WITH = {
    "command": "cmd",
    "date": "2026-01-01",
    "pack": {"name": "p", "sha256": "ab"},
    "size": 8,
    "quick": True,
    "code": "0123456789abcdef",
}


def test_json_holds_what_the_text_shows(report, tmp_path):
    save_report(report, MADE_WITH, tmp_path)
    stored = json.loads((tmp_path / "demo.json").read_text())
    assert stored["tables"][0]["rows"] == [["a", 1.23], ["b", None], ["c", None]]
    text = (tmp_path / "demo.md").read_text()
    assert text == markdown(stored)
    for part in (
        "| a | 1.23 |",
        "| b |  |",
        "A quick run",
        "sha256 `ab`",
        "    cmd",
        "2026-01-01",
        "Note.",
        "- One note.",
        "photo 1: no face",
    ):
        assert part in text


def test_rivals_that_win_are_named():
    rows = [["ours", 5.0], ["a", 4.0], ["b", 6.0], ["c", None]]
    assert rivals_that_win(rows, 1, "Score", "ours", ["a", "b", "c"], True) == "Better than ours on Score: a."
    assert rivals_that_win(rows, 1, "PSNR", "ours", ["a", "b", "c"], False) == "Better than ours on PSNR: b."
    assert rivals_that_win(rows, 1, "Score", "c", ["a"], True) == ""


def test_results_follow_the_reports_and_disagreement_is_seen(report, tmp_path):
    (tmp_path / "results").mkdir()
    save_report(report, MADE_WITH, tmp_path / "results")
    text = write_results(tmp_path).read_text()
    assert "1.23" in text and "](results/demo.png)" in text
    stored = tmp_path / "results" / "demo.json"
    stored.write_text(stored.read_text().replace("1.23", "1.24"))
    assert results_text(tmp_path) != text


def test_paths_stay_out_of_the_recorded_command():
    given = ["fair", "--data", "/x/y", "--out", "z", "--pack", "packs/mine", "--hdris", "studio,/h/a.exr", "--quick"]
    shown = cli._public(given)
    assert shown[:7] == ["fair", "--data", "DATA", "--out", "OUT", "--pack", "PACK"] and shown[-1] == "--quick"
    assert "/" not in " ".join(shown)


def test_the_command_wants_folders(tmp_path):
    with pytest.raises(Id2rError, match="--data"):
        cli.main(["fair", "--out", str(tmp_path)])


def test_one_evaluation_that_fails_does_not_stop_the_others(report, tmp_path, estimator, monkeypatch, capsys):
    def evaluate_relight(context):
        context.progress("relight", 1, 2)
        raise Id2rError("Blender could not render.", "Is bpy installed?")

    monkeypatch.setattr(cli, "EVALUATIONS", {"relight": evaluate_relight, "demo": lambda context: report})
    monkeypatch.setattr(cli, "make_estimator", lambda *arguments: estimator)
    given = ["--data", str(tmp_path), "--out", str(tmp_path)]
    with pytest.raises(Id2rError, match="1 of 2 .* relight: Blender could not render"):
        cli.main(["all", *given])
    told = capsys.readouterr()
    assert "# Demo" in told.out and "1/2 relight: relight" in told.err and (tmp_path / "demo.json").is_file()
    with pytest.raises(Id2rError, match=r"^Blender could not render"):
        cli.main(["relight", *given])


# ---- figures ----


def test_bars_stand_as_high_as_their_values(tmp_path):
    figures.bars(tmp_path / "bars.png", "Title", ["a", "b"], {"one": [10.0, None], "two": [5.0, 2.5]}, "dB")
    picture = cv2.imread(str(tmp_path / "bars.png"))[..., ::-1][60:320]  # without the legend
    heights = [(picture == colour).all(2).sum(0) for colour in figures.SERIES[:2]]
    assert heights[0].max() == pytest.approx(2 * heights[1].max(), abs=3)
    second = figures.MARGIN + (picture.shape[1] - figures.MARGIN - 20) // 2
    assert heights[1][second:].max() == pytest.approx(heights[1].max() / 2, abs=3) and heights[0][second:].max() == 0


def test_the_error_map_is_dark_where_nothing_is_wrong():
    truth = np.full((8, 8, 3), 0.5, np.float32)
    image = truth.copy()
    image[:, 4:] += 0.25
    mask = np.ones((8, 8), bool)
    mask[0] = False
    shown = figures.error_map(image, truth, mask)
    assert shown[1:, :4].max() < 0.05 and shown[1:, 4:].max() > 0.9 and (shown[0] == 1).all()


def test_estimate_sources_exist():
    """A pattern that matches nothing would let stale estimates pass for current ones."""
    assert all(list(estimate.CORE.glob(pattern)) for pattern in estimate.SOURCES)


# ---- swap and likeness ----


def test_swap_with_the_shipped_pack(folder, estimator, tmp_path):
    """Both people, really swapped: the table is complete, and the swap keeps the template's pose."""
    context = Context(replace(estimator, out=tmp_path), folder, tmp_path, lambda stage, done, total: None)
    report = evaluate_swap(context)
    rows = cells(report.tables[0])
    assert set(rows) == {"closest", "fixed"} and rows["closest"]["swapped people"] == 2
    assert all(0 <= row["ID-Retrieval"] <= 1 and row["pose, radians"] < 0.2 for row in rows.values())
    assert (tmp_path / "swap.jpg").is_file()


def test_likeness_takes_portraits_that_training_never_saw(context, tmp_path, monkeypatch):
    portraits, made = tmp_path / "portraits", []
    portraits.mkdir()
    for number in range(40):
        (portraits / f"P{number:06d}.jpg").write_bytes(b"")

    def pretend(request):
        made.append(request)
        for picture, shade in (("diffuse", 200), ("as_photographed", 90)):
            Path(request.out).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(f"{request.out}/{picture}.png", np.full((2, 2, 3), shade, np.uint8))
        for own in likeness.OWN_OF_PHOTO:
            (Path(request.out) / own).touch()

    def look(folder, *_):
        own = sum((folder / name).is_file() for name in likeness.OWN_OF_PHOTO)
        shown.add((folder.name, cv2.imread(f"{folder}/diffuse.png").max(), own))

    shown = set()
    monkeypatch.setattr(likeness, "reconstruct", pretend)
    monkeypatch.setattr(likeness, "render_portraits", look)
    table = {("refined", "studio"): likeness.Score([0.5, 0.7], 1.0)}
    monkeypatch.setattr(likeness, "score", lambda *rest: table)
    judged = replace(context.estimator, judge=SimpleNamespace(sha256="ab"))
    given = replace(context, estimator=judged, portraits=portraits)
    report = likeness.evaluate_likeness(given)
    names = {Path(request.photo).stem for request in made}
    assert names and all(zlib.crc32(name.encode()) % 5 == 0 for name in names)
    assert {request.refine for request in made} == {0.0, 1.0}
    assert shown == {("refined", 200, 3), ("swapped maps alone", 200, 3), ("plain projection", 90, 0)}
    assert cells(report.tables[0])["refined"]["lowest"] == 0.5
    assert not any(name in json.dumps(report.tables[0].to_json()) + report.data for name in names)
    count = len(made)
    likeness.evaluate_likeness(given)
    assert len(made) == count, "what is there is made again"
    with pytest.raises(Id2rError, match="portraits"):
        likeness.evaluate_likeness(context)
