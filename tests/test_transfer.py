"""The maps on a mesh of another make: the head of somebody else, in centimetres, looking the other way."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_makehuman import SIZE, baked, read, result  # noqa: F401 a fixture

from id2r_core import transfer
from id2r_core.capture import register
from id2r_core.conventions import yup_to_zup
from id2r_core.errors import Id2rError, NoFace
from id2r_core.head.model import HEAD_FILE, load_head
from id2r_core.protocol import FIT, FIT_REPORT, TransferRequest

pytestmark = pytest.mark.skipif(not HEAD_FILE.is_file(), reason="the head file is not built")
TILE = 3.0  # of the layout that the mesh uses


@pytest.fixture(scope="module")
def model():
    return load_head()


@pytest.fixture(scope="module")
def stored(model, tmp_path_factory):
    """Another identity as a mesh of its own: rounder triangles, the MakeHuman layout in UDIM tile 1004, turned, in cm."""
    generator = torch.Generator().manual_seed(3)
    draw = lambda: torch.rand(1, len(model.identity), generator=generator)
    some = 0.35 * draw() * (draw() < 0.1)
    fine = model.subdivide(model.shape(some, torch.zeros(1, len(model.expression))))[0].numpy()
    shown = model.faces_of("skin", "eyeball_left", "eyeball_right").numpy()
    about = np.array([[-1, 0, 0], [0, 1, 0], [0, 0, -1]], np.float32)
    path = tmp_path_factory.mktemp("mesh") / "mesh.npz"
    np.savez(
        path,
        vertices=yup_to_zup(100 * (fine @ about.T) + np.float32([30, 150, -7])),
        faces=model.faces.numpy()[shown],
        uv=model.fine_uv_makehuman.numpy() + np.float32([TILE, 0]),
        faces_uv=model.faces_uv_makehuman.numpy()[shown],
    )
    return path


@pytest.fixture(scope="module")
def transferred(stored, result, tmp_path_factory):  # noqa: F811
    out = tmp_path_factory.mktemp("out") / "maps"
    stages = []
    request = TransferRequest(str(result), str(stored), str(out), SIZE)
    report = transfer.write_transferred_maps(request, lambda stage, done, total: stages.append((stage, done, total)))
    assert stages[0] == ("mesh", 0, 9) and stages[-1][1] == stages[-1][2]
    return out, report


def test_the_head_lies_on_the_mesh(model, stored, transferred):
    out, report = transferred
    assert (
        report["error_mm"] < 1.0
        and report["landmark_error_mm"] < 3.0
        and report["scale"] == pytest.approx(100, rel=0.1)
    )
    assert report["tile"] == [3, 0] and json.loads((out / FIT_REPORT).read_text()) == report
    with np.load(out / FIT) as fit, np.load(stored) as mesh:
        used = np.unique(fit["quads"])
        apart = np.linalg.norm(fit["vertices"][used, None] - mesh["vertices"][None, ::7], axis=-1).min(1)
    assert np.median(apart) < 0.6  # centimetres: one of seven vertices is looked at


def test_every_texel_shows_the_same_point_of_the_skin(model, transferred, result):  # noqa: F811
    """The MakeHuman maps of the same result are exact: both layouts belong to one mesh."""
    out, _ = transferred
    exact, made = (read(folder / "diffuse.png") for folder in (result / "makehuman", out))
    mask = read(out / "mask.png")[..., 0] > 0.9
    assert mask.float().mean() > 0.6 * (read(result / "makehuman" / "mask.png")[..., 0] > 0.9).float().mean()
    face = baked(model, model.regions["face"][:, None], model.fine_uv_makehuman, model.faces_uv_makehuman)[0][0] > 0.5
    apart = (exact - made).abs().amax(-1)  # of the head's extent, about 0.3 m
    assert apart[mask & face].median() < 0.025 and apart[mask].quantile(0.95) < 0.08


def test_normals_lean_to_the_same_side(transferred, result):  # noqa: F811
    out, _ = transferred
    exact, made = (read(folder / "normal.png") * 2 - 1 for folder in (result / "makehuman", out))
    mask = read(out / "mask.png")[..., 0] > 0.9
    cosine = torch.nn.functional.cosine_similarity(exact, made, dim=-1)[mask]
    assert cosine.median() > 0.98


def test_only_the_fit(stored, tmp_path):
    report = transfer.write_transferred_maps(
        TransferRequest("", str(stored), str(tmp_path / "fit"), only_fit=True), lambda *_: None
    )
    assert {path.name for path in (tmp_path / "fit").iterdir()} == {FIT, FIT_REPORT}
    assert report["error_mm"] < 1.0


@pytest.fixture
def pipe(tmp_path):
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn)], -1)
    vertices = np.concatenate([np.column_stack([ring, np.full(24, z)]) for z in (0.0, 3.0)])
    faces = np.array(
        [[i, (i + 1) % 24, 24 + i] for i in range(24)] + [[(i + 1) % 24, 24 + (i + 1) % 24, 24 + i] for i in range(24)]
    )
    np.savez(tmp_path / "pipe.npz", vertices=vertices, faces=faces, uv=vertices[:, :2] * 0.5 + 0.5, faces_uv=faces)
    return TransferRequest("", str(tmp_path / "pipe.npz"), str(tmp_path / "out"), only_fit=True)


def test_a_mesh_without_a_face_is_refused_and_leaves_nothing(pipe):
    with pytest.raises(NoFace, match="No face was found on the mesh"):
        transfer.write_transferred_maps(pipe, lambda *_: None)
    assert not Path(pipe.out).exists()


def test_a_detector_that_fails_is_no_missing_face(pipe, monkeypatch):
    def broken(photo):
        raise Id2rError("The detector is missing.", "Install it.")

    monkeypatch.setattr(register, "detect_face", broken)
    with pytest.raises(Id2rError, match="The detector is missing"):
        transfer.write_transferred_maps(pipe, lambda *_: None)


def test_only_the_head_of_a_body_is_wrapped(model, stored):
    """A plate under the head, far below: it takes no part."""
    mesh = transfer.read_mesh(stored)
    low = mesh.vertices.min(0) - (0, 120, 0)
    plate = low + np.float32([[0, 0, 0], [10, 0, 0], [0, 0, 10]])
    count = len(mesh.vertices)
    whole = replace(
        mesh,
        vertices=np.concatenate([mesh.vertices, plate.astype(np.float32)]),
        faces=np.concatenate([mesh.faces, [[count, count + 1, count + 2]]]),
        faces_uv=np.concatenate([mesh.faces_uv, mesh.faces_uv[:1]]),
    )
    found = transfer.find_head(whole, model)
    assert np.ptp(found.vertices, axis=0).max() < 0.5  # metres
