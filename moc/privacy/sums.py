"""Exact sums over records, before any noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

GRID = 2**20
"""Steps of the integer grid per unit."""


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Sums over records, in grid steps: not private until noise has been added.

    Attributes:
        blocks: By statistic, int64: (K, c or 1, k) under K networks, or (c or 1, k).
    """

    blocks: dict[str, Tensor]

    def __add__(self, other: Sums) -> Sums:
        """Join two shards, exactly."""
        return Sums(blocks={name: block + other.blocks[name] for name, block in self.items()})

    def __sub__(self, other: Sums) -> Sums:
        """What `other` lacks, exactly."""
        return Sums(blocks={name: block - other.blocks[name] for name, block in self.items()})

    def items(self) -> list[tuple[str, Tensor]]:
        """The blocks by name, in the order of `flat`."""
        return list(self.blocks.items())

    def flat(self) -> Tensor:
        """All coordinates side by side, int64: the vector whose L2 norm the clip bounds."""
        return torch.cat([block.flatten() for block in self.blocks.values()])

    def to(self, device: str) -> Sums:
        """The same on a device."""
        return Sums(blocks={name: block.to(device) for name, block in self.items()})


def norm_of(steps: Tensor) -> float:
    """L2 norm of int64 grid steps, exact but for the root: squares are added as Python integers."""
    return math.sqrt(sum(step * step for step in steps.tolist()))


def to_grid(values: Tensor, scale: Tensor) -> Tensor:
    """Scale rows and round them towards zero on the grid, so that no norm can grow.

    A row of scale 0 gives zeros even where its values are not finite.
    """
    scale = scale[:, None]
    return torch.where(scale > 0, values * scale * GRID, 0.0).trunc().to(torch.int64)
