"""Fashion-MNIST in one pass and in shards: the same grid sums, bit for bit."""

from __future__ import annotations

import pytest
import torch
from fashion_mnist import needs_fashion_mnist
from privacy.private_tools import moments, part, sharded

from moc.data.augment import Augmentation
from moc.data.sources import SOURCES
from moc.data.vault import unseal
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.privacy.collect import Collection

RECORDS = 4000  # of the 60,000, for which it takes a minute


@pytest.mark.slow
@needs_fashion_mnist
@pytest.mark.parametrize("shards", [7, 64])
def test_shards_make_no_difference(shards):
    data = SOURCES.make("fashion_mnist").load()
    records = part(unseal(data), slice(0, RECORDS))
    bank = Bank(
        info=data.info,
        networks=(parse_network("convnet3-w8"),),
        seed=0,
        width=16,
        augmentation=Augmentation.dsa(mirrored=True),
    )
    collection = Collection(bank=bank, networks=2, statistics=moments(second=0.5))
    whole = collection.sums(records).flat()
    assert whole.dtype == torch.int64
    assert torch.equal(sharded(collection, records, shards).flat(), whole)
    shuffled = part(records, torch.randperm(RECORDS, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(sharded(collection, shuffled, shards).flat(), whole)
