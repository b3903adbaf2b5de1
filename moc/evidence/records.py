"""Views of records: batches of T itself in an open study, of proxies in a private one."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Self

import torch
from torch import Tensor
from typing_extensions import override

from moc.evidence.base import RECORDS, Evidence, View
from moc.networks.bank import Bank, Member
from moc.statistics.base import Statistic

_CHUNK = 256
"""Records at a time on a CPU: activations of thousands are more than memory is kept for."""


class RecordView(View):
    """Records (B or 1, n, *shape) under one network, labels (n, c) or (B or 1, n, c)."""

    def __init__(
        self, member: Member, x: Tensor, labels: Tensor, *, rungs: Sequence[int], seed: int
    ) -> None:
        """See the records; features are computed once they are asked for."""
        self.member, self.rungs, self.seed = member, tuple(rungs), seed
        self._x, self._labels = x, labels

    @override
    def of(self, x: Tensor, labels: Tensor) -> RecordView:
        """Other records, such as attacked ones, under the same network."""
        return RecordView(self.member, x, labels, rungs=self.rungs, seed=self.seed)

    @cached_property
    @torch.no_grad()
    def features(self) -> Tensor:
        """Features (B or 1, n, d)."""
        x = self._x.flatten(0, 1)
        parts = x.split(_CHUNK if x.device.type == "cpu" else len(x))
        return torch.cat([self.member(part) for part in parts]).unflatten(0, self._x.shape[:2])

    @override
    def batch(self) -> tuple[Tensor, Tensor]:
        return self._x, self._labels

    @override
    def embedded(self) -> tuple[Tensor, Tensor]:
        return self.features, self._labels

    @override
    def statistic(self, statistic: Statistic) -> Tensor:
        labels = self._labels.expand(len(self._x), *self._labels.shape[-2:])
        with torch.no_grad():
            return statistic.averages(self.member, self._x, labels, self.features)

    @override
    def class_sums(self) -> Tensor:
        return self._labels.mT @ self.features / self.features.shape[1]

    @override
    def class_shares(self) -> Tensor:
        shares = self._labels.mean(-2)
        return shares if shares.dim() == 2 else shares[None]

    @override
    def second_moment(self) -> Tensor:
        psi = self.member.compact(self.features)
        return psi.mT @ psi / psi.shape[1]

    @override
    def quadratic(self, predictor: Tensor) -> Tensor:
        return (self.member.compact(self.features) @ predictor).square().sum(2).mean(1)

    @override
    def label_energy(self, classes: int) -> Tensor:
        return (self._labels - 1.0 / classes).square().sum(-1).mean(-1)


class RecordEvidence(Evidence):
    """A batch of records and a network of the bank, or of a pool, in every step."""

    gives: ClassVar[frozenset[str]] = frozenset({RECORDS})

    def __init__(self, *, bank: Bank, batch: int = 256, seed: int = 0) -> None:
        """See `batch` records a step, drawn with public seed `seed`, under `bank`."""
        self.info, self.device = bank.info, bank.device
        self.bank, self._batch, self._seed = bank, batch, seed

    @abstractmethod
    def shown(self, step: int, size: int, rungs: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Records (B or 1, size, *shape) in [0, 1] and labels (size, c) that all sets share.

        Args:
            step: Public seed of the draw.
            size: How many.
            rungs: Of each of the B sets, which sees nothing of a larger rung's.
        """

    def under(self, bank: Bank) -> Self:
        """The same batches under other networks."""
        other = copy.copy(self)
        other.bank = bank
        return other

    @override
    def view(self, step: int, rungs: Sequence[int], *, member: Member | None = None) -> RecordView:
        x, labels = self.shown(self._seed * 1_000_003 + step, self._batch, rungs)
        return RecordView(member or self.bank.fresh(step), x, labels, rungs=rungs, seed=step)
