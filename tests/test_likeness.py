import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from id2r_core.errors import Id2rError
from id2r_core.evaluate.judge import Judge
from id2r_core.evaluate.likeness import HDRIS, VARIANTS, score
from id2r_core.photo import Photo


@pytest.fixture(scope="module")
def judge_file(tmp_path_factory):
    """A "recogniser" that averages patches of 16 x 16: its embedding is a small picture of the aligned face."""
    pool = helper.make_node("AveragePool", ["face"], ["small"], kernel_shape=[16, 16], strides=[16, 16])
    flat = helper.make_node("Flatten", ["small"], ["embedding"])
    face = helper.make_tensor_value_info("face", TensorProto.FLOAT, [1, 3, 112, 112])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 147])
    model = helper.make_model(helper.make_graph([pool, flat], "judge", [face], [embedding]))
    model.opset_import[0].version = 11
    model.ir_version = 8
    path = tmp_path_factory.mktemp("judge") / "judge.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def people(tmp_path, astronaut):
    """Portraits of Ada and of Bo (Ada in negative colours), and result folders whose renders are exact."""
    both = {"ada": astronaut.srgb, "bo": astronaut.srgb[..., ::-1] ** 2}
    for name, srgb in both.items():
        write(tmp_path / "portraits" / f"{name}.png", srgb)
        for variant in VARIANTS:
            for picture in (*HDRIS, "as_photographed"):  # which is no render
                write(tmp_path / "results" / name / variant / f"{picture}.png", srgb)
    return tmp_path


def write(path, srgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), (srgb[..., ::-1] * 255).round().astype(np.uint8))


def likeness(people, judge_file):
    everybody = sorted((people / "portraits").glob("*.png"))
    return score(people / "results", everybody, everybody, Judge(judge_file))


def test_the_same_face_is_alike_and_found_first(people, judge_file):
    found = likeness(people, judge_file)
    assert set(found) == {(variant, hdri) for variant in VARIANTS for hdri in HDRIS}
    assert all(cell.cosines == pytest.approx([1, 1], abs=1e-3) and cell.rank_1 == 1 for cell in found.values())


def test_a_render_of_somebody_else_is_less_alike_and_not_found(people, judge_file):
    ada = people / "portraits" / "ada.png"
    (people / "results" / "bo" / "refined" / "studio.png").write_bytes(ada.read_bytes())
    found = likeness(people, judge_file)["refined", "studio"]
    assert found.cosines[0] == pytest.approx(1, abs=1e-3) and found.cosines[1] < 0.95 and found.rank_1 == 0.5


def test_the_gallery_may_hold_others(people, judge_file):
    """Bo is looked for among both, and Ada is not asked about."""
    both = sorted((people / "portraits").glob("*.png"))
    found = score(people / "results", both[1:], both, Judge(judge_file))["refined", "studio"]
    assert found.cosines == pytest.approx([1], abs=1e-3) and found.rank_1 == 1


def test_a_render_without_a_face_is_not_the_right_person(people, judge_file):
    write(people / "results" / "bo" / "refined" / "studio.png", np.full((256, 256, 3), 0.5))
    found = likeness(people, judge_file)["refined", "studio"]
    assert len(found.cosines) == 1 and found.rank_1 == 0.5


def test_where_the_face_lies_does_not_matter(astronaut, judge_file):
    judge = Judge(judge_file)
    moved = Photo(np.roll(astronaut.srgb, (40, -30), (0, 1)), "moved")
    assert judge.embed(astronaut) @ judge.embed(moved) > 0.999


def test_a_missing_judge_is_named(tmp_path):
    with pytest.raises(Id2rError, match=r"none\.onnx"):
        Judge(tmp_path / "none.onnx")
