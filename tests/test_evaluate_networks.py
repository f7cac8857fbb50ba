"""The evaluations of single networks, on coloured discs: each table must notice what it is there to notice."""

import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from fake_capture import MICRO, fake_run

from id2r_core.conventions import Domain
from id2r_core.errors import Id2rError, NoFace
from id2r_core.evaluate import front_view, swapper
from id2r_core.evaluate.codebooks import evaluate_codebooks
from id2r_core.evaluate.context import Context
from id2r_core.evaluate.held_out import NO_TSNE
from id2r_core.evaluate.recognition import NOT_REAL, evaluate_recognition
from id2r_core.evaluate.subjects import evaluate_subjects
from id2r_core.evaluate.swapper import evaluate_swapper
from id2r_core.nets import build_nets
from id2r_core.nets.codebook import Codebook
from id2r_core.packs import Pack
from id2r_core.templates import TemplateLibrary
from id2r_core.train.checkpoint import load_checkpoint, save_checkpoint, with_prefix
from id2r_core.train.loop import CHECKPOINT
from id2r_core.train.portraits import FILE as PORTRAITS_FILE
from id2r_core.train.portraits import is_test

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def context(tmp_path_factory, model) -> Context:
    """A pack whose five codebooks are still the joint one of its run."""
    data, run, out = (tmp_path_factory.mktemp(name) for name in ("data", "run", "out"))
    fake_run(data, run)
    portraits, state = load_checkpoint(run / PORTRAITS_FILE)
    held_out = [name for name in map(str, range(100)) if is_test(name)][: len(state["ids"])]
    save_checkpoint(run / PORTRAITS_FILE, portraits, {"ids": held_out})
    torch.manual_seed(0)
    nets, shared = build_nets(MICRO), Codebook(MICRO.codes, MICRO.code_width, MICRO.commitment)
    torch.nn.init.normal_(shared.code)
    nets.codebooks.copy_from(shared)
    for _, net in nets.named():
        net.eval().requires_grad_(False)
    stage = {"encoder": nets.encoder, "decoder": nets.decoder, "codebook": shared}
    tensors = {k: v for name, net in stage.items() for k, v in with_prefix(f"average/{name}", net.state_dict()).items()}
    save_checkpoint(run / "codebook" / CHECKPOINT, tensors, {"preset": MICRO.name})
    vectors = torch.nn.functional.normalize(torch.randn(3, 512), dim=1)
    library = TemplateLibrary(("a", "b", "c"), torch.randint(MICRO.codes, (3, 3, 4, 16, 16)), vectors, torch.rand(3, 3))
    pack = Pack("micro", MICRO, nets, library, "0" * 64, torch.device("cpu"))
    estimator = SimpleNamespace(pack=pack, judge=None, model=model)
    return Context(estimator, data, out, lambda stage, done, total: None, run=run)


def cells(table) -> dict:
    names = [name for name, _ in table.columns]
    return {row[0]: dict(zip(names, row, strict=True)) for row in table.rows}


def test_a_run_is_needed(context):
    with pytest.raises(Id2rError, match="run"):
        evaluate_codebooks(replace(context, run=None))


def test_runs_on_more_subjects_stand_below_one_another(context, tmp_path):
    nets, runs = context.estimator.pack.nets, tmp_path / "runs"
    for count in (115, 30):
        shutil.copytree(context.run, runs / str(count))
        blurred = {name: getattr(nets, name).state_dict() for name in ("encoder", "decoder", "codebooks")}
        if count == 30:
            blurred["decoder"] = {name: torch.zeros_like(weight) for name, weight in blurred["decoder"].items()}
        tensors = {
            key: tensor
            for name, state in blurred.items()
            for key, tensor in with_prefix(f"average/{name}", state).items()
        }
        save_checkpoint(runs / str(count) / "domains" / CHECKPOINT, tensors, {"preset": MICRO.name, "step": 7})
    (runs / "notes").mkdir()
    rows = evaluate_subjects(replace(context, run=runs)).tables[0].rows
    assert [row[:2] for row in rows] == [["30", 7], ["115", 7]]
    whole = evaluate_codebooks(context)
    own = [row["own codebook, dB"] for name, row in cells(whole.tables[0]).items() if name != Domain.RGB.value]
    assert rows[1][2:6] == pytest.approx(own) and rows[0][2:6] != pytest.approx(own)
    assert rows[0][6:] == [25.09, 24.12, 24.78, 23.55]


def test_a_folder_without_such_runs_says_how_to_make_them(context, tmp_path):
    with pytest.raises(Id2rError, match="number of subjects"):
        evaluate_subjects(replace(context, run=tmp_path))


def test_codebooks_that_are_copies_differ_in_nothing(context):
    report = evaluate_codebooks(context)
    rows = cells(report.tables[0])
    assert set(rows) == {domain.value for domain in Domain}
    assert all(row["difference"] == pytest.approx(0.0, abs=1e-4) for row in rows.values())
    assert all((context.out / name).is_file() for name in report.figures)
    books = context.estimator.pack.nets.codebooks
    kept = books[Domain.NORMAL].code.clone()
    books[Domain.NORMAL].code.copy_(torch.randn_like(kept))
    changed = cells(evaluate_codebooks(context).tables[0])
    books[Domain.NORMAL].code.copy_(kept)
    assert abs(changed["normal"]["difference"]) > 1e-3 and changed["diffuse"]["difference"] == pytest.approx(
        0, abs=1e-4
    )


def test_recognition_counts_photographs_of_both_kinds(context):
    rows = cells(evaluate_recognition(context).tables[0])
    pool = MICRO.pool
    assert rows["pack, virtual"]["photographs"] == pool.validation_subjects * pool.photographs
    assert all(0 <= row["rank-1"] <= 1 and 0 <= row["TAR at FAR 1e-3"] <= 1 for row in rows.values())


def test_what_is_missing_is_said(context, tmp_path, monkeypatch):
    """No judge, no portrait of the test split, no scikit-learn: three sentences, and the table without those rows."""
    run = shutil.copytree(context.run, tmp_path / "run")
    portraits, state = load_checkpoint(run / PORTRAITS_FILE)
    trained = [name for name in map(str, range(100)) if not is_test(name)][: len(state["ids"])]
    save_checkpoint(run / PORTRAITS_FILE, portraits, {"ids": trained})
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    report = evaluate_recognition(replace(context, run=run))
    assert set(cells(report.tables[0])) == {"pack, virtual"} and NO_TSNE in report.notes and not report.figures
    note = report.tables[0].note
    assert NOT_REAL in note and "nearest other photograph" in note and "No judge was given." in note


def test_the_field_shows_in_the_rows_that_have_it(context, monkeypatch):
    """A swapper that has learnt nothing is the same in all rows; with a field, the rows with it differ from the others."""

    def no_face(photo):
        raise NoFace("There is no face.", "A disc has none; looking for it takes long.")

    for module in (front_view, swapper):
        monkeypatch.setattr(module, "detect_face", no_face)
    field = context.estimator.pack.nets.swapper.field
    before = cells(evaluate_swapper(context).tables[1])
    assert len({row["diffuse, dB"] for row in before.values()}) == 1
    assert all(row["pose, radians"] is None for row in before.values())
    field.mean[0] += 0.5  # diffuse
    rows = cells(evaluate_swapper(context).tables[1])
    field.mean.zero_()
    assert rows["+ field (all)"]["diffuse, dB"] == rows["all but 16"]["diffuse, dB"] != rows["none"]["diffuse, dB"]
    assert rows["all but field"] | {"injected": ""} == rows["none"] | {"injected": ""}
    assert rows["none"]["diffuse, dB"] == before["none"]["diffuse, dB"]
    assert (context.out / "swapper_domains.jpg").is_file()
