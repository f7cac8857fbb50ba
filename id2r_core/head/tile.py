"""The head tile: face, scalp, ears, neck, lids and mouth as one upright chart, cut open at the back of the head.

The chart is a bijective, low-distortion parametrisation: Tutte's embedding (Tutte 1963) as a start without flips, then
the symmetric Dirichlet energy (Smith & Schaefer, "Bijective parameterization with free boundaries", 2015) with a chosen
texel density, minimised by preconditioned descent that never flips a triangle.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from scipy.sparse.linalg import factorized

MARGIN = 0.008


@dataclass(frozen=True)
class Chart:
    """uv [U, 2] in the unit square, v up; faces_uv [F, 3] index uv and run parallel to the faces of the mesh."""

    uv: np.ndarray
    faces_uv: np.ndarray


def make_chart(vertices: np.ndarray, faces: np.ndarray, density: np.ndarray, iterations: int = 400) -> Chart:
    """Unfold a head-shaped disk.

    vertices [N, 3] in the head frame; faces [F, 3], one component with one boundary loop (the neck);
    density [F] wanted texel density, relative (length, not area). Raises ValueError when a triangle would flip.
    """
    seam = _back_seam(vertices, faces)
    faces_cut, source = _cut_open(faces, seam, vertices)
    points = vertices[source]
    uv = _tutte(points, faces_cut, _boundary_loop(faces_cut))
    reference = _flatten_triangles(points, faces_cut) * density[:, None, None]
    uv = _minimise_distortion(uv, faces_cut, reference, iterations)
    if (_signed_area(uv, faces_cut) <= 0).any():
        raise ValueError("the head tile has flipped triangles")
    return Chart(_fit_unit_square(uv, points), faces_cut)


def _boundary_edges(faces):
    """Directed edges [E, 2] that belong to one triangle only."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    _, inverse, count = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True, return_counts=True)
    return edges[count[inverse.ravel()] == 1]


def _boundary_loop(faces):
    """The one boundary loop as an ordered list of vertices."""
    following = dict(_boundary_edges(faces))
    loop = [next(iter(following))]
    while (vertex := following[loop[-1]]) != loop[0]:
        loop.append(vertex)
    return np.array(loop)


def _back_seam(vertices, faces):
    """Path of vertices from the crown down the back of the head to the neck boundary."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    middle = np.abs(vertices[edges].mean(1)[:, 0])
    in_front = vertices[edges].mean(1)[:, 2] > vertices[:, 2].mean() + 0.02
    # The mid line is cheap, everything beside it or on the face dear, so the path runs down the back.
    cost = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1) * (1 + 2000 * middle + 1000 * in_front)
    graph = sparse.coo_matrix((cost, (edges[:, 0], edges[:, 1])), shape=(len(vertices),) * 2).tocsr()
    used = np.unique(faces)
    crown = used[np.argmax(vertices[used, 1] - 10 * np.abs(vertices[used, 0]))]
    rim = _boundary_loop(faces)
    nape = rim[np.argmin(vertices[rim, 2] + 10 * np.abs(vertices[rim, 0]))]
    _, before = dijkstra(graph, directed=False, indices=crown, return_predecessors=True)
    path = [nape]
    while path[-1] != crown:
        path.append(before[path[-1]])
    return np.array(path[::-1])


def _cut_open(faces, seam, vertices):
    """Duplicate the seam's vertices (not the crown) for the triangles on the +x side.

    Returns faces [F, 3] into the cut vertices and source [U], the vertex that each one came from.
    """
    copy_of = {vertex: len(vertices) + i for i, vertex in enumerate(seam[1:])}
    right = vertices[faces].mean(1)[:, 0] > vertices[seam].mean(0)[0]
    touches = np.isin(faces, seam[1:])
    lookup = np.arange(len(vertices))
    lookup[seam[1:]] = [copy_of[v] for v in seam[1:]]
    cut = np.where(touches & right[:, None], lookup[faces], faces)
    source = np.concatenate([np.arange(len(vertices)), seam[1:]])
    used, compact = np.unique(cut, return_inverse=True)
    return compact.reshape(cut.shape), source[used]


def _laplacian(faces, count):
    """Graph Laplacian [U, U], uniform weights: positive, so Tutte's theorem holds."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    weights = sparse.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count)).tocsr()
    weights = ((weights + weights.T) > 0).astype(float)
    return sparse.diags(np.asarray(weights.sum(1)).ravel()) - weights


def _tutte(points, faces, loop):
    """Boundary on a circle by arc length, every inner vertex at the mean of its neighbours."""
    steps = np.linalg.norm(points[np.roll(loop, -1)] - points[loop], axis=1)
    angle = 2 * np.pi * np.concatenate([[0], np.cumsum(steps)[:-1]]) / steps.sum()
    uv = np.zeros((len(points), 2))
    uv[loop] = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    inner = np.setdiff1d(np.arange(len(points)), loop)
    laplacian = _laplacian(faces, len(points)).tocsc()
    solve = factorized(laplacian[inner][:, inner])
    right_side = -laplacian[inner][:, loop] @ uv[loop]
    uv[inner] = np.stack([solve(right_side[:, 0]), solve(right_side[:, 1])], axis=1)
    return uv


def _flatten_triangles(points, faces):
    """Each 3D triangle laid into the plane: two edge vectors as columns, [F, 2, 2]."""
    a, b, c = (points[faces[:, i]] for i in range(3))
    length = np.linalg.norm(b - a, axis=1)
    along = ((c - a) * (b - a)).sum(1) / length
    height = np.linalg.norm(np.cross(b - a, c - a), axis=1) / length
    zero = np.zeros_like(length)
    return np.stack([np.stack([length, along], 1), np.stack([zero, height], 1)], axis=1)


def _signed_area(uv, faces):
    a, b, c = (uv[faces[:, i]] for i in range(3))
    return 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


def _distortion(uv, faces, inverse_reference, area):
    """Symmetric Dirichlet energy and its gradient [U, 2]; infinite when a triangle is flipped."""
    a, b, c = (uv[faces[:, i]] for i in range(3))
    edges = np.stack([b - a, c - a], axis=2)  # [F, 2, 2]
    jacobian = edges @ inverse_reference
    determinant = np.linalg.det(jacobian)
    if (determinant <= 0).any():
        return np.inf, None
    square = (jacobian**2).sum((1, 2))
    energy = (area * square * (1 + determinant**-2)).sum()
    cofactor = np.stack(
        [np.stack([jacobian[:, 1, 1], -jacobian[:, 1, 0]], 1), np.stack([-jacobian[:, 0, 1], jacobian[:, 0, 0]], 1)], 1
    )
    slope = 2 * jacobian * (1 + determinant**-2)[:, None, None]
    slope -= (2 * square * determinant**-3)[:, None, None] * cofactor
    slope = (area[:, None, None] * slope) @ inverse_reference.transpose(0, 2, 1)  # d energy / d edges
    gradient = np.zeros_like(uv)
    np.add.at(gradient, faces[:, 1], slope[:, :, 0])
    np.add.at(gradient, faces[:, 2], slope[:, :, 1])
    np.add.at(gradient, faces[:, 0], -slope.sum(2))
    return energy, gradient


def _minimise_distortion(uv, faces, reference, iterations):
    """Descend the symmetric Dirichlet energy, each step preconditioned by the Laplacian whose triangles weigh as stiff
    as they are squeezed (the isotropic part of SLIM's proxy, Rabinovich et al. 2017)."""
    inverse_reference = np.linalg.inv(reference)
    area = 0.5 * np.linalg.det(reference)
    uv = uv * np.sqrt(area.sum() / _signed_area(uv, faces).sum())
    area = area / area.sum()
    gradient_operator = _gradient_operator(faces, inverse_reference, len(uv))
    energy, gradient = _distortion(uv, faces, inverse_reference, area)
    for _ in range(iterations):
        stiffness = np.repeat(area * _stiffness(uv, faces, inverse_reference), 2)
        hessian = gradient_operator.T @ sparse.diags(stiffness) @ gradient_operator
        hessian = hessian + 1e-9 * hessian.diagonal().mean() * sparse.identity(len(uv))
        solve = factorized(hessian.tocsc())
        direction = -np.stack([solve(gradient[:, 0]), solve(gradient[:, 1])], axis=1)
        step, slope = 1.0, (direction * gradient).sum()
        while True:
            moved = uv + step * direction
            new_energy, new_gradient = _distortion(moved, faces, inverse_reference, area)
            if new_energy <= energy + 1e-4 * step * slope or step < 1e-12:
                break
            step *= 0.5
        if not np.isfinite(new_energy) or energy - new_energy < 1e-6 * energy:
            break
        uv, energy, gradient = moved, new_energy, new_gradient
    return uv


def _stiffness(uv, faces, inverse_reference):
    """[F] curvature of the energy along the most squeezed direction of each triangle."""
    a, b, c = (uv[faces[:, i]] for i in range(3))
    jacobian = np.stack([b - a, c - a], axis=2) @ inverse_reference
    smallest = np.linalg.svd(jacobian, compute_uv=False)[:, 1]
    return 1 + smallest**-4


def _gradient_operator(faces, inverse_reference, count):
    """Sparse [2F, U]: the two components of a function's gradient in every reference triangle."""
    rows = np.arange(2 * len(faces)).reshape(-1, 2)
    slopes = np.stack([inverse_reference[:, 0], inverse_reference[:, 1]], axis=1)  # [F, corner b|c, xy]
    entries = []
    for corner, slope in ((0, -slopes.sum(1)), (1, slopes[:, 0]), (2, slopes[:, 1])):
        entries += [(slope[:, axis], rows[:, axis], faces[:, corner]) for axis in range(2)]
    values, row, column = (np.concatenate(part) for part in zip(*entries, strict=True))
    return sparse.coo_matrix((values, (row, column)), shape=(2 * len(faces), count)).tocsr()


def _fit_unit_square(uv, points):
    """Turn upright (world up is +v, the subject's left is +u) and scale into the unit square with a margin."""
    face = points[:, 2] > np.quantile(points[:, 2], 0.7)
    centred, target = uv[face] - uv[face].mean(0), points[face, :2] - points[face, :2].mean(0)
    covariance = target.T @ centred
    angle = np.arctan2(covariance[1, 0] - covariance[0, 1], covariance[0, 0] + covariance[1, 1])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    uv = uv @ turn.T
    low, high = uv.min(0), uv.max(0)
    return (uv - (low + high) / 2) / (high - low).max() * (1 - 2 * MARGIN) + 0.5
