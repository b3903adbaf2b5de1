"""Epsilon: the exact formula as oracle of opacus' bound, golden values, monotonicity."""

from __future__ import annotations

import inspect
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from moc.errors import PrivacyError
from moc.evidence import accountant
from moc.evidence.accountant import (
    Gaussian,
    epsilon,
    exact_epsilon,
    exact_noise_multiplier,
    least_epsilon,
    noise_multiplier,
    sampled_noise_multiplier,
)

GOLDEN = {1.0: 3.7306, 2.0: 1.9938, 4.0: 1.0812, 8.0: 0.6002, 10.0: 0.4999}


def one(sigma, count=1):
    return [Gaussian(noise_multiplier=sigma, count=count)]


@pytest.mark.parametrize("target", GOLDEN)
def test_golden_noise_multipliers(target):
    assert exact_noise_multiplier(target, delta=1e-5) == pytest.approx(GOLDEN[target], rel=1e-4)
    claimed = noise_multiplier(target, delta=1e-5)
    assert GOLDEN[target] * (1 - 1e-4) < claimed < GOLDEN[target] * 1.002


@given(
    target=st.floats(0.05, 30),
    delta=st.sampled_from([1e-3, 1e-5, 1e-7, 1e-9]),
    count=st.integers(1, 50),
)
def test_the_exact_value_is_where_the_hockey_stick_meets_delta(target, delta, count):
    sigma = exact_noise_multiplier(target, delta=delta)
    # The divergence between N(0, 1) and N(mu, 1), written from its definition.
    mu = 1 / sigma
    edge = target / mu + mu / 2
    assert norm.sf(edge - mu) - math.exp(target) * norm.sf(edge) == pytest.approx(delta, rel=1e-6)
    assert exact_epsilon(one(sigma), delta=delta) == pytest.approx(target, rel=1e-6)
    # Many uses of more noise are one use of less: mu adds in squares.
    many = one(sigma * math.sqrt(count), count)
    assert exact_epsilon(many, delta=delta) == pytest.approx(target, rel=1e-6)


@settings(max_examples=25)
@given(sigma=st.floats(0.45, 12), count=st.integers(1, 40), delta=st.sampled_from([1e-5, 1e-6]))
def test_opacus_is_within_two_percent_and_never_below(sigma, count, delta):
    used = one(sigma * math.sqrt(count), count)
    exact, claimed = exact_epsilon(used, delta=delta), epsilon(used, delta=delta)
    assert exact <= claimed <= 1.02 * exact + 1e-3


def test_a_mixture_is_within_two_percent_too():
    used = one(4.0) + one(2.0, 3) + one(30.0, 100)
    exact, claimed = exact_epsilon(used, delta=1e-5), epsilon(used, delta=1e-5)
    assert exact <= claimed <= 1.02 * exact


@settings(max_examples=6)
@given(target=st.floats(0.3, 12), delta=st.sampled_from([1e-5, 1e-6]))
def test_calibration_never_exceeds_its_target_and_wastes_little(target, delta):
    sigma = noise_multiplier(target, delta=delta)
    assert target * 0.985 - 1e-3 < epsilon(one(sigma), delta=delta) <= target


def test_more_of_anything_costs_more():
    def cost(sigma=2.0, count=1, delta=1e-5, others=()):
        return epsilon([*one(sigma, count), *others], delta=delta)

    assert cost(sigma=1.9) > cost() > cost(sigma=2.1)
    assert cost(count=2) > cost()
    assert cost(delta=1e-6) > cost() > cost(delta=1e-4)
    assert cost(others=one(10.0)) > cost()
    sigmas = [noise_multiplier(eps, delta=1e-5) for eps in (0.5, 1, 2, 4, 8)]
    assert sigmas == sorted(sigmas, reverse=True)


def test_the_ends_of_the_scale():
    assert epsilon([], delta=1e-5) == 0.0
    assert epsilon(one(1.0, 0), delta=1e-5) == 0.0
    assert epsilon(one(0.0), delta=1e-5) == math.inf
    assert epsilon(one(3.0) + one(0.0), delta=1e-5) == math.inf


@pytest.mark.parametrize(
    "arguments",
    [
        {"noise_multiplier": -1.0},
        {"noise_multiplier": math.nan},
        {"noise_multiplier": 1.0, "count": -1},
    ],
)
def test_what_would_be_charged_too_little_is_refused(arguments):
    with pytest.raises(PrivacyError, match="at least 0"):
        Gaussian(**arguments)


@pytest.mark.parametrize(
    ("target", "delta"), [(0, 1e-5), (math.inf, 1e-5), (math.nan, 1e-5), (1, 0), (1, 1)]
)
def test_impossible_targets_are_refused(target, delta):
    with pytest.raises(PrivacyError, match="finite epsilon above 0"):
        noise_multiplier(target, delta=delta)


def test_the_gdp_accountant_cannot_be_chosen():
    source = inspect.getsource(accountant)
    assert "GaussianAccountant" not in source
    assert "create_accountant" not in source
    assert '"gdp"' not in source
    assert all(
        "accountant" not in inspect.signature(f).parameters for f in (epsilon, noise_multiplier)
    )


def sampled(sigma, rate, count):
    return Gaussian(noise_multiplier=sigma, sample_rate=rate, count=count)


def opacus_prv(history, delta=1e-5, eps_error=1e-3):
    from opacus.accountants import PRVAccountant

    prv = PRVAccountant()
    prv.history = history
    return prv.get_epsilon(delta, eps_error=eps_error)


@pytest.mark.parametrize(("sigma", "rate", "count"), [(1.26, 1 / 120, 1000), (2.0, 0.25, 60)])
def test_samples_cost_what_opacus_says(sigma, rate, count):
    assert epsilon([sampled(sigma, rate, count)], delta=1e-5) == opacus_prv([(sigma, rate, count)])


def test_golden_noise_multipliers_of_samples():
    """At delta 1e-5 and 1,000 steps: by PLD, and by opacus' calibration with tolerance 0.01."""
    cost = {s: epsilon([sampled(s, 1 / 120, 1000)], delta=1e-5) for s in (1.246, 1.26, 0.886)}
    assert cost[1.246] == pytest.approx(1.0, rel=5e-3)
    assert 0.98 < cost[1.26] < 1.0
    assert 1.98 < cost[0.886] < 2.0


@settings(max_examples=3)
@given(target=st.floats(0.5, 6), rate=st.floats(0.02, 0.5), count=st.integers(1, 20))
def test_calibration_of_samples_never_exceeds_its_target_and_wastes_little(target, rate, count):
    sigma = sampled_noise_multiplier(target, delta=1e-5, sample_rate=rate, count=count)
    assert target * 0.998 < epsilon([sampled(sigma, rate, count)], delta=1e-5) <= target


@pytest.mark.parametrize(("sigma", "least"), [(1.191, 1.07), (0.809, 2.5)])
def test_what_the_gdp_accountant_would_underreport_is_charged_in_full(sigma, least):
    """Calibrated by the GDP accountant for 1 and 2; 1.08 and 2.54 in truth."""
    assert least < epsilon([sampled(sigma, 1 / 120, 1000)], delta=1e-5) < least * 1.03


@given(sigma=st.floats(1.0, 12), count=st.integers(1, 40))
def test_at_rate_one_a_sample_is_all_records(sigma, count):
    assert sampled(sigma, 1.0, count) == one(sigma, count)[0]


@settings(max_examples=5)
@given(
    sigma=st.floats(1.5, 12),
    count=st.integers(1, 15),
    rate=st.floats(0.01, 0.95),
    others=st.sampled_from([(), (4.0,), (4.0, 9.0)]),
)
def test_samples_cost_less_than_all_records_and_more_steps_more(sigma, count, rate, others):
    beside = [Gaussian(noise_multiplier=noise) for noise in others]

    def cost(sigma=sigma, rate=rate, count=count):
        return epsilon([sampled(sigma, rate, count), *beside], delta=1e-5)

    slack = 3e-3  # what the accountant may add to one bound and not to another
    assert least_epsilon(beside, delta=1e-5) <= cost() <= cost(rate=1.0) * 1.02 + slack
    assert cost(sigma=sigma * 1.2) <= cost() + slack
    assert cost(rate=rate * 0.8) <= cost() + slack
    assert cost(count=count + 5) >= cost() - slack


def test_how_a_composition_is_told_makes_no_difference():
    told = [sampled(2.0, 0.1, 30), *one(6.0), sampled(2.0, 0.1, 20), *one(8.0, 2)]
    cost = epsilon(told, delta=1e-5)
    assert epsilon(told[::-1], delta=1e-5) == cost
    by_hand = opacus_prv([(2.0, 0.1, 30), (6.0, 1.0, 1), (2.0, 0.1, 20), (8.0, 1.0, 2)])
    assert cost == pytest.approx(by_hand, abs=1e-3)
    together = Gaussian(noise_multiplier=(6.0**-2 + 2 * 8.0**-2) ** -0.5)
    assert epsilon([sampled(2.0, 0.1, 50), together], delta=1e-5) == pytest.approx(cost, abs=1e-6)


def test_shares_of_a_calibrated_release_never_exceed_its_target():
    training = (sampled(4.0, 0.2, 50),)
    for beside in ((), training):
        sigma = noise_multiplier(2.0, delta=1e-5, beside=beside)
        for share in (0.1, 0.3, 0.5):
            parts = one(sigma / math.sqrt(share)) + one(sigma / math.sqrt(1 - share))
            cost = epsilon([*parts, *beside], delta=1e-5)
            assert 2.0 * 0.995 < cost <= 2.0


def test_what_goes_beside_leaves_less_for_a_release():
    little, much = (sampled(9.0, 0.2, 10),), (sampled(2.2, 0.2, 10),)
    alone = noise_multiplier(2.0, delta=1e-5)
    assert alone < noise_multiplier(2.0, delta=1e-5, beside=little)
    assert alone * 1.1 < noise_multiplier(2.0, delta=1e-5, beside=much)
    with pytest.raises(PrivacyError, match="nothing is left"):
        noise_multiplier(2.0, delta=1e-5, beside=(sampled(0.5, 0.2, 10),))


def test_the_least_that_a_mixture_costs():
    mixed = [*one(4.0), sampled(2.0, 0.1, 30)]
    assert least_epsilon(mixed, delta=1e-5) == exact_epsilon(one(4.0), delta=1e-5)
    assert least_epsilon(mixed, delta=1e-5) < epsilon(mixed, delta=1e-5)
    assert least_epsilon([*mixed, sampled(0.0, 0.1, 1)], delta=1e-5) == math.inf
    assert epsilon([sampled(0.0, 0.1, 1)], delta=1e-5) == math.inf
    with pytest.raises(PrivacyError, match="No exact epsilon"):
        exact_epsilon(mixed, delta=1e-5)


def test_noise_too_small_for_the_accountant_is_charged_by_its_upper_bound():
    costs = [epsilon([sampled(s, 0.5, 1000)], delta=1e-5) for s in (0.05, 0.3)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > 1e5
    assert costs[1] > 1e3


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, math.nan])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(PrivacyError, match=r"sample rate in \(0, 1\]"):
        sampled(1.0, rate, 1)
