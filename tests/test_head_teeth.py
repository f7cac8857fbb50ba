"""Teeth, gums and closed lips of the head model."""

import math

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from id2r_core.capture.subjects import Casting
from id2r_core.errors import Id2rError
from id2r_core.geometry.camera import Camera, look_at_head
from id2r_core.geometry.mesh import triangulate
from id2r_core.geometry.rasterize import rasterize
from id2r_core.head.model import OFF_TILE, PARTS
from id2r_core.head.teeth import follow
from id2r_core.pigment import build_pigment_table

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE, MOUTH = 160, (0.0, -0.066, 0.0)


def expression(model, **values):
    row = torch.zeros(1, len(model.expression_names))
    for name, value in values.items():
        row[0, model.expression_names.index(name)] = value
    return row


def nobody(model):
    return torch.zeros(1, len(model.identity_names))


def pixels_of(model, vertices, part, yaw_degrees=0.0) -> int:
    """How many pixels of a close-up of the mouth show a part."""
    view = look_at_head(torch.tensor([math.radians(yaw_degrees)]), 0.7, torch.tensor(MOUTH))
    camera = Camera(view, torch.tensor([7.5 * SIZE]), torch.full((1, 2), SIZE / 2), SIZE, SIZE)
    faces = model.faces
    seen = rasterize(camera.project(model.subdivide(vertices[None])[0]), faces, SIZE, SIZE).face[0]
    return int((model.face_part[seen[seen >= 0]] == PARTS.index(part)).sum())


def vertices_of(model, part):
    return model.quads[model.part == PARTS.index(part)].unique()


def crowns(model) -> list[torch.Tensor]:
    """The quads [q, 4] of every tooth."""
    quads = model.quads[model.part == PARTS.index("teeth")]
    edges = np.concatenate([quads[:, [i, (i + 1) % 4]] for i in range(4)])
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(model.neutral),) * 2)
    label = connected_components(graph, directed=False)[1][quads[:, 0]]
    return [quads[label == each] for each in np.unique(label)]


def test_there_are_28_teeth_in_two_symmetric_rows(model):
    assert len(crowns(model)) == 28
    points = model.neutral[vertices_of(model, "teeth")]
    mirrored = points * torch.tensor([-1.0, 1.0, 1.0])
    assert torch.cdist(points, mirrored).amin(1).max() < 1e-4


def test_teeth_face_outwards(model):
    """The signed volume of every crown (its open root lies in the gum) about its own middle: 50 to 1500 mm3."""
    for crown in crowns(model):
        corners = model.neutral[triangulate(crown)]
        corners = corners - corners.mean((0, 1))
        volume = (corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum() / 6
        assert 5e-8 < volume < 1.5e-6


def test_upper_teeth_stay_with_the_skull_and_lower_teeth_follow_the_jaw(model):
    index = model.expression_names.index
    upper = model.upper_jaw
    lower = torch.tensor(sorted(set(model.lower_jaw.tolist()) & set(vertices_of(model, "teeth").tolist())))
    for name in ("jawOpen", "jawLeft", "mouthSmileLeft", "mouthUpperUpRight"):
        assert model.expression[index(name)][upper].abs().max() < 5e-4
    dropped = model.expression[index("jawOpen")][lower]
    assert dropped[:, 1].mean() < -0.01 and model.expression[index("mouthSmileLeft")][lower].abs().max() < 5e-4
    assert model.expression[index("jawLeft")][lower][:, 0].mean() > 0.004


def test_the_tongue_stays_in_the_mouth_whatever_the_chin_does(model):
    """MakeHuman's chin-height-incr alone would lift it by 2 cm."""
    tongue = vertices_of(model, "tongue")
    move = model.identity[model.identity_names.index("chin-height-incr")]
    assert move[tongue].norm(dim=1).max() < 1e-3


def test_no_tooth_is_seen_while_the_mouth_is_shut(model):
    people = Casting(model, build_pigment_table(), 3, "train").cast(range(8), "cpu").identity
    still = torch.zeros(len(people), len(model.expression_names))
    heads = [model.neutral, *(model.close_lips(head) for head in model.shape(people, still))]
    for head in heads:
        for yaw in (0.0, 45.0, 90.0):
            assert pixels_of(model, head, "teeth", yaw) <= 3


def test_an_open_mouth_shows_teeth_and_tongue(model):
    posed = model.shape(nobody(model), expression(model, jawOpen=0.6))[0]
    assert pixels_of(model, posed, "teeth") > 200 and pixels_of(model, posed, "tongue") > 200
    smile = expression(model, mouthSmileLeft=0.7, mouthSmileRight=0.7, mouthUpperUpLeft=0.6, mouthUpperUpRight=0.6)
    assert pixels_of(model, model.shape(nobody(model), smile)[0], "teeth") > 60


def test_closing_lips_leaves_an_open_mouth_open(model):
    posed = model.shape(nobody(model), expression(model, jawOpen=0.6))[0]
    before, after = (pixels_of(model, head, "teeth") for head in (posed, model.close_lips(posed)))
    assert after > 0.9 * before


def test_closing_lips_moves_nothing_but_lips_and_stops_when_they_touch(model):
    parted = model.shape(nobody(model), expression(model, mouthUpperUpLeft=0.15, mouthUpperUpRight=0.15))[0]
    closed = model.close_lips(parted)
    moved = (closed - parted).norm(dim=1)
    assert 0 < moved.max() < 0.002
    assert moved[(model.neutral[:, 1] + 0.067).abs() > 0.02].max() == 0
    assert torch.allclose(model.close_lips(closed), closed, atol=1e-4)


def test_teeth_have_a_layout_of_their_own(model):
    """Across and upwards over the whole square, the same in both layouts."""
    chosen = model.part == PARTS.index("teeth")
    own = model.uv[model.quads_uv[chosen]]
    assert torch.equal(own, model.uv_makehuman[model.quads_uv_makehuman[chosen]])
    assert own.min() >= 0 and own.max() <= 1 and {"teeth", "gums"} < set(OFF_TILE)
    upper = torch.isin(model.quads[chosen], model.upper_jaw)
    height = model.neutral[model.quads[chosen]][..., 1]
    for is_row, sign in ((upper, -1.0), (~upper, 1.0)):
        assert sign * np.corrcoef(own[..., 1][is_row], height[is_row])[0, 1] > 0.8


def test_a_band_s_affine_move_is_followed_exactly():
    rng = np.random.default_rng(0)
    band, points = rng.normal(size=(20, 3)), rng.normal(size=(5, 3))
    matrix, shift = rng.normal(size=(3, 3)), rng.normal(size=3)
    assert np.allclose(follow(band, band @ matrix + shift, points), points @ matrix + shift)


def test_vertices_of_another_head_model_are_refused(model):
    with pytest.raises(Id2rError, match="not of this head model"):
        model.subdivide(model.neutral[None, :-1])
