"""Fixtures that several tests share: one real photograph (NASA, public domain), what intake makes of it, the head."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from id2r_core.head.model import HeadModel, load_head
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


@pytest.fixture(scope="session")
def model() -> HeadModel:
    return load_head()


@pytest.fixture(scope="module")
def one_thread():
    """Small tensors: threads would wait for each other longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
