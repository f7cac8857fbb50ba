"""Distances and alignment against brute force, and the published layouts of NoW and REALY in miniature."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from id2r_core.errors import Id2rError
from id2r_core.evaluate import shape
from id2r_core.evaluate.shape import Surface
from id2r_core.geometry.mesh import closest_on_triangles

TURN = Rotation.from_euler("xyz", (12, -25, 7), degrees=True).as_matrix()


@pytest.fixture(scope="module")
def head(model):
    return shape.head_surface(model, model.neutral)


def test_nearest_points_of_a_head_are_those_of_all_its_triangles(head, random_generator):
    near_face = head.landmarks + random_generator.normal(0, 0.004, (7, 3))
    found = np.linalg.norm(shape.Nearest(head)(near_face) - near_face, axis=1)
    corners, points = torch.from_numpy(head.vertices[head.faces]), torch.from_numpy(near_face)
    weights = closest_on_triangles(points[:, None], corners[None])
    every = ((corners * weights[..., None]).sum(2) - points[:, None]).norm(dim=-1).amin(1).numpy()
    assert found == pytest.approx(every, abs=1e-9)


def test_alignment_undoes_a_motion_even_with_sloppy_landmarks(head, random_generator):
    scan = shape.now_crop(head.vertices[np.unique(head.faces)], head.landmarks)[::5]
    moved = Surface(head.vertices, head.faces, head.landmarks + random_generator.normal(0, 0.003, (7, 3)))
    moved = moved.moved(0.9, TURN, np.array([0.1, 0.0, 0.3]))
    assert shape.distances(moved, scan).mean() > 0.01
    assert shape.distances(shape.align(moved, scan, head.landmarks, True), scan).mean() < 5e-4


def test_a_dent_is_measured(head):
    scan = shape.now_crop(head.vertices[np.unique(head.faces)], head.landmarks)[::5]
    near_nose = np.exp(-np.square(np.linalg.norm(head.vertices - head.landmarks[4], axis=1) / 0.015))
    dented = Surface(head.vertices - 0.006 * near_nose[:, None] * (0, 0, 1), head.faces, head.landmarks)
    found = shape.distances(shape.align(dented, scan, head.landmarks, True), scan)
    assert 0.003 < found.max() < 0.007 and np.median(found) < 0.001


def test_the_crop_is_that_of_now(head):
    kept = shape.now_crop(head.vertices, head.landmarks)
    bridge, base = (head.landmarks[1] + head.landmarks[2]) / 2, head.landmarks[4]
    eyes = np.linalg.norm(head.landmarks[0] - head.landmarks[3])
    radius = 1.4 * (eyes + np.linalg.norm(bridge - base)) / 2
    assert np.linalg.norm(kept - (base + 0.3 * (bridge - base)), axis=1).max() <= radius
    assert 0.05 < radius < 0.12  # metres


# ---- layouts ----


def write_obj(path, vertices, faces=()):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["# scan"] + ["v " + " ".join(f"{value:.7f}" for value in row) for row in vertices]
    path.write_text("\n".join(lines + ["f " + " ".join(f"{i + 1}/{i + 1}" for i in face) for face in faces]) + "\n")


def write_points(path, points):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f'<point x="{x}" y="{y}" z="{z}" active="1" name="{n}"/>' for n, (x, y, z) in enumerate(points)]
    path.write_text(
        "<!DOCTYPE PickedPoints>\n<PickedPoints>\n<DocumentData/>\n" + "\n".join(rows) + "\n</PickedPoints>\n"
    )


@pytest.fixture
def now_folder(tmp_path, head):
    """Two people whose scans are the mean head in millimetres, turned; the second's face is 3 mm longer."""
    lines = []
    for person, longer in (("FaMoS_1", 0.0), ("FaMoS_2", 0.03)):
        place = lambda points, longer=longer: (points * (1, 1 + longer, 1)) @ TURN.T * 1000 + (50, 0, 20)
        write_obj(tmp_path / "scans" / person / "natural.obj", place(head.vertices[np.unique(head.faces)][::6]))
        write_points(tmp_path / "scans_lmks_onlypp" / person / "natural.pp", place(head.landmarks))
        for challenge in ("multiview_neutral", "selfie"):
            lines.append(f"{person}/{challenge}/IMG_1.jpg")
            image = tmp_path / "final_release_version" / "iphone_pictures" / lines[-1]
            image.parent.mkdir(parents=True)
            image.write_bytes(b"")
    (tmp_path / "imagepathsvalidation.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


class FakeContext:
    """Estimates that are all the mean head, or failed ones."""

    def __init__(self, data, model, fails=()):
        self.data, self.model, self.fails = data, model, fails
        self.estimator = self
        self.progress = lambda stage, done, total: None

    def all(self, photos, progress, methods):
        return {name: self.of(name) for name, _ in photos}

    def of(self, name):
        model = self.model

        class Estimate:
            failed = "no face" if name in self.fails else None

            def own_vertices(self):
                return model.neutral.double().numpy()

        return Estimate()


def rows_of(report):
    return {row[0]: row for row in report.tables[0].rows}


def test_now_is_measured_as_laid_out(now_folder, model):
    rows = rows_of(shape.evaluate_shape(FakeContext(now_folder, model)))
    assert rows["all"][1] == 4 and rows["selfie"][1] == 2
    assert 0.05 < rows["all"][3] < 1.0  # half of the scans fit exactly, the others are 3 per cent longer
    people = shape.read_now(now_folder)
    assert [photo.challenge for photo in people[:2]] == ["multiview_neutral", "selfie"]


def test_now_names_what_failed_and_what_is_missing(now_folder, model):
    report = shape.evaluate_shape(FakeContext(now_folder, model, fails=("FaMoS_1-selfie-IMG_1",)))
    assert report.failures == {"FaMoS_1-selfie-IMG_1": "no face"} and rows_of(report)["selfie"][1] == 1
    (now_folder / "scans_lmks_onlypp" / "FaMoS_2" / "natural.pp").unlink()
    with pytest.raises(Id2rError, match="FaMoS_2"):
        shape.read_now(now_folder)


@pytest.fixture
def realy_folder(tmp_path, head):
    """One scan with bumps of 2 mm on the cheeks; all else is the mean head."""
    keypoints = np.zeros((85, 3))
    keypoints[list(shape.SEVEN_OF_68)] = head.landmarks
    place = lambda points: points @ TURN.T * 0.02 + 1.0  # REALY's scans are in units of their own
    write_obj(tmp_path / "REALY_HIFI3D_keypoints" / "1.obj", place(keypoints))
    middles = dict(zip(shape.REGIONS, head.landmarks[[4, 5, 1, 3]], strict=True))
    skin = head.vertices[np.unique(head.faces)]  # no teeth: a scan does not see them
    for region, middle in middles.items():
        near = skin[np.linalg.norm(skin - middle, axis=1) < 0.03]
        bump = np.zeros_like(near) if region != "cheek" else np.where(np.arange(len(near))[:, None] % 2, 0.002, -0.002)
        write_obj(tmp_path / "REALY_scan_region" / "1" / f"{region}.obj", place(near + bump))
    (tmp_path / "metrical_scale.txt").write_text("50000.0\n")  # of these units in millimetres
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.jpg").write_bytes(b"")
    return tmp_path


def test_realy_is_measured_as_laid_out(realy_folder, model):
    rows = rows_of(shape.evaluate_shape(FakeContext(realy_folder, model)))
    assert rows["nose"][1] < 0.15 and 0.8 < rows["cheek"][1] < 4.0
    assert rows["all"][1] == pytest.approx(np.mean([rows[region][1] for region in shape.REGIONS]))


def test_polygons_become_triangles(tmp_path):
    write_obj(tmp_path / "quad.obj", np.eye(4, 3), [(0, 1, 2, 3)])
    assert shape.read_obj(tmp_path / "quad.obj")[1].tolist() == [[0, 1, 2], [0, 2, 3]]


def test_a_file_with_other_points_is_refused(tmp_path):
    write_points(tmp_path / "six.pp", np.zeros((6, 3)))
    with pytest.raises(Id2rError, match="6 points"):
        shape.read_picked_points(tmp_path / "six.pp")


@pytest.mark.parametrize("text", ["v 1 2\n", "v 1 2 three\n", "f a b c\n", "nothing\n", None])
def test_what_is_no_mesh_is_refused(tmp_path, text):
    path = tmp_path / "scan.obj"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Id2rError, match=r"scan\.obj"):
        shape.read_obj(path)


def test_a_list_of_other_things_is_refused(now_folder):
    (now_folder / "imagepathsvalidation.txt").write_text("IMG_1.jpg\n")
    with pytest.raises(Id2rError, match=r"lists 'IMG_1\.jpg'"):
        shape.read_now(now_folder)


@pytest.mark.parametrize("name", ["2.jpg", "front.jpg", "0_1.jpg"])
def test_a_photograph_of_no_scan_is_refused(realy_folder, model, name):
    (realy_folder / "images" / name).write_bytes(b"")
    with pytest.raises(Id2rError, match=name):
        shape.evaluate_shape(FakeContext(realy_folder, model))


def test_scans_of_unknown_scale_are_refused(realy_folder, model):
    (realy_folder / "metrical_scale.txt").unlink()
    with pytest.raises(Id2rError, match=r"metrical_scale\.txt"):
        shape.evaluate_shape(FakeContext(realy_folder, model))
