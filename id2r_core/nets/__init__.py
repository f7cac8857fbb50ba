"""The networks: layers -> vqgan -> codebook -> swapper, and the identity encoder and discriminator beside them."""

from dataclasses import dataclass, fields

from torch import nn

from ..configs import Preset
from .codebook import DomainCodebooks, Fusion
from .identity_encoder import IdentityEncoder
from .swapper import Swapper
from .translator import Translator
from .vqgan import Decoder, Encoder


@dataclass(frozen=True)
class Nets:
    """The networks of one weight pack."""

    identity: IdentityEncoder
    encoder: Encoder
    decoder: Decoder
    codebooks: DomainCodebooks
    fusion: Fusion
    swapper: Swapper
    translator: Translator | None = None  # not every pack has one

    def named(self) -> list[tuple[str, nn.Module]]:
        """Those that are there."""
        every = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [(name, net) for name, net in every if net is not None]


def build_nets(preset: Preset, with_translator: bool = False) -> Nets:
    """All networks of a preset, freshly initialised."""
    return Nets(
        identity=IdentityEncoder(preset),
        encoder=Encoder(preset),
        decoder=Decoder(preset),
        codebooks=DomainCodebooks(preset),
        fusion=Fusion(preset),
        swapper=Swapper(preset),
        translator=Translator(preset) if with_translator else None,
    )
