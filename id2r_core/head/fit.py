"""Fit the head to the landmarks of photos of one person: identity once, camera and expression for each photo, and then
a smooth residual warp."""

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional

from ..facemesh import BROWS, EYE_CORNERS, IRIS_LANDMARKS, OVAL, SURFACE_COUNT
from ..geometry.camera import Camera, rotation
from ..landmarks import Face
from ..photo import Photo
from .expectation import load_expectation, upright
from .gaze import aim_eyes, outward, part_eyes
from .model import HeadModel
from .smile import seat_teeth

# Both corners, upper and lower lid of each eye, the subject's left first.
EYE_RINGS = ((263, 362, 386, 374), (33, 133, 159, 145))
UPPER_LIP, LOWER_LIP = 13, 14  # the middles of the inner rims
NOSE_BASE, CHIN = (2, 97, 326), (199, 200, 175)  # what lies over the bone of the upper and of the lower jaw

# Weights: where hair or the outline decides what a landmark means, it counts less.
BROW_WEIGHT, OVAL_WEIGHT, IRIS_WEIGHT = 0.35, 0.6, 0.5
ROBUST_SHARE = 0.02  # of the distance between the eyes: residuals beyond it count linearly
# How dear an expression is, by the start of its name: those that no portrait holds stay out.
PRIOR_BY_NAME = {
    "cheekPuff": 20.0, "tongueOut": 100.0, "mouthFunnel": 6.0, "mouthRoll": 3.0, "jawLeft": 4.0,
    "jawRight": 4.0, "jawForward": 6.0, "mouthLeft": 4.0, "mouthRight": 4.0, "noseSneer": 3.0, "mouthShrug": 3.0,
}  # fmt: skip
TYPICAL_DISTANCE, DISTANCE_SPREAD = 1.3, 0.35  # metres and log-units: how portraits are taken
EXIF_SPREAD = 0.05
CAMERA_PRIOR = 5e-5
WARP_SUPPORT, WARP_SMOOTHING = 0.07, 0.6  # metres; share of the kernel's diagonal
FINE_SUPPORT, FINE_SMOOTHING = 0.02, 0.3  # of the warp after it, over the photo alone
# How much a photo has to say of a landmark among others: by the angle at which it sees the surface there (exponent of its
# cosine; the least), and by how far the head is turned: the detector then misses by 2.5 mm in the same way on everybody, at
# 35 degrees, where from the front it is 1.4 (six virtual people, errors of pose apart).
SEEN_POWER, LEAST_SAY, TURNED_POWER = 2, 0.05, 8
DEPTH_PRIOR = 1.0  # of the full say: what it costs a landmark to leave the mean of what all photos say of its place
EXPRESSION_TAKES_ALL = 0.015  # metres of expression from which on the residual warp stays out of the neutral face
# How brows, lids and nose are held at rest is part of a face (neutralising them cost 0.03 in likeness on eight
# portraits): up to half of full strength it stays in the neutral head.
RESTING, RESTING_LIMIT = ("eyeBlink", "eyeSquint", "eyeWide", "brow", "noseSneer", "cheekSquint"), 0.5
EYELID_CLEARANCE = 0.0006
CLOSED_MOUTH = 0.02  # of the distance between the eyes: a narrower slit between the lips is a shut mouth
ITERATIONS = 400
POSE = 7  # numbers of a pose


@dataclass(frozen=True)
class _Reading:
    """How landmarks are read.

    expects: whether they tell whom to expect (`expectation`), or people on average are expected
    prior, expression: what it costs to differ from who is expected, a squared Mahalanobis distance, and what squared
    expressions cost, against the mean square of misses
    stays: how much of the residual warp the neutral face keeps
    """

    expects: bool
    prior: float
    expression: float
    stays: float


# Misses of about 3 % of the distance between the eyes hang together, so that 478 landmarks tell as much as some 40.
PLACED = _Reading(expects=False, prior=1e-5, expression=1.6e-5, stays=1.0)
# Who is to be expected is known better than a detector's landmarks tell it. Half of what they miss that head by is the
# detector's: distance to the true faces, 40 people each, virtual ones 0.68, 0.70, 0.76 and 0.86 mm with 0, 0.3, 0.6 and all
# of the warp, scanned ones 1.21, 1.18, 1.17 and 1.22 mm. What is left is no expression: at the cost of placed landmarks
# faces moved 2.4 times as much as they did.
DETECTED = _Reading(expects=True, prior=3e-4, expression=8e-5, stays=0.4)


@dataclass(frozen=True)
class FittedHead:
    """A head that lies over its photo; several photos of one person share the identity and the neutral head.

    camera: one pinhole camera in pixels of the photo.
    vertices [N, 3]: the head as photographed, expression included; neutral_vertices [N, 3]: without expression,
    but with brows, lids and nose as the person holds them.
    identity [K], expression [E]: coefficients in [0, 1], in the order of the model's names.
    error: mean landmark distance before the residual warp, as a share of the distance between the outer eye corners.
    """

    model: HeadModel
    camera: Camera
    vertices: Tensor
    neutral_vertices: Tensor
    identity: Tensor
    expression: Tensor
    error: float

    def fine_vertices(self) -> Tensor:
        """The fine mesh as photographed, [Nf, 3]."""
        return self.model.subdivide(self.vertices[None])[0]

    def fine_neutral_vertices(self) -> Tensor:
        """The fine mesh without expression, [Nf, 3]."""
        return self.model.subdivide(self.neutral_vertices[None])[0]

    def morphs(self, least: float = 0.01) -> dict[str, float]:
        """Named identity morphs that are more than `least` on, rounded, strongest first."""
        return _named(self.model.identity_names, self.identity, least)

    def expressions(self, least: float = 0.01) -> dict[str, float]:
        """Named expressions that are more than `least` on, rounded, strongest first."""
        return _named(self.model.expression_names, self.expression, least)


def _named(names, values, least):
    order = values.argsort(descending=True).tolist()
    return {names[i]: round(float(values[i]), 3) for i in order if values[i] > least}


def fit_head(photo: Photo, face: Face, model: HeadModel) -> FittedHead:
    """The fit to one photo alone."""
    return fit_heads([photo], [face], model)[0]


def fit_heads(photos: Sequence[Photo], faces: Sequence[Face], model: HeadModel) -> list[FittedHead]:
    """Fit by robust least squares over the landmarks of all photos, then move the surface so that in each of them the
    landmarks land on the photo. The faces are of one person; one head a photo."""
    views = [_View(model, photo, face) for photo, face in zip(photos, faces, strict=True)]
    reading = PLACED if all(face.placed for face in faces) else DETECTED
    with _one_thread():
        found = _solve(views, model, reading)
    fits = [_Fit(view, *each) for view, each in zip(views, found, strict=True)]
    moves = _common_moves(fits)  # of the neutral face
    warp = _smooth_warp(fits[0].vertices, fits[0].landmarks, moves, model)
    held = torch.stack([_resting(model, fit.expression) for fit in fits]).mean(0)
    neutral = model.shape(fits[0].identity[None], held[None])[0]
    # Where every photo's expression moves the surface, what is left over belongs to it and not to the neutral face.
    own = torch.stack([_share_of_person(fit.vertices, neutral) for fit in fits]).amax(0)
    neutral = _clear_eyes(model.close_lips(neutral + reading.stays * warp * own), model)
    photographed = [fit.photographed(moves) for fit in fits]
    neutral = part_eyes(neutral, torch.stack([outward(head, model) for head in photographed]).mean(), model)
    return [
        FittedHead(model, fit.camera, head, neutral, fit.identity, fit.expression, fit.error)
        for fit, head in zip(fits, photographed, strict=True)
    ]


class _Fit:
    """What the solve found for one photo, and what its landmarks still miss."""

    def __init__(self, view: "_View", camera: Camera, identity: Tensor, expression: Tensor):
        self.view, self.camera, self.identity, self.expression = view, camera, identity, expression
        model = self.model = view.model
        self.vertices = model.shape(identity[None], expression[None])[0]
        self.landmarks = model.landmarks_of(self.vertices)
        apart = view.target - camera.project(self.landmarks)[0, :, :2]
        self.moves = self._missing(self.landmarks)
        # Unit vector [3] of the line of sight, along which the photo tells nothing.
        self.away = camera.view_from_world[0, 2, :3]
        self.error = float(apart[:SURFACE_COUNT].norm(dim=1).mean() / view.eye_distance)

    def say(self) -> Tensor:
        """[478, 1] how much the photo has to say of each landmark of the neutral face, which its expression has not moved."""
        model = self.model
        at_rest = model.shape(self.identity[None], torch.zeros_like(self.expression)[None])[0]
        still = _share_of_person(self.landmarks, model.landmarks_of(at_rest))
        return self.view.say(self.camera)[:, None] * (still + LEAST_SAY)

    def photographed(self, moves: Tensor) -> Tensor:
        """The head [N, 3] over its photo: as the photo says across the line of sight, as all say, `moves`, along it."""
        along = ((moves - self.moves) @ self.away)[:, None] * self.away
        warp = _smooth_warp(self.vertices, self.landmarks, self.moves + along, self.model)
        target = self.view.target
        slit = (target[UPPER_LIP] - target[LOWER_LIP]).norm() / self.view.eye_distance
        shut = self.model.close_lips if slit < CLOSED_MOUTH else lambda head: head
        finer = shut(self._finer(self.vertices + warp))
        seated = seat_teeth(finer, self.view.photo, self.view.face, self.camera, self.model)
        return aim_eyes(_clear_eyes(seated, self.model), target, self.camera, self.model)

    def _finer(self, vertices: Tensor) -> Tensor:
        """The head [N, 3] over its photo, with the rims of lids and lips where the photo has them: they lie so near to each
        other, and move so differently, that the smooth warp leaves them up to 1.5 mm away."""
        landmarks = self.model.landmarks_of(vertices)
        missing = self._missing(landmarks)
        missing[list(OVAL)] = 0.0
        return vertices + _smooth_warp(vertices, landmarks, missing, self.model, FINE_SUPPORT, FINE_SMOOTHING)

    def _missing(self, landmarks: Tensor) -> Tensor:
        """[478, 3] which way landmarks [478, 3] have to move, across the line of sight, to where the photo has them."""
        projected = self.camera.project(landmarks)[0]
        apart = _across_outline(self.view.target, self.view.target - projected[:, :2])
        residual = apart * projected[:, 2:] / self.camera.focal
        return torch.cat([residual, torch.zeros_like(residual[:, :1])], 1) @ self.camera.view_from_world[0, :3, :3]


def _common_moves(fits: Sequence[_Fit]) -> Tensor:
    """Where the landmarks should move on the neutral head [478, 3], by least squares from what each photo says of the two
    directions that it sees; near the mean of the photos where no two lines of sight differ."""
    say = torch.stack([fit.say() for fit in fits])  # [P, 478, 1]
    say = say / say.sum(0)
    moves = torch.stack([fit.moves for fit in fits])
    away = torch.stack([fit.away for fit in fits])
    seen = (
        torch.eye(3, device=away.device) - away[:, :, None] * away[:, None]
    )  # [P, 3, 3] projections onto the pictures
    middle = (say * moves).sum(0)
    normal = torch.einsum("pnk,pij->nij", say, seen) + DEPTH_PRIOR * torch.eye(3, device=away.device)
    right = torch.einsum("pnk,pij,pnj->ni", say, seen, moves - middle)
    return middle + torch.linalg.solve(normal, right)


def _share_of_person(points: Tensor, neutral: Tensor) -> Tensor:
    """[N, 1] 1 where an expression leaves points [N, 3] of the neutral face in place, 0 where it moves them far."""
    return (1 - (points - neutral).norm(dim=1, keepdim=True) / EXPRESSION_TAKES_ALL).clamp(min=0)


@contextmanager
def _one_thread():
    """The solve is thousands of tiny operations: handing them to a second thread costs four times their own time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _resting(model: HeadModel, expression: Tensor) -> Tensor:
    """The part of an expression [E] that the neutral head keeps."""
    at_rest = torch.tensor([name.startswith(RESTING) for name in model.expression_names], device=expression.device)
    return expression.clamp(max=RESTING_LIMIT) * at_rest


def _solve(views: Sequence["_View"], model: HeadModel, reading: _Reading) -> list[tuple[Camera, Tensor, Tensor]]:
    """Camera, identity [K] and expression [E] of every photo; the identity is that of all.

    The cameras alone first: shape must not pay for a bad first guess of a pose, and who is to be expected is told by what
    the average head then misses.
    """
    unknowns = _Unknowns(len(views), len(model.identity), len(model.expression))
    average = np.concatenate([_average(model).numpy(force=True), np.zeros(len(views) * unknowns.own)])
    poses = _minimise(
        views, unknowns, np.concatenate([*(view.initial_pose() for view in views), average]), cameras_alone=True
    )
    cameras = [view.camera(pose) for view, (pose, _) in zip(views, unknowns.parts(poses), strict=True)]
    says = torch.stack([view.say(camera) for view, camera in zip(views, cameras, strict=True)])
    expected = _expected_identity(views, cameras, says.mean(1)) if reading.expects else model.identity_mean
    for view, share in zip(views, says / says.sum(0), strict=True):
        # Every landmark counts most in the photo that shows it best; in all together as much as before.
        view.weight = view.weight * (share * len(views))
        view.expected, view.expression_prior = expected, reading.expression
        view.identity_prior = reading.prior / len(views)
    poses[unknowns.person] = expected.clamp(0.0, 1.0)
    found = _minimise(views, unknowns, poses.numpy(force=True))
    shared = unknowns.shared
    return [
        (view.camera(pose), coefficients[:shared], coefficients[shared:])
        for view, (pose, coefficients) in zip(views, unknowns.parts(found), strict=True)
    ]


def see_average(photo: Photo, face: Face, model: HeadModel) -> tuple[Tensor, Tensor]:
    """What the average head misses the landmarks of a photo by, and which way the face looks: see `expectation.upright`."""
    view = _View(model, photo, face)
    unknowns = _Unknowns(1, len(model.identity), len(model.expression))
    start = np.concatenate([view.initial_pose(), _average(model).numpy(force=True), np.zeros(unknowns.own)])
    with _one_thread():
        pose = _minimise([view], unknowns, start, cameras_alone=True)[:POSE]
    return upright(view.target, view.camera(pose), view.average)


def _average(model: HeadModel) -> Tensor:
    """Identity coefficients [K] of people on average."""
    return model.identity_mean.clamp(min=0)


def _expected_identity(views: Sequence["_View"], cameras: Sequence[Camera], say: Tensor) -> Tensor:
    """[K] what the landmarks of all photos let one expect, by how much each has to `say` [P]."""
    expectation = load_expectation(say.device)
    each = [upright(view.target, camera, view.average) for view, camera in zip(views, cameras, strict=True)]
    misses, facing = map(torch.stack, zip(*each, strict=True))
    return (say / say.sum()) @ expectation(misses, facing)


@dataclass(frozen=True)
class _Unknowns:
    """The unknowns of `count` photos in a row: 7 of the pose for each, the identity, of `shared` coefficients, and an
    expression, of `own`, for each. All are scaled so that a step of 0.1 is a sensible one."""

    count: int
    shared: int
    own: int

    @property
    def person(self) -> slice:
        """Where the identity is."""
        return slice(POSE * self.count, POSE * self.count + self.shared)

    def parts(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Pose and coefficients (identity and expression) of every photo."""
        person, rest = x[self.person], self.person.stop
        each = range(self.count)
        poses, own = [x[POSE * i : POSE * (i + 1)] for i in each], [x[rest + self.own * i :][: self.own] for i in each]
        return [(pose, torch.cat([person, expression])) for pose, expression in zip(poses, own, strict=True)]


def _minimise(views: Sequence["_View"], unknowns: _Unknowns, start: np.ndarray, cameras_alone: bool = False) -> Tensor:
    """A bounded least-squares problem: the unknowns at its minimum, shapes as they are if `cameras_alone` are looked for."""
    device = views[0].target.device

    def cost(values: np.ndarray) -> tuple[float, np.ndarray]:
        x = torch.tensor(values, dtype=torch.float32, device=device, requires_grad=True)
        costs = [view.cost(*part) for view, part in zip(views, unknowns.parts(x), strict=True)]
        total = torch.stack(costs).sum()
        total.backward()
        # Scaled up: L-BFGS-B's stopping rules are absolute.
        return 1e4 * float(total.detach()), 1e4 * x.grad.double().numpy(force=True)

    shape = start[POSE * unknowns.count :]
    limits = [(value, value) for value in shape] if cameras_alone else [(0.0, 1.0)] * len(shape)
    bounds = [(None, None)] * (len(start) - len(shape)) + limits
    options = {"maxiter": ITERATIONS, "maxcor": 30, "ftol": 1e-9, "gtol": 1e-8}
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return torch.as_tensor(found, dtype=torch.float32, device=device)


class _View:
    """One photo's part of the problem."""

    def __init__(self, model: HeadModel, photo: Photo, face: Face):
        self.model, self.photo, self.face = model, photo, face
        self.target = torch.from_numpy(face.points).to(model.neutral.device)
        self.eye_distance = float((self.target[EYE_CORNERS[0]] - self.target[EYE_CORNERS[1]]).norm())
        self.weight = _landmark_weights(self.target)
        self.rest, self.basis = model.neutral_landmarks, _landmark_basis(model)
        self.expected = model.identity_mean
        self.average = self.points(torch.cat([_average(model), torch.zeros_like(model.expression[:, 0, 0])]))
        self.identity_prior = self.expression_prior = 0.0  # while cameras alone are looked for
        self.dearness = _dearness(model).to(self.target.device)
        self.focal_exif = photo.focal_35mm and photo.focal_35mm / 36.0 * max(photo.height, photo.width)

    def initial_pose(self) -> list[float]:
        """Frontal, upright as the eyes are, at a typical distance."""
        right, left = self.target[EYE_CORNERS[0]], self.target[EYE_CORNERS[1]]
        middle = (right + left) / 2
        roll = float(torch.atan2(left[1] - right[1], left[0] - right[0]))
        model_distance = float((self.rest[EYE_CORNERS[0]] - self.rest[EYE_CORNERS[1]]).norm())
        self.scale = self.eye_distance / model_distance
        self.middle = middle
        return [0.0, 0.0, roll, 0.0, 0.0, 0.0, np.log(TYPICAL_DISTANCE)]

    def camera(self, pose: Tensor) -> Camera:
        """pose [7]: turn about x, y, z (radians), shift of the eyes in eye distances, log scale, log distance (metres)."""
        turn = rotation(pose[:3])
        scale = self.scale * pose[5].exp()  # pixels a metre at the eyes
        distance = pose[6].exp()
        focal = scale * distance
        centre = pose.new_tensor([self.photo.width / 2, self.photo.height / 2])
        eyes = self.middle.to(pose.dtype) + pose[3:5] * self.eye_distance
        shift = torch.cat([(eyes - centre) / scale, distance[None]])
        # The head's y up, z towards us, become the view's y down, z away.
        flip = torch.diag(pose.new_tensor([1.0, -1.0, -1.0]))
        rigid = torch.cat([torch.cat([turn @ flip, shift[:, None]], 1), pose.new_tensor([[0.0, 0.0, 0.0, 1.0]])])
        return Camera(rigid[None], focal[None], centre[None], self.photo.height, self.photo.width)

    def say(self, camera: Camera) -> Tensor:
        """[478] how well the photo tells where each landmark lies: it looks straight at it, and at the face."""
        to_camera = functional.normalize(camera.centre()[0] - self.rest, dim=1)
        normal = functional.normalize(self.model.landmarks(self.model.neutral_normals[None])[0], dim=1)
        cosine = (normal * to_camera).sum(1).clamp(min=0)
        ahead = functional.normalize(camera.centre()[0], dim=0)[2].clamp(min=LEAST_SAY)
        return (cosine**SEEN_POWER + LEAST_SAY) * ahead**TURNED_POWER

    def points(self, coefficients: Tensor) -> Tensor:
        """The landmarks [478, 3] of the head with coefficients [K + E] of identity and expression."""
        return self.rest + (coefficients @ self.basis).unflatten(0, (-1, 3))

    def cost(self, pose: Tensor, coefficients: Tensor) -> Tensor:
        camera = self.camera(pose)
        miss = (camera.project(self.points(coefficients))[0, :, :2] - self.target).norm(dim=1) / self.eye_distance
        robust = (torch.sqrt(1 + (miss / ROBUST_SHARE) ** 2) - 1) * 2 * ROBUST_SHARE**2
        return (self.weight * robust).mean() + self._prior(camera, coefficients)

    def _prior(self, camera: Camera, coefficients: Tensor) -> Tensor:
        unusual = coefficients[: len(self.model.identity)] - self.expected
        expression = coefficients[len(self.model.identity) :]
        prior = self.identity_prior * unusual @ (self.model.identity_precision @ unusual)
        prior = prior + self.expression_prior * (self.dearness * expression**2).sum()
        if self.focal_exif:
            off = (camera.focal[0] / self.focal_exif).log() / EXIF_SPREAD
        else:
            off = (camera.view_from_world[0, 2, 3] / TYPICAL_DISTANCE).log() / DISTANCE_SPREAD
        return prior + CAMERA_PRIOR * off**2


def _across_outline(target: Tensor, missing: Tensor) -> Tensor:
    """Landmarks of the face's outline slide along it as the head turns: keep what they miss across it, [478, 2]."""
    oval = list(OVAL)
    along = target[oval[1:] + oval[:1]] - target[oval[-1:] + oval[:-1]]
    along = along / along.norm(dim=1, keepdim=True)
    kept = missing.clone()
    kept[oval] = missing[oval] - (missing[oval] * along).sum(1, keepdim=True) * along
    return kept


def _landmark_basis(model: HeadModel) -> Tensor:
    """What each coefficient adds to the landmarks, [K + E, 478 * 3]."""
    rows = model.faces[model.landmark_faces].flatten()
    to_corners = model.subdivision.index_select(0, rows).coalesce()  # [478 * 3, N]
    directions = torch.cat([model.identity, model.expression])
    corners = to_corners @ directions.permute(1, 0, 2).flatten(1) * model.landmark_bary.flatten()[:, None]
    return corners.unflatten(0, (-1, 3)).sum(1).unflatten(1, (-1, 3)).transpose(0, 1).flatten(1)


def _landmark_weights(target: Tensor) -> Tensor:
    weight = torch.ones(len(target), device=target.device)
    weight[list(sum(BROWS, ()))] = BROW_WEIGHT
    weight[list(OVAL)] = OVAL_WEIGHT
    weight[SURFACE_COUNT:] = 0.0
    weight[[landmarks[0] for landmarks in IRIS_LANDMARKS]] = IRIS_WEIGHT
    return weight


def _dearness(model: HeadModel) -> Tensor:
    """[E] how dear each expression is."""
    dear = [
        [cost for start, cost in PRIOR_BY_NAME.items() if name.startswith(start)] for name in model.expression_names
    ]
    return torch.tensor([costs[0] if costs else 1.0 for costs in dear])


def _smooth_warp(
    vertices: Tensor,
    centres: Tensor,
    moves: Tensor,
    model: HeadModel,
    support: float = WARP_SUPPORT,
    smoothing: float = WARP_SMOOTHING,
) -> Tensor:
    """Offsets [N, 3] that carry the landmarks along `moves`, smooth, and zero far from any landmark.

    Compactly supported radial basis functions (Wendland 1995, C2). An eyeball moves as one piece with its lids, a row of
    teeth with the skin over its jaw and not with the lips.
    """
    surface = slice(0, SURFACE_COUNT)
    centres, moves = centres[surface], moves[surface]
    kernel = _wendland(torch.cdist(centres, centres) / support)
    weights = torch.linalg.solve(kernel + smoothing * torch.eye(len(kernel), device=kernel.device), moves)
    warp = _wendland(torch.cdist(vertices, centres) / support) @ weights
    rings = (*EYE_RINGS, NOSE_BASE, CHIN)
    for piece, ring in zip((*model.eye_vertices, model.upper_jaw, model.lower_jaw), rings, strict=True):
        around = _wendland(torch.cdist(centres[list(ring)], centres) / support) @ weights
        warp[piece] = around.mean(0)
    return warp


def _wendland(r: Tensor) -> Tensor:
    return (1 - r).clamp(min=0) ** 4 * (4 * r + 1)


def _clear_eyes(vertices: Tensor, model: HeadModel) -> Tensor:
    """Push lids that the fit has sunk into an eyeball back out of it."""
    centres, radii = model.eyes(vertices)
    is_eye = torch.zeros(len(vertices), dtype=torch.bool, device=vertices.device)
    is_eye[model.eye_vertices.flatten()] = True
    cleared = vertices.clone()
    for centre, radius in zip(centres, radii, strict=True):
        offset = cleared - centre
        distance = offset.norm(dim=1, keepdim=True)
        sunk = (distance < radius + EYELID_CLEARANCE) & (offset[:, 2:] > 0) & ~is_eye[:, None]
        cleared = torch.where(sunk, centre + offset / distance.clamp(min=1e-6) * (radius + EYELID_CLEARANCE), cleared)
    return cleared
