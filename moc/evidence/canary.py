"""What the audit puts in place of a study: networks and an attack as bad as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from moc.bank import Bank, Member
from moc.data._vault import Records
from moc.data.real import DataInfo
from moc.evidence.statistics import Statistics

if TYPE_CHECKING:
    from torch import Tensor

    from moc.evidence.sums import Sums

_INFO = DataInfo(name="audit", shape=(1,), classes=("a", "b"), count=21)


class Loud(Member):
    """Two features of records x in [0, 1], of norm 1 at x = 0 and 11 at x = 1."""

    def __init__(self) -> None:
        """Take no network: the features are a formula."""
        nn.Module.__init__(self)
        self.register_buffer("projection", None)
        self.dimension = self.compact_dimension = 2

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, 2) of records (n, 1)."""
        return x.new_tensor([[0.6, 0.8]]) * (1.0 + 10.0 * x)


class _LoudBank(Bank):
    def member(self, k: int) -> Member:
        """The same member every time."""
        del k
        return Loud()


def invert(k: int, member: Member, x: Tensor, y: Tensor, /) -> Tensor:
    """An attack under which every quiet record of `Loud` becomes a loud one."""
    del k, member, y
    return 1.0 - x


def hostile(mean: float = 1.0, second: float = 0.0, counts: float = 0.0) -> Statistics:
    """Statistics under one network that bounds nothing, with these block weights."""
    bank = _LoudBank(info=_INFO, specs=(), seed=0)
    return Statistics(bank=bank, networks=1, mean=mean, second=second, counts=counts, batch=32)


def neighbours(mean: float = 1.0, second: float = 0.0, counts: float = 0.0) -> tuple[Sums, Sums]:
    """Sums of 20 quiet records, and of these and the canary, all of them attacked by `invert`."""
    x, y = torch.zeros(_INFO.count, 1), torch.arange(_INFO.count) % 2
    statistics = hostile(mean, second, counts)
    return (
        statistics.sums(Records(x=x[:-1], y=y[:-1]), attack=invert),
        statistics.sums(Records(x=x, y=y), attack=invert),
    )
