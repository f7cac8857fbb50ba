"""Stage `templates`: choose captures spread over identities and tones and keep them as codes. Nothing is learnt."""

import torch

from ..conventions import REFLECTANCE, Domain
from ..templates import TemplateLibrary
from .checkpoint import load_checkpoint, save_checkpoint
from .fusion import trained_autoencoder
from .identity import identity_name, trained_encoder
from .loop import CHECKPOINT, Task
from .pool import growing_pool
from .swapper import encode_library, template_candidates


def make_templates(task: Task) -> None:
    encoder, _, books = trained_autoencoder(task)
    with growing_pool(task) as pool:
        candidates = template_candidates(task, pool)
        library = encode_library(task, pool, candidates, encoder, books, trained_encoder(task))
        subjects = pool.count()
    keep = spread(library, min(task.preset.templates, len(library.names)))
    kept_domains = [list(Domain).index(domain) for domain in REFLECTANCE]
    tensors = {
        "codes": library.codes[keep][:, :, kept_domains].to(torch.int32),
        "vectors": library.vectors[keep],
        "tones_linear": library.tones_linear[keep],
    }
    state = {"names": [library.names[i] for i in keep], "subjects": subjects}
    state |= {"identity": identity_name(task.identity)}
    if task.crew.leads:
        save_checkpoint(task.out / "templates" / CHECKPOINT, tensors, state)
    task.report(f"templates: {len(keep)} of {len(library.names)} captures kept")


def load_templates(task: Task) -> TemplateLibrary:
    """What the templates stage of this run left."""
    tensors, state = load_checkpoint(task.out / "templates" / CHECKPOINT)
    codes, vectors, tones = (tensors[name].to(task.device) for name in ("codes", "vectors", "tones_linear"))
    return TemplateLibrary(tuple(state["names"]), codes.long(), vectors, tones)


def spread(library: TemplateLibrary, count: int) -> list[int]:
    """Indices of templates far from one another: the most central one first, then always the one farthest from all."""
    distance = library.distances(library.vectors, library.tones_linear)  # [T, T]
    chosen = [int(distance.mean(1).argmin())]
    nearest = distance[chosen[0]].clone()
    while len(chosen) < count:
        nearest[chosen] = -1.0
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, distance[chosen[-1]])
    return chosen
