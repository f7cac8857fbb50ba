"""Somebody else's face recogniser (an ArcFace model in ONNX, as insightface ships them) as a differentiable module.

Training the swapper needs the gradient through the recogniser, which ONNX Runtime does not give; the operators that
ArcFace models consist of are few, so the graph is run in PyTorch. Needs the package `onnx`, and only then.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..configs import FACE_WINDOW_SIZE, IDENTITY_WIDTH
from ..errors import Id2rError
from .identity_encoder import Embedding, IdentityEncoder, face_window

# insightface.model_zoo.arcface_onnx: a graph that begins with a subtraction and a product normalises pixels itself.
OWN_NORMALISATION, FIRST_NODES = ({"Sub", "Mul"}, {"Sub", "Div"}), 8


class OnnxNet(nn.Module):
    """face [B, 3, 112, 112] RGB in [-1, 1] -> vector [B, 512], not normalised. Frozen."""

    def __init__(self, path: Path):
        super().__init__()
        graph = _read_graph(path)
        self.nodes = [(node.op_type, list(node.input), list(node.output), _attributes(node)) for node in graph.node]
        unknown = sorted({kind for kind, *_ in self.nodes} - set(OPERATORS))
        if unknown:
            raise Id2rError(
                f"{path.name} uses operators that are not known here: {', '.join(unknown)}.", "Choose an ArcFace model."
            )
        self.names = {}  # of the graph's constants, as buffers: their own names may hold dots
        for number, constant in enumerate(graph.initializer):
            self.names[constant.name] = f"constant_{number}"
            self.register_buffer(f"constant_{number}", _tensor(constant), persistent=False)
        self.input = next(entry.name for entry in graph.input if entry.name not in self.names)
        self.output = graph.output[0].name
        first = {kind for kind, *_ in self.nodes[:FIRST_NODES]}
        self.takes_bytes = any(kinds <= first for kinds in OWN_NORMALISATION)

    def forward(self, face: torch.Tensor) -> torch.Tensor:
        values = {name: getattr(self, buffer) for name, buffer in self.names.items()} | {"": None}
        values[self.input] = (face + 1.0) * 127.5 if self.takes_bytes else face
        for kind, inputs, outputs, attributes in self.nodes:
            values[outputs[0]] = OPERATORS[kind](attributes, *(values[name] for name in inputs))
        return values[self.output]


class ForeignIdentity(nn.Module):
    """crop [B, 3, S, S] in [-1, 1] -> Embedding: the vector of an ArcFace model, the tone of the pack's own encoder."""

    def __init__(self, own: IdentityEncoder, net: OnnxNet):
        super().__init__()
        self.own, self.net = own, net

    def forward(self, crop: torch.Tensor) -> Embedding:
        with torch.autocast(crop.device.type, enabled=False):
            vector = self.net(face_window(crop.float()))
        return Embedding(F.normalize(vector, dim=1), self.own(crop).tone_linear)


def load_onnx_identity(path: Path, device: torch.device) -> OnnxNet:
    """Raises Id2rError when the file is missing or is no model that turns a face into 512 numbers."""
    if not path.is_file():
        raise Id2rError(f"There is no identity model at {path}.", "Name the ONNX file: --identity insightface:PATH.")
    net = OnnxNet(path)
    with torch.no_grad():
        shape = tuple(net(torch.zeros(1, 3, FACE_WINDOW_SIZE, FACE_WINDOW_SIZE)).shape)
    if shape != (1, IDENTITY_WIDTH):
        raise Id2rError(f"{path.name} gives {shape[1:]} numbers a face.", f"A pack needs {IDENTITY_WIDTH} of them.")
    return net.to(device).eval()


def identity_path(option: str | None) -> Path | None:
    """The path in `insightface:PATH`; None for None. Raises Id2rError for anything else."""
    if option is None:
        return None
    kind, _, path = option.partition(":")
    if kind != "insightface" or not Path(path).is_file():
        raise Id2rError(f"'{option}' names no identity model.", "Write insightface:PATH, the path of an ONNX file.")
    return Path(path)


def file_hash(path: Path) -> str:
    """sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_graph(path: Path):
    try:
        import onnx
    except ImportError as error:
        raise Id2rError("An ONNX identity model needs the package 'onnx'.", "Install it: pip install onnx.") from error
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(path).graph
    except DecodeError as error:
        raise Id2rError(f"{path.name} is no ONNX model.", "Choose an ArcFace model in ONNX.") from error


def _tensor(constant) -> torch.Tensor:
    import onnx

    return torch.from_numpy(onnx.numpy_helper.to_array(constant).copy())


def _attributes(node) -> dict:
    import onnx

    values = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    return {name: _tensor(v) if isinstance(v, onnx.TensorProto) else v for name, v in values.items()}


def _conv(attributes: dict, image, weight, bias=None) -> torch.Tensor:
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    options = {"stride": attributes.get("strides", (1, 1)), "dilation": attributes.get("dilations", (1, 1))}
    return F.conv2d(
        F.pad(image, (left, right, top, bottom)), weight, bias, groups=attributes.get("group", 1), **options
    )


def _batch_norm(attributes: dict, image, scale, shift, mean, variance) -> torch.Tensor:
    return F.batch_norm(image, mean, variance, scale, shift, eps=attributes.get("epsilon", 1e-5))


def _gemm(attributes: dict, one, other, bias=0.0) -> torch.Tensor:
    one = one.T if attributes.get("transA") else one
    other = other.T if attributes.get("transB") else other
    return attributes.get("alpha", 1.0) * (one @ other) + attributes.get("beta", 1.0) * bias


def _clip(attributes: dict, image, low=None, high=None) -> torch.Tensor:
    return image.clamp(attributes.get("min", low), attributes.get("max", high))


def _max_pool(attributes: dict, image) -> torch.Tensor:
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    padded = F.pad(image, (left, right, top, bottom), value=-torch.inf)
    return F.max_pool2d(padded, attributes["kernel_shape"], attributes.get("strides", (1, 1)))


OPERATORS: dict[str, Callable[..., torch.Tensor]] = {
    "Add": lambda _, one, other: one + other,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Constant": lambda attributes: attributes["value"],
    "Conv": _conv,
    "Div": lambda _, one, other: one / other,
    "Dropout": lambda _, image, *rest: image,
    "Flatten": lambda attributes, image: image.flatten(attributes.get("axis", 1)),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, image: image.mean((2, 3), keepdim=True),
    "Identity": lambda _, image: image,
    "MatMul": lambda _, one, other: one @ other,
    "MaxPool": _max_pool,
    "Mul": lambda _, one, other: one * other,
    "PRelu": lambda _, image, slope: torch.where(image >= 0, image, image * slope),
    "Relu": lambda _, image: image.relu(),
    "Reshape": lambda _, image, shape: image.reshape([len(image), *shape.tolist()[1:]]),
    "Sigmoid": lambda _, image: image.sigmoid(),
    "Sub": lambda _, one, other: one - other,
}
