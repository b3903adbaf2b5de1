"""Teachers and proxies: adversarial training does what it is for, on what it may read."""

import pytest
import torch

from moc.attacks import Attack, Threat
from moc.networks.bank import Bank
from moc.condense.loop import CondenseSettings
from moc.evidence.proxy import Proxy, make_proxies
from moc.networks.train import TeacherSettings, train_teachers
from moc.data.synthetic import SyntheticSet, one_hot
from moc.privacy.ledger import Budget, Ledger
from moc.evidence.moments import Moments
from moc.privacy.reference import reference_records
from moc.privacy.release import Ladder, draw
from moc.statistics.base import Statistics
from moc.networks import NetworkSpec

SPEC = NetworkSpec.parse("convnet2-w8")


@pytest.fixture
def records(digits):
    ledger = Ledger(None)
    for name, part in zip(("train", "held out"), digits.split([400, 300], seed=0), strict=True):
        ledger.own(name, part)
    return reference_records(ledger, "train"), reference_records(ledger, "held out"), digits.info


def robust_accuracy(network, x, y, eps):
    attack = Attack(name="pgd-margin", steps=10)
    adversarial = attack(network, x, y, threat=Threat(eps=eps), classes=10, seed=0)
    return float((network(adversarial).argmax(1) == y).float().mean())


def test_adversarial_training_resists_what_plain_training_does_not(records):
    (x, y), (xv, yv), info = records
    source = Proxy(SyntheticSet(info=info, x=x, labels=one_hot(y, 10)))
    settings = TeacherSettings(network=SPEC, steps=150, batch=64)
    robust = train_teachers(source, settings=settings, threat=Threat(eps=0.1), seed=0)[0]
    plain = train_teachers(source, settings=settings, threat=Threat(eps=0.0), seed=0)[0]
    assert robust_accuracy(robust, xv, yv, 0.1) > robust_accuracy(plain, xv, yv, 0.1) + 0.05
    assert not robust.training
    assert all(not p.requires_grad for p in robust.parameters())


def test_teachers_are_fixed_by_their_seed_and_leave_the_global_generator_alone(records):
    (x, y), _, info = records
    source = Proxy(SyntheticSet(info=info, x=x, labels=one_hot(y, 10)))
    settings = TeacherSettings(network=SPEC, count=2, steps=4, batch=16)
    state = torch.get_rng_state()
    first = train_teachers(source, settings=settings, threat=Threat(eps=0.1), seed=3)
    again = train_teachers(source, settings=settings, threat=Threat(eps=0.1), seed=3)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first[0].head.weight, again[0].head.weight)
    assert not torch.equal(first[0].head.weight, first[1].head.weight)


def test_a_proxy_is_made_for_every_rung_from_that_rung_alone(digits, tmp_path):
    ledger = Ledger(Budget(epsilon=8.0))
    info = ledger.own("train", digits)
    statistics = Statistics(bank=Bank(info=info, specs=(SPEC,), seed=1), networks=2)
    rungs = draw(ledger, statistics, Ladder(epsilons=(8.0, 1.0)), folder=tmp_path)
    make = {"per_class": 3, "settings": CondenseSettings(steps=4), "seed": 0}
    both = make_proxies(Moments(statistics, rungs), **make)
    upper = make_proxies(Moments(statistics, rungs[:1]), **make)
    assert len(both) == 2
    x, labels = both[0].batch(5, 7)
    assert x.shape == (7, 1, 8, 8)
    assert labels.shape == (7, 10)
    torch.testing.assert_close(x, upper[0].batch(5, 7)[0], atol=1e-4, rtol=0)
    assert not torch.equal(x, both[1].batch(5, 7)[0])
