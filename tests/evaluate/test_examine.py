"""A closer look at a set: what it asks, of which records, and what the curve means."""

from __future__ import annotations

import pytest
import torch

from moc.attacks.threat import Threat
from moc.data.vault import as_unit
from moc.errors import PrivacyError
from moc.evaluate.baselines import select
from moc.evaluate.examine import CURVE, SHARES, budgets, check_first, curves_together
from moc.evaluate.masking import adversarial_to
from moc.evaluate.measure import error_estimate
from moc.evaluate.protocols.fast import Fast
from moc.evaluate.robust import Robustness, correct
from moc.evaluate.suites import FastSuite
from moc.evaluate.trained import Trained
from moc.networks.train import train
from moc.privacy.access import Budget
from moc.privacy.held_out import HeldOut, Rates, reference_records
from moc.privacy.ledger import Ledger

pytestmark = pytest.mark.usefixtures("in_full")

THREAT = Threat(eps=0.1)


@pytest.fixture(scope="module")
def parts(digits):
    ledger = Ledger(None)
    train_part, test = digits.split([300, 60], seed=0)
    info = ledger.own("train", train_part)
    ledger.own("test", test)
    x, y = reference_records(ledger, "train")
    synthetic = select("random", x, y, info, per_class=3, seed=0)
    training = Fast(epochs=20, network="convnet2-w8").resolve(info, THREAT)
    return synthetic, {"training": training, "threat": THREAT}, HeldOut(ledger, "test")


def test_the_curve_ends_are_the_clean_errors_and_its_middle_the_robust_ones(parts):
    synthetic, how, held_out = parts
    (found,) = curves_together([Trained(synthetic, seeds=(5, 6))], **how, held_out=held_out)
    assert found._sums.shape == (2, len(SHARES))
    x, y = held_out.examine(60)
    for row, seed in zip(found._sums, (5, 6), strict=True):
        network = train(synthetic, how["training"], seed=seed)
        assert row[0] == correct(network, x, y).sum()
        assert (row.diff() <= 0).all()
        attacked = Robustness(model=network, suite=CURVE, threat=THREAT, classes=10, seed=seed)
        alone = attacked.correct(x, y)
        # But for random starts, and for records that only a smaller budget found.
        assert abs(row[SHARES.index(1.0)] - alone.sum()) <= 2
    rates = held_out.publish(found)
    errors = [
        error_estimate(Rates(values=column, noise=rates.noise, records=rates.records)).mean
        for column in rates.values.split(1, dim=1)
    ]
    assert errors == pytest.approx((1 - found._sums.mean(0) / 60).tolist())


def test_asked_for_checks_are_those_of_the_first_network(parts):
    synthetic, how, held_out = parts
    other = train(synthetic, how["training"], seed=9)
    moved = adversarial_to(other, *held_out.examine(60), threat=THREAT, classes=10, seed=0)
    options = {**how, "held_out": held_out, "transferred": [moved]}
    one = check_first(Trained(synthetic, seeds=(5,)), **options)
    two = check_first(Trained(synthetic, seeds=(5, 6)), **options)
    assert one == two
    assert sum("transfer" in check.name for check in one) == 1


def test_a_set_on_which_training_diverges_fails_and_gets_nothing_right(parts):
    synthetic, _, held_out = parts
    wild = Fast(epochs=20, lr=1e30).resolve(synthetic.info, THREAT)
    trained = Trained(synthetic, seeds=(5,))
    options = {"training": wild, "threat": THREAT, "held_out": held_out}
    assert [check.passed for check in check_first(trained, **options)] == [False]
    (curve,) = curves_together([trained], **options)
    assert not curve._sums.any()


@pytest.mark.parametrize("eps", [0.0, 0.03, 0.1, 0.9])
def test_budgets_rise_from_nothing_through_the_threat_and_stay_in_the_range(eps):
    sizes = [threat.eps for threat in budgets(Threat(eps=eps))]
    assert sizes == sorted(set(sizes))
    assert sizes[0] == 0.0
    assert eps in sizes
    assert sizes[-1] == pytest.approx(min(2 * eps, 1.0))
    assert budgets(Threat(norm="L2", eps=3.0))[-1] == Threat(norm="L2", eps=6.0)


def test_the_curve_uses_the_gradient_attacks_of_the_search():
    assert set(CURVE.attacks) < set(FastSuite().attacks)


def test_private_records_are_shown_to_no_attack(digits, parts):
    synthetic, how, _ = parts
    ledger = Ledger(Budget(epsilon=8.0, delta=1e-5))
    ledger.own("validation", digits.split([60], seed=0)[0])
    paid = HeldOut(ledger, "validation", planned=2, noise_multiplier=20.0)
    with pytest.raises(PrivacyError, match="not handed out"):
        check_first(Trained(synthetic, seeds=(5,)), **how, held_out=paid)
    with pytest.raises(PrivacyError, match="all of them"):
        paid.first(10)


def test_the_first_records_are_scored_as_if_there_were_no_others(parts):
    _, _, held_out = parts
    fewer = held_out.first(7)
    assert len(fewer) == 7
    assert len(held_out.first(None)) == len(held_out.first(10**9)) == len(held_out) == 60
    assert torch.equal(fewer.examine(10)[0], as_unit(held_out.examine(7)[0]))
    rates = fewer.publish(fewer.count(lambda x, _y: torch.ones(len(x), 1, 1), bound=1.0))
    assert (float(rates.values), rates.records) == (1.0, 7)
