"""The small ResNet for 32 x 32 images."""

from __future__ import annotations

import math
import re
from typing import Literal, Self

from pydantic import Field, field_validator
from torch import Tensor, nn
from typing_extensions import override

from moc.data.declared import DataInfo
from moc.networks.architectures.base import Architecture

_NAME = re.compile(r"resnet([1-9][0-9]*)-w([1-9][0-9]*)")
_GROUPS = 4


class ResNet(Architecture):
    """The ResNet of arXiv 1512.03385, section 4.2, with GroupNorm of four groups (1803.08494).

    Attributes:
        depth: Layers with weights, 8, 14, 20, ...: two a residual block, n blocks a stage, and two
            more.
        width: Channels of the first of three stages, doubled in each of the others.
    """

    kind: Literal["resnet"] = "resnet"
    depth: int = Field(default=8, gt=2)
    width: int = Field(default=16, gt=0)

    @field_validator("depth")
    @classmethod
    def _whole_blocks(cls, value: int) -> int:
        if value % 6 != 2:
            raise ValueError(f"a depth of 8, 14, 20, ... expected, found {value}")
        return value

    @property
    @override
    def short(self) -> str:
        return f"resnet{self.depth}-w{self.width}"

    @classmethod
    @override
    def read(cls, short: str) -> Self | None:
        match = _NAME.fullmatch(short)
        if match is None or int(match[1]) % 6 != 2 or int(match[1]) <= 2:
            return None
        return cls(depth=int(match[1]), width=int(match[2]))

    @override
    def layers(self, info: DataInfo) -> tuple[nn.Module, int]:
        channels = self.width
        layers: list[nn.Module] = [*_normed(info.shape[0], channels, stride=1), nn.ReLU()]
        for stage in range(3):
            for block in range((self.depth - 2) // 6):
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
