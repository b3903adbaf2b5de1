"""Distances between a statistic of S and the same of T, class by class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from moc.parts import Family, Part


class Distance(Part, ABC):
    """A distance between vectors."""

    @abstractmethod
    def between(self, s: Tensor, t: Tensor) -> Tensor:
        """From (B, c, k) and (B or 1, c, k) to (B, c); differentiable in `s`."""


DISTANCES: Family[Distance] = Family("distances", Distance, "moc.discrepancies")


class Squared(Distance):
    """‖s - t‖²."""

    kind: Literal["squared"] = "squared"

    @override
    def between(self, s: Tensor, t: Tensor) -> Tensor:
        return (s - t).square().sum(-1)


class Cosine(Distance):
    """1 - cos(s, t), in [0, 2]; 0 where t is zero."""

    kind: Literal["cosine"] = "cosine"

    @override
    def between(self, s: Tensor, t: Tensor) -> Tensor:
        return (1.0 - F.cosine_similarity(s, t, dim=-1)).where(t.norm(dim=-1) > 0, 0.0)
