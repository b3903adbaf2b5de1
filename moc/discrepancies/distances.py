"""Distances between a statistic of S and the same of T, class by class."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from moc.parts import Family, Part

_TINY = 1e-12  # keeps the slope of a square root finite at 0


class Distance(Part, ABC):
    """A distance between vectors.

    Attributes:
        statistics: Kinds of the statistics that it can compare; all if empty.
    """

    statistics: ClassVar[frozenset[str]] = frozenset()

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


class Absolute(Distance):
    """The sum of |s - t|, as in IDC (arXiv 2205.14959)."""

    kind: Literal["absolute"] = "absolute"

    @override
    def between(self, s: Tensor, t: Tensor) -> Tensor:
        return (s - t).abs().sum(-1)


class Characteristic(Distance):
    """Distance of characteristic functions, by amplitude and phase: NCFM (arXiv 2502.20653).

    Of vectors that hold E cos and E sin of D frequencies, over √D, as `fourier` does: the mean of
    √h with h = α (|Φ_t| - |Φ_s|)² + (1 - α) 2 |Φ_t| |Φ_s| (1 - cos of the angle between them). At
    α = ½, h is half of |Φ_t - Φ_s|². The frequencies are Gaussian, as in the paper's public
    settings; its headline has them from a network that is trained against S.

    Attributes:
        amplitude: α.
    """

    kind: Literal["characteristic"] = "characteristic"
    statistics: ClassVar[frozenset[str]] = frozenset({"fourier"})
    amplitude: float = Field(default=0.5, ge=0, le=1)

    @override
    def between(self, s: Tensor, t: Tensor) -> Tensor:
        s, t = s.unflatten(-1, (2, -1)), t.unflatten(-1, (2, -1))
        ours = (s.square().sum(-2) + _TINY).sqrt()
        theirs = (t.square().sum(-2) + _TINY).sqrt()
        # 2 |Φ_t| |Φ_s| (1 - cos) is |Φ_t - Φ_s|² less the squared gap of the amplitudes.
        apart, amplitudes = (s - t).square().sum(-2), (ours - theirs).square()
        h = self.amplitude * amplitudes + (1 - self.amplitude) * (apart - amplitudes).clamp_min(0)
        return ((h + _TINY).sqrt() - math.sqrt(_TINY)).sum(-1) / math.sqrt(s.shape[-1])


class Cosine(Distance):
    """1 - cos(s, t), in [0, 2]; 0 where t is zero."""

    kind: Literal["cosine"] = "cosine"

    @override
    def between(self, s: Tensor, t: Tensor) -> Tensor:
        return (1.0 - F.cosine_similarity(s, t, dim=-1)).where(t.norm(dim=-1) > 0, 0.0)
