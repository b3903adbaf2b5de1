"""The one-run bound: the authors' numbers, and coins biased by a known epsilon."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moc.audit.one_run_bound import epsilon_lower


@pytest.mark.parametrize(
    ("right", "guesses", "coins", "delta", "golden"),
    [(75, 100, 100, 0.0, 0.702), (75, 100, 1000, 1e-4, 0.673), (1439, 1510, 10**5, 1e-5, 2.676)],
)
def test_golden_values(right, guesses, coins, delta, golden):
    found = epsilon_lower(right, guesses, coins, delta=delta, beta=0.05)
    assert found == pytest.approx(golden, abs=2e-3)


def test_guessing_establishes_nothing():
    assert epsilon_lower(0, 10, 10, delta=0, beta=0.05) == 0.0
    assert epsilon_lower(50, 100, 100, delta=1e-5, beta=0.05) == 0.0
    # Three right guesses of three come by chance once in eight times.
    assert epsilon_lower(3, 3, 3, delta=0, beta=0.1) == 0.0
    assert epsilon_lower(3, 3, 3, delta=0, beta=0.2) > 0.0


def test_all_right_is_bounded_by_their_number():
    found = epsilon_lower(100, 100, 100, delta=0, beta=0.05)
    q = 0.05 ** (1 / 100)
    assert found == pytest.approx(math.log(q / (1 - q)))


@given(
    right=st.integers(1, 60),
    more=st.integers(0, 60),
    delta=st.sampled_from([0.0, 1e-5, 1e-3]),
    beta=st.sampled_from([0.05, 1e-3]),
)
def test_more_evidence_gives_more(right, more, delta, beta):
    guesses = right + more
    bound = epsilon_lower(right, guesses, 500, delta=delta, beta=beta)
    assert bound <= epsilon_lower(right + 1, guesses + 1, 500, delta=delta, beta=beta) + 1e-9
    assert bound >= epsilon_lower(right, guesses + 1, 500, delta=delta, beta=beta) - 1e-9
    assert bound <= epsilon_lower(right, guesses, 500, delta=delta / 2, beta=beta) + 1e-9
    assert bound >= epsilon_lower(right, guesses, 500, delta=delta, beta=beta / 2) - 1e-9


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_the_bound_on_randomised_response_holds_as_often_as_it_says(epsilon):
    """Each coin shown with its bias at `epsilon`: the worst mechanism that there is."""
    guesses, beta = 500, 0.05
    right = np.random.default_rng(0).binomial(guesses, 1 / (1 + math.exp(-epsilon)), 400)
    bounds = [epsilon_lower(int(v), guesses, guesses, delta=0, beta=beta) for v in right]
    assert np.mean(np.array(bounds) > epsilon) < 2 * beta
    assert np.median(bounds) > 0.6 * epsilon
