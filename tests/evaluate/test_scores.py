from __future__ import annotations

import math
from statistics import fmean, stdev

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moc.evaluate.measure import error_estimate
from moc.evaluate.scores import Estimate, error_of_difference
from moc.privacy.held_out import Rates

NOISE, RECORDS = 0.004, 500


def estimated(rates):
    """The estimate of an error from the rates of right answers of each network."""
    column = torch.tensor(rates, dtype=torch.float64)[:, None]
    return error_estimate(Rates(values=column, noise=NOISE, records=RECORDS))


def pairs(count):
    return st.lists(st.floats(0, 1), min_size=count, max_size=count)


two_sets = st.integers(2, 5).flatmap(lambda count: st.tuples(pairs(count), pairs(count)))


@given(two_sets)
def test_a_paired_error_is_less_than_squares_where_networks_agree_and_more_where_they_do_not(sets):
    one, other = map(estimated, sets)
    squares, found = math.hypot(one.se, other.se), error_of_difference(one, other)
    together = np.cov(*sets)[0, 1]
    if together > 1e-9:
        assert found < squares
    elif together < -1e-9:
        assert found > squares
    assert found == error_of_difference(other, one)


@given(two_sets)
def test_a_paired_error_is_that_of_the_differences_and_of_the_records(sets):
    one, other = map(estimated, sets)
    count = len(sets[0])
    rest = [
        estimate.se**2 - np.var(rates, ddof=1) / count
        for estimate, rates in zip((one, other), sets, strict=True)
    ]
    differences = np.subtract(*sets)
    expected = np.var(differences, ddof=1) / count + sum(rest)
    assert error_of_difference(one, other) ** 2 == pytest.approx(expected, abs=1e-12)


@given(pairs(3))
def test_of_a_set_with_itself_the_records_alone_are_left(rates):
    one = estimated(rates)
    records = 2 * (one.se**2 - np.var(rates, ddof=1) / 3)
    assert error_of_difference(one, one) ** 2 == pytest.approx(records, abs=1e-12)


@pytest.mark.parametrize("others", [(), (0.2,), (0.1, 0.2)])
def test_what_cannot_be_paired_is_added_in_squares(others):
    one = Estimate(mean=0.2, se=0.03, replicates=(0.1, 0.2, 0.3))
    other = Estimate(mean=0.2, se=0.04, replicates=others)
    assert error_of_difference(one, other) == pytest.approx(0.05)
    assert error_of_difference(Estimate(mean=0.1), Estimate(mean=0.3)) == 0


def test_paired_variances_are_right_on_average():
    """Sets meet the same networks, whose common luck is most of the spread."""
    rng, squares, paired, differences = np.random.default_rng(0), [], [], []
    for _ in range(3000):
        network = rng.normal(0, 0.03, 3)
        a, b = (tuple(0.3 + network + rng.normal(0, 0.01, 3)) for _ in range(2))
        one, other = (Estimate(mean=fmean(x), se=stdev(x) / 3**0.5, replicates=x) for x in (a, b))
        squares.append(one.se**2 + other.se**2)
        paired.append(error_of_difference(one, other) ** 2)
        differences.append(one.mean - other.mean)
    assert np.mean(paired) == pytest.approx(np.var(differences), rel=0.1)
    assert np.mean(squares) > 5 * np.var(differences)
