"""The stage itself: subjects by index, their three fixed views, and photographs of them, streamed to training."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..conventions import LEVEL_SIDES, VIEWS, Domain, linear_to_srgb
from ..geometry.camera import Camera, capture_cameras
from ..geometry.mesh import vertex_normals
from ..head.model import HeadModel, load_head
from ..pigment import build_pigment_table
from .dice import Dice
from .hair import draw_hair, hang_hair, no_hair, with_fuzz
from .light import LUMINANCE, Environments, Lighting, choose_environments, light_scene, load_environments, seen_behind
from .photograph import (
    PHOTO_EXPRESSIONS,
    develop,
    draw_backdrop,
    draw_cameras,
    draw_garment,
    draw_glasses,
    draw_portrait_cameras,
    expose,
    eye_colours,
)
from .render import (
    Hair,
    Surface,
    camera_rays,
    make_render_mesh,
    reflectance_images,
    see_surface,
    shade,
    vertex_irradiance,
)
from .skins import SkinMaps, load_skins, make_tile, skin_maps
from .sources import SPLITS
from .subjects import Casting, Subjects, draw_expression

SMALLEST_TILE, LARGEST_TILE = 256, 1024
VIEW_FILL = 0.2
GREY_CARD_VIEWS = 0.75  # what white would be in a view: the views are well exposed and balanced


@dataclass(frozen=True)
class Photographs:
    """One photograph a subject, aligned as crops of real photos are.

    srgb: [S, 3, H, W]
    reflectance: domain -> [S, 3, H, W], the four domains in the photograph's own view, 0 where no head is seen
    skin: [S, 1, H, W] in {0, 1}; 1 where `reflectance` shows skin that the photograph sees (no hair, eyes, mouth)
    """

    srgb: Tensor
    reflectance: dict[Domain, Tensor]
    skin: Tensor


class CaptureStage:
    """Renders subjects that are functions of (seed, split, index); everything is batched on `device`.

    data_dir: the training data (makehuman/skins*, hdri); nothing is written there. size: pixels of a view or photograph.
    sides: where the side cameras of `views` stand (geometry.camera). captures: imported captures, whose skins join in.
    Raises Id2rError when the directory lacks sources of the split or the head file has not been built.
    """

    def __init__(
        self,
        data_dir,
        size: int,
        device="cpu",
        seed: int = 0,
        split: str = "train",
        head: HeadModel | None = None,
        sides: tuple[float, float] = LEVEL_SIDES,
        captures: Path | None = None,
    ):
        if split not in SPLITS:
            raise ValueError(f"split is '{split}', expected one of {SPLITS}")
        self.size = size
        self.device = torch.device(device)
        self.head = (head or load_head()).to(self.device)
        self._seed = (seed, SPLITS.index(split))
        self._taken = 0
        self._worn: tuple[Subjects, SkinMaps] | None = None
        self._pigments = build_pigment_table(self.device)
        self.tile = make_tile(self.head, min(max(2 * size, SMALLEST_TILE), LARGEST_TILE))
        self._skins = load_skins(Path(data_dir), split, self.tile, self._pigments, seed, captures)
        self._environments = load_environments(Path(data_dir), split, self.device)
        self._mesh = make_render_mesh(self.head, size)
        self._casting = Casting(self.head, self._pigments, seed, split)
        self._cameras = capture_cameras(size, self.device, sides)

    def subjects(self, indices) -> Subjects:
        """The subjects with these whole numbers; the same number is always the same person."""
        return self._casting.cast(indices, self.device)

    @torch.no_grad()
    def views(self, subjects: Subjects, on_mean_head: bool = False) -> dict[Domain, Tensor]:
        """Five domains, [S, 3 views, 3, H, W] in [0, 1] each; RGB under a light of the subject's own; 0 behind the head.

        on_mean_head: the skins on the mean head at rest. Views of own proportions put brows and lips of two people 10 px
        apart (at 512), and no photo tells the size of a head; networks that had to guess it gave the mean of all
        outlines. So a pixel is the same place on everybody, and a person's proportions come from the fitted head alone.
        """
        lighting = self._light(self._dice(subjects, take=0), least_fill=VIEW_FILL)
        own = 0.0 if on_mean_head else 1.0
        fine = self._posed(own * subjects.identity, own * subjects.expression)
        surface = self._see(self._cameras, fine, subjects, lighting, no_hair(len(subjects), self._mesh), copies=VIEWS)
        lit = shade(surface, self._mesh, self._environments, _each(lighting, VIEWS))
        facing = self._incident(lighting, lighting.mean.new_tensor([[0.0, 0.0, 1.0]]).expand(len(subjects), -1))
        level = GREY_CARD_VIEWS / (0.5 * (lighting.mean + facing) @ lit.new_tensor(LUMINANCE))
        balance = level[:, None] * lighting.mean.mean(1, keepdim=True) / lighting.mean
        rgb = linear_to_srgb(lit * balance.repeat_interleave(VIEWS, 0)[..., None, None]).clamp(0, 1)
        images = {Domain.RGB: rgb} | reflectance_images(surface)
        return {domain: image.unflatten(0, (-1, VIEWS)) for domain, image in images.items()}

    @torch.no_grad()
    def photographs(self, subjects: Subjects, take: int | None = None) -> Photographs:
        """One photograph a subject. The same `take` (1, 2, ...) gives the same pictures; without one each call is new."""
        if take is None:
            self._taken += 1
            take = self._taken
        at_rest = self.head.shape(subjects.identity, torch.zeros_like(subjects.expression))
        return self._photograph(subjects, at_rest, take, draw_cameras)

    @torch.no_grad()
    def portraits(self, subjects: Subjects, at_rest: Tensor, take: int) -> Tensor:
        """sRGB [S, 3, H, W] of the subjects with heads of another shape, at rest [S, N, 3], framed and turned as in the
        portraits that people bring."""
        return self._photograph(subjects, at_rest, take, draw_portrait_cameras).srgb

    def _photograph(self, subjects: Subjects, at_rest: Tensor, take: int, cameras_for) -> Photographs:
        dice = self._dice(subjects, take)
        names = self.head.expression_names
        drawn = np.stack([draw_expression(random, names, PHOTO_EXPRESSIONS) for random in dice])
        fine = self.head.subdivide(
            at_rest + self._expressed(torch.from_numpy(drawn.astype(np.float32)).to(self.device))
        )
        lighting = self._light(dice)
        cameras = cameras_for(dice, self.head, fine, self.size)
        hair = draw_hair(dice, self._mesh, fine, subjects)
        surface = self._see(cameras, fine, subjects, lighting, hair)
        rays = camera_rays(cameras)
        incident = self._incident(lighting, -rays[:, self.size // 2, self.size // 2])
        behind = draw_backdrop(dice, seen_behind(self._environments, lighting, rays), incident)
        behind = hang_hair(hair, self._mesh, cameras, rays, behind, incident)
        lit = shade(surface, self._mesh, self._environments, lighting)
        radiance = with_fuzz(surface, self._mesh, lit, behind)
        radiance, is_cloth = draw_garment(dice, cameras, radiance, incident)
        radiance, is_frame = draw_glasses(dice, self.head, cameras, fine, radiance, incident)
        srgb = develop(dice, expose(dice, radiance, surface.is_skin & ~is_cloth & ~is_frame, incident))
        return Photographs(srgb, reflectance_images(surface), (surface.is_skin & ~is_cloth & ~is_frame).float())

    @torch.no_grad()
    def relit(
        self, subjects: Subjects, expression: Tensor, cameras: Camera, environments: Environments
    ) -> tuple[Tensor, Tensor]:
        """Bare heads with `expression` [S, E] through cameras under the first of `environments` as it stands.

        Returns the radiance [S, 3, H, W] and where it shows skin [S, 1, H, W] bool. For comparing the renderer.
        """
        count = len(subjects)
        still, turn = torch.zeros(count, dtype=torch.long), torch.eye(3).expand(count, 3, 3)
        lighting = light_scene(
            environments,
            still.to(self.device),
            turn.to(self.device),
            torch.zeros(count, device=self.device),
            self.head.light_directions,
        )
        fine = self._posed(subjects.identity, expression)
        surface = self._see(cameras, fine, subjects, lighting, no_hair(count, self._mesh))
        return shade(surface, self._mesh, environments, lighting), surface.is_skin

    def skins(self, subjects: Subjects) -> SkinMaps:
        """The maps of subjects in the head tile; those of the last subjects asked for are kept."""
        if self._worn is None or self._worn[0] is not subjects:
            self._worn = (subjects, skin_maps(subjects, self._skins, self.tile, self._pigments))
        return self._worn[1]

    def _dice(self, subjects: Subjects, take: int) -> Dice:
        return Dice([(*self._seed, take, index) for index in subjects.index.tolist()])

    def _expressed(self, expression: Tensor) -> Tensor:
        """What expressions [S, E] add to the vertices, [S, N, 3]."""
        return (expression @ self.head.expression.flatten(1)).unflatten(1, (-1, 3))

    def _posed(self, identity: Tensor, expression: Tensor) -> Tensor:
        return self.head.subdivide(self.head.shape(identity, expression))

    def _light(self, dice: Dice, least_fill: float = 0.0) -> Lighting:
        chosen, turns = choose_environments(dice, self._environments)
        fill = torch.from_numpy(dice.uniform(-0.5, 0.8).clip(least_fill)).to(self.device)
        return light_scene(self._environments, chosen, turns, fill, self.head.light_directions)

    def _incident(self, lighting: Lighting, towards: Tensor) -> Tensor:
        """Irradiance / pi of surfaces with normals `towards` [S, 3], [S, 3]."""
        cosine = (towards @ self.head.light_directions.T).clamp(min=0)
        return torch.einsum("sl,slc->sc", cosine, lighting.power) / torch.pi

    def _see(
        self, cameras: Camera, fine: Tensor, subjects: Subjects, lighting: Lighting, hair: Hair, copies=1
    ) -> Surface:
        """What the cameras see of S lit heads [S, Nf, 3]; each head stands before `copies` cameras."""
        mesh = self._mesh
        vertices = fine[:, : mesh.vertex_count]
        normals = vertex_normals(vertices, mesh.faces)
        lights = self.head.light_directions
        irradiance = vertex_irradiance(mesh, lights, normals, lighting, subjects.tone_linear)
        light = torch.cat([irradiance, mesh.openness.expand(len(fine), -1, -1)], dim=-1)
        swollen = vertices + normals * hair.thickness
        if copies > 1:
            cameras = _cameras_in_turn(cameras, len(fine))
        each = lambda of_subjects: _each(of_subjects, copies)
        return see_surface(
            mesh,
            cameras,
            each(swollen),
            each(normals),
            each(light),
            each(self.skins(subjects)),
            each(eye_colours(subjects)),
            each(hair),
        )


def _each(batch, copies: int):
    """A tensor, or a dataclass of tensors, with every row `copies` times in a row."""
    if isinstance(batch, Tensor):
        return batch.repeat_interleave(copies, 0)
    return replace(batch, **{field.name: _each(getattr(batch, field.name), copies) for field in fields(batch)})


def _cameras_in_turn(cameras: Camera, heads: int) -> Camera:
    """All cameras for the first head, all for the second, and so on."""
    return cameras[torch.arange(len(cameras), device=cameras.focal.device).repeat(heads)]
