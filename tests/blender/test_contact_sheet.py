"""Rendering: the overlay lies where the core's camera says, and the sheet is complete or absent."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from addon import batch, contact_sheet, image_io, lookdev
from tests.blender.conftest import PHOTO_SIZE, head_arrays

ROOT = Path(__file__).parents[2]
SIZE = 32


def test_the_rendered_overlay_covers_the_projected_head(result_folder):
    """Cycles through the Photo camera covers the pixels that the core's pinhole projects the head to."""
    batch.open_result(result_folder, batch.silent)
    scene = bpy.context.scene
    lookdev.set_render(scene, PHOTO_SIZE, 4)
    scene.cycles.use_denoising = False
    scene.render.film_transparent = True
    scene.frame_set(lookdev.PHOTO_FRAME)
    rows, columns = np.nonzero(contact_sheet.render(scene)[..., 3] > 0.5)
    arrays = head_arrays()
    rotated = arrays["photo_vertices"] @ arrays["camera_view_from_world"][:3, :3].T
    view = rotated + arrays["camera_view_from_world"][:3, 3]
    pixels = view[:, :2] / view[:, 2:] * arrays["camera_focal"] + arrays["camera_principal"]
    low, high = pixels.min(0), pixels.max(0)
    found = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
    assert np.abs(found[0] - low).max() < 1.5 and np.abs(found[1] - high).max() < 1.5


def test_png_round_trip(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.float32) / 255
    image_io.write_png(tmp_path / "image.png", image)
    assert np.abs(image_io.read_pixels(tmp_path / "image.png")[..., :3] - image).max() < 1e-3


def test_resizing_keeps_what_is_where():
    image = np.zeros((8, 12, 3), np.float32)
    image[:4, :6] = 1.0
    small = image_io.resized(image, 6, 4)
    assert small.shape == (4, 6, 3) and small[0, 0].min() > 0.9 and small[3, 5].max() < 0.1


def test_labels_are_drawn_in_their_rows():
    labels = contact_sheet.draw_labels(["a", "", "studio"], 96, 16)
    ink = labels.sum((1, 2))
    assert labels.shape == (3, 16, 96) and ink[0] > 3 and ink[1] == 0 and ink[2] > 2 * ink[0]
    assert "id2r labels" not in bpy.data.scenes


def test_labels_need_no_denoiser(monkeypatch):
    """A new scene asks for one, and Debian's Blender has none: it would refuse to render."""
    seen = []
    monkeypatch.setattr(
        contact_sheet, "render", lambda scene: seen.append(scene.cycles.use_denoising) or np.zeros((16, 4))
    )
    contact_sheet.draw_labels(["a"], 1, 16)
    assert seen == [False]


def test_tiles_lie_in_reading_order():
    tiles = [contact_sheet.Tile("", np.full((SIZE, SIZE, 3), index / 8, np.float32)) for index in range(7)]
    sheet = contact_sheet.tile(tiles, SIZE)
    step = (sheet.shape[1] - 2) / contact_sheet.COLUMNS
    assert sheet[SIZE // 2, int(step * 1.5), 0] == pytest.approx(1 / 8)
    assert sheet[-SIZE, int(step * 1.5), 0] == pytest.approx(6 / 8)


def test_build_writes_both_files_and_reports(result_folder):
    seen = []
    options = batch.Options(renders=("studio",), samples=1, size=SIZE)
    batch.build(result_folder, options, lambda *progress: seen.append(progress))
    assert (result_folder / "head.blend").is_file() and (result_folder / "contact_sheet.png").is_file()
    assert seen[0] == ("scene", 0, 1) and ("render", 2, 2) in seen and seen[-1] == ("sheet", 1, 1)
    assert not list(result_folder.glob(".*"))
    sheet = image_io.read_pixels(result_folder / "contact_sheet.png")
    assert sheet.shape[1] > contact_sheet.COLUMNS * SIZE


def test_render_head_for_evaluation(result_folder, tmp_path):
    batch.render_head(result_folder, "studio", tmp_path / "head.png", size=SIZE, samples=2)
    pixels = image_io.read_pixels(tmp_path / "head.png")[..., :3]
    assert pixels.shape == (SIZE, SIZE, 3)
    assert np.ptp(pixels[SIZE // 2, SIZE // 2] - pixels[0, 0]) > 0.05  # skin is not the grey behind it


def test_the_bar_fills(capsys):
    for done in range(3):
        batch.print_progress("render", done, 2)
    empty, half, full = capsys.readouterr().err.lstrip("\r").split("\r")
    assert (empty.count("█"), half.count("█"), full.count("█")) == (0, 12, 24) and full.endswith("2/2\n")


def call_batch(*arguments, folder: Path = ROOT) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "addon.batch", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_command_line(result_folder):
    relative, options = result_folder.name, ("--renders", "studio", "--samples", 1, "--size", SIZE, "--json")
    done = call_batch(relative, *options, folder=result_folder.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == '{"event": "progress", "stage": "scene", "done": 0, "total": 1}'
    assert all(line.startswith('{"event"') for line in done.stdout.splitlines())
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "result"
    assert (result_folder / "contact_sheet.png").is_file()


def test_portraits_alone(result_folder):
    names = ("--portraits", "--renders", "studio,courtyard", "--samples", 1, "--size", SIZE)
    done = call_batch(result_folder, *names)
    assert done.returncode == 0, done.stderr
    studio, courtyard = (image_io.read_pixels(result_folder / f"{name}.png") for name in ("studio", "courtyard"))
    assert studio.shape[:2] == (SIZE, SIZE) and np.abs(studio - courtyard).max() > 0.05
    assert not (result_folder / "head.blend").exists() and not (result_folder / "contact_sheet.png").exists()


@pytest.mark.parametrize("arguments, said", [(("nowhere",), "nowhere"), (("nowhere", "--renders", "moon"), "moon")])
def test_command_line_names_what_is_wrong(arguments, said):
    done = call_batch(*arguments)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


INTERRUPTIBLE = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started the tests may have ignored it
runpy.run_module("addon.batch", run_name="__main__")
"""


def test_ctrl_c_ends_a_render_at_once(result_folder):
    command = [sys.executable, "-c", INTERRUPTIBLE, result_folder, "--samples", "4096", "--size", "512", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        while '"render"' not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(10) == 130
        finally:
            process.kill()
        assert "Cancelled" in process.stderr.read()
    assert not (result_folder / "contact_sheet.png").exists() and not list(result_folder.glob(".*"))


def test_the_head_over_its_photo_has_the_photo_s_light(result_folder):
    made, scene = batch.open_result(result_folder, batch.silent), bpy.context.scene
    lookdev.set_render(scene, (SIZE, SIZE), 1)
    kept = scene.view_settings.view_transform
    scene.render.film_transparent = True
    photo, over = contact_sheet.photo_pair(made, result_folder, scene, SIZE)
    assert photo.shape == over.shape == (SIZE, SIZE, 3)
    _assert_head_is_where_the_photo_shows_it(made, scene, result_folder, np.abs(over - photo).max(-1) > 0.02)
    assert scene.world.node_tree.nodes["Environment Texture"].image.name.startswith("light")
    assert scene.view_settings.view_transform == kept


def _assert_head_is_where_the_photo_shows_it(made, scene, folder, changed: np.ndarray) -> None:
    """changed [SIZE, SIZE] bool: where the head lies over the photo."""
    height, width, _ = image_io.read_pixels(folder / "photo.png").shape
    assert height != width
    left, top, side = contact_sheet._cut_out(made, scene, width, height)
    seen = [world_to_camera_view(scene, made.photo, Vector(v.co)) for v in made.objects.head.data.vertices]
    x, y = np.array([(each.x * width - left, (1.0 - each.y) * height - top) for each in seen]).T * SIZE / side
    row, column = np.nonzero(changed)
    for found, expected in ((column, x), (row, y)):
        assert (found.min(), found.max()) == pytest.approx((max(0.0, expected.min()), min(SIZE, expected.max())), abs=3)


def test_the_process_ends_without_blender_s_own_end():
    """Which never comes in bpy 4.5, and crashes in bpy 4.2."""
    code = "import atexit; from addon import batch; atexit.register(print, 'the end'); print('said'); batch.end(3)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3 and done.stdout.endswith("said\n")
