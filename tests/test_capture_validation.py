"""The validation set: what it lists, that it holds the truth, and that it can be interrupted."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage.color import lab2rgb

from id2r_core.capture import validation
from id2r_core.capture.sources import split_of
from id2r_core.capture.validation import SKIN_TYPES, ValidationPlan, _cast_of, measured_ita, type_of, write_validation
from id2r_core.errors import Id2rError
from tests.capture_data import write_data

STAGE_SIZE = 96
PLAN = ValidationPlan(subjects_per_type=1, lights=2, size=128, seed=1)


def silent(_stage, _done, _total):
    pass


@pytest.fixture(scope="module")
def made(tmp_path_factory, one_thread):
    root = tmp_path_factory.mktemp("validation")
    data = write_data(root / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "STAGE_SIZE", STAGE_SIZE)
        write_validation(data, root / "set", PLAN, "the command", torch.device("cpu"), silent)
        yield root / "set", data


@pytest.fixture(scope="module")
def index(made):
    return json.loads((made[0] / "validation.json").read_text())


def test_skin_types_are_those_of_the_published_edges():
    assert [type_of(ita) for ita in (60, 50, 35, 20, 0, -40)] == ["I", "II", "III", "IV", "V", "VI"]
    for lightness, yellow in ((70.0, 15.0), (40.0, 12.0)):
        srgb = torch.from_numpy(lab2rgb([[[lightness, 10.0, yellow]]])).permute(2, 0, 1)
        expected = np.degrees(np.arctan((lightness - 50) / yellow))
        assert abs(measured_ita(srgb, torch.ones(1, 1, dtype=torch.bool)) - expected) < 0.1


def test_everybody_is_photographed_once_a_round_and_types_mix(index):
    assert [s["skin_type"] for s in index["subjects"]] == [t for t in reversed(SKIN_TYPES)]
    assert {s["sex"] for s in index["subjects"]} == {"female", "male"}
    taken = [photo["subject"] for scene in index["scenes"] for photo in scene["photos"]]
    assert sorted(taken) == sorted(2 * [s["name"] for s in index["subjects"]])
    types = {s["name"]: s["skin_type"] for s in index["subjects"]}
    for scene in index["scenes"]:
        assert split_of(scene["hdri"]) == "validation"
        assert len({types[photo["subject"]] for photo in scene["photos"]}) == 3
    files = [photo["file"] for scene in index["scenes"] for photo in scene["photos"]]
    assert len(set(files)) == len(files) == 12


def test_the_casts_of_a_round_hold_everybody_once_and_change_from_round_to_round():
    people = list(range(6 * 3))  # three of each type, type by type
    rounds = [[tuple(_cast_of(people, round_, place)) for place in range(6)] for round_ in range(3)]
    for casts in rounds:
        assert sorted(sum(casts, ())) == people
        assert all(len({person // 3 for person in cast}) == 3 for cast in casts)
    assert not set(rounds[0]) & set(rounds[1])


def test_a_subject_is_a_result_folder_with_true_maps(made, index):
    for subject in index["subjects"][::5]:
        folder = made[0] / "subjects" / subject["name"]
        diffuse = cv2.imread(str(folder / "diffuse.png"))[..., ::-1].astype(np.float32) / 255
        mask = cv2.imread(str(folder / "skin.png"), cv2.IMREAD_GRAYSCALE)
        assert set(np.unique(mask)) == {0, 255} and 0.1 < (mask > 0).mean() < 0.6
        ita = measured_ita(torch.from_numpy(diffuse).permute(2, 0, 1), torch.from_numpy(mask > 0))
        assert abs(ita - subject["ita_degrees"]) < 0.5 and type_of(ita) == subject["skin_type"]
        for name in ("specular", "roughness", "normal"):
            assert cv2.imread(str(folder / f"{name}.png"), cv2.IMREAD_UNCHANGED).dtype == np.uint16
        with np.load(folder / "head.npz") as head:
            assert {"vertices", "quads", "uv", "eye_centres", "iris_colour_linear", "photo_size"} <= set(head.files)
        assert not list(folder.glob(".*"))


def test_light_has_unit_luminance_and_the_camera_looks_at_the_face(made, index):
    scene = index["scenes"][0]
    light = cv2.imread(str(made[0] / scene["light"]), cv2.IMREAD_UNCHANGED)[..., ::-1]
    height = light.shape[0]
    weight = np.cos(np.pi * (0.5 - (np.arange(height) + 0.5) / height))[:, None, None] * np.ones_like(light[..., :1])
    mean = (light * weight).sum((0, 1)) / weight.sum()
    assert abs(mean @ np.array([0.2126, 0.7152, 0.0722]) - 1) < 0.02
    for photo in scene["photos"]:
        view = np.array(photo["view_from_world"]) @ np.array([0.0, -0.03, 0.02, 1.0])  # between eyes and nose
        x, y = view[:2] / view[2] * photo["focal"] + photo["principal"]
        assert 0.25 * PLAN.size < x < 0.75 * PLAN.size and 0.2 * PLAN.size < y < 0.7 * PLAN.size
        assert not {"jawOpen", "mouthUpperUpLeft"} & set(photo["expression"])


def test_the_same_set_again_changes_nothing_and_another_one_is_refused(made):
    folder, data = made
    before = {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*") if path.is_file()}
    lost = next(folder.glob("subjects/*/skin.png")).parent
    content = (lost / "diffuse.png").read_bytes()
    for path in lost.iterdir():
        path.unlink()
    write_validation(data, folder, PLAN, "another command", torch.device("cpu"), silent)
    assert (lost / "diffuse.png").read_bytes() == content
    after = {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*") if path.is_file()}
    assert set(after) == set(before)
    assert all(before[path] == after[path] for path in before if path.parent != lost)
    with pytest.raises(Id2rError, match="another validation set"):
        write_validation(data, folder, ValidationPlan(1, 3, 128, 1), "", torch.device("cpu"), silent)
