"""Photographs as cameras take them: how faces are exposed, and what eyes, teeth and highlights tell of the skin."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from id2r_core.capture.dice import Dice
from id2r_core.capture.gloss import build_gloss_table
from id2r_core.capture.hair import CURLY_UP_TO, STYLES, draw_hair, hang_hair, no_hair, with_fuzz
from id2r_core.capture.light import LUMINANCE
from id2r_core.capture.photograph import FACE_LEVELS, SCLERA_LINEAR, expose, eye_colours
from id2r_core.capture.render import Surface, camera_rays, shade
from id2r_core.capture.stage import CaptureStage
from id2r_core.head.model import TOOTH_LINEAR
from tests.capture_data import write_data

SIZE, COUNT = 16, 400


@pytest.fixture(scope="module")
def stage(tmp_path_factory, one_thread):
    return CaptureStage(write_data(tmp_path_factory.mktemp("data")), 64, seed=3)


def luminance(linear):
    return linear @ torch.tensor(LUMINANCE)


def levels(albedo, behind):
    """[COUNT] luminances of faces of that albedo in photographs by different cameras, before walls of albedo `behind`."""
    radiance = torch.full((COUNT, 3, SIZE, SIZE), behind)
    radiance[:, :, 4:12, 4:12] = albedo
    face = torch.zeros(COUNT, 1, SIZE, SIZE, dtype=torch.bool)
    face[:, :, 4:12, 4:12] = True
    taken = expose(Dice([(7, k) for k in range(COUNT)]), radiance, face, torch.ones(COUNT, 3))
    return luminance(taken[:, :, 8, 8])


def test_dark_skin_is_brightened_by_some_cameras_and_stays_dark_before_a_bright_wall():
    dark, light = levels(0.08, 0.2), levels(0.40, 0.2)
    slope = float((light / dark).log().mean()) / np.log(0.40 / 0.08)
    assert 0.5 < slope < 0.85  # 1: the level of a face is its albedo; 0: every face is grey
    assert levels(0.08, 0.9).mean() < 0.8 * dark.mean()
    assert dark.log().std() > 0.25


def test_faces_are_neither_black_nor_burnt():
    for albedo, behind in ((0.03, 3.0), (0.06, 0.9), (0.5, 0.01)):
        taken = levels(albedo, behind)
        # White balance moves luminance a little after the exposure is set.
        assert 0.85 * FACE_LEVELS[0] < taken.min() and taken.max() < 1.15 * FACE_LEVELS[1]


def test_eye_whites_have_the_albedo_of_sclera_and_darken_with_age_and_melanin(stage):
    subjects = stage.subjects(range(200))
    sclera = eye_colours(subjects).sclera
    assert 0.36 < luminance(sclera).min() and luminance(sclera).max() < 0.60
    assert abs(float(luminance(torch.tensor(SCLERA_LINEAR))) - 0.5) < 0.05
    darker = torch.corrcoef(torch.stack([subjects.ita, subjects.number("age"), luminance(sclera)]))[2]
    assert darker[0] > 0.2 and darker[1] < -0.1


def test_lids_shade_the_eyes_most_under_the_upper_one(stage):
    """Against the skin of the same face the brightest parts of an eye's white lose a quarter, its upper rim more."""
    subjects = stage.subjects(range(6))
    surface = seen_from_the_front(stage, subjects)
    eye = surface.mask & ~surface.is_skin & (surface.specular == 0.45)
    for irradiance, is_eye, is_skin in zip(surface.irradiance.mean(1), eye[:, 0], surface.is_skin[:, 0], strict=True):
        skin = irradiance[is_skin].median()
        rows = is_eye.nonzero()[:, 0]
        upper, lower = irradiance[rows.min()][is_eye[rows.min()]], irradiance[rows.max()][is_eye[rows.max()]]
        assert 0.4 < torch.quantile(irradiance[is_eye], 0.9) / skin < 0.9
        assert upper.mean() < lower.mean()


def test_teeth_have_the_albedo_of_enamel():
    """Incisors have CIELAB lightness 70 to 85, b* 10 to 25 (Turgut et al. 2018 measure 74 to 81 and 15 to 21)."""
    y = float(luminance(torch.tensor(TOOTH_LINEAR)))
    assert 70 < 116 * y ** (1 / 3) - 16 < 85


def test_a_highlight_is_as_strong_on_dark_skin_as_on_light_skin(stage):
    """What the surface reflects does not pass through melanin: the difference that gloss makes is the same light."""
    subjects = stage.subjects(range(60))
    order = subjects.ita.argsort()
    dark, light = stage.subjects(subjects.index[order[:4]]), stage.subjects(subjects.index[order[-4:]])
    shines, shares = [], []
    for group in (dark, light):
        surface = seen_from_the_front(stage, group)
        lighting = stage._light(Dice([(1, 2)] * len(group)))
        lit = shade(surface, stage._mesh, stage._environments, lighting)
        matte = surface.diffuse_linear * surface.irradiance
        shine = (lit - matte).mean(1)[surface.is_skin[:, 0]]
        shines.append(float(torch.quantile(shine, 0.98)))
        shares.append(shines[-1] / float(matte.mean(1)[surface.is_skin[:, 0]].median()))
    assert 0.6 < shines[0] / shines[1] < 1.7
    assert shares[0] > 2 * shares[1]


def seen_from_the_front(stage, subjects) -> Surface:
    """Bare neutral heads from the front camera, all in the same light."""
    count = len(subjects)
    lighting = stage._light(Dice([(1, 2)] * count))
    fine = stage._posed(subjects.identity, torch.zeros_like(subjects.expression))
    hair = no_hair(count, stage._mesh)
    return stage._see(stage._cameras[torch.zeros(count, dtype=torch.long)], fine, subjects, lighting, hair)


def test_every_style_of_hair_is_worn_and_none_covers_the_face(stage):
    """Also: only long hair falls behind the neck, and light skin does not go with tight curls."""
    subjects = stage.subjects(range(150))
    fine = stage._posed(subjects.identity, torch.zeros_like(subjects.expression))
    hair = draw_hair(Dice([(5, k) for k in range(150)]), stage._mesh, fine, subjects)
    kinds = {tuple(round(share, 2) for share in row) for row in hair.fibres.tolist()}
    assert kinds == {style.fibres for style in STYLES.values()}
    covered = hair.cover[..., 0].mean(1)
    assert (covered < 1e-3).sum() > 5 and (covered > 0.05).sum() > 30
    mouth_and_nose = stage._mesh.region_masks["lip"] + stage._mesh.region_masks["nose"] > 0.5
    assert hair.cover[:, mouth_and_nose].max() == 0
    falls = hair.fall[:, 0] > 0
    assert 0.1 < falls.float().mean() < 0.4
    curly = hair.fibres[:, 1] > 0.8
    assert curly.any() and (subjects.ita[curly] <= CURLY_UP_TO).all()
    assert hair.thickness.max() < 0.06


def test_long_hair_hangs_behind_and_leaves_the_head_alone(stage):
    subjects = stage.subjects([0])
    cameras, count = stage._cameras[:1], 64
    rays, behind = camera_rays(cameras), torch.ones(1, 3, count, count)
    bald = no_hair(1, stage._mesh)
    assert torch.equal(hang_hair(bald, stage._mesh, cameras, rays, behind, torch.ones(1, 3)), behind)
    long = replace(bald, fall=torch.tensor([[0.05, 0.0, -0.2]]))
    hung = hang_hair(long, stage._mesh, cameras, rays, behind, torch.ones(1, 3))[0, 0]
    row = hung[count - 4]
    assert row[count // 2] < 0.1 and row[1] == 1  # black behind the neck, the background beside it
    surface = seen_from_the_front(stage, subjects)
    head = torch.full((1, 3, count, count), 0.5)
    assert torch.equal(with_fuzz(surface, stage._mesh, head, behind), torch.where(surface.mask, head, behind))


def test_gloss_reflects_what_sampling_the_microfacets_gives(random_generator):
    """The table against plain Monte Carlo over incoming directions, which shares nothing with it but D, F and G."""
    table = build_gloss_table()
    for f0, roughness, cosine in ((0.028, 0.55, 0.9), (0.034, 0.47, 0.5), (0.022, 0.62, 0.25)):
        sampled = sampled_albedo(f0, roughness, cosine, random_generator)
        looked_up = table.albedo(*(torch.tensor([[[value]]]) for value in (f0, roughness, cosine)))
        assert float(looked_up) == pytest.approx(sampled, rel=0.04)


def sampled_albedo(f0, roughness, cosine, random, count=400_000):
    up, turn = random.uniform(0, 1, count), random.uniform(0, 2 * np.pi, count)
    side = np.sqrt(1 - up**2)
    light = np.stack([side * np.cos(turn), side * np.sin(turn), up], axis=1)
    camera = np.array([np.sqrt(1 - cosine**2), 0, cosine])
    half = light + camera
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    squared = roughness**4
    density = squared / (np.pi * (half[:, 2] ** 2 * (squared - 1) + 1) ** 2)
    tilt = lambda c: (np.sqrt(1 + squared * (1 / c**2 - 1)) - 1) / 2
    met, index = half @ camera, (1 + f0**0.5) / (1 - f0**0.5)
    inside = np.sqrt(1 - (1 - met**2) / index**2)
    fresnel = (((met - index * inside) / (met + index * inside)) ** 2) / 2
    fresnel += (((index * met - inside) / (index * met + inside)) ** 2) / 2
    brdf = density * fresnel / (1 + tilt(up) + tilt(cosine)) / (4 * up * cosine)
    return float((brdf * up).mean() * 2 * np.pi)
