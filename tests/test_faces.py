"""What the artist sees of the faces in a photo: thumbnails, boxes and points in the pixels of the upright photo."""

import cv2
import numpy as np
import pytest

from id2r_core.errors import Id2rError
from id2r_core.faces import THUMBNAIL, write_faces
from id2r_core.files import write_image
from id2r_core.protocol import PHOTO, FacesRequest


@pytest.fixture
def two_people(astronaut, tmp_path):
    """Path of a photo with the same person twice, the smaller one on the left."""
    person = astronaut.srgb[:300, 80:380]
    both = np.full((300, 560, 3), 0.5, np.float32)
    both[:260, :260] = cv2.resize(person, (260, 260), interpolation=cv2.INTER_AREA)
    both[:, 260:] = person
    cv2.imwrite(str(tmp_path / "two.png"), both[..., ::-1] * 255.0)
    return tmp_path / "two.png"


def test_every_face_has_a_thumbnail_a_box_and_points(two_people, tmp_path):
    stages = []
    seen = write_faces(
        FacesRequest(str(two_people), str(tmp_path / "seen")), lambda stage, done, total: stages.append(stage)
    )
    assert stages == ["photo", "landmarks"] and seen["size"] == [560, 300]
    assert cv2.imread(str(tmp_path / "seen" / PHOTO)).shape == (300, 560, 3)
    large, small = seen["faces"]
    assert (large["number"], small["number"]) == (1, 2) and small["box"][2] < 260 < large["box"][0]
    for face in (large, small):
        left, top, right, bottom = face["box"]
        points = np.array(face["points"])
        assert points.shape == (478, 2) and (points >= (left, top)).all() and (points <= (right, bottom)).all()
        assert cv2.imread(face["thumbnail"]).shape == (THUMBNAIL, THUMBNAIL, 3)
    thumbnails = [cv2.imread(face["thumbnail"]).astype(float) for face in (large, small)]
    assert np.abs(thumbnails[0] - thumbnails[1]).mean() < 12  # both show the same person as large as the other


def test_a_photo_without_a_face_leaves_nothing(tmp_path):
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((256, 256, 3), 128, np.uint8))
    with pytest.raises(Id2rError, match="No face was found in 'wall.png'"):
        write_faces(FacesRequest(str(tmp_path / "wall.png"), str(tmp_path / "seen")), lambda *_: None)
    assert not (tmp_path / "seen").exists()


def test_pictures_that_cannot_all_be_written_leave_nothing(two_people, tmp_path, monkeypatch):
    def full(path, pixels):
        if path.name != PHOTO:
            raise Id2rError("The disk is full.", "Make room.")
        write_image(path, pixels)

    monkeypatch.setattr("id2r_core.faces.write_image", full)
    with pytest.raises(Id2rError, match="disk is full"):
        write_faces(FacesRequest(str(two_people), str(tmp_path / "seen")), lambda *_: None)
    assert not (tmp_path / "seen").exists()
