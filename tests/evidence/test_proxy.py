"""Proxies in the place of T: each set reads the proxy of its own rung and nothing of another."""

import pytest
import torch

from moc.attacks import Attack, Threat
from moc.networks.bank import Bank
from moc.condense import CondenseSettings, Proxies, Proxy, Task, condense
from moc.data.vault import DataInfo
from moc.data.synthetic import SyntheticSet, balanced_labels, one_hot
from moc.discrepancies import (
    DISCREPANCIES,
    Adversarial,
    CurvatureRisk,
    Generalization,
    RidgeRisk,
    make_discrepancy,
)
from moc.errors import DataError, PrivacyError
from moc.evidence.batches import AttackedBatch
from moc.networks import Ensembles, NetworkSpec, build

INFO = DataInfo(name="toy", shape=(1, 8, 8), classes=("a", "b"), count=50)
SPEC = NetworkSpec.parse("convnet2-w8")
THREAT = Threat(eps=0.1)
LABELS = one_hot(balanced_labels(6, 2), 2)


def proxy(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(12, 1, 8, 8, generator=generator)
    return Proxy(SyntheticSet(info=INFO, x=x, labels=LABELS))


def renamed(seed):
    """Another proxy whose labels are not the usual ones."""
    return Proxy(SyntheticSet(info=INFO, x=proxy(seed).x, labels=LABELS.roll(1, 0)))


def proxies(*seeds, teachers=None):
    attacked = AttackedBatch(
        attack=Attack(name="pgd-margin", steps=2), threat=THREAT, batch=4, teachers=teachers
    )
    return Proxies(
        [proxy(seed) for seed in seeds],
        epsilons=tuple(8.0 / (1 + rung) for rung in range(len(seeds))),
        bank=Bank(info=INFO, specs=(SPEC,), seed=1),
        attacked=attacked,
        batch=8,
    )


def test_records_to_start_from_are_those_of_the_own_rung():
    both = proxies(1, 2)
    y = balanced_labels(3, 2)
    for rung, seed in enumerate((1, 2)):
        known = {tuple(row.tolist()) for row in proxy(seed).x.flatten(1)}
        start = both.start(y, seed=5, rung=rung)
        assert all(tuple(row.tolist()) in known for row in start.flatten(1))
    with pytest.raises(DataError, match=r"has 6 records; 7 are needed"):
        both.start(balanced_labels(7, 2), seed=0, rung=0)


@pytest.mark.parametrize("pool", [0, 1])
@pytest.mark.parametrize("warm", [0, 2])
@pytest.mark.parametrize("name", sorted(DISCREPANCIES))
def test_a_set_on_a_smaller_rung_takes_nothing_from_a_larger_one(name, warm, pool):
    """What the proxy of the larger epsilon holds does not move a set that costs less."""
    settings = CondenseSettings(per_class=2, steps=3, warm=warm, pool=pool)
    discrepancy = make_discrepancy(name)
    tasks = [Task(robust_share=0.5, rung=0), Task(robust_share=1.0, rung=1)]

    def made(larger):
        teachers = Ensembles([[build(SPEC, INFO, seed=larger)], [build(SPEC, INFO, seed=50)]])
        done = condense(
            tasks,
            evidence=proxies(larger, 2, teachers=teachers),
            objectives=(Generalization(discrepancy), Adversarial(discrepancy)),
            settings=settings,
        )
        return [one.synthetic for one in done]

    (first, small), (other, again) = made(1), made(9)
    assert not torch.allclose(first.x, other.x, atol=1e-3)
    assert torch.equal(small.x, again.x)
    assert torch.equal(small.labels, again.labels)


def test_each_set_is_compared_with_its_own_records():
    view = proxies(1, 2).view(0, [1, 0, 1])
    records, labels = view.clean().batch()
    assert records.shape == (3, 8, 1, 8, 8)
    assert labels.shape == (8, 2)
    assert torch.equal(records[0], records[2])
    assert not torch.equal(records[0], records[1])
    heads = torch.randn(3, view.member.dimension, 2, generator=torch.Generator().manual_seed(0))
    for predictor in (heads, None):
        attacked, _ = view.attacked(predictor).batch()
        gap = (attacked - records[:, :4]).abs().amax((1, 2, 3, 4))
        torch.testing.assert_close(gap, torch.full((3,), 0.1), atol=1e-5, rtol=0)


def test_teachers_of_the_own_rung_name_attacked_records():
    teachers = Ensembles([[build(SPEC, INFO, seed=3)], [build(SPEC, INFO, seed=4)]])
    view = proxies(1, 2, teachers=teachers).view(0, [1, 0])
    heads = torch.zeros(2, view.member.dimension, 2)
    _, labels = view.attacked(heads).batch()
    for b, seed in enumerate((4, 3)):
        expected = build(SPEC, INFO, seed=seed)(view.x[b, :4]).softmax(-1)
        torch.testing.assert_close(labels[b], expected)


@pytest.mark.parametrize("objective", ["ridge-risk", "curvature"])
def test_sets_on_two_rungs_score_as_alone(objective):
    discrepancy = RidgeRisk()
    loss = (
        Adversarial(discrepancy)
        if objective == "ridge-risk"
        else CurvatureRisk(discrepancy, threat=THREAT, records=5)
    )
    teachers = Ensembles([[build(SPEC, INFO, seed=3)], [build(SPEC, INFO, seed=4)]])
    objectives = (Generalization(discrepancy), loss)
    tasks = [Task(robust_share=1.0, rung=rung) for rung in (0, 1)]
    settings = CondenseSettings(per_class=2, steps=1)

    def losses(tasks):
        evidence = proxies(1, 2, teachers=teachers)
        made = condense(tasks, evidence=evidence, objectives=objectives, settings=settings)
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
        Proxies(
            found,
            epsilons=(8.0, 1.0),
            bank=Bank(info=INFO, specs=(SPEC,), seed=1),
            attacked=AttackedBatch(attack=Attack(name="fgsm", steps=1), threat=THREAT, batch=4),
        )
