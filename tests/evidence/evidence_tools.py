"""Small data sets, wild networks and a real attack for the tests of the evidence layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from moc.attacks import Threat
from moc.networks.bank import Bank, Member
from moc.data.vault import Records
from moc.data.vault import DataInfo, RealData
from moc.evidence import Budget, Ladder, Ledger, Statistics
from moc.networks import NetworkSpec

WILD = DataInfo(name="wild", shape=(3,), classes=("a", "b", "c"), count=8)
LADDER = Ladder(epsilons=(8.0, 2.0, 1.0))


class Wild(Member):
    """Features that nothing bounds; NaN where the first number of a record is 1."""

    def __init__(self, k: int, loud: float, width: int | None) -> None:
        nn.Module.__init__(self)
        generator = torch.Generator().manual_seed(k)
        self.matrix = torch.randn(3, 4, generator=generator) * loud
        self.register_buffer("projection", None)
        if width is not None:
            self.projection = torch.randn(4, width, generator=generator) * loud
        self.dimension, self.compact_dimension = 4, width or 4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        broken = torch.where(x[:, :1] == 1.0, torch.nan, 0.0)
        # One record at a time: this network stands for any function of a record.
        rows = [row @ self.matrix for row in x.unbind()]
        return torch.stack(rows) + broken


@dataclass(frozen=True, kw_only=True)
class WildBank(Bank):
    """A bank of `Wild` networks as loud as one likes."""

    loud: float = 1.0

    def member(self, k: int) -> Member:
        return Wild(k, self.loud, self.width)


def wild(*, loud=1.0, networks=2, second=0.0, counts=0.0, width=None, batch=4) -> Statistics:
    """Statistics under wild networks."""
    bank = WildBank(info=WILD, specs=(), seed=0, loud=loud, width=width)
    weights = {"mean": (1 - counts) * (1 - second), "second": (1 - counts) * second}
    return Statistics(bank=bank, networks=networks, **weights, counts=counts, batch=batch)


def tame(info: DataInfo, *, name="convnet2-w8", networks=2, second=0.0, **bank) -> Statistics:
    """Statistics under real networks."""
    drawn = Bank(info=info, specs=(NetworkSpec.parse(name),), seed=1, **bank)
    return Statistics(bank=drawn, networks=networks, mean=1 - second, second=second, batch=64)


def toy(n=12, *, seed=0, shape=(6,)) -> RealData:
    """Random records of two classes, sealed."""
    generator = torch.Generator().manual_seed(seed)
    info = DataInfo(name="toy", shape=shape, classes=("a", "b"), count=n)
    x = torch.rand(n, *shape, generator=generator)
    return RealData(info=info, x=x, y=torch.arange(n) % 2)


def small(info: DataInfo) -> Statistics:
    """Quick statistics of vectors."""
    bank = Bank(info=info, specs=(NetworkSpec.parse("mlp1-w5"),), seed=0)
    return Statistics(bank=bank, networks=2, mean=0.5, second=0.5, batch=16)


def ledger_of(data: RealData, *, epsilon=8.0, path=None) -> Ledger:
    """A private ledger that owns `data` as training records."""
    ledger = Ledger(Budget(epsilon=epsilon), path=path)
    ledger.own("train", data)
    return ledger


def all_right(x, y):
    """An outcome: every record right, in one replicate by one measure."""
    return torch.ones(len(y), 1, 1)


def part(records: Records, index) -> Records:
    """Some of the records, in the order of `index`."""
    return Records(x=records.x[index], y=records.y[index])


def squared(sums) -> int:
    """Squared L2 norm in grid steps, in integers of any size."""
    return squared_norm(sums.flat())


def squared_norm(steps: torch.Tensor) -> int:
    """The same of a vector (m,) int64."""
    return sum(step * step for step in steps.tolist())


class HeadAttack:
    """Each record attacked under a public linear head on the features of its network."""

    def __init__(self, attack, info: DataInfo, threat=Threat(norm="Linf", eps=0.1)) -> None:  # noqa: B008
        self.attack, self.classes, self.threat = attack, len(info.classes), threat

    def words(self) -> str:
        return f"{self.attack.label} under public heads"

    def __call__(self, k, member, x, y, /):
        generator = torch.Generator().manual_seed(k)
        head = nn.Linear(member.dimension, self.classes)
        head.weight.data = torch.randn(head.weight.shape, generator=generator)
        head.bias.data.zero_()
        model = nn.Sequential(member, head)
        return self.attack(model, x, y, threat=self.threat, classes=self.classes, seed=0)
