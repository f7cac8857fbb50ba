"""Light: environments as a fixed set of directional lights and as prefiltered reflections."""

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .dice import Dice
from .sources import list_sources, read_environment

SKY_HEIGHT = 32  # rows of the environments that light is taken from
SKY_WIDTH = 2 * SKY_HEIGHT
BACKDROP_HEIGHT = 64
ROUGHNESS_RANGE = (0.2, 1.0)
ROUGHNESS_STEPS = 6
TILT_DEGREES = 6.0
STUDIOS, STUDIO_SHARE = 8, 0.35
MOST_COLOUR = 1.35
# Sitters whom the photographer has turned, up to so often, until their face gets this much of the mean light. Without
# them a face that is brighter than what lies behind it looks like fair skin.
POSED_SHARE, TURNS, SHADE = 0.6, 6, 0.65
LUMINANCE = (0.2126, 0.7152, 0.0722)


@dataclass(frozen=True)
class Environments:
    """All environments of a split, each scaled to a mean luminance of 1.

    sky: [E, 3, 32, 64]; backdrop: [E, 3, 64, 128]; what is seen far away, row 0 up, column 0 at -z turning to +x
    gloss: [E, 3, R, 32, 64]; gloss[e, :, r] is the sky blurred by a GGX lobe of the r-th roughness
    directions: [32 * 64, 3] unit vectors of the sky's pixels; solid_angle: [32 * 64] steradians
    """

    names: tuple[str, ...]
    sky: Tensor
    backdrop: Tensor
    gloss: Tensor
    directions: Tensor
    solid_angle: Tensor


@dataclass(frozen=True)
class Lighting:
    """The light of a batch of scenes.

    environment: [B] which one; world_to_sky: [B, 3, 3] its turn; fill: [B] share of it replaced by its mean
    power: [B, L, 3] irradiance that a surface facing light direction l gets from it
    mean: [B, 3] mean radiance over the sphere
    """

    environment: Tensor
    world_to_sky: Tensor
    fill: Tensor
    power: Tensor
    mean: Tensor


def load_environments(data_dir: Path, split: str, device="cpu") -> Environments:
    """Read hdri/*.exr of the split and blur them once."""
    paths = list_sources(data_dir, "hdri/*.exr", split)
    images = [muted(read_environment(path)) for path in paths] + _studios()
    return gather_environments(
        (*(path.stem for path in paths), *(f"studio {i}" for i in range(STUDIOS))), images, device
    )


def gather_environments(names: tuple[str, ...], images: list[np.ndarray], device="cpu") -> Environments:
    """Equirectangular images [H, 2H, 3] linear, row 0 up, the middle at +z, as light; each scaled to luminance 1."""
    directions, solid_angle = sky_pixels(SKY_HEIGHT)
    skies, backdrops = [], []
    for image in images:
        sky = cv2.resize(image, (SKY_WIDTH, SKY_HEIGHT), interpolation=cv2.INTER_AREA)
        weight = solid_angle.numpy().reshape(SKY_HEIGHT, SKY_WIDTH, 1) / (4 * math.pi)
        scale = max(float(((sky * weight).sum((0, 1)) * LUMINANCE).sum()), 1e-6)
        backdrop = cv2.resize(image, (2 * BACKDROP_HEIGHT, BACKDROP_HEIGHT), interpolation=cv2.INTER_AREA)
        skies.append(torch.from_numpy(sky / scale).permute(2, 0, 1))
        backdrops.append(torch.from_numpy(backdrop / scale).permute(2, 0, 1))
    sky = torch.stack(skies).to(device)
    directions, solid_angle = directions.to(device), solid_angle.to(device)
    return Environments(
        names=names,
        sky=sky,
        backdrop=torch.stack(backdrops).to(device),
        gloss=_blur_by_roughness(sky, directions, solid_angle),
        directions=directions,
        solid_angle=solid_angle,
    )


def muted(image: np.ndarray) -> np.ndarray:
    """An environment whose mean colour is at most MOST_COLOUR from grey: nobody is photographed in violet light."""
    mean = image.mean((0, 1))
    far = mean.max() / max(float(mean @ LUMINANCE), 1e-6)
    keep = min(1.0, (MOST_COLOUR - 1) / max(far - 1, 1e-6))
    grey = (image @ np.array(LUMINANCE, dtype=np.float32))[..., None]
    return grey + keep * (image - grey)


def _studios() -> list[np.ndarray]:
    """Portrait studios: a dim room, a soft key light before the sitter and to one side, a weaker fill on the other."""
    random = np.random.default_rng(STUDIOS)
    directions = sky_pixels(BACKDROP_HEIGHT)[0].numpy()
    rooms = []
    for _ in range(STUDIOS):
        room = np.full(len(directions), random.uniform(0.08, 0.5), dtype=np.float32)
        side = random.choice((-1, 1))
        for turn, height, size, power in (
            (
                side * random.uniform(0.1, 0.8),
                random.uniform(0.2, 0.8),
                random.uniform(0.15, 0.4),
                random.uniform(8, 25),
            ),
            (-side * random.uniform(0.4, 1.2), random.uniform(0, 0.5), random.uniform(0.25, 0.5), random.uniform(1, 8)),
        ):
            lamp = [math.sin(turn) * math.cos(height), math.sin(height), math.cos(turn) * math.cos(height)]
            angle = np.arccos((directions @ np.array(lamp, dtype=np.float32)).clip(-1, 1))
            room += power / (1 + np.exp((angle - size) / 0.04))
        tint = np.array([1.0, random.uniform(0.92, 1.0), random.uniform(0.8, 1.0)], dtype=np.float32)
        rooms.append((room[:, None] * tint).reshape(BACKDROP_HEIGHT, 2 * BACKDROP_HEIGHT, 3))
    return rooms


def sky_pixels(height: int) -> tuple[Tensor, Tensor]:
    """Directions [P, 3] and solid angles [P] of the pixels of an equirectangular image of that height."""
    latitude = math.pi * (0.5 - (torch.arange(height) + 0.5) / height)
    longitude = 2 * math.pi * ((torch.arange(2 * height) + 0.5) / (2 * height) - 0.5)
    latitude, longitude = torch.meshgrid(latitude, longitude, indexing="ij")
    xyz = [longitude.sin() * latitude.cos(), latitude.sin(), longitude.cos() * latitude.cos()]
    solid_angle = latitude.cos() * (math.pi / height) ** 2
    return torch.stack(xyz, dim=-1).reshape(-1, 3), (solid_angle * (4 * math.pi / solid_angle.sum())).reshape(-1)


def sky_uv(direction: Tensor) -> tuple[Tensor, Tensor]:
    """Where a direction [..., 3] lies in an equirectangular image: column and row in [0, 1], row 0 up."""
    column = torch.atan2(direction[..., 0], direction[..., 2]) / (2 * math.pi) + 0.5
    row = direction[..., 1].clamp(-1, 1).arccos() / math.pi
    return column, row


def light_scene(
    environments: Environments, chosen: Tensor, world_to_sky: Tensor, fill: Tensor, lights: Tensor
) -> Lighting:
    """Gather environments `chosen` [B], turned and softened, into the fixed light directions `lights` [L, 3].

    Every sky pixel gives its radiance times its solid angle to the nearest light.
    """
    sky = environments.sky[chosen].flatten(2)  # [B, 3, P]
    weighted = sky * environments.solid_angle
    mean = weighted.sum(-1) / (4 * math.pi)
    power = (1 - fill)[:, None, None] * weighted + fill[:, None, None] * mean[..., None] * environments.solid_angle
    nearest = (environments.directions @ world_to_sky @ lights.T).argmax(-1)  # [B, P]
    gathered = power.new_zeros(len(chosen), 3, len(lights))
    gathered.scatter_add_(2, nearest[:, None].expand(-1, 3, -1), power)
    return Lighting(chosen, world_to_sky, fill, gathered.transpose(1, 2).contiguous(), mean)


def reflected_light(environments: Environments, lighting: Lighting, direction: Tensor, roughness: Tensor) -> Tensor:
    """Radiance from `direction` [B, H, W, 3] (world) blurred by GGX of `roughness` [B, H, W]: [B, 3, H, W]."""
    turned = torch.einsum("bij,bhwj->bhwi", lighting.world_to_sky, direction)
    column, row = sky_uv(turned)
    low, high = ROUGHNESS_RANGE
    level = ((roughness - low) / (high - low)).clamp(0, 1) * (ROUGHNESS_STEPS - 1)
    gloss = environments.gloss[lighting.environment]
    padded = torch.cat([gloss[..., -1:], gloss, gloss[..., :1]], dim=-1)
    x = (column * SKY_WIDTH + 1) / (SKY_WIDTH + 2)
    grid = torch.stack([x, row, (level + 0.5) / ROUGHNESS_STEPS], dim=-1) * 2 - 1
    seen = functional.grid_sample(padded, grid[:, None], padding_mode="border", align_corners=False)[:, :, 0]
    return torch.lerp(seen, lighting.mean[..., None, None].expand_as(seen), lighting.fill[:, None, None, None])


def seen_behind(environments: Environments, lighting: Lighting, direction: Tensor) -> Tensor:
    """Radiance of the backdrop in `direction` [B, H, W, 3] (world): [B, 3, H, W]."""
    column, row = sky_uv(torch.einsum("bij,bhwj->bhwi", lighting.world_to_sky, direction))
    backdrop = environments.backdrop[lighting.environment]
    padded = torch.cat([backdrop[..., -1:], backdrop, backdrop[..., :1]], dim=-1)
    width = backdrop.shape[-1]
    grid = torch.stack([(column * width + 1) / (width + 2), row], dim=-1) * 2 - 1
    seen = functional.grid_sample(padded, grid, padding_mode="border", align_corners=False)
    return torch.lerp(seen, lighting.mean[..., None, None].expand_as(seen), lighting.fill[:, None, None, None])


def choose_environments(dice: Dice, environments: Environments) -> tuple[Tensor, Tensor]:
    """An environment [S] for each subject and world_to_sky [S, 3, 3], with a small tilt.

    Studios face their subject; elsewhere some subjects have turned to the light, the others stand in any way.
    """
    device = environments.sky.device
    outside = len(environments.names) - STUDIOS
    in_studio = dice.uniform(0, 1) < STUDIO_SHARE
    chosen = torch.from_numpy(np.where(in_studio, outside + dice.integers(STUDIOS), dice.integers(outside))).to(device)
    headings = dice.uniform(-math.pi, math.pi, TURNS)
    lit = _face_light(environments, chosen, torch.from_numpy(headings).to(device)).cpu().numpy() > SHADE
    turned = np.where(dice.uniform(0, 1) < POSED_SHARE, lit.argmax(1), 0)
    heading = headings[np.arange(len(headings)), turned] * np.where(in_studio, 0.1, 1.0)
    tilt = dice.normal(math.radians(TILT_DEGREES), 2)
    turns = [about(0, a) @ about(2, b) @ about(1, h) for h, (a, b) in zip(heading, tilt, strict=True)]
    return chosen, torch.stack(turns).to(device)


def _face_light(environments: Environments, chosen: Tensor, headings: Tensor) -> Tensor:
    """Luminance [S, K] that a face gets at each of the headings [S, K], of the mean light of its environment."""
    luminance = torch.einsum("c,scp->sp", environments.sky.new_tensor(LUMINANCE), environments.sky[chosen].flatten(2))
    forward = torch.stack([headings.sin(), torch.zeros_like(headings), headings.cos()], -1).to(luminance)
    cosine = (forward @ environments.directions.T).clamp(min=0)  # [S, K, P]
    return torch.einsum("skp,sp,p->sk", cosine, luminance, environments.solid_angle) / math.pi


def about(axis: int, angle: float) -> Tensor:
    """The rotation [3, 3] by `angle` radians about x, y or z."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    turn = torch.eye(3)
    turn[i, i] = turn[j, j] = math.cos(angle)
    turn[j, i], turn[i, j] = math.sin(angle), -math.sin(angle)
    return turn


def _blur_by_roughness(sky: Tensor, directions: Tensor, solid_angle: Tensor) -> Tensor:
    """Split-sum prefiltering (Karis 2013): for a mirror direction r, the mean of the sky weighted by D(h) cos(l, r)."""
    flat = sky.flatten(2).reshape(-1, len(directions))  # [E * 3, P]
    cosine = directions @ directions.T
    half = ((1 + cosine.clamp(-1, 1)) / 2).sqrt()  # the cosine between r and the half vector
    levels = []
    for roughness in torch.linspace(*ROUGHNESS_RANGE, ROUGHNESS_STEPS).tolist():
        alpha_squared = roughness**4
        lobe = alpha_squared / (half.square() * (alpha_squared - 1) + 1).square() * cosine.clamp(min=0) * solid_angle
        levels.append((flat @ (lobe / lobe.sum(1, keepdim=True)).T).reshape(sky.shape))
    return torch.stack(levels, dim=2)
