"""Where MediaPipe's 478 landmarks lie on the head: found by detecting them on plain renders of the head itself."""

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.optimize import linear_sum_assignment

from ..facemesh import COUNT, SURFACE_COUNT
from ..geometry.camera import Camera, look_at_head
from ..geometry.mesh import vertex_normals
from ..geometry.nearest import NearestOnTriangles
from ..geometry.rasterize import interpolate, rasterize
from ..landmarks import detect_face
from ..photo import Photo
from .model import PARTS, fine_vertices
from .region_map import painted_masks

SIZE = 640
YAWS_DEGREES = (-35, -22, -10, 0, 10, 22, 35)
SHAPES_PER_YAW = 6
ALBEDO = {"mouth_interior": 0.15, "tongue": 0.2, "eye_socket": 0.45, "eyeball_left": 0.9, "eyeball_right": 0.9}
SKIN_ALBEDO, LIP_ALBEDO, IRIS_ALBEDO, IRIS_COSINE = 0.6, 0.3, 0.12, 0.88
NEAR_PIXELS = 20
NEIGHBOURS = 24  # triangles that are looked at for the nearest point
MIDDLE_PIXELS = 40  # half the breadth of the band in the middle of the face that views from both sides see
APART = 0.3  # of jawOpen, where the landmarks of the lips are placed
# Lips touch on the neutral head, so that where one ends is seen only with the mouth open.
LIP_LANDMARKS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185, 78, 95, 88, 178, 87,
    14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191, 76, 77, 90, 180, 85, 16, 315, 404, 320, 307,
    306, 408, 304, 303, 302, 11, 72, 73, 74, 184, 62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 407, 272, 271, 268,
    12, 38, 41, 42, 183,
)  # fmt: skip
OPEN_MOUTH = {"jawOpen": (0.12, 0.35), "mouthUpperUpLeft": (0.2, 0.6), "mouthUpperUpRight": (0.2, 0.6)}
OPEN_MOUTH |= {"mouthSmileLeft": (0.0, 0.5), "mouthSmileRight": (0.0, 0.5)}


def find_landmarks(arrays: dict) -> dict:
    """landmark_faces [478] and landmark_bary [478, 3] for the arrays of a head file under construction.

    Each landmark is looked up in renders of several shapes and angles; its places on the neutral head are averaged
    (by median with their mirror images, grazing hits drop out) and put back onto the surface. Views from a landmark's far
    side do not count: there the detector says where it lies behind nose or cheek, and these are what the ray would hit.
    """
    faces = torch.from_numpy(arrays["faces"]).long()
    neutral = fine_vertices(arrays, arrays["neutral"])
    jaw = arrays["expression"][list(arrays["expression_names"]).index("jawOpen")]
    opened = fine_vertices(arrays, arrays["neutral"] + np.float32(APART) * jaw)
    albedo, is_skin = _albedo(arrays, neutral), arrays["face_part"] == PARTS.index("skin")
    rng = np.random.default_rng(0)
    from_ahead = _detect(torch.from_numpy(opened), faces, albedo, 0.0)[0]
    across = from_ahead[:, 0] - SIZE / 2
    hits, open_hits = [], []
    for yaw in YAWS_DEGREES:
        for shape in range(SHAPES_PER_YAW):
            is_open = shape % 2 == 1
            points = torch.from_numpy(fine_vertices(arrays, _random_shape(arrays, rng, is_open)))
            looked_up = _look_up(points, faces, is_skin, albedo, float(yaw), (neutral, opened))
            for places in looked_up:
                places[across * np.sign(yaw) < -MIDDLE_PIXELS] = np.nan
            on_neutral, on_opened = looked_up
            hits.append(on_neutral)
            open_hits += [on_opened] * is_open
    # Where the lips touch, the one above and the one below are the same place: they are told apart on the open mouth.
    partner = _mirror_partners(from_ahead)
    lips, found = list(LIP_LANDMARKS), {}
    for of_these, vertices, chosen in ((hits, neutral, range(COUNT)), (open_hits, opened, lips)):
        places = _symmetric_median(np.stack(of_these), partner)
        if np.isnan(places).any():
            raise ValueError(f"landmarks {np.flatnonzero(np.isnan(places).any(1)).tolist()} were never seen")
        for name, values in _snap(places, vertices, arrays["faces"], arrays["face_part"]).items():
            found.setdefault(name, values)[chosen] = values[chosen]
    return found


def _mirror_partners(found):
    """[478] the landmark on the other side of the face; on the middle line a landmark is its own partner.

    found: [478, 2] where the landmarks lie in a picture of a symmetric head from straight ahead.
    """
    centred = found - [SIZE / 2, 0]
    distance = np.linalg.norm(centred[:, None] * [-1, 1] - centred, axis=-1)
    partner = linear_sum_assignment(distance + distance.T)[1]
    one_way = partner[partner] != np.arange(len(partner))
    partner[one_way] = np.flatnonzero(one_way)
    return partner


def _symmetric_median(hits, partner):
    """Median places [478, 3] of hits [R, 478, 3] and of their partners' mirror images: the neutral head is symmetric."""
    return np.nanmedian(np.concatenate([hits, hits[:, partner] * [-1, 1, 1]]), axis=0)


def _random_shape(arrays, rng, is_open):
    """A mildly random person: a few small morphs, so that no single shape's bias stays in the map."""
    strength = rng.uniform(0, 0.25, len(arrays["identity"])) * (rng.random(len(arrays["identity"])) < 0.25)
    shape = arrays["neutral"] + np.tensordot(strength.astype(np.float32), arrays["identity"].astype(np.float32), 1)
    if is_open:
        names = list(arrays["expression_names"])
        for name, (low, high) in OPEN_MOUTH.items():
            shape = shape + np.float32(rng.uniform(low, high)) * arrays["expression"][names.index(name)]
    return shape


def _albedo(arrays, neutral):
    """A plain grey per fine triangle corner [F, 3]: the detector needs dark irises
    to see eyes, and darker lips to see where they end."""
    lip = painted_masks(arrays)["lip"][arrays["faces"]]
    albedo = SKIN_ALBEDO + (LIP_ALBEDO - SKIN_ALBEDO) * lip
    for name, value in ALBEDO.items():
        albedo[arrays["face_part"] == PARTS.index(name)] = value
    for name in ("eyeball_left", "eyeball_right"):
        of_eye = arrays["face_part"] == PARTS.index(name)
        corners = neutral[arrays["faces"][of_eye]]
        centre = corners.reshape(-1, 3).mean(0)
        gaze = (corners - centre)[..., 2] / np.linalg.norm(corners - centre, axis=-1)
        albedo[of_eye] = np.where(gaze > IRIS_COSINE, IRIS_ALBEDO, albedo[of_eye])
    return torch.from_numpy(albedo)


def _detect(points, faces, albedo, yaw_degrees):
    """Landmarks [478, 2] in a render of the fine vertices `points`, its fragments, and the turn of the camera [1]."""
    turn = torch.tensor([np.radians(yaw_degrees)], dtype=torch.float32)
    view = look_at_head(turn, 1.0, torch.tensor([0.0, -0.02, -0.07]))
    middle = torch.full((1, 2), SIZE / 2)
    camera = Camera(view, torch.tensor([SIZE * 2.3]), middle, SIZE, SIZE)
    fragments = rasterize(camera.project(points), faces, SIZE, SIZE)
    image = _shade(points, faces, albedo, fragments, turn)
    return detect_face(Photo(srgb=image, name=f"head at {yaw_degrees} degrees")).points[:, :2], fragments, turn


def _look_up(points, faces, is_skin, albedo, yaw_degrees, heads):
    """For each of `heads`, fine vertices, [478, 3] the places on it that lie under the landmarks of one render of
    `points`; NaN where nothing was hit. Landmarks of the face that lie beside the skin, such as those of a lip that the
    detector sees in the open mouth, count for the nearest skin in the picture."""
    found, fragments, turn = _detect(points, faces, albedo, yaw_degrees)
    x, y = found[:, 0].astype(int).clip(0, SIZE - 1), found[:, 1].astype(int).clip(0, SIZE - 1)
    shown = fragments.face[0].numpy()
    off, nearest = distance_transform_edt((shown < 0) | ~is_skin[shown], return_indices=True)
    beside = (off[y, x] > 0) & (off[y, x] < NEAR_PIXELS) & (np.arange(COUNT) < SURFACE_COUNT)
    y, x = (np.where(beside, nearest[axis][y, x], pixel) for axis, pixel in ((0, y), (1, x)))
    face = shown[y, x]
    places = [(head[faces.numpy()[face]] * fragments.bary[0, y, x].numpy()[..., None]).sum(1) for head in heads]
    normal = vertex_normals(points[None], faces)[0]
    facing = (
        normal[faces[face]].mean(1) @ torch.tensor([np.sin(turn[0]), 0.0, np.cos(turn[0])], dtype=torch.float32)
    ).numpy()
    for on_head in places:
        on_head[(face < 0) | (facing < 0.35)] = np.nan
    return places


def _shade(points, faces, albedo, fragments, turn):
    """A soft head light, as an sRGB image [H, W, 3] on a mid grey ground."""
    light = torch.nn.functional.normalize(torch.stack([turn.sin()[0], torch.tensor(0.5), turn.cos()[0]]), dim=0)
    normal = interpolate(vertex_normals(points[None], faces), faces, fragments)[0]
    seen = fragments.face[0].clamp(min=0)
    surface = (albedo[seen] * fragments.bary[0]).sum(-1)
    shade = surface * (0.35 + 0.65 * (normal * light[:, None, None]).sum(0).clamp(min=0))
    image = torch.where(fragments.mask[0, 0], shade, torch.tensor(0.3)) ** (1 / 2.2)
    return image[..., None].expand(-1, -1, 3).numpy().astype(np.float32).copy()


def _snap(places, neutral, faces, face_part):
    """The nearest points of the surface: skin for the face's landmarks, eyeballs for the irises'."""
    is_skin = face_part == PARTS.index("skin")
    is_eye = np.isin(face_part, [PARTS.index("eyeball_left"), PARTS.index("eyeball_right")])
    found, bary = np.zeros(COUNT, np.int64), np.zeros((COUNT, 3), np.float32)
    for allowed, chosen in ((is_skin, slice(0, SURFACE_COUNT)), (is_eye, slice(SURFACE_COUNT, COUNT))):
        candidates = np.flatnonzero(allowed)
        triangle, weights = NearestOnTriangles(neutral[faces[candidates]], NEIGHBOURS)(places[chosen])
        found[chosen], bary[chosen] = candidates[triangle], weights
    return {"landmark_faces": found, "landmark_bary": bary}
