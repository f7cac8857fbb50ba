"""The renderer that training photographs come from, held against Cycles: even light, and light from one side."""

import cv2
import numpy as np
import pytest

from id2r_core.capture import validation
from id2r_core.capture.stage import CaptureStage
from id2r_core.capture.validation import ValidationPlan, to_blender_panorama, write_validation
from tests.blender.crosscheck import compare
from tests.capture_data import write_data

SIZE, SAMPLES = 64, 8


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small set whose first scene is lit evenly and whose second from the subject's left, and its stage."""
    root = tmp_path_factory.mktemp("crosscheck")
    data = write_data(root / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "STAGE_SIZE", SIZE)
        plan = ValidationPlan(subjects_per_type=1, lights=1, size=SIZE)
        write_validation(data, root / "set", plan, "", "cpu", lambda *_: None)
    even = np.ones((32, 64, 3), np.float32)
    from_left = 0.2 * even
    from_left[8:20, 40:56] = 4.0  # column 48 of 64 is +x, the subject's left
    for number, light in enumerate((even, from_left)):
        image = np.ascontiguousarray(to_blender_panorama(light)[..., ::-1])
        cv2.imwrite(str(root / "set" / "lights" / f"scene{number:03d}.exr"), image)
    return root / "set", CaptureStage(data, SIZE, split="validation")


def test_even_light_gives_the_same_radiance(made):
    (difference,) = compare(*made, SAMPLES, wanted=slice(0, 1))
    assert abs(difference.signed) < 0.06 and difference.absolute < 0.12


def test_light_from_one_side_falls_on_the_same_side(made):
    pairs = []
    (difference,) = compare(*made, SAMPLES, wanted=slice(3, 4), keep=pairs)
    # Cycles' light has the brightness of the panorama, the stage's is scaled to a mean luminance of 1.
    assert difference.correlation > 0.85
    traced, shaded = ((image * image.mean(2, keepdims=True)).mean(2) for image in pairs[0])
    assert shaded[:, SIZE // 2 :].mean() > 1.5 * shaded[:, : SIZE // 2].mean()
    assert traced.mean() > 0
