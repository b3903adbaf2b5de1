"""What may be done with records of T, in terms that can be charged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from moc.errors import PrivacyError
from moc.privacy.accountant import Gaussian, epsilon, exact_epsilon

ADJACENCY = "one record replaced by nothing (zero-out) at a declared number of records"
"""Which data sets are neighbours: a removed record leaves its place empty, and N stays."""
UNIT = "one record"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a study, or all studies of a data set, may spend: (epsilon, delta) by `ADJACENCY`."""

    epsilon: float
    delta: float = 1e-5

    def exceeded_by(self, mechanisms: Sequence[Gaussian]) -> float | None:
        """Epsilon of these mechanisms together if it is more than the budget; None if they fit."""
        limit = self.epsilon * (1 + 1e-9)
        needed = exact_epsilon(mechanisms, delta=self.delta)
        if needed <= limit:  # the accountant is slow where epsilon is large, and never below this
            needed = epsilon(mechanisms, delta=self.delta)
        return needed if needed > limit else None


@dataclass(frozen=True, kw_only=True)
class Access:
    """One planned reading of records.

    Attributes:
        key: Unique name within the study, such as `release/0`.
        data: Name under which the ledger owns the records.
        purpose: What for, in words.
        kind: `gaussian` (sums with Gaussian noise), `public` (records declared public, free) or
            `open` (records read as they are: only without a budget).
        ladder: For `gaussian`: the noise multiplier of each rung, largest epsilon first; the
            rungs are nested, so all together cost what the first costs. One entry if not laddered,
            which readers of every rung are charged.
        sensitivity: L2 sensitivity of the sums under `ADJACENCY`.
        count: How many such mechanisms are paid for.
    """

    key: str
    data: str
    purpose: str
    kind: Literal["gaussian", "public", "open"]
    ladder: tuple[float, ...] = ()
    sensitivity: float = 0.0
    count: int = 1

    def mechanism(self, rung: int) -> list[Gaussian]:
        """What a reader of this rung (0 = largest epsilon) is charged; no noise for `open`."""
        if self.kind == "public":
            return []
        if self.kind == "open":
            return [Gaussian(noise_multiplier=0.0)]
        multiplier = self.ladder[min(max(rung, 0), len(self.ladder) - 1)]
        return [Gaussian(noise_multiplier=multiplier, count=self.count)]

    def describe(self) -> str:
        """The access in a line, for a person."""
        if self.kind == "public":
            return f"{self.key}: {self.purpose}; {self.data} records, declared public: free"
        if self.kind == "open":
            return f"{self.key}: {self.purpose}; {self.data} records read as they are: not private"
        noise = ", ".join(f"{sigma:.4g}" for sigma in self.ladder)
        return (
            f"{self.key}: {self.purpose}; {self.count} Gaussian mechanism(s) on {self.data} "
            f"records, L2 sensitivity {self.sensitivity:.4g} ({ADJACENCY}), "
            f"noise multiplier {noise}"
        )

    def check(self) -> None:
        """Refuse noise that would cost more than `mechanism` charges.

        Raises:
            PrivacyError: If noise is missing or not finite, or if the first rung, which is what all
                rungs together are charged, is not the one with the least noise.
        """
        if self.kind != "gaussian":
            return
        noise = self.ladder
        finite = bool(noise) and all(0 < sigma < math.inf for sigma in noise)
        if not (finite and list(noise) == sorted(noise) and self.count > 0 < self.sensitivity):
            raise PrivacyError(
                f"{self.key!r}: positive noise multipliers, least noise first, a positive L2 "
                f"sensitivity and a count of at least 1 expected, found {noise}, "
                f"{self.sensitivity} and {self.count}."
            )
