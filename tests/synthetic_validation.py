"""A validation set in miniature, in the agreed format: two bald people under two lights, seen by our own renderer."""

import json
import os

os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")

import cv2
import numpy as np
import torch
from synthetic_head import IRISES, camera_at, known_head, light_from, photograph

from id2r_core.conventions import Domain, linear_to_srgb
from id2r_core.head.atlas import make_atlas
from id2r_core.maps import save_maps
from id2r_core.photo import Photo
from id2r_core.stitch import Maps

PEOPLE = {"II-00001": ("II", (0.62, 0.42, 0.32)), "V-00002": ("V", (0.14, 0.075, 0.045))}
LIGHTS = {"scene000": (0.8, 0.3, 1.0), "scene001": (-0.8, 0.5, 1.0)}
TEXELS, PIXELS = 256, 320


def skin_maps(model, atlas, tone_linear) -> Maps:
    """One tone with darker brows and redder lips, so that there is something to find."""
    tone = torch.tensor(tone_linear)[:, None, None] * torch.ones(3, atlas.size, atlas.size)
    brow, lip = atlas.region("brow"), atlas.region("lip")
    tone = tone * (1 - 0.8 * brow) * (1 - torch.tensor([0.1, 0.5, 0.4])[:, None, None] * lip)
    flat = torch.full((3, atlas.size, atlas.size), 0.5)
    normal = torch.nn.functional.normalize(atlas.bake(model.fine_neutral), dim=0) * 0.5 + 0.5
    images = {
        Domain.DIFFUSE: linear_to_srgb(tone).clamp(0, 1),
        Domain.SPECULAR: flat,
        Domain.ROUGHNESS: flat,
        Domain.NORMAL: normal,
    }
    return Maps(images, atlas.mask.float())


def write_set(folder, model) -> None:
    """Everything that the evaluation reads."""
    atlas = make_atlas(model, TEXELS)
    skin = (torch.maximum(atlas.region("face"), atlas.region("neck")) > 0.5) & (atlas.features < 0.3) & atlas.mask
    scenes = [{"name": name, "hdri": f"sky {name}", "light": f"lights/{name}.exr", "photos": []} for name in LIGHTS]
    (folder / "photos").mkdir(parents=True)
    (folder / "lights").mkdir()
    for name, towards in LIGHTS.items():
        write_light(folder / "lights" / f"{name}.exr", towards)
    for person, (_, tone) in PEOPLE.items():
        head = known_head(model, camera_at(yaw_degrees=6.0, size=PIXELS, focal=3.2))
        maps = skin_maps(model, atlas, tone)
        own = folder / "subjects" / person
        own.mkdir(parents=True)
        save_maps(own, maps, head, atlas, Photo(np.zeros((8, 8, 3), np.float32), "none"), IRISES, False)
        cv2.imwrite(str(own / "skin.png"), skin.numpy().astype(np.uint8) * 255)
        for scene, towards in zip(scenes, LIGHTS.values(), strict=True):
            taken = photograph(head, maps.images[Domain.DIFFUSE], light_from(model, towards, 0.6, 2.5))
            file = f"photos/{scene['name']}-{person}.png"
            cv2.imwrite(str(folder / file), (taken.srgb[..., ::-1] * 255).round().astype(np.uint8))
            scene["photos"].append({"file": file, "subject": person})
    subjects = [
        {"name": name, "index": number, "skin_type": kind, "ita_degrees": 0.0, "age": 30, "sex": "female"}
        for number, (name, (kind, _)) in enumerate(PEOPLE.items())
    ]
    index = {"seed": 0, "command": "by hand", "date": "2026-01-01", "size": PIXELS}
    index |= {"subjects": subjects, "scenes": scenes}
    (folder / "validation.json").write_text(json.dumps(index))


def write_light(path, towards, rows: int = 64) -> None:
    """A lobe of light from a direction of the head frame over an even sky, as a panorama that Blender reads."""
    from id2r_core.capture.light import sky_pixels

    directions = sky_pixels(rows)[0].numpy()
    lobe = np.clip(directions @ (np.array(towards) / np.linalg.norm(towards)), 0, None) ** 8
    sky = np.repeat((0.6 + 2.5 * lobe).reshape(rows, 2 * rows, 1), 3, 2)
    panorama = np.roll(sky[:, ::-1], rows // 2, axis=1)
    cv2.imwrite(str(path), np.ascontiguousarray(panorama, np.float32))
