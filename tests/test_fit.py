"""The fit against heads whose shape, expression and camera are known: synthetic truth, with a detector's noise."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
import torch
from synthetic_head import camera_at, coefficients, face_of, known_head, landmarks_in_photo
from torch import Tensor

from id2r_core.head.fit import (
    SURFACE_COUNT,
    FittedHead,
    _across_outline,
    _clear_eyes,
    _common_moves,
    _resting,
    _smooth_warp,
    fit_head,
    fit_heads,
)
from id2r_core.landmarks import Face
from id2r_core.photo import Photo

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE, NOISE_PIXELS = 640, 0.5
PERSON = {"african-male": 0.3, "gender-male": 0.6, "nose-scale-horiz-incr": 0.4, "chin-width-incr": 0.5}
SMILE = {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7, "jawOpen": 0.3}
MOUTH_CORNERS, LIP = [61, 291], 13
MILLIMETRES = 1000.0


@dataclass(frozen=True)
class Trial:
    """A known head and what the fit made of its landmarks."""

    truth: FittedHead
    found: FittedHead

    @cached_property
    def missed(self) -> np.ndarray:
        """[468] pixels between the true landmarks (without noise) and those of the fitted surface."""
        apart = landmarks_in_photo(self.found) - landmarks_in_photo(self.truth)
        return np.linalg.norm(apart, axis=1)[:SURFACE_COUNT]

    @cached_property
    def turn_degrees(self) -> float:
        """How far the found camera is turned against the true one."""
        found, true = (head.camera.view_from_world[0, :3, :3] for head in (self.found, self.truth))
        return math.degrees(math.acos(min(1.0, (float((found @ true.T).trace()) - 1) / 2)))

    @cached_property
    def neutral_off_mm(self) -> Tensor:
        """[478] millimetres between the neutral faces at the landmarks, their means laid over each other."""
        found, true = (neutral_landmarks(head) for head in (self.found, self.truth))
        return ((found - found.mean(0)) - (true - true.mean(0))).norm(dim=1) * MILLIMETRES


def neutral_landmarks(head: FittedHead) -> Tensor:
    return head.model.landmarks(head.fine_neutral_vertices()[None])[0]


def try_fit(model, expression=None, focal_35mm=None, noise=NOISE_PIXELS, **view) -> Trial:
    truth = known_head(model, camera_at(size=SIZE, **view), PERSON, expression)
    photo = Photo(np.zeros((SIZE, SIZE, 3), np.float32), "synthetic.png", focal_35mm)
    return Trial(truth, fit_head(photo, face_of(truth, noise), model))


@pytest.fixture(scope="module")
def smiling(model):
    """A smile, seen from the subject's right by 25 degrees."""
    return try_fit(model, SMILE, yaw_degrees=-25.0)


@pytest.fixture(scope="module")
def rolled(model):
    """No expression, the camera rolled by 20 degrees."""
    return try_fit(model, roll_degrees=20.0)


@pytest.fixture(scope="module")
def near(model):
    """Taken from 50 cm with a wide lens that the EXIF data names."""
    return try_fit(model, distance=0.5, focal=0.95, focal_35mm=0.95 * 36.0)


@pytest.fixture(params=["smiling", "rolled", "near"])
def trial(request):
    return request.getfixturevalue(request.param)


def test_the_fitted_landmarks_lie_over_the_photos(trial):
    """Nearer than the detector's own noise: the head averages it out."""
    assert trial.missed.mean() < NOISE_PIXELS
    assert trial.missed.max() < 3.5


def test_the_camera_has_the_true_turn(trial):
    assert trial.turn_degrees < 2.0


def test_the_neutral_face_is_the_persons(trial):
    mean_head = known_head(trial.truth.model, trial.truth.camera)
    ignorant = Trial(trial.truth, mean_head).neutral_off_mm[:SURFACE_COUNT].mean()
    assert trial.neutral_off_mm[:SURFACE_COUNT].mean() < min(1.2, 0.5 * ignorant)


def test_the_reported_error_is_the_share_left_over_before_the_warp(trial):
    eyes = landmarks_in_photo(trial.truth)[[33, 263]]
    share_of_noise = NOISE_PIXELS / np.linalg.norm(eyes[0] - eyes[1])
    assert 0.5 * share_of_noise < trial.found.error < 5 * share_of_noise


def test_coefficients_stay_in_their_range(trial):
    for values in (trial.found.identity, trial.found.expression):
        assert values.min() >= 0 and values.max() <= 1


def test_a_smile_is_an_expression_not_a_person(smiling):
    found = smiling.found.expressions(least=0.0)
    assert 0.4 < found["mouthSmileLeft"] < 0.9 and 0.4 < found["mouthSmileRight"] < 0.9 and 0.1 < found["jawOpen"] < 0.5
    strongest = list(smiling.found.expressions())[:3]
    assert set(strongest) == set(SMILE)
    assert all(value < 0.18 for name, value in smiling.found.morphs().items() if name.startswith("mouth-"))


def test_the_neutral_head_does_not_smile(smiling):
    """Mouth corners against the middle of the lips: as low as the person's own, far below those of the smile."""
    lift = lambda points: float((points[MOUTH_CORNERS, 1] - points[LIP, 1]).mean())
    model, photographed = smiling.found.model, smiling.found.fine_vertices()
    smile, neutral = lift(model.landmarks(photographed[None])[0]), lift(neutral_landmarks(smiling.found))
    own = lift(neutral_landmarks(smiling.truth))
    assert smile - own > 0.003
    assert abs(neutral - own) < 0.35 * (smile - own)


def test_rims_and_irises_that_no_shape_explains_lie_over_the_photo(model):
    """Upper lids lower than the rest of a face has them, and irises farther apart."""
    truth = known_head(model, camera_at(size=SIZE), PERSON)
    points = landmarks_in_photo(truth).astype(np.float32)
    upper_lids, irises = [159, 158, 160, 386, 385, 387], [468, 473]
    points[upper_lids, 1] += 3.0
    points[irises, 0] += [-4.0, 4.0]
    found = fit_head(Photo(np.zeros((SIZE, SIZE, 3), np.float32), "synthetic.png"), Face(points), model)
    missed = np.linalg.norm(landmarks_in_photo(found) - points, axis=1)
    assert missed[upper_lids].mean() < 1.0 and missed[irises].max() < 0.5


def test_a_plain_face_has_next_to_no_expression(rolled):
    assert rolled.found.expression.max() < 0.2
    assert (rolled.found.vertices - rolled.found.neutral_vertices).norm(dim=1).max() < 0.003


def test_the_persons_strongest_morphs_are_named(rolled):
    named = rolled.found.morphs(least=0.15)
    assert "african-male" in named
    assert list(named.values()) == sorted(named.values(), reverse=True)
    assert rolled.found.morphs(least=2.0) == {}


def test_the_focal_length_of_the_exif_data_is_respected(near):
    true = float(near.truth.camera.focal[0])
    assert abs(float(near.found.camera.focal[0]) / true - 1) < 0.1
    distance = float(near.found.camera.view_from_world[0, 2, 3])
    assert 0.35 < distance < 0.6


def test_without_exif_data_the_camera_stands_at_a_typical_distance(rolled):
    assert 0.9 < float(rolled.found.camera.view_from_world[0, 2, 3]) < 1.8


def test_the_back_of_the_head_is_the_models_own(smiling):
    """No landmark is near, so the residual warp must leave it where the coefficients put it."""
    found, model = smiling.found, smiling.found.model
    unwarped = model.shape(found.identity[None], found.expression[None])[0]
    moved = (found.vertices - unwarped).norm(dim=1)
    behind = unwarped[:, 2] < -0.13
    assert behind.sum() > 100 and moved[behind].max() == 0
    assert moved[~behind].max() > 1e-4


def test_lids_lie_outside_the_eyeballs(trial):
    model = trial.found.model
    eyes = set(model.eye_vertices.flatten().tolist())
    lids = torch.tensor([i for i in range(len(model.neutral)) if i not in eyes])
    for vertices in (trial.found.vertices, trial.found.neutral_vertices):
        for centre, radius in zip(*model.eyes(vertices), strict=True):
            offset = vertices[lids] - centre
            in_front = offset[:, 2] > 0
            assert offset[in_front].norm(dim=1).min() > radius


# ---- several photos ----


@pytest.fixture(scope="module")
def together(model):
    """A smile from the front, and two views from the sides: each alone, and all together."""
    views = (({"yaw_degrees": 0.0}, SMILE), ({"yaw_degrees": 35.0}, None), ({"yaw_degrees": -35.0}, None))
    truths = [known_head(model, camera_at(size=SIZE, **view), PERSON, expression) for view, expression in views]
    photo = Photo(np.zeros((SIZE, SIZE, 3), np.float32), "synthetic.png", None)
    faces = [face_of(truth, 2 * NOISE_PIXELS) for truth in truths]
    alone = Trial(truths[0], fit_head(photo, faces[0], model))
    found = fit_heads([photo] * len(faces), faces, model)
    return alone, [Trial(truth, head) for truth, head in zip(truths, found, strict=True)]


def test_more_photos_know_the_neutral_face_better(together):
    alone, all_three = together
    assert all_three[0].neutral_off_mm[:SURFACE_COUNT].mean() < 0.8 * alone.neutral_off_mm[:SURFACE_COUNT].mean()


def test_photos_of_a_person_share_the_person_and_nothing_else(together):
    _, (smiling, left, right) = together
    for other in (left, right):
        assert torch.equal(other.found.identity, smiling.found.identity)
        assert torch.equal(other.found.neutral_vertices, smiling.found.neutral_vertices)
    assert smiling.found.expressions()["mouthSmileLeft"] > 0.4
    assert left.found.expressions().get("mouthSmileLeft", 0.0) < 0.2


def test_every_photo_has_its_head_over_it(together):
    for trial in together[1]:
        assert trial.turn_degrees < 3.0 and trial.missed.mean() < 2 * NOISE_PIXELS


def test_one_photo_moves_the_neutral_face_as_it_says():
    """What the photo cannot tell, the depth, no least squares may add to: the fit to one photo is what it was."""

    class One:
        moves = torch.from_numpy(np.random.default_rng(0).normal(0, 0.002, (478, 3))).float()
        away = torch.nn.functional.normalize(torch.tensor([0.3, 0.1, -1.0]), dim=0)

        @staticmethod
        def say():
            return torch.rand(478, 1, generator=torch.Generator().manual_seed(0)) + 0.01

    assert torch.equal(_common_moves([One()]), One.moves)


def test_two_views_tell_the_depth_that_neither_sees(model):
    """The truth is a move along z; each of two turned views sees its part across its own line of sight."""

    class View:
        def __init__(self, yaw):
            self.away = torch.tensor([math.sin(yaw), 0.0, -math.cos(yaw)])
            true = torch.tensor([0.0, 0.0, 0.004]).expand(478, 3)
            self.moves = true - (true @ self.away)[:, None] * self.away

        @staticmethod
        def say():
            return torch.ones(478, 1)

    views = [View(math.radians(degrees)) for degrees in (35, -35)]
    mean = torch.stack([view.moves for view in views]).mean(0)
    found = _common_moves(views)
    assert (found[:, 2] > 1.15 * mean[:, 2]).all() and (found[:, 2] < 0.004).all()
    assert found[:, :2].abs().max() < 1e-5


# ---- pieces ----


def test_the_warp_moves_the_landmarks_halfway_or_more_and_eyeballs_as_one_piece(model):
    """A common move of all landmarks is no noise, so the smoothing must let it through."""
    centres = model.neutral_landmarks
    move = torch.tensor([0.002, -0.001, 0.0])
    warp = _smooth_warp(model.neutral, centres, move.expand(478, 3), model)
    face = model.quads[model.part == 0].flatten().unique()
    near_nose = face[(model.neutral[face] - centres[4]).norm(dim=1) < 0.02]
    assert (warp[near_nose] - move).norm(dim=1).max() < 0.3 * move.norm()
    for eye in model.eye_vertices:
        assert torch.equal(warp[eye], warp[eye[:1]].expand(len(eye), 3))
        assert (warp[eye[0]] - move).norm() < 0.3 * move.norm()


def test_a_lid_inside_the_eyeball_is_pushed_out_and_nothing_else_moves(model):
    sunk = model.neutral.clone()
    centre, radius = (value[0] for value in model.eyes(model.neutral))
    skin = model.quads[model.part == 0].flatten().unique()
    victim = skin[(model.neutral[skin] - centre).norm(dim=1).argmin()]
    sunk[victim] = centre + torch.tensor([0.0, 0.3, 0.9]) * radius * 0.8
    cleared = _clear_eyes(sunk, model)
    assert (cleared[victim] - centre).norm() > radius
    direction = torch.nn.functional.normalize(cleared[victim] - centre, dim=0)
    assert torch.allclose(direction, torch.nn.functional.normalize(sunk[victim] - centre, dim=0), atol=1e-4)
    others = torch.arange(len(sunk)) != victim
    assert torch.equal(cleared[others], _clear_eyes(model.neutral, model)[others])
    assert torch.equal(cleared[model.eye_vertices], model.neutral[model.eye_vertices])


def test_outline_landmarks_only_count_across_the_outline(model):
    """Chin (152) and cheek (234): the one may slide sideways, the other up and down."""
    target = torch.from_numpy(landmarks_in_photo(known_head(model, camera_at(size=SIZE))))
    kept = _across_outline(target, torch.tensor([3.0, 2.0]).expand(478, 2))
    assert abs(float(kept[152, 0])) < 1.0 and float(kept[152, 1]) > 1.5
    assert abs(float(kept[234, 1])) < 1.2 and float(kept[234, 0]) > 1.5
    assert torch.equal(kept[4], torch.tensor([3.0, 2.0]))


def test_a_resting_face_keeps_its_brows_and_opens_half_closed_eyes(model):
    held = {"browDownLeft": 0.3, "eyeBlinkRight": 0.9, "mouthSmileLeft": 0.7, "jawOpen": 0.4}
    kept = _resting(model, coefficients(model.expression_names, held))
    assert torch.equal(kept, coefficients(model.expression_names, {"browDownLeft": 0.3, "eyeBlinkRight": 0.5}))


def test_named_coefficients_land_in_the_right_place(model):
    vector = coefficients(model.expression_names, {"jawOpen": 0.5})
    head = known_head(model, camera_at(), expression={"jawOpen": 0.5})
    assert head.expressions() == {"jawOpen": 0.5} and torch.equal(head.expression, vector)
