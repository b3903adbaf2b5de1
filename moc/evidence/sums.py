"""Exact sums over records, before any noise."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

GRID = 2**20
"""Steps of the integer grid per unit."""


def left_out() -> Tensor:
    """A block of no coordinates."""
    return torch.zeros(0, dtype=torch.int64)


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Sums over records, in grid steps: not private until noise has been added.

    Attributes:
        first: (K, c, d) int64.
        second: (K, p(p+1)/2) int64; p(p+1)/2 = 0 where the second moment is left out.
        counts: Records of each class (c,) int64; (0,) where they are left out.
    """

    first: Tensor
    second: Tensor
    counts: Tensor = field(default_factory=left_out)

    def __add__(self, other: Sums) -> Sums:
        """Join two shards, exactly."""
        return Sums(**{name: block + getattr(other, name) for name, block in self.blocks().items()})

    def __sub__(self, other: Sums) -> Sums:
        """What `other` lacks, exactly."""
        return Sums(**{name: block - getattr(other, name) for name, block in self.blocks().items()})

    def blocks(self) -> dict[str, Tensor]:
        """The blocks by name, in the order of `flat`."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def flat(self) -> Tensor:
        """All coordinates side by side, int64: the vector whose L2 norm the clip bounds."""
        return torch.cat([block.flatten() for block in self.blocks().values()])

    def to(self, device: str) -> Sums:
        """The same on a device."""
        return Sums(**{name: block.to(device) for name, block in self.blocks().items()})


def norm_of(steps: Tensor) -> float:
    """L2 norm of int64 grid steps, exact but for the root: squares are added as Python integers."""
    return math.sqrt(sum(step * step for step in steps.tolist()))


def to_grid(values: Tensor, scale: Tensor) -> Tensor:
    """Scale rows and round them towards zero on the grid, so that no norm can grow.

    A row of scale 0 gives zeros even where its values are not finite.
    """
    scale = scale[:, None]
    return torch.where(scale > 0, values * scale * GRID, 0.0).trunc().to(torch.int64)
