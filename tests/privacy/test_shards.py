"""T summed by several workers: each shard once, and no bit of it elsewhere."""

from __future__ import annotations

import pickle
import random

import pytest
import torch
from privacy.private_tools import Centred, small, toy, worst_case

from moc.data.vault import Records
from moc.errors import PrivacyError
from moc.privacy.shards import ShardSums, Workers, sums_of

COLLECTION = worst_case(second=0.5, batch=64)


def records_of(count):
    x = torch.rand(count, 3, generator=torch.Generator().manual_seed(0))
    return Records(x=x, y=torch.arange(count) % 3)


def workers(*, again=(), without=(), witness=None):
    """Processes that work in any order, do some shards again and others not at all."""

    def run(shards, progress):
        numbers = [k for k in range(len(shards)) if k not in without] + list(again)
        random.Random(0).shuffle(numbers)
        for number in numbers:
            found = pickle.loads(pickle.dumps(shards[number])).sum()
            changed = witness if number == 1 else None
            yield number, ShardSums(sums=found.sums, witness=changed or found.witness)

    return Workers(count=2, run=run)


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("count", [0, 1, 64, 65, 700])
def test_shards_sum_to_what_one_process_sums_however_often_they_are_done(count, private):
    records = records_of(count)
    again = (0, 0) if count else ()
    found = sums_of(COLLECTION, records, private=private, workers=workers(again=again))
    assert torch.equal(found.flat(), COLLECTION.sums(records).flat())


def test_a_shard_that_nobody_summed_is_missed():
    with pytest.raises(PrivacyError, match="Sums of 6 shards of T expected, found 5"):
        sums_of(COLLECTION, records_of(380), private=True, workers=workers(without=(2,)))


def test_workers_that_round_in_another_way_are_refused():
    with pytest.raises(PrivacyError, match="same sums of public records"):
        sums_of(COLLECTION, records_of(380), private=True, workers=workers(witness="other"))


def test_a_worker_that_lets_records_touch_each_other_sums_no_private_record():
    coupled = small(toy().info, (Centred(),))
    records = Records(x=torch.rand(40, 6), y=torch.arange(40) % 2)
    with pytest.raises(PrivacyError, match="depends on the other records"):
        sums_of(coupled, records, private=True, workers=workers())
    sums_of(coupled, records, private=False, workers=workers())


def test_a_worker_is_sent_its_own_records_and_no_others():
    sent = []

    def run(shards, progress):
        sent.extend(pickle.dumps(one) for one in shards)
        return workers().run(shards, progress)

    records = records_of(20_000)
    sums_of(COLLECTION, records, private=True, workers=Workers(count=50, run=run))
    assert len(sent) > 70
    assert max(map(len, sent)) < 20_000
    for place, one in enumerate(sent):
        row = records.x[place * 128].numpy().tobytes()
        assert [row in other for other in sent].count(True) == 1
        assert row in one
