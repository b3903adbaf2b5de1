"""Held-out records, and the only way to score on them.

Declared-public records are free. Private ones are scored by counts with Gaussian noise: every
planned score is paid for before the first is taken, the ledger counts those that were published,
and one record moves the counts of a score by a declared bound at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from moc.data.vault import as_unit
from moc.errors import PrivacyError
from moc.privacy.access import Access
from moc.privacy.ledger import Ledger
from moc.privacy.noise import TIERS, Tier, gaussian
from moc.privacy.sums import GRID


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Sums over the records of values in [0, 1]; not private until `HeldOut.publish`.

    Attributes:
        bound: The most that one record moves them, in L2 norm.
    """

    _sums: Tensor = field(repr=False)  # (replicates, m) float64, for `HeldOut` alone
    bound: float

    @classmethod
    def joined(cls, parts: Sequence[Counts]) -> Counts:
        """Counts of all replicates from those of some: one record moves them by no more."""
        return cls(
            _sums=torch.cat([one._sums for one in parts]),
            bound=math.sqrt(math.fsum(one.bound**2 for one in parts)),
        )


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Published means over the records.

    Attributes:
        values: (replicates, m), each near [0, 1] (noise may carry it outside).
        noise: Standard deviation of the noise in each value; 0 for public records.
        records: Declared number of records n behind each value.
    """

    values: Tensor
    noise: float
    records: int


class HeldOut:
    """Records that no synthetic set was made from.

    Attributes:
        public: Whether they were declared public.
        per_record: Whether outcomes must be computed for each record by itself, which attacks
            that couple records (random starts, Square) do not do: true for private records.
    """

    def __init__(
        self,
        ledger: Ledger,
        data: str,
        *,
        planned: int = 0,
        noise_multiplier: float | None = None,
        tier: Tier = "standard",
    ) -> None:
        """Pay for `planned` scores of records that the ledger owns.

        Args:
            ledger: Owns the records.
            data: Their name in the ledger.
            planned: How many scores may be published; ignored for public records.
            noise_multiplier: Noise over sensitivity of each of them; needed for private records.
            tier: How noise is drawn.

        Raises:
            BudgetExceededError: If the planned scores do not fit the budget.
        """
        self.public = ledger.is_public(data) or ledger.budget is None
        self.per_record = not self.public
        self._multiplier = noise_multiplier or 0.0
        self._tier: Tier = tier
        self._key = f"scores/{data}"
        self._count = ledger.info(data).count
        self._records = ledger.read(self._access(ledger, data, planned))
        self._ledger: Ledger | None = ledger

    def _access(self, ledger: Ledger, data: str, planned: int) -> Access:
        key = self._key
        if ledger.is_public(data):
            return Access(key=key, data=data, purpose="scores of trials", kind="public")
        if ledger.budget is None:
            return Access(key=key, data=data, purpose="scores of trials", kind="open")
        if planned < 1 or not self._multiplier > 0:
            raise PrivacyError(
                f"Private {data!r} records are scored with noise that is paid for beforehand: a "
                f"number of planned scores and a noise multiplier above 0 expected, found "
                f"{planned} and {self._multiplier}. Or declare the records public."
            )
        return Access(
            key=key,
            data=data,
            purpose=(
                "counts of outcomes of every planned trial, over the most that one record adds; "
                f"{TIERS[self._tier]}"
            ),
            kind="gaussian",
            ladder=(self._multiplier,),
            sensitivity=1.0,
            count=planned,
        )

    def __len__(self) -> int:
        """Return the declared number of records n."""
        return self._count

    def __getstate__(self) -> dict[str, object]:
        """What another process gets: enough to count, and no ledger to publish with."""
        return {**self.__dict__, "_ledger": None}

    def first(self, limit: int | None) -> HeldOut:
        """The first records alone, at most `limit`; the division that made them was random.

        Raises:
            PrivacyError: If the records are private: what they cost was computed for all of them.
        """
        if not self.public:
            raise PrivacyError("Scores of private records are paid for with all of them.")
        fewer = copy(self)
        x, y = self._records.x[:limit].clone(), self._records.y[:limit].clone()
        fewer._records, fewer._count = replace(self._records, x=x, y=y), len(y)
        return fewer

    def examine(self, limit: int) -> tuple[Tensor, Tensor]:
        """The first records (n, *shape) float32 in [0, 1] and labels, for checks of the attacks.

        Raises:
            PrivacyError: If the records are private: only counts of them can be paid for.
        """
        if not self.public:
            raise PrivacyError("Private records are counted, not handed out.")
        return as_unit(self._records.x[:limit]), self._records.y[:limit]

    def count(self, outcome: Callable[[Tensor, Tensor], Tensor], *, bound: float) -> Counts:
        """Sum outcomes over the records; may run in another process than `publish`.

        Args:
            outcome: Maps records (n, *shape) float32 in [0, 1] and labels (n,) to values
                (n, replicates, m) in [0, 1], for each record by itself if `per_record`.
            bound: Largest L2 norm of the values of one record, over replicates and m; those of a
                record with more are scaled down.

        Raises:
            ValueError: If `bound` is not positive and finite, or outcomes are not one row a record.
                Nothing in it depends on the records.
        """
        (found,) = self.count_each(lambda x, y: outcome(x, y).unsqueeze(1), bound=bound)
        return found

    def count_each(
        self, outcome: Callable[[Tensor, Tensor], Tensor], *, bound: float
    ) -> list[Counts]:
        """Counts of several sets, each of them by itself, of outcomes that come together.

        Args:
            outcome: As for `count`, to values (n, sets, replicates, m).
            bound: Of a record in the counts of each set.

        Raises:
            ValueError: As for `count`.
        """
        if not 0 < bound < math.inf:
            raise ValueError(f"A positive, finite bound on a record expected, found {bound}.")
        values = outcome(as_unit(self._records.x), self._records.y).double()
        if values.dim() != 4 or len(values) != len(self._records.y):
            raise ValueError("Outcomes (n, replicates, m), a row for each record, expected.")
        values = values.nan_to_num(0.0).clamp(0.0, 1.0)
        norms = values.flatten(2).norm(dim=2).clamp_min(bound)
        values *= (bound / norms)[..., None, None]
        if not self.public:  # on the grid, rounded towards zero: exact sums, of the norm at most
            values = (values * (GRID * (1 - 1e-9))).trunc().to(torch.int64)
        sums = values.sum(0).double() / (1 if self.public else GRID)
        return [Counts(_sums=one.clone(), bound=bound) for one in sums]

    def publish(self, counts: Counts) -> Rates:
        """Turn counts into means, with noise if the records are private: one of the planned scores.

        Raises:
            PrivacyError: If all planned scores have been published, or in another process than
                the ledger's.
        """
        n = len(self)
        if self.public:
            return Rates(values=counts._sums / n, noise=0.0, records=n)
        if self._ledger is None:
            raise PrivacyError("Scores are published where the ledger is, not in another process.")
        self._ledger.use(self._key)
        sums, std = counts._sums, self._multiplier * counts.bound
        noise = gaussian(sums.numel(), std=std * GRID, tier=self._tier).reshape(sums.shape) / GRID
        return Rates(values=(sums + noise) / n, noise=std / n, records=n)

    def already_published(self, scores: int) -> None:
        """On resume: make sure that at least so many scores are counted as published."""
        while not self.public and self._ledger and self._ledger.used(self._key) < scores:
            self._ledger.use(self._key)


def reference_records(ledger: Ledger, data: str) -> tuple[Tensor, Tensor]:
    """Records (n, *shape) float32 in [0, 1] and labels (n,), for baselines of real images.

    In a study with a budget the ledger refuses this unless the records were declared public.
    """
    public = ledger.is_public(data)
    access = Access(
        key=f"baselines/{data}",
        data=data,
        purpose="real images for baselines",
        kind="public" if public else "open",
    )
    records = ledger.read(access)
    return as_unit(records.x), records.y
