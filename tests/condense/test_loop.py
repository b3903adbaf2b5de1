"""Condensation: batches equal single runs, losses fall, and private starts read no record."""

import time
import weakref
from dataclasses import replace

import pytest
import torch

from moc.attacks import Attack, Threat
from moc.networks.bank import Bank
from moc.condense.loop import CondenseSettings, Task, condense
from moc.condense.scalarise import Normalisation
from moc.data.vault import DataInfo, RealData
from moc.data.synthetic import Decoder
from moc.discrepancies import Adversarial, FeatureMean, Generalization, RidgeRisk
from moc.errors import StudyError
from moc.evidence.batches import AttackedBatch
from moc.privacy.ledger import Budget, Ledger
from moc.evidence.moments import Moments
from moc.privacy.release import Ladder, draw
from moc.evidence.samples import Samples
from moc.statistics.base import Statistics
from moc.networks import NetworkSpec

SPEC = NetworkSpec.parse("convnet2-w8")
NORMALISATION = Normalisation(ideal=((0.0, 0.0),) * 2, nadir=((1.0, 1.0),) * 2)


def small(digits, n=300) -> RealData:
    return digits.split([n], seed=0)[0]


@pytest.fixture
def samples(digits):
    ledger = Ledger(None)
    info = ledger.own("train", small(digits))
    attacked = AttackedBatch(
        attack=Attack(name="pgd-margin", steps=2), threat=Threat(eps=0.1), batch=8
    )
    return Samples(ledger, bank=Bank(info=info, specs=(SPEC,), seed=1), attacked=attacked, batch=32)


@pytest.fixture
def moments(digits, tmp_path):
    ledger = Ledger(Budget(epsilon=8.0))
    info = ledger.own("train", small(digits))
    statistics = Statistics(bank=Bank(info=info, specs=(SPEC,), seed=1), networks=4)
    ladder = Ladder(epsilons=(8.0, 2.0))
    return Moments(statistics, draw(ledger, statistics, ladder, folder=tmp_path))


def objectives(discrepancy):
    return Generalization(discrepancy), Adversarial(discrepancy)


def test_losses_fall(samples):
    settings = CondenseSettings(per_class=2, steps=1, lr=1e-6)
    before = condense(
        [Task(robust_share=0.0)],
        evidence=samples,
        objectives=objectives(RidgeRisk()),
        settings=settings,
    )
    after = condense(
        [Task(robust_share=0.0), Task(robust_share=1.0)],
        evidence=samples,
        objectives=objectives(RidgeRisk()),
        settings=replace(settings, steps=60, lr=0.03),
    )
    assert after[0].losses[0] < 0.9 * before[0].losses[0]
    assert after[1].losses[1] < 0.9 * before[0].losses[1]
    assert after[0].losses[0] < after[1].losses[0]
    assert after[1].losses[1] < after[0].losses[1]


@pytest.mark.parametrize("pool", [0, 2])
@pytest.mark.parametrize("labels", ["hard", "learned"])
def test_sets_together_come_out_as_alone(samples, labels, pool):
    settings = CondenseSettings(per_class=2, steps=6, warm=3, lr=0.02, labels=labels, pool=pool)
    tasks = [Task(robust_share=r, seed=s) for r, s in ((0.0, 1), (0.3, 1), (0.9, 2))]
    run = {"evidence": samples, "objectives": objectives(RidgeRisk()), "settings": settings}
    together = condense(tasks, normalisation=NORMALISATION, **run)
    for task, one in zip(tasks, together, strict=True):
        alone = condense([task], normalisation=NORMALISATION, **run)[0]
        torch.testing.assert_close(one.synthetic.x, alone.synthetic.x, atol=2e-3, rtol=0)
        torch.testing.assert_close(one.synthetic.labels, alone.synthetic.labels, atol=2e-3, rtol=0)


def test_sets_read_their_own_rung_only(moments):
    settings = CondenseSettings(per_class=2, steps=5)
    run = {
        "evidence": moments,
        "objectives": (Generalization(FeatureMean()),),
        "settings": settings,
    }
    first, second = condense([Task(robust_share=0.0, rung=r) for r in (0, 1)], **run)
    moments._clean[1] = replace(moments._clean[1], first=moments._clean[1].first * 3)
    again, changed = condense([Task(robust_share=0.0, rung=r) for r in (0, 1)], **run)
    assert torch.equal(first.synthetic.x, again.synthetic.x)
    assert not torch.equal(second.synthetic.x, changed.synthetic.x)


def test_a_private_start_does_not_depend_on_the_records(moments, tmp_path):
    info = DataInfo(name="digits", shape=(1, 8, 8), classes=tuple("0123456789"), count=300)
    ledger = Ledger(Budget(epsilon=8.0))
    ledger.own("train", RealData(info=info, x=torch.ones(300, 1, 8, 8), y=torch.zeros(300)))
    statistics = replace(moments.statistics, bank=replace(moments.bank, info=info))
    rungs = draw(ledger, statistics, Ladder(epsilons=(8.0,)), folder=tmp_path / "other")
    other = Moments(statistics, rungs)
    y = torch.arange(10)
    assert torch.equal(moments.start(y, seed=3, rung=0), other.start(y, seed=3, rung=0))


def test_a_decoded_set_keeps_its_stored_size(samples):
    settings = CondenseSettings(per_class=2, steps=2, decoder=Decoder(factor=2))
    run = {"evidence": samples, "objectives": (Generalization(FeatureMean()),)}
    one = condense([Task(robust_share=0.0)], settings=settings, **run)[0].synthetic
    records, labels = one.training_records()
    assert (len(one), len(records), len(labels)) == (20, 80, 80)


def test_a_set_is_condensed_without_its_copies_and_decoded_with_them(samples):
    run = {"evidence": samples, "objectives": (Generalization(FeatureMean()),)}
    plain, copied = (
        condense(
            [Task(robust_share=0.0)],
            settings=CondenseSettings(per_class=2, steps=2, decoder=Decoder(copies=copies)),
            **run,
        )[0]
        for copies in (1, 3)
    )
    assert torch.equal(copied.synthetic.x, plain.synthetic.x)
    assert copied.losses == plain.losses
    assert len(copied.synthetic.training_records()[0]) == 60


def test_anchors_and_progress(samples):
    seen = []
    condense(
        [Task(robust_share=0.0)],
        evidence=samples,
        objectives=(Generalization(FeatureMean()),),
        settings=CondenseSettings(per_class=1, steps=3, warm=2),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(k, 5) for k in (1, 2, 3, 4, 5)]


@pytest.mark.slow
def test_eight_sets_together_cost_clearly_less_than_eight_runs(moments):
    settings = CondenseSettings(per_class=2, steps=40)
    run = {
        "evidence": moments,
        "objectives": (Generalization(FeatureMean()),),
        "settings": settings,
    }
    tasks = [Task(robust_share=0.0, rung=k % 2, seed=k) for k in range(8)]
    condense(tasks[:1], **run)
    start = time.perf_counter()
    condense(tasks, **run)
    together = time.perf_counter() - start
    start = time.perf_counter()
    for task in tasks:
        condense([task], **run)
    assert together < 0.6 * (time.perf_counter() - start)


def test_a_pool_changes_what_a_set_is_fitted_to(samples):
    settings = CondenseSettings(per_class=2, steps=4, lr=0.02)
    run = {"evidence": samples, "objectives": objectives(RidgeRisk())}
    plain, pooled = (
        condense([Task(robust_share=0.0)], settings=replace(settings, pool=pool), **run)[0]
        for pool in (0, 2)
    )
    assert not torch.equal(plain.synthetic.x, pooled.synthetic.x)


def test_a_release_has_no_pool(moments):
    settings = CondenseSettings(per_class=2, steps=1, pool=1)
    with pytest.raises(StudyError, match="needs records"):
        condense(
            [Task(robust_share=0.0)],
            evidence=moments,
            objectives=(Generalization(FeatureMean()),),
            settings=settings,
        )


ALIVE = weakref.WeakSet()


class Kept(torch.autograd.Function):
    """The identity; an object lives as long as the graph that it is in."""

    @staticmethod
    def forward(ctx, x):
        ctx.kept = Link()
        ALIVE.add(ctx.kept)
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient


class Link:
    """Something that weak references can see."""


class Watched(Generalization):
    """Notes how many graphs of losses are alive whenever another one is made."""

    def __init__(self):
        super().__init__(FeatureMean())
        self.graphs = []

    def forward(self, encoded, view):
        self.graphs.append(len(ALIVE))
        return Kept.apply(super().forward(encoded, view))


def test_one_graph_at_a_time_is_held(samples):
    watched = Watched()
    run = {"evidence": samples, "objectives": (watched,)}
    condense([Task(robust_share=0.0)], settings=CondenseSettings(per_class=2, steps=3), **run)
    assert len(watched.graphs) > 10
    assert max(watched.graphs) <= 1
