"""Exact sums over records, before any noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Sums over records, in grid steps: not private until noise has been added.

    Attributes:
        first: (K, c, d) int64.
        second: (K, p(p+1)/2) int64; p(p+1)/2 = 0 where the second moment is left out.
    """

    first: Tensor
    second: Tensor

    def __add__(self, other: Sums) -> Sums:
        """Join two shards, exactly."""
        return Sums(first=self.first + other.first, second=self.second + other.second)

    def __sub__(self, other: Sums) -> Sums:
        """What `other` lacks, exactly."""
        return Sums(first=self.first - other.first, second=self.second - other.second)

    def flat(self) -> Tensor:
        """All coordinates side by side, int64: the vector whose L2 norm the clip bounds."""
        return torch.cat([self.first.flatten(), self.second.flatten()])

    def to(self, device: str) -> Sums:
        """The same on a device."""
        return Sums(first=self.first.to(device), second=self.second.to(device))
