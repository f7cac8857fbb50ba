import json

import pytest
import torch
from fake_capture import MICRO

from id2r_core.configs import PRESETS
from id2r_core.conventions import Domain, linear_to_srgb
from id2r_core.errors import Id2rError
from id2r_core.identity import Identity
from id2r_core.nets import build_nets
from id2r_core.packs import cli, load_pack, pack_folder, pack_names, save_pack, verify_pack
from id2r_core.swap import swap_identity
from id2r_core.templates import TemplateLibrary, choose_template


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "micro", MICRO)
    torch.manual_seed(0)
    templates = TemplateLibrary(
        ("ada", "bea"),
        torch.randint(MICRO.codes, (2, 3, 4, 16, 16)),
        torch.nn.functional.normalize(torch.randn(2, 512), dim=1),
        torch.rand(2, 3),
    )
    save_pack(tmp_path / "mine", "mine", MICRO, build_nets(MICRO), templates, "# A card\n")
    return tmp_path / "mine"


def test_a_pack_comes_back_as_it_was_saved(tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "micro", MICRO)
    nets = build_nets(MICRO)
    codes = torch.randint(MICRO.codes, (1, 3, 4, 16, 16))
    templates = TemplateLibrary(("t",), codes, torch.ones(1, 512), torch.ones(1, 3))
    save_pack(tmp_path / "p", "p", MICRO, nets, templates, "")
    pack = load_pack(tmp_path / "p")
    assert pack.name == "p" and pack.preset is MICRO and len(pack.sha256) == 64
    assert torch.equal(pack.templates.codes, codes) and pack.templates.names == ("t",)
    loaded = dict(pack.nets.named())
    for name, net in nets.named():
        for key, tensor in net.state_dict().items():
            assert torch.allclose(loaded[name].state_dict()[key], tensor, rtol=1e-3, atol=1e-5)
        assert not any(p.requires_grad for p in loaded[name].parameters())
    image = torch.rand(1, 3, 32, 32)
    assert torch.allclose(pack.nets.encoder(image), nets.encoder(image), atol=5e-2)


def test_only_known_kinds_of_files_lie_in_a_pack(folder):
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json", ".md"}
    assert verify_pack(folder)["templates"] == ["ada", "bea"]


@pytest.mark.parametrize("file", ["decoder.safetensors", "templates.safetensors"])
def test_a_changed_file_is_refused_before_it_is_read(folder, file, monkeypatch):
    data = bytearray((folder / file).read_bytes())
    data[-1] ^= 1
    (folder / file).write_bytes(data)
    with pytest.raises(Id2rError, match=f"{file} of the weight pack 'mine' is damaged"):
        load_pack(folder)
    with pytest.raises(Id2rError, match="damaged"):
        verify_pack(folder)


def test_a_missing_file_is_named(folder):
    (folder / "swapper.safetensors").unlink()
    with pytest.raises(Id2rError, match="lacks swapper.safetensors"):
        load_pack(folder)


def test_a_damaged_manifest_is_refused(folder):
    (folder / "manifest.json").write_text("{")
    with pytest.raises(Id2rError, match="manifest"):
        load_pack(folder)


def test_a_pack_of_a_newer_program_is_refused(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(Id2rError, match="does not know"):
        load_pack(folder)


def test_weights_of_another_size_are_refused(folder, monkeypatch):
    from dataclasses import replace

    monkeypatch.setitem(PRESETS, "micro", replace(MICRO, code_width=16))
    with pytest.raises(Id2rError, match="other sizes"):
        load_pack(folder)


def test_an_unknown_pack_names_those_that_exist():
    with pytest.raises(Id2rError) as caught:
        load_pack("giant")
    assert "giant" in caught.value.message
    assert all(name in caught.value.hint for name in pack_names())


def test_the_shipped_pack_is_whole_and_small():
    folder = pack_folder("tiny")
    manifest = verify_pack(folder)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12 * 2**20
    assert {path.name for path in folder.iterdir()} == {*manifest["files"], "manifest.json"}


def test_the_shipped_pack_carries_tone_and_sane_reflectance():
    pack = load_pack("tiny")
    tones = torch.tensor([[0.60, 0.42, 0.32], [0.25, 0.14, 0.08], [0.06, 0.03, 0.02]])
    for tone in tones:
        like = (pack.templates.tones_linear - tone).norm(dim=1).argmin()
        identity = Identity(pack.templates.vectors[like], tone)
        images = swap_identity(choose_template(pack, identity), identity, pack)
        cheeks = {domain: image[0, :, 70:88, 40:88].mean((1, 2)) for domain, image in images.items()}
        assert (cheeks[Domain.DIFFUSE] - linear_to_srgb(tone)).abs().max() < 0.12
        assert 0.2 < cheeks[Domain.SPECULAR].mean() < 0.9
        assert 0.2 < cheeks[Domain.ROUGHNESS].mean() < 0.9
        normal = images[Domain.NORMAL][0, :, 50:90, 44:84] * 2 - 1
        assert normal[2].mean() > 0.5  # the middle of the front view faces the camera
        assert 0.8 < normal.norm(dim=0).mean() < 1.1
        left, right = (images[Domain.NORMAL][view, 0, 40:90, 44:84].mean() for view in (1, 2))
        assert abs(left - right) > 0.3  # the side views look from opposite sides


def test_pack_commands(folder, capsys):
    assert cli.main(["verify", str(folder)]) == 0
    assert cli.main(["info", str(folder)]) == 0
    assert "# A card" in capsys.readouterr().out
