"""The maps in the MakeHuman layout: the same surface, and normals that still point where they pointed."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch

from id2r_core import makehuman
from id2r_core.errors import Id2rError
from id2r_core.geometry.rasterize import interpolate
from id2r_core.geometry.texture import atlas_fragments
from id2r_core.head.model import HEAD_FILE, load_head

pytestmark = pytest.mark.skipif(not HEAD_FILE.is_file(), reason="the head file is not built")
SIZE = 256


@pytest.fixture(scope="module")
def model():
    return load_head()


def baked(model, values, uv, faces_uv, size=SIZE):
    """Values of fine vertices [Nf, C] as an image [C, T, T] in a layout, and where it shows the skin."""
    skin = model.faces_of("skin")
    fragments = atlas_fragments(uv, faces_uv[skin], size)
    return interpolate(values, model.faces[skin], fragments)[0], fragments.mask[0, 0]


def write(path, image, kind):
    cv2.imwrite(str(path), np.rint(image.permute(1, 2, 0).numpy()[..., ::-1] * np.iinfo(kind).max).astype(kind))


@pytest.fixture(scope="module")
def result(model, tmp_path_factory):
    """A result folder whose diffuse map shows where on the head each texel lies, and whose normals lean to +u."""
    folder = tmp_path_factory.mktemp("result")
    fine = model.fine_neutral
    place = (fine - fine.amin(0)) / (fine.amax(0) - fine.amin(0))
    image, mask = baked(model, place, model.fine_uv, model.faces_uv)
    image = makehuman.bleed(image, mask)
    write(folder / "diffuse.png", image, np.uint8)
    leaning = torch.tensor([0.8, 0.5, 0.9]).reshape(3, 1, 1).expand(3, SIZE, SIZE)
    for name in ("specular", "roughness", "normal", "coverage"):
        write(folder / f"{name}.png", leaning, makehuman.MAPS[name])
    np.savez(folder / "head.npz", vertices=model.neutral.numpy())
    report = {"photo": "a.png", "morphs": {"nose-width3-incr": 0.2, "age-old": 0.1}, "expressions": {"jawOpen": 0.3}}
    (folder / "report.json").write_text(json.dumps(report))
    makehuman.write_makehuman_maps(folder, SIZE, lambda *_: None)
    return folder


def read(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return torch.from_numpy(np.atleast_3d(image)[..., ::-1].astype(np.float32) / np.iinfo(image.dtype).max)


def test_every_texel_shows_the_same_point_of_the_skin(model, result):
    fine = model.fine_neutral
    place = (fine - fine.amin(0)) / (fine.amax(0) - fine.amin(0))
    wanted, mask = baked(model, place, model.fine_uv_makehuman, model.faces_uv_makehuman)
    found = read(result / "makehuman" / "diffuse.png").permute(2, 0, 1)
    error = (found - wanted).abs().amax(0)[mask]
    assert error.median() < 0.01 and error.quantile(0.98) < 0.05


def test_normals_lean_where_they_leant(model, result):
    """Against directions by finite differences over the two layouts, in which the core's tangents have no part."""
    fine = model.fine_neutral
    position, mask = baked(model, fine, model.fine_uv_makehuman, model.faces_uv_makehuman)
    normal_map = read(result / "makehuman" / "normal.png").permute(2, 0, 1) * 2 - 1
    head_uv = interpolate(
        model.fine_uv, model.faces_uv[model.faces_of("skin")],
        atlas_fragments(model.fine_uv_makehuman, model.faces_uv_makehuman[model.faces_of("skin")], SIZE),
    )[0]  # fmt: skip
    inside = mask[2:-2, 2:-2] & mask[4:, 2:-2] & mask[:-4, 2:-2] & mask[2:-2, 4:] & mask[2:-2, :-4]

    def by_u(image):
        return (image[:, 2:-2, 4:] - image[:, 2:-2, :-4]).flatten(1).T[inside.flatten()]

    def by_v(image):  # v points up
        return (image[:, :-4, 2:-2] - image[:, 4:, 2:-2]).flatten(1).T[inside.flatten()]

    along_u, along_v = (torch.nn.functional.normalize(each(position), dim=1) for each in (by_u, by_v))
    jacobian = torch.stack([by_u(head_uv), by_v(head_uv)], 2)  # d head uv / d makehuman (u, v)
    towards = torch.linalg.solve(jacobian, torch.tensor([1.0, 0.0]).expand(len(jacobian), 2))  # of head u
    step = torch.stack([by_u(position), by_v(position)], 2) @ towards[..., None]
    tangent = torch.nn.functional.normalize(step[..., 0], dim=1)
    local = normal_map[:, 2:-2, 2:-2].flatten(1).T[inside.flatten()]
    upright = torch.linalg.cross(along_u, along_v)
    found = local[:, :1] * along_u + local[:, 1:2] * torch.linalg.cross(upright, along_u)
    agreement = (torch.nn.functional.normalize(found, dim=1) * tangent).sum(1)
    assert agreement.quantile(0.1) > 0.97
    assert local[:, 2].median() == pytest.approx(0.8, abs=0.05)


def test_the_mask_is_white_on_the_face_and_fades_on_the_neck(result):
    mask = read(result / "makehuman" / "mask.png")[..., 0]
    assert set(np.unique((mask * 4).int())) == {0, 1, 2, 3, 4}
    assert 0.1 < (mask == 1).float().mean() < 0.6
    assert not read(result / "makehuman" / "diffuse.png")[0, 0].any()  # far outside there is nothing


def test_the_shape_as_mpfb_reads_it(result):
    named = json.loads((result / "makehuman" / "targets.json").read_text())
    assert named["targets"] == [{"target": "nose-width3-incr", "value": 0.2}]
    assert named["phenotype"] == {"age-old": 0.1} and named["expression"] == {"jawOpen": 0.3}


def test_a_folder_without_a_result_is_named(tmp_path):
    with pytest.raises(Id2rError, match="no head"):
        makehuman.write_makehuman_maps(tmp_path, SIZE, lambda *_: None)
    assert not (tmp_path / "makehuman").exists()


@pytest.mark.parametrize("report", [None, "{half"])
def test_a_missing_or_damaged_report_is_no_full_disk(result, tmp_path, report):
    folder = tmp_path / "copy"
    shutil.copytree(result, folder)
    (folder / "report.json").unlink()
    if report:
        (folder / "report.json").write_text(report)
    with pytest.raises(Id2rError, match="report.json is missing or damaged"):
        makehuman.write_makehuman_maps(folder, SIZE, lambda *_: None)


def test_a_cancelled_job_leaves_nothing(result, tmp_path):
    from id2r_core.errors import Cancelled

    for path in result.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())

    def stop(stage, done, total):
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        makehuman.write_makehuman_maps(tmp_path, 64, stop)
    assert not (tmp_path / "makehuman").exists()
