"""The swap alone: is the swapped image the person, and does it keep the template's pose?"""

import numpy as np
from torch import Tensor

from ..conventions import Domain
from ..crop import crop_face
from ..errors import Id2rError, NoFace
from ..identity import Identity, embed_identity
from ..landmarks import detect_face
from ..photo import Photo, load_photo
from ..swap import swap_identity
from ..templates import choose_template
from . import figures
from .baselines import decode_template
from .context import Context
from .estimate import JUDGED_SIZE
from .front_view import turn_between, with_room
from .metrics import cosine, id_retrieval
from .report import Report, Table, mean
from .validation_set import Shot

CHOICES = ("closest", "fixed")
PAPER = (("F16 + F32 + F64 + F128, as published, on RGB images at 512", 0.965, 0.0129),)
SHOWN = 4


def evaluate_swap(context: Context) -> Report:
    """ID-Retrieval and pose of the swapped front view of one photograph of each person, closest and fixed template."""
    shots = list({shot.subject.name: shot for shot in reversed(context.shots())}.values())[::-1]
    people = {}
    for number, shot in enumerate(shots):
        context.progress("faces", number, len(shots))
        people[shot.name] = _face_of(context, load_photo(shot.file))
    known = [shot for shot in shots if people[shot.name] is not None]
    if not known:
        raise Id2rError(f"None of {len(shots)} photographs shows a face.", "Give a validation set of portraits.")
    gallery = np.stack([people[shot.name][1] for shot in known])
    rows, pictures = [], []
    for choice in CHOICES:
        row, drawn = _row(context, choice, known, people, gallery)
        rows.append(row)
        pictures += drawn
    figures.sheet(context.out / "swap.jpg", pictures)
    columns = (
        ("template", None), ("swapped people", 0), ("ID-Retrieval", 3), ("ID", 3), ("pose, radians", 4),
        ("faces found", None),
    )  # fmt: skip
    note = (
        f"Front view, diffuse domain (templates hold no RGB codes). Identity by {context.judge_name}, gallery: one "
        f"photograph of each of the {len(known)} people. A swapped image without a detectable face is not retrieved."
    )
    return Report(
        "swap",
        "Identity swap",
        context.describe(shots),
        [
            Table("Swapped images", columns, rows, note),
            Table(
                "For orientation", [("injection", None), ("ID-Retrieval", 3), ("pose", 4)], [list(row) for row in PAPER]
            ),
        ],
        figures=["swap.jpg"],
        failures={shot.name: "no face was found" for shot in shots if people[shot.name] is None},
    )


def _row(context: Context, choice: str, shots: list[Shot], people: dict, gallery: np.ndarray) -> tuple[list, list]:
    pack, vectors, poses, likeness, drawn = context.estimator.pack, [], [], [], []
    for number, shot in enumerate(shots):
        context.progress(f"swap {choice}", number, len(shots))
        identity, truth = people[shot.name]
        template = choose_template(pack, identity, choice)
        before, after = map(_front, (decode_template(template, pack), swap_identity(template, identity, pack)))
        vector = _vector(context, after)
        vectors.append(vector if vector is not None else np.zeros_like(truth))
        likeness.append(None if vector is None else cosine(vector, truth))
        poses.append(turn_between(before, after, context.estimator.model))
        if number < SHOWN:
            photo = load_photo(shot.file).srgb
            drawn.append([(shot.subject.name, photo), (f"{choice} template", before.srgb), ("swapped", after.srgb)])
    seen = [place for place, value in enumerate(likeness) if value is not None]
    hits = id_retrieval(np.stack(vectors)[seen], gallery, np.array(seen)) * len(seen) / len(shots) if seen else 0.0
    found = f"{len(seen)} of {len(shots)}"
    return [choice, len(shots), hits, mean(likeness), mean(poses), found], drawn


def _face_of(context: Context, photo: Photo) -> tuple[Identity, np.ndarray] | None:
    """What the pack makes of a photograph, and its vector in the recogniser's space; None without a face."""
    pack = context.estimator.pack
    try:
        crop = crop_face(photo, detect_face(photo), pack.preset.size)
        identity = embed_identity(crop, pack)
        judge = context.estimator.judge
        return identity, judge.embed(photo) if judge else identity.vector.numpy(force=True)
    except NoFace:
        return None


def _vector(context: Context, picture: Photo) -> np.ndarray | None:
    try:
        judge, pack = context.estimator.judge, context.estimator.pack
        if judge:
            return judge.embed(picture)
        crop = crop_face(picture, detect_face(picture), pack.preset.size)
        return embed_identity(crop, pack).vector.numpy(force=True)
    except NoFace:
        return None


def _front(views: dict[Domain, Tensor]) -> Photo:
    return with_room(views[Domain.DIFFUSE][0].permute(1, 2, 0).numpy(force=True), JUDGED_SIZE)
