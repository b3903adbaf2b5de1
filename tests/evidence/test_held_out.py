"""Scores on held-out records: free if public, otherwise counted, paid for and noisy."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from evidence_checks import (
    check_scores_are_limited,
    check_scores_hide_the_count,
    check_standard_normal,
)
from evidence_tools import all_right, part, toy
from hypothesis import given
from hypothesis import strategies as st

from moc.data._vault import unseal
from moc.errors import BudgetExceededError, PrivacyError
from moc.evidence import Budget, Counts, HeldOut, Ledger

PLAN = {"planned": 5, "noise_multiplier": 100.0}


def ledger_of(*, budget=4.0, public=False) -> Ledger:
    ledger = Ledger(None if budget is None else Budget(epsilon=budget))
    ledger.own("validation", toy(), public=public)
    return ledger


def outcome(x, y):
    """Some values in [0, 1], two replicates by three measures, for each record by itself."""
    return (x[:, None, :3] * torch.tensor([[1.0], [0.5]])).clamp(0, 1)


@pytest.mark.parametrize("public", [True, False])
def test_public_and_open_scores_are_exact_and_free(public):
    ledger = ledger_of(budget=4.0 if public else None, public=public)
    held_out = HeldOut(ledger, "validation")
    records = unseal(toy())
    expected = outcome(records.x, records.y).double().mean(0)
    for _ in range(10):
        rates = held_out.publish(held_out.count(outcome))
        assert torch.allclose(rates.values, expected, atol=1e-7)
        assert (rates.noise, rates.records) == (0.0, 12)
    assert held_out.public
    assert not held_out.per_record
    assert ledger.epsilon() == (0.0 if public else math.inf)


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"planned": 5},
        {"noise_multiplier": 9.0},
        {"planned": 0, "noise_multiplier": 9.0},
        {"planned": 5, "noise_multiplier": math.nan},
    ],
)
def test_private_scores_need_a_plan(plan):
    with pytest.raises(PrivacyError, match="planned scores and a noise multiplier above 0"):
        HeldOut(ledger_of(), "validation", **plan)


def test_the_plan_must_fit_the_budget():
    with pytest.raises(BudgetExceededError, match="Nothing was read"):
        HeldOut(ledger_of(), "validation", planned=500, noise_multiplier=5.0)


def test_what_was_planned_is_what_the_ledger_charges():
    ledger = ledger_of()
    held_out = HeldOut(ledger, "validation", **PLAN)
    (access,) = ledger.accesses
    assert (access.count, access.ladder) == (5, (100.0,))
    before = ledger.epsilon()
    held_out.publish(held_out.count(outcome))
    assert ledger.epsilon() == before > 0
    assert "5 Gaussian mechanism(s)" in ledger.words()[0]


def test_not_one_score_more_than_planned(tmp_path):
    held_out = HeldOut(ledger_of(), "validation", **PLAN)
    for _ in range(5):
        held_out.publish(held_out.count(outcome))
    with pytest.raises(PrivacyError, match="have been used"):
        held_out.publish(held_out.count(outcome))
    check_scores_are_limited(tmp_path)


def test_scores_of_an_earlier_run_count_once():
    held_out = HeldOut(ledger_of(), "validation", **PLAN)
    held_out.publish(held_out.count(outcome))
    held_out.already_published(1)
    held_out.already_published(4)
    held_out.publish(held_out.count(outcome))
    with pytest.raises(PrivacyError, match="have been used"):
        held_out.publish(held_out.count(outcome))


def test_noise_is_as_declared():
    ledger = ledger_of()
    held_out = HeldOut(ledger, "validation", planned=1, noise_multiplier=7.0)
    counts = Counts(sums=torch.zeros(200, 500, dtype=torch.float64))
    rates = held_out.publish(counts)
    # A record can move a score of 100,000 numbers by the root of that.
    std = 7.0 * math.sqrt(100_000)
    assert rates.noise == pytest.approx(std / 12)
    check_standard_normal(rates.values.flatten() * 12 / std)


@given(
    values=st.lists(
        st.sampled_from([0.0, 0.3, 1.0, 1e30, -5.0, math.nan, math.inf, -math.inf]),
        min_size=6,
        max_size=6,
    ),
    place=st.integers(0, 11),
)
def test_a_record_moves_a_score_by_at_most_the_root_of_its_length(values, place):
    """Even if the outcome of a record is no number between 0 and 1."""
    held_out = HeldOut(ledger_of(), "validation", **PLAN)

    def wild(x, y):
        found = outcome(x, y)
        found[place] = torch.tensor(values).reshape(2, 3)
        return found

    def without(x, y):
        found = outcome(x, y)
        found[place] = 0.0
        return found

    moved = held_out.count(wild).sums - held_out.count(without).sums
    assert moved.norm() <= math.sqrt(6) * (1 + 1e-12)


def test_outcomes_must_be_one_row_a_record():
    held_out = HeldOut(ledger_of(), "validation", **PLAN)
    with pytest.raises(ValueError, match=r"n=12, replicates, m"):
        held_out.count(lambda x, y: outcome(x, y)[:3])


def test_rates_hide_the_true_number_of_records():
    check_scores_hide_the_count()


def test_a_copy_in_another_process_counts_but_cannot_publish():
    held_out = HeldOut(ledger_of(), "validation", **PLAN)
    copied = pickle.loads(pickle.dumps(held_out))
    counts = copied.count(outcome)
    assert torch.equal(counts.sums, held_out.count(outcome).sums)
    with pytest.raises(PrivacyError, match="where the ledger is"):
        copied.publish(counts)
    assert held_out.publish(counts).records == 12


def test_records_arrive_in_the_unit_interval():
    ledger = Ledger(Budget(epsilon=4.0))
    data = toy()
    ledger.own("validation", data, public=True)
    held_out = HeldOut(ledger, "validation")
    seen = []
    held_out.count(lambda x, y: (seen.append(x), all_right(x, y))[1])
    assert torch.equal(seen[0], part(unseal(data), slice(None)).x)


def test_only_public_records_are_handed_out():
    x, y = HeldOut(ledger_of(public=True), "validation").examine(5)
    records = unseal(toy())
    assert torch.equal(x, records.x[:5])
    assert torch.equal(y, records.y[:5])
    with pytest.raises(PrivacyError, match="counted, not handed out"):
        HeldOut(ledger_of(), "validation", **PLAN).examine(5)
