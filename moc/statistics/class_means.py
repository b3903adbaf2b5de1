"""Mean features of each class."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from typing_extensions import override

from moc.networks.bank import Bank, Member
from moc.statistics.base import Statistic


class ClassMeans(Statistic):
    """The features φ themselves, of norm one: their sums by class are what DM compares."""

    kind: Literal["class-means"] = "class-means"

    @override
    def size(self, bank: Bank) -> int:
        return bank.member(0).dimension

    @override
    def terms(self, member: Member, x: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        return features
