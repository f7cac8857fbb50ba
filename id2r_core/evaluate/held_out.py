"""The networks of a pack on the held-out people of a training run: what the evaluations of single networks share.

All people are virtual and were never trained on; their photographs and views come from the capture stage, so that every
figure has a true answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..conventions import VIEWS, Domain
from ..errors import Id2rError
from ..nets import Nets
from ..nets.identity_encoder import Embedding, face_window
from ..templates import TemplateLibrary
from ..train.loop import Task
from ..train.pool import Pool, validation_pool
from . import figures
from .context import Context

TSNE_PERPLEXITY = 30.0
NO_TSNE = "The t-SNE picture is left out: scikit-learn is not installed."


@dataclass(frozen=True)
class HeldOut:
    """The pack under test and the people of `--run` that it never saw."""

    context: Context

    @cached_property
    def task(self) -> Task:
        if self.context.run is None:
            raise Id2rError("This evaluation needs the folder of a training run.", "Name it with --run.")
        pack = self.context.estimator.pack
        return Task(pack.preset, self.context.data, self.context.run, device=pack.device)

    @cached_property
    def pool(self) -> Pool:
        return validation_pool(self.task)

    @property
    def nets(self) -> Nets:
        return self.context.estimator.pack.nets

    @property
    def library(self) -> TemplateLibrary:
        return self.context.estimator.pack.templates

    @property
    def device(self) -> torch.device:
        return self.context.estimator.pack.device

    @cached_property
    def people(self) -> tuple[tuple[Embedding, int], ...]:
        """Of every person: what the pack's encoder makes of the first photograph, and the closest template."""
        people = []
        for one in range(self.pool.count()):
            photo = self.pool.photograph_images(torch.tensor([one]), torch.tensor([0]))
            with torch.no_grad():
                found = self.nets.identity(photo.to(self.device))
            people.append((found, int(self.library.distances(found.vector, found.tone_linear).argmin())))
        return tuple(people)

    def views(self, person: int, domain: Domain) -> np.ndarray:
        """The true views of a person's skin on the mean head, [V, S, S, 3] in [0, 1]."""
        rows, index = torch.full((VIEWS,), person), list(Domain).index(domain)
        return to_numpy(self.pool.view_images(rows, torch.full((VIEWS,), index), torch.arange(VIEWS)))

    def mask(self, person: int) -> np.ndarray:
        """Where the head is in those views, [V, S, S] bool."""
        return self.views(person, Domain.SPECULAR).mean(-1) > 0

    def recognisers(self) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        """name -> aligned crops [B, 3, S, S] in [-1, 1] to unit vectors [B, D]; the judge last, if there is one."""
        judge = self.context.estimator.judge

        def by_pack(images: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                return torch.cat([self.nets.identity(part.to(self.device)).vector.cpu() for part in images.split(16)])

        def by_judge(images: torch.Tensor) -> torch.Tensor:
            windows = face_window(images).permute(0, 2, 3, 1).mul(0.5).add(0.5).clamp(0, 1).numpy()
            return torch.from_numpy(np.stack([judge.embed_aligned(window) for window in windows]))

        return {"pack": by_pack} | ({"judge": by_judge} if judge else {})

    def describe(self) -> str:
        subjects, size = self.pool.count(), self.task.preset.size
        return (
            f"{subjects} virtual people that training never saw, {self.pool.shots} photographs each by the capture "
            f"stage, views on the mean head at {size} px (validation split, seed {self.task.seed})."
        )

    def draw_tsne(
        self, name: str, points: np.ndarray, group: np.ndarray, names: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """A scatter plot of points [N, D] (van der Maaten & Hinton 2008): its file, and what the report says of it."""
        try:
            from sklearn.manifold import TSNE
        except ImportError:
            return [], [NO_TSNE]
        perplexity = min(TSNE_PERPLEXITY, (len(points) - 1) / 3)
        flat = TSNE(2, init="pca", random_state=0, perplexity=perplexity).fit_transform(points)
        figures.scatter(self.context.out / name, flat, group, names)
        return [name], []


def to_numpy(images: torch.Tensor) -> np.ndarray:
    """[B, 3, S, S] in [-1, 1] -> [B, S, S, 3] in [0, 1]."""
    return images.detach().float().mul(0.5).add(0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy(force=True)
