"""Who stands on the stage: identity coefficients, mild expressions, skin tone; each subject is a function of its index."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..head.model import HeadModel
from ..pigment import ITA_EDGES, PigmentTable
from .sources import SPLITS

# Numbers in [0, 1) that a subject's skin and colours are made from, one column of `Subjects.params` each.
PARAMS = (
    "age", "female", "blood", "low_source", "high_source", "hair_source", "lip_source", "low_gain", "high_gain",
    "brow_gain", "scalp_gain", "beard_gain", "lip_red", "cheek_red", "nose_red", "freckles", "moles", "blotches",
    "specular", "specular_contrast", "roughness", "roughness_contrast", "meso", "pores", "noise_u", "noise_v",
    "iris", "iris_light", "hair_colour", "hair_light", "seed",
)  # fmt: skip
OPPOSITES = (
    ("incr", "decr"), ("up", "down"), ("forward", "backward"), ("out", "in"), ("convex", "concave"),
    ("uncompress", "compress"), ("round", "square"), ("triangle", "pointed"),
)  # fmt: skip
# One standard deviation of a morph, as the metres that it moves the vertex it moves most.
MORPH_METRES = {
    "cheek": 1.6e-3, "chin": 2.6e-3, "ear": 2.2e-3, "eye": 0.9e-3, "eyebrows": 1.3e-3, "forehead": 4.0e-3,
    "head": 2.9e-3, "mouth": 1.2e-3, "neck": 3.0e-3, "measure": 3.0e-3, "nose": 1.5e-3,
}  # fmt: skip
# How people's eyes, noses and mouths vary together: morph coefficients, one row a mode, of unit normal numbers. Fitted to
# the shapes of ICT-FaceKit (MIT; the file says how) by `capture shapes --fit`; what no landmark sees varies by itself.
SHAPE_MODES = Path(__file__).with_name("shape_modes.json")
IN_MODES = ("eye", "eyebrows", "measure", "mouth", "nose")
BESIDE_MODES = 0.4  # of their own variation these morphs keep that much besides
# Of the pigment table; with the melanin of light skin this spans about 8 to 14 of a*.
BLOOD_COORDINATES = (0.24, 0.50)
ACTIVE_SHARE = 0.6  # of the morphs, in one subject
MOST_OF_A_MORPH = 0.8
ASYMMETRY = 0.4
# Sideways shifts are asymmetries of the whole face: rarely more than a millimetre.
SIDEWAYS = ("nose-trans-out", "mouth-trans-out", "head-trans-out", "neck-trans-out", "head-angle-out")
SIDEWAYS_METRES = 8e-4
# Up and down the nose and the mouth shift less than they change otherwise; noses widen less, lips thicken more.
MORPH_METRES_BY_NAME = {
    "nose-trans": 0.5e-3,
    "nose-base": 0.5e-3,
    "mouth-trans": 0.4e-3,
    "nose-scale": 1.0e-3,
    "nose-width": 1.0e-3,
    "mouth-upperlip": 1.6e-3,
    "mouth-lowerlip": 1.6e-3,
    "mouth-philtrum": 0.8e-3,
}
# Action -> (how often it is on, its strength at most).
MILD_EXPRESSIONS = {
    "mouthSmile": (0.25, 0.3), "browInnerUp": (0.25, 0.25), "browDown": (0.25, 0.2), "eyeSquint": (0.25, 0.25),
    "mouthPress": (0.25, 0.3), "mouthFrown": (0.25, 0.2), "cheekSquint": (0.25, 0.2), "browOuterUp": (0.25, 0.2),
    "jawForward": (0.2, 0.15), "mouthPucker": (0.2, 0.1),
}  # fmt: skip


@dataclass(frozen=True)
class Subjects:
    """Row s is one subject, made from its index alone.

    index: [S] int64
    identity: [S, K] in [0, 1]; expression: [S, E] in [0, 1], mild
    tone_linear: [S, 3] mean linear diffuse albedo of the facial skin, exactly that of the rendered maps
    ita: [S] individual typology angle of that tone, degrees
    melanin, blood: [S] coordinates of the tone in the pigment table
    params: [S, P] in [0, 1), the columns named by PARAMS
    """

    index: Tensor
    identity: Tensor
    expression: Tensor
    tone_linear: Tensor
    ita: Tensor
    melanin: Tensor
    blood: Tensor
    params: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def number(self, name: str) -> Tensor:
        """The column [S] of that name in `params`."""
        return self.params[:, PARAMS.index(name)]

    def between(self, name: str, low: float, high: float) -> Tensor:
        """That column carried into [low, high), [S]."""
        return low + (high - low) * self.number(name)


class Casting:
    """Draws subjects for one head model; holds nothing but tables."""

    def __init__(self, head: HeadModel, pigments: PigmentTable, seed: int, split: str):
        self.pigments = pigments
        self.seed = (seed, SPLITS.index(split))
        self.identity_names = head.identity_names
        self.expression_names = head.expression_names
        self.sigma = _morph_sigma(head)  # [K]
        self.beside = np.array([_share_beside_modes(name) for name in head.identity_names])  # [K]
        self.pairs = _opposite_pairs(head.identity_names)
        self.modes = _shape_modes(head.identity_names, self.pairs)

    def cast(self, indices, device) -> Subjects:
        """The subjects with these indices."""
        drawn = [self._draw(int(index)) for index in indices]
        columns = {name: np.stack([one[name] for one in drawn]).astype(np.float32) for name in drawn[0]}
        tensors = {name: torch.from_numpy(column).to(device) for name, column in columns.items()}
        low, high = BLOOD_COORDINATES
        blood = low + (high - low) * tensors["params"][:, PARAMS.index("blood")]
        melanin = self.pigments.melanin_for(tensors["ita"], blood)
        tone = self.pigments.albedo(melanin[:, None], blood[:, None])[:, :, 0]
        index = torch.as_tensor(list(map(int, indices)), device=device)
        return Subjects(index=index, tone_linear=tone, melanin=melanin, blood=blood, **tensors)

    def _draw(self, index: int) -> dict[str, np.ndarray]:
        random = np.random.default_rng((*self.seed, index))
        params = random.random(len(PARAMS))
        number = dict(zip(PARAMS, params, strict=True))
        skin_type = random.integers(6)
        ita = random.uniform(ITA_EDGES[skin_type], ITA_EDGES[skin_type + 1])
        identity = self.phenotype(random, ita, number) + self._morphs(random)
        return {
            "identity": identity.clip(0, 1),
            "expression": draw_expression(random, self.expression_names, MILD_EXPRESSIONS),
            "ita": np.float64(ita),
            "params": params,
        }

    def phenotype(self, random, ita: float, number: dict) -> np.ndarray:
        """Ancestry leans with the skin tone but is not told by it; age and sex as the skin has them."""
        # African, Asian, European; the constants make the three about equally common over the six skin types.
        lean = np.array([0.3 - ita / 18, 1.9 - abs(ita - 28) / 18, ita / 25 - 0.4])
        chance = np.exp(1.2 * (lean + random.gumbel(size=3)))
        ancestry = 0.9 * chance / chance.sum()
        female = np.clip((number["female"] < 0.5) + random.normal(0, 0.12), 0, 1)
        old = np.clip((number["age"] - 0.25) / 0.75, 0, 1)
        weights = {"age-old": 0.85 * old, "weight-min": random.random()}
        if random.random() < 0.06:
            weights["age-child"] = random.uniform(0.1, 0.5)
        for name, share in zip(("african", "asian", "caucasian"), ancestry, strict=True):
            weights |= {f"{name}-female": share * female, f"{name}-male": share * (1 - female)}
        return np.array([weights.get(name, 0.0) for name in self.identity_names])

    def _morphs(self, random) -> np.ndarray:
        """The shape modes, and small signed amounts of about half of the morphs, split over their one-sided opposites."""
        shared = {
            stem: random.normal() * (random.random() < ACTIVE_SHARE) for stem in sorted({p[0] for p in self.pairs})
        }
        together = random.standard_normal(len(self.modes)) @ self.modes
        coefficients = np.zeros(len(self.identity_names))
        for (stem, positive, negative), amount in zip(self.pairs, together, strict=True):
            own = shared[stem] * self.beside[positive] + random.normal() * ASYMMETRY
            amount = amount + own * self.sigma[positive]
            coefficients[positive if amount > 0 else negative] = min(abs(amount), MOST_OF_A_MORPH)
        return coefficients


def draw_expression(random, names: tuple[str, ...], actions: dict[str, tuple[float, float]]) -> np.ndarray:
    """Coefficients [E]: each named action is on as often as it says, nearly alike on both sides."""
    weights = {}
    for action, (share, strength) in actions.items():
        amount = strength * random.random() * (random.random() < share)
        for name in (action, action + "Left", action + "Right"):
            weights[name] = amount * random.uniform(0.8, 1.0)
    return np.array([weights.get(name, 0.0) for name in names])


def _without_side(name: str) -> str:
    return name[2:] if name[:2] in ("l-", "r-") else name


def _opposite_pairs(names: tuple[str, ...]) -> list[tuple[str, int, int]]:
    """(name without side, index of the one direction, index of the other) of every pair of opposite morphs."""
    number = {name: index for index, name in enumerate(names)}
    pairs = []
    for name, index in number.items():
        for positive, negative in OPPOSITES:
            opposite = name.removesuffix(positive) + negative
            if name.endswith("-" + positive) and opposite in number:
                pairs.append((_without_side(name), index, number[opposite]))
    return pairs


def _shape_modes(names: tuple[str, ...], pairs: list[tuple[str, int, int]]) -> np.ndarray:
    """[M, P] coefficients of the pairs' first directions in each mode; 0 for morphs that the modes do not know."""
    modes = json.loads(SHAPE_MODES.read_text(encoding="utf-8"))["modes"]
    return np.array([[mode.get(names[positive], 0.0) for _, positive, _ in pairs] for mode in modes])


def _wanted_metres(name: str) -> float:
    special = [metres for start, metres in MORPH_METRES_BY_NAME.items() if name.startswith(start)]
    return special[0] if special else MORPH_METRES.get(name.split("-")[0], 1.5e-3)


def _morph_sigma(head: HeadModel) -> np.ndarray:
    """[K] the coefficient of one standard deviation, so that each morph moves the head by about MORPH_METRES."""
    reach = head.identity.norm(dim=-1).amax(dim=1).cpu().numpy()
    metres = [
        SIDEWAYS_METRES if _is_sideways(name) else _wanted_metres(_without_side(name)) for name in head.identity_names
    ]
    return np.minimum(np.array(metres) / np.maximum(reach, 1e-5), 0.35)


def _share_beside_modes(name: str) -> float:
    in_modes = _without_side(name).split("-")[0] in IN_MODES and not _is_sideways(name)
    return BESIDE_MODES if in_modes else 1.0


def _is_sideways(name: str) -> bool:
    return name.endswith(("-out", "-in")) and _without_side(name).startswith(tuple(s[:-4] for s in SIDEWAYS))
