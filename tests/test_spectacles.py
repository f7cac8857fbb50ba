"""Glasses as an object: found where they were drawn, built where they can be worn."""

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from synthetic_head import camera_at, face_of, known_head, light_from, photograph

from id2r_core.head.frame import CLEARANCE, build_frame
from id2r_core.head.model import load_head
from id2r_core.photo import Photo
from id2r_core.rims import ANGLES, BEFORE_EYES, UPPER, find_rims
from id2r_core.spectacles import Spectacles, as_spectacles

SIZE = 900
WORN = {"distance": 0.033, "half_width": 0.0255, "half_height": 0.017, "low": 0.008, "thickness": 0.0030}
WHITE = torch.ones(3)


@pytest.fixture(scope="module")
def head():
    return known_head(load_head(), camera_at(yaw_degrees=12.0, size=SIZE))


@pytest.fixture(scope="module")
def bare(head):
    return bare_photo(head)


def bare_photo(head) -> np.ndarray:
    grey = torch.full((3, 64, 64), 0.75)
    return photograph(head, grey, light_from(head.model, (0.3, 0.4, 1.0), 0.6, 2.0)).srgb


def true_edge(head, corners=0.0) -> np.ndarray:
    """[2, A, 3] the edges of both lenses that are drawn: ellipses, but for three corners, metres high."""
    centres, radii = head.model.eyes(head.vertices)
    eyes = centres.mean(0).numpy()
    pointed = corners * np.cos(3 * (ANGLES - 0.5))
    x = WORN["distance"] + (WORN["half_width"] + pointed) * np.cos(ANGLES)
    y = eyes[1] - WORN["low"] + (WORN["half_height"] + pointed) * np.sin(ANGLES)
    z = np.full_like(x, eyes[2] + float(radii.mean()) + BEFORE_EYES)
    return np.stack([np.stack([eyes[0] + side * x, y, z], -1) for side in (1, -1)])


def with_glasses(bare, head, drawn=None, corners=0.0, dark=False) -> Photo:
    """drawn [A] bool: which part of the rims; dark: sunglasses."""
    drawn = np.ones(len(ANGLES), bool) if drawn is None else drawn
    image, pixels_a_metre = (bare * 255).astype(np.uint8).copy(), float(head.camera.focal[0]) / 1.2
    for edge in true_edge(head, corners):
        pixels = head.camera.project(torch.tensor(edge, dtype=torch.float32))[0, :, :2].numpy()
        if dark:
            cv2.fillPoly(image, [pixels.round().astype(np.int32)], (12, 12, 12))
        for start, end, shown in zip(pixels, np.roll(pixels, -1, 0), drawn, strict=True):
            if shown:
                width = round(WORN["thickness"] * pixels_a_metre) - 1  # OpenCV's soft edges are a pixel more
                ends = [tuple(int(v) for v in (each * 16).round()) for each in (start, end)]
                cv2.line(image, *ends, (30, 22, 20), width, cv2.LINE_AA, 4)
    return Photo(image.astype(np.float32) / 255, "worn.png")


def spectacles_in(photo: Photo, head, white=WHITE) -> Spectacles | None:
    return as_spectacles(find_rims(photo, face_of(head), head), white)


@pytest.fixture(scope="module")
def found(bare, head) -> Spectacles:
    return spectacles_in(with_glasses(bare, head), head)


@pytest.mark.parametrize("corners", [0.0, 0.003])
def test_rims_are_found_where_they_are(bare, head, corners):
    found, true = spectacles_in(with_glasses(bare, head, corners=corners), head), true_edge(head, corners)
    for side, edge in zip((1, -1), true, strict=True):
        own = np.stack([found.middle + side * found.curve[:, 0], found.curve[:, 1]], -1)
        off = cKDTree(edge[:, :2]).query(own)[0]
        assert off.mean() < 0.0012 and off.max() < 0.003
    assert found.lower
    assert found.depth == pytest.approx(true[0, 0, 2], abs=1e-4)


def test_their_thickness_and_colour_are_the_photo_s(found):
    assert found.thickness == pytest.approx(WORN["thickness"], rel=0.35)
    assert (found.frame_linear < 0.05).all()


def test_a_small_photo_does_not_thin_them(bare, head, monkeypatch):
    """A third of it: rims are two or three pixels wide there."""
    monkeypatch.setitem(WORN, "thickness", 0.0035)
    image = cv2.resize(with_glasses(bare, head).srgb, (SIZE // 3, SIZE // 3), interpolation=cv2.INTER_AREA)
    small = known_head(load_head(), camera_at(yaw_degrees=12.0, size=SIZE // 3))
    found = spectacles_in(Photo(image, "small.png"), small)
    assert found.thickness == pytest.approx(WORN["thickness"], rel=0.2)


def test_a_wire_of_one_pixel_is_no_bar(monkeypatch):
    """Soft edges and what the photo blurs show it half as wide again."""
    head = known_head(load_head(), camera_at(yaw_degrees=12.0, size=SIZE // 2))
    pixel = 1.2 / float(head.camera.focal[0])
    monkeypatch.setitem(WORN, "thickness", 2 * pixel)  # drawn by one less
    assert spectacles_in(with_glasses(bare_photo(head), head), head).thickness < 1.1 * pixel


def test_half_rims_are_half(bare, head):
    half = spectacles_in(with_glasses(bare, head, drawn=UPPER), head)
    assert half is not None and not half.lower


def test_what_is_too_faint_is_not_made(bare, head):
    assert spectacles_in(Photo(bare, "bare.png"), head) is None


def test_nothing_but_the_rims_is_taken_off(bare, head):
    worn = with_glasses(bare, head)
    mask = find_rims(worn, face_of(head), head).in_photo(worn) > 0.5
    drawn = np.abs(worn.srgb - bare).max(-1) > 0.1
    assert mask[drawn].mean() > 0.97
    near = cv2.dilate(drawn.astype(np.uint8), np.ones((13, 13))) > 0
    assert mask[~near].sum() < 0.2 * drawn.sum()


def test_behind_dark_lenses_nothing_is_seen(bare, head):
    worn = with_glasses(bare, head, dark=True)
    mask = find_rims(worn, face_of(head), head).in_photo(worn) > 0.5
    drawn = np.abs(worn.srgb - bare).max(-1) > 0.1
    assert mask[drawn].mean() > 0.9


def test_the_light_is_not_the_frame_s(bare, head):
    bright = spectacles_in(with_glasses(bare, head), head, 0.2 * WHITE)
    dim = spectacles_in(with_glasses(bare, head), head, 2.0 * WHITE)
    assert (bright.frame_linear > dim.frame_linear).any()


def test_the_frame_can_be_worn(found, head):
    frame = build_frame(found, head)
    vertices = head.fine_vertices().numpy()
    ear = head.model.regions["ear"].numpy() > 0.5
    of_front = frame.vertices[frame.vertices[:, 2] > found.depth - 0.012]
    skin = vertices[(~ear) & (vertices[:, 2] > 0)]
    # In front of the skin that lies right behind each point of the rims.
    distance, nearest = cKDTree(skin[:, :2]).query(of_front[:, :2])
    close = distance < 0.002
    assert close.sum() > 100
    assert (of_front[close, 2] - skin[nearest[close], 2]).min() > 0.5 * CLEARANCE
    for side in (1, -1):
        ends = frame.vertices[side * frame.vertices[:, 0] > 0.06]
        back = ends[ends[:, 2].argmin()]
        assert cKDTree(vertices[ear]).query(back)[0] < 0.03


def test_its_bars_are_closed_and_look_outwards(found, head):
    frame = build_frame(found, head)
    solid = frame.quads[~frame.is_lens]
    edges = np.sort(np.concatenate([solid[:, [i, (i + 1) % 4]] for i in range(4)]), 1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    assert (count == 2).all()
    corners = frame.vertices[solid].astype(np.float64)
    volume = sum(
        np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, a], corners[:, b])).sum() / 6
        for a, b in ((1, 2), (2, 3))
    )
    assert 2e-7 < volume < 5e-6  # cubic metres
