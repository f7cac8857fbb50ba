"""Whom landmarks suggest: the regression, what it is learnt from, and that it helps with landmarks that were detected."""

import numpy as np
import pytest
import torch
from synthetic_head import camera_at, face_of, known_head

from id2r_core.capture.scanned import FIRST_INNER, MEDIAPIPE, OUTSIDE, ScannedShapes
from id2r_core.capture.subjects import Casting
from id2r_core.errors import Id2rError
from id2r_core.head.expectation import load_expectation
from id2r_core.head.fit import fit_head, see_average
from id2r_core.head.landmark_map import SIZE, _albedo, _detect
from id2r_core.head.model import HEAD_FILE, PARTS
from id2r_core.landmarks import Face
from id2r_core.photo import Photo
from id2r_core.pigment import build_pigment_table
from id2r_core.train.expectation import _apart, _mirrored_morphs, _partners, learn, nearest_identity

pytestmark = pytest.mark.usefixtures("one_thread")

SIDES = torch.tensor([-1.0, 1.0])
YAWS_DEGREES = (0.0, 20.0, -20.0)


def people(model, count: int, split: str = "validation"):
    """Unseen subjects of the capture stage."""
    return Casting(model, build_pigment_table(), 0, split).cast(range(count), "cpu")


def heads_of(model, identity):
    """[S, N, 3] at rest."""
    return model.shape(identity, torch.zeros(len(identity), len(model.expression)))


def test_the_regression_finds_what_misses_mean():
    random = torch.Generator().manual_seed(0)
    identity, facing = torch.randn(500, 3, generator=random), 0.3 * torch.randn(500, 2, generator=random)
    shown = torch.randn(3, 956, generator=random)
    # Turned heads show less of the second coefficient, as a regression with the turn's square can tell.
    seen = identity * torch.stack([torch.ones(500), 1 - facing[:, 0] ** 2, torch.ones(500)], 1)
    misses = (seen @ shown + 0.5 * torch.randn(500, 956, generator=random)).unflatten(1, (478, 2))
    expectation = learn(misses[:400], facing[:400], identity[:400])
    off = (expectation(misses[400:], facing[400:]) - identity[400:]).square().mean(0)
    assert (off < 0.15 * identity.var(0)).all()


def test_what_is_shipped_knows_no_side(model):
    expectation, other_side = load_expectation(torch.device("cpu")), _partners(model.neutral_landmarks)
    random = torch.Generator().manual_seed(0)
    along = torch.randn(8, expectation.directions.shape[1], generator=random)
    misses = expectation.usual + along @ torch.linalg.pinv(expectation.directions)
    misses, facing = misses.unflatten(1, (478, 2)), 0.2 * torch.randn(8, 2, generator=random)
    found = expectation(misses, facing)
    mirrored = expectation(misses[:, other_side] * SIDES, facing * SIDES)[:, _mirrored_morphs(model)]
    assert _apart(heads_of(model, mirrored), heads_of(model, found), model) < 0.05


def test_detected_landmarks_tell_whom_to_expect(model):
    """Against reading them as if somebody had placed them: the neutral faces of unseen people come nearer, even on grey
    renders, unlike any photograph that this was learnt from."""
    with np.load(HEAD_FILE) as stored:
        albedo = _albedo(dict(stored), model.fine_neutral.numpy())
    subjects = people(model, 6)
    truth = heads_of(model, subjects.identity)
    found = {True: [], False: []}
    for number, fine in enumerate(model.subdivide(truth)):
        points = _detect(fine, model.faces, albedo, YAWS_DEGREES[number % len(YAWS_DEGREES)])[0]
        for placed, fitted in found.items():
            face = Face(points.astype(np.float32), placed=placed)
            fitted.append(
                fit_head(Photo(np.zeros((SIZE, SIZE, 3), np.float32), "a render"), face, model).neutral_vertices
            )
    read, believed = (_apart(torch.stack(found[placed]), truth, model) for placed in (False, True))
    assert read < 0.96 * believed


def test_scanned_shapes_are_heads_of_our_mesh(model, tmp_path):
    """A model of scans that is our own head, turned over, larger and in centimetres, with one mode."""
    quads = model.quads[model.part == PARTS.index("skin")].numpy()
    turn = np.diag([-1.0, 1.0, -1.0])
    scanned = 107.0 * model.neutral.numpy().astype(np.float64) @ turn
    skin = np.unique(quads)
    marks = model.neutral_landmarks[list(MEDIAPIPE)].numpy()
    nearest = skin[np.linalg.norm(marks[:, None] - model.neutral.numpy()[skin], axis=-1).argmin(1)]
    mode = 0.05 * scanned * [1.0, 0.0, 0.0]  # the head gets wider
    (tmp_path / "ict").mkdir()
    np.savez(
        tmp_path / "ict" / "ict_facekit.npz",
        neutral=scanned,
        faces=quads,
        face_part=np.zeros(len(quads), int),
        part_names=np.array(OUTSIDE),
        landmarks68=np.concatenate([np.zeros(FIRST_INNER, int), nearest]),
        identity_basis=mode[None].astype(np.float16),
    )
    shapes = ScannedShapes(tmp_path, model)
    drawn = shapes.draw(range(4), "train")
    assert torch.equal(drawn, shapes.draw(range(4), "train")) and not torch.equal(
        drawn, shapes.draw(range(4), "validation")
    )
    face = (model.regions["face"][: len(model.neutral)] > 0.9).numpy()
    apart = (drawn - model.neutral)[:, face].numpy()
    across = model.neutral[face, 0].numpy()
    wider = (apart[..., 0] * across).sum(1) / (across**2).sum()
    assert wider.std() > 0.02  # people differ along the mode
    apart[..., 0] -= wider[:, None] * across
    assert np.linalg.norm(apart, axis=-1).mean() < 0.0015  # and in nothing else


def test_scanned_shapes_need_their_file(model, tmp_path):
    with pytest.raises(Id2rError, match="ict_facekit"):
        ScannedShapes(tmp_path, model)


def test_the_nearest_identity_is_the_persons(model):
    truth = heads_of(model, people(model, 3).identity)
    found = heads_of(model, nearest_identity(1.07 * truth + 0.01, model))
    average = heads_of(model, model.identity_mean[None]).expand_as(truth)
    assert _apart(found, truth, model) < 0.4 * _apart(average, truth, model)


def test_the_average_head_misses_nothing_on_itself(model):
    """Seen from ahead, level; a photo that is turned in its plane shows the same misses."""
    average = dict(zip(model.identity_names, model.identity_mean.clamp(min=0).tolist(), strict=True))
    for roll_degrees in (0.0, 30.0):
        head = known_head(model, camera_at(0.0, roll_degrees, size=640), average)
        misses, facing = see_average(Photo(np.zeros((640, 640, 3), np.float32), "none"), face_of(head), model)
        assert misses.norm(dim=1).mean() < 0.003 and facing.abs().max() < 0.02
