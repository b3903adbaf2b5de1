"""What a finished synthetic set is worth, measured. Everything is minimised."""

from __future__ import annotations

import math
from dataclasses import dataclass

OBJECTIVES = ("error", "robust_error", "epsilon")
"""The objectives in moc's fixed order; every array of scores has its columns in this order."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured mean with its standard error (both in the unit of the measured quantity)."""

    mean: float
    se: float

    def __format__(self, spec: str) -> str:
        """Format as `mean ± se` with the given format for both."""
        return f"{self.mean:{spec or '.3f'}} ± {self.se:{spec or '.3f'}}"


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of one synthetic set.

    Attributes:
        error: Share of clean records that networks trained on S get wrong, in [0, 1].
        robust_error: The same under the worst of several attacks, per record.
        epsilon: What the ledger charges for this set at the study's delta; infinity in an open
            study (shown as the word "open", never logged as a number).
    """

    error: Estimate
    robust_error: Estimate
    epsilon: float

    @property
    def is_private(self) -> bool:
        """Whether the set carries a finite privacy guarantee."""
        return math.isfinite(self.epsilon)

    def values(self) -> tuple[float, float, float]:
        """Means in the order of `OBJECTIVES`."""
        return self.error.mean, self.robust_error.mean, self.epsilon

    def errors(self) -> tuple[float, float, float]:
        """Standard errors in the order of `OBJECTIVES`; epsilon is exact."""
        return self.error.se, self.robust_error.se, 0.0
