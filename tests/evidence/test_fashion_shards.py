"""Fashion-MNIST in one pass and in shards: the same grid sums, bit for bit (see `hardened`)."""

from __future__ import annotations

import pytest
import torch
from evidence_tools import part
from fashion_mnist import needs_fashion_mnist

from moc.bank import Bank
from moc.data import load
from moc.data._vault import unseal
from moc.data.augment import Augmentation
from moc.evidence import Statistics
from moc.evidence.release import sharded_sums
from moc.networks import NetworkSpec

RECORDS = 4000  # of the 60,000, for which it takes a minute


@pytest.mark.slow
@needs_fashion_mnist
@pytest.mark.parametrize("shards", [7, 64])
def test_shards_make_no_difference(shards):
    data = load("fashion_mnist")
    records = part(unseal(data), slice(0, RECORDS))
    specs = (NetworkSpec.parse("convnet3-w8"),)
    bank = Bank(
        info=data.info, specs=specs, seed=0, width=16, augmentation=Augmentation.dsa(mirrored=True)
    )
    statistics = Statistics(bank=bank, networks=2, mean=0.5, second=0.5)
    whole = statistics.sums(records).flat()
    assert whole.dtype == torch.int64
    assert torch.equal(sharded_sums(statistics, records, shards).flat(), whole)
    shuffled = part(records, torch.randperm(RECORDS, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(sharded_sums(statistics, shuffled, shards).flat(), whole)
