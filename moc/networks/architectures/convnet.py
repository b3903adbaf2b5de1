"""The field's ConvNet-D."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field
from torch import nn
from typing_extensions import override

from moc.data.declared import DataInfo
from moc.networks.architectures.base import Architecture
from moc.networks.pooling import HalvingPool

_NAME = re.compile(r"convnet([1-9][0-9]*)-w([1-9][0-9]*)(-plain|)")


class ConvNet(Architecture):
    """ConvNet-D (arXiv 2006.05929): blocks of convolution, norm, ReLU and average pooling.

    Attributes:
        depth: Number of blocks; pools halve an image only while it is > 1 pixel.
        width: Channels of each block.
        norm: Instance norm (GroupNorm with one channel a group) or none.
    """

    kind: Literal["convnet"] = "convnet"
    depth: int = Field(default=3, gt=0)
    width: int = Field(default=128, gt=0)
    norm: Literal["instance", "none"] = "instance"

    @property
    @override
    def short(self) -> str:
        return f"convnet{self.depth}-w{self.width}{'-plain' if self.norm == 'none' else ''}"

    @classmethod
    @override
    def read(cls, short: str) -> Self | None:
        match = _NAME.fullmatch(short)
        if match is None:
            return None
        norm = "none" if match[3] else "instance"
        return cls(depth=int(match[1]), width=int(match[2]), norm=norm)

    @override
    def layers(self, info: DataInfo) -> tuple[nn.Module, int]:
        channels, height, width = info.shape
        layers: list[nn.Module] = []
        for block in range(self.depth):
            # The field pads 28 x 28 images to 32 x 32 in the first convolution.
            padding = 3 if block == 0 and (height, width) == (28, 28) else 1
            layers.append(nn.Conv2d(channels, self.width, 3, padding=padding))
            height, width = height + 2 * padding - 2, width + 2 * padding - 2
            if self.norm == "instance" and height * width > 1:  # of one pixel it leaves nothing
                layers.append(nn.GroupNorm(self.width, self.width))
            layers.append(nn.ReLU())
            if min(height, width) > 1:
                layers.append(HalvingPool(width))
                height, width = height // 2, width // 2
            channels = self.width
        return nn.Sequential(*layers, nn.Flatten()), channels * height * width
