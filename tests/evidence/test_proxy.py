"""Proxies in the place of T: each set reads the proxy of its own rung and nothing of another."""

import pytest
import torch

from moc.attacks.gradient import PgdMargin
from moc.attacks.threat import Threat
from moc.condense import CondenseSettings, PoolSettings, Task, condense
from moc.data.declared import DataInfo
from moc.data.synthetic import SyntheticSet, balanced_labels, one_hot
from moc.discrepancies.adversarial import Adversarial
from moc.discrepancies.base import DISCREPANCIES, Generalization
from moc.discrepancies.curvature import CurvatureRisk
from moc.discrepancies.feature_mean import FeatureMean
from moc.discrepancies.matching import Matching
from moc.discrepancies.ridge import RidgeRisk
from moc.discrepancies.trajectory import TrajectoryMatching
from moc.errors import DataError, PrivacyError
from moc.evidence.proxy import Proxies, Proxy
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank, encode
from moc.networks.network import Ensembles, build
from moc.privacy.ladder import Ladder
from moc.statistics.fourier import Fourier

INFO = DataInfo(name="toy", shape=(1, 8, 8), classes=("a", "b"), count=50)
NETWORK = parse_network("convnet2-w8")
BANK = Bank(info=INFO, networks=(NETWORK,), seed=1)
THREAT = Threat(eps=0.1)
LABELS = one_hot(balanced_labels(6, 2), 2)
RUNGS = Ladder(epsilons=(8.0, 4.0)).rungs
OWN = {
    "matching": Matching(statistic=Fourier()),
    "trajectory-matching": TrajectoryMatching(steps=1, expert_steps=1),
}
ALL = [OWN.get(kind) or DISCREPANCIES.make(kind) for kind in sorted(DISCREPANCIES.parts)]


def proxy(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(12, 1, 8, 8, generator=generator)
    return Proxy(SyntheticSet(info=INFO, x=x, labels=LABELS))


def renamed(seed):
    """Another proxy whose labels are not the usual ones."""
    return Proxy(SyntheticSet(info=INFO, x=proxy(seed).x, labels=LABELS.roll(1, 0)))


def proxies(*seeds):
    return Proxies([proxy(seed) for seed in seeds], rungs=RUNGS, bank=BANK, batch=8)


def adversarial(discrepancy, teachers=None):
    attack = PgdMargin(steps=2)
    return Adversarial(discrepancy, attack=attack, threat=THREAT, records=4, teachers=teachers)


def test_records_to_start_from_are_those_of_the_own_rung():
    both = proxies(1, 2)
    y = balanced_labels(3, 2)
    for rung, seed in enumerate((1, 2)):
        known = {tuple(row.tolist()) for row in proxy(seed).x.flatten(1)}
        start = both.start(y, seed=5, rung=rung)
        assert all(tuple(row.tolist()) in known for row in start.flatten(1))
    with pytest.raises(DataError, match=r"has 6 records; 7 are needed"):
        both.start(balanced_labels(7, 2), seed=0, rung=0)


@pytest.mark.parametrize("pool", [None, PoolSettings(size=1)], ids=["random", "pool"])
@pytest.mark.parametrize("discrepancy", ALL, ids=lambda d: d.kind)
def test_a_set_on_a_smaller_rung_takes_nothing_from_a_larger_one(discrepancy, pool):
    """What the proxy of the larger epsilon holds does not move a set that costs less."""
    settings = CondenseSettings(images_per_class=2, steps=3, pool=pool)
    tasks = [Task(weights=(0.5, 0.5), rung=0), Task(weights=(0.0, 1.0), rung=1)]

    def made(larger):
        teachers = Ensembles([[build(NETWORK, INFO, seed=larger)], [build(NETWORK, INFO, seed=50)]])
        done = condense(
            tasks,
            evidence=proxies(larger, 2),
            losses=(Generalization(discrepancy), adversarial(discrepancy, teachers)),
            settings=settings,
        )
        return [one.synthetic for one in done]

    (first, small), (other, again) = made(1), made(9)
    assert not torch.allclose(first.x, other.x, atol=1e-3)
    assert torch.equal(small.x, again.x)
    assert torch.equal(small.labels, again.labels)


def test_each_set_is_compared_with_its_own_records():
    view = proxies(1, 2).view(0, [1, 0, 1])
    records, labels = view.batch()
    assert records.shape == (3, 8, 1, 8, 8)
    assert labels.shape == (8, 2)
    assert torch.equal(records[0], records[2])
    assert not torch.equal(records[0], records[1])


class Spy(RidgeRisk):
    """Keeps the records and labels that it was shown."""

    def value(self, encoded, view, /):
        self.__dict__["seen"] = view.batch()
        return super().value(encoded, view)


class OwnSpy(Spy):
    """The same, without a classifier fitted on S."""

    def predictor(self, encoded, /):
        return None


def encoded_sets(count):
    generator = torch.Generator().manual_seed(4)
    x = torch.rand(count, 12, 1, 8, 8, generator=generator)
    return encode(x, LABELS.repeat(count, 1, 1), BANK.member(0))


@pytest.mark.parametrize("discrepancy", [Spy(), OwnSpy()], ids=["heads", "own"])
def test_every_set_attacks_the_records_of_its_own_proxy(discrepancy):
    view = proxies(1, 2).view(0, [1, 0, 1])
    adversarial(discrepancy)(encoded_sets(3), view)
    attacked, _ = discrepancy.seen
    gap = (attacked - view.batch()[0][:, :4]).abs().amax((1, 2, 3, 4))
    torch.testing.assert_close(gap, torch.full((3,), 0.1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("discrepancy", [Spy(), OwnSpy()], ids=["heads", "own"])
def test_sets_that_are_attacked_a_few_at_a_time_meet_the_same_attack(discrepancy, monkeypatch):
    view, encoded = proxies(1, 2).view(0, [1, 0, 1]), encoded_sets(3)
    whole = adversarial(discrepancy)(encoded, view), discrepancy.seen[0]
    monkeypatch.setattr("moc.discrepancies.adversarial._TOGETHER", 8)  # two sets of four records
    torch.testing.assert_close(adversarial(discrepancy)(encoded, view), whole[0])
    torch.testing.assert_close(discrepancy.seen[0], whole[1])


def test_the_attack_raises_the_loss_of_every_set():
    view, encoded = proxies(1, 2).view(0, [1, 0]), encoded_sets(2)
    plain = RidgeRisk().value(encoded, view.of(view.batch()[0][:, :4], view.batch()[1][:4]))
    assert (adversarial(RidgeRisk())(encoded, view) > plain).all()


def test_teachers_of_the_own_rung_name_attacked_records():
    teachers = Ensembles([[build(NETWORK, INFO, seed=3)], [build(NETWORK, INFO, seed=4)]])
    view, discrepancy = proxies(1, 2).view(0, [1, 0]), Spy()
    adversarial(discrepancy, teachers)(encoded_sets(2), view)
    _, labels = discrepancy.seen
    for b, seed in enumerate((4, 3)):
        expected = build(NETWORK, INFO, seed=seed)(view.batch()[0][b, :4]).softmax(-1)
        torch.testing.assert_close(labels[b], expected)


@pytest.mark.parametrize("kind", ["attacked", "curvature"])
def test_sets_on_two_rungs_score_as_alone(kind):
    teachers = Ensembles([[build(NETWORK, INFO, seed=3)], [build(NETWORK, INFO, seed=4)]])
    loss = (
        adversarial(RidgeRisk(), teachers)
        if kind == "attacked"
        else CurvatureRisk(RidgeRisk(), threat=THREAT, records=5)
    )
    tasks = [Task(weights=(0.0, 1.0), rung=rung) for rung in (0, 1)]
    settings = CondenseSettings(images_per_class=2, steps=1)

    def losses(tasks):
        made = condense(
            tasks,
            evidence=proxies(1, 2),
            losses=(Generalization(FeatureMean()), loss),
            settings=settings,
        )
        return torch.tensor([one.losses for one in made])

    alone = torch.cat([losses(tasks[:1]), losses(tasks[1:])])
    torch.testing.assert_close(losses(tasks), alone, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([proxy(1)], "for each of 2 rungs expected, found 1"),
        ([proxy(1), renamed(2)], "same labels"),
    ],
)
def test_rungs_that_would_have_to_share_are_refused(found, words):
    with pytest.raises(PrivacyError, match=words):
        Proxies(found, rungs=RUNGS, bank=BANK)
