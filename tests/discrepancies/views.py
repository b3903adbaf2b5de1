"""Networks, sets and what T gave, as records and as sums over the same records."""

from __future__ import annotations

import torch

from moc.data.declared import DataInfo
from moc.data.synthetic import balanced_labels, one_hot
from moc.data.vault import Records
from moc.evidence.moments import Moments
from moc.evidence.records import RecordView
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.privacy.collect import Collection
from moc.privacy.release import Released

INFO = DataInfo(name="toy", shape=(1, 8, 8), classes=("a", "b", "c"), count=30)
NETWORK = parse_network("convnet2-w8")


def bank(width=None) -> Bank:
    """Small networks for small images of three classes."""
    return Bank(info=INFO, networks=(NETWORK,), seed=1, width=width)


def sets(count, seed=0, per_class=2):
    """Random images and their one-hot labels."""
    generator = torch.Generator().manual_seed(seed)
    y = balanced_labels(per_class, 3)
    x = torch.rand(count, len(y), 1, 8, 8, generator=generator)
    return x, one_hot(y, 3).repeat(count, 1, 1)


def view_of(member, x, labels, *, rungs=(0,)) -> RecordView:
    """These records (n, *shape) or (B, n, *shape) under a network."""
    x = x if x.dim() == 5 or x.dim() == 3 else x[None]
    return RecordView(member, x, labels, rungs=rungs, seed=0)


def records(seed=9, n=30):
    """T: random records of all three classes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 1, 8, 8, generator=generator)
    return x, torch.randint(3, (n,), generator=generator)


def target(member, seed=9, n=30, rungs=(0,)) -> RecordView:
    """T as records."""
    x, y = records(seed, n)
    return view_of(member, x, one_hot(y, 3), rungs=rungs)


class _Unclipped(Collection):
    """Sums of whole terms, also of those that are larger than one."""

    def _clip_factors(self, x, labels, features):
        return torch.ones(len(x), dtype=torch.float64)


def released(networks, statistics, *, seed=9):
    """The same T as exact sums under the first network."""
    x, y = records(seed)
    collection = _Unclipped(bank=networks, networks=1, statistics=statistics, batch=64)
    sums = collection.sums(Records(x=x, y=y))
    exact = Released(rung=None, blocks={k: v.double() for k, v in sums.blocks.items()}, noise=0.0)
    return Moments([(collection, [exact])]).view(0, [0])
