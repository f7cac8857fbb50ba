"""The aligned crop against insightface's own alignment, and against a warp written out pixel by pixel."""

import warnings

import numpy as np
import pytest

from id2r_core.crop import crop_face, similarity_to_template, template_points, warp_image
from id2r_core.landmarks import Face
from id2r_core.photo import Photo


@pytest.mark.parametrize("size", [128, 256, 512])
def test_the_alignment_is_insightfaces(astronaut_face, size):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # insightface uses a function that scikit-image has renamed
        from insightface.utils.face_align import estimate_norm

        expected = estimate_norm(astronaut_face.five, size)
    assert np.abs(similarity_to_template(astronaut_face.five, size) - expected).max() < 1e-3


def test_points_that_fit_the_template_land_on_it(random_generator):
    angle, scale, shift = 0.4, 1.7, (31.0, -12.0)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    five = template_points(256) @ turn.T + shift
    crop_from_photo = similarity_to_template(five, 256)
    assert np.abs(five @ crop_from_photo[:, :2].T + crop_from_photo[:, 2] - template_points(256)).max() < 1e-9


def test_the_crop_shows_the_face_where_the_matrix_says(astronaut, astronaut_face):
    crop = crop_face(astronaut, astronaut_face, 512)
    assert crop.srgb.shape == (512, 512, 3) and crop.srgb.dtype == np.float32
    points = astronaut_face.points @ crop.crop_from_photo[:, :2].T + crop.crop_from_photo[:, 2]
    for landmark in range(0, 468, 31):
        x, y = astronaut_face.points[landmark].astype(int)
        u, v = (crop.crop_from_photo[:, :2] @ (x + 0.5, y + 0.5) + crop.crop_from_photo[:, 2] - 0.5).round().astype(int)
        assert np.abs(crop.srgb[v, u] - astronaut.srgb[y, x]).max() < 0.06
    assert points.min() > 0 and points.max() < 512


def bilinear_oracle(image: np.ndarray, target_from_source: np.ndarray, height: int, width: int) -> np.ndarray:
    """The definition, one pixel after the other, edges repeated."""
    inverse = np.linalg.inv(np.vstack([target_from_source, [0, 0, 1]]))
    result = np.zeros((height, width, image.shape[2]))
    for row in range(height):
        for column in range(width):
            x, y, _ = inverse @ (column + 0.5, row + 0.5, 1.0)
            left, top = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
            for dy in (0, 1):
                for dx in (0, 1):
                    weight = (1 - abs(x - 0.5 - left - dx)) * (1 - abs(y - 0.5 - top - dy))
                    source = np.clip((top + dy, left + dx), 0, np.array(image.shape[:2]) - 1)
                    result[row, column] += weight * image[tuple(source)]
    return result


@pytest.mark.parametrize("scale", [0.7, 1.0, 2.3])
def test_the_warp_is_bilinear_about_pixel_centres(random_generator, scale):
    image = random_generator.random((9, 12, 3)).astype(np.float32)
    matrix = np.array([[0.8, -0.6, 4.2], [0.6, 0.8, -1.3]]) * (scale, scale, 1.0)
    # OpenCV rounds positions to 1/32 of a pixel.
    assert np.abs(warp_image(image, matrix, 8, 11) - bilinear_oracle(image, matrix, 8, 11)).max() < 0.05


def test_a_strong_reduction_averages(random_generator):
    noise = random_generator.random((512, 512, 1)).astype(np.float32)
    small = warp_image(noise, np.array([[0.125, 0, 0], [0, 0.125, 0.0]]), 64, 64)
    assert abs(small.mean() - 0.5) < 0.01 and small.std() < 0.08


def test_a_reduction_keeps_positions():
    ramp = np.linspace(0.0, 1.0, 400, dtype=np.float32)[None, :, None].repeat(100, axis=0)
    small = warp_image(ramp, np.array([[0.2, 0, 0], [0, 0.2, 0.0]]), 20, 80)
    expected = np.interp((np.arange(80) + 0.5) / 0.2, np.arange(400) + 0.5, ramp[0, :, 0])
    assert np.abs(small.reshape(20, 80)[10] - expected)[2:-2].max() < 1e-3


def test_a_face_at_the_edge_of_the_photo_repeats_the_edge():
    photo = Photo(np.full((40, 40, 3), 0.25, np.float32), "flat.png")
    points = np.zeros((478, 2), np.float32)
    points[[468, 473, 4, 61, 291]] = template_points(128) - (50.0, 0.0)
    assert np.allclose(crop_face(photo, Face(points), 128).srgb, 0.25)
