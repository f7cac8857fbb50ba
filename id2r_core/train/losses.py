"""Losses that several stages share. Images are [B, 3, H, W] in [-1, 1]."""

import hashlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from ..capture.bundle import PERCEPTUAL
from ..errors import Id2rError
from .loop import to_device
from .parallel import ALONE, Crew

VGG_FILE = Path("models") / "vgg19_distilled_16x_e5.pth"
VGG_SHA256 = "9417c34d0d8d621bc6af78be745f1b8d30f5f210efa01e50655c60eb3770816b"
# Bytes from the start of that file to each tensor, little-endian float32. Its publisher chose a pickle; the numbers are
# read where they lie in these very bytes, and nothing is unpickled.
VGG_OFFSETS = {
    "conv0.weight": 5240, "conv0.bias": 5284,
    "conv11.weight": 5304, "conv11.bias": 7040, "conv12.weight": 62496, "conv12.bias": 25552,
    "conv21.weight": 7112, "conv21.bias": 71720, "conv22.weight": 25624, "conv22.bias": 145592,
    "conv31.weight": 71856, "conv31.bias": 293192, "conv32.weight": 145728, "conv32.bias": 1031272,
    "conv33.weight": 293976, "conv33.bias": 1031536, "conv34.weight": 1031800, "conv34.bias": 1474184,
    "conv41.weight": 1179264, "conv41.bias": 1474448,
}  # fmt: skip

# Convolutions of the distilled VGG-19 up to relu4_1, channels in and out; None halves the image.
_VGG_LAYERS = (
    ("conv11", 3, 16), ("conv12", 16, 16), None,
    ("conv21", 16, 32), ("conv22", 32, 32), None,
    ("conv31", 32, 64), ("conv32", 64, 64), ("conv33", 64, 64), ("conv34", 64, 64), None,
    ("conv41", 64, 128),
)  # fmt: skip
_VGG_TAPS = ("conv11", "conv21", "conv31", "conv41")


class Perceptual(nn.Module):
    """Distance of two images in the features of a small VGG-19, each feature scaled to unit length as in LPIPS.

    taps: how many of the layers relu1_1, relu2_1, relu3_1, relu4_1 are compared.
    """

    def __init__(self, taps: int = len(_VGG_TAPS)):
        super().__init__()
        self.taps = _VGG_TAPS[:taps]
        last = [layer and layer[0] for layer in _VGG_LAYERS].index(self.taps[-1])
        self.plan = _VGG_LAYERS[: last + 1]
        self.conv0 = nn.Conv2d(3, 3, 1)
        for layer in filter(None, self.plan):
            name, channels_in, channels_out = layer
            self.add_module(name, nn.Conv2d(channels_in, channels_out, 3, padding=1, padding_mode="reflect"))
        self.requires_grad_(False)

    def forward(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """-> a scalar; the gradient goes to `image` alone."""
        with torch.no_grad():
            wanted = self._features(target)
        pairs = zip(self._features(image), wanted)
        return sum((have - want).square().float().sum(1).mean() for have, want in pairs) / len(self.taps)

    def _features(self, image: torch.Tensor) -> list[torch.Tensor]:
        taps, hidden = [], self.conv0(image * 0.5 + 0.5)
        for layer in self.plan:
            if layer is None:
                hidden = _halve(hidden)
                continue
            hidden = F.relu(getattr(self, layer[0])(hidden))
            if layer[0] in self.taps:
                taps.append(hidden * (hidden.square().sum(1, keepdim=True) + 1e-6).rsqrt())
        return taps


def _halve(image: torch.Tensor) -> torch.Tensor:
    """2 x 2 maximum; written out because the pooling of half-precision images is several times slower on a CPU."""
    image = torch.maximum(image[..., 0::2], image[..., 1::2])
    return torch.maximum(image[..., 0::2, :], image[..., 1::2, :])


def load_perceptual(data_dir: Path, taps: int, device: torch.device) -> Perceptual:
    """The distilled VGG of the training data. A training input: it is never shipped.

    Raises Id2rError when the file is missing or is not the published one.
    """
    stored = perceptual_weights(data_dir)
    net = Perceptual(taps)
    net.load_state_dict({name: stored[name] for name in net.state_dict()})
    return to_device(net, device).eval()


def perceptual_weights(data_dir: Path) -> dict[str, torch.Tensor]:
    """Its weights by name, from a bundle or from the published file; raises Id2rError as `load_perceptual` does."""
    bundled, path = Path(data_dir) / PERCEPTUAL, Path(data_dir) / VGG_FILE
    if bundled.is_file():
        return load_file(bundled)
    if not path.is_file():
        raise Id2rError(f"The perceptual loss needs {path}, which is not there.", "Name the training data with --data.")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != VGG_SHA256:
        raise Id2rError(
            f"{path} is not the published file (its hash differs).", "Fetch it again; see the data's README."
        )
    return {name: _weight_at(data, name, value.shape) for name, value in Perceptual().state_dict().items()}


def _weight_at(data: bytes, name: str, shape: torch.Size) -> torch.Tensor:
    values = np.frombuffer(data, "<f4", shape.numel(), VGG_OFFSETS[name])
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def hinge_for_discriminator(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Scores of real and generated patches -> the discriminator's loss."""
    return 0.5 * (F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean())


def adaptive_weight(
    reconstruction: torch.Tensor,
    adversarial: torch.Tensor,
    last_layer: torch.Tensor,
    most: float,
    crew: Crew = ALONE,
) -> torch.Tensor:
    """VQGAN's weight of the adversarial loss: the ratio of both gradients at the decoder's last layer, at most `most`."""
    by_reconstruction, by_adversary = (
        crew.average(torch.autograd.grad(loss, last_layer, retain_graph=True)[0]).norm()
        for loss in (reconstruction, adversarial)
    )
    return (by_reconstruction / (by_adversary + 1e-4)).clamp(0.0, most).detach()
