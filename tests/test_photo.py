"""Every kind of file that the intake promises, and every kind that it refuses."""

import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from id2r_core import photo as intake
from id2r_core.errors import Id2rError
from id2r_core.photo import load_photo

ORIENTATION = ExifTags.Base.Orientation


@pytest.fixture
def picture() -> np.ndarray:
    """[24, 40, 3] uint8: a smooth picture without any symmetry."""
    y, x = np.mgrid[0:24, 0:40]
    return np.stack([40 + 5 * x, 250 - 8 * y, 90 + 2 * x + 3 * y], axis=-1).clip(0, 255).astype(np.uint8)


def unit(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32) / 255.0


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.png", {}, 0.0),
        ("a.webp", {"lossless": True}, 0.0),
        ("a.tif", {}, 0.0),
        ("a.tiff", {"compression": "tiff_lzw"}, 0.0),
        ("a.jpg", {"quality": 95, "subsampling": 0}, 0.02),
    ],
)
def test_every_format_gives_the_same_picture(tmp_path, picture, name, options, tolerance):
    Image.fromarray(picture).save(tmp_path / name, **options)
    photo = load_photo(tmp_path / name)
    assert photo.srgb.dtype == np.float32 and photo.srgb.shape == (24, 40, 3)
    assert (photo.width, photo.height, photo.name, photo.warnings) == (40, 24, name, ())
    assert np.abs(photo.srgb - unit(picture)).max() <= tolerance + 1e-6


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_stay_sixteen_bits(tmp_path, name, channels):
    values = (np.arange(48 * 64 * channels, dtype=np.uint32) * 7 % 65536).astype(np.uint16).reshape(48, 64, channels)
    if channels == 4:
        values[..., 3] = 65535
    assert cv2.imwrite(str(tmp_path / name), values)
    srgb = load_photo(tmp_path / name).srgb
    expected = np.broadcast_to(values[..., [0]] if channels == 1 else values[..., 2::-1], (48, 64, 3)) / 65535.0
    assert np.abs(srgb - expected).max() < 1e-6
    assert len(np.unique(srgb)) > 2000


@pytest.mark.parametrize("channels", [1, 3])
def test_floating_point_tiff_is_refused(tmp_path, channels):
    assert cv2.imwrite(str(tmp_path / "float.tif"), np.zeros((30, 40, channels), np.float32))
    assert "not a picture in a format" in refusal(tmp_path / "float.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "deep.png", "deep.tif"])
def test_exif_orientation_is_applied_once(tmp_path, picture, name, orientation):
    stored = picture
    if orientation >= 5:
        stored = stored.swapaxes(0, 1)  # 5 is the transposition, 6..8 are turned copies of it
    flip_rows, flip_columns = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}[
        orientation
    ]
    stored = stored[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    write_oriented(tmp_path / name, np.ascontiguousarray(stored), orientation)
    assert np.abs(load_photo(tmp_path / name).srgb - unit(picture)).max() < (0.02 if name == "a.jpg" else 1e-6)


def write_oriented(path, stored, orientation):
    if path.name == "deep.tif":
        import tifffile

        tag = [(int(ORIENTATION), "H", 1, orientation, True)]
        tifffile.imwrite(path, stored.astype(np.uint16) * 257, photometric="rgb", extratags=tag)
        return
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"tiffinfo": {int(ORIENTATION): orientation}} if path.suffix == ".tif" else {"exif": exif}
    options |= {".webp": {"lossless": True}, ".jpg": {"quality": 95, "subsampling": 0}}.get(path.suffix, {})
    Image.fromarray(stored).save(path, **options)
    if path.name == "deep.png":
        insert_exif_into_deep_png(path, stored, exif)


def insert_exif_into_deep_png(path, stored, exif):
    """Pillow writes no 16-bit colour PNG: OpenCV writes it and the eXIf chunk goes in before the pixels."""
    _, data = cv2.imencode(".png", (stored.astype(np.uint16) * 257)[..., ::-1])
    data, payload = data.tobytes(), exif.tobytes().removeprefix(b"Exif\0\0")
    path.write_bytes(data[:33] + png_chunk(b"eXIf", payload) + data[33:])


def png_chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


@pytest.mark.parametrize("mode", ["L", "1", "I;16"])
def test_grey_becomes_three_equal_channels(tmp_path, mode):
    grey = Image.fromarray(np.tile(np.arange(0, 240, 4, dtype=np.uint8), (20, 1)))
    if mode == "I;16":
        grey = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    (grey.convert("1") if mode == "1" else grey).save(tmp_path / "grey.png")
    srgb = load_photo(tmp_path / "grey.png").srgb
    assert srgb.shape == (20, 60, 3) and np.ptp(srgb, axis=2).max() == 0.0
    if mode != "1":
        assert np.abs(srgb[0, :, 0] - np.arange(0, 240, 4) / 255.0).max() < 1e-6


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_is_composited_over_mid_grey(tmp_path, mode):
    image = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (0, 0, 4, 8))
    image = image.quantize() if mode == "P" else image.convert(mode)
    image.save(tmp_path / "cut_out.png")
    srgb = load_photo(tmp_path / "cut_out.png").srgb
    assert np.allclose(srgb[:, :4], 1.0) and np.allclose(srgb[:, 4:], intake.BACKGROUND_SRGB, atol=1e-6)


def test_half_transparent_pixels_mix(tmp_path):
    Image.new("RGBA", (4, 4), (255, 0, 0, 51)).save(tmp_path / "veil.webp", lossless=True)
    assert np.allclose(load_photo(tmp_path / "veil.webp").srgb[0, 0], (0.6, 0.4, 0.4), atol=0.003)


@pytest.mark.parametrize("name", ["cmyk.jpg", "cmyk.tif"])
def test_cmyk(tmp_path, name):
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red.save(tmp_path / name)
    assert np.allclose(load_photo(tmp_path / name).srgb.mean((0, 1)), (1.0, 0.0, 0.0), atol=0.03)


# ---- colour profiles ----

D50 = (0.9642, 1.0, 0.8249)
# Colorants of Adobe RGB (1998) and Display P3 under D50, as their profiles store them.
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
SRGB_CURVE = b"para\0\0\0\0\0\3\0\0" + struct.pack(
    ">5i", *(round(v * 65536) for v in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
)
GAMMA_22 = b"curv\0\0\0\0\0\0\0\1" + struct.pack(">H", round(2.2 * 256)) + b"\0\0"


def icc_profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A minimal display profile (ICC.1) with the given tags."""
    tags = {
        b"wtpt": xyz_tag(D50),
        b"desc": b"desc\0\0\0\0\0\0\0\5test\0" + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
    } | tags
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, payload in tags.items():
        payload += bytes(-len(payload) % 4)
        table += struct.pack(">4sII", name, offset + len(body), len(payload))
        body += payload
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    header += bytes(128 - len(header))
    header = header[:68] + struct.pack(">3i", *(round(v * 65536) for v in D50)) + header[80:]
    return header + struct.pack(">I", len(tags)) + table + body


def xyz_tag(xyz) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in xyz))


def rgb_profile(colorants, curve: bytes) -> bytes:
    colours = {name: xyz_tag(xyz) for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)}
    return icc_profile(b"RGB ", colours | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


@pytest.mark.parametrize(
    "profile", [rgb_profile(ADOBE, GAMMA_22), rgb_profile(DISPLAY_P3, SRGB_CURVE)], ids=["adobe", "p3"]
)
def test_eight_and_sixteen_bits_agree_about_a_profile(tmp_path, picture, profile):
    """LittleCMS in 8 bit is the oracle of our own conversion of deep pictures."""
    picture = (picture * 0.5 + 50).astype(np.uint8)  # inside sRGB, where nothing is clipped
    Image.fromarray(picture).save(tmp_path / "flat.png", icc_profile=profile)
    _, data = cv2.imencode(".png", (picture.astype(np.uint16) * 257)[..., ::-1])
    data = data.tobytes()
    chunk = png_chunk(b"iCCP", b"test\0\0" + zlib.compress(profile))
    (tmp_path / "deep.png").write_bytes(data[:33] + chunk + data[33:])
    flat, deep = load_photo(tmp_path / "flat.png"), load_photo(tmp_path / "deep.png")
    assert flat.warnings == deep.warnings == ()
    assert np.abs(flat.srgb - deep.srgb).max() < 1.5 / 255
    assert np.abs(deep.srgb - unit(picture)).max() > 4 / 255


def test_an_srgb_profile_changes_nothing(tmp_path, picture):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(picture).save(tmp_path / "a.png", icc_profile=profile)
    assert np.abs(load_photo(tmp_path / "a.png").srgb - unit(picture)).max() < 1.5 / 255


def test_a_grey_profile(tmp_path):
    profile = icc_profile(b"GRAY", {b"kTRC": b"curv\0\0\0\0\0\0\0\0"})  # a linear curve
    grey = np.full((6, 6), 128, np.uint8)
    Image.fromarray(grey).save(tmp_path / "flat.png", icc_profile=profile)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.tif", icc_profile=profile)
    for name in ("flat.png", "deep.tif"):
        assert np.allclose(load_photo(tmp_path / name).srgb, 0.7367, atol=2 / 255)  # linear_to_srgb(128 / 255)


def test_a_damaged_profile_is_ignored_with_a_warning(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.png", icc_profile=b"not a profile" * 20)
    photo = load_photo(tmp_path / "a.png")
    assert photo.warnings == (intake.PROFILE_UNUSED,)
    assert np.abs(photo.srgb - unit(picture)).max() < 1e-6


# ---- metadata and limits ----


def test_focal_length_from_exif(tmp_path, picture):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 85
    Image.fromarray(picture).save(tmp_path / "portrait.jpg", exif=exif)
    Image.fromarray(picture).save(tmp_path / "plain.jpg")
    assert load_photo(tmp_path / "portrait.jpg").focal_35mm == 85.0
    assert load_photo(tmp_path / "plain.jpg").focal_35mm is None


def test_damaged_exif_does_not_matter(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert load_photo(tmp_path / "a.jpg").srgb.shape == (24, 40, 3)


def test_a_very_large_photo_is_reduced_and_says_so(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(intake, "WORKING_LIMIT_PIXELS", 240)
    Image.fromarray(picture).save(tmp_path / "a.png")
    photo = load_photo(tmp_path / "a.png")
    assert (photo.width, photo.height) == (20, 12)
    assert photo.warnings == ("The photo was reduced from 40 x 24 to 20 x 12 pixels.",)
    assert np.abs(photo.srgb.mean((0, 1)) - unit(picture).mean((0, 1))).max() < 0.01


def refusal(path) -> str:
    with pytest.raises(Id2rError) as caught:
        load_photo(path)
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize(("width", "height"), [(12_000, 12_000), (30_000, 30_000)])
def test_the_pixel_limit_comes_before_decoding(tmp_path, width, height):
    """The file has a header and no pixels at all: whoever decodes first would complain about that."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    (tmp_path / "huge.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
    )
    assert "megapixels" in refusal(tmp_path / "huge.png")


def test_not_a_file(tmp_path):
    assert "no file" in refusal(tmp_path / "missing.jpg")
    assert "folder" in refusal(tmp_path)


def test_not_a_picture(tmp_path):
    (tmp_path / "empty.jpg").touch()
    assert "empty" in refusal(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("Dear diary, today I was renamed.\n" * 40)
    assert "not a picture" in refusal(tmp_path / "text.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "deep.png", "deep.tif"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_cut_off_files(tmp_path, picture, name, kept):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    if name.startswith("deep"):
        cv2.imwrite(str(tmp_path / name), noise.astype(np.uint16) * 200)
    else:
        Image.fromarray(noise).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * kept)])
    assert "damaged or cut off" in refusal(tmp_path / name) or "not a picture" in refusal(tmp_path / name)


def test_random_damage_never_escapes_as_another_error(tmp_path, picture, random_generator):
    for name in ("a.jpg", "a.png", "a.webp", "a.tif"):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF"}[name[2:]])
        for _ in range(30):
            data = bytearray(buffer.getvalue())
            for position in random_generator.integers(8, len(data), 6):
                data[position] = random_generator.integers(0, 256)
            (tmp_path / name).write_bytes(data)
            try:
                assert load_photo(tmp_path / name).srgb.ndim == 3
            except Id2rError as error:
                assert name in error.message


@pytest.mark.skipif(os.name == "nt", reason="permissions work differently")
def test_a_file_without_permission(tmp_path, picture, monkeypatch):
    path = tmp_path / "secret.png"
    Image.fromarray(picture).save(path)
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser may read everything
        monkeypatch.setattr(
            type(path), "read_bytes", lambda self: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
        )
    assert "permission denied" in refusal(path)
