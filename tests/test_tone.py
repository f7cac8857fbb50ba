import pytest
import torch

from id2r_core.pigment import build_pigment_table, lab_of
from id2r_core.tone import BLOOD, EXPOSED_WHITE, as_skin, common_tone, estimate_tone

FAIR = torch.tensor([0.50, 0.34, 0.26])


def test_nobody_is_fairer_than_skin_can_be():
    burnt = estimate_tone(
        torch.tensor([0.95, 0.65, 0.55]), torch.tensor([0.9, 0.65, 0.5]), torch.tensor([0.9, 0.7, 0.6])
    )
    assert burnt.max() == pytest.approx(0.67, abs=1e-3)
    assert 1.25 < burnt[0] / burnt[1] < 1.7


def test_what_a_face_can_have_stays_as_it_is():
    low, high = (round(edge * 95) for edge in BLOOD)
    table = build_pigment_table().linear[:, ::12, low : high + 1 : 8].flatten(1).T
    for skin in table:
        assert torch.allclose(as_skin(skin), skin, rtol=1e-4)


def test_a_red_face_stands_in_red_light():
    """Some places are that red, no whole face is."""
    tone = torch.tensor([0.494, 0.190, 0.152])
    before, after = lab_of(tone), lab_of(as_skin(tone))
    assert before[1] > 24 and 10 < after[1] < 19
    assert abs(after[0] - before[0]) < 4


def test_how_bright_the_face_is_in_the_photo_has_a_say():
    learnt = torch.tensor([0.30, 0.19, 0.13])
    tones = [estimate_tone(learnt, learnt, learnt * exposure)[1] for exposure in (0.6, EXPOSED_WHITE, 2.5)]
    assert tones[0] < tones[1] < tones[2]
    assert tones[1] == pytest.approx(0.19, rel=0.05)


def test_the_encoder_knows_best_how_light_skin_is_and_the_translation_its_colour():
    """The encoder takes the colours of a photo for those of the skin."""
    darker, redder = 0.7 * FAIR, FAIR * torch.tensor([1.25, 0.92, 0.87])
    told = lambda learnt, translated: lab_of(estimate_tone(learnt, translated, FAIR * EXPOSED_WHITE))
    by_all, half_dark, dark_half = told(FAIR, FAIR), told(darker, FAIR), told(FAIR, darker)
    assert half_dark[0] < dark_half[0] < by_all[0]
    half_red, red_half = told(redder, FAIR), told(FAIR, redder)
    assert by_all[1] < half_red[1] < red_half[1]


@pytest.mark.parametrize("orange", [(0.475, 0.114, 0.036), (0.521, 0.174, 0.045)])
def test_an_orange_face_is_taken_for_orange_light_half_way(orange):
    """As two portraits are developed: their light is warmer than any skin."""
    tone = torch.tensor(orange)
    skin = as_skin(tone)
    before, after = lab_of(tone), lab_of(skin)
    assert before[1:].norm() - 20 < after[1:].norm() < before[1:].norm() - 10
    assert abs(after[0] - before[0]) < 5


def test_a_turned_head_has_less_say():
    ahead, turned = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.3, 0.2, 0.1])
    assert torch.allclose(common_tone([ahead, turned], [1.0, 1.0]), (ahead * turned).sqrt())
    assert torch.allclose(common_tone([ahead, turned], [1.0, 0.3]), ahead, rtol=0.01)
