"""Every number of the networks and their training, in one table of presets. Imports no torch.

paper  the sizes and rates of the paper (CVPR 2024, arXiv 2404.00301), 512 px; for studios that train
base   512 px too, at a quarter of the work: the finest level is folded into channels; half an hour of a data-centre GPU
tiny   128 px; trains on two CPU cores in about an hour
"""

from dataclasses import dataclass, field

from .conventions import LOW_SIDES
from .errors import Id2rError

TRAIN_STAGES = ("identity", "codebook", "domains", "fusion", "swapper", "translate", "templates")
EXTRA_STAGES = ("tone",)  # not part of `train all`: a pack works without it

# The part of an aligned crop of 512 px that the identity encoder sees: rows and columns, first and last + 1.
FACE_WINDOW_ROWS = (0, 448)
FACE_WINDOW_COLUMNS = (32, 480)
FACE_WINDOW_OF = 512
FACE_WINDOW_SIZE = 112
IDENTITY_WIDTH = 512


@dataclass(frozen=True)
class IdentityNet:
    """Sizes of the identity encoder; one residual level per width, each halving the image."""

    widths: tuple[int, ...]
    blocks: int
    tone_size: int  # side of the small copy of the whole crop that the tone branch sees, pixels
    tone_width: int


@dataclass(frozen=True)
class FusionNet:
    """Sizes of the fusion network: residual groups of Swin blocks."""

    width: int
    groups: int
    depth: int  # Swin blocks in a group
    heads: int
    window: int  # latent pixels


@dataclass(frozen=True)
class TranslatorNet:
    """Sizes of the network from a photograph to its reflectance: a U-Net with one width a level."""

    size: int  # side of the image it sees and makes, pixels
    widths: tuple[int, ...]
    patch: int = 2  # pixels a side that the first and last layer fold into channels


@dataclass(frozen=True)
class StageTraining:
    """One row of the training table."""

    batch: int
    batch_accelerator: int  # the batch on CUDA
    rate: float  # of Adam, after the warm-up
    final_rate: float  # at the end of the cosine
    minutes_share: float  # of the minutes of `train all`
    ema: float = 0.995
    steps: int = 0  # planned length when no minutes are given
    warmup: int = 100  # steps until the full rate
    discriminator_rate: float = 0.0
    adversarial_from: float = 1.0  # share of the run after which the discriminator joins; 1 = never


@dataclass(frozen=True)
class LossWeights:
    """What the terms of the training losses weigh; the first block is the paper's."""

    l1: float = 1.0
    perceptual: float = 1.0
    perceptual_taps: int = 4  # layers of the perceptual net that are compared, 1 to 4
    adversarial_most: float = 1e4  # bound of VQGAN's adaptive weight
    adversarial_share: float = 0.8
    identity: float = 15.0
    template: float = 1.0  # perceptual distance of the swapped RGB image to its template
    same: float = 2.0  # L1 on RGB pairs of one identity

    swap_adversarial: float = 0.1
    supervised_l1: float = 10.0  # swapped image against the same view of the other subject
    supervised_perceptual: float = 5.0

    margin: float = 0.3  # radians, of the angular margin
    margin_scale: float = 24.0
    parameters: float = 10.0  # regression of the generating parameters
    tone: float = 10.0
    portrait_tone: float = 4.0


@dataclass(frozen=True)
class PoolSizes:
    """The store of rendered subjects that training draws from."""

    subjects: int
    photographs: int  # a subject
    validation_subjects: int
    chunk: int  # subjects rendered at once
    start: int  # subjects that must be there before a stage begins
    photographed: int = 10_000  # subjects of whom there are photographs without views, on disk
    fill_seconds: float = 0.0  # a pool in memory is filled so long before the first stage begins


@dataclass(frozen=True)
class Preset:
    """All sizes of one weight pack; `training[stage]` is the stage's row of the training table."""

    name: str
    size: int  # side of a crop and of a view, pixels
    width: int
    multipliers: tuple[int, ...]
    norm_groups: int
    codes: int
    code_width: int
    fusion: FusionNet
    swap_levels: tuple[int, ...]  # decoder levels (their side in pixels) that the identity is injected into
    identity: IdentityNet
    translator: TranslatorNet
    templates: int
    pool: PoolSizes
    training: dict[str, StageTraining]
    losses: LossWeights = field(default_factory=LossWeights)
    residual_blocks: int = 2
    attention_at: int = 16
    sides: tuple[float, float] = LOW_SIDES  # yaw and pitch of the side cameras, degrees
    patch: int = 1  # pixels a side that the first and last layer fold into channels; spares the costly finest level
    swap_blocks: int = 3
    field_rank: int = 0  # pictures a domain and view that the swapper adds to what it decodes; a help in short runs
    commitment: float = 0.25
    discriminator_width: int = 64
    discriminator_layers: int = 4

    @property
    def latent(self) -> int:
        """Side of the latent image, pixels."""
        return self.size // self.patch >> (len(self.multipliers) - 1)

    @property
    def levels(self) -> tuple[int, ...]:
        """Side of each decoder level, coarse to fine, pixels."""
        return tuple(self.latent << level for level in range(len(self.multipliers)))


def _paper_training(batch: int, batch_accelerator: int) -> dict[str, StageTraining]:
    """The paper's rates; `batch` is what fits beside a desktop, `batch_accelerator` a data-centre GPU."""
    return {
        "identity": StageTraining(4 * batch, 8 * batch_accelerator, 1e-3, 1e-5, 0.12, ema=0.999, steps=100_000),
        "codebook": StageTraining(
            batch, batch_accelerator, 8e-5, 6e-5, 0.3, steps=700_000, discriminator_rate=8e-5, adversarial_from=0.043
        ),
        "domains": StageTraining(
            batch, batch_accelerator, 5e-5, 3e-5, 0.2, steps=200_000, discriminator_rate=5e-5, adversarial_from=0.0
        ),
        "fusion": StageTraining(batch, batch_accelerator, 5e-5, 1e-5, 0.06, steps=100_000),
        "swapper": StageTraining(
            batch,
            batch_accelerator,
            7e-5,
            1e-5,
            0.24,
            ema=0.997,
            steps=500_000,
            discriminator_rate=2e-5,
            adversarial_from=0.05,
        ),
        "templates": StageTraining(batch, batch_accelerator, 0.0, 0.0, 0.02),
        "tone": StageTraining(48, 256, 1e-3, 1e-5, 0.0, ema=0.995, steps=20_000),
        "translate": StageTraining(2 * batch, 4 * batch_accelerator, 5e-4, 1e-5, 0.06, ema=0.999, steps=100_000),
    }


_LARGE_POOL = PoolSizes(subjects=2000, photographs=4, validation_subjects=48, chunk=8, start=96, fill_seconds=40.0)

PRESETS = {
    "paper": Preset(
        name="paper",
        size=512,
        width=64,
        multipliers=(1, 2, 2, 4, 4, 8),
        norm_groups=32,
        codes=1024,
        code_width=256,
        fusion=FusionNet(width=256, groups=4, depth=6, heads=8, window=8),
        swap_levels=(16, 32, 64, 128),
        identity=IdentityNet(widths=(48, 96, 192, 384, 512), blocks=2, tone_size=32, tone_width=64),
        translator=TranslatorNet(size=256, widths=(48, 96, 160, 224, 256)),
        templates=200,
        pool=_LARGE_POOL,
        training=_paper_training(batch=2, batch_accelerator=12),
    ),
    "base": Preset(
        name="base",
        size=512,
        width=64,
        multipliers=(1, 1, 2, 3, 3),
        patch=2,
        swap_blocks=2,
        norm_groups=8,
        codes=1024,
        code_width=256,
        fusion=FusionNet(width=128, groups=2, depth=2, heads=4, window=8),
        swap_levels=(16, 32, 64, 128),
        identity=IdentityNet(widths=(32, 64, 128, 256, 256), blocks=1, tone_size=32, tone_width=32),
        translator=TranslatorNet(size=256, widths=(24, 40, 64, 96)),
        templates=200,
        pool=_LARGE_POOL,
        training={
            # For some twenty minutes of a data-centre GPU in all: large steps, and little time for the adversary.
            "identity": StageTraining(32, 256, 2e-3, 2e-5, 0.12, ema=0.99, steps=8000),
            "codebook": StageTraining(2, 32, 5e-4, 3e-4, 0.2, ema=0.99, steps=20_000),
            "domains": StageTraining(
                2, 32, 4e-4, 2e-5, 0.3, ema=0.99, steps=30_000, discriminator_rate=2e-4, adversarial_from=0.5
            ),
            "fusion": StageTraining(2, 32, 3e-4, 3e-5, 0.03, ema=0.99, steps=3000),
            "swapper": StageTraining(
                2, 32, 3e-4, 2e-5, 0.27, ema=0.99, steps=30_000, discriminator_rate=1e-4, adversarial_from=0.6
            ),
            "templates": StageTraining(12, 96, 0.0, 0.0, 0.02),
            "tone": StageTraining(48, 256, 1e-3, 1e-5, 0.0, ema=0.995, steps=4000),
            "translate": StageTraining(8, 128, 1e-3, 2e-5, 0.06, ema=0.998, steps=6000),
        },
        losses=LossWeights(adversarial_share=0.3, identity=5.0, supervised_perceptual=10.0),
        discriminator_width=32,
    ),
    "tiny": Preset(
        name="tiny",
        size=128,
        width=16,
        multipliers=(2, 3, 4),
        patch=2,
        residual_blocks=1,
        swap_blocks=2,
        norm_groups=4,
        codes=512,
        code_width=64,
        fusion=FusionNet(width=64, groups=2, depth=2, heads=4, window=8),
        swap_levels=(16, 32, 64),
        field_rank=12,
        identity=IdentityNet(widths=(24, 48, 96, 192), blocks=1, tone_size=32, tone_width=24),
        translator=TranslatorNet(size=128, widths=(16, 40, 80, 112)),
        templates=96,
        pool=PoolSizes(subjects=4000, photographs=3, validation_subjects=48, chunk=4, start=48),
        training={
            # Small batches: in so short a run the number of steps counts.
            "identity": StageTraining(32, 128, 2e-3, 2e-5, 0.2, ema=0.99, steps=4000),
            "codebook": StageTraining(4, 64, 1e-3, 6e-4, 0.15, ema=0.99, steps=6000),
            "domains": StageTraining(4, 64, 1e-3, 3e-5, 0.25, ema=0.99, steps=12000),
            "fusion": StageTraining(4, 64, 5e-4, 5e-5, 0.03, ema=0.99, steps=1000),
            "swapper": StageTraining(6, 64, 5e-4, 3e-5, 0.25, ema=0.99, steps=12000),
            "templates": StageTraining(12, 96, 0.0, 0.0, 0.02),
            "tone": StageTraining(48, 256, 1e-3, 1e-5, 0.0, ema=0.995, steps=4000),
            "translate": StageTraining(12, 64, 2e-3, 2e-5, 0.1, ema=0.998, steps=6000),
        },
        losses=LossWeights(perceptual_taps=3, identity=2.0, supervised_perceptual=10.0),
        discriminator_width=16,
        discriminator_layers=3,
    ),
}


def get_preset(name: str) -> Preset:
    """The preset of that name. Raises Id2rError with the names that exist."""
    if name not in PRESETS:
        raise Id2rError(f"There is no preset called '{name}'.", f"Choose one of: {', '.join(PRESETS)}.")
    return PRESETS[name]
