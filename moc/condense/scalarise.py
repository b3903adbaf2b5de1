"""From several losses to one, for each synthetic set by its own weighting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from moc.errors import StudyError

_FLOOR = 0.02  # a zero weight under Tchebycheff gives only weakly Pareto-optimal sets
_UTOPIA = 0.05  # how far below the ideal the reference point lies, in normalised units


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """A fixed (ideal, nadir) pair for each rung, found by the anchors and stored in the study.

    Attributes:
        ideal: Best value of each discrepancy, by rung: (rungs, 2).
        nadir: Its value where the other discrepancy has all the weight: (rungs, 2).
    """

    ideal: tuple[tuple[float, float], ...]
    nadir: tuple[tuple[float, float], ...]

    @classmethod
    def none(cls, rungs: int = 1) -> Normalisation:
        """Leave losses as they are."""
        return cls(ideal=((0.0, 0.0),) * rungs, nadir=((1.0, 1.0),) * rungs)

    def apply(self, losses: Tensor, rungs: list[int]) -> Tensor:
        """Map losses (B, 2) of sets that read these rungs so that ideal is 0 and nadir 1."""
        ideal = losses.new_tensor([self.ideal[r] for r in rungs])
        nadir = losses.new_tensor([self.nadir[r] for r in rungs])
        return (losses - ideal) / (nadir - ideal).clamp_min(1e-6)


class Scalariser(ABC):
    """Joins normalised losses (B, m) by weights (B, m) on the simplex: (B,)."""

    @abstractmethod
    def __call__(self, losses: Tensor, weights: Tensor) -> Tensor:
        """One value for each synthetic set."""


class Linear(Scalariser):
    """The weighted sum; it cannot reach the concave parts of a front. The named baseline."""

    def __call__(self, losses: Tensor, weights: Tensor) -> Tensor:
        """See `Scalariser`."""
        return (weights * losses).sum(-1)


class SmoothTchebycheff(Scalariser):
    """STCH (Lin et al., arXiv 2402.19078): μ log Σ exp(λ_i (f_i - z_i) / μ).

    Reaches every Pareto point as μ goes to 0, with a gap of at most μ log m. We floor the weights
    at 0.02 and take z = -0.05 for normalised losses.

    Attributes:
        mu: Smoothing μ.
    """

    def __init__(self, mu: float = 0.05) -> None:
        """Smooth by `mu`."""
        self.mu = mu

    def __call__(self, losses: Tensor, weights: Tensor) -> Tensor:
        """See `Scalariser`."""
        floored = weights.clamp_min(_FLOOR)
        floored = floored / floored.sum(-1, keepdim=True)
        return self.mu * torch.logsumexp(floored * (losses + _UTOPIA) / self.mu, dim=-1)


def make_scalariser(name: str) -> Scalariser:
    """`stch` or `linear`."""
    if name == "stch":
        return SmoothTchebycheff()
    if name == "linear":
        return Linear()
    raise StudyError(f"A scalariser 'stch' or 'linear' expected, found {name!r}.")
