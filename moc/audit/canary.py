"""Worst-case records and networks, in place of a study's, for audits of its release."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moc.data.declared import DataInfo
from moc.data.vault import Records
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank, Member
from moc.networks.network import build
from moc.privacy.collect import Collection
from moc.privacy.sums import Sums

_INFO = DataInfo(name="audit", shape=(2,), classes=("a", "b"), count=21)


class WorstCaseMember(Member):
    """Two features of records x in [0, 1], unbounded: of norm 1 at x = 0 and 11 at x = 1."""

    def __init__(self) -> None:
        """Take a linear network for its head alone: the features are a formula."""
        network = build(parse_network("linear"), _INFO, seed=0)
        super().__init__(network, draw=None, width=None, generator=torch.Generator())
        nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(1))

    def forward(self, x: Tensor) -> Tensor:
        """Features (n, 2) of records (n, 2)."""
        return x.new_tensor([[0.6, 0.8]]) * (1.0 + 10.0 * x[:, :1])


class _WorstCaseBank(Bank):
    def member(self, k: int) -> Member:
        """The same member every time."""
        del k
        return WorstCaseMember()


def worst_case(collection: Collection) -> Collection:
    """The same statistics under one network that bounds nothing."""
    bank = _WorstCaseBank(info=_INFO, networks=(parse_network("linear"),), seed=0)
    return Collection(bank=bank, networks=1, statistics=collection.statistics, batch=64)


def neighbours(collection: Collection) -> tuple[Sums, Sums]:
    """Sums of 20 records of norm 1, and of these and the canary, of norm 11."""
    x, y = torch.zeros(_INFO.count, 2), torch.arange(_INFO.count) % 2
    x[-1] = 1.0
    audited = worst_case(collection)
    return audited.sums(Records(x=x[:-1], y=y[:-1])), audited.sums(Records(x=x, y=y))
