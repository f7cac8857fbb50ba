"""The main path, one stage a line. Read this first; every stage has a module of its own."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from . import __version__
from .conventions import HAIR_METRES, STAGES
from .crop import crop_face
from .detail import add_detail, working_size
from .device import choose_device
from .evidence import Evidence
from .files import all_or_nothing, check_writable
from .glasses import MADE, TAKEN_OFF
from .head.atlas import HeadAtlas, make_atlas
from .head.fit import FittedHead, fit_heads
from .head.frame import build_frame
from .head.irises import measure_irises
from .head.model import load_head
from .identity import doubts, embed_identity, mean_identity
from .landmarks import Face, detect_person
from .maps import OPTIONAL_FILES, save_glasses, save_report, save_result, save_strands
from .packs import Pack, load_pack
from .photo import Photo, load_photo
from .protocol import Request
from .refine import Refined, refine_from_photos
from .spectacles import as_spectacles
from .stitch import stitch_views
from .swap import swap_identity
from .templates import choose_template
from .translate import translate_crop
from .verify import likeness

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Result:
    """out: the folder that holds the files; report: what report.json says."""

    out: Path
    report: dict


def reconstruct(request: Request, progress: Progress = lambda stage, done, total: None) -> Result:
    """One photo, and perhaps others of the same person, to maps and mesh in the folder request.out.

    progress(stage, done, total) is called before every stage and once at the end; it may raise Cancelled.
    Raises Id2rError for everything that the user can mend.
    """
    out, watch = Path(request.out), StopWatch(progress)
    check_writable(out)
    device = choose_device(request.device)
    pack, model = load_pack(request.pack, device), load_head(device=device)

    photos = watch.each("photo", load_photo, request.photos)
    faces = watch(
        "landmarks", detect_person, photos, request.task_file or None, request.face, request.interactive_landmarks
    )
    crops = watch.each("crop", crop_face, photos, faces, size=pack.preset.size)
    identities = watch.each("identity", embed_identity, crops, pack=pack)
    identity = mean_identity(identities)
    template = watch("template", choose_template, pack, identity, request.template)
    views = watch("swap", swap_identity, template, identity, pack)
    translations = watch.each("translate", translate_crop, crops, pack=pack)
    heads = watch("head", fit_heads, photos, faces, model)
    photo, face, crop, head = photos[0], faces[0], crops[0], heads[0]  # the main photo; others only add to it
    atlas = make_atlas(model, working_size(request.resolution))
    swapped = watch("stitch", stitch_views, views, head, atlas, pack.preset.sides)
    evidence = list(map(Evidence, photos, faces, heads, identities, translations))
    refined = watch("refine", refine_from_photos, swapped, evidence, atlas, request.refine, request.hair)
    detailed = watch("detail", add_detail, refined, photo, head, atlas, request.resolution, request.pores)
    irises = measure_irises(photo, face, head, refined.white_linear)
    spectacles = as_spectacles(evidence[0].rims, refined.white_linear) if evidence[0].rims else None
    cosine = likeness(refined, head, crop, irises, pack)
    with all_or_nothing(out, OPTIONAL_FILES) as folder:
        watch("maps", save_result, folder, detailed, refined.light, head, photo, irises, request.keep_expression)
        if spectacles:
            save_glasses(folder, build_frame(spectacles, head), spectacles.frame_linear)
        if refined.growth.strands:
            save_strands(folder, refined.growth.strands)
        report = (
            made_with(device, pack)
            | asked_for(request, photos, faces)
            | found_of(refined, head, atlas)
            | {
                "template": template.name,
                "identity_cosine": cosine,
                "detail": detailed.report,
                "seconds": watch.seconds,
                "warnings": [
                    *said_of(photos),
                    *said_of(faces),
                    *([MADE if spectacles else TAKEN_OFF] if any(each.rims for each in evidence) else []),
                    *doubts(identities, [each.name for each in photos]),
                ],
            }
        )
        save_report(folder, report)
        progress(STAGES[-1], len(STAGES), len(STAGES))
    return Result(out, report)


def asked_for(request: Request, photos: list[Photo], faces: list[Face]) -> dict:
    """The report's lines about the photos and what was to be made of them."""
    return {
        "photo": photos[0].name,
        "more_photos": [other.name for other in photos[1:]],
        "faces": faces[0].count,
        "face": request.face,
        "resolution": request.resolution,
    }


def found_of(refined: Refined, head: FittedHead, atlas: HeadAtlas) -> dict:
    """The report's lines about the person."""
    return {
        "tone_linear": rounded(refined.tone_linear),
        "hair_linear": rounded(refined.growth.hair_linear),
        "hair_metres": list(HAIR_METRES),
        "beard_linear": rounded(refined.growth.beard_linear),
        "fringe": edge_of(refined.growth.fringe),
        "hair_curl": round(refined.growth.curl, 3),
        "landmark_error": round(head.error, 4),
        "coverage": round(float((refined.maps.coverage[atlas.mask] > 0.5).float().mean()), 3),
        "morphs": head.morphs(),
        "expressions": head.expressions(),
    }


def rounded(linear: torch.Tensor | None) -> list[float] | None:
    """A colour as the report says it."""
    return None if linear is None else [round(value, 4) for value in linear.tolist()]


def edge_of(fringe: np.ndarray | None) -> list[float | None] | None:
    """Metres above the eyes at each of FRINGE_COLUMNS, null where no hair hangs over the forehead; null without a fringe."""
    return None if fringe is None else [None if np.isnan(height) else round(float(height), 4) for height in fringe]


def said_of(each: list) -> list[str]:
    """All warnings of photos or faces."""
    return [text for one in each for text in one.warnings]


def made_with(device: torch.device, pack: Pack) -> dict:
    """The report's first lines: what a result depends on besides the request."""
    return {
        "id2r": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": str(device),
        "pack": {"name": pack.name, "preset": pack.preset.name, "sha256": pack.sha256},
    }


@dataclass
class StopWatch:
    """Runs a stage, reports it, and keeps how long it took."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    def __call__(self, stage: str, work: Callable, *arguments):
        self.progress(stage, STAGES.index(stage), len(STAGES))
        start = time.perf_counter()
        result = work(*arguments)
        self.seconds[stage] = round(time.perf_counter() - start, 3)
        return result

    def each(self, stage: str, work: Callable, *lists, **shared) -> list:
        """The stage for one item of every list after the other; what all share is given by name."""
        return self(stage, lambda: [work(*items, **shared) for items in zip(*lists, strict=True)])
