"""The fine relief of skin in millimetres: pores, the furrows between them, fine wrinkles, the grooves of lips, unevenness.

Everything is laid out on the surface of the person's own neutral head and only drawn into the head tile, each mark
through the tile's local stretch, so that a pore is as wide and as round wherever it lies, nothing repeats, and the same
seed gives the same skin at every resolution. What is narrower than a texel fades with its area.

Sizes: pores that are seen as such are wider than 0.25 mm, on the cheeks of adults (Flament et al., "Facial skin pores: a
multiethnic study", 2015); nose and forehead have more of them, and their number grows with age (Jung et al., "Analysis
of the Distribution of Pores and Factors Affecting Facial Pores", 2014); follicles lie closest on the nose and closer on
the forehead than on cheeks (Pagnoni et al., "Determination of density of follicles on various regions of the face by
cyanoacrylate biopsy", 1994). Furrows form polygons 0.02 to 0.2 mm deep; they keep their depth up to forty and then
deepen, run in one direction, and get fewer (Corcuff et al., "Skin relief and aging", 1983; "The impact of aging on the
microrelief of peri-orbital and leg skin", 1987). The lines between pores and their direction by region are those
that face scans show (Graham et al., "Measurement-Based Synthesis of Facial Microgeometry", 2013). The numbers of SKINS
were set within these bounds by eye.
"""

from dataclasses import astuple, dataclass

import cv2
import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional

from .geometry.texture import fill_holes
from .head.atlas import HeadAtlas, make_atlas
from .head.fit import FittedHead

GRID, BORDER = (
    512,
    4,
)  # side of the grid on which surface and regions are looked up; cells from a border that are no skin
METRES_TO_MILLIMETRES = 1000.0


@dataclass(frozen=True)
class Skin:
    """What the skin of a region is like in a young adult.

    density: pores per square millimetre; diameter, depth: of the median pore, mm; furrow: depth of the lines between
    pores, mm; wrinkles: length of fine wrinkles, mm per square mm at full age; groove: their depth, mm;
    bumps: unevenness of two or three millimetres, mm; grain: how much direction the furrows have, 0 to 1.
    """

    density: float
    diameter: float
    depth: float
    furrow: float
    wrinkles: float
    groove: float
    bumps: float
    grain: float


REST = "rest"
# In the order in which a region covers those before it.
SKINS = {
    REST: Skin(2.2, 0.13, 0.015, 0.014, 0.05, 0.018, 0.012, 0.3),
    "scalp": Skin(0.9, 0.12, 0.013, 0.009, 0.00, 0.010, 0.010, 0.1),
    "neck": Skin(1.3, 0.11, 0.010, 0.017, 0.18, 0.030, 0.012, 0.8),
    "ear": Skin(1.5, 0.09, 0.008, 0.009, 0.00, 0.010, 0.008, 0.1),
    "forehead": Skin(2.8, 0.12, 0.014, 0.014, 0.22, 0.026, 0.012, 0.6),
    "cheek": Skin(2.4, 0.17, 0.028, 0.014, 0.05, 0.018, 0.016, 0.4),
    "beard": Skin(2.4, 0.15, 0.021, 0.012, 0.06, 0.018, 0.018, 0.3),
    "chin": Skin(2.4, 0.17, 0.026, 0.009, 0.00, 0.015, 0.028, 0.1),
    "nose": Skin(4.0, 0.16, 0.030, 0.005, 0.00, 0.010, 0.014, 0.0),
    "brow": Skin(2.4, 0.13, 0.014, 0.011, 0.05, 0.015, 0.012, 0.2),
    "eyelid": Skin(1.8, 0.08, 0.005, 0.010, 0.25, 0.026, 0.006, 0.8),
    "lip": Skin(0.0, 0.10, 0.000, 0.000, 2.00, 0.034, 0.016, 0.0),
}
PATCH_SIZE, PATCHES, FADE = 5.0, 0.3, 0.35  # mm; spread of the logarithm of the density; of furrows
PORE_SPREAD = 0.42  # standard deviation of the logarithm of a pore's diameter
WIDEST_PORE = 0.55  # mm
STRETCHED_PORE = 0.5  # how much longer than wide a pore is where the skin has a full grain
MOVES, MOVE = 2, 0.45  # rounds in which points keep away from each other, share of what is missing
NEIGHBOURS = 4
FURROW_WIDTH, WRINKLE_WIDTH, LIP_WIDTH = 0.065, 0.09, 0.13  # standard deviations of the profiles, mm
LONGEST_WAY, MOST_POINTS = 1.3, 40  # points of a line a texel, at the mean stretch, and at most
CURVATURE = 0.16  # of a furrow, in its own lengths
MOSTLY, LEAST_WRINKLES = 0.3, 0.02  # share from which a place is lip; mm per square mm below which there are none
SHARPEST_TURN = 0.7  # cosine of the turn at which a wrinkle ends
STEP = 0.35  # mm between the turns of a wrinkle
WRINKLE_LENGTH, LIP_LENGTH = (4.0, 22.0), (3.5, 9.0)  # mm
WANDER, LIP_WANDER = 0.08, 0.04  # radians a step
BUMP_SIZES, BUMP_SHARES = (3.4, 1.7), (0.7, 0.55)  # mm between the bumps; shares of the unevenness
LATTICE, NODE_SHARE = 64, 0.5  # nodes a side of the solid noise, and how far apart they are, in bumps
NOISE_SIDE = 1024  # texels a side on which noise is made; the smallest bumps are four of them wide
MEAN_SIDE = 400.0  # mm that the tile's side is long on the mean face
SPLAT_VARIANCE, LEAST_BLUR = 0.25, 0.35  # texels², texels: of a point shared out to four texels; not worth a blur
TEXEL_VARIANCE = 0.2  # texels²: of the filter that a texel is
CROWS_FEET = (0.017, 0.034)  # metres from the centre of the eye, where they start and end
CUTOFF = 2.6  # standard deviations at which a pore ends
CHUNK = 1 << 16


@dataclass(frozen=True)
class Relief:
    """Fine relief on the head tile.

    height [T, T] mm, 0 on average; pores, lines [T, T] mm, at least 0: how deep pores, and furrows with wrinkles, go.
    """

    height: Tensor
    pores: Tensor
    lines: Tensor


@dataclass(frozen=True)
class Sheet:
    """The surface of a head on the head tile; places [P, 2] are (x right, y down) in [0, 1].

    fields [C, G, G]: position (3, mm), its growth along x and along y (3 + 3, mm a side), the direction in which the
    skin creases (3, unit vector along the surface), the numbers of Skin in their order (8), and the share of lips.
    """

    fields: Tensor

    @property
    def skin(self) -> Skin:
        """Each number [G, G]."""
        return Skin(*self.fields[12:20])

    @property
    def lip(self) -> Tensor:
        """[G, G] in [0, 1]."""
        return self.fields[20]

    def at(self, places: Tensor) -> "Spot":
        grid = (places * 2 - 1)[None, None]
        values = functional.grid_sample(self.fields[None], grid, padding_mode="border", align_corners=False)
        position, along_x, along_y, crease, skin, _ = values[0, :, 0].T.split((3, 3, 3, 3, 8, 1), dim=1)
        normal = functional.normalize(torch.linalg.cross(along_x, along_y), dim=1)
        crease = functional.normalize(crease - (crease * normal).sum(1, keepdim=True) * normal, dim=1)
        return Spot(position, along_x, along_y, crease, Skin(*skin.unbind(1)))


@dataclass(frozen=True)
class Spot:
    """The surface at P places; skin holds [P] for every number."""

    position: Tensor
    along_x: Tensor
    along_y: Tensor
    crease: Tensor
    skin: Skin

    @property
    def normal(self) -> Tensor:
        """[P, 3] across the surface; as long as the area of the tile is there, mm²."""
        return torch.linalg.cross(self.along_x, self.along_y)

    @property
    def area(self) -> Tensor:
        """[P] mm² that the whole tile would have if it were all like here."""
        return self.normal.norm(dim=1).clamp(min=1e-3)

    def beside(self) -> Tensor:
        """[P, 3] unit vectors along the surface, at right angles to the crease."""
        return torch.linalg.cross(functional.normalize(self.normal, dim=1), self.crease)

    def move(self, millimetres: Tensor) -> Tensor:
        """Steps in space [P, 3] mm, along the surface, as steps in the tile [P, 2]."""
        xx, xy, yy = (self.along_x**2).sum(1), (self.along_x * self.along_y).sum(1), (self.along_y**2).sum(1)
        on_x, on_y = (millimetres * self.along_x).sum(1), (millimetres * self.along_y).sum(1)
        area = (xx * yy - xy * xy).clamp(min=1e-6)
        return torch.stack([yy * on_x - xy * on_y, xx * on_y - xy * on_x], 1) / area[:, None]


def make_sheet(head: FittedHead) -> Sheet:
    """The surface of the neutral head and the kind of its skin, at every place of the tile."""
    model = head.model
    atlas = make_atlas(model, GRID)
    position = atlas.bake(head.fine_neutral_vertices()) * METRES_TO_MILLIMETRES
    inside = _eroded(atlas.mask)
    position = fill_holes(position[None], atlas.mask[None, None])[0]
    along_x, along_y = (torch.gradient(position, dim=axis)[0] * GRID for axis in (2, 1))
    steps = fill_holes(torch.cat([along_x, along_y])[None], inside[None, None])[0]
    crease = _crease_directions(head, position, atlas)
    fields = torch.cat([position, steps, crease, _skin_fields(atlas), atlas.region("lip")[None]])
    return Sheet(fields.cpu())


def metric(sheet: Sheet) -> Tensor:
    """Lengths and angle of the tile's steps [3, G, G]: along x squared, along x times along y, along y squared (mm²)."""
    along_x, along_y = sheet.fields[3:6], sheet.fields[6:9]
    return torch.stack([(along_x**2).sum(0), (along_x * along_y).sum(0), (along_y**2).sum(0)])


def cell_area(sheet: Sheet) -> Tensor:
    """[G, G] mm² of the surface in a cell of the grid."""
    xx, xy, yy = metric(sheet)
    return (xx * yy - xy**2).clamp(min=0).sqrt() / GRID**2


def make_relief(sheet: Sheet, size: int, seed: int, age: float) -> Relief:
    """Fine relief at `size` texels a side. age in [0, 1]: 0 a young adult, 1 very old."""
    random = np.random.default_rng(seed)
    sheet = _patchy(sheet, random)
    places, neighbours = scatter_pores(sheet, random)
    spot = sheet.at(places)
    pores = _draw_pores(places, spot, size, random, age)
    strokes = [_furrows(places, spot, neighbours, random, age, size), *_wrinkles(sheet, random, age, size)]
    lines = _draw_lines(strokes, size)
    height = _bumps(sheet, size, random)
    height -= pores
    height -= lines
    return Relief(height, pores, lines)


# ---- the surface ----


def _eroded(mask: Tensor) -> Tensor:
    """[G, G] without the cells at the border, whose surface is folded in where it goes on inside mouth and lids."""
    return (functional.max_pool2d(1 - mask[None, None].float(), 2 * BORDER + 1, 1, BORDER)[0, 0] < 0.5).float()


def _skin_fields(atlas: HeadAtlas) -> Tensor:
    """[8, G, G] the numbers of Skin; nothing where there is no skin."""
    numbers = torch.tensor([astuple(skin) for skin in SKINS.values()], device=atlas.mask.device)
    field = numbers[0][:, None, None].expand(-1, atlas.size, atlas.size)
    for name, row in zip(list(SKINS)[1:], numbers[1:], strict=True):
        field = torch.lerp(field, row[:, None, None].expand_as(field), atlas.region(name))
    return field * _eroded(atlas.mask & (atlas.region("skin") > 0.99))


def _crease_directions(head: FittedHead, position: Tensor, atlas: HeadAtlas) -> Tensor:
    """[3, G, G] where fine creases run: across forehead and neck, round the eyes' outer corners like rays, down the
    lips and from the nose down and outwards on the cheeks (Kraissl's lines of the relaxed skin)."""
    model = head.model
    x, y = position[0], position[1]
    across = torch.stack([torch.ones_like(x), torch.zeros_like(x), torch.zeros_like(x)])
    down = torch.stack([0.55 * x.sign() * (x.abs() / 20).clamp(max=1), -torch.ones_like(x), torch.zeros_like(x)])
    brow_line = position.new_tensor(12.0)
    mouth = _centre_of(head, atlas, "lip")
    beyond = (y - mouth[1]).sign() * (y - mouth[1]).abs().clamp(min=6.0)
    fan = -beyond.sign() * torch.stack([0.3 * (x - mouth[0]), beyond, torch.zeros_like(x)])  # down, as on the cheeks
    is_low = atlas.region("neck")
    direction = torch.lerp(down, across, torch.maximum(is_low, ((y - brow_line) / 15).clamp(0, 1)))
    centres = model.eyes(head.neutral_vertices)[0] * METRES_TO_MILLIMETRES
    for centre in centres:
        ray = position - centre[:, None, None]
        distance = ray.norm(dim=0) / METRES_TO_MILLIMETRES
        beside = (ray[0] * centre[0].sign() / ray[:2].norm(dim=0).clamp(min=1e-3)).clamp(min=0)
        low, high = CROWS_FEET
        near = ((high + 0.01 - distance) / 0.01).clamp(0, 1) * ((distance - low + 0.006) / 0.006).clamp(0, 1)
        direction = torch.lerp(direction, functional.normalize(ray, dim=0), near * beside)
    return functional.normalize(torch.lerp(direction, fan, atlas.region("lip")), dim=0)


def _centre_of(head: FittedHead, atlas: HeadAtlas, region: str) -> Tensor:
    """Mean position [3] of a region of the neutral head, mm."""
    weight = head.model.regions[region].float()
    vertices = head.fine_neutral_vertices() * METRES_TO_MILLIMETRES
    return (vertices * weight[:, None]).sum(0) / weight.sum()


def _patchy(sheet: Sheet, random: np.random.Generator) -> Sheet:
    """No two patches of skin are alike: pores lie closer here, and there the furrows all but vanish."""
    fields = sheet.fields.clone()
    fields[12] *= (PATCHES * surface_noise(sheet, GRID, PATCH_SIZE, random)).exp()
    fields[15] *= (1 + FADE * surface_noise(sheet, GRID, PATCH_SIZE, random)).clamp(min=0)
    return Sheet(fields)


# ---- where pores lie ----


def scatter_pores(sheet: Sheet, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Places of pores [P, 2], as dense as the skin wants and apart from each other, and the nearest others [P, K]."""
    places = torch.from_numpy(_systematic(np.float64(sheet.skin.density * cell_area(sheet)), random))
    for _ in range(MOVES):
        spot = sheet.at(places)
        tree = cKDTree(spot.position.numpy(), balanced_tree=False)
        distance, neighbours = tree.query(spot.position.numpy(), NEIGHBOURS + 1, workers=torch.get_num_threads())
        distance, neighbours = torch.from_numpy(distance[:, 1:]).float(), torch.from_numpy(neighbours[:, 1:])
        wanted = (2 / 3**0.5 / spot.skin.density.clamp(min=0.3)).sqrt()[:, None]  # side of the triangular lattice
        apart = (spot.position[:, None] - spot.position[neighbours]) / distance.clamp(min=1e-3)[..., None]
        push = (MOVE * (wanted - distance).clamp(min=0))[..., None] * apart
        places = (places + spot.move(push.sum(1))).clamp(0, 1)
    return places, neighbours


def _systematic(expected: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Places [P, 2] whose number in every cell of [G, G] is as expected: one at every unit of a sum along a curve.

    The curve is Morton's, so that what one cell has too few its neighbours have more.
    """
    size = len(expected)
    order = _morton(size)
    total = np.cumsum(expected.ravel()[order]) + random.random()
    count = np.diff(np.floor(total), prepend=np.floor(total[0] - expected.ravel()[order[0]])).astype(np.int64)
    cell = np.repeat(order, count)
    corner = np.stack([cell % size, cell // size], 1)
    return ((corner + random.random((len(cell), 2))) / size).astype(np.float32)


def _morton(size: int) -> np.ndarray:
    """The cells of a square whose side is a power of two along Morton's curve."""
    y, x = np.divmod(np.arange(size * size), size)
    code = np.zeros(size * size, np.int64)
    for bit in range(size.bit_length() - 1):
        code |= ((x >> bit) & 1) << (2 * bit) | ((y >> bit) & 1) << (2 * bit + 1)
    return np.argsort(code)


# ---- drawing ----


def _draw_pores(places: Tensor, spot: Spot, size: int, random: np.random.Generator, age: float) -> Tensor:
    """Depth [T, T] mm of pores: Gaussian dents, longer along the crease where the skin has a grain."""
    factor = torch.from_numpy(np.exp(PORE_SPREAD * random.standard_normal(len(places)).astype(np.float32)))
    diameter = (spot.skin.diameter * factor * (1 + 0.25 * age)).clamp(max=WIDEST_PORE)
    depth = spot.skin.depth * factor.clamp(max=2.2) * (1 + 0.2 * age)
    sigma = diameter / 3
    longer = 1 + STRETCHED_PORE * (torch.from_numpy(random.random(len(places), np.float32)) + spot.skin.grain * age)
    free = (1 - spot.skin.grain) * torch.from_numpy(random.random(len(places), np.float32) - 0.5) * torch.pi
    shape = _tile_shape(spot, sigma, longer, free, size)
    depth = depth * _kept(sigma, sigma * longer, shape, spot, size)
    reach = (CUTOFF * torch.maximum(shape[:, 0], shape[:, 2]).sqrt()).ceil().clamp(max=12).long()
    image = torch.zeros(size * size)
    for radius in reach.unique().tolist():
        for chosen in (reach == radius).nonzero()[:, 0].split(CHUNK):
            _stamp(image, places[chosen] * size, shape[chosen], depth[chosen], radius, size)
    return image.view(size, size)


def _tile_shape(spot: Spot, sigma: Tensor, longer: Tensor, turn: Tensor, size: int) -> Tensor:
    """Covariances [P, 3] (xx, xy, yy) in texels of Gaussians on the surface, and of the texel itself."""
    crease, beside = spot.crease, spot.beside()
    cosine, sine = turn.cos()[:, None], turn.sin()[:, None]
    along = spot.move(crease * cosine + beside * sine) * size  # a millimetre along the pore, in texels
    beside = spot.move(beside * cosine - crease * sine) * size
    along, beside = along * (sigma * longer)[:, None], beside * sigma[:, None]
    xx, yy = along[:, 0] ** 2 + beside[:, 0] ** 2, along[:, 1] ** 2 + beside[:, 1] ** 2
    xy = along[:, 0] * along[:, 1] + beside[:, 0] * beside[:, 1]
    return torch.stack([xx + TEXEL_VARIANCE, xy, yy + TEXEL_VARIANCE], 1)


def _kept(sigma: Tensor, long_sigma: Tensor, shape: Tensor, spot: Spot, size: int) -> Tensor:
    """[P] how much of its depth a dent keeps when the texel's filter widens it: its volume stays."""
    widened = (shape[:, 0] * shape[:, 2] - shape[:, 1] ** 2).clamp(min=1e-12).sqrt()
    return (sigma * long_sigma * size**2 / spot.area / widened).clamp(max=1)


def _stamp(image: Tensor, centre: Tensor, shape: Tensor, depth: Tensor, radius: int, size: int) -> None:
    """Add Gaussians to `image` [T * T]; centre [P, 2] in texels, shape [P, 3] covariances."""
    window = torch.arange(-radius, radius + 1)
    corner = centre.floor()
    dx = window + 0.5 - (centre[:, :1] - corner[:, :1])  # [P, 2R + 1]
    dy = window + 0.5 - (centre[:, 1:] - corner[:, 1:])
    xx, xy, yy = shape.unbind(1)
    scale = -0.5 / (xx * yy - xy * xy)
    exponent = (yy * scale)[:, None, None] * (dx**2)[:, None] + (xx * scale)[:, None, None] * (dy**2)[:, :, None]
    exponent -= (2 * xy * scale)[:, None, None] * (dy[:, :, None] * dx[:, None])
    value = exponent.exp_().mul_(depth[:, None, None])  # [P, 2R + 1 rows, 2R + 1 columns]
    column = (corner[:, :1].long() + window).clamp(0, size - 1)
    row = (corner[:, 1:].long() + window).clamp(0, size - 1) * size
    image.index_add_(0, (row[:, :, None] + column[:, None]).view(-1), value.view(-1))


@dataclass(frozen=True)
class Strokes:
    """Points along lines: places [P, 2]; mass [P] mm, the volume of the groove at the point over the area of a texel;
    width: standard deviation of the groove's profile, mm."""

    places: Tensor
    mass: Tensor
    width: float


def _furrows(places: Tensor, spot: Spot, neighbours: Tensor, random, age: float, size: int) -> Strokes:
    """Bent lines from pore to pore; deeper along the crease, more so with age."""
    here = torch.arange(len(places))[:, None].expand_as(neighbours)
    once = here < neighbours
    first, last = here[once], neighbours[once]
    way = spot.position[last] - spot.position[first]
    length = way.norm(dim=1)
    along = (way * spot.crease[first]).sum(1).abs() / length.clamp(min=1e-3)
    grain = (spot.skin.grain[first] * (1 + age)).clamp(max=1)
    depth = spot.skin.furrow[first] * (1 + 1.2 * age * along) * (1 - grain + 2 * grain * along**2)
    chance = torch.from_numpy(random.random((2, len(first)), np.float32))
    depth = depth * (0.45 + 1.1 * chance[0])
    fine = (length < 2.5) & (depth > 1e-4)
    first, last, length, depth, bend = first[fine], last[fine], length[fine], depth[fine], chance[1][fine] * 2 - 1
    texels = size / spot.area.sqrt()  # a millimetre
    count = (length * texels[first] * LONGEST_WAY).ceil().clamp(2, MOST_POINTS).long()
    line = torch.repeat_interleave(torch.arange(len(first)), count)
    step = torch.arange(len(line)) - (count.cumsum(0) - count)[line]
    t = ((step + 0.5) / count[line])[:, None]
    start, span = places[first][line], (places[last] - places[first])[line]
    aside = torch.stack([-span[:, 1], span[:, 0]], 1) * (CURVATURE * bend[line])[:, None]
    where = start + span * t + aside * (4 * t * (1 - t))
    taper = 0.55 + 0.9 * (t[:, 0] - 0.5).abs()  # shallower half way
    section = depth * _drawn_width(FURROW_WIDTH, texels[first], size)
    mass = (section * length * texels[first] / count)[line] * taper
    return Strokes(where, mass, FURROW_WIDTH)


def _drawn_width(width: float, texels: Tensor, size: int) -> Tensor:
    """Texels across which a groove of depth 1 spreads; texels [P]: in a millimetre. No wider than `_draw_lines` draws
    it, so that none gets deeper where the tile is stretched."""
    return width * texels.clamp(max=size / MEAN_SIDE) * (2 * np.pi) ** 0.5


@dataclass(frozen=True)
class Kind:
    """A kind of line: its shortest and longest length, mm; the standard deviation of its profile, mm; how much it
    turns, radians a step; its depth, in grooves of the skin."""

    length: tuple[float, float]
    width: float
    wander: float
    depth: float


def _wrinkles(sheet: Sheet, random: np.random.Generator, age: float, size: int) -> list[Strokes]:
    """Fine wrinkles of skin, which come with age, and the grooves of lips, which everybody has."""
    lip = sheet.lip
    length = sheet.skin.wrinkles * cell_area(sheet)  # mm of wrinkle in a cell
    skin = Kind(WRINKLE_LENGTH, WRINKLE_WIDTH, WANDER, 0.4 + 1.3 * age)
    lips = Kind(LIP_LENGTH, LIP_WIDTH, LIP_WANDER, 1.0)
    on_lips = (lip >= MOSTLY).float()
    outside = length * (0.25 + 0.75 * age) * (1 - on_lips)
    return [
        _trace(sheet, outside, 1 - on_lips, skin, random, size),
        _trace(sheet, length * on_lips, on_lips, lips, random, size),
    ]


def _trace(sheet: Sheet, density: Tensor, inside: Tensor, kind: Kind, random, size: int) -> Strokes:
    """Lines that follow the creases; density [G, G]: mm of them in a cell; inside [G, G]: where they may go on."""
    places = torch.from_numpy(_systematic(np.float64(density / np.mean(kind.length)), random))
    count = len(places)
    uniform = lambda: torch.from_numpy(random.random(count, np.float32))
    length = kind.length[0] + (kind.length[1] - kind.length[0]) * uniform() ** 2
    state = torch.stack([length, kind.depth * (0.3 + 1.2 * uniform()), (uniform() - 0.5) * 4 * kind.wander,
                         (uniform() - 0.5) * kind.wander], 1)  # fmt: skip
    heading = sheet.at(places).crease * torch.sign(uniform() - 0.5)[:, None]
    path, mass = [], []
    fine = max(1, int(np.ceil(STEP * size / MEAN_SIDE * LONGEST_WAY)))  # points a step
    for step in range(int(kind.length[1] / STEP)):
        spot = sheet.at(places)
        length, strength, turn, drift = state.unbind(1)
        t = step * STEP / length
        ahead = (spot.crease * heading).sum(1)
        side = torch.where(ahead < 0, -1.0, 1.0)[:, None]  # a crease has no sense, a line has
        heading = side * (spot.crease * turn.cos()[:, None] + spot.beside() * turn.sin()[:, None])
        way = spot.move(heading * STEP)
        texels = size / spot.area.sqrt()
        cell = (places * GRID).long().clamp(0, GRID - 1)
        depth = spot.skin.groove * strength * (4 * t * (1 - t)).clamp(0, 1) ** 0.7 * inside[cell[:, 1], cell[:, 0]]
        for part in range(fine):
            path.append(places + way * (part + 0.5) / fine)
            mass.append(depth * _drawn_width(kind.width, texels, size) * texels * STEP / fine)
        going = (t < 1) & (spot.skin.wrinkles > LEAST_WRINKLES) & (ahead.abs() > SHARPEST_TURN)
        noise = torch.from_numpy(random.standard_normal(len(places)).astype(np.float32))
        state[:, 2] = turn + drift + noise * kind.wander
        places, state, heading = (places + way).clamp(0, 1)[going], state[going], heading[going]
        if not len(places):
            break
    return Strokes(torch.cat(path), torch.cat(mass), kind.width)


def _draw_lines(strokes: list[Strokes], size: int) -> Tensor:
    """Depth [T, T] mm of lines, each as wide as it is on the mean head, and never narrower than a texel."""
    drawn = torch.zeros(size, size)
    for width in {stroke.width for stroke in strokes}:
        image = torch.zeros(size * size)
        for stroke in strokes:
            if stroke.width == width:
                _splat(image, stroke.places * size - 0.5, stroke.mass, size)
        sigma = (max(0.0, (width * size / MEAN_SIDE) ** 2 - SPLAT_VARIANCE)) ** 0.5
        layer = image.view(size, size)
        if sigma > LEAST_BLUR:
            layer = torch.from_numpy(cv2.GaussianBlur(layer.numpy(), (0, 0), sigma))
        drawn += layer
    return drawn


def _splat(image: Tensor, pixel: Tensor, mass: Tensor, size: int) -> None:
    """Share every point out to the four texels round it, in `image` [T * T]; pixel [P, 2] counts from texel centres."""
    for chosen in range(0, len(pixel), 8 * CHUNK):
        part, weight = pixel[chosen : chosen + 8 * CHUNK], mass[chosen : chosen + 8 * CHUNK]
        corner = part.floor()
        fx, fy = (part - corner).unbind(1)
        left, top = corner.long().clamp(0, size - 2).unbind(1)
        index = top * size + left
        low, high = weight * (1 - fy), weight * fy
        image.index_add_(0, index, low * (1 - fx))
        image.index_add_(0, index + 1, low * fx)
        image.index_add_(0, index + size, high * (1 - fx))
        image.index_add_(0, index + size + 1, high * fx)


def _bumps(sheet: Sheet, size: int, random: np.random.Generator) -> Tensor:
    """Unevenness [T, T] mm, soft and without direction."""
    coarse = min(size, NOISE_SIDE)
    bumps = torch.zeros(coarse, coarse)
    for spacing, share in zip(BUMP_SIZES, BUMP_SHARES, strict=True):
        bumps += share * surface_noise(sheet, coarse, spacing, random)
    return enlarge_smoothly(bumps * _resized(sheet.skin.bumps, coarse), size)


def surface_noise(sheet: Sheet, size: int, spacing: float, random: np.random.Generator) -> Tensor:
    """Smooth noise [T, T] of variance 1 whose bumps are `spacing` mm apart on the surface, in whatever direction.

    It is a solid noise (Perlin 1985; Peachey 1985, "Solid texturing of complex surfaces") cut by the surface, so the
    tile's stretch and seams do not show in it.
    """
    nodes = random.standard_normal((LATTICE,) * 3).astype(np.float32)
    for axis in range(3):
        nodes = np.roll(nodes, 1, axis) + 2 * nodes + np.roll(nodes, -1, axis)
    nodes = torch.from_numpy(np.pad(nodes / nodes.std(), (0, 1), mode="wrap"))
    turn = torch.linalg.qr(torch.from_numpy(random.standard_normal((3, 3)).astype(np.float32)))[0]
    position = torch.stack([_resized(axis, size) for axis in sheet.fields[:3]], dim=-1)
    node = (position @ turn / (NODE_SHARE * spacing)) % LATTICE
    grid = (node / LATTICE * 2 - 1)[None, None]
    return functional.grid_sample(nodes[None, None], grid, align_corners=True)[0, 0, 0]


def _resized(field: Tensor, size: int) -> Tensor:
    return torch.from_numpy(cv2.resize(field.numpy(), (size, size), interpolation=cv2.INTER_LINEAR))


def enlarge(field: Tensor, size: int) -> Tensor:
    """[t, t] -> [T, T], bicubic."""
    if field.shape[-1] == size:
        return field.clone()
    return torch.from_numpy(cv2.resize(field.numpy(), (size, size), interpolation=cv2.INTER_CUBIC))


def enlarge_smoothly(height: Tensor, size: int) -> Tensor:
    """[t, t] -> [T, T] without ripples: OpenCV's cubic (a = -0.75) does not keep a slope straight, and slopes are what a
    normal map shows. Linear interpolation does, and a box of a texel rounds its bends."""
    step = size // height.shape[-1]
    if step < 2:
        return enlarge(height, size)
    linear = cv2.resize(height.numpy(), (size, size), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(cv2.blur(linear, (step + 1, step + 1)))
