"""Number of records of each class, and the share of each class in T."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from typing_extensions import override

from moc.networks.bank import Bank, Member
from moc.statistics.base import Statistic


class ClassCounts(Statistic):
    """One for each record."""

    kind: Literal["class-counts"] = "class-counts"
    per_network: ClassVar[bool] = False

    @override
    def size(self, bank: Bank) -> int:
        return 1

    @override
    def terms(self, member: Member, x: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        return torch.ones_like(features[:, :1])


def class_shares(counted: Tensor | None, *, noise: float, classes: int, records: int) -> Tensor:
    """Share of each class (c,), float32, above 0 and summing to one.

    The counts over N, drawn towards classes of one size by as much as noise may have moved them
    apart (the positive-part estimator of James and Stein, 1961), so that counts which say nothing
    do no harm: with deviations d_k from 1/c and noise of variance s² in each, 1/c + max(0, 1 -
    (c - 1) s² / Σ d_k²) d_k. No share is below s, or below one record.

    Args:
        counted: Noisy counts over N (c,); None gives 1/c.
        noise: Standard deviation s of the noise in each.
        classes: Number of classes c.
        records: Declared number of records N.
    """
    if counted is None:
        return torch.full((classes,), 1.0 / classes)
    deviation = counted.double() - 1.0 / classes
    spread = float(deviation.square().sum())
    kept = max(0.0, 1.0 - (classes - 1) * noise**2 / spread) if spread > 0 else 0.0
    floor = min(max(noise, 1.0 / records), 1.0 / classes)
    shares = (1.0 / classes + kept * deviation).clamp_min(floor)
    return (shares / shares.sum()).float()
