"""From several losses to one, for each synthetic set by its own weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from moc.parts import Family, Part

_FLOOR = 0.02  # a zero weight under Tchebycheff gives only weakly Pareto-optimal sets
_UTOPIA = 0.05  # how far below the ideal the reference point lies, in normalised units


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """The (ideal, nadir) of every loss, found by the anchors of a rung, or of B rungs.

    Attributes:
        ideal: Value of each loss where it has all the weight: (m,) or (B, m).
        nadir: Its worst value where another has, likewise.
    """

    ideal: tuple[float, ...] | tuple[tuple[float, ...], ...]
    nadir: tuple[float, ...] | tuple[tuple[float, ...], ...]

    @classmethod
    def from_anchors(cls, losses: Sequence[Sequence[float]]) -> Normalisation:
        """From the losses (m, m) of anchor k, which minimised loss k alone."""
        columns = list(zip(*losses, strict=True))
        return cls(
            ideal=tuple(column[k] for k, column in enumerate(columns)),
            nadir=tuple(
                max(value for other, value in enumerate(column) if other != k)
                for k, column in enumerate(columns)
            ),
        )

    @classmethod
    def stack(cls, rows: Sequence[Normalisation | None]) -> Normalisation | None:
        """One row for each of B sets; None if they have none.

        Raises:
            ValueError: If some have one and others have not.
        """
        found = [row for row in rows if row is not None]
        if not found:
            return None
        if len(found) < len(rows):
            raise ValueError("Anchors are condensed apart from sets whose losses are normalised.")
        return cls(
            ideal=tuple(cast("tuple[float, ...]", row.ideal) for row in found),
            nadir=tuple(cast("tuple[float, ...]", row.nadir) for row in found),
        )

    def apply(self, losses: Tensor) -> Tensor:
        """Map losses (B, m) so that ideal is 0 and nadir 1."""
        ideal, nadir = losses.new_tensor(self.ideal), losses.new_tensor(self.nadir)
        return (losses - ideal) / (nadir - ideal).clamp_min(1e-6)


class Scalariser(Part, ABC):
    """Joins normalised losses (B, m) by weights (B, m) on the simplex: (B,)."""

    @abstractmethod
    def join(self, losses: Tensor, weights: Tensor) -> Tensor:
        """One value for each synthetic set."""


SCALARISERS: Family[Scalariser] = Family("scalarisers", Scalariser, "moc.condense")


class Linear(Scalariser):
    """The weighted sum; it cannot reach the concave parts of a front. The named baseline."""

    kind: Literal["linear"] = "linear"

    @override
    def join(self, losses: Tensor, weights: Tensor) -> Tensor:
        return (weights * losses).sum(-1)


class SmoothTchebycheff(Scalariser):
    """STCH (Lin et al., arXiv 2402.19078): μ log Σ exp(λ_i (f_i - z_i) / μ).

    Reaches every Pareto point as μ goes to 0, with a gap of at most μ log m. We floor the weights
    at 0.02 and take z = -0.05 for normalised losses.

    Attributes:
        mu: Smoothing μ.
    """

    kind: Literal["stch"] = "stch"
    mu: float = Field(default=0.05, gt=0)

    @override
    def join(self, losses: Tensor, weights: Tensor) -> Tensor:
        return self.mu * torch.logsumexp(_floored(weights) * (losses + _UTOPIA) / self.mu, dim=-1)


class AugmentedTchebycheff(Scalariser):
    """max λ_i (f_i - z_i) + ρ Σ λ_i (f_i - z_i), as in ParEGO (Knowles 2006).

    Reaches every properly Pareto-optimal point, and no weakly optimal one. We floor the weights at
    0.02 and take z = -0.05 for normalised losses.

    Attributes:
        rho: Share of the sum ρ.
    """

    kind: Literal["augmented-tchebycheff"] = "augmented-tchebycheff"
    rho: float = Field(default=0.05, gt=0)

    @override
    def join(self, losses: Tensor, weights: Tensor) -> Tensor:
        weighed = _floored(weights) * (losses + _UTOPIA)
        return weighed.amax(-1) + self.rho * weighed.sum(-1)


class BoundaryIntersection(Scalariser):
    """PBI of MOEA/D (Zhang and Li 2007): d₁ + θ d₂, along a ray from z and away from it.

    The ray is that of 1/λ, so that more weight means less of a loss, as everywhere in moc; the
    paper's ray is λ itself. We floor the weights at 0.02 and take z = -0.05 for normalised losses.

    A rise of loss i never lowers it only while θ <= u_i / √(1 - u_i²), u the ray's direction: for
    two losses of one weight up to θ = 1. Beyond that, one loss may rise to bring the set nearer to
    its ray, and what is found is Pareto-optimal only where the ray meets the front.

    Attributes:
        theta: Price θ of the distance from the ray; a small one loses concave parts of a front.
    """

    kind: Literal["pbi"] = "pbi"
    theta: float = Field(default=5.0, gt=0)

    @override
    def join(self, losses: Tensor, weights: Tensor) -> Tensor:
        ray = torch.nn.functional.normalize(1.0 / _floored(weights), dim=-1)
        gap = losses + _UTOPIA
        along = (gap * ray).sum(-1)
        return along + self.theta * (gap - along.unsqueeze(-1) * ray).norm(dim=-1)


def _floored(weights: Tensor) -> Tensor:
    """Weights of at least 0.02 before they are made to sum to one again."""
    floored = weights.clamp_min(_FLOOR)
    return floored / floored.sum(-1, keepdim=True)
