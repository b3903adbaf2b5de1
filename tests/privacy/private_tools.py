"""Small data sets, networks that bound nothing and statistics of their own for tests of privacy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn
from typing_extensions import override

from moc.data.declared import DataInfo
from moc.data.vault import RealData, Records
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank, Member
from moc.privacy.access import Budget
from moc.privacy.collect import Collection
from moc.privacy.ladder import Ladder
from moc.privacy.ledger import Ledger
from moc.privacy.sums import Sums
from moc.statistics.base import Statistic
from moc.statistics.class_counts import ClassCounts
from moc.statistics.class_means import ClassMeans
from moc.statistics.second_moments import SecondMoments

INFO = DataInfo(name="unbounded", shape=(3,), classes=("a", "b", "c"), count=8)
LADDER = Ladder(epsilons=(8.0, 2.0, 1.0))


class WorstCaseNetwork(Member):
    """Features that nothing bounds; NaN where the first number of a record is 1."""

    def __init__(self, k: int, size: float, width: int | None) -> None:
        nn.Module.__init__(self)
        generator = torch.Generator().manual_seed(k)
        self.matrix = torch.randn(3, 4, generator=generator) * size
        self.head = torch.randn(4, 3, generator=generator)
        self.register_buffer("projection", None)
        if width is not None:
            self.projection = torch.randn(4, width, generator=generator) * size
        self.dimension, self.compact_dimension = 4, width or 4

    def forward(self, x):
        broken = torch.where(x[:, :1] == 1.0, torch.nan, 0.0)
        # One record at a time: this network stands for any function of a record.
        rows = [row @ self.matrix for row in x.unbind()]
        return torch.stack(rows) + broken

    def activations(self, x):
        return [self(x).double().view(-1, 1, 2, 2)]

    def head_logits(self, features):
        return features @ self.head.to(features.dtype)


@dataclass(frozen=True, kw_only=True)
class WorstCaseBank(Bank):
    """A bank of networks with features as large as one likes."""

    size: float = 1.0

    def member(self, k: int) -> Member:
        return WorstCaseNetwork(k, self.size, self.width)


class Brightness(Statistic):
    """A statistic that moc does not know: pixels, bounded by nothing, of each class, once."""

    kind: Literal["brightness"] = "brightness"
    gain: float = 1.0
    per_network: ClassVar[bool] = False

    @override
    def size(self, bank):
        return torch.Size(bank.info.shape).numel()

    @override
    def terms(self, member, x, labels, features):
        # float32 on purpose, as a careless author would have it
        return self.gain * x.flatten(1).float()


class Cubes(Statistic):
    """Another: cubes of the features under every network, over all classes."""

    kind: Literal["cubes"] = "cubes"
    by_class: ClassVar[bool] = False

    @override
    def size(self, bank):
        return bank.member(0).dimension

    @override
    def terms(self, member, x, labels, features):
        return features**3


class Centred(ClassMeans):
    """A defect: features less their mean over the batch, so records know each other."""

    kind: Literal["centred"] = "centred"  # pyright: ignore[reportIncompatibleVariableOverride]

    @override
    def terms(self, member, x, labels, features):
        return features - features.mean(0)


def moments(*, second=0.0, counts=0.0) -> tuple[Statistic, ...]:
    """Class means, second moments and counts, without those of weight 0."""
    weights = {
        ClassMeans: (1 - counts) * (1 - second),
        SecondMoments: (1 - counts) * second,
        ClassCounts: counts,
    }
    return tuple(part(weight=weight) for part, weight in weights.items() if weight > 0)


def worst_case(
    *, size=1.0, networks=2, second=0.0, counts=0.0, width=None, batch=4, statistics=None
) -> Collection:
    """Statistics under networks that bound nothing."""
    bank = WorstCaseBank(info=INFO, networks=(), seed=0, size=size, width=width)
    chosen = moments(second=second, counts=counts) if statistics is None else statistics
    return Collection(bank=bank, networks=networks, statistics=chosen, batch=batch)


def real(info: DataInfo, *, name="convnet2-w8", networks=2, statistics=None, **bank) -> Collection:
    """Statistics under networks as studies have them."""
    drawn = Bank(info=info, networks=(parse_network(name),), seed=1, **bank)
    chosen = statistics or moments()
    return Collection(bank=drawn, networks=networks, statistics=chosen, batch=64)


def toy(n=12, *, seed=0, shape=(6,)) -> RealData:
    """Random records of two classes, sealed."""
    generator = torch.Generator().manual_seed(seed)
    info = DataInfo(name="toy", shape=shape, classes=("a", "b"), count=n)
    x = torch.rand(n, *shape, generator=generator)
    return RealData(info=info, x=x, y=torch.arange(n) % 2)


def small(info: DataInfo, statistics=None) -> Collection:
    """Quick statistics of vectors."""
    bank = Bank(info=info, networks=(parse_network("mlp1-w5"),), seed=0)
    chosen = statistics or moments(second=0.5)
    return Collection(bank=bank, networks=2, statistics=chosen, batch=16)


def sharded(collection: Collection, records: Records, shards: int) -> Sums:
    """Sums of shards, added up."""
    total = collection.zeros()
    for x, y in zip(records.x.tensor_split(shards), records.y.tensor_split(shards), strict=True):
        total = total + collection.sums(Records(x=x, y=y))
    return total


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


def squared(sums: Sums) -> int:
    """Squared L2 norm in grid steps, in integers of any size."""
    return sum(step * step for step in sums.flat().tolist())
