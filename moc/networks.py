"""Small networks from a table, built from a public seed so that they never need to be stored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from moc.errors import StudyError

if TYPE_CHECKING:
    from torch import Tensor

    from moc.data.real import DataInfo

Kind = Literal["convnet", "mlp", "linear"]


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """The architecture of a network, apart from its input shape and classes.

    Attributes:
        kind: `convnet` (the field's ConvNet-D, arXiv 2006.05929), `mlp` or `linear`.
        width: Channels of each block, or hidden units.
        depth: Number of blocks or hidden layers; pools halve an image only while it is > 1 pixel.
        norm: Instance norm (GroupNorm with one channel a group) or none. BatchNorm is not offered:
            it mixes records, which no per-record privacy bound survives.
    """

    kind: Kind = "convnet"
    width: int = 128
    depth: int = 3
    norm: Literal["instance", "none"] = "instance"

    @property
    def name(self) -> str:
        """Short name, such as `convnet3-w128`, which `parse` reads."""
        if self.kind == "linear":
            return "linear"
        plain = "" if self.norm == "instance" or self.kind != "convnet" else "-plain"
        return f"{self.kind}{self.depth}-w{self.width}{plain}"

    @classmethod
    def parse(cls, text: str) -> NetworkSpec:
        """Read a short name back: `convnet3-w128`, `mlp2-w256`, `convnet2-w32-plain`, `linear`."""
        if text == "linear":
            return cls(kind="linear", width=0, depth=0, norm="none")
        head, _, rest = text.partition("-w")
        width, _, tail = rest.partition("-")
        kind = head.rstrip("0123456789")
        if kind in ("convnet", "mlp") and width.isdecimal() and tail in ("", "plain"):
            depth = head[len(kind) :]
            norm = "none" if tail == "plain" or kind == "mlp" else "instance"
            if depth.isdecimal() and int(depth) > 0 and int(width) > 0:
                return cls(kind=kind, width=int(width), depth=int(depth), norm=norm)
        raise StudyError(
            f"A network such as 'convnet3-w128', 'mlp2-w256' or 'linear' expected, found {text!r}."
        )


class Network(nn.Module):
    """A feature map followed by a linear head; takes records in [0, 1] and normalises them itself.

    Attributes:
        features: Number of features d that `embed` returns.
        mean: Public normalisation mean, shaped to broadcast over records.
        std: Public normalisation standard deviation, likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, body: nn.Module, *, info: DataInfo, features: int) -> None:
        """Join `body` ((n, *shape) normalised records to (n, features)) and a fresh head."""
        super().__init__()
        self.body = body
        self.features = features
        self.head = nn.Linear(features, len(info.classes))
        tail = (1,) * (len(info.shape) - 1)
        self.register_buffer("mean", torch.tensor(info.mean).reshape(-1, *tail))
        self.register_buffer("std", torch.tensor(info.std).reshape(-1, *tail))

    def embed(self, x: Tensor) -> Tensor:
        """Features (n, d) of records (n, *shape) in [0, 1]."""
        return self.body((x - self.mean) / self.std)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of records (n, *shape) in [0, 1]."""
        return self.head(self.embed(x))


def build(spec: NetworkSpec, info: DataInfo, *, seed: int) -> Network:
    """Build a freshly initialised network; the same seed gives the same weights on any machine.

    Args:
        spec: The architecture.
        info: Gives the record shape, the classes and the normalisation constants.
        seed: Public seed of the weights; no other generator is read or changed.

    Returns:
        A network in evaluation mode, float32, on the CPU.
    """
    with torch.random.fork_rng(devices=[]):
        body, features = _body(spec, info)
        network = Network(body, info=info, features=features)
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # The law of PyTorch's own reset_parameters, drawn from our generator.
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
            if module.bias is not None:
                bound = 1 / math.sqrt(module.weight[0].numel())
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
    return network.eval()


def _body(spec: NetworkSpec, info: DataInfo) -> tuple[nn.Module, int]:
    flat = math.prod(info.shape)
    if spec.kind == "linear":
        return nn.Flatten(), flat
    if spec.kind == "mlp":
        sizes = [flat] + [spec.width] * spec.depth
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *layers), spec.width
    if not info.is_image:
        raise StudyError(
            f"{spec.name} needs images; {info.name} has records of shape {info.shape}. "
            "Use an mlp, such as 'mlp2-w256'."
        )
    return _convnet(spec, info)


def _convnet(spec: NetworkSpec, info: DataInfo) -> tuple[nn.Module, int]:
    channels, height, width = info.shape
    layers: list[nn.Module] = []
    for block in range(spec.depth):
        # The field pads 28 x 28 images to 32 x 32 in the first convolution.
        padding = 3 if block == 0 and (height, width) == (28, 28) else 1
        layers.append(nn.Conv2d(channels, spec.width, 3, padding=padding))
        height, width = height + 2 * padding - 2, width + 2 * padding - 2
        if spec.norm == "instance" and height * width > 1:  # of one pixel it leaves nothing
            layers.append(nn.GroupNorm(spec.width, spec.width))
        layers.append(nn.ReLU())
        if min(height, width) > 1:
            layers.append(nn.AvgPool2d(2))
            height, width = height // 2, width // 2
        channels = spec.width
    return nn.Sequential(*layers, nn.Flatten()), channels * height * width
