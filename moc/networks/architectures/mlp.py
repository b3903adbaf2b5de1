"""Fully connected networks."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import ClassVar, Literal, Self

from pydantic import Field
from torch import nn
from typing_extensions import override

from moc.data.declared import DataInfo
from moc.networks.architectures.base import Architecture

_NAME = re.compile(r"mlp([1-9][0-9]*)-w([1-9][0-9]*)")


class Mlp(Architecture):
    """Hidden layers with ReLU, on flattened records.

    Attributes:
        depth: Number of hidden layers.
        width: Units of each.
    """

    kind: Literal["mlp"] = "mlp"
    needs_images: ClassVar[bool] = False
    depth: int = Field(default=2, gt=0)
    width: int = Field(default=128, gt=0)

    @property
    @override
    def short(self) -> str:
        return f"mlp{self.depth}-w{self.width}"

    @classmethod
    @override
    def read(cls, short: str) -> Self | None:
        match = _NAME.fullmatch(short)
        return None if match is None else cls(depth=int(match[1]), width=int(match[2]))

    @override
    def layers(self, info: DataInfo) -> tuple[nn.Module, int]:
        sizes = [math.prod(info.shape)] + [self.width] * self.depth
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(nn.Flatten(), *layers), self.width


class Linear(Architecture):
    """The records themselves as features, for a linear head."""

    kind: Literal["linear"] = "linear"
    needs_images: ClassVar[bool] = False

    @property
    @override
    def short(self) -> str:
        return "linear"

    @classmethod
    @override
    def read(cls, short: str) -> Self | None:
        return cls() if short == "linear" else None

    @override
    def layers(self, info: DataInfo) -> tuple[nn.Module, int]:
        return nn.Flatten(), math.prod(info.shape)
