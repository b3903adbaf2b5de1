"""Teachers: adversarial training does what it is for, on what it may read."""

import pytest
import torch

from moc.attacks.gradient import PgdCe, PgdMargin
from moc.attacks.threat import Threat
from moc.condense import make_proxies
from moc.data.synthetic import SyntheticSet, one_hot
from moc.evidence.moments import Moments
from moc.evidence.proxy import Proxy
from moc.networks import teachers as teachers_module
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.networks.teachers import TeacherSettings, train_teachers
from moc.privacy.access import Budget
from moc.privacy.collect import Collection
from moc.privacy.held_out import reference_records
from moc.privacy.ladder import Ladder
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.statistics.class_means import ClassMeans

NETWORK = parse_network("convnet2-w8")


@pytest.fixture
def records(digits):
    ledger = Ledger(None)
    for name, part in zip(("train", "held out"), digits.split([400, 300], seed=0), strict=True):
        ledger.own(name, part)
    return reference_records(ledger, "train"), reference_records(ledger, "held out"), digits.info


def robust_accuracy(network, x, y, eps):
    attack = PgdMargin(steps=10)
    adversarial = attack(network, x, y, threat=Threat(eps=eps), classes=10, seed=0)
    return float((network(adversarial).argmax(1) == y).float().mean())


def test_adversarial_training_resists_what_plain_training_does_not(records):
    (x, y), (xv, yv), info = records
    source = Proxy(SyntheticSet(info=info, x=x, labels=one_hot(y, 10)))
    settings = TeacherSettings(steps=150, batch=64)
    robust = train_teachers(
        source, network=NETWORK, settings=settings, threat=Threat(eps=0.1), seed=0
    )[0]
    plain = train_teachers(
        source, network=NETWORK, settings=settings, threat=Threat(eps=0.0), seed=0
    )[0]
    assert robust_accuracy(robust, xv, yv, 0.1) > robust_accuracy(plain, xv, yv, 0.1) + 0.05
    assert not robust.training
    assert all(not p.requires_grad for p in robust.parameters())


def test_teachers_are_fixed_by_their_seed_and_leave_the_global_generator_alone(records):
    (x, y), _, info = records
    source = Proxy(SyntheticSet(info=info, x=x, labels=one_hot(y, 10)))
    settings = TeacherSettings(count=2, steps=4, batch=16)
    state = torch.get_rng_state()
    first = train_teachers(
        source, network=NETWORK, settings=settings, threat=Threat(eps=0.1), seed=3
    )
    again = train_teachers(
        source, network=NETWORK, settings=settings, threat=Threat(eps=0.1), seed=3
    )
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first[0].head.weight, again[0].head.weight)
    assert not torch.equal(first[0].head.weight, first[1].head.weight)


@pytest.mark.parametrize("adversarial", [True, False])
def test_teachers_side_by_side_are_those_in_turn(records, monkeypatch, adversarial):
    (x, y), _, info = records
    run = {
        "source": Proxy(SyntheticSet(info=info, x=x, labels=one_hot(y, 10))),
        "network": NETWORK,
        "settings": TeacherSettings(
            count=3,
            steps=5,
            batch=16,
            adversarial=adversarial,
            attack=PgdCe(steps=2, random_start=True),
        ),
        "threat": Threat(eps=0.1),
        "seed": 3,
    }
    apart = train_teachers(**run)
    seen = []
    monkeypatch.setattr(teachers_module, "stacks_pay", lambda _: True)
    together = train_teachers(**run, progress=lambda *one: seen.append(one))
    assert seen == [(k + 1, 5) for k in range(5)]
    for one, other in zip(together, apart, strict=True):
        assert not one.training
        for own, expected in zip(one.parameters(), other.parameters(), strict=True):
            assert not own.requires_grad
            torch.testing.assert_close(own, expected, atol=2e-4, rtol=2e-3)


def test_progress_counts_the_steps_of_all_teachers(records):
    (x, y), _, info = records
    source, seen = Proxy(SyntheticSet(info=info, x=x, labels=one_hot(y, 10))), []
    train_teachers(
        source,
        network=NETWORK,
        settings=TeacherSettings(count=2, steps=2, batch=8, adversarial=False),
        threat=Threat(eps=0.1),
        seed=0,
        progress=lambda *one: seen.append(one),
    )
    assert seen == [(k, 4) for k in (1, 2, 3, 4)]


def test_a_proxy_is_made_for_every_rung_from_that_rung_alone(digits, tmp_path):
    ledger = Ledger(Budget(epsilon=8.0))
    info = ledger.own("train", digits.split([len(digits)], seed=0)[0])
    bank = Bank(info=info, networks=(NETWORK,), seed=1)
    collection = Collection(bank=bank, networks=2, statistics=(ClassMeans(),))
    rungs = draw(ledger, collection, Ladder(epsilons=(8.0, 1.0)), folder=tmp_path / "r")
    make = {"images_per_class": 3, "steps": 4, "lr": 0.05, "seed": 0}
    both = [Proxy(one) for one in make_proxies(Moments([(collection, rungs)]), **make)]
    (upper,) = [Proxy(one) for one in make_proxies(Moments([(collection, rungs[:1])]), **make)]
    assert len(both) == 2
    x, labels = both[0].batch(5, 7)
    assert x.shape == (7, 1, 8, 8)
    assert labels.shape == (7, 10)
    torch.testing.assert_close(x, upper.batch(5, 7)[0], atol=1e-4, rtol=0)
    assert not torch.equal(x, both[1].batch(5, 7)[0])
