"""Scores on held-out records: free if public, otherwise counted, paid for and noisy."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from privacy.gates import check_standard_normal
from privacy.private_tools import all_right, part, toy

from moc.data.vault import unseal
from moc.errors import BudgetExceededError, PrivacyError
from moc.privacy.access import Budget
from moc.privacy.held_out import Counts, HeldOut, reference_records
from moc.privacy.ledger import Ledger
from moc.privacy.sums import GRID

PLAN = {"planned": 5, "noise_multiplier": 100.0}
BOUND = math.sqrt(6)  # of two replicates by three measures: nothing is ever scaled down


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
        rates = held_out.publish(held_out.count(outcome, bound=BOUND))
        assert torch.allclose(rates.values, expected, atol=1e-7)
        assert (rates.noise, rates.records) == (0.0, 12)
    assert held_out.public
    assert not held_out.per_record
    assert ledger.epsilon() == (0.0 if public else math.inf)


@pytest.mark.parametrize("bound", [BOUND, 0.5])
@pytest.mark.parametrize("budget", [4.0, None], ids=["private", "open"])
def test_sets_that_are_counted_together_are_counted_each_by_itself(budget, bound):
    """No set's share of a record's bound depends on another set, nor do their sums."""
    held_out = HeldOut(ledger_of(budget=budget), "validation", **(PLAN if budget else {}))

    def several(x, y):
        own = outcome(x, y)
        return torch.stack([own, 7 * own, torch.zeros_like(own)], dim=1)

    first, second, third = held_out.count_each(several, bound=bound)
    for found, scale in ((first, 1), (second, 7), (third, 0)):
        alone = held_out.count(lambda x, y, scale=scale: scale * outcome(x, y), bound=bound)
        torch.testing.assert_close(found._sums, alone._sums, rtol=1e-12, atol=0)
        assert found.bound == alone.bound == bound
    assert not third._sums.any()


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
    held_out.publish(held_out.count(outcome, bound=BOUND))
    assert ledger.epsilon() == before > 0
    assert "5 Gaussian mechanism(s)" in ledger.describe()[0]


def test_not_one_score_more_than_planned():
    held_out = HeldOut(ledger_of(), "validation", **PLAN)
    for _ in range(5):
        held_out.publish(held_out.count(outcome, bound=BOUND))
    with pytest.raises(PrivacyError, match="have been used"):
        held_out.publish(held_out.count(outcome, bound=BOUND))


def test_scores_of_an_earlier_run_count_once():
    held_out = HeldOut(ledger_of(), "validation", **PLAN)
    held_out.publish(held_out.count(outcome, bound=BOUND))
    held_out.already_published(1)
    held_out.already_published(4)
    held_out.publish(held_out.count(outcome, bound=BOUND))
    with pytest.raises(PrivacyError, match="have been used"):
        held_out.publish(held_out.count(outcome, bound=BOUND))


@pytest.mark.parametrize("bound", [0.25, 1.0, 300.0])
def test_noise_is_as_declared(bound):
    held_out = HeldOut(ledger_of(), "validation", planned=1, noise_multiplier=7.0)
    counts = Counts(_sums=torch.zeros(200, 500, dtype=torch.float64), bound=bound)
    rates = held_out.publish(counts)
    assert rates.noise == pytest.approx(7.0 * bound / 12)
    check_standard_normal(rates.values.flatten() * 12 / (7.0 * bound))


@given(
    values=st.lists(
        st.sampled_from([0.0, 0.3, 1.0, 1e30, -5.0, math.nan, math.inf, -math.inf]),
        min_size=6,
        max_size=6,
    ),
    place=st.integers(0, 11),
    bound=st.sampled_from([1e-3, 0.5, 1.0, 2.0, BOUND, 100.0]),
)
def test_a_record_moves_a_score_by_at_most_what_was_declared(values, place, bound):
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

    moved = held_out.count(wild, bound=bound)._sums - held_out.count(without, bound=bound)._sums
    assert moved.norm() <= min(bound, BOUND) * (1 + 1e-12)


def test_only_records_over_the_bound_are_scaled_and_public_ones_likewise():
    held_out = HeldOut(ledger_of(public=True), "validation")

    def uneven(x, y):
        values = torch.full((len(y), 1, 2), 0.1)
        values[0] = torch.tensor([0.6, 0.8])
        return values

    counts = held_out.count(uneven, bound=0.5)
    assert counts._sums.flatten().tolist() == pytest.approx([1.1 + 0.3, 1.1 + 0.4])


@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan, math.inf])
def test_a_bound_that_bounds_nothing_is_refused(bound):
    for public in (True, False):
        held_out = HeldOut(ledger_of(public=public), "validation", **PLAN)
        with pytest.raises(ValueError, match="positive, finite bound"):
            held_out.count(outcome, bound=bound)


def test_outcomes_must_be_one_row_a_record():
    held_out = HeldOut(ledger_of(), "validation", **PLAN)
    with pytest.raises(ValueError, match="a row for each record"):
        held_out.count(lambda x, y: outcome(x, y)[:3], bound=BOUND)


def test_a_copy_in_another_process_counts_but_cannot_publish():
    held_out = HeldOut(ledger_of(), "validation", **PLAN)
    copied = pickle.loads(pickle.dumps(held_out))
    counts = copied.count(outcome, bound=BOUND)
    assert torch.equal(counts._sums, held_out.count(outcome, bound=BOUND)._sums)
    with pytest.raises(PrivacyError, match="where the ledger is"):
        copied.publish(counts)
    assert held_out.publish(counts).records == 12


def test_records_arrive_in_the_unit_interval():
    ledger = Ledger(Budget(epsilon=4.0))
    data = toy()
    ledger.own("validation", data, public=True)
    held_out = HeldOut(ledger, "validation")
    seen = []
    held_out.count(lambda x, y: (seen.append(x), all_right(x, y))[1], bound=1.0)
    assert torch.equal(seen[0], part(unseal(data), slice(None)).x)


def test_only_public_records_are_handed_out():
    x, y = HeldOut(ledger_of(public=True), "validation").examine(5)
    records = unseal(toy())
    assert torch.equal(x, records.x[:5])
    assert torch.equal(y, records.y[:5])
    with pytest.raises(PrivacyError, match="counted, not handed out"):
        HeldOut(ledger_of(), "validation", **PLAN).examine(5)


def test_the_first_records_alone_are_for_public_ones():
    whole = HeldOut(ledger_of(public=True), "validation")
    few = whole.first(5)
    assert (len(few), len(whole)) == (5, 12)
    counts = few.count(outcome, bound=BOUND)
    records = part(unseal(toy()), slice(0, 5))
    assert torch.allclose(counts._sums, outcome(records.x, records.y).double().sum(0), atol=1e-6)
    with pytest.raises(PrivacyError, match="paid for with all of them"):
        HeldOut(ledger_of(), "validation", **PLAN).first(5)


def test_baselines_of_real_images_need_public_records():
    x, y = reference_records(ledger_of(public=True), "validation")
    records = unseal(toy())
    assert torch.equal(x, records.x)
    assert torch.equal(y, records.y)
    with pytest.raises(PrivacyError, match="without noise"):
        reference_records(ledger_of(), "validation")


def test_counts_say_nothing_to_whoever_holds_them():
    counts = HeldOut(ledger_of(), "validation", **PLAN).count(outcome, bound=BOUND)
    assert repr(counts) == f"Counts(bound={BOUND})"
    public = [getattr(counts, name) for name in dir(counts) if not name.startswith("_")]
    assert not any(isinstance(value, torch.Tensor) for value in public)


@pytest.mark.parametrize("bound", [0.3, 1.0, BOUND])
def test_paid_scores_of_the_hardened_tier_stay_on_the_grid(bound):
    ledger = ledger_of()
    held_out = HeldOut(ledger, "validation", tier="hardened", **PLAN)
    counts = held_out.count(outcome, bound=bound)
    rates = held_out.publish(counts)
    for steps in (counts._sums * GRID, rates.values * len(held_out) * GRID):
        assert torch.allclose(steps, steps.round(), rtol=0, atol=1e-3)
    assert torch.equal(counts._sums * GRID, (counts._sums * GRID).round())
    assert rates.noise == pytest.approx(100.0 * bound / 12)
    assert "discrete Gaussian noise on the integer grid" in ledger.accesses[0].purpose
