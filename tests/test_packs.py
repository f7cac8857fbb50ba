import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from fake_capture import MICRO, fake_run

from id2r_core import packs
from id2r_core.configs import PRESETS
from id2r_core.conventions import Domain, linear_to_srgb
from id2r_core.errors import Id2rError
from id2r_core.identity import Identity
from id2r_core.nets import build_nets
from id2r_core.nets.identity_encoder import face_window
from id2r_core.nets.onnx_identity import identity_path, load_onnx_identity
from id2r_core.packs import cli, load_pack, pack_folder, pack_names, save_pack, verify_pack
from id2r_core.swap import swap_identity
from id2r_core.templates import TemplateLibrary, choose_template
from id2r_core.train import cli as train_cli
from id2r_core.train import losses


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


@pytest.mark.parametrize(("codes", "width"), [(1024, 16), (1025, 16), (16, 6)])
def test_codes_survive_packing(codes, width):
    torch.manual_seed(0)
    indices = torch.randint(codes, (5, 3, 4, 16, width))
    indices.view(-1)[:2] = torch.tensor([0, codes - 1])
    packed = packs.packed_codes(indices)
    assert torch.equal(packs.unpacked_codes(packed), indices)
    is_small = codes <= 1024 and width % 4 == 0
    assert sum(t.numel() * t.element_size() for t in packed.values()) == indices.numel() * (1.25 if is_small else 2)


def test_two_hundred_templates_weigh_less_than_a_photo():
    base = PRESETS["base"]
    shape = (base.templates, 3, 4, base.latent, base.latent)
    library = packs.packed_codes(torch.randint(base.codes, shape)) | {
        "vectors": torch.zeros(base.templates, 512).half()
    }
    assert base.templates >= 200 and sum(t.numel() * t.element_size() for t in library.values()) < 2**20


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
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format": 3}))
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
    assert sum(path.stat().st_size for path in folder.iterdir()) < 13 * 2**20
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


def arcface_in_small(path: Path, width: int = 512, seed: int = 0) -> Path:
    """An ONNX graph of the operators of insightface's ArcFace models: convolution, norm, PReLU, residual, linear layer."""
    random = np.random.default_rng(seed)
    constants = {
        "w1": random.normal(0, 0.3, (8, 3, 3, 3)), "b1": np.zeros(8), "slope": np.full((8, 1, 1), 0.25),
        "s": np.ones(8), "t": np.zeros(8), "m": np.zeros(8), "v": np.ones(8),
        "w2": random.normal(0, 0.1, (8, 8, 3, 3)), "w3": random.normal(0, 0.05, (width, 8 * 14 * 14)), "b3": np.zeros(width),
    }  # fmt: skip
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["face", "w1", "b1"], ["a"], kernel_shape=[3, 3], strides=[8, 8], pads=[1, 1, 1, 1]),
        make("BatchNormalization", ["a", "s", "t", "m", "v"], ["b"], epsilon=2e-5),
        make("PRelu", ["b", "slope"], ["c"]),
        make("Conv", ["c", "w2"], ["d"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        make("Add", ["c", "d"], ["e"]),
        make("Flatten", ["e"], ["f"], axis=1),
        make("Gemm", ["f", "w3", "b3"], ["vector"], transB=1),
    ]
    value = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "arcface",
        [value("face", kind, ["N", 3, 112, 112])],
        [value("vector", kind, ["N", width])],
        [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_a_foreign_identity_model_gives_what_onnx_runtime_gives(tmp_path):
    path = arcface_in_small(tmp_path / "arc.onnx")
    face = torch.rand(2, 3, 112, 112) * 2 - 1
    face.requires_grad_(True)
    net = load_onnx_identity(path, torch.device("cpu"))
    expected = onnxruntime.InferenceSession(path).run(None, {"face": face.detach().numpy()})[0]
    assert np.allclose(net(face).detach().numpy(), expected, atol=1e-4)
    net(face).sum().backward()
    assert face.grad.abs().sum() > 0


def test_an_unfit_identity_model_is_refused(tmp_path):
    with pytest.raises(Id2rError, match="512"):
        load_onnx_identity(arcface_in_small(tmp_path / "small.onnx", width=64), torch.device("cpu"))
    (tmp_path / "text.onnx").write_bytes(b"no model at all")
    with pytest.raises(Id2rError, match="no ONNX model"):
        load_onnx_identity(tmp_path / "text.onnx", torch.device("cpu"))
    with pytest.raises(Id2rError, match="names no identity model"):
        identity_path("insightface:nowhere.onnx")


def test_a_pack_for_an_arcface_model_from_training_to_use(tmp_path, monkeypatch):
    data, out = tmp_path / "data", tmp_path / "out"
    monkeypatch.setitem(PRESETS, "micro", MICRO)
    monkeypatch.setattr(losses, "VGG_SHA256", fake_run(data, out))
    model, folder = arcface_in_small(tmp_path / "arc.onnx"), tmp_path / "pack"
    option = ["--identity", f"insightface:{model}"]
    common = ["--preset", "micro", "--data", str(data), "--out", str(out), "--threads", "1", "--steps", "1"]
    assert train_cli.main(["all", *common, *option]) == 0
    export = ["export", str(out), "--preset", "micro", "--to", str(folder)]
    with pytest.raises(Id2rError, match="trained for arc.onnx"):
        cli.main(export)
    assert cli.main([*export, *option]) == 0
    monkeypatch.setattr(packs, "INSIGHTFACE", tmp_path / "insightface")
    with pytest.raises(Id2rError, match="arc.onnx.*not at hand"):
        load_pack(folder)
    (tmp_path / "insightface" / "buffalo").mkdir(parents=True)
    arcface_in_small(tmp_path / "insightface" / "buffalo" / "arc.onnx", seed=1)  # of that name, but another model
    with pytest.raises(Id2rError, match="not at hand"):
        load_pack(folder)
    shutil.copy(model, tmp_path / "insightface" / "buffalo" / "arc.onnx")
    pack = load_pack(folder)
    crop = torch.rand(1, 3, 128, 128) * 2 - 1
    found = pack.nets.identity(crop)
    expected = load_onnx_identity(model, torch.device("cpu"))(face_window(crop))
    assert torch.allclose(found.vector, torch.nn.functional.normalize(expected, dim=1), atol=1e-5)
    assert not list(folder.glob("*.onnx")) and pack.templates.vectors.shape == (MICRO.templates, 512)
    assert cli.main(["info", str(folder)]) == 0


def test_networks_that_nobody_asks_for_are_not_made(folder):
    pack = load_pack(folder)
    pack.nets.decoder(torch.zeros(1, MICRO.code_width, 16, 16))
    assert "decoder" in vars(pack.nets) and "encoder" not in vars(pack.nets)
    with pytest.raises(AttributeError):
        pack.nets.dekoder  # noqa: B018
