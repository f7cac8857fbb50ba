"""The fitted head against scans: distance of the scan's points to the surface after each protocol's alignment.

A data folder in the layout of NoW (Sanyal et al. 2019) or REALY (Chai et al. 2022) is measured by that protocol; the
validation set by NoW's, its true heads standing in for scans.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch

from ..errors import Id2rError
from ..geometry.mesh import similarity
from ..geometry.nearest import NearestOnTriangles
from ..head.atlas import SKIN_PARTS
from ..head.model import HeadModel
from .context import Context
from .report import Report, Table, mean

# Outer and inner corner of the right eye, inner and outer of the left, below the nose, right and left mouth corner:
# MediaPipe's numbers, and those of the 68-point annotation that REALY's keypoints begin with.
SEVEN = (33, 133, 362, 263, 2, 61, 291)
SEVEN_OF_68 = (36, 39, 42, 45, 33, 48, 54)
CROP_RADIUS, CROP_RISE = 0.7, 0.3  # NoW: (outer eye distance + nose length) / 2 * 1.4; centre up from the nose's base
REGIONS = ("nose", "mouth", "forehead", "cheek")
NEIGHBOURS = 8  # triangles that are looked at, by their centres
ROUNDS, STILL, ALIGNED_BY = 100, 1e-4, 1500  # of the alignment; relative change that ends it; points it uses
MILLIMETRES = 1000.0
NOW_INDEX = "imagepathsvalidation.txt"
REALY_SCANS, REALY_KEYPOINTS, REALY_SCALE = "REALY_scan_region", "REALY_HIFI3D_keypoints", "metrical_scale.txt"
HINT = "Lay the benchmark out as `python -m id2r_core evaluate --help` says."


@dataclass(frozen=True)
class Surface:
    """vertices [N, 3], faces [F, 3] triangles; landmarks [7, 3] in the order of SEVEN."""

    vertices: np.ndarray
    faces: np.ndarray
    landmarks: np.ndarray

    def moved(self, scale: float, rotation: np.ndarray, shift: np.ndarray) -> "Surface":
        """Every point x becomes scale * rotation @ x + shift."""
        place = lambda points: scale * points @ rotation.T + shift
        return Surface(place(self.vertices), self.faces, place(self.landmarks))


def evaluate_shape(context: Context) -> Report:
    """NoW, REALY or the validation set, as the data folder has it."""
    if (context.data / NOW_INDEX).is_file():
        return _now(context)
    if (context.data / REALY_SCANS).is_dir():
        return _realy(context)
    return _virtual(context)


# ---- geometry ----


class Nearest:
    """Nearest points of a surface."""

    def __init__(self, surface: Surface):
        self._corners = surface.vertices[surface.faces]  # [F, 3, 3]
        self._look_up = NearestOnTriangles(self._corners, NEIGHBOURS)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """The nearest point of the surface to each of points [P, 3]."""
        triangle, weights = self._look_up(points)
        return (self._corners[triangle] * weights[..., None]).sum(1)


def align(surface: Surface, scan: np.ndarray, landmarks: np.ndarray, with_scale: bool) -> Surface:
    """First by the landmarks, always with scale, then by the scan's points and their nearest points in turn (ICP).

    The scan is looked up where the surface lies, so that the search tree is built once; large scans align by a part.
    """
    surface = surface.moved(*similarity(landmarks, surface.landmarks))
    nearest, part = Nearest(surface), scan[:: max(1, len(scan) // ALIGNED_BY)]
    scale, rotation, shift = 1.0, np.eye(3), np.zeros(3)  # scan from surface
    last = np.inf
    for _ in range(ROUNDS):
        found = nearest((part - shift) @ rotation / scale)
        error = np.square(scale * found @ rotation.T + shift - part).sum(1).mean()
        if last - error < STILL * error:
            break
        last = error
        scale, rotation, shift = similarity(part, found, with_scale)
    return surface.moved(scale, rotation, shift)


def distances(surface: Surface, scan: np.ndarray) -> np.ndarray:
    """Distance of every point of the scan [P, 3] to the surface, [P]."""
    return np.linalg.norm(Nearest(surface)(scan) - scan, axis=1)


def now_crop(points: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The scan's points that NoW measures: a ball round the middle of the face."""
    bridge, base = (landmarks[1] + landmarks[2]) / 2, landmarks[4]
    centre = base + CROP_RISE * (bridge - base)
    radius = CROP_RADIUS * (np.linalg.norm(landmarks[0] - landmarks[3]) + np.linalg.norm(bridge - base))
    return points[np.linalg.norm(points - centre, axis=1) <= radius]


def head_surface(model: HeadModel, vertices) -> Surface:
    """The skin of a head [N, 3] (metres) as a surface of the fine mesh with its seven landmarks."""
    coarse = torch.as_tensor(np.asarray(vertices), dtype=torch.float32).to(model.neutral)
    fine = model.subdivide(coarse[None])
    marks = model.landmarks(fine)[0, list(SEVEN)].double().numpy(force=True)
    faces = model.faces[model.faces_of(*SKIN_PARTS)].numpy(force=True)
    return Surface(fine[0].double().numpy(force=True), faces, marks)


# ---- the validation set ----


def _virtual(context: Context) -> Report:
    pairs, failures = context.estimates()
    model = context.estimator.model
    mean_head = head_surface(model, model.neutral.cpu())
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for number, (shot, estimate) in enumerate(pairs):
        context.progress("shape", number, len(pairs))
        truth = head_surface(model, shot.subject.vertices())
        scan = now_crop(truth.vertices[np.unique(truth.faces)], truth.landmarks)
        for name, surface in (("ID2R", head_surface(model, estimate.own_vertices())), ("mean head", mean_head)):
            found[name].append(distances(align(surface, scan, truth.landmarks, with_scale=True), scan))
    rows = [_summary(name, each) for name, each in found.items()]
    note = (
        "NoW's protocol: crop of the face, seven landmarks, then similarity by nearest points; the true head of the "
        "virtual person takes the place of the scan. One topology on both sides makes it easier than real NoW."
    )
    return Report(
        "shape",
        "Shape",
        context.describe(context.shots()),
        [Table("Distance to the true head in mm", SUMMARY, rows, note)],
        failures=failures,
    )


SUMMARY = (("head", None), ("photographs", 0), ("median", 3), ("mean", 3), ("standard deviation", 3))


def _summary(name: str, each: Sequence[np.ndarray]) -> list:
    together = np.concatenate(each) * MILLIMETRES
    return [name, len(each), float(np.median(together)), float(together.mean()), float(together.std())]


# ---- NoW ----


@dataclass(frozen=True)
class NowPhoto:
    """One line of NoW's list."""

    name: str
    challenge: str
    image: Path
    scan: Path
    points: Path


def read_now(folder: Path) -> list[NowPhoto]:
    """`imagepathsvalidation.txt`, `iphone_pictures/`, `scans/`, `scans_lmks_onlypp/`, as in NoW's evaluation code."""
    photos = []
    for line in (folder / NOW_INDEX).read_text(encoding="utf-8").split():
        if line.count("/") < 2:
            raise Id2rError(f"{NOW_INDEX} lists '{line}', not SUBJECT/CHALLENGE/IMAGE.", HINT)
        subject, challenge, file = line.split("/")[-3:]
        image = _one_of(folder, f"**/iphone_pictures/{subject}/{challenge}/{file}")
        scan = _one_of(folder, f"scans/{subject}/*.obj")
        points = _one_of(folder, f"scans_lmks_onlypp/{subject}/*.pp")
        photos.append(NowPhoto(f"{subject}-{challenge}-{Path(file).stem}", challenge, image, scan, points))
    return photos


def _one_of(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise Id2rError(f"'{folder}' holds no {pattern}.", HINT)
    return found[0]


def read_picked_points(path: Path) -> np.ndarray:
    """The seven points of a MeshLab .pp file, [7, 3]."""
    try:
        points = [[float(each.get(axis)) for axis in "xyz"] for each in ElementTree.parse(path).iter("point")]
    except (ElementTree.ParseError, TypeError, ValueError) as error:
        raise Id2rError(f"'{path}' is not a file of picked points ({error}).", HINT) from error
    if len(points) != len(SEVEN):
        raise Id2rError(f"'{path}' holds {len(points)} points, not {len(SEVEN)}.", HINT)
    return np.array(points)


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [N, 3] and triangles [F, 3] of a Wavefront OBJ; polygons become fans."""
    if not path.is_file():
        raise Id2rError(f"There is no '{path}'.", HINT)
    vertices, faces = [], []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            word, *rest = line.split() or [""]
            if word == "v":
                x, y, z = map(float, rest[:3])
                vertices.append([x, y, z])
            elif word == "f":
                corners = [int(value.split("/")[0]) - 1 for value in rest]
                faces += [[corners[0], *pair] for pair in pairwise(corners[1:])]
    except ValueError as error:
        raise Id2rError(f"'{path}' is no Wavefront OBJ ({error}).", HINT) from error
    if not vertices:
        raise Id2rError(f"'{path}' holds no vertices.", HINT)
    return np.array(vertices), np.array(faces, int).reshape(-1, 3)


def _now(context: Context) -> Report:
    photos = read_now(context.data)
    estimates = context.estimator.all([(photo.name, photo.image) for photo in photos], context.progress, methods=())
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for photo in photos:
        if estimates[photo.name].failed:
            continue
        landmarks = read_picked_points(photo.points)
        scan = now_crop(read_obj(photo.scan)[0], landmarks) / MILLIMETRES  # NoW's scans are in millimetres
        fitted = head_surface(context.estimator.model, estimates[photo.name].own_vertices())
        distance = distances(align(fitted, scan, landmarks / MILLIMETRES, with_scale=True), scan)
        found[photo.challenge].append(distance)
        found["all"].append(distance)
    rows = [_summary(name, each) for name, each in sorted(found.items())]
    table = Table("NoW, non-metrical: distance of the scan to the fitted head in mm", SUMMARY, rows)
    failures = {name: estimate.failed for name, estimate in estimates.items() if estimate.failed}
    return Report("shape", "Shape, NoW", f"{len(photos)} photographs of the NoW benchmark.", [table], failures=failures)


# ---- REALY ----


def _realy(context: Context) -> Report:
    """Regions one by one: seven keypoints with scale, then rigidly by the region's points and their nearest points."""
    photos = sorted((context.data / "images").glob("*.*"))
    if not photos:
        raise Id2rError(
            f"'{context.data}' holds no images/.", "Put REALY's photographs there, named by the scan's number."
        )
    scales = _realy_scales(context.data)
    scans = {photo.stem: _realy_number(photo, len(scales)) for photo in photos}
    estimates = context.estimator.all([(photo.stem, photo) for photo in photos], context.progress, methods=())
    found: dict[str, list[float]] = defaultdict(list)
    for photo in (photo for photo in photos if not estimates[photo.stem].failed):
        number = scans[photo.stem]
        landmarks = read_obj(context.data / REALY_KEYPOINTS / f"{number}.obj")[0][list(SEVEN_OF_68)]
        fitted = head_surface(context.estimator.model, estimates[photo.stem].own_vertices())
        for region in REGIONS:
            scan = read_obj(context.data / REALY_SCANS / str(number) / f"{region}.obj")[0]
            aligned = align(fitted, scan, landmarks, with_scale=False)
            found[region].append(float(distances(aligned, scan).mean() * scales[number - 1]))
    rows = [
        [region, mean(found[region]), float(np.std(found[region], ddof=1)) if len(found[region]) > 1 else None]
        for region in REGIONS
    ]
    rows.append(["all", mean([row[1] for row in rows]), None])
    note = (
        "Point to surface after REALY's global and regional alignment. Its last step, a non-rigid correspondence "
        "(bICP), is left out, so that these figures lie below REALY's own NMSE: do not put them in one table."
    )
    table = Table("REALY's regions, mm", (("region", None), ("mean", 3), ("standard deviation", 3)), rows, note)
    failures = {name: estimate.failed for name, estimate in estimates.items() if estimate.failed}
    return Report(
        "shape", "Shape, REALY", f"{len(photos)} photographs of the REALY benchmark.", [table], failures=failures
    )


def _realy_scales(folder: Path) -> np.ndarray:
    """Millimetres a unit of every scan, the first is scan 1."""
    try:
        return np.loadtxt(folder / REALY_SCALE, ndmin=1)
    except (OSError, ValueError) as error:
        raise Id2rError(f"'{folder / REALY_SCALE}' cannot be read ({error}).", HINT) from error


def _realy_number(photo: Path, scans: int) -> int:
    """Which scan a photograph shows: its name begins with the number."""
    number = photo.stem.split("_")[0]
    if not number.isdecimal() or not 1 <= int(number) <= scans:
        raise Id2rError(f"'{photo.name}' does not begin with the number of one of {scans} scans.", HINT)
    return int(number)
