"""Curves while they are condensed: ends as sets of their own, own rung only, a front between."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from moc.attacks.gradient import PgdMargin
from moc.attacks.threat import Threat
from moc.condense import (
    CondenseSettings,
    PoolSettings,
    Start,
    Task,
    condense,
    condense_curves,
    losses_of,
)
from moc.condense.points import OnCurve
from moc.condense.scalarise import Linear
from moc.condense.settings import CurveSettings
from moc.discrepancies.adversarial import Adversarial
from moc.discrepancies.base import Generalization
from moc.discrepancies.feature_mean import FeatureMean
from moc.discrepancies.ridge import RidgeRisk
from moc.evidence.moments import Moments
from moc.evidence.samples import Samples
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank
from moc.privacy.access import Budget
from moc.privacy.collect import Collection
from moc.privacy.ladder import Ladder
from moc.privacy.ledger import Ledger
from moc.privacy.release import draw
from moc.statistics.class_means import ClassMeans

NETWORKS = (parse_network("convnet2-w8"),)


@pytest.fixture
def samples(digits):
    ledger = Ledger(None)
    info = ledger.own("train", digits.split([300], seed=0)[0])
    return Samples(ledger, bank=Bank(info=info, networks=NETWORKS, seed=1), batch=32)


@pytest.fixture
def losses():
    attack = PgdMargin(steps=2)
    return {
        "error": Generalization(RidgeRisk()),
        "robust_error": Adversarial(RidgeRisk(), attack=attack, threat=Threat(eps=0.1), records=8),
    }


@pytest.mark.parametrize("pool", [None, PoolSettings(size=2)], ids=["random", "pool"])
@pytest.mark.parametrize("labels", ["hard", "learned"])
def test_points_are_of_the_size_and_labels_that_were_asked_for(samples, losses, labels, pool):
    settings = CondenseSettings(images_per_class=2, steps=3, labels=labels, pool=pool)
    (curve,) = condense_curves([Start()], evidence=samples, losses=losses, settings=settings)
    one = curve.at(robust_error=0.4)
    assert len(one) == 20
    assert bool((one.labels.amax(1) == 1).all()) == (labels == "hard")


@pytest.mark.parametrize("pool", [None, PoolSettings(size=2, age=6)], ids=["random", "pool"])
@pytest.mark.parametrize("labels", ["hard", "learned"])
def test_ends_are_the_sets_that_are_condensed_for_one_loss(samples, losses, labels, pool):
    """Nothing pulls them in, whatever is between; nor do networks grow up on anything else."""
    settings = CondenseSettings(images_per_class=2, steps=8, lr=0.02, labels=labels, pool=pool)
    run = {"evidence": samples, "settings": settings}
    (curve,) = condense_curves([Start(seed=3)], losses=losses, **run)
    for r in (0.0, 1.0):
        task = Task(weights=(1 - r, r), seed=3)
        (apart,) = condense([task], losses=tuple(losses.values()), **run)
        found = curve.at(robust_error=r)
        torch.testing.assert_close(found.x, apart.synthetic.x, atol=2e-3, rtol=0)
        torch.testing.assert_close(found.labels, apart.synthetic.labels, atol=2e-3, rtol=0)


def test_losses_change_along_a_curve_from_one_end_to_the_other(samples, losses):
    settings = CondenseSettings(images_per_class=2, steps=60, lr=0.03)
    (curve,) = condense_curves([Start()], evidence=samples, losses=losses, settings=settings)
    sets = [curve.at(robust_error=r) for r in (0.0, 0.5, 1.0)]
    parts = tuple(losses.values())
    found = losses_of(sets, rung=0, evidence=samples, losses=parts)
    assert all(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(found))


def test_curves_together_come_out_as_alone(samples, losses):
    settings = CondenseSettings(images_per_class=2, steps=5, lr=0.02)
    run = {"evidence": samples, "losses": losses, "settings": settings}
    starts = [Start(seed=1), Start(seed=2)]
    for start, one in zip(starts, condense_curves(starts, **run), strict=True):
        (alone,) = condense_curves([start], **run)
        torch.testing.assert_close(one.x, alone.x, atol=2e-3, rtol=0)


def test_a_curve_reads_its_own_rung_only(digits, tmp_path):
    ledger = Ledger(Budget(epsilon=8.0))
    bank = Bank(info=ledger.own("train", digits.split([300], seed=1)[0]), networks=NETWORKS, seed=1)
    collection = Collection(bank=bank, networks=4, statistics=(ClassMeans(),))
    ladder = Ladder(epsilons=(8.0, 2.0))
    moments = Moments([(collection, draw(ledger, collection, ladder, folder=tmp_path / "r"))])
    pair = {name: Generalization(FeatureMean()) for name in ("error", "other")}
    run = {
        "evidence": moments,
        "losses": pair,
        "settings": CondenseSettings(images_per_class=2, steps=4),
    }
    first, second = condense_curves([Start(rung=0), Start(rung=1)], **run)
    ((_, averages),) = moments._rounds
    averages[1].by_name["class-means"] *= 3
    again, changed = condense_curves([Start(rung=0), Start(rung=1)], **run)
    assert torch.equal(first.x, again.x)
    assert not torch.equal(second.x, changed.x)


class TestPoints:
    @pytest.mark.parametrize("losses", [2, 3])
    def test_every_draw_is_on_the_simplex_and_draws_fill_it(self, losses):
        points = OnCurve(
            losses=losses,
            settings=CurveSettings(between=3),
            scalariser=Linear(),
            device="cpu",
        )
        drawn = []
        for step in range(400):
            points.draw(step)
            drawn.append(points._weights)
        rows = torch.cat(drawn)
        torch.testing.assert_close(rows.sum(1), torch.ones(len(rows)))
        assert (rows >= 0).all()
        # Uniform on the simplex: the mean is its centre, each weight above 1/2 in 2^(1-m) of draws.
        assert (rows.mean(0) - 1 / losses).abs().max() < 0.05
        assert ((rows > 0.5).float().mean(0) - 0.5 ** (losses - 1)).abs().max() < 0.07

    def test_what_is_between_does_not_move_the_corners(self):
        points = OnCurve(losses=2, settings=CurveSettings(), scalariser=Linear(), device="cpu")
        controls = torch.rand(1, 3, 2, 4, requires_grad=True)
        points.mix(controls)[:, 2:].sum().backward()
        moved = controls.grad.abs().sum((0, 2, 3)) > 0
        assert moved.tolist() == [False, True, False]

    def test_losses_between_are_normalised_by_those_of_the_corners(self):
        points = OnCurve(losses=2, settings=CurveSettings(), scalariser=Linear(), device="cpu")
        (w,) = points._weights.tolist()
        losses = torch.tensor([[[1.0, 8.0], [3.0, 4.0], [2.0, 5.0]]])
        joined = points.join(losses)[0].tolist()
        assert joined[:2] == [1.0, 4.0]
        assert joined[2] == pytest.approx(w[0] * 0.5 + w[1] * 0.25)
