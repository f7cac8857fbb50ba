"""The identity encoder: does it know people again, beside a recogniser that was trained for nothing else?"""

import torch

from ..conventions import linear_to_srgb
from ..train import augment
from ..train.figures import recognition
from ..train.portraits import Portraits, prepare_portraits
from .context import Context
from .held_out import HeldOut
from .report import Report, Table

PROBE_SEED = 5
STEPS = ("darkest sixth", "2", "3", "4", "5", "lightest sixth")
VIRTUAL = "Virtual: random pose, light and expression; the nearest other photograph is of the same person."
REAL = (
    "Portraits: of the test split, there is one a person, so its partner is the same portrait under heavy augmentation."
)
NOT_REAL = "The run holds no portrait of the test split, so that there is no row of real people."


def evaluate_recognition(context: Context) -> Report:
    """Rank-1 and TAR at FAR 1e-3 of the pack's encoder and, beside it, of the judge."""
    held = HeldOut(context)
    subject = torch.arange(held.pool.count()).repeat_interleave(held.pool.shots)
    shot = torch.arange(held.pool.shots).repeat(held.pool.count())
    gallery = {"virtual": (held.pool.photograph_images(subject, shot).cpu(), subject)}
    portraits = prepare_portraits(held.task.preset, context.data, context.run).split("test")
    if len(portraits):
        gallery["portraits"] = _pairs(portraits)
    rows, vectors = [], {}
    for name, embed in held.recognisers().items():
        for kind, (photos, person) in gallery.items():
            vectors[name, kind] = embed(photos)
            found = recognition(vectors[name, kind], person)
            rows.append([f"{name}, {kind}", len(photos), found.rank1, found.tar, found.stranger])
    columns = [("recogniser", None), ("photographs", 0), ("rank-1", 3), ("TAR at FAR 1e-3", 3), ("highest stranger", 3)]
    judge = f"The judge is {context.judge_name}." if context.estimator.judge else "No judge was given."
    note = " ".join((VIRTUAL, REAL if len(portraits) else NOT_REAL, judge))
    drawn, notes = _draw_people(held, vectors["pack", "virtual"], subject)
    data = f"{held.describe()} {len(portraits)} portraits of the test split."
    return Report("recognition", "Identity encoder", data, [Table("Recognition", columns, rows, note)], notes, drawn)


def _pairs(portraits: Portraits) -> tuple[torch.Tensor, torch.Tensor]:
    """Every portrait, and once more in other light, from a worse camera, in an alignment of its own; and who it is."""
    generator = torch.Generator().manual_seed(PROBE_SEED)
    torch.manual_seed(PROBE_SEED)
    person = torch.arange(len(portraits))
    real = portraits.pick(person)
    moved = augment.jitter_place(augment.mirror(real, generator), generator)
    other = augment.degrade(augment.jitter_colour(moved, generator), generator)
    return torch.cat((real, other)), person.repeat(2)


def _draw_people(held: HeldOut, vector: torch.Tensor, subject: torch.Tensor) -> tuple[list[str], list[str]]:
    """t-SNE of identity vectors, coloured by the darkness of the person's skin in six steps."""
    tone = linear_to_srgb(held.pool.tones(subject)).mean(1)
    step = torch.bucketize(tone, torch.quantile(tone, torch.linspace(0, 1, len(STEPS) + 1)[1:-1]))
    return held.draw_tsne("recognition_people.png", vector.numpy(), step.numpy(), STEPS)
