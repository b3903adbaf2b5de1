"""The rules against pymoo where pymoo works, and the suggestions against the limits."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from fake_study import MORE, fake_study, nondominated
from hypothesis import given, settings
from hypothesis import strategies as st

from moc.errors import PolicyError
from moc.evaluate.scores import Estimate
from moc.policy.rules import (
    compromise,
    normalise,
    preferred,
    pseudo_weights,
    suggest,
    trade_offs,
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return fake_study(tmp_path_factory.mktemp("study"), trials=24)


@pytest.fixture(scope="module")
def open_study(tmp_path_factory):
    return fake_study(tmp_path_factory.mktemp("open"), private=False)


def with_front(study, rows, *, se=0.01):
    """The study with its first trials scored as `rows`, all of them on the front."""
    trials = tuple(
        replace(
            study.trials[k],
            rung=replace(study.trials[k].rung, epsilon=eps),
            epsilon=eps,
            scores={
                "error": Estimate(mean=e, se=se),
                "robust_error": Estimate(mean=r, se=se),
                "epsilon": Estimate(mean=eps),
            },
        )
        for k, (e, r, eps) in enumerate(rows)
    )
    return replace(study, trials=trials, front=tuple(range(len(rows))))


@st.composite
def fronts(draw):
    """Two to thirty mutually non-dominated rows of three objectives of unlike scale."""
    seed, rows = draw(st.integers(0, 10_000)), draw(st.integers(2, 60))
    values = np.random.default_rng(seed).uniform(size=(rows, 3)) * (1.0, 5.0, 0.1)
    return values[nondominated(values)]


@given(fronts(), st.integers(0, 10_000))
@settings(deadline=None, max_examples=60)
def test_pseudo_weights_agree_with_pymoo(values, seed):
    from pymoo.mcdm.pseudo_weights import PseudoWeights

    weights = np.random.default_rng(seed).dirichlet(np.ones(3))
    z = normalise(values)
    if len(values) < 2 or (np.ptp(values, axis=0) == 0).any():
        assert np.isfinite(pseudo_weights(z)).all()
        return
    chosen, theirs = PseudoWeights(weights).do(values, return_pseudo_weights=True)
    np.testing.assert_allclose(pseudo_weights(z), theirs, atol=1e-12)
    assert preferred(z, weights) == chosen


@given(fronts())
@settings(deadline=None, max_examples=60)
def test_trade_offs_match_a_loop_over_all_moves(values):
    z = normalise(values)
    for i, ours in enumerate(trade_offs(z)):
        moves = [
            np.maximum(z[j] - z[i], 0).sum() / np.maximum(z[i] - z[j], 0).sum()
            for j in range(len(z))
            if (z[j] < z[i]).any()
        ]
        assert ours == pytest.approx(min(moves, default=math.inf))


@given(fronts(), st.tuples(*[st.floats(0.01, 100)] * 3), st.permutations(range(3)))
@settings(deadline=None, max_examples=60)
def test_rules_ignore_units_and_the_order_of_objectives(values, scales, order):
    z, other = normalise(values), normalise((values * scales + 1.0)[:, order])
    np.testing.assert_allclose(z[:, order], other, atol=1e-6)
    assert z[compromise(z)].max() == pytest.approx(z[compromise(other)].max(), abs=1e-6)


def test_the_knee_is_found_and_pymoo_agrees():
    from pymoo.mcdm.high_tradeoff import HighTradeoffPoints

    t = np.linspace(0, 1, 21)
    values = np.column_stack([t, (1 - t) ** 8])
    values[5] = (0.25, 0.01)  # far below the curve: leaving it costs much whichever way
    with np.errstate(invalid="ignore"):
        theirs = HighTradeoffPoints().do(values)
    ours = int(trade_offs(normalise(values)).argmax())
    assert ours == 5
    assert ours in np.atleast_1d(theirs)


def test_compromise_takes_the_middle_of_a_line():
    z = np.array([[0.0, 1.0], [0.5, 0.5], [0.9, 0.1], [1.0, 0.0]])
    assert compromise(z) == 1


def test_a_constant_objective_does_not_disturb_the_others():
    values = np.array([[1.0, 0.0, 7.0], [0.5, 0.4, 7.0], [0.0, 1.0, 7.0]])
    z = normalise(values)
    assert (z[:, 2] == 0).all()
    assert compromise(z) == 1
    assert np.isfinite(pseudo_weights(z)).all()


@pytest.mark.parametrize("prefer", ["balanced", "error", "robust_error", "epsilon"])
@pytest.mark.parametrize("limits", [{}, {"epsilon": 4, "error": 0.4}], ids=str)
def test_suggestions_are_different_trials_of_the_front_within_the_limits(study, limits, prefer):
    found = suggest(study, limits, prefer)
    numbers = [suggestion.trial.number for suggestion in found]
    assert 1 <= len(found) <= 3
    assert len(set(numbers)) == len(numbers)
    assert set(numbers) <= set(study.front)
    for suggestion in found:
        assert all(suggestion.trial.scores[k].mean <= most for k, most in limits.items())
        assert suggestion.reason.endswith(".")
        assert suggestion.next_step.endswith(".")


@pytest.mark.parametrize("prefer", ["error", "robust_error", "epsilon"])
def test_a_preferred_objective_comes_first_and_is_lowest(study, prefer):
    best = suggest(study, {}, prefer)[0].trial.scores[prefer].mean
    assert best == min(study.trial(n).scores[prefer].mean for n in study.front)


def test_a_trial_off_the_front_is_never_suggested(study):
    best = study.front[0]
    assert suggest(study, {}, "error")[0].trial.number == best
    without = replace(study, front=study.front[1:])
    assert all(s.trial.number != best for s in suggest(without, {}, "error"))


def test_validation_scores_decide_and_test_scores_do_not(study):
    worse = {name: Estimate(mean=1.0) for name in study.objectives}
    spoiled = replace(study, trials=tuple(replace(t, report=worse) for t in study.trials))
    names = [[s.trial.name for s in suggest(x, {"error": 0.4})] for x in (study, spoiled)]
    assert names[0] == names[1]


def test_the_next_step_says_gain_and_price(study):
    priced = with_front(study, [(0.20, 0.50, 8.0), (0.221, 0.50, 4.0)])
    (first, *_) = suggest(priced, {}, "error")
    assert first.next_step == (
        "Going to trial-001 lowers epsilon from 8 to 4, and costs 2.1 ± 1.4 points of clean error."
    )


def test_no_next_step_is_made_of_noise(study):
    noisy = with_front(study, [(0.20, 0.51, 8.0), (0.21, 0.50, 8.0)], se=0.05)
    assert "No other trial" in suggest(noisy, {})[0].next_step


def test_a_front_of_one_trial_is_suggested_once(study):
    (only,) = suggest(with_front(study, [(0.2, 0.5, 8.0)]), {})
    assert only.trial.number == 0
    assert "lowest clean error" in only.reason


def test_an_unreachable_limit_names_the_closest_trial_and_its_miss(study):
    two = with_front(study, [(0.20, 0.50, 8.0), (0.33, 0.40, 2.0)])
    with pytest.raises(PolicyError, match=r"trial-001: its clean error is 33 %, 3 points above"):
        suggest(two, {"error": 0.3, "epsilon": 2.0})
    with pytest.raises(PolicyError, match=r"more trials\.$"):
        suggest(two, {"error": 0.3, "epsilon": 2.0})
    with pytest.raises(PolicyError, match=r"robust error is 40 %, .*training is attacked"):
        suggest(two, {"robust_error": 0.3})


def test_a_limit_on_epsilon_is_exact(study):
    """Calibrated rungs lie below what was asked for, so nothing above a limit is let pass."""
    off = with_front(study, [(0.2, 0.5, 3.99987), (0.19, 0.4, 4.0004), (0.1, 0.4, 8.0)])
    found = suggest(off, {"epsilon": 4.0})
    assert [s.trial.number for s in found] == [0]
    assert found[0].compared == 3.99987


def test_a_choice_costs_the_largest_epsilon_it_was_compared_with_dominated_ones_too(study):
    rows = with_front(study, [(0.20, 0.50, 2.0), (0.30, 0.60, 8.0), (0.25, 0.55, 4.0)])
    alone = replace(rows, trials=rows.trials[:3], front=(0,))
    assert suggest(alone, {})[0].compared == 8.0
    assert suggest(alone, {"epsilon": 4.0})[0].compared == 4.0
    assert suggest(alone, {"epsilon": 2.0})[0].compared == 2.0


def test_sets_above_the_limit_on_epsilon_have_no_part_in_the_choice(study):
    low = [(0.30, 0.60, 2.0), (0.25, 0.70, 2.0), (0.20, 0.80, 4.0)]
    for high in ([(0.10, 0.50, 8.0)], [(0.02, 0.95, 8.0)], [(0.19, 0.05, 8.0), (0.01, 0.9, 8.0)]):
        chosen = suggest(with_front(study, low + high), {"epsilon": 4.0})
        alone = suggest(with_front(study, low), {})
        assert [s.trial.scores for s in chosen] == [s.trial.scores for s in alone]
        assert {s.compared for s in chosen} == {4.0}


def test_an_open_study_knows_no_epsilon(open_study):
    assert "epsilon" not in " ".join(
        s.reason + s.next_step for s in suggest(open_study, {"error": 0.4})
    )
    with pytest.raises(PolicyError, match="open"):
        suggest(open_study, {"epsilon": 8})
    with pytest.raises(PolicyError, match="open"):
        suggest(open_study, {}, "epsilon")


def test_a_study_without_trials_says_so(tmp_path):
    with pytest.raises(PolicyError, match="no finished trial"):
        suggest(fake_study(tmp_path, trials=0), {})


@pytest.mark.parametrize("bad", [{"error": 30}, {"robust_error": -0.1}, {"epsilon": 0.0}])
def test_limits_out_of_range_are_refused(study, bad):
    with pytest.raises(PolicyError, match="found"):
        suggest(study, bad)


def test_only_objectives_of_the_study_can_be_limited_or_preferred(study):
    with pytest.raises(PolicyError, match="error, robust_error, epsilon; found 'beauty'"):
        suggest(study, {"beauty": 0.5})
    with pytest.raises(PolicyError, match="found 'beauty'"):
        suggest(study, {}, "beauty")


def test_a_policy_may_limit_and_prefer_any_objective_that_the_study_has(tmp_path):
    study = fake_study(tmp_path, more=MORE)
    limits = {"worst_class_error": 0.6, "stored_bytes": 8000.0}
    for prefer in study.objectives:
        found = suggest(study, limits, prefer)
        assert all(s.trial.scores["worst_class_error"].mean <= 0.6 for s in found)
        assert f"lowest {study.objectives[prefer].words}" in found[0].reason.lower()
    with pytest.raises(PolicyError, match=r"stored size is 7.68 kB, 6.68 kB above the limit"):
        suggest(study, {"stored_bytes": 1000.0})
