"""Small networks from a table, built from a public seed so that they never need to be stored."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import nn

from moc.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from moc.data.real import DataInfo

Kind = Literal["convnet", "resnet", "mlp", "linear"]
Norm = Literal["instance", "group", "none"]

_NAME = re.compile(r"([a-z]+)([1-9][0-9]*)-w([1-9][0-9]*)(-plain|)(-half|)")
_KINDS: dict[str, tuple[Kind, Norm]] = {
    "convnet": ("convnet", "instance"),
    "convnet-plain": ("convnet", "none"),
    "resnet": ("resnet", "group"),
    "mlp": ("mlp", "none"),
}
_GROUPS = 4


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """The architecture of a network, apart from its input shape and classes.

    Attributes:
        kind: `convnet` (the field's ConvNet-D, arXiv 2006.05929), `resnet` (the small ResNet for
            32 x 32 images, arXiv 1512.03385, section 4.2), `mlp` or `linear`.
        width: Channels of each block (of the first of three stages, doubled in each of the
            others, for `resnet`), or hidden units.
        depth: Number of blocks or hidden layers; pools halve an image only while it is > 1 pixel.
            For `resnet` the layers with weights, 8, 14, 20, ...: two a residual block, n blocks a
            stage, and two more.
        norm: Instance norm (GroupNorm with one channel a group), GroupNorm with four groups (arXiv
            1803.08494; `resnet` alone) or none. BatchNorm is not offered: it mixes records, which
            no per-record privacy bound survives.
        half: Average blocks of 2 x 2 pixels before anything else: a fourth of the cost, for banks
            of many networks on a CPU.
    """

    kind: Kind = "convnet"
    width: int = 128
    depth: int = 3
    norm: Norm = "instance"
    half: bool = False

    @property
    def name(self) -> str:
        """Short name, such as `convnet3-w128`, which `parse` reads."""
        if self.kind == "linear":
            return "linear"
        plain = "-plain" if self.norm == "none" and self.kind == "convnet" else ""
        half = "-half" if self.half else ""
        return f"{self.kind}{self.depth}-w{self.width}{plain}{half}"

    @classmethod
    def parse(cls, text: str) -> NetworkSpec:
        """Read a short name, such as `convnet2-w32-plain-half`, `resnet8-w16` or `linear`."""
        if text == "linear":
            return cls(kind="linear", width=0, depth=0, norm="none")
        match = _NAME.fullmatch(text)
        if match and match[1] + match[4] in _KINDS:
            kind, norm = _KINDS[match[1] + match[4]]
            depth, width = int(match[2]), int(match[3])
            if kind != "resnet" or (depth > 2 and depth % 6 == 2):
                half = match[5] == "-half"
                return cls(kind=kind, width=width, depth=depth, norm=norm, half=half)
        raise StudyError(
            "A network such as 'convnet3-w128', 'resnet8-w16', 'mlp2-w256' or 'linear' expected, "
            f"found {text!r}."
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


def mean_prediction(networks: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Mean of the networks' probabilities (n, classes) for records x (n, *shape) in [0, 1]."""
    return torch.stack([network(x).softmax(-1) for network in networks]).mean(0)


class Ensembles(nn.Module):
    """One ensemble of networks for every rung, each made from what a reader of it may see."""

    def __init__(self, groups: Sequence[Sequence[nn.Module]]) -> None:
        """Let readers of rung r ask `groups[r]`, or the last group where there are fewer."""
        super().__init__()
        self.groups = nn.ModuleList(nn.ModuleList(group) for group in groups)
        self.requires_grad_(False).eval()

    def forward(self, records: Tensor, rungs: Sequence[int]) -> Tensor:
        """Mean probabilities (B, n, c) of each set's own ensemble for records (B, n, *shape)."""
        order = [min(rung, len(self.groups) - 1) for rung in rungs]
        rows: dict[int, Tensor] = {}
        for group in set(order):
            places = [b for b, other in enumerate(order) if other == group]
            networks = cast("nn.ModuleList", self.groups[group])
            found = mean_prediction(networks, records[places].flatten(0, 1))
            rows.update(zip(places, found.unflatten(0, (len(places), -1)), strict=True))
        return torch.stack([rows[b] for b in range(len(order))])


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
    if (spec.half or spec.kind in ("convnet", "resnet")) and not info.is_image:
        raise StudyError(
            f"{spec.name} needs images; {info.name} has records of shape {info.shape}. "
            "Use an mlp, such as 'mlp2-w256'."
        )
    if spec.half:
        channels, height, width = info.shape
        smaller = replace(info, shape=(channels, height // 2, width // 2))
        body, features = _body(replace(spec, half=False), smaller)
        return nn.Sequential(nn.AvgPool2d(2), body), features
    flat = math.prod(info.shape)
    if spec.kind == "linear":
        return nn.Flatten(), flat
    if spec.kind == "mlp":
        sizes = [flat] + [spec.width] * spec.depth
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *layers), spec.width
    return _resnet(spec, info) if spec.kind == "resnet" else _convnet(spec, info)


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


def _resnet(spec: NetworkSpec, info: DataInfo) -> tuple[nn.Module, int]:
    channels = spec.width
    layers: list[nn.Module] = [*_normed(info.shape[0], channels, stride=1), nn.ReLU()]
    for stage in range(3):
        for block in range((spec.depth - 2) // 6):
            first = stage > 0 and block == 0  # halves the image and doubles the channels
            layers.append(_Residual(channels, 2 * channels if first else channels))
            channels = 2 * channels if first else channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), channels


class _Residual(nn.Module):
    """Two convolutions beside a shortcut, which is a convolution where the shape changes."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = 1 if before == after else 2
        self.inner = nn.Sequential(
            *_normed(before, after, stride=stride), nn.ReLU(), *_normed(after, after, stride=1)
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(*_normed(before, after, stride=2, size=1))
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.inner(x) + self.shortcut(x))


def _normed(before: int, after: int, *, stride: int, size: int = 3) -> tuple[nn.Module, nn.Module]:
    """A convolution that keeps the image, or every `stride`-th pixel of it, and its GroupNorm."""
    convolution = nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False)
    return convolution, nn.GroupNorm(math.gcd(_GROUPS, after), after)
