"""Fixtures that several tests share: one real photograph (NASA, public domain) and what intake makes of it."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from id2r_core.landmarks import Face, detect_face
from id2r_core.photo import Photo, load_photo


@pytest.fixture(scope="session")
def astronaut_path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(skimage.data.astronaut()).save(path)
    return path


@pytest.fixture(scope="session")
def astronaut(astronaut_path) -> Photo:
    return load_photo(astronaut_path)


@pytest.fixture(scope="session")
def astronaut_face(astronaut) -> Face:
    return detect_face(astronaut)


@pytest.fixture
def random_generator() -> np.random.Generator:
    return np.random.default_rng(7)
