"""Scans in: a made-up scan of known shape and skin comes back as it is; everything that can be wrong is named."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch

from id2r_core.capture.importing import import_folder
from id2r_core.capture.scan import read_obj, read_scan
from id2r_core.capture.skins import list_captures, load_skins, make_tile
from id2r_core.capture.valid import GROUPS, group_of
from id2r_core.conventions import Domain, decode_normal
from id2r_core.errors import Id2rError
from id2r_core.geometry.mesh import vertex_normals
from id2r_core.head.atlas import make_atlas
from id2r_core.head.model import PARTS
from id2r_core.pigment import build_pigment_table
from tests.capture_data import write_data

SIZE = 256
TILE_SHARE = 0.9  # of the scan's texture; the strip at its right holds white of the eye above and iris below
TURN, SHIFT = 0.12, np.array([3.0, 150.0, -2.0])  # radians about y, centimetres


def scan_shape(model):
    """Fine vertices [Nf, 3] of somebody who is not the mean head."""
    names, identity = model.identity_names, torch.zeros(1, len(model.identity_names))
    for name in ("head-fat-incr", "nose-hump-incr", "caucasian-male", "chin-width-incr"):
        if name in names:
            identity[0, names.index(name)] = 0.5
    return model.subdivide(model.shape(identity, torch.zeros(1, len(model.expression_names))))[0]


def paint(atlas) -> np.ndarray:
    """A texture of the head tile [T, T, 3] uint8 BGR: skin that turns redder from left to right, lips, brows."""
    across = np.linspace(0, 1, atlas.size)[None, :, None]
    skin = np.array([130, 150, 190]) + across * np.array([-20, -20, 20]) + np.zeros((atlas.size, 1, 1))
    for name, colour in (("lip", (90, 80, 150)), ("brow", (40, 45, 60)), ("eyelid", (105, 120, 165))):
        mask = atlas.region(name).numpy().clip(0, 1)[..., None]
        skin = skin * (1 - mask) + mask * np.array(colour)
    return skin.astype(np.uint8)


def write_scan(folder, model, atlas):
    """A capture folder: the fine mesh in another order, in centimetres, turned and moved, in another texture."""
    folder.mkdir()
    random = np.random.default_rng(0)
    fine, faces = scan_shape(model).numpy(), model.faces.numpy()
    part, faces_uv, uv = model.face_part.numpy(), model.faces_uv.numpy(), model.fine_uv.numpy()
    kept = np.isin(part, [PARTS.index(name) for name in ("skin", "eyeball_left", "eyeball_right")])
    order = random.permutation(np.flatnonzero(kept))
    renamed = random.permutation(len(fine))
    vertices = np.empty_like(fine)
    vertices[renamed] = fine
    cosine, sine = np.cos(TURN), np.sin(TURN)
    vertices = vertices @ np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]]) * 100 + SHIFT
    lines = [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in vertices]
    lines += [f"vt {u * TILE_SHARE:.6f} {v:.6f}" for u, v in uv]
    lines += ["vt 0.95 0.75", "vt 0.95 0.25"]  # white of the eye, iris
    for face in order:
        corners = faces[face]
        coordinates = faces_uv[face] + 1
        if PARTS[part[face]] != "skin":
            eye = fine[model.eye_vertices[int(PARTS[part[face]] == "eyeball_right")].numpy()]
            ahead = (fine[corners].mean(0) - eye.mean(0))[2] / np.linalg.norm(eye[0] - eye.mean(0))
            coordinates = np.full(3, len(uv) + 1 + int(ahead > 0.88))
        lines.append("f " + " ".join(f"{renamed[v] + 1}/{t}" for v, t in zip(corners, coordinates, strict=True)))
    (folder / "head.obj").write_text("\n".join(lines))
    side = atlas.size
    texture = np.full((side, side, 3), 235, np.uint8)
    texture[side // 2 :] = 30
    texture[:, : int(TILE_SHARE * side)] = cv2.resize(paint(atlas), (int(TILE_SHARE * side), side))
    cv2.imwrite(str(folder / "diffuse.png"), texture)
    cv2.imwrite(str(folder / "specular.png"), np.full((64, 64), 30000, np.uint16))
    cv2.imwrite(str(folder / "normal.png"), np.full((64, 64, 3), (65535, 32768, 32768), np.uint16))
    about = {"licence": "CC0-1.0", "unit": "cm", "sex": "female", "age": 30, "split": "train"}
    about["maps"] = {
        "diffuse": {"file": "diffuse.png", "colour_space": "sRGB"},
        "specular": {"file": "specular.png"},
        "normal": {"file": "normal.png", "green": "up"},
    }
    (folder / "capture.json").write_text(json.dumps(about))
    return folder


@pytest.fixture(scope="module")
def atlas(model):
    return make_atlas(model, SIZE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model, atlas):
    return write_scan(tmp_path_factory.mktemp("scan") / "somebody", model, make_atlas(model, 512))


@pytest.fixture(scope="module")
def imported(tmp_path_factory, folder, atlas, one_thread):
    out = tmp_path_factory.mktemp("captures")
    return import_folder(folder, out, atlas), out


def test_the_head_lies_on_the_scan(imported, model):
    registration = imported[0].registration
    assert registration.error < 7e-4 and registration.landmark_error < 2.5e-3
    truth = scan_shape(model)
    truth = truth[: len(registration.vertices)] - model.eyes(truth)[0].mean(0)
    face = model.regions["face"][: len(truth)] > 0.8
    off = (registration.vertices - truth)[face].norm(dim=1)
    assert off.median() < 0.003  # slides along the surface included
    started = (model.neutral[face] - truth[face]).norm(dim=1)
    assert off.median() < started.median()


def test_the_skin_lands_where_it_belongs(imported, atlas):
    result = imported[0]
    true = paint(atlas)[..., ::-1].astype(np.float32) / 255
    found = result.maps[Domain.DIFFUSE].permute(1, 2, 0).numpy()
    face = ((atlas.region("face") > 0.7) & result.known).numpy()
    assert result.known[atlas.region("face") > 0.7].float().mean() > 0.93
    assert np.abs(found - true)[face].mean() < 0.02
    lip = (atlas.region("lip") > 0.8).numpy() & face
    assert np.abs(found - true)[lip].mean() < 0.08
    torch.testing.assert_close(
        result.maps[Domain.SPECULAR], torch.full((3, SIZE, SIZE), 30000 / 65535), atol=1e-3, rtol=0
    )


def test_a_flat_normal_map_gives_the_surface_itself(imported, atlas):
    result = imported[0]
    fine = atlas.model.subdivide(result.registration.vertices[None])
    smooth = torch.nn.functional.normalize(atlas.bake(vertex_normals(fine, atlas.model.faces)[0]), dim=0)
    cheek = (atlas.region("cheek") > 0.5) & result.known
    agreement = (decode_normal(result.maps[Domain.NORMAL]) * smooth).sum(0)[cheek]
    assert agreement.mean() > 0.97


def test_what_was_not_there_is_said_and_all_files_are(imported):
    _, out = imported
    about = json.loads((out / "somebody" / "capture.json").read_text())
    assert any("no roughness map" in note for note in about["notes"]) and about["split"] == "train"
    names = {path.name for path in (out / "somebody").iterdir()}
    assert {"diffuse.png", "specular.png", "normal.png", "known.png", "skin.png", "head.npz", "views"} <= names
    view = cv2.imread(str(out / "somebody" / "views" / "diffuse_left.png"))
    assert view.shape == (512, 512, 3) and 0.2 < (view.max(2) > 0).mean() < 0.9
    assert [path.name for path in out.iterdir()] == ["somebody"]


def test_imported_skins_join_the_bank(imported, model, tmp_path):
    tile, pigments = make_tile(model, SIZE), build_pigment_table()
    data = write_data(tmp_path)
    without = load_skins(data, "train", tile, pigments)
    bank = load_skins(data, "train", tile, pigments, captures=imported[1])
    assert bank.names == (*without.names, "somebody") and bank.has_hair.tolist() == [1.0] * len(without.names) + [0.0]
    torch.testing.assert_close(bank.low[:-1], without.low)
    assert list_captures(imported[1], "validation") == []
    with pytest.raises(Id2rError, match="no imported captures"):
        list_captures(tmp_path, "train")


def test_groups_keep_their_members_together():
    assert group_of("MENA_M_2") == group_of("Hispanic_M_2") == "Hispanic_M_2" and group_of("White_M_1") == "White_M_1"
    assert len(sum(GROUPS, ())) == len(set(sum(GROUPS, ())))


def _say(**changes):
    def change(folder):
        about = json.loads((folder / "capture.json").read_text())
        (folder / "capture.json").write_text(json.dumps(about | changes))

    return change


def _map(kind, **changes):
    def change(folder):
        about = json.loads((folder / "capture.json").read_text())
        about["maps"][kind] |= changes
        (folder / "capture.json").write_text(json.dumps(about))

    return change


def _edit(old, new, count=1):
    def change(folder):
        text = (folder / "head.obj").read_text()
        (folder / "head.obj").write_text(text.replace(old, new, count))

    return change


def _flip(folder):
    lines = (folder / "head.obj").read_text().splitlines()
    flipped = ["f " + " ".join(line.split()[:0:-1]) if line.startswith("f ") else line for line in lines]
    (folder / "head.obj").write_text("\n".join(flipped))


def _without_uv(folder):
    lines = (folder / "head.obj").read_text().splitlines()
    bare = ["f " + " ".join(c.split("/")[0] for c in line.split()[1:]) if line[:2] == "f " else line for line in lines]
    (folder / "head.obj").write_text("\n".join(bare))


def _colour(kind, value):
    return lambda folder: cv2.imwrite(str(folder / f"{kind}.png"), np.full((64, 64, 3), value, np.uint8))


def _pale_linear(folder):
    _colour("diffuse", (170, 190, 220))(folder)
    _map("diffuse", colour_space="linear")(folder)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (_say(licence=""), "'licence' empty"),
        (_say(unit="inch"), "says unit 'inch'"),
        (_say(unit="m"), "is no head"),
        (_say(age="old"), "says age"),
        (_say(split="test"), "says split"),
        (_say(maps={}), "'maps' empty"),
        (_say(maps={"gloss": {"file": "x"}}), "not known: gloss"),
        (_say(maps={"specular": {"file": "specular.png"}}), "no diffuse map"),
        (_map("diffuse", file="lost.png"), "diffuse map 'lost.png'"),
        (_map("diffuse", colour_space=""), "no colour space"),
        (_pale_linear, "does not look linear"),
        (_colour("diffuse", 8), "does not look sRGB"),
        (_colour("specular", (10, 120, 240)), "specular map of .* is coloured"),
        (_colour("normal", 128), "no tangent-space map"),
        (lambda folder: (folder / "capture.json").unlink(), "holds no capture.json"),
        (lambda folder: (folder / "capture.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "head.obj").unlink(), "mesh .* is missing"),
        (lambda folder: (folder / "head.obj").write_text("o nothing"), "has no faces"),
        (_edit("v ", "v nan nan nan\nv "), "not numbers"),
        (_edit("v ", "v one two three\nv "), "Line 1 of 'head.obj'"),
        (_flip, "normals are flipped"),
        (_without_uv, "without texture coordinates"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_imported(folder, tmp_path, atlas, spoil, message):
    spoiled = tmp_path / "somebody"
    shutil.copytree(folder, spoiled)
    spoil(spoiled)
    with pytest.raises(Id2rError, match=message):
        import_folder(spoiled, tmp_path / "out", atlas)
    assert not (tmp_path / "out").exists()


def test_a_scan_without_a_face_is_named(folder, tmp_path, atlas):
    spoiled = tmp_path / "somebody"
    shutil.copytree(folder, spoiled)
    _colour("diffuse", 150)(spoiled)
    lines = (spoiled / "head.obj").read_text().splitlines()
    away = [f"v {-float(p[1])} {p[2]} {-float(p[3])}" if (p := line.split())[0] == "v" else line for line in lines]
    (spoiled / "head.obj").write_text("\n".join(away))
    with pytest.raises(Id2rError, match="No face was found"):
        import_folder(spoiled, tmp_path / "out", atlas)


def test_polygons_and_negative_indices_are_read(tmp_path):
    (tmp_path / "square.obj").write_text(
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf -4/-4/1 -3/-3/1 3/3/1 4/4/1\n"
    )
    vertices, _, faces, faces_uv = read_obj(tmp_path / "square.obj")
    assert faces.tolist() == faces_uv.tolist() == [[0, 1, 2], [0, 2, 3]] and vertices.shape == (4, 3)


def test_linear_maps_become_srgb(folder, tmp_path):
    linear = tmp_path / "linear"
    shutil.copytree(folder, linear)
    _colour("diffuse", 55)(linear)  # 0.2157 linear
    _map("diffuse", colour_space="linear")(linear)
    assert abs(read_scan(linear).maps["diffuse"].mean() - 0.502) < 0.01
