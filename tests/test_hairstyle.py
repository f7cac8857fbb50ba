"""The hair outside the bare head: drawn around a synthetic one, it is found as it was drawn."""

import cv2
import numpy as np
import pytest
import torch
from synthetic_head import camera_at, face_of, known_head

from id2r_core.conventions import FRINGE_COLUMNS, linear_to_srgb, srgb_to_linear
from id2r_core.cover import eroded_by, find_cover, over_forehead, person_in_photo
from id2r_core.hairstyle import ANGLES, MOST_HEIGHT, _lit_colour, _where, see_fringe, see_hairstyle
from id2r_core.head.atlas import make_atlas
from id2r_core.head.model import load_head
from id2r_core.photo import Photo

SIZE = 700
HAIR, GROUND = np.array([0.10, 0.05, 0.03], np.float32), np.array([0.1, 0.2, 0.6], np.float32)


@pytest.fixture(scope="module")
def head():
    return known_head(load_head(), camera_at(size=SIZE))


def place_in_photo(head, points) -> np.ndarray:
    """Pixels [P, 2] of points [P, 2], x and y above the eyes, in the plane through the ears, metres."""
    eyes = head.model.eyes(head.vertices)[0].mean(0)
    depth = head.fine_vertices()[head.model.regions["ear"] > 0.5][:, 2].mean()
    points = torch.tensor(points, dtype=torch.float32)
    world = torch.cat([points + eyes[:2], depth.expand(len(points), 1)], -1)
    return head.camera.project(world)[0, :, :2].numpy()


def drawn(head, thickness=0.0, fall=None) -> tuple[Photo, np.ndarray]:
    """A head with hair of a thickness above the eyes, and locks beside it down to `fall` on its left, metres; and the person,
    without its edge as `person_in_photo` finds it."""
    outline = head.camera.project(head.vertices)[0, :, :2].numpy()
    bare = cv2.fillConvexPoly(np.zeros((SIZE, SIZE), np.uint8), cv2.convexHull(outline.round().astype(np.int32)), 1)
    metre = np.ptp(place_in_photo(head, [[0.0, 0.0], [0.1, 0.0]])[:, 0]) * 10
    pixels = round(thickness * metre)
    hair = cv2.dilate(bare, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1,) * 2))
    eyes = int(place_in_photo(head, [[0.0, 0.0]])[0, 1])
    hair[eyes:] = bare[eyes:]
    if fall:
        lock = place_in_photo(head, [[0.06, 0.02], [0.115, 0.02], [0.115, -fall], [0.06, -fall]])
        cv2.fillPoly(hair, [lock.round().astype(np.int32)], 1)
    colour = np.where(hair[..., None] > 0, HAIR, GROUND)
    colour[bare > 0] = (0.4, 0.25, 0.2)
    edge = 2 * round(eroded_by(hair.shape)) + 1
    person = cv2.erode(hair, np.ones((edge, edge)), borderValue=1)
    return Photo(linear_to_srgb(colour), "drawn.png"), (person > 0).astype(np.float32)


def as_seen(head, *drawing):
    photo, person = drawn(head, *drawing)
    return photo, face_of(head), head, person


def test_a_bare_head_has_no_style(head):
    photo, person = drawn(head)
    assert see_hairstyle(photo, face_of(head), head, person) is None


@pytest.mark.parametrize("thickness", [0.015, 0.04])
def test_its_colour_and_height_are_those_of_the_photo(head, thickness):
    style = see_hairstyle(*as_seen(head, thickness))
    assert style.linear == pytest.approx(HAIR, rel=0.02)
    above = (ANGLES > 20) & (ANGLES < 160)
    assert style.height[above] == pytest.approx(np.full(above.sum(), thickness), abs=0.0025)
    assert style.fall == (0.0, 0.0)


def test_its_colour_is_that_of_lit_hair_and_no_gleam():
    """Shade between strands is darker and more saturated; gleams are white."""
    lit, shade, gleam = np.array([0.2, 0.12, 0.06]), np.array([0.05, 0.02, 0.005]), np.array([0.9, 0.9, 0.9])
    found = _lit_colour(np.concatenate([np.tile(lit, (55, 1)), np.tile(shade, (40, 1)), np.tile(gleam, (5, 1))]))
    assert found / found.sum() == pytest.approx(lit / lit.sum(), rel=0.05)
    assert shade.mean() < found.mean() < lit.mean()
    black = _lit_colour(np.zeros((50, 3), np.float32))
    assert (black == 0.0).all()


@pytest.mark.parametrize("degrees", [0.0, 45.0, -70.0])
def test_hair_stands_and_hangs_along_the_head_however_it_is_held(degrees):
    rolled = known_head(load_head(), camera_at(size=SIZE, roll_degrees=degrees))
    over, stands, hangs = _where(face_of(rolled), rolled, (SIZE, SIZE), (0.15, 0.06))
    above, left, right, low = place_in_photo(rolled, [[0.07, 0.08], [0.1, -0.1], [-0.1, -0.1], [0.1, -0.18]]).astype(
        int
    )
    at = lambda mask, place: bool(mask[place[1], place[0]])
    assert at(over, above) and at(stands, above) and not at(hangs, above)
    assert not at(over, left) and not at(over, low)
    assert at(hangs, left) and not at(stands, left)
    assert not at(hangs, right) and not at(hangs, low)  # which hangs down to 6 cm, and to 15


@pytest.mark.parametrize("is_plain", [True, False])
def test_hair_of_any_width_is_of_the_person_before_a_plain_backdrop(head, is_plain):
    """Speckled hair as wide as the shoulders; a backdrop of all colours does not tell."""
    photo, _ = drawn(head, 0.09)
    is_hair = is_drawn_hair(photo)
    speckled = np.random.default_rng(0).choice([0.05, 0.3], photo.srgb.shape[:2] + (1,)).astype(np.float32)
    ground = photo.srgb if is_plain else np.random.default_rng(1).uniform(0.0, 1.0, photo.srgb.shape).astype(np.float32)
    is_ground = np.abs(srgb_to_linear(photo.srgb) - GROUND).max(-1, keepdims=True) < 1e-3
    shown = np.where(is_hair, speckled * [1.0, 0.7, 0.5], np.where(is_ground, ground, photo.srgb)).astype(np.float32)
    person = person_in_photo(Photo(shown, "drawn.png"), face_of(head), head)
    assert not is_plain or (person > 0.5)[is_hair[..., 0]].mean() > 0.8
    assert (person > 0.5)[is_ground[..., 0]][: SIZE * 40].mean() < 0.2


@pytest.mark.parametrize("fall", [None, 0.14])
def test_hair_is_seen_whole_whatever_gleams_in_it(head, fall):
    """Two in five of its strands are four times as bright, or nearly black; hanging hair as well."""
    photo, face, _, person = as_seen(head, 0.03, fall)
    is_hair = is_drawn_hair(photo)
    factor = np.random.default_rng(0).choice([1.0, 1.0, 1.0, 4.0, 0.05], photo.srgb.shape[:2] + (1,))
    lit = linear_to_srgb((srgb_to_linear(photo.srgb) * np.where(is_hair, factor, 1.0)).clip(0, 1)).astype(np.float32)
    shown = see_hairstyle(Photo(lit, "drawn.png"), face, head, person).off_head
    plain = see_hairstyle(photo, face, head, person).off_head
    assert shown[plain].mean() > 0.97


@pytest.mark.parametrize("cloth", [(0.01, 0.012, 0.03), (0.03, 0.03, 0.03), (0.4, 0.25, 0.2)])
def test_neither_dark_clothes_nor_bare_shoulders_are_hair(head, cloth):
    """All across the photo, from beside the neck down; locks hang over them on one side."""
    photo, face, _, person = as_seen(head, 0.03, 0.1)
    is_hair, low = is_drawn_hair(photo)[..., 0], int(place_in_photo(head, [[0.0, -0.06]])[0, 1])
    shown, worn = srgb_to_linear(photo.srgb), person.copy()
    is_ground = np.abs(shown - GROUND).max(-1) < 1e-3
    is_ground[:low] = False
    shown[is_ground], worn[low:] = cloth, 1.0
    style = see_hairstyle(Photo(linear_to_srgb(shown).astype(np.float32), "drawn.png"), face, head, worn)
    assert style.fall == pytest.approx((0.1, 0.0), abs=0.02)
    assert (style.off_head & ~is_hair).sum() < 0.03 * is_hair.sum()
    assert style.off_head[is_hair & (person > 0)].mean() > 0.2  # the rest of it is before the head


def test_hair_hangs_where_it_hangs_in_the_photo(head):
    left, right = see_hairstyle(*as_seen(head, 0.02, 0.14)).fall
    assert left == pytest.approx(0.14, abs=0.015) and right == 0.0


def test_a_person_without_an_end_is_not_all_hair(head):
    photo, person = drawn(head, 0.02)
    style = see_hairstyle(photo, face_of(head), head, np.ones_like(person))
    assert style.height.max() <= MOST_HEIGHT


def test_on_the_tile_the_outline_goes_round_the_head(head):
    style = see_hairstyle(*as_seen(head, 0.03, 0.14))
    atlas = make_atlas(head.model, 128)
    height, fall = style.on_tile(atlas)
    top = (atlas.region("scalp") > 0.5) & (atlas.surface[1] > 0.08)
    assert height[top].mean() == pytest.approx(0.03, rel=0.25)
    nape = (atlas.surface[1] < -0.05) & (atlas.surface[0] < -0.03) & atlas.mask
    assert height[nape].max() < 0.001  # on the right nothing hangs
    left, right = (side & atlas.mask for side in (atlas.surface[0] > 0.04, atlas.surface[0] < -0.04))
    assert fall[left].min() > 0.1 and fall[right].max() == 0.0


@pytest.fixture(scope="module")
def atlas(head):
    return make_atlas(head.model, 256)


def with_fringe(atlas, lowest) -> torch.Tensor:
    """Log-albedo of skin with dark hair above a height [T, T] or a number, metres above the eyes, over brows and all."""
    skin = torch.tensor([0.4, 0.25, 0.2])[:, None, None]
    hair = torch.from_numpy(HAIR)[:, None, None] * (0.8 + 0.4 * torch.rand(atlas.size, atlas.size))
    return torch.where(atlas.surface[1] > lowest, hair, skin).log()


def fringe_of(head, atlas, log_albedo):
    trust, skin = atlas.mask.float(), atlas.region("cheek") * atlas.mask
    hair = find_cover(log_albedo, trust, 0 * trust, atlas).hair
    return see_fringe(over_forehead(log_albedo, hair, skin, atlas), head, atlas)


def test_a_fringe_ends_where_it_ends_in_the_photo(head, atlas):
    sloping = 0.026 - 0.15 * atlas.surface[0]
    lowest = fringe_of(head, atlas, with_fringe(atlas, sloping))
    columns = np.array(FRINGE_COLUMNS)
    middle = np.abs(columns) < 0.045
    assert not np.isnan(lowest[middle]).any()
    assert np.polyfit(columns[middle], lowest[middle], 1)[0] == pytest.approx(-0.15, abs=0.04)
    for height in (0.02, 0.03):
        found = fringe_of(head, atlas, with_fringe(atlas, height))[middle]
        assert found == pytest.approx(np.full(middle.sum(), height), abs=0.003)


def test_a_parted_fringe_leaves_the_middle_free(head, atlas):
    lowest = fringe_of(head, atlas, with_fringe(atlas, torch.where(atlas.surface[0].abs() > 0.035, 0.03, 0.07)))
    columns = np.abs(np.array(FRINGE_COLUMNS))
    assert np.isnan(lowest[columns < 0.011]).all() and not np.isnan(lowest[(columns > 0.035) & (columns < 0.045)]).any()


def test_hair_above_the_hairline_is_no_fringe(head, atlas):
    assert fringe_of(head, atlas, with_fringe(atlas, 0.07)) is None
    assert fringe_of(head, atlas, with_fringe(atlas, 1.0)) is None


@pytest.mark.parametrize(("lowest", "is_hidden"), [(0.013, True), (0.03, False)])
def test_a_brow_under_a_fringe_is_no_skin(atlas, lowest, is_hidden):
    trust = atlas.mask.float()
    skin = find_cover(with_fringe(atlas, lowest), trust, 0 * trust, atlas).skin
    brow = atlas.region("brow") > 0.7
    assert skin[brow].mean() < 0.3 if is_hidden else skin[brow].mean() > 0.7


def test_a_little_hair_above_the_eyes_is_a_style_but_tells_no_colour(head):
    style = see_hairstyle(*as_seen(head, 0.0, 0.14))
    assert style.fall[0] == pytest.approx(0.14, abs=0.015) and not style.sure
    assert see_hairstyle(*as_seen(head, 0.02)).sure


def strands_drawn(pattern: str) -> np.ndarray:
    """[SIZE, SIZE] brightness of hair whose strands run straight down, in waves, or in small rings."""
    row, column = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    if pattern == "rings":
        across, spacing = np.hypot(column % 24 - 12, row % 24 - 12), 8.0
    else:
        across, spacing = column + (8.0 * np.sin(row / 9.0) if pattern == "waves" else 0.0), 7.0
    return 1.0 + 0.6 * np.sin(2 * np.pi * across / spacing)


def is_drawn_hair(photo: Photo) -> np.ndarray:
    """[H, W, 1] bool."""
    return np.abs(srgb_to_linear(photo.srgb) - HAIR).max(-1, keepdims=True) < 1e-3


def curl_of(head, thickness: float, brightness: np.ndarray, fall: float | None = None) -> float:
    photo, person = drawn(head, thickness, fall)
    linear = srgb_to_linear(photo.srgb)
    shown = np.where(is_drawn_hair(photo), linear * brightness[..., None], linear)
    return see_hairstyle(Photo(linear_to_srgb(shown), "drawn.png"), face_of(head), head, person).curl


def test_strands_that_do_not_run_alike_curl(head):
    straight, waves, rings = (curl_of(head, 0.04, strands_drawn(each)) for each in ("straight", "waves", "rings"))
    assert straight < 0.05 and straight + 0.2 < waves < rings and rings > 0.8


@pytest.mark.parametrize("level, noise", [(3, 1), (5, 1), (8, 2), (20, 3)])
def test_noise_in_black_hair_is_no_curl(head, level, noise):
    """As cameras store it, in whole numbers up to 255."""
    photo, person = drawn(head, 0.04)
    black = level + noise * np.random.default_rng(0).normal(size=photo.srgb.shape)
    shown = np.where(is_drawn_hair(photo), black.round().clip(0, 255) / 255, photo.srgb).astype(np.float32)
    assert see_hairstyle(Photo(shown, "drawn.png"), face_of(head), head, person).curl < 0.15


def test_stubble_has_no_curls(head):
    assert curl_of(head, 0.014, strands_drawn("rings")) < 0.05


@pytest.mark.parametrize("degrees", [0.0, 35.0])
def test_straight_hair_hangs_straight_however_the_camera_is_held(degrees):
    rolled = known_head(load_head(), camera_at(size=SIZE, roll_degrees=degrees))
    row, column = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    across = np.cos(np.radians(degrees)) * column + np.sin(np.radians(degrees)) * row
    for hanging in (across, column):
        assert curl_of(rolled, 0.04, 1.0 + 0.6 * np.sin(2 * np.pi * hanging / 7.0), fall=0.15) < 0.1


def test_hair_that_hangs_off_the_vertical_is_in_waves(head):
    """Wide ones, in which neighbours run alike."""
    row, column = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    waved = 1.0 + 0.6 * np.sin(2 * np.pi * (column + 55.0 * np.sin(row / 40.0)) / 7.0)
    straight, waves = (curl_of(head, 0.04, each, fall=0.15) for each in (strands_drawn("straight"), waved))
    assert straight < 0.05 and 0.2 < waves < 0.7
