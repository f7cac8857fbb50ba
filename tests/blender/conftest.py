"""What the tests inside Blender share: an empty file for each test, and a small made-up result folder."""

import json
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
import cv2

from id2r_core.conventions import HEAD_FORMAT
from id2r_core.files import write_exr

PARTS = ("skin", "mouth_interior", "eye_socket", "tongue", "eyeball_left", "eyeball_right")
EXPRESSIONS = ("jawOpen", "eyeLookUpLeft", "eyeLookUpRight")
EYE_CENTRES = np.array([[0.03, 0.0, 0.0], [-0.03, 0.0, 0.0]], np.float32)
EYE_RADIUS = 0.012
MAP_SIZE = 32
PHOTO_SIZE = (96, 120)


@pytest.fixture(autouse=True)
def empty_file():
    bpy.ops.wm.read_factory_settings(use_empty=True)


@pytest.fixture
def addon():
    """The add-on, registered for one test."""
    import addon

    addon.register()
    yield addon
    addon.unregister()


def ball(radius, centre, columns: int, rows: int):
    """A ball without poles' caps: vertices [N, 3], quads [Q, 4] counter-clockwise outside, uv [U, 2], uv quads."""
    u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
    longitude, latitude = 2 * np.pi * u, np.pi * (0.06 + 0.88 * v) - np.pi / 2
    unit = np.stack([np.cos(latitude) * np.sin(longitude), np.sin(latitude), np.cos(latitude) * np.cos(longitude)], -1)
    points = unit[:, :-1].reshape(-1, 3) * radius + centre
    row, column = (each.ravel() for each in np.mgrid[0:rows, 0:columns])

    def corners(width):
        return np.stack(
            [
                row * width + column,
                row * width + (column + 1) % width,
                (row + 1) * width + (column + 1) % width,
                (row + 1) * width + column,
            ],
            -1,
        )

    uneven = np.stack([u, v**2], -1)  # smoothing it would move it
    return points, corners(columns), uneven.reshape(-1, 2), corners(columns + 1)


def polar(offsets) -> np.ndarray:
    """The core's layout of an eyeball: offsets [P, 3] from its centre -> uv [P, 2], angles from the pupil about its middle."""
    angle = np.arccos(offsets[:, 2] / np.linalg.norm(offsets, axis=1))
    around = np.linalg.norm(offsets[:, :2], axis=1)
    return 0.5 + (angle / (2 * np.pi) / np.maximum(around, 1e-9))[:, None] * offsets[:, :2]


def head_arrays() -> dict[str, np.ndarray]:
    """All keys of head.npz: a ball for a head with a strip of mouth, and two eyes."""
    balls = [ball(0.1, (0, 0, -0.08), 24, 16), *(ball(EYE_RADIUS, centre, 10, 8) for centre in EYE_CENTRES)]
    vertices, quads, uv, quads_uv, part = [], [], [], [], []
    for eye, centre in enumerate(EYE_CENTRES, 1):
        points, faces, *_ = balls[eye]
        balls[eye] = points, faces, polar(points - centre), faces
    for index, (points, faces, coordinates, faces_uv) in enumerate(balls):
        quads.append(faces + sum(map(len, vertices)))
        quads_uv.append(faces_uv + sum(map(len, uv)))
        vertices.append(points)
        uv.append(coordinates)
        part.append(np.full(len(faces), PARTS.index(("skin", "eyeball_left", "eyeball_right")[index])))
    part[0][:24] = PARTS.index("mouth_interior")
    vertices = np.concatenate(vertices).astype(np.float32)
    first_eye = len(balls[0][0])
    second_eye = first_eye + len(balls[1][0])
    expressions = np.zeros((len(EXPRESSIONS), len(vertices), 3), np.float16)
    expressions[0, :40, 1] = -0.01
    expressions[1, first_eye:second_eye, 1] = 0.002
    expressions[2, second_eye:, 1] = 0.002
    cos, sin = np.cos(0.3), np.sin(0.3)
    view_from_world = np.array([[cos, 0, sin, 0.02], [0, -1, 0, -0.03], [sin, 0, -cos, 0.9], [0, 0, 0, 1]])
    return {
        "vertices": vertices,
        "photo_vertices": vertices + 0.5 * expressions[0].astype(np.float32),
        "quads": np.concatenate(quads).astype(np.int32),
        "part": np.concatenate(part).astype(np.uint8),
        "format": np.array(HEAD_FORMAT),
        "part_names": np.array(PARTS),
        "uv": np.concatenate(uv).astype(np.float32),
        "quads_uv": np.concatenate(quads_uv).astype(np.int32),
        "uv_makehuman": 0.5 * np.concatenate(uv).astype(np.float32),
        "quads_uv_makehuman": np.concatenate(quads_uv).astype(np.int32),
        "expressions": expressions,
        "expression_names": np.array(EXPRESSIONS),
        "camera_view_from_world": view_from_world.astype(np.float32),
        "camera_focal": np.float32(310.0),
        "camera_principal": np.array([44.0, 67.5], np.float32),
        "photo_size": np.array(PHOTO_SIZE),
        "keep_expression": np.array(False),
        "eye_centres": EYE_CENTRES,
        "eye_radius": np.full(2, EYE_RADIUS, np.float32),
        "iris_radius": np.full(2, 0.0058, np.float32),
        "iris_colour_linear": np.array([0.1, 0.05, 0.02], np.float32),
    }


def write_result(folder: Path) -> Path:
    """A result folder as `python -m id2r_core reconstruct` leaves it, with flat maps."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "head.npz", **head_arrays())
    flat = np.ones((MAP_SIZE, MAP_SIZE, 3))
    maps = {"diffuse": (0.45, 0.6, 0.75), "specular": (0.5,) * 3, "roughness": (0.4,) * 3, "normal": (1.0, 0.5, 0.5)}
    for name, bgr in maps.items():
        depth, kind = (255, np.uint8) if name == "diffuse" else (65535, np.uint16)
        cv2.imwrite(str(folder / f"{name}.png"), np.rint(flat * bgr * depth).astype(kind))
    width, height = PHOTO_SIZE
    cv2.imwrite(str(folder / "coverage.png"), np.full((MAP_SIZE, MAP_SIZE), 255, np.uint8))
    cv2.imwrite(str(folder / "photo.png"), np.full((height, width, 3), 90, np.uint8))
    write_exr(folder / "light.exr", np.full((8, 16, 3), 0.5))
    report = {"warnings": [], "photo": "Ada.png", "morphs": {"nose-width3-incr": 0.2}, "expressions": {}, "seconds": {}}
    (folder / "report.json").write_text(json.dumps(report))
    return folder


@pytest.fixture
def result_folder(tmp_path) -> Path:
    return write_result(tmp_path / "result")


@pytest.fixture
def fake_python(tmp_path, monkeypatch):
    """Makes the add-on's worker a script: call it with the body of a worker that has read one command. Its result is what
    lies in the folder "finished"."""
    from addon import job

    def install(body: str) -> None:
        job.retire()
        script = tmp_path / "worker.py"
        head = """
            import json, os, shutil, sys, time
            def say(event, **values):
                if event == "result" and os.path.isdir(FINISHED):
                    shutil.copytree(FINISHED, values["out"], dirs_exist_ok=True)
                print(json.dumps({"event": event, **values}), flush=True)
            say("ready", version="0")
            request = json.loads(sys.stdin.readline())["request"]
        """
        script.write_text(f"FINISHED = {str(tmp_path / 'finished')!r}\n{textwrap.dedent(head)}{textwrap.dedent(body)}")
        launcher = tmp_path / "python"
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}"\n')
        launcher.chmod(0o755)
        monkeypatch.setattr("addon.job.find_python", lambda chosen="": str(launcher))

    yield install
    job.retire()
