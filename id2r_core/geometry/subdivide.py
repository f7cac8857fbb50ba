"""One level of subdivision of a quad mesh as a sparse matrix. Apart from `mesh` because only it needs SciPy."""

import numpy as np
import scipy.sparse


def catmull_clark(quads: np.ndarray, vertex_count: int) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """One level of Catmull-Clark subdivision (1978) of quads [Q, 4]: fine vertices = matrix @ vertices.

    Returns the matrix [Nf, N] and the fine quads [4Q, 4]. Fine vertices are ordered: old vertices, one an edge, one a
    quad. Coarse quad q becomes fine quads 4q..4q+3, the one at corner c being 4q + c with that corner first; so the
    fine quads of two layouts of one mesh (`linear_subdivision` for uv) correspond row by row. Edges with one quad, or
    with more than two, are boundaries: their middle is linear and their vertices follow the cubic B-spline of the
    boundary (1/8, 6/8, 1/8); a vertex where other than two boundary edges meet stays where it is.
    """
    topology = _edges(quads)
    edges, edge_of_corner, faces_of_edge = topology
    middle, centre = _linear_points(edges, quads, vertex_count)
    is_boundary = faces_of_edge != 2
    corner_edge = edge_of_corner.reshape(-1)
    quad_of_corner = np.repeat(np.arange(len(quads)), 4)
    centre_around_edge = _matrix(corner_edge, quad_of_corner, 0.5, (len(edges), len(quads))) @ centre
    smooth = 0.5 * (middle + centre_around_edge)
    edge_points = _rows(is_boundary) @ middle + _rows(~is_boundary) @ smooth
    old_points = _old_vertices(quads, vertex_count, edges, is_boundary, middle, centre)
    matrix = scipy.sparse.vstack([old_points, edge_points, centre]).tocsr()
    return matrix, _fine_quads(quads, edge_of_corner, vertex_count, len(edges))


def linear_subdivision(quads: np.ndarray, vertex_count: int) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """As `catmull_clark` with the same order of vertices and quads, but nothing is smoothed (for uv)."""
    edges, edge_of_corner, _ = _edges(quads)
    middle, centre = _linear_points(edges, quads, vertex_count)
    matrix = scipy.sparse.vstack([scipy.sparse.identity(vertex_count), middle, centre]).tocsr()
    return matrix, _fine_quads(quads, edge_of_corner, vertex_count, len(edges))


def _edges(quads: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges [E, 2] of quads, the edge of each corner and the next one [Q, 4], and how many quads hold each edge [E]."""
    pairs = np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1).reshape(-1, 2)
    edges, edge_of_corner, count = np.unique(np.sort(pairs, axis=1), axis=0, return_inverse=True, return_counts=True)
    return edges, edge_of_corner.reshape(-1, 4), count


def _matrix(rows, columns, value, shape) -> scipy.sparse.csr_matrix:
    values = np.broadcast_to(np.asarray(value, dtype=np.float64), np.shape(rows))
    return scipy.sparse.coo_matrix((values, (rows, columns)), shape=shape).tocsr()


def _rows(is_kept: np.ndarray) -> scipy.sparse.dia_matrix:
    """The diagonal matrix that keeps some rows and empties the others."""
    return scipy.sparse.diags(is_kept.astype(float))


def _linear_points(edges: np.ndarray, quads: np.ndarray, vertex_count: int):
    """Middles of edges [E, N] and centres of quads [Q, N], as matrices over the vertices."""
    rows = np.repeat(np.arange(len(edges)), 2)
    middle = _matrix(rows, edges.reshape(-1), 0.5, (len(edges), vertex_count))
    rows = np.repeat(np.arange(len(quads)), 4)
    centre = _matrix(rows, quads.reshape(-1), 0.25, (len(quads), vertex_count))
    return middle, centre


def _old_vertices(quads, vertex_count, edges, is_boundary, middle, centre) -> scipy.sparse.csr_matrix:
    """The smoothed places of the old vertices, [N, N]: (mean of centres + 2 mean of middles + (n - 3) itself) / n."""
    identity = scipy.sparse.identity(vertex_count, format="csr")
    valence = np.bincount(quads.reshape(-1), minlength=vertex_count).astype(float)
    per_face = np.divide(1.0, valence, out=np.zeros(vertex_count), where=valence > 0)
    quad_rows = quads.reshape(-1)
    quad_columns = np.repeat(np.arange(len(quads)), 4)
    around_quads = _matrix(quad_rows, quad_columns, per_face[quad_rows], (vertex_count, len(quads)))
    edge_rows = edges.reshape(-1)
    edge_count = np.bincount(edge_rows, minlength=vertex_count)
    per_edge = np.divide(1.0, edge_count, out=np.zeros(vertex_count), where=edge_count > 0)
    edge_columns = np.repeat(np.arange(len(edges)), 2)
    around_edges = _matrix(edge_rows, edge_columns, per_edge[edge_rows], (vertex_count, len(edges)))
    inner = (
        scipy.sparse.diags(per_face) @ (around_quads @ centre + 2.0 * around_edges @ middle)
        + scipy.sparse.diags((valence - 3.0) * per_face) @ identity
    )
    boundary_rows, boundary_columns = edges[is_boundary].reshape(-1), np.repeat(np.nonzero(is_boundary)[0], 2)
    boundary_count = np.bincount(boundary_rows, minlength=vertex_count)
    # 1/8, 6/8, 1/8 along the boundary is a quarter of each of the two edge middles and half of the vertex.
    on_boundary = _matrix(boundary_rows, boundary_columns, 0.25, (vertex_count, len(edges))) @ middle + 0.5 * identity
    is_inner = (boundary_count == 0) & (valence > 0)
    is_smooth = boundary_count == 2
    is_fixed = ~(is_inner | is_smooth)
    return _rows(is_inner) @ inner + _rows(is_smooth) @ on_boundary + _rows(is_fixed) @ identity


def _fine_quads(quads: np.ndarray, edge_of_corner: np.ndarray, vertex_count: int, edge_count: int) -> np.ndarray:
    edge_point = edge_of_corner + vertex_count
    face_point = np.broadcast_to(np.arange(len(quads))[:, None] + vertex_count + edge_count, quads.shape)
    return np.stack([quads, edge_point, face_point, np.roll(edge_point, 1, axis=1)], axis=-1).reshape(-1, 4)
