import numpy as np
import pytest
import torch
from fake_capture import MICRO

from id2r_core.conventions import REFLECTANCE, Domain
from id2r_core.crop import FaceCrop
from id2r_core.errors import Id2rError
from id2r_core.identity import Identity, doubts, embed_identity, mean_identity
from id2r_core.nets import build_nets
from id2r_core.packs import Pack
from id2r_core.swap import swap_identity
from id2r_core.templates import TemplateLibrary, choose_template


@pytest.fixture
def pack():
    torch.manual_seed(0)
    nets = build_nets(MICRO)
    for _, net in nets.named():
        net.eval().requires_grad_(False)
    vectors = torch.eye(3, 512)
    tones = torch.tensor([[0.5, 0.4, 0.3], [0.5, 0.4, 0.3], [0.05, 0.03, 0.02]])
    codes = torch.randint(MICRO.codes, (3, 3, 4, 16, 16))
    templates = TemplateLibrary(("ada", "bea", "cai"), codes, vectors, tones)
    return Pack("mine", MICRO, nets, templates, "0" * 64, torch.device("cpu"))


def test_closest_weighs_identity_and_tone(pack):
    light, dark = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.06, 0.04, 0.03])
    assert choose_template(pack, Identity(torch.eye(3, 512)[1], light)).name == "bea"
    # A dark person whose vector is nearer to a light template still gets the dark one.
    assert choose_template(pack, Identity(torch.eye(3, 512)[1], dark)).name == "cai"


def test_fixed_and_named_templates(pack):
    somebody = Identity(torch.eye(3, 512)[2], torch.tensor([0.05, 0.03, 0.02]))
    assert choose_template(pack, somebody, "fixed").name == "ada"
    assert choose_template(pack, somebody, "bea").name == "bea"
    with pytest.raises(Id2rError, match="ada, bea, cai"):
        choose_template(pack, somebody, "zoe")


def test_embedding_does_not_depend_on_the_size_of_the_crop(pack):
    large = np.random.default_rng(0).random((4, 4, 3)).astype(np.float32).repeat(32, 0).repeat(32, 1)
    small = large[::4, ::4]
    matrix = np.eye(3)[:2]
    one, other = (embed_identity(FaceCrop(image, matrix), pack) for image in (small, large))
    assert one.vector.shape == (512,) and one.vector.norm() == pytest.approx(1.0, abs=1e-5)
    assert one.tone_linear.shape == (3,)
    assert one.vector @ other.vector > 0.98
    assert not torch.allclose(one.vector, embed_identity(FaceCrop(1.0 - small, matrix), pack).vector)


def test_the_person_of_several_photos_is_their_mean(pack):
    vectors, tones = torch.eye(3, 512), torch.tensor([[0.4, 0.2, 0.1], [0.1, 0.2, 0.4]])
    one, other = (Identity(vector, tone) for vector, tone in zip(vectors, tones, strict=False))
    mean = mean_identity([one, other])
    assert torch.allclose(mean.vector, (vectors[0] + vectors[1]) / 2**0.5)
    assert torch.allclose(mean.tone_linear, torch.tensor([0.2, 0.2, 0.2]))
    alone = mean_identity([one])
    assert torch.equal(alone.vector, one.vector) and torch.equal(alone.tone_linear, one.tone_linear)


def test_a_further_photo_that_hardly_resembles_the_first_is_named():
    tone, (a, b, _) = torch.full((3,), 0.3), torch.eye(3, 512)
    like = torch.nn.functional.normalize(a + b, dim=0)
    (said,) = doubts([Identity(each, tone) for each in (a, like, b)], ["a.png", "like.png", "b.png"])
    assert said.startswith("'b.png' may show another person than 'a.png'")
    assert doubts([Identity(a, tone)], ["a.png"]) == []


def test_swap_gives_three_views_of_four_domains(pack):
    template = pack.templates[1]
    identity = Identity(torch.eye(3, 512)[0], torch.full((3,), 0.3))
    images = swap_identity(template, identity, pack)
    assert tuple(images) == REFLECTANCE
    for image in images.values():
        assert image.shape == (3, 3, MICRO.size, MICRO.size) and image.dtype == torch.float32
        assert 0.0 <= image.min() and image.max() <= 1.0


def test_swap_decodes_each_view_and_domain_from_its_own_codes(pack):
    template = pack.templates[0]
    identity = Identity(torch.eye(3, 512)[0], torch.full((3,), 0.3))
    index = list(Domain).index(Domain.ROUGHNESS)
    torch.nn.init.normal_(pack.nets.swapper.field.mean, std=0.1)
    images = swap_identity(template, identity, pack)
    latent = pack.nets.codebooks[Domain.ROUGHNESS].look_up(template.codes[2, REFLECTANCE.index(Domain.ROUGHNESS)][None])

    place = torch.tensor([index]), torch.tensor([2])
    alone = pack.nets.swapper(pack.nets.decoder, latent, identity.vector[None], identity.tone_linear[None], *place)
    expected = (alone[0] * 0.5 + 0.5).clamp(0, 1).mean(0, keepdim=True).expand(3, -1, -1)
    assert torch.allclose(images[Domain.ROUGHNESS][2], expected, atol=1e-5)
    assert images[Domain.DIFFUSE].std(1).max() > 1e-3


def test_swap_shows_the_identity(pack):
    for norm in (m for m in pack.nets.swapper.modules() if hasattr(m, "starts") or hasattr(m, "linear")):
        torch.nn.init.normal_(norm.linear.weight, std=0.1)
    tone = torch.full((3,), 0.3)
    one, other = (swap_identity(pack.templates[0], Identity(v, tone), pack) for v in torch.eye(3, 512)[:2])
    assert (one[Domain.DIFFUSE] - other[Domain.DIFFUSE]).abs().mean() > 1e-3
