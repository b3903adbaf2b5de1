"""What may be done with records of T, in terms that can be charged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from moc.errors import PrivacyError
from moc.evidence.accountant import Gaussian

ADJACENCY = "add or remove one record"
UNIT = "one record"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a private study may spend in all: (epsilon, delta) under `ADJACENCY`."""

    epsilon: float
    delta: float = 1e-5


@dataclass(frozen=True, kw_only=True)
class Access:
    """One planned reading of records.

    Attributes:
        key: Unique name within the study, such as `release/clean`.
        data: Name under which the ledger owns the records.
        purpose: What for, in words.
        kind: `gaussian` (sums with Gaussian noise), `sampled` (the same on Poisson samples of the
            records: steps of DP-SGD), `public` (records declared public, free) or `open` (records
            read as they are: only without a budget).
        ladder: For `gaussian`: the noise multiplier of each rung, largest epsilon first; the
            rungs are nested, so all together cost what the first costs. One entry if not laddered,
            which readers of every rung are charged; `sampled` is never laddered.
        sensitivity: L2 sensitivity of the sums under `ADJACENCY`.
        sample_rate: For `sampled`: the probability with which each record takes part in a step.
        count: How many such mechanisms are paid for; steps for `sampled`.
    """

    key: str
    data: str
    purpose: str
    kind: Literal["gaussian", "sampled", "public", "open"]
    ladder: tuple[float, ...] = ()
    sensitivity: float = 0.0
    sample_rate: float = 1.0
    count: int = 1

    @property
    def is_noisy(self) -> bool:
        """Whether it is paid for by its noise."""
        return self.kind in ("gaussian", "sampled")

    def mechanism(self, rung: int) -> list[Gaussian]:
        """What a reader of this rung (0 = largest epsilon) is charged; no noise for `open`."""
        if self.kind == "public":
            return []
        if self.kind == "open":
            return [Gaussian(noise_multiplier=0.0)]
        multiplier = self.ladder[min(max(rung, 0), len(self.ladder) - 1)]
        rate = self.sample_rate
        return [Gaussian(noise_multiplier=multiplier, sample_rate=rate, count=self.count)]

    def words(self) -> str:
        """One line for a person."""
        if self.kind == "public":
            return f"{self.key}: {self.purpose}; {self.data} records, declared public: free"
        if self.kind == "open":
            return f"{self.key}: {self.purpose}; {self.data} records read as they are: not private"
        noise = ", ".join(f"{sigma:.4g}" for sigma in self.ladder)
        if self.kind == "sampled":
            return (
                f"{self.key}: {self.purpose}; {self.count} step(s), each on a Poisson sample of "
                f"the {self.data} records at rate {self.sample_rate:.4g}, every record's gradient "
                f"clipped to L2 norm {self.sensitivity:.4g} ({ADJACENCY}), noise multiplier "
                f"{noise}; charged to every rung"
            )
        return (
            f"{self.key}: {self.purpose}; {self.count} Gaussian mechanism(s) on {self.data} "
            f"records, L2 sensitivity {self.sensitivity:.4g} ({ADJACENCY}), "
            f"noise multiplier {noise}"
        )

    def check(self) -> None:
        """Refuse noise that would cost more than `mechanism` charges.

        Raises:
            PrivacyError: If noise is missing or not finite, if the first rung, which is what all
                rungs together are charged, is not the one with the least noise, or if a sample
                rate does not go with the kind.
        """
        if not self.is_noisy:
            return
        sampled = self.kind == "sampled"
        if not 0 < self.sample_rate <= 1 or (not sampled and self.sample_rate != 1):
            raise PrivacyError(
                f"{self.key!r}: a sample rate of 1, or one in (0, 1] for Poisson samples, "
                f"expected, found {self.sample_rate}."
            )
        if sampled and len(self.ladder) != 1:
            raise PrivacyError(
                f"{self.key!r}: one noise multiplier for all steps expected, found {self.ladder}."
            )
        noise = self.ladder
        finite = bool(noise) and all(0 < sigma < math.inf for sigma in noise)
        if not (finite and list(noise) == sorted(noise) and self.count > 0 < self.sensitivity):
            raise PrivacyError(
                f"{self.key!r}: positive noise multipliers, least noise first, a positive L2 "
                f"sensitivity and a count of at least 1 expected, found {noise}, "
                f"{self.sensitivity} and {self.count}."
            )
