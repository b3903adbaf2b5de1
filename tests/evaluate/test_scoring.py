from __future__ import annotations

import math

import pytest
import torch

from moc.attacks.gradient import Fgsm, PgdCe
from moc.attacks.threat import Threat
from moc.evaluate import trained as trained_module
from moc.evaluate.baselines import select
from moc.evaluate.measure import error_estimate
from moc.evaluate.protocols.fast import Fast
from moc.evaluate.robust import Robustness, correct
from moc.evaluate.scoring import count_outcomes, estimates, outcome_bound, publish_scores
from moc.evaluate.suites import CustomSuite, FastSuite, PrivateSuite, suite_for
from moc.evaluate.trained import Trained
from moc.networks.train import train
from moc.objectives.error import Right
from moc.objectives.robust_error import RightUnderAttack
from moc.privacy.access import Budget
from moc.privacy.held_out import HeldOut, Rates, reference_records
from moc.privacy.ledger import Ledger

THREAT = Threat(eps=0.1)
SHORT = CustomSuite(attacks=(PgdCe(steps=3, random_start=True),))


@pytest.fixture(scope="module")
def split(digits):
    """Fresh parts: records have one owner."""
    return lambda: digits.split([300, 60], seed=0)


@pytest.fixture(scope="module")
def held_out(split):
    ledger = Ledger(None)
    ledger.own("validation", split()[1])
    return HeldOut(ledger, "validation")


@pytest.fixture(scope="module")
def private(split):
    ledger = Ledger(Budget(epsilon=8.0))
    ledger.own("validation", split()[1])
    return HeldOut(ledger, "validation", planned=3, noise_multiplier=3.0)


@pytest.fixture(scope="module")
def records(split):
    ledger = Ledger(None)
    ledger.own("validation", split()[1])
    return reference_records(ledger, "validation")


@pytest.fixture(scope="module")
def sets(split):
    ledger = Ledger(None)
    info = ledger.own("train", split()[0])
    x, y = reference_records(ledger, "train")
    return [select("random", x, y, info, per_class=3, seed=seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def training(digits):
    return Fast(network="convnet2-w16", epochs=20).resolve(digits.info, THREAT)


def both(training, suite=SHORT):
    """What most studies measure: clean and robust error."""
    return {
        "error": Right(training=training),
        "robust_error": RightUnderAttack(training=training, suite=suite, threat=THREAT),
    }


def robust_sum(network, x, y, suite, seed):
    attacked = Robustness(model=network, suite=suite, threat=THREAT, classes=10, seed=seed)
    return attacked.correct(x, y).sum()


def rates(values, *, noise=0.0, records=100):
    return Rates(values=torch.tensor(values, dtype=torch.float64), noise=noise, records=records)


# The score of one set


def test_counts_are_those_of_networks_trained_one_by_one(sets, training, held_out, records):
    x, y = records
    measures = both(training)
    found = count_outcomes(
        Trained(sets[0], seeds=[4, 9]), measures=measures, held_out=held_out
    )._sums
    for row, seed in zip(found, (4, 9), strict=True):
        network = train(sets[0], training, seed=seed)
        robust = robust_sum(network, x, y, SHORT, seed)
        assert row.tolist() == [correct(network, x, y).sum(), robust]
    assert (found[:, 1] < found[:, 0]).all()
    assert (found[:, 0] > 20).all()


def test_a_score_does_not_depend_on_what_was_scored_before(sets, training, held_out):
    options = {"measures": both(training), "held_out": held_out}
    alone = count_outcomes(Trained(sets[1], seeds=[0]), **options)._sums
    torch.manual_seed(7)
    state = torch.get_rng_state()
    other = count_outcomes(Trained(sets[0], seeds=[0]), **options)._sums
    again = count_outcomes(Trained(sets[1], seeds=[0]), **options)._sums
    assert torch.equal(again, alone)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(other, alone)


def test_measures_of_one_training_share_their_networks(sets, training, held_out, monkeypatch):
    made = []
    monkeypatch.setattr(trained_module, "train", lambda *a, **k: made.append(a) or train(*a, **k))
    other = training.model_copy(update={"epochs": 3})
    measures = {**both(training), "transfer": Right(training=other)}
    counts = count_outcomes(Trained(sets[0], seeds=[0, 1]), measures=measures, held_out=held_out)
    assert counts._sums.shape == (2, 3)
    assert len(made) == 4


def test_a_network_that_diverged_gets_nothing_right(sets, training, held_out):
    wild = training.model_copy(update={"sgd": training.sgd.model_copy(update={"lr": 1e30})})
    measures = {"good": Right(training=training), "bad": Right(training=wild)}
    counts = count_outcomes(Trained(sets[0], seeds=[0]), measures=measures, held_out=held_out)
    assert counts._sums[0, 0] > 0
    assert counts._sums[0, 1] == 0


# Private records


def test_private_records_are_attacked_one_by_one(held_out, private):
    assert suite_for(SHORT, held_out) is SHORT
    assert suite_for(SHORT, private) == PrivateSuite()
    assert not FastSuite().per_record


def test_a_suite_that_is_per_record_is_kept(private):
    own = CustomSuite(attacks=(Fgsm(),))
    assert suite_for(own, private) is own


def test_without_one_record_the_others_keep_their_outcomes(sets, training, records):
    x, y = records
    network = train(sets[0], training, seed=0)
    kept = torch.arange(60) != 17
    for measure in both(training, PrivateSuite()).values():
        everyone = measure.outcomes(network, x, y, seed=0)
        assert torch.equal(measure.outcomes(network, x[kept], y[kept], seed=0), everyone[kept])


def test_private_scores_know_their_noise(sets, training, private, held_out):
    measures = both(training, PrivateSuite())
    trained = Trained(sets[0], seeds=[0, 1])
    counts = count_outcomes(trained, held_out=private, measures=measures)
    assert counts.bound == outcome_bound(measures, 2) == 2.0
    published = private.publish(counts)
    noise = 3.0 * math.sqrt(4) / 60
    assert published.noise == pytest.approx(noise)
    exact = count_outcomes(trained, held_out=held_out, measures=measures)
    known = publish_scores(trained, held_out=held_out, measures=measures)
    assert known == estimates(held_out.publish(exact), measures)
    noisy = estimates(published, measures)
    for name, estimate in noisy.items():
        assert abs(estimate.mean - known[name].mean) < 6 * noise / math.sqrt(2)
        assert estimate.se >= noise / math.sqrt(2)


# Standard errors


def two(rates):
    """Estimates of both columns of rates."""
    parts = rates.values.split(1, dim=1)
    return [
        error_estimate(Rates(values=part, noise=rates.noise, records=rates.records))
        for part in parts
    ]


def test_standard_errors_by_hand():
    error, robust = two(rates([[0.92, 0.5], [0.88, 0.6]], records=98))
    # Networks: variance 0.0008 / 2. Records: (88.2 + 1) / 100 = 0.892; 0.892 * 0.108 / 98.
    assert error.mean == pytest.approx(0.1)
    assert error.se == pytest.approx(math.sqrt(0.0004 + 0.096336 / 98))
    # Networks: variance 0.005 / 2. Records: (53.9 + 1) / 100 = 0.549; 0.549 * 0.451 / 98.
    assert robust.mean == pytest.approx(0.45)
    assert robust.se == pytest.approx(math.sqrt(0.0025 + 0.247599 / 98))


def test_one_network_shows_no_spread():
    error, _ = two(rates([[0.88, 0.0]], records=98, noise=0.3))
    assert error.se == pytest.approx(math.sqrt(0.09 + 0.8724 * 0.1276 / 98))


def test_the_spread_is_never_below_the_noise_and_never_added_to_it():
    quiet = two(rates([[0.5, 0.2]] * 3, noise=0.1))[0].se
    assert quiet == pytest.approx(math.sqrt(0.01 / 3 + 0.25 / 100))
    wide = [[0.2, 0.2], [0.5, 0.2], [0.8, 0.2]]
    known = two(rates(wide, noise=0.1))[0].se
    assert known == two(rates(wide))[0].se


def test_noise_may_carry_a_mean_outside():
    found = two(rates([[1.3, -0.2]], noise=0.2))
    assert [one.mean for one in found] == pytest.approx([-0.3, 1.2])
    assert all(math.isfinite(one.se) and one.se > 0.2 for one in found)


def test_no_mistake_is_no_certainty():
    error, robust = two(rates([[1.0, 0.0]] * 3))
    assert error.se == pytest.approx(robust.se)
    assert error.se == pytest.approx(1 / 102, rel=0.01)  # one mistake among n + 2


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("shared", [True, False], ids=["same-records", "any-records"])
def test_intervals_cover_what_they_should(noise, shared):
    """Networks of skill p + N(0, 0.01) that fail on the same records, or on any of their own."""
    generator = torch.Generator().manual_seed(0)
    runs, n, replicates, p = 1500, 200, 3, 0.8
    skill = p + 0.01 * torch.randn(runs, 1, replicates, generator=generator)
    hardness = torch.rand(runs, n, 1 if shared else replicates, generator=generator)
    values = (hardness < skill).double().mean(1)
    values += noise * torch.randn(values.shape, generator=generator)
    covered = 0
    for value in values:
        error = error_estimate(Rates(values=value[:, None], noise=noise, records=n))
        covered += abs(error.mean - (1 - p)) < error.se
    share = covered / runs
    if shared:
        assert 0.64 < share < 0.75  # 0.68, a little more where noise is the floor of the spread
    else:
        assert share > 0.75  # networks that fail apart are surer together than is claimed
