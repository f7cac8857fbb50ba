from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from fake_capture import MICRO

from id2r_core.configs import PRESETS, get_preset
from id2r_core.conventions import Domain
from id2r_core.errors import Id2rError
from id2r_core.nets import build_nets
from id2r_core.nets.codebook import Codebook, DomainCodebooks, Fusion
from id2r_core.nets.identity_encoder import AngularMargin, IdentityEncoder, face_window
from id2r_core.nets.layers import SwinBlock, group_norm
from id2r_core.nets.swapper import Field, Swapper, make_condition
from id2r_core.nets.vqgan import Decoder, Encoder, level_channels


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_paper_has_the_papers_size():
    with torch.device("meta"):
        nets = build_nets(PRESETS["paper"])
    counts = {name: parameters(net) / 1e6 for name, net in nets.named()}
    # encoder 29.4, decoder 34.1, five codebooks 1.3, swapper 29.5; with one codebook alone 93.0
    with_swapper = sum(counts[name] for name in ("encoder", "decoder", "codebooks", "swapper"))
    assert with_swapper == pytest.approx(93.0, abs=1.5)
    assert counts["fusion"] == pytest.approx(21.4, abs=0.1)
    assert PRESETS["paper"].latent == 16 and PRESETS["paper"].swap_levels == (16, 32, 64, 128)
    assert level_channels(PRESETS["paper"]) == {16: 512, 32: 256, 64: 256, 128: 128, 256: 128, 512: 64}


def test_tiny_pack_stays_small():
    with torch.device("meta"):
        nets = build_nets(PRESETS["tiny"])
    assert sum(parameters(net) for _, net in nets.named()) * 2 < 12 * 2**20


def test_base_pack_fits_into_48_mebibytes():
    base = PRESETS["base"]
    with torch.device("meta"):
        nets = build_nets(base)
    templates = base.templates * (3 * 4 * base.latent**2 * 1.25 + 512 * 2 + 3 * 4)  # codes of ten bits, vectors, tones
    assert sum(parameters(net) for _, net in nets.named()) * 2 + templates < 47.9 * 2**20


def test_every_preset_injects_into_levels_that_exist():
    for preset in PRESETS.values():
        assert preset.latent == 16
        assert set(preset.swap_levels) <= set(preset.levels)


def test_unknown_preset_names_the_others():
    with pytest.raises(Id2rError, match="paper, base, tiny"):
        get_preset("huge")


def test_autoencoder_shapes_and_injection_points():
    encoder, decoder = Encoder(MICRO), Decoder(MICRO)
    latent = encoder(torch.zeros(2, 3, 32, 32))
    assert latent.shape == (2, MICRO.code_width, 16, 16)
    seen = {}

    def inject(side, features):
        seen[side] = features.shape
        return features

    assert decoder(latent, inject).shape == (2, 3, 32, 32)
    assert seen == {"16": (2, 16, 16, 16), "32": (2, 8, 32, 32)}


def test_folded_pixels_come_back_in_place():
    preset = replace(MICRO, patch=2, size=64)
    encoder, decoder = Encoder(preset), Decoder(preset)
    assert preset.levels == (16, 32)
    latent = encoder(torch.zeros(1, 3, 64, 64))
    assert latent.shape[2:] == (16, 16) and decoder(latent).shape == (1, 3, 64, 64)
    corner = torch.zeros(1, 3, 64, 64)
    corner[:, :, :2, :2] = 1.0
    assert encoder.layers[0](corner)[0, :, 0, 0].min() == 1.0
    assert torch.equal(decoder.unfold(encoder.layers[0](corner)), corner)


def test_group_norm_keeps_the_mean_colour():
    norm = group_norm(8, 32)
    image = torch.rand(1, 8, 4, 4) + torch.arange(8.0).reshape(1, 8, 1, 1)
    assert norm(image).mean((2, 3)).std() > 0.1  # instance norm would leave zero


def test_codebook_takes_the_nearest_code():
    book = Codebook(5, 3, 0.25)
    torch.nn.init.normal_(book.code)
    latent = torch.randn(2, 3, 4, 4)
    found = book(latent)
    for b, y, x in ((0, 0, 0), (1, 3, 2)):
        distance = (book.code - latent[b, :, y, x]).square().sum(1)
        assert found.codes[b, y, x] == distance.argmin()
    assert torch.allclose(found.latent, book.look_up(found.codes), atol=1e-6)
    direct = (book.look_up(found.codes) - latent).square().mean()
    assert torch.allclose(found.loss, 1.25 * direct)


def test_codebook_gradient_goes_straight_through():
    book = Codebook(5, 3, 0.0)
    latent = torch.randn(1, 3, 2, 2, requires_grad=True)
    weight = torch.randn(1, 3, 2, 2)
    (book(latent).latent * weight).sum().backward()
    assert torch.allclose(latent.grad, weight)
    assert book.code.grad is None
    book(latent).loss.backward()
    assert book.code.grad.abs().sum() > 0


def test_dead_codes_are_revived_and_live_ones_left():
    book = Codebook(4, 2, 0.25)
    with torch.no_grad():
        book.code.copy_(torch.tensor([[0.0, 0.0], [9.0, 9.0], [8.0, 8.0], [7.0, 7.0]]))
    latent = torch.rand(1, 2, 4, 4) * 0.1
    for _ in range(20):
        book.count(book(latent).codes)
    assert book.usage[0] > 0.5 and book.usage[1:].max() < 0.05
    revived = book.revive(latent, torch.Generator().manual_seed(0))
    assert revived == 3
    assert torch.equal(book.code[0], torch.zeros(2))
    assert book.code.max() < 0.1 + 1e-6
    assert book.revive(latent, torch.Generator().manual_seed(0)) == 0


def test_each_image_meets_the_codebook_of_its_domain():
    books = DomainCodebooks(MICRO)
    for index, domain in enumerate(Domain):
        torch.nn.init.constant_(books[domain].code, float(index))
    domain = torch.tensor([3, 0, 3, 4])
    latent = torch.zeros(4, MICRO.code_width, 2, 2)
    found = books.quantise(latent, domain)
    assert torch.equal(found.latent[:, 0, 0, 0], domain.float())
    assert torch.equal(books.look_up(found.codes, domain), found.latent)
    assert torch.allclose(found.loss, 1.25 * (domain.float() ** 2).mean())


def test_fusion_weights_sum_to_one_and_mix_the_books():
    fusion = Fusion(MICRO)
    quantised = torch.randn(2, 5, MICRO.code_width, 16, 16)
    weights = fusion(quantised[:, 0])
    assert weights.shape == (2, 5, 16, 16)
    assert torch.allclose(weights.sum(1), torch.ones(2, 16, 16), atol=1e-5)
    expected = sum(weights[:, [d]] * quantised[:, d] for d in range(5))
    assert torch.allclose(fusion.fuse(quantised), expected, atol=1e-5)


def test_shifted_windows_do_not_look_across_the_border():
    torch.manual_seed(0)
    block = SwinBlock(8, 2, 4, shift=True)
    tokens = torch.randn(1, 8, 8, 8, requires_grad=True)
    block(tokens)[0, 0, 0].sum().backward()  # the top left pixel sits in a window of 2 x 2 after the shift
    reached = tokens.grad[0].abs().sum(-1) > 0
    assert reached[:2, :2].all()
    assert reached.sum() == 4


def test_swapper_starts_as_the_plain_decoder_and_then_follows_the_identity():
    torch.manual_seed(0)
    decoder, swapper = Decoder(MICRO), Swapper(MICRO)
    latent = torch.randn(2, MICRO.code_width, 16, 16)
    vector, tone = F.normalize(torch.randn(2, 512), dim=1), torch.full((2, 3), 0.3)
    domain, view = torch.tensor([1, 2]), torch.tensor([0, 2])
    assert torch.allclose(swapper(decoder, latent, vector, tone, domain, view), decoder(latent), atol=1e-5)
    for norm in (m for m in swapper.modules() if hasattr(m, "linear")):
        torch.nn.init.normal_(norm.linear.weight, std=0.1)
    one = swapper(decoder, latent, vector, tone, domain, view)
    assert not torch.allclose(one, swapper(decoder, latent, vector.flip(0), tone, domain, view), atol=1e-3)
    assert not torch.allclose(one, swapper(decoder, latent, vector, tone * 0.2, domain, view), atol=1e-3)
    assert not torch.allclose(one, swapper(decoder, latent, vector, tone, domain.flip(0), view), atol=1e-3)


def test_the_field_adds_pictures_of_its_place_as_the_condition_says():
    torch.manual_seed(0)
    field = Field(rank=2)
    torch.nn.init.normal_(field.pictures)
    condition = torch.randn(3, field.coefficient.in_features)
    reflectance, view = torch.tensor([1, 1, 4]), torch.tensor([0, 2, 0])
    found = field(condition, reflectance, view, 64)
    coefficient = field.coefficient(condition)
    expected = sum(coefficient[1, r] * field.pictures[0, 2, r] for r in range(2))
    assert torch.allclose(found[1], expected, atol=1e-5)
    with torch.no_grad():
        field.mean[3, 0] += 1.0  # normals, front view
    assert torch.allclose(
        field(condition, reflectance, view, 64) - found, torch.tensor([0.0, 0, 1])[:, None, None, None], atol=1e-5
    )
    assert field(condition, torch.zeros(3, dtype=torch.long), view, 64).abs().max() == 0  # RGB


def test_the_tone_reaches_each_domain_by_inputs_of_its_own():
    vector, tone = torch.zeros(2, 512), torch.tensor([[0.5, 0.4, 0.3], [0.05, 0.03, 0.02]])
    diffuse, specular = (make_condition(vector, tone, torch.full((2,), d)) for d in (1, 2))
    moved_by_tone = [(condition[0] != condition[1]).nonzero()[:, 0].tolist() for condition in (diffuse, specular)]
    assert len(moved_by_tone[0]) == len(moved_by_tone[1]) == 3
    assert not set(moved_by_tone[0]) & set(moved_by_tone[1])


def test_face_window_is_the_papers():
    crop = torch.zeros(1, 3, 512, 512)
    crop[:, :, :448, 32:480] = 1.0
    assert face_window(crop).min() == 1.0
    assert face_window(torch.zeros(1, 3, 128, 128)).shape == (1, 3, 112, 112)


@pytest.mark.parametrize("name", PRESETS)
def test_identity_encoder_gives_unit_vectors_and_tones_of_reflectance(name):
    preset = PRESETS[name]
    found = IdentityEncoder(preset)(torch.rand(2, 3, 128, 128) * 2 - 1)
    assert torch.allclose(found.vector.norm(dim=1), torch.ones(2), atol=1e-5)
    assert found.tone_linear.shape == (2, 3) and 0 < found.tone_linear.min() and found.tone_linear.max() < 1


def test_angular_margin_makes_the_right_class_harder():
    easy, hard = AngularMargin(4, 0.0, 16.0), AngularMargin(4, 0.4, 16.0)
    hard.load_state_dict(easy.state_dict())
    vector, label = F.normalize(torch.randn(6, 512), dim=1), torch.arange(6) % 4
    plain = F.cross_entropy(16.0 * vector @ F.normalize(easy.centre, dim=1).T, label)
    assert torch.allclose(easy(vector, label), plain, atol=1e-3)
    assert hard(vector, label) > easy(vector, label)
