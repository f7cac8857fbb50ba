"""Hair combed as the photo shows it, on the real head, by a photo whose hair runs as it was drawn."""

import cv2
import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
from test_groom import COLUMNS, off_the_head, over_the_forehead, scalp  # noqa: F401
from test_lashes import data, folder, model  # noqa: F401

from addon import mesh_io
from addon.comb import CENTRE, Comb, Combed, lay_skin
from addon.fringe import lay_fringe
from addon.groom import grow_groom, scatter_roots, under_face
from addon.result import load_result
from addon.steps import run
from id2r_core.conventions import zup_to_yup
from id2r_core.errors import Id2rError

AHEAD = np.array([[1.0, 0, 0, 0], [0, -1.0, 0, 0], [0, 0, -1.0, 1.2], [0, 0, 0, 1.0]])
FOCAL, MIDDLE = 1500.0, np.array([300.0, 300.0])
BOX = np.array([0.0, 0.0, 600.0, 600.0])


def hair_in_photo(degrees: float, certain: float = 1.0, shade: float = 0.0, bare: float = 0.0) -> Combed:
    """All over a photo from ahead, so far off the vertical."""
    twice = 2 * np.radians(degrees)
    image = np.array([certain * np.cos(twice), certain * np.sin(twice), shade, bare], np.float32)
    return Combed(np.broadcast_to(image[:, None, None], (4, 100, 100)).copy(), BOX)


def skin_of(data) -> np.ndarray:  # noqa: F811
    return data.quads[np.array(data.part_names)[data.part] == "skin"]


def comb_of(data, combed: Combed, view=AHEAD) -> Comb:  # noqa: F811
    return Comb(combed, view, FOCAL, MIDDLE, lay_skin(data.vertices, skin_of(data)))


def grown(data, density, combed=None, lowest=None, height=0.025, fall=0.0):  # noqa: F811
    of_skin = np.array(data.part_names)[data.part] == "skin"
    hair = np.stack([density, height + 0 * density, fall + 0 * density], -1)
    roots = run(scatter_roots(data.vertices, data.quads[of_skin], data.uv, data.quads_uv[of_skin], hair))
    fringe = None if lowest is None else lay_fringe(lowest, data.vertices, data.quads[of_skin])
    comb = comb_of(data, combed) if combed else None
    return run(grow_groom(roots.only(~under_face(roots)), fringe, 0.0, comb))


def in_photo(points: np.ndarray) -> np.ndarray:
    """[..., 2] pixels of points [..., 3], off its middle."""
    view = zup_to_yup(points) @ AHEAD[:3, :3].T + AHEAD[:3, 3]
    return view[..., :2] / view[..., 2:] * FOCAL


def degrees_off(points: np.ndarray) -> np.ndarray:
    """[H] how far strands run off the vertical in the photo, towards (-sin, cos), y down, on the whole."""
    pixel = in_photo(points)
    x, y = (pixel[:, -1] - pixel[:, 1]).T
    return np.degrees(np.arctan2(-x, y))


def front_of(groom) -> np.ndarray:
    """[H] strands on the front of the scalp."""
    out = groom.points[:, 0] - CENTRE
    return -out[:, 1] / np.linalg.norm(out, axis=1) > 0.5


@pytest.mark.parametrize("degrees", [-60.0, 0.0, 60.0])
def test_strands_run_as_in_the_photo(data, scalp, degrees):  # noqa: F811
    groom = grown(data, scalp, hair_in_photo(degrees))
    off = (degrees_off(groom.points[front_of(groom)]) - degrees + 90.0) % 180.0 - 90.0
    assert np.median(np.abs(off)) < 20.0
    own = grown(data, scalp)
    assert np.median(np.abs((degrees_off(own.points[front_of(own)]) - 60.0 + 90.0) % 180.0 - 90.0)) > 25.0


@pytest.mark.parametrize("certain, share", [(1.0, 1.0), (0.235, 0.5)])
def test_they_turn_about_the_line_of_sight_however_the_camera_is_held(data, certain, share):  # noqa: F811
    """By the shorter way, and half of it where the run is half certain."""
    view = AHEAD.copy()
    yaw, roll = np.radians([30.0, 20.0])
    about_up = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_sight = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    view[:3, :3] = about_sight @ AHEAD[:3, :3] @ about_up
    comb = comb_of(data, hair_in_photo(60.0, certain), view)
    towards_camera = -view[2, :3] * 0.12  # y up
    place = CENTRE + towards_camera[[0, 2, 1]] * [1.0, -1.0, 1.0]
    at = np.radians(20.0)
    step = view[:3, :3].T @ np.array([-np.sin(at), np.cos(at), 0.3]) * 0.01
    step = (step[[0, 2, 1]] * [1.0, -1.0, 1.0])[None]
    turned = comb._turned(step, step, comb._look_up(place[None]), comb._seen(place[None]))
    seen = view[:3, :3] @ zup_to_yup(turned)[0]
    assert np.degrees(np.arctan2(-seen[0], seen[1])) == pytest.approx(20.0 + share * 40.0, abs=0.5)
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(step))


def test_what_the_photo_does_not_tell_stays(data, scalp):  # noqa: F811
    combed, own = (grown(data, scalp, hair_in_photo(60.0, certain)) for certain in (1.0, 0.0))
    behind = own.points[:, 0, 1] > CENTRE[1] + 0.06
    assert np.median(np.linalg.norm(combed.points[behind, -1] - own.points[behind, -1], axis=1)) < 0.002
    assert np.median(np.linalg.norm(combed.points[front_of(own), -1] - own.points[front_of(own), -1], axis=1)) > 0.005


def test_they_end_where_skin_is_bare(data, scalp):  # noqa: F811
    over_bare, own = (grown(data, scalp, hair_in_photo(0.0, 0.0, bare=bare)) for bare in (1.0, 0.0))
    length = lambda groom: np.linalg.norm(groom.points[:, -1] - groom.points[:, 0], axis=1)
    assert np.median((length(over_bare) / length(own))[front_of(own)]) < 0.35
    behind = own.points[:, 0, 1] > CENTRE[1] + 0.06
    assert np.median((length(over_bare) / length(own))[behind]) > 0.95


def test_long_hair_stays_within_the_outline(data, scalp):  # noqa: F811
    """The photo shows the background beside a head with little room for hair."""
    combed = hair_in_photo(0.0, 0.0)
    column = np.mgrid[:100, :100][1] * 6.0 + 3.0
    combed.image[3] = np.where(np.abs(column - 300.0) > 110.0, -1.0, 0.0)
    wide, narrow = (grown(data, scalp, each, height=0.04, fall=0.15) for each in (hair_in_photo(0.0, 0.0), combed))
    below = wide.points[..., 2] < -0.03
    widest = [np.quantile(np.abs(in_photo(each.points)[below, 0]), 0.98) for each in (wide, narrow)]
    assert widest[0] > 130.0 and widest[1] < 117.0


def test_they_stay_as_far_off_the_head(data, scalp):  # noqa: F811
    combed, own = (grown(data, scalp, hair_in_photo(60.0, certain)) for certain in (1.0, 0.0))
    apart = off_the_head(data, combed.points[:, 2:]) - off_the_head(data, own.points[:, 2:])
    assert np.quantile(np.abs(apart), 0.9) < 0.006


def test_a_combed_fringe_ends_where_it_ends(data, scalp):  # noqa: F811
    lowest = np.where(np.abs(COLUMNS) < 0.075, 0.035 - 0.1 * COLUMNS, np.nan)
    straight, aslant = (grown(data, scalp, hair_in_photo(each), lowest, 0.015) for each in (0.0, 40.0))
    for groom in (straight, aslant):
        tips = groom.points[over_the_forehead(groom), -1]
        assert len(tips) > 500 and np.quantile(np.abs(tips[:, 2] - (0.035 - 0.1 * tips[:, 0])), 0.9) < 0.009
    turned = np.median(degrees_off(aslant.points[over_the_forehead(aslant)]))
    assert turned - np.median(degrees_off(straight.points[over_the_forehead(straight)])) > 15.0


def test_they_are_as_light_as_in_the_photo(data, scalp):  # noqa: F811
    light, dark = (grown(data, scalp, hair_in_photo(0.0, shade=each)) for each in (0.3, -0.3))
    seen = front_of(light)
    assert light.shade[seen].mean() > 1.15 and dark.shade[seen].mean() < 0.87
    behind = light.points[:, 0, 1] > CENTRE[1] + 0.06
    assert light.shade[behind, 0] == pytest.approx(1.0)


def test_in_blender_it_is_combed_too(folder, scalp):  # noqa: F811
    cv2.imwrite(str(folder / "hair.png"), (scalp * 255).astype(np.uint8))
    bare = load_result(folder, bpy.context.scene, "Ada").objects.hair.data
    assert {each.value for each in bare.attributes[mesh_io.SHADE_ATTRIBUTE].data} == {
        0.0
    }  # as of strands added by hand
    combed = hair_in_photo(60.0, shade=0.3)
    np.savez(folder / "strands.npz", combed=(combed.image * 127).astype(np.int8), box=np.array([0.0, 0.0, 5e3, 5e3]))
    made = load_result(folder, bpy.context.scene, "Ada").objects.hair.data
    assert max(each.value for each in made.attributes[mesh_io.SHADE_ATTRIBUTE].data) > 0.2
    (folder / "strands.npz").unlink()
    (folder / "hair.png").unlink()


def test_nothing_grows_where_the_photo_shows_bare_skin(folder, scalp):  # noqa: F811
    cv2.imwrite(str(folder / "hair.png"), (scalp * 255).astype(np.uint8))
    try:
        counts = []
        for bare in (0.0, 1.0):
            combed = hair_in_photo(0.0, 0.0, bare=bare)
            np.savez(
                folder / "strands.npz", combed=np.int8(127 * combed.image), box=np.array([-500.0, -500.0, 600.0, 600.0])
            )
            counts.append(len(load_result(folder, bpy.context.scene, "Ada").objects.hair.data.curves))
    finally:
        (folder / "strands.npz").unlink()
        (folder / "hair.png").unlink()
    assert counts[0] > 5000 and 0.1 * counts[0] < counts[1] < 0.8 * counts[0]  # behind, the photo shows nothing


@pytest.mark.parametrize(
    "shape, box", [(None, BOX), ((3, 8, 8), BOX), ((4, 1, 8), BOX), ((4, 8, 8), BOX[:2]), ((4, 8, 8), 0 * BOX)]
)
def test_a_damaged_file_is_named(tmp_path, shape, box):
    path = tmp_path / "strands.npz"
    if shape is None:
        path.write_bytes(b"no zip")
    else:
        np.savez(path, combed=np.zeros(shape, np.int8), box=box)
    with pytest.raises(Id2rError, match=r"strands.npz is damaged"):
        mesh_io.read_combed(path)
