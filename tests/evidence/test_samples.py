"""Batches of T itself, for open studies."""

from __future__ import annotations

import pytest
import torch
from privacy.private_tools import small, toy

from moc.data.vault import unseal
from moc.errors import DataError
from moc.evidence.samples import Samples
from moc.privacy.ledger import Ledger

DATA = toy()


def samples(**options) -> Samples:
    ledger = Ledger(None)
    ledger.own("train", toy())
    return Samples(ledger, bank=small(DATA.info).bank, **options)


def test_a_batch_is_records_of_t_and_the_same_for_the_same_step():
    evidence = samples(batch=7)
    x, labels = evidence.batch(3, 7)
    records = unseal(DATA)
    for one, label in zip(x, labels, strict=True):
        (place,) = torch.nonzero((records.x == one).all(1)).flatten().tolist()
        assert label.argmax() == records.y[place]
    assert torch.equal(evidence.batch(3, 7)[0], x)
    assert not torch.equal(evidence.batch(4, 7)[0], x)
    assert evidence.rungs == ()
    assert evidence.view(0, [0]).class_sums().shape == (1, 2, 5)


def test_a_view_shows_one_batch_under_its_own_network_or_under_another():
    evidence = samples(batch=7)
    first, other = evidence.view(0, [0, 0]), evidence.under(small(DATA.info).bank).view(0, [0, 0])
    assert torch.equal(first.batch()[0], other.batch()[0])
    member = evidence.bank.fresh(40)
    under = evidence.view(0, [0], member=member)
    assert under.member is member
    assert torch.equal(under.embedded()[0][0], member(first.batch()[0][0]))


def test_records_are_embedded_a_few_at_a_time_to_the_same_features(monkeypatch):
    whole = samples(batch=7).view(0, [0]).embedded()[0]
    monkeypatch.setattr("moc.evidence.records._CHUNK", 3)
    torch.testing.assert_close(samples(batch=7).view(0, [0]).embedded()[0], whole)


def test_an_open_study_may_start_from_records():
    evidence = samples()
    y = torch.tensor([0, 1, 1, 0])
    start = evidence.start(y, seed=2, rung=0)
    records = unseal(DATA)
    for one, label in zip(start, y, strict=True):
        (place,) = torch.nonzero((records.x == one).all(1)).flatten().tolist()
        assert records.y[place] == label
    assert len(start.unique(dim=0)) == 4
    assert torch.equal(evidence.start(y, seed=2, rung=0), start)
    with pytest.raises(DataError, match="has 6 records; 7 are needed"):
        evidence.start(torch.zeros(7, dtype=torch.int64), seed=0, rung=0)
