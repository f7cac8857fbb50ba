"""How much of face and neck the three views show: the figures that geometry.camera gives."""

import math

import pytest
import torch

from id2r_core.conventions import LEVEL_SIDES, LOW_SIDES
from id2r_core.geometry.camera import capture_cameras
from id2r_core.head.atlas import look, make_atlas

STEEPEST = 70.0  # degrees between surface normal and line of sight


def share_seen(model, sides, limit=STEEPEST) -> float:
    """Of the texels of face and neck, how many some view shows at less than `limit` degrees."""
    atlas = make_atlas(model, 192)
    fine = model.fine_neutral
    wanted = torch.maximum(atlas.region("face"), atlas.region("neck")) > 0.5
    wanted &= (atlas.region("skin") > 0.9) & atlas.mask
    cameras = capture_cameras(512, sides=sides)
    views = [look(atlas, fine, cameras[i]) for i in range(len(cameras))]
    seen = torch.stack([view.visible & (view.cosine > math.cos(math.radians(limit))) for view in views]).any(0)
    return float((seen & wanted).sum() / wanted.sum())


def test_low_side_cameras_show_97_percent_and_level_ones_do_not(model, one_thread):
    level, low = share_seen(model, LEVEL_SIDES), share_seen(model, LOW_SIDES)
    assert low >= 0.97
    assert 0.915 < level < 0.95
    assert share_seen(model, LOW_SIDES, limit=40.0) < low - 0.1


@pytest.mark.parametrize("sides", [LEVEL_SIDES, LOW_SIDES])
def test_side_cameras_mirror_each_other_and_keep_the_middle_of_the_head(sides):
    cameras = capture_cameras(512, sides=sides)
    left, right = cameras.centre()[1:]
    torch.testing.assert_close(left, right * torch.tensor([-1.0, 1.0, 1.0]), atol=1e-5, rtol=0)
    assert math.copysign(1, float(left[1])) == math.copysign(1, sides[1]) or abs(float(left[1])) < 1e-6
    middle = torch.tensor([[0.0, 0.0, -0.075]])
    pixels = cameras.project(middle)[:, 0, :2]
    torch.testing.assert_close(pixels, pixels[:1].expand(3, -1), atol=0.05, rtol=0)
