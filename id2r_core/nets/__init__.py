"""The networks: layers -> vqgan -> codebook -> swapper; the identity encoder, translator and discriminator beside them."""

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
    translator: Translator

    def named(self) -> list[tuple[str, nn.Module]]:
        """All of them."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


def build_nets(preset: Preset) -> Nets:
    """All networks of a preset, freshly initialised."""
    return Nets(
        identity=IdentityEncoder(preset),
        encoder=Encoder(preset),
        decoder=Decoder(preset),
        codebooks=DomainCodebooks(preset),
        fusion=Fusion(preset),
        swapper=Swapper(preset),
        translator=Translator(preset),
    )
