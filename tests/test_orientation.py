"""How strands run in a photo: drawn at a known angle, they are found to run so."""

import cv2
import numpy as np
import pytest
from synthetic_head import camera_at, face_of, known_head

from id2r_core.conventions import linear_to_srgb
from id2r_core.head.model import load_head
from id2r_core.maps import save_strands
from id2r_core.orientation import on_photo, see_orientation, up_to_hair, without_gaps
from id2r_core.photo import Photo

SIZE = 700
HAIR = np.zeros((SIZE, SIZE), bool)
HAIR[40:240, 200:500] = True


@pytest.fixture(scope="module")
def face():
    return face_of(known_head(load_head(), camera_at(size=SIZE)))


def strands(degrees: float, contrast: float = 0.5, level: float = 0.1) -> Photo:
    """Hair on white whose strands run so far off the vertical, from the top on the right to the bottom on the left."""
    row, column = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    angle = np.radians(degrees)
    across = np.cos(angle) * column + np.sin(angle) * row
    shown = np.where(HAIR, level * (1.0 + contrast * np.sin(2 * np.pi * across / 8.0)), 0.9)
    return Photo(linear_to_srgb(np.repeat(shown[..., None], 3, 2).astype(np.float32)), "drawn.png")


@pytest.mark.parametrize("degrees", [0.0, 30.0, 80.0, 90.0, 120.0])
@pytest.mark.parametrize("contrast", [0.1, 0.5])
def test_strands_run_as_they_are_drawn(face, degrees, contrast):
    cosine, sine, *_ = see_orientation(strands(degrees, contrast), face, HAIR).combed()
    middle = tuple(slice(side // 4, -side // 4) for side in cosine.shape)
    found = np.degrees(np.arctan2(sine[middle], cosine[middle])) / 2
    off = (found - degrees + 90.0) % 180.0 - 90.0
    assert np.abs(off).max() < 3.0 and np.hypot(cosine, sine)[middle].min() > 0.6


def test_even_hair_runs_nowhere(face):
    assert np.abs(see_orientation(strands(0.0, 0.0), face, HAIR).combed()).max() < 0.02


def test_its_edge_is_no_strand(face):
    """White skin beside it is no contrast of its own, and it runs on beyond it."""
    seen = see_orientation(strands(0.0), face, HAIR)
    cosine, _, shade, _ = seen.combed()
    rim = (seen.weight > 0) & (cv2.erode(seen.weight, np.ones((3, 3))) == 0)
    assert cosine[seen.weight > 0].min() > 0.5 and shade[rim].max() < 1.2 * shade[(seen.weight > 0) & ~rim].max()
    assert cosine[(seen.weight == 0)].max() > 0.5 and (shade[seen.weight == 0] == 0).all()


def test_lighter_strands_are_lighter(face):
    seen = see_orientation(strands(0.0), face, HAIR)
    shade = seen.combed()[2]
    assert np.corrcoef(shade[seen.weight > 0], seen.grey[seen.weight > 0])[0, 1] > 0.95
    assert 0.1 < shade.max() <= 1.0


def test_too_little_hair_tells_nothing(face):
    few = np.zeros_like(HAIR)
    few[40:60, 200:220] = True
    assert see_orientation(strands(0.0), face, few) is None


def test_texels_are_drawn_where_the_photo_shows_them(face):
    row, column = np.mgrid[:64, :64]
    pixel = np.stack([300.0 + 2 * column, 80.0 + 2 * row], -1)
    drawn = on_photo(row < 32, pixel, face, HAIR.shape)
    assert drawn[90:135, 310:420].all() and not drawn[155:].any() and not drawn[:, :280].any()


def test_gaps_are_hair_only_where_they_may_be(face):
    apart = HAIR.copy()
    apart[130:150] = False
    assert (without_gaps(apart, np.ones_like(HAIR), face) == HAIR).all()
    assert (without_gaps(apart, np.zeros_like(HAIR), face) == apart).all()


def test_skin_is_bare_up_to_where_its_colour_ends(face):
    """But not on gleams farther up."""
    brown, skin = np.array([0.06, 0.04, 0.03]), np.array([0.5, 0.3, 0.2])
    hairline, row = 240, np.arange(SIZE)[:, None, None]
    linear = np.where(row < hairline, brown, skin) * np.ones((SIZE, SIZE, 1))
    linear[100:110] = skin
    photo = Photo(linear_to_srgb(linear).astype(np.float32), "drawn.png")
    sure = np.zeros((SIZE, SIZE), bool)
    sure[hairline + 12 : 500] = True
    found = up_to_hair(photo, face, sure, skin, brown)
    assert found[hairline:500].all() and not found[:hairline].any()
    assert (up_to_hair(photo, face, sure, skin, 0.8 * skin) == sure).all()  # fair hair


def test_the_file_says_where_in_the_photo_it_is(face, tmp_path):
    seen = see_orientation(strands(30.0), face, HAIR)
    save_strands(tmp_path, seen)
    with np.load(tmp_path / "strands.npz") as file:
        assert np.abs(file["combed"] / 127.0 - seen.combed()).max() < 0.005
        left, top, right, bottom = file["box"]
    assert left < 215 and right > 485 and top < 55 and bottom > 225
    assert (right - left) / (bottom - top) == pytest.approx(seen.grey.shape[1] / seen.grey.shape[0], rel=0.02)
