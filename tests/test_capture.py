"""The capture stage on a tiny synthetic data directory: painted skins, flat environments, no files from elsewhere."""

import zlib

import cv2
import numpy as np
import pytest
import torch

from id2r_core.capture import CaptureStage
from id2r_core.capture import stage as stage_module
from id2r_core.capture.dice import Dice
from id2r_core.capture.hair import no_hair
from id2r_core.capture.light import (
    STUDIOS,
    choose_environments,
    gather_environments,
    light_scene,
    load_environments,
    reflected_light,
    sky_pixels,
    sky_uv,
)
from id2r_core.capture.preview import main as preview_main
from id2r_core.capture.skins import skin_maps
from id2r_core.capture.sources import SPLITS, list_sources, split_of
from id2r_core.capture.subjects import Casting
from id2r_core.conventions import REFLECTANCE, Domain, decode_normal, srgb_to_linear
from id2r_core.errors import Id2rError
from id2r_core.geometry.camera import capture_cameras
from id2r_core.head.model import TOOTH_LINEAR
from id2r_core.pigment import ITA_EDGES, build_pigment_table, typology_angle
from tests.capture_data import write_data

SIZE = 64


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small images are rendered faster by one thread than by threads that wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def stage(data_dir):
    return CaptureStage(data_dir, SIZE, seed=3)


def test_subjects_are_functions_of_their_index(stage):
    both = stage.subjects([5, 900])
    alone = Casting(stage.head, build_pigment_table(), 3, "train").cast([900], "cpu")
    for name in ("identity", "expression", "tone_linear", "params"):
        assert torch.equal(getattr(both, name)[1:], getattr(alone, name))
    assert not torch.equal(both.identity[0], both.identity[1])
    other_seed = Casting(stage.head, build_pigment_table(), 4, "train").cast([900], "cpu")
    assert not torch.equal(other_seed.identity, alone.identity)


def test_identities_are_bounded_and_never_pull_both_ways(stage):
    subjects = stage.subjects(range(60))
    assert subjects.identity.min() >= 0 and subjects.identity.max() <= 1
    assert subjects.expression.max() <= 0.5
    names = stage.head.identity_names
    checked = 0
    for name in names:
        if name.endswith("-incr"):
            opposite = names.index(name.removesuffix("incr") + "decr")
            assert (subjects.identity[:, names.index(name)] * subjects.identity[:, opposite]).max() == 0
            checked += 1
    assert checked > 50
    share = subjects.identity[
        :, [i for i, n in enumerate(names) if n.split("-")[0] in ("african", "asian", "caucasian")]
    ]
    assert (share.sum(1) - 0.9).abs().max() < 1e-4


def test_skin_types_are_balanced(stage):
    ita = torch.cat([stage.subjects(range(start, start + 100)).ita for start in range(0, 600, 100)])
    counts = np.histogram(ita.numpy(), bins=ITA_EDGES)[0]
    assert counts.sum() == 600 and counts.min() > 75 and counts.max() < 125


def test_tone_is_the_typology_angle_asked_for_and_the_mean_of_the_map(stage):
    subjects = stage.subjects(range(12))
    measured = typology_angle(subjects.tone_linear.numpy())
    assert np.abs(measured - subjects.ita.numpy()).max() < 3
    maps, plain = stage.skins(subjects), stage.tile.plain
    mean = (maps.diffuse_linear * plain).sum((2, 3)) / plain.sum()
    assert ((mean - subjects.tone_linear) / subjects.tone_linear).abs().max() < 0.03


def test_more_melanin_is_darker_and_more_blood_is_redder():
    table = build_pigment_table()
    assert bool((table.linear[:, 1:] <= table.linear[:, :-1] + 3e-4).all())
    chroma = (table.linear[0] / table.linear[1]).numpy()
    assert (chroma[:60, 60] > chroma[:60, 20]).all()
    light, dark = table.linear[:, 20, 30], table.linear[:, 88, 30]
    assert light[0] > 0.4 and dark[0] < 0.2 and bool((light[0] > light[1]) & (light[1] > light[2]))


def test_views_are_pixel_aligned_reflectance(stage):
    subjects = stage.subjects([0, 1])
    views = stage.views(subjects)
    assert set(views) == set(Domain)
    for image in views.values():
        assert image.shape == (2, 3, 3, SIZE, SIZE) and image.min() >= 0 and image.max() <= 1
    seen = views[Domain.SPECULAR][:, :, 0] > 0
    assert 0.2 < seen.float().mean() < 0.9
    for domain in REFLECTANCE:
        assert torch.equal(views[domain].amax(2) > 0, seen)
    for domain in (Domain.SPECULAR, Domain.ROUGHNESS):
        assert torch.equal(views[domain][:, :, 0], views[domain][:, :, 2])
    lengths = decode_normal(views[Domain.NORMAL]).norm(dim=2)[seen]
    assert (lengths - 1).abs().max() < 1e-3
    # The normal is in the head frame: in the front view the left half of the image shows the subject's right.
    front = decode_normal(views[Domain.NORMAL][0, 0])
    middle = slice(SIZE // 3, SIZE // 2)
    assert front[0, middle, SIZE // 4].mean() < -0.2 < 0.2 < front[0, middle, 3 * SIZE // 4].mean()
    assert torch.equal(stage.views(subjects)[Domain.RGB], views[Domain.RGB])


def test_on_the_mean_head_only_the_skins_differ(stage, monkeypatch):
    """And they are worked out once, for views and photographs together."""
    made = []
    monkeypatch.setattr(stage_module, "skin_maps", lambda *given: made.append(1) or skin_maps(*given))
    subjects = stage.subjects([0, 1])
    views = stage.views(subjects, on_mean_head=True)
    assert torch.equal(views[Domain.NORMAL][0] > 0, views[Domain.NORMAL][1] > 0)
    assert not torch.equal(views[Domain.DIFFUSE][0], views[Domain.DIFFUSE][1])
    own = stage.views(subjects)[Domain.NORMAL] > 0
    assert not torch.equal(own[0], own[1])
    stage.photographs(subjects, take=1)
    assert len(made) == 1


def test_views_of_one_subject_do_not_depend_on_the_batch(stage):
    together, alone = stage.views(stage.subjects([4, 7])), stage.views(stage.subjects([7]))
    for domain in Domain:
        torch.testing.assert_close(together[domain][1:], alone[domain], atol=2e-3, rtol=0)


def test_diffuse_has_no_light_in_it(stage):
    """One subject under two takes of light: RGB differs, the mean diffuse tone stays."""
    subjects = stage.subjects([2])
    first, second = stage.photographs(subjects, take=1), stage.photographs(subjects, take=2)
    assert (first.srgb - second.srgb).abs().mean() > 0.02
    tones = [
        (srgb_to_linear(photo.reflectance[Domain.DIFFUSE]) * photo.skin).sum((0, 2, 3)) / photo.skin.sum()
        for photo in (first, second)
    ]
    torch.testing.assert_close(*tones, rtol=0.15, atol=0)


def test_photographs_come_with_their_own_reflectance(stage):
    subjects = stage.subjects([0, 1, 2])
    photo = stage.photographs(subjects, take=5)
    assert photo.srgb.shape == (3, 3, SIZE, SIZE) and 0.05 < photo.srgb.mean() < 0.95
    assert set(photo.reflectance) == set(REFLECTANCE)
    assert set(photo.skin.unique().tolist()) <= {0.0, 1.0} and 0.1 < photo.skin.mean() < 0.8
    assert bool((photo.reflectance[Domain.SPECULAR][:, :1][photo.skin > 0] > 0).all())
    again = stage.photographs(subjects, take=5)
    assert torch.equal(photo.srgb, again.srgb)
    assert not torch.equal(stage.photographs(subjects).srgb, stage.photographs(subjects).srgb)


def test_splits_do_not_share_names(data_dir, stage):
    assert split_of("abc") == SPLITS[zlib.crc32(b"abc") % 5 == 0]
    for pattern in ("makehuman/skins*/*.jpg", "hdri/*.exr"):
        train, validation = ({path.stem for path in list_sources(data_dir, pattern, split)} for split in SPLITS)
        assert train and validation and not train & validation
    pigments = build_pigment_table()
    train, validation = (Casting(stage.head, pigments, 3, split).cast([0], "cpu") for split in SPLITS)
    assert not torch.equal(train.identity, validation.identity)


def test_most_sitters_face_the_light():
    """One lamp in a dark room: a heading drawn blindly sees it about every third time."""
    lamp = np.full((32, 64, 3), 0.01, np.float32)
    lamp[12:20, 28:36] = 50.0
    room = gather_environments(("lamp", *(f"studio {i}" for i in range(STUDIOS))), [lamp] * (STUDIOS + 1))
    chosen, turns = choose_environments(Dice([(0, i) for i in range(300)]), room)
    forward = turns[chosen == 0] @ torch.tensor([0.0, 0.0, 1.0])
    assert 0.6 < float((forward[:, 2] > 0.3).float().mean()) < 0.9


def test_light_keeps_the_energy_of_the_environment(data_dir, stage):
    environments = load_environments(data_dir, "train")
    directions, solid_angle = sky_pixels(32)
    assert abs(float(solid_angle.sum()) - 4 * np.pi) < 1e-3
    column, row = sky_uv(directions)
    torch.testing.assert_close(column.reshape(32, 64)[0], (torch.arange(64) + 0.5) / 64)
    torch.testing.assert_close(row.reshape(32, 64)[:, 0], (torch.arange(32) + 0.5) / 32)
    chosen, turn, fill = torch.tensor([0, 1]), torch.eye(3).repeat(2, 1, 1), torch.tensor([0.0, 0.5])
    lighting = light_scene(environments, chosen, turn, fill, stage.head.light_directions)
    total = lighting.power.sum(1) / (4 * np.pi)
    torch.testing.assert_close(total, lighting.mean, rtol=1e-3, atol=1e-4)
    luminance = lighting.mean @ torch.tensor([0.2126, 0.7152, 0.0722])
    torch.testing.assert_close(luminance, torch.ones(2), rtol=0.02, atol=0)
    # A mirror sees the sky itself; a rough surface sees what lies around as well, here the sun.
    up = torch.tensor([0.0, 1.0, 0.0]).expand(2, 1, 1, 3)
    smooth, rough = (reflected_light(environments, lighting, up, torch.full((2, 1, 1), r))[0, 0] for r in (0.2, 1.0))
    below = reflected_light(environments, lighting, -up, torch.full((2, 1, 1), 0.2))[0, 0]
    torch.testing.assert_close(smooth, environments.sky[0, 0, :1, :1], rtol=0.02, atol=0)
    assert rough > smooth > below


def test_a_directory_without_sources_is_named(tmp_path):
    with pytest.raises(Id2rError, match="makehuman/skins"):
        CaptureStage(tmp_path, SIZE)
    with pytest.raises(ValueError, match="split"):
        CaptureStage(tmp_path, SIZE, split="test")


def test_preview_writes_a_sheet(data_dir, tmp_path):
    out = tmp_path / "new" / "sheet.png"
    arguments = ["--data", str(data_dir), "--out", str(out), "--count", "2", "--size", str(SIZE)]
    assert preview_main(arguments) == 0
    sheet = cv2.imread(str(out))
    assert sheet.shape == (2 * SIZE, 10 * SIZE, 3) and sheet.std() > 20
    assert list(out.parent.iterdir()) == [out]


def test_photographs_alone_fill_a_square(data_dir, tmp_path):
    arguments = ["--data", str(data_dir), "--out", str(tmp_path / "sheet.png"), "--count", "3", "--size", str(SIZE)]
    assert preview_main([*arguments, "--photographs"]) == 0
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (2 * SIZE, 2 * SIZE, 3) and sheet[SIZE:, SIZE:].max() == 0
    assert all(quarter.std() > 10 for quarter in (sheet[:SIZE, :SIZE], sheet[:SIZE, SIZE:], sheet[SIZE:, :SIZE]))


def test_an_open_mouth_shows_the_head_s_own_teeth(data_dir):
    """Enamel between the lips and nowhere else, lit though the mean head's mouth is shut; none with the mouth closed."""
    stage = CaptureStage(data_dir, 256, seed=3)
    head, subjects = stage.head, stage.subjects([0])
    camera, lighting = capture_cameras(256)[0], stage._light(Dice([(1, 2)]))
    opened = torch.zeros_like(subjects.expression)
    opened[:, head.expression_names.index("jawOpen")] = 1.0
    seen = []
    for expression in (opened, torch.zeros_like(opened)):
        fine = stage._posed(subjects.identity, expression)
        surface = stage._see(camera, fine, subjects, lighting, no_hair(1, stage._mesh))
        enamel = surface.diffuse_linear[0] - torch.tensor(TOOTH_LINEAR)[:, None, None]
        seen.append((enamel.abs().amax(0) < 1e-4, surface, camera.project(head.landmarks(fine))[0]))
    (is_tooth, surface, marks), (closed, _, _) = seen
    rows, columns = is_tooth.nonzero().unbind(1)
    assert len(rows) > 60 and closed.sum() < 5
    assert rows.min() >= marks[13, 1] - 2 and rows.max() <= marks[14, 1] + 2
    assert columns.min() >= marks[61, 0] and columns.max() <= marks[291, 0]
    light, skin = surface.irradiance[0].mean(0), surface.is_skin[0, 0]
    assert 0.2 < light[is_tooth].mean() / light[skin].mean() < 0.8
