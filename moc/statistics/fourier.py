"""Random Fourier features of the features: their class means are mean embeddings of a kernel."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from moc.networks.bank import Bank, Member
from moc.statistics.base import Statistic

_SEED = 20_071_203  # public, the same for everybody


class Fourier(Statistic):
    """cos(ωᵀφ) and sin(ωᵀφ) over √D for D public frequencies ω (Rahimi and Recht, 2007).

    Its terms have norm exactly one. With ω ~ N(0, I / h²) the inner product of two of them
    approximates the Gaussian kernel exp(-‖φ - φ'‖² / 2h²), so the squared distance between class
    means approximates the squared maximum mean discrepancy, from samples and from a release alike.

    Attributes:
        bandwidth: h, in units of the features, which have norm one.
        frequencies: D.
    """

    kind: Literal["fourier"] = "fourier"
    bandwidth: float = Field(default=0.5, gt=0)
    frequencies: int = Field(default=128, gt=0)

    @override
    def size(self, bank: Bank) -> int:
        return 2 * self.frequencies

    @override
    def terms(self, member: Member, x: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        omega = _frequencies(features.shape[1], self.frequencies).to(features)
        angles = features @ (omega / self.bandwidth)
        return torch.cat([angles.cos(), angles.sin()], dim=1) / math.sqrt(self.frequencies)


@lru_cache(maxsize=8)
def _frequencies(dimension: int, count: int) -> Tensor:
    """Standard normal directions (d, D), float64."""
    generator = torch.Generator().manual_seed(_SEED)
    return torch.randn(dimension, count, generator=generator, dtype=torch.float64)
