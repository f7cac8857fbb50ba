"""The faces that were found in the scene's photo, for the picker and the landmarks."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import bpy

from .core import errors

if TYPE_CHECKING:
    from .properties import Scene

FOLDER = "id2r_faces"  # in Blender's temporary folder


@dataclass(frozen=True)
class Found:
    """What the worker saw in a photo; `faces` as id2r_core.faces describes them, the largest first."""

    photo: str
    folder: str
    size: tuple[int, int]
    faces: tuple[dict, ...]

    def face(self, number: int) -> dict:
        """Raises Id2rError when there is no such face."""
        if not 1 <= number <= len(self.faces):
            raise errors.Id2rError(
                f"There is no face {number}: {len(self.faces)} found.",
                f"Choose one from 1, the largest, to {len(self.faces)}.",
            )
        return self.faces[number - 1]


def photo_of(scene: "Scene") -> str:
    """The absolute path of the scene's photo; empty when none is chosen."""
    return bpy.path.abspath(scene.id2r.photo) if scene.id2r.photo else ""


def found_in(context) -> Found | None:
    """The faces of the scene's photo; None when nobody has looked for them, or only in another photo."""
    stored = context.window_manager.id2r.faces
    found = _read(stored) if stored else None
    return found if found and found.photo == photo_of(context.scene) else None


def remember(context, photo: str, folder: str, report: dict) -> None:
    """Keep what the worker saw for as long as Blender runs."""
    context.window_manager.id2r.faces = json.dumps(
        {"photo": photo, "folder": folder, "size": report["size"], "faces": report["faces"]}
    )


def folder_for(photo: str) -> Path:
    return Path(bpy.app.tempdir) / FOLDER / (Path(photo).stem or "photo")


@lru_cache(maxsize=2)
def _read(stored: str) -> Found:
    values = json.loads(stored)
    return Found(values["photo"], values["folder"], tuple(values["size"]), tuple(values["faces"]))
