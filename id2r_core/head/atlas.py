"""The head tile at one size: which point of the surface every texel shows, and what a camera sees of it."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from ..geometry.camera import Camera
from ..geometry.mesh import vertex_normals
from ..geometry.rasterize import Fragments, interpolate, rasterize
from ..geometry.texture import atlas_fragments, soften
from .model import REGIONS, HeadModel

SKIN_PARTS = ("skin", "mouth_interior", "eye_socket")
DEPTH_MAP_SIZE = 640
DEPTH_SLACK = 0.004  # metres: the depth map is coarser than the texels


@dataclass(frozen=True)
class HeadAtlas:
    """The head tile of `size` x `size` texels over skin, mouth interior and eye sockets (not the eyeballs).

    fragments: what each texel shows, in the triangles `faces` [F', 3] of the fine mesh (a batch of one).
    """

    model: HeadModel
    size: int
    faces: Tensor
    fragments: Fragments

    @cached_property
    def mask(self) -> Tensor:
        """[T, T] bool: texels that show the head."""
        return self.fragments.mask[0, 0]

    def bake(self, attributes: Tensor) -> Tensor:
        """Attributes of fine vertices [Nf, C] as an image [C, T, T]; zero outside the head."""
        return interpolate(attributes, self.faces, self.fragments)[0]

    def normals_of(self, fine_vertices: Tensor) -> Tensor:
        """Unit normals of a head [Nf, 3] at every texel, [3, T, T]; zero outside the head."""
        return functional.normalize(self.bake(vertex_normals(fine_vertices[None], self.model.faces)[0]), dim=0)

    @cached_property
    def surface(self) -> Tensor:
        """The mean head's surface at every texel, [3, T, T] metres."""
        return self.bake(self.model.fine_neutral)

    @cached_property
    def normal(self) -> Tensor:
        """The mean head's unit normal at every texel, [3, T, T]; zero outside the head."""
        return self.normals_of(self.model.fine_neutral)

    @cached_property
    def _regions(self) -> Tensor:
        return self.bake(self.model.region_masks.T.float())

    @cached_property
    def features(self) -> Tensor:
        """[T, T] 1 where a face is dark or coloured by nature: brows, lids, lips, nostrils, beard."""
        named = [soften(self.region(name), 0.006) * 2 for name in ("brow", "eyelid", "lip", "nose")]
        return torch.stack([*named, self.region("beard")]).amax(0).clamp(0, 1)

    @cached_property
    def dark_by_nature(self) -> Tensor:
        """[T, T] 1 on brows, lids and lips, soft at their borders."""
        named = [soften(self.region(name), 0.006) * 2 for name in ("brow", "eyelid", "lip")]
        return torch.stack(named).amax(0).clamp(max=1)

    def region(self, name: str) -> Tensor:
        """A region mask of the head model as an image [T, T]."""
        return self._regions[REGIONS.index(name)]


@dataclass(frozen=True)
class Seen:
    """What one camera sees of an atlas.

    pixel [T, T, 2]: where each texel lies in the camera's image, continuous pixels.
    cosine [T, T]: of the angle between surface normal and line of sight; at most 0 for the far side.
    visible [T, T] bool: inside the image and not hidden by the head itself.
    """

    pixel: Tensor
    cosine: Tensor
    visible: Tensor

    def sample(self, image: Tensor) -> Tensor:
        """Bicubic look-up of an image [C, H, W] of that camera at every texel: [C, T, T]."""
        height, width = image.shape[-2:]
        grid = self.pixel / self.pixel.new_tensor([width, height]) * 2 - 1
        mode = {"mode": "bicubic", "padding_mode": "border", "align_corners": False}
        return functional.grid_sample(image[None], grid[None], **mode)[0]


def make_atlas(model: HeadModel, size: int) -> HeadAtlas:
    """The head tile at `size` texels a side."""
    of_skin = model.faces_of(*SKIN_PARTS)
    return HeadAtlas(model, size, model.faces[of_skin], atlas_fragments(model.fine_uv, model.faces_uv[of_skin], size))


def look(atlas: HeadAtlas, fine_vertices: Tensor, camera: Camera) -> Seen:
    """What `camera` (a batch of one) sees of the head with the given fine vertices [Nf, 3]."""
    position = atlas.bake(fine_vertices).flatten(1).T  # [T * T, 3]
    normal = atlas.normals_of(fine_vertices)
    to_camera = functional.normalize(camera.centre()[0] - position, dim=1)
    cosine = (normal.flatten(1).T * to_camera).sum(1)
    projected = camera.project(position)[0]
    inside = (projected[:, :2] > 0).all(1) & (projected[:, 0] < camera.width) & (projected[:, 1] < camera.height)
    nearest = _depth_under(camera, fine_vertices, atlas.model.faces, projected[:, :2])
    visible = inside & (projected[:, 2] < nearest + DEPTH_SLACK) & (cosine > 0) & atlas.mask.flatten()
    side = (atlas.size, atlas.size)
    return Seen(projected[:, :2].unflatten(0, side), cosine.unflatten(0, side), visible.unflatten(0, side))


def _depth_under(camera: Camera, vertices: Tensor, faces: Tensor, pixel: Tensor) -> Tensor:
    """Depth of the nearest surface at pixels [P, 2], from a depth map that is fitted round the head."""
    on_screen = camera.project(vertices)[0, :, :2]
    low, high = on_screen.amin(0), on_screen.amax(0)
    scale = (DEPTH_MAP_SIZE - 4) / (high - low).max()
    shift = 2 - low * scale
    map_from_photo = torch.stack([torch.stack([scale, scale * 0, shift[0]]), torch.stack([scale * 0, scale, shift[1]])])
    close = camera.warped(map_from_photo, DEPTH_MAP_SIZE, DEPTH_MAP_SIZE)
    depth = rasterize(close.project(vertices), faces, DEPTH_MAP_SIZE, DEPTH_MAP_SIZE).depth[0, None, None]
    grid = ((pixel * scale + shift) / DEPTH_MAP_SIZE * 2 - 1)[None, None]
    found = functional.grid_sample(depth.nan_to_num(posinf=1e3), grid, mode="nearest", align_corners=False)
    return found.flatten()
