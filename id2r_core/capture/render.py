"""From posed heads and their maps to images: rasterise once, then every domain and the light from the same fragments."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..conventions import SKIN_IOR, Domain, encode_normal, ior_to_f0, linear_to_srgb
from ..geometry.camera import Camera
from ..geometry.mesh import triangulate
from ..geometry.rasterize import Fragments, interpolate, rasterize
from ..geometry.texture import sample_texture
from ..head.model import GUM_LINEAR, PARTS, TOOTH_LINEAR, HeadModel
from .gloss import GlossTable, build_gloss_table
from .light import SKY_HEIGHT, SKY_WIDTH, Environments, Lighting, reflected_light, sky_pixels, sky_uv
from .skins import SkinMaps

PUPIL_LINEAR = 0.01
IRIS_RADIUS, PUPIL_RADIUS = 0.060, 0.021  # in the polar uv of an eyeball: 0.5 is the half turn to its back
EYE_SPECULAR, EYE_ROUGHNESS = 0.45, 0.12
# Lids and lashes shade the eye: what reaches it under them, how far that goes and how much more from above, in shares of
# the image side (5 and 3 mm where faces are aligned).
UNDER_LIDS, LID_REACH, LID_OVERHANG = 0.35, 0.020, 0.012
HAIR_SPECULAR, HAIR_ROUGHNESS = 0.3, 0.65
FIBRES = ("straight", "curly", "knitted")
FIBRE_TILE = 256  # pixels of the wrapping noise that fibres are made from
STRANDS, LOCKS, RIBS = 4.0, 0.7, 70.0  # fibre tiles round the head for strands and for locks, ribs of a cap
HAIR_CONTRAST, RAGGED, HAIR_EDGE = 0.8, 0.3, 0.3  # of fibres in density, in where hair begins, and its soft edge
# How much of the irradiance of each channel has wandered through the skin to the neighbouring vertices.
SCATTERED = (0.8, 0.4, 0.2)
TEETH_SPECULAR, TEETH_ROUGHNESS = 1.0, 0.25  # enamel has IOR 1.62 (Meng et al. 2009); gums are as wet
LIT_TEETH = 0.6  # of the light on the skin reaches teeth and gums that face the front; the mean head's mouth is shut
COARSE_UP_TO = 160  # pixels of an image side


@dataclass(frozen=True)
class Surface:
    """What the camera sees, per pixel of B images; zero where `mask` is.

    mask: [B, 1, H, W] bool, any part of the head; is_skin: [B, 1, H, W] bool, its skin
    diffuse_linear: [B, 3, H, W]; specular, roughness: [B, 1, H, W] image values
    normal: [B, H, W, 3] unit, head frame, with meso detail
    openness: [B, 1, H, W] share of the sky that is seen
    hair: [B, 1, H, W] how much of the pixel is hair or a cap
    irradiance: [B, 3, H, W]; to_camera: [B, H, W, 3] unit
    corners: [B, H, W, 3] the vertices of the triangle that is seen; bary: [B, H, W, 3] their weights
    """

    mask: Tensor
    is_skin: Tensor
    diffuse_linear: Tensor
    specular: Tensor
    roughness: Tensor
    normal: Tensor
    openness: Tensor
    hair: Tensor
    irradiance: Tensor
    to_camera: Tensor
    corners: Tensor
    bary: Tensor


@dataclass(frozen=True)
class Hair:
    """Hair of B heads as a swollen scalp: cover [B, N, 1] in [0, 1], thickness [B, N, 1] metres, linear [B, 3].

    fibres: [B, 3] how much of each of FIBRES; fall: [B, 3] what hangs behind the neck (hair.py)
    """

    cover: Tensor
    thickness: Tensor
    linear: Tensor
    fibres: Tensor
    fall: Tensor


@dataclass(frozen=True)
class Eyes:
    """Linear albedos of B pairs of eyes, [B, 3] each."""

    iris: Tensor
    sclera: Tensor


@dataclass(frozen=True)
class RenderMesh:
    """The head at the level of detail that an image needs; its vertices are the first N fine ones.

    faces [F, 3]; uv [U, 2] and faces_uv [F, 3] in the head tile; face_part [F]
    visibility: [N, L] in {0, 1}; openness: [N, 1] cosine-weighted share of the sky that the mean head leaves open
    nearest_light: [32 * 64] the light nearest to each pixel of the sky in the head frame
    around: [N, M] the vertex and its neighbours, padded with itself
    region_masks: name -> [N]
    gloss: how much light the surface reflects
    fibres: [2, FIBRE_TILE + 2, FIBRE_TILE + 2] in [-1, 1], noise of straight and of curly fibres with its wrapped rim
    """

    faces: Tensor
    uv: Tensor
    faces_uv: Tensor
    face_part: Tensor
    visibility: Tensor
    openness: Tensor
    nearest_light: Tensor
    around: Tensor
    region_masks: dict[str, Tensor]
    gloss: GlossTable
    fibres: Tensor

    @property
    def vertex_count(self) -> int:
        return len(self.visibility)


def make_render_mesh(head: HeadModel, size: int) -> RenderMesh:
    """The coarse faces over the smoothed vertices for small images, where they are four pixels wide, else the fine."""
    if size > COARSE_UP_TO:
        count, faces, uv, faces_uv = len(head.fine_neutral), head.faces, head.fine_uv, head.faces_uv
        part = head.face_part
    else:
        count, faces, uv, faces_uv = len(head.neutral), triangulate(head.quads), head.uv, triangulate(head.quads_uv)
        part = head.part.repeat_interleave(2)
    return RenderMesh(
        faces=faces,
        uv=uv,
        faces_uv=faces_uv,
        face_part=part,
        visibility=head.visibility[:count].contiguous(),
        openness=head.openness[:count, None],
        nearest_light=(sky_pixels(SKY_HEIGHT)[0].to(faces.device) @ head.light_directions.T).argmax(1),
        around=_neighbours(faces, count),
        region_masks={name: mask[:count] for name, mask in head.regions.items()},
        gloss=build_gloss_table(faces.device),
        fibres=_fibre_noise().to(faces.device),
    )


def _fibre_noise() -> Tensor:
    """Band-passed noise, stretched along v for straight fibres and the same every way for curly ones."""
    size = FIBRE_TILE
    noise = torch.randn(2, size, size, generator=torch.Generator().manual_seed(0))
    down, across = torch.fft.fftfreq(size)[:, None].abs() * size, torch.fft.rfftfreq(size)[None] * size
    bands = [
        torch.exp(-(((across.clamp(min=0.1) / 45).log() / 0.8) ** 2) - (down / 3) ** 2),
        torch.exp(-((((across**2 + down**2).sqrt().clamp(min=0.1) / 30).log() / 0.6) ** 2)),
    ]
    shaped = torch.fft.irfft2(torch.fft.rfft2(noise) * torch.stack(bands), s=(size, size))
    shaped = (shaped / (2 * shaped.flatten(1).std(1)[:, None, None])).clamp(-1, 1)
    return functional.pad(shaped[None], (1, 1, 1, 1), mode="circular")[0]


def sample_fibres(noise: Tensor, kind: int, u: Tensor, v: Tensor) -> Tensor:
    """The kind-th noise at u, v [..., H, W] in tiles, wrapping around; the same shape, in [-1, 1]."""
    place = torch.stack([u.frac() + (u < 0), v.frac() + (v < 0)], dim=-1)
    grid = (place * FIBRE_TILE + 1) / (FIBRE_TILE + 2) * 2 - 1
    flat = grid.reshape(1, -1, 1, 2)
    return functional.grid_sample(noise[None, kind : kind + 1], flat, align_corners=False).reshape(u.shape)


def _neighbours(faces: Tensor, count: int) -> Tensor:
    """[N, M]: each vertex and those one edge away, M the most of any, padded with the vertex itself."""
    itself = torch.arange(count, device=faces.device)
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = torch.cat([edges, edges.flip(1), itself[:, None].expand(-1, 2)]).unique(dim=0)  # sorted by the first
    degree = torch.bincount(pairs[:, 0], minlength=count)
    place = torch.arange(len(pairs), device=faces.device) - (degree.cumsum(0) - degree)[pairs[:, 0]]
    around = itself[:, None].repeat(1, int(degree.max()))
    around[pairs[:, 0], place] = pairs[:, 1]
    return around


def vertex_irradiance(mesh: RenderMesh, lights: Tensor, normals: Tensor, lighting: Lighting, tone: Tensor) -> Tensor:
    """Irradiance / pi on vertices [S, N, 3] from the directions `lights` [L, 3]: shadows, a bounce, and scattering.

    Closed places get back a share of what their surroundings, of albedo `tone` [S, 3], return; scattering under the
    skin is the mean over a few millimetres, most of red and least of blue.
    """
    rows = []
    for normal, power in zip(normals, lighting.power, strict=True):
        cosine = normal @ lights.T
        cosine.clamp_(min=0).mul_(mesh.visibility)
        rows.append(cosine @ power / torch.pi)
    direct = torch.stack(rows)
    direct = direct + (1 - mesh.openness) * (tone * lighting.mean)[:, None]
    return torch.lerp(direct, direct[:, mesh.around].mean(2), direct.new_tensor(SCATTERED))


def see_surface(
    mesh: RenderMesh,
    cameras: Camera,
    vertices: Tensor,
    normals: Tensor,
    vertex_light: Tensor,
    maps: SkinMaps,
    eyes: Eyes,
    hair: Hair,
) -> Surface:
    """Rasterise B heads [B, N, 3] through B cameras; vertex_light [B, N, 4] is irradiance and openness.

    `maps`, `eyes` and `hair` belong to the heads one by one.
    """
    height, width = cameras.height, cameras.width
    fragments = rasterize(cameras.project(vertices), mesh.faces, height, width)
    seen = interpolate(torch.cat([normals, vertex_light, hair.cover], dim=-1), mesh.faces, fragments)
    uv = interpolate(mesh.uv, mesh.faces_uv, fragments).permute(0, 2, 3, 1)
    stacked = torch.cat([maps.diffuse_linear, maps.specular, maps.roughness, maps.height_slope], dim=1)
    sampled = sample_texture(stacked, uv)
    part = mesh.face_part[fragments.face.clamp(min=0)][:, None]
    is_eye = fragments.mask & (part >= PARTS.index("eyeball_left"))
    in_mouth = fragments.mask & ((part == PARTS.index("teeth")) | (part == PARTS.index("gums")))
    smooth = functional.normalize(seen[:, :3].permute(0, 2, 3, 1), dim=-1, eps=1e-6)
    slope = sampled[:, 5:7] * ~(is_eye | in_mouth)
    to_camera = -camera_rays(cameras)
    normal = tilt_by_height(smooth, slope, fragments, vertices, mesh.faces, mesh.uv, mesh.faces_uv)
    mask = fragments.mask
    fibres = _fibres_at(uv, mesh.fibres, hair.fibres) if hair.fibres.any() else torch.zeros_like(seen[:, :1])
    hairy = ((seen[:, 7:8] + RAGGED * fibres - 0.5) / HAIR_EDGE + 0.5).clamp(0, 1) * (mask & ~is_eye)
    density = (HAIR_CONTRAST * fibres).exp()
    bare = _bare(sampled, part, uv, eyes)
    colour, rough = hair.linear[:, :, None, None] * density, torch.full_like(density, HAIR_ROUGHNESS)
    strands = torch.cat([colour, HAIR_SPECULAR * density, rough], 1)
    shown = (bare + hairy * (strands - bare)) * mask
    is_skin = mask & (part == PARTS.index("skin")) & (hairy < 0.5)
    light = seen[:, 3:6] * torch.where(is_eye, _between_lids(is_eye), 1.0)
    return Surface(
        mask=mask,
        is_skin=is_skin,
        diffuse_linear=shown[:, :3],
        specular=shown[:, 3:4],
        roughness=shown[:, 4:5],
        normal=normal * mask[:, 0, :, :, None],
        openness=seen[:, 6:7],
        hair=hairy,
        irradiance=torch.where(in_mouth, _light_on_teeth(light, is_skin, normal), light),
        to_camera=to_camera,
        corners=mesh.faces[fragments.face.clamp(min=0)],
        bary=fragments.bary,
    )


def _bare(sampled: Tensor, part: Tensor, uv: Tensor, eyes: Eyes) -> Tensor:
    """[B, 5, H, W] linear diffuse, specular and roughness without hair: the skin's as sampled; eyes, teeth and gums."""
    albedo, like = _eye_albedo(uv, eyes), sampled[:, :1]
    of_eye = torch.cat([albedo, torch.full_like(like, EYE_SPECULAR), torch.full_like(like, EYE_ROUGHNESS)], 1)
    bare = torch.where(part >= PARTS.index("eyeball_left"), of_eye, sampled[:, :5])
    for name, linear in (("teeth", TOOTH_LINEAR), ("gums", GUM_LINEAR)):
        own = sampled.new_tensor([*linear, TEETH_SPECULAR, TEETH_ROUGHNESS])[:, None, None]
        bare = torch.where(part == PARTS.index(name), own, bare)
    return bare


def _light_on_teeth(irradiance: Tensor, is_skin: Tensor, normal: Tensor) -> Tensor:
    """[B, 3, H, W] a share of the mean light on the skin, less where the arch of the teeth turns to the side."""
    mean = (irradiance * is_skin).sum((2, 3)) / is_skin.sum((2, 3)).clamp(min=1)
    return LIT_TEETH * mean[..., None, None] * normal[..., 2].clamp(0.2, 1.0)[:, None]


def _fibres_at(uv: Tensor, noise: Tensor, kinds: Tensor) -> Tensor:
    """[B, 1, H, W] in about [-1, 1]: fibres of `kinds` [B, 3]; straight ones run outwards from the face on the tile."""
    x, y = uv[..., 0] - 0.5, uv[..., 1] - 0.5
    angle, radius = torch.atan2(y, x) / (2 * torch.pi), (x * x + y * y).sqrt()
    wander = 0.006 * (25 * radius).sin() + 0.01 * (44 * angle + 9 * radius).sin()
    strands = sample_fibres(noise, 0, STRANDS * (angle + wander), 1.2 * radius)
    locks = sample_fibres(noise, 0, LOCKS * (angle + wander) + 0.5, 0.7 * radius)
    curls = sample_fibres(noise, 1, 5 * x, 5 * y)
    patterns = torch.stack([0.6 * strands + 0.5 * locks, curls, (RIBS * 2 * torch.pi * angle).sin()], dim=1)
    return torch.einsum("bk,bkhw->bhw", kinds, patterns)[:, None]


def shade(surface: Surface, mesh: RenderMesh, environments: Environments, lighting: Lighting) -> Tensor:
    """Outgoing radiance [B, 3, H, W]: diffuse from the irradiance, GGX from the prefiltered environment (Karis 2013)."""
    facing = (surface.normal * surface.to_camera).sum(-1).clamp(0.02, 1.0)  # [B, H, W]
    roughness = surface.roughness[:, 0]
    f0 = surface.specular[:, 0] * (2 * ior_to_f0(SKIN_IOR))
    reflectance = mesh.gloss.albedo(f0, roughness, facing)
    mirrored = 2 * facing[..., None] * surface.normal - surface.to_camera
    gloss = reflected_light(environments, lighting, mirrored, roughness)
    # The middle of the lobe is open or shut by what the head hides in that direction, its rim by the average.
    seen = torch.lerp(_sees_towards(surface, mesh, mirrored), surface.openness[:, 0], roughness.square())
    diffuse = surface.diffuse_linear * surface.irradiance * (1 - reflectance)[:, None]
    return (diffuse + gloss * (reflectance * seen)[:, None]) * surface.mask


def _sees_towards(surface: Surface, mesh: RenderMesh, direction: Tensor) -> Tensor:
    """[B, H, W] in [0, 1]: whether the surface sees past the head in `direction` [B, H, W, 3], smooth over triangles."""
    column, row = sky_uv(direction)
    column = (column * SKY_WIDTH).long().clamp(0, SKY_WIDTH - 1)
    row = (row * SKY_HEIGHT).long().clamp(0, SKY_HEIGHT - 1)
    light = mesh.nearest_light[row * SKY_WIDTH + column]
    return (mesh.visibility[surface.corners, light[..., None]] * surface.bary).sum(-1)


def reflectance_images(surface: Surface) -> dict[Domain, Tensor]:
    """The four reflectance domains, [B, 3, H, W] in [0, 1] each; pixels without a head are 0."""
    normal = encode_normal(surface.normal).permute(0, 3, 1, 2) * surface.mask
    return {
        Domain.DIFFUSE: linear_to_srgb(surface.diffuse_linear),
        Domain.SPECULAR: surface.specular.expand(-1, 3, -1, -1),
        Domain.ROUGHNESS: surface.roughness.expand(-1, 3, -1, -1),
        Domain.NORMAL: normal,
    }


def camera_rays(cameras: Camera) -> Tensor:
    """Unit directions [B, H, W, 3] in the world from the camera through its pixel centres."""
    device = cameras.focal.device
    y, x = torch.meshgrid(
        torch.arange(cameras.height, device=device) + 0.5,
        torch.arange(cameras.width, device=device) + 0.5,
        indexing="ij",
    )
    pixel = torch.stack([x, y], dim=-1)[None] - cameras.principal[:, None, None]
    pixel = pixel / cameras.focal[:, None, None, None]
    view = functional.normalize(torch.cat([pixel, torch.ones_like(pixel[..., :1])], dim=-1), dim=-1)
    return torch.einsum("bij,bhwi->bhwj", cameras.view_from_world[:, :3, :3], view)


def tilt_by_height(
    smooth: Tensor, slope: Tensor, fragments: Fragments, vertices: Tensor, faces: Tensor, uv: Tensor, faces_uv: Tensor
) -> Tensor:
    """Tilt smooth normals [B, H, W, 3] against the surface gradient of a height (Mikkelsen 2010); same shape, unit.

    slope [B, 2, H, W] is the growth of the height along u and v; vertices [B, N, 3], uv [U, 2] with their triangles.

    The gradient of u and v on a flat triangle with unit normal n and area A is the sum of the corners' values times
    n x (opposite edge) / 2A.
    """
    image, row, column = (fragments.face >= 0).nonzero(as_tuple=True)
    face = fragments.face[image, row, column]
    corner = vertices[image[:, None], faces[face]]  # [P, 3, 3]
    corner_uv = uv[faces_uv[face]]  # [P, 3, 2]
    edge_1, edge_2 = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    normal = torch.linalg.cross(edge_1, edge_2)
    du, dv = (corner_uv[:, 1:, k] - corner_uv[:, :1, k] for k in range(2))  # [P, 2]
    growth = slope[image, :, row, column]  # [P, 2]
    along_1 = growth[:, 0] * du[:, 0] + growth[:, 1] * dv[:, 0]
    along_2 = growth[:, 0] * du[:, 1] + growth[:, 1] * dv[:, 1]
    # Height rises by along_1 over edge_1 and by along_2 over edge_2.
    gradient = along_1[:, None] * torch.linalg.cross(edge_2, normal) - along_2[:, None] * torch.linalg.cross(
        edge_1, normal
    )
    gradient = gradient / normal.square().sum(-1, keepdim=True).clamp(min=1e-20)
    gradient = gradient / (gradient.norm(dim=-1, keepdim=True) / 0.6).clamp(min=1.0)
    tilted = smooth.clone()
    tilted[image, row, column] = functional.normalize(smooth[image, row, column] - gradient, dim=-1)
    return tilted


def _between_lids(is_eye: Tensor) -> Tensor:
    """Share of the light [B, 1, H, W] that reaches eyes through the lids, from where they are seen, [B, 1, H, W] bool.

    It falls with the share of lids in a window about the pixel that lies a little higher: the upper lid overhangs.
    """
    size = is_eye.shape[-1]
    reach, up = max(round(LID_REACH * size), 1), round(LID_OVERHANG * size)
    lifted = functional.pad(is_eye.float(), (0, 0, up, 0))[:, :, : is_eye.shape[-2]]
    return UNDER_LIDS + (1 - UNDER_LIDS) * box_mean(lifted, reach)


def box_mean(image: Tensor, reach: int) -> Tensor:
    """Means of [B, C, H, W] over windows of 2 reach + 1 pixels a side, 0 beyond the image; along one axis, then the other."""
    window = 2 * reach + 1
    across = functional.avg_pool2d(image, (1, window), stride=1, padding=(0, reach))
    return functional.avg_pool2d(across, (window, 1), stride=1, padding=(reach, 0))


def _eye_albedo(uv: Tensor, eyes: Eyes) -> Tensor:
    """[B, 3, H, W] albedo of an eyeball at its polar uv: sclera, iris with a dark rim, pupil."""
    radius = (uv - 0.5).norm(dim=-1)[:, None]
    angle = torch.atan2(uv[..., 1] - 0.5, uv[..., 0] - 0.5)[:, None]
    fibres = 1 + 0.25 * (9 * angle).sin() * (23 * angle).cos()
    iris = eyes.iris[:, :, None, None] * fibres * (1.2 - 0.9 * ((radius / IRIS_RADIUS) ** 4).clamp(max=1))
    sclera = eyes.sclera[:, :, None, None].expand_as(iris)
    edge = 0.005
    eye = torch.lerp(iris, sclera, ((radius - IRIS_RADIUS) / edge + 0.5).clamp(0, 1))
    return torch.lerp(torch.full_like(eye, PUPIL_LINEAR), eye, ((radius - PUPIL_RADIUS) / edge + 0.5).clamp(0, 1))
