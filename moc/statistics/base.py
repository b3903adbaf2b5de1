"""What every statistic is: a bounded term of each record, and its averages over a set.

With that it can be summed over T, clipped, released and paid for (`moc.privacy`), and compared
between S and T (`moc.discrepancies.matching`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from moc.networks.bank import Bank, Encoded, Member
from moc.parts import Family, Part


class Statistic(Part, ABC):
    """A term of each record by itself, summed over the records of each class, or over all.

    Attributes:
        weight: Share of a record's squared norm in a release; an even part of what the others leave
            if left out.
        by_class: Whether terms are summed class by class.
        per_network: Whether it is taken under every network, or once.
    """

    weight: float | None = Field(default=None, gt=0, le=1)
    by_class: ClassVar[bool] = True
    per_network: ClassVar[bool] = True

    @abstractmethod
    def size(self, bank: Bank) -> int:
        """Number of coordinates k of a term."""

    @abstractmethod
    def terms(self, member: Member, x: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """Terms (n, k) of norm at most 1 where features have at most that; differentiable.

        A term may depend on its own record alone. A release clips what is larger than 1.

        Args:
            member: The network.
            x: Records (n, *shape) in [0, 1].
            labels: Label distributions (n, c).
            features: What `member` maps the records to (n, d).
        """

    def squared_norms(self, member: Member, x: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """Squared norms (n,) float64 of the terms, for those that have a shorter way to them."""
        return self.terms(member, x, labels, features).double().square().sum(1)

    def shape(self, bank: Bank) -> tuple[int, ...]:
        """Shape of its sums under one network: (c, k), or (1, k) over all classes."""
        return (len(bank.info.classes) if self.by_class else 1, self.size(bank))

    def of(self, encoded: Encoded) -> Tensor:
        """Averages of synthetic sets (B, c or 1, k); see `averages`."""
        return self.averages(encoded.member, encoded.records, encoded.labels, encoded.features)

    def averages(self, member: Member, x: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """Average term of each class (B, c, k), or of all records (B, 1, k); differentiable.

        NaN for a class without records.

        Args:
            member: The network.
            x: B sets of records (B, n, *shape) in [0, 1].
            labels: Label distributions (B, n, c); a record counts for each class by its share.
            features: What `member` maps the records to (B, n, d).
        """
        flat = self.terms(member, x.flatten(0, 1), labels.flatten(0, 1), features.flatten(0, 1))
        terms = flat.unflatten(0, labels.shape[:2]).to(labels.dtype)
        if not self.by_class:
            return terms.mean(1, keepdim=True)
        return labels.mT @ terms / labels.sum(1).unsqueeze(-1)


STATISTICS: Family[Statistic] = Family("statistics", Statistic, "moc.statistics")
