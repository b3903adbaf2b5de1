"""Epsilon: the exact formula as oracle of opacus' bound, golden values, monotonicity."""

from __future__ import annotations

import inspect
import math
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from moc.errors import PrivacyError
from moc.privacy import accountant
from moc.privacy.accountant import (
    Gaussian,
    epsilon,
    exact_epsilon,
    exact_noise_multiplier,
    noise_multiplier,
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
    with pytest.raises(PrivacyError, match=r"epsilon from 0.01 to 10000 and a delta from 1e-12"):
        noise_multiplier(target, delta=delta)


def test_the_gdp_accountant_cannot_be_chosen():
    source = inspect.getsource(accountant)
    assert "GaussianAccountant" not in source
    assert "create_accountant" not in source
    assert '"gdp"' not in source
    assert all(
        "accountant" not in inspect.signature(f).parameters for f in (epsilon, noise_multiplier)
    )


def opacus_prv(history, delta=1e-5, eps_error=1e-3):
    from opacus.accountants import PRVAccountant

    prv = PRVAccountant()
    prv.history = history
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return prv.get_epsilon(delta, eps_error=eps_error)


def test_how_a_composition_is_described_makes_no_difference():
    described = [*one(2.0), *one(6.0), *one(8.0, 2)]
    cost = epsilon(described, delta=1e-5)
    assert epsilon(described[::-1], delta=1e-5) == cost
    by_hand = opacus_prv([(2.0, 1.0, 1), (6.0, 1.0, 1), (8.0, 1.0, 2)])
    assert cost == pytest.approx(by_hand, abs=2e-3)
    together = one((2.0**-2 + 6.0**-2 + 2 * 8.0**-2) ** -0.5)
    assert epsilon(together, delta=1e-5) == pytest.approx(cost, abs=1e-9)


@given(shares=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6))
def test_shares_of_a_calibrated_release_never_exceed_its_target(shares):
    """However a budget is divided, the parts cost what the whole does: to the last digit."""
    sigma = noise_multiplier(2.0, delta=1e-5)
    parts = [Gaussian(noise_multiplier=sigma / math.sqrt(s / sum(shares))) for s in shares]
    assert 2.0 * 0.995 < epsilon(parts, delta=1e-5) <= 2.0


@pytest.mark.parametrize(("sigma", "least"), [(0.05, 200), (0.01, 5000)])
def test_noise_too_small_for_the_accountant_is_charged_by_its_upper_bound(sigma, least):
    exact = exact_epsilon(one(sigma), delta=1e-5)
    assert least < exact <= epsilon(one(sigma), delta=1e-5) < 2 * exact


def test_a_calibration_is_computed_once():
    noise_multiplier(2.0, delta=1e-5)
    before = accountant._prv_epsilon.cache_info().misses
    noise_multiplier(2.0, delta=1e-5)
    epsilon(one(noise_multiplier(2.0, delta=1e-5)), delta=1e-5)
    assert accountant._prv_epsilon.cache_info().misses == before
