"""Pools: networks grow up on the set, take turns, are replaced, and are the same every time."""

import pytest
import torch
import torch.nn.functional as F

from moc.condense.pool import Pool
from moc.condense.settings import PoolSettings
from moc.data.declared import DataInfo
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank

INFO = DataInfo(
    name="blobs",
    shape=(1, 8, 8),
    classes=("a", "b"),
    count=100,
    mean=(0.5,),
    std=(0.5,),
)
BANK = Bank(info=INFO, networks=(parse_network("convnet2-w8"),), seed=3)


@pytest.fixture
def records():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(8, 1, 8, 8, generator=generator)
    return x, F.one_hot(torch.arange(8) % 2, 2).float()


def make(size=2, age=6, inner=3, seed=0):
    return Pool(BANK, PoolSettings(size=size, age=age, inner=inner), seed=seed)


def loss(member, records):
    x, labels = records
    return float(F.cross_entropy(member.network(x), labels))


def test_networks_take_turns_and_learn_the_set(records):
    pool = make(size=2, age=1000, inner=5)
    first, second = pool.member(0), pool.member(1)
    assert first is not second
    assert pool.member(2) is first
    before = loss(first, records), loss(second, records)
    for step in (0, 2, 4, 6):
        pool.train(step, *records)
    assert loss(first, records) < 0.8 * before[0]
    assert loss(second, records) == before[1]


def test_a_network_is_replaced_at_its_age(records):
    pool = make(size=2, age=6, inner=3)
    young, old = pool.member(1), pool.member(0)  # with 6 and with 3 steps before them
    pool.train(0, *records)
    pool.train(1, *records)
    assert pool.member(0) is not old
    assert pool.member(1) is young
    pool.train(1, *records)
    assert pool.member(1) is not young


def test_the_same_seed_gives_the_same_networks(records):
    def features(seed):
        pool = make(seed=seed)
        for step in range(5):
            pool.train(step, *records)
        return torch.stack([pool.member(k)(records[0]) for k in (0, 1)])

    assert torch.equal(features(1), features(1))
    assert not torch.equal(features(1), features(2))


def test_members_take_no_gradient_and_leave_the_bank_alone(records):
    before = BANK.member(0)(records[0])
    pool = make(size=1, seed=0)
    pool.train(0, *records)
    x = records[0].clone().requires_grad_(True)
    pool.member(0)(x).sum().backward()
    assert x.grad is not None
    assert not any(p.requires_grad for p in pool.member(0).network.parameters())
    assert torch.equal(BANK.member(0)(records[0]), before)


def test_features_stay_centred_and_of_norm_one(records):
    pool = make(size=1)
    pool.train(0, *records)
    norms = pool.member(0)(records[0]).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(8))


def test_the_random_state_of_the_process_is_left_alone(records):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make().train(0, *records)
    assert torch.equal(torch.rand(3), expected)


def test_large_sets_are_trained_on_in_batches_that_differ():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(300, 1, 8, 8, generator=generator)
    labels = F.one_hot(torch.arange(300) % 2, 2).float()
    pool, seen = make(size=1, age=1000, inner=2), []
    pool.member(0).network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    pool.train(0, x, labels)
    first, second = (batch for batch in seen if len(batch) == 128)
    assert not torch.equal(first, second)
    for batch in (first, second):
        assert (torch.cdist(batch.flatten(1), x.flatten(1)).amin(1) < 0.1).all()
        assert len(batch.unique(dim=0)) == 128
