"""Stitching: three views of a head whose skin is a known function of the surface must give that function back."""

import pytest
import torch
from synthetic_head import camera_at, known_head

from id2r_core.conventions import (
    LEVEL_SIDES,
    LOW_SIDES,
    REFLECTANCE,
    Domain,
    decode_normal,
    encode_normal,
    linear_to_srgb,
    srgb_to_linear,
)
from id2r_core.geometry.camera import capture_cameras
from id2r_core.geometry.mesh import vertex_normals
from id2r_core.geometry.rasterize import interpolate, rasterize
from id2r_core.head.atlas import make_atlas
from id2r_core.stitch import NEVER_SEEN, _complete, _turned, stitch_views

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE, TEXELS = 128, 128
PERSON = {"african-male": 0.5, "nose-scale-horiz-incr": 0.4}
SMILE = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8}


@pytest.fixture(scope="module")
def head(model):
    """A smiling person: the views show the skin on the mean head at rest, and stitching must know."""
    return known_head(model, camera_at(), PERSON, SMILE)


@pytest.fixture(scope="module")
def atlas(model):
    return make_atlas(model, TEXELS)


def on_mean_head(head):
    """The fine vertices of the head that the views show, [Nf, 3]."""
    return head.model.fine_neutral


@pytest.fixture(scope="module")
def skin(head):
    """What every fine vertex has of each domain, [Nf, 3] in [0, 1]; normals are those of the person's own shape."""
    points = head.fine_neutral_vertices()
    wave = 0.5 + 0.15 * torch.sin(points @ torch.tensor([[60.0, 10.0, 0.0], [0.0, 70.0, 20.0], [30.0, 0.0, 50.0]]))
    normal = vertex_normals(points[None], head.model.faces)[0]
    return {
        Domain.DIFFUSE: wave,
        Domain.SPECULAR: (0.4 + points[:, 1:2]).expand(-1, 3),
        Domain.ROUGHNESS: (0.5 + points[:, :1]).expand(-1, 3),
        Domain.NORMAL: encode_normal(normal),
    }


@pytest.fixture(scope="module")
def views(head, skin):
    """The three capture views of each domain, [3, 3, H, W] on black."""
    return seen_by(capture_cameras(SIZE), head, skin)


def seen_by(cameras, head, skin):
    """The skin on the mean head, and that head's normals."""
    points, faces = on_mean_head(head), head.model.faces
    worn = skin | {Domain.NORMAL: encode_normal(vertex_normals(points[None], faces)[0])}
    fragments = [rasterize(cameras[view].project(points), faces, SIZE, SIZE) for view in range(3)]
    return {domain: torch.cat([interpolate(worn[domain], faces, each) for each in fragments]) for domain in REFLECTANCE}


@pytest.fixture(scope="module")
def stitched(views, head, atlas):
    return stitch_views(views, head, atlas)


@pytest.mark.parametrize("domain", REFLECTANCE)
def test_what_the_views_show_is_on_the_tile(stitched, skin, atlas, domain):
    seen = stitched.coverage > 0.9
    off = (stitched.images[domain] - atlas.bake(skin[domain]))[:, seen]
    assert seen.sum() > 0.3 * atlas.mask.sum()
    assert -10 * off.square().mean().log10() > 33
    assert off.abs().quantile(0.99) < 0.08


def test_the_face_is_covered_and_the_back_of_the_head_is_not(stitched, atlas):
    face = (atlas.region("face") > 0.95) & (atlas.surface[2] > -0.02) & (atlas.region("eyelid") < 0.02)
    assert stitched.coverage[face].median() > 0.95 and stitched.coverage[face].quantile(0.2) > 0.6
    behind = atlas.mask & (atlas.surface[2] < -0.14)
    assert behind.sum() > 200 and stitched.coverage[behind].max() < NEVER_SEEN / 10
    assert stitched.coverage.min() >= 0 and stitched.coverage.max() <= 1
    assert stitched.coverage[~atlas.mask].max() == 0


def test_every_texel_gets_a_value_that_a_surface_can_have(stitched, atlas):
    for domain in REFLECTANCE:
        image = stitched.images[domain]
        assert image.shape == (3, TEXELS, TEXELS) and image.min() >= 0 and image.max() <= 1
    # Filled from skin around, never from the black behind the head.
    unseen = atlas.mask & (stitched.coverage < NEVER_SEEN)
    assert stitched.images[Domain.DIFFUSE][:, unseen].min() > 0.2


def test_a_texel_believes_the_view_that_looks_straight_at_it(views, head, atlas):
    """Three views that disagree: the nose is the front's, the cheekbones are the sides'."""
    said = torch.tensor([0.2, 0.6, 0.9])
    disagreeing = said[:, None, None, None].expand(3, 3, SIZE, SIZE)
    found = stitch_views(views | {Domain.ROUGHNESS: disagreeing}, head, atlas).images[Domain.ROUGHNESS][0]
    normal = atlas.bake(vertex_normals(on_mean_head(head)[None], head.model.faces)[0])
    face = atlas.region("face") > 0.9
    front, left, right = face & (normal[2] > 0.97), face & (normal[0] > 0.9), face & (normal[0] < -0.9)
    for value, region in zip(said, (front, left, right), strict=True):
        assert region.sum() > 20 and (found[region].median() - value).abs() < 0.12


def test_the_painted_eyes_of_the_views_stay_off_the_lids(views, head, atlas, stitched):
    """Blue eyes over half of the lids, as networks paint them that know nothing of this head's lids."""
    painted = views[Domain.DIFFUSE].clone()
    cameras = capture_cameras(SIZE)
    centres, radii = head.model.eyes(head.model.neutral)
    pixel = torch.stack(torch.meshgrid(*(torch.arange(SIZE) + 0.5,) * 2, indexing="xy"), -1)
    for view in range(3):
        camera = cameras[view]
        for x, y, depth in camera.project(centres)[0].tolist():
            eye = (pixel - torch.tensor([x, y])).norm(dim=-1) < 0.6 * float(camera.focal[0] * radii[0]) / depth
            painted[view][:, eye] = torch.tensor([0.0, 0.0, 1.0])[:, None]
    found = stitch_views(views | {Domain.DIFFUSE: painted}, head, atlas).images[Domain.DIFFUSE]
    lids = atlas.mask & (atlas.region("eyelid") > 0.9)
    assert lids.sum() > 20
    assert (found - stitched.images[Domain.DIFFUSE])[2, lids].quantile(0.9) < 0.2


def test_no_background_gets_onto_the_skin_when_outlines_differ(views, head, atlas):
    """The heads of the views are two pixels beside the fitted one."""
    shifted = {domain: image.roll(2, dims=-1) for domain, image in views.items()}
    found = stitch_views(shifted, head, atlas)
    skin = atlas.mask & (atlas.region("skin") > 0.99)
    assert found.images[Domain.DIFFUSE][:, skin].min() > 0.25
    assert found.coverage[skin].mean() > 0.3


def test_views_from_below_are_stitched_from_where_they_were_taken(head, skin, atlas):
    """The side cameras belong to the pack; taken for level ones, their views land elsewhere on the skin."""
    views = seen_by(capture_cameras(SIZE, sides=LOW_SIDES), head, skin)
    true = atlas.bake(skin[Domain.ROUGHNESS])
    errors = []
    for sides in (LOW_SIDES, LEVEL_SIDES):
        maps = stitch_views(views, head, atlas, sides)
        where = (maps.coverage > 0.8) & (atlas.region("cheek") + atlas.region("neck") > 0.5)
        errors.append(float((maps.images[Domain.ROUGHNESS] - true).abs()[:, where].mean()))
    assert errors[0] < 0.5 * errors[1]


def test_a_darker_side_view_is_matched_to_the_front(views, head, atlas, stitched):
    from_left = views[Domain.DIFFUSE].clone()
    from_left[1] = linear_to_srgb(0.8 * srgb_to_linear(from_left[1]))
    matched = stitch_views(views | {Domain.DIFFUSE: from_left}, head, atlas)
    side = (stitched.coverage > 0.9) & (atlas.surface[0] > 0.04) & (atlas.surface[2] < -0.03)
    tone = lambda maps: srgb_to_linear(maps.images[Domain.DIFFUSE])[:, side].mean()
    assert side.sum() > 100
    assert abs(float(tone(matched) / tone(stitched)) - 1) < 0.05


def test_only_light_is_matched_and_only_so_far(views, head, atlas, stitched):
    """A view four times too dark is an error, not an exposure: it stays dark, and no other domain is scaled at all."""
    darkened = {domain: view.clone() for domain, view in views.items()}
    darkened[Domain.DIFFUSE][1] = linear_to_srgb(0.25 * srgb_to_linear(darkened[Domain.DIFFUSE][1]))
    darkened[Domain.ROUGHNESS][1] *= 0.8
    maps = stitch_views(darkened, head, atlas)
    side = (stitched.coverage > 0.9) & (atlas.surface[0] > 0.04) & (atlas.surface[2] < -0.03)
    before, after = (srgb_to_linear(each.images[Domain.DIFFUSE])[:, side].mean() for each in (stitched, maps))
    assert after < 0.7 * before
    before, after = (each.images[Domain.ROUGHNESS][:, side].mean() for each in (stitched, maps))
    assert after < 0.9 * before


def test_an_unseen_side_is_filled_from_its_mirror_image():
    """Stripes on the left half; the right half gets them back mirrored, fainter but in the same places."""
    column = torch.arange(TEXELS)
    stripes = 0.5 + 0.3 * torch.sin(column / 3.0).expand(3, TEXELS, -1)
    coverage = (column < TEXELS // 2).float().expand(TEXELS, -1)
    filled = _complete(stripes * coverage, coverage, Domain.DIFFUSE)
    assert torch.allclose(filled[:, :, : TEXELS // 2], stripes[:, :, : TEXELS // 2], atol=1e-5)
    here, there = filled[0, 64, TEXELS // 2 + 8 :], stripes.flip(-1)[0, 64, TEXELS // 2 + 8 :]
    assert torch.corrcoef(torch.stack([here, there]))[0, 1] > 0.9


def test_mirrored_normals_point_to_the_other_side():
    left = torch.nn.functional.normalize(torch.tensor([-0.6, 0.2, 0.7]), dim=0)
    normal = encode_normal(left)[:, None, None].expand(3, TEXELS, TEXELS)
    coverage = (torch.arange(TEXELS) < TEXELS // 2).float().expand(TEXELS, -1)
    mirrored = decode_normal(_complete(normal * coverage, coverage, Domain.NORMAL))[:, 64, -8]
    copied = decode_normal(_complete(normal * coverage, coverage, Domain.DIFFUSE))[:, 64, -8]
    assert mirrored[0] - copied[0] > 0.4
    assert torch.allclose(mirrored[1:], left[1:], atol=0.02)


def test_the_normals_of_views_are_turned_with_the_surface():
    """A tilt of the skin stays the same tilt to its surface, whatever the head."""
    torch.manual_seed(0)
    source, target = (torch.nn.functional.normalize(torch.randn(3, 5, 5), dim=0) for _ in range(2))
    tilted = torch.nn.functional.normalize(source + 0.3 * torch.randn(3, 5, 5), dim=0)
    turned = _turned(tilted, source, target)
    assert torch.allclose(_turned(source, source, target), target, atol=1e-5)
    assert torch.allclose(turned.norm(dim=0), torch.ones(5, 5), atol=1e-5)
    assert torch.allclose((turned * target).sum(0), (tilted * source).sum(0), atol=1e-5)
