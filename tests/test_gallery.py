"""Thumbnails of templates: every one, decoded from its own codes, from light to dark."""

import json

import cv2
import numpy as np

from id2r_core.gallery import THUMBNAIL, write_thumbnails
from id2r_core.packs import load_pack
from id2r_core.protocol import TEMPLATE_ORDER, TemplatesRequest


def test_every_template_has_a_thumbnail_of_its_own_tone(tmp_path):
    stages = []
    out = tmp_path / "seen"
    write_thumbnails(TemplatesRequest("tiny", str(out), "cpu"), lambda stage, done, total: stages.append((done, total)))
    library = load_pack("tiny").templates
    order = json.loads((out / TEMPLATE_ORDER).read_text())
    assert sorted(order) == sorted(library.names) and stages[-1] == (len(order), len(order))
    pictures = [cv2.imread(str(out / f"{name}.png")) for name in order]
    assert {picture.shape for picture in pictures} == {(THUMBNAIL, THUMBNAIL, 3)}
    middle = [np.median(picture[40:70, 30:66]) for picture in pictures]  # nose and cheeks
    assert np.corrcoef(middle, np.arange(len(order)))[0, 1] < -0.8
