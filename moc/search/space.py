"""The space that a search explores: points on the simplex of objectives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class Weighting:
    """A point on the simplex (generalization, adversarial, privacy).

    The point (g, a, p) reads as (1-p)(1-r), (1-p)r, p: `privacy` p picks the rung of the ladder,
    `robust_share` r mixes the two discrepancies.

    Attributes:
        generalization: Weight of the generalization discrepancy, in [0, 1].
        adversarial: Weight of the adversarial discrepancy, in [0, 1].
        privacy: Weight of the privacy budget, in [0, 1]; zero in an open study.
    """

    generalization: float
    adversarial: float
    privacy: float

    def __post_init__(self) -> None:
        """Check that the point lies on the simplex."""
        if min(self.values()) < -1e-9 or not math.isclose(sum(self.values()), 1.0, abs_tol=1e-6):
            raise ValueError(f"A weighting must lie on the simplex, found {self.values()}.")

    def values(self) -> tuple[float, float, float]:
        """The weights in the order (generalization, adversarial, privacy)."""
        return self.generalization, self.adversarial, self.privacy

    @property
    def robust_share(self) -> float:
        """Share r in [0, 1] of the adversarial discrepancy; one half if privacy takes all."""
        rest = self.generalization + self.adversarial
        return self.adversarial / rest if rest > 1e-12 else 0.5

    @classmethod
    def of(cls, *, robust_share: float, privacy: float) -> Weighting:
        """Build from r and p, both in [0, 1]."""
        rest = 1.0 - privacy
        return cls(
            generalization=rest * (1.0 - robust_share),
            adversarial=rest * robust_share,
            privacy=privacy,
        )

    def rung(self, epsilons: Sequence[float]) -> int:
        """Index of the rung this point reads: p = 0 the largest epsilon, p = 1 the smallest.

        Args:
            epsilons: The ladder, largest epsilon first. The simplex is thin towards p = 1 (under
                the uniform law P(privacy > p) = (1 - p)**2), so the rungs divide that probability
                evenly: each is read by the same share of uniform weightings.
        """
        share = 1.0 - (1.0 - min(max(self.privacy, 0.0), 1.0)) ** 2
        return min(int(share * len(epsilons)), len(epsilons) - 1)


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """What may be searched.

    Attributes:
        epsilons: The ladder, largest first; empty in an open study, whose space is one-dimensional.
    """

    epsilons: tuple[float, ...] = ()

    @property
    def dimension(self) -> int:
        """Number of unit-box coordinates: 2 in a private study, 1 in an open one."""
        return 2 if self.epsilons else 1

    def decode(self, u: Sequence[float]) -> Weighting:
        """Map a point of the unit box to the simplex; uniform points give uniform weightings.

        Args:
            u: (robust share r, and in a private study the quantile of p), each in [0, 1].
        """
        privacy = 1.0 - math.sqrt(1.0 - min(max(u[1], 0.0), 1.0)) if self.epsilons else 0.0
        return Weighting.of(robust_share=min(max(u[0], 0.0), 1.0), privacy=privacy)

    def encode(self, weighting: Weighting) -> tuple[float, ...]:
        """Inverse of `decode`."""
        if not self.epsilons:
            return (weighting.robust_share,)
        return weighting.robust_share, 1.0 - (1.0 - weighting.privacy) ** 2

    def inputs(self, weighting: Weighting) -> tuple[float, ...]:
        """All that a trial depends on: r, and where its rung lies in log epsilon.

        Two weightings with the same r that read the same rung are the same trial, whatever their p.

        Returns:
            (r,) in an open study, else (r, position) with position 0 for the largest epsilon of
            the ladder and 1 for the smallest, linear in log epsilon.
        """
        if not self.epsilons:
            return (weighting.robust_share,)
        logs = [math.log(epsilon) for epsilon in self.epsilons]
        span = (logs[0] - logs[-1]) or 1.0
        return weighting.robust_share, (logs[0] - logs[weighting.rung(self.epsilons)]) / span

    def on_rung(self, robust_share: float, rung: int) -> Weighting:
        """The weighting with share r in the middle of a rung (rung 0 in an open study)."""
        return self.decode((robust_share, (rung + 0.5) / max(len(self.epsilons), 1)))
