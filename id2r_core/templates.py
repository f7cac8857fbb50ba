"""Templates: reflectance captures of a few people, kept as code indices beside their identity vectors and tones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .conventions import linear_to_srgb
from .errors import Id2rError

if TYPE_CHECKING:
    from .identity import Identity
    from .packs import Pack

# What a difference in tone (distance in sRGB, 0..1) weighs against a difference in identity (1 - cosine).
TONE_WEIGHT = 4.0


@dataclass(frozen=True)
class Template:
    """codes [V = 3, D = 4, h, w] int64: `codes[v, d, y, x]` is the code of latent pixel (x, y) of fixed view v (front,
    left, right) in domain REFLECTANCE[d]; vector [512] unit; tone_linear [3]."""

    name: str
    codes: torch.Tensor
    vector: torch.Tensor
    tone_linear: torch.Tensor


@dataclass(frozen=True)
class TemplateLibrary:
    """All templates of a pack, stacked: names T, codes [T, V, D, h, w] int64, vectors [T, 512], tones_linear [T, 3].

    The first one serves as the fixed template.
    """

    names: tuple[str, ...]
    codes: torch.Tensor
    vectors: torch.Tensor
    tones_linear: torch.Tensor

    def __getitem__(self, index: int) -> Template:
        return Template(self.names[index], self.codes[index], self.vectors[index], self.tones_linear[index])

    def distances(self, vectors: torch.Tensor, tones_linear: torch.Tensor) -> torch.Tensor:
        """vectors [B, 512], tones_linear [B, 3] -> how unlike each template is in identity and tone, [B, T]."""
        unlike = 1.0 - vectors @ self.vectors.T
        return unlike + TONE_WEIGHT * torch.cdist(linear_to_srgb(tones_linear), linear_to_srgb(self.tones_linear))


def choose_template(pack: Pack, identity: Identity, name: str = "closest") -> Template:
    """The template of that name; "closest" is the one most like the person, "fixed" always the same one.

    Raises Id2rError with the names that exist.
    """
    library = pack.templates
    if name == "closest":
        return library[int(library.distances(identity.vector[None], identity.tone_linear[None]).argmin())]
    if name == "fixed":
        return library[0]
    if name not in library.names:
        raise Id2rError(
            f"The pack '{pack.name}' has no template called '{name}'.",
            f"Choose closest, fixed or one of: {', '.join(library.names)}.",
        )
    return library[library.names.index(name)]
