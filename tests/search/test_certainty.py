from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moc.search.certainty import (
    hypervolume_interval,
    hypervolume_of_halves,
    probability_nondominated,
    redrawn,
)
from moc.search.front import Frame, hypervolume, nondominated

UNIT = {m: Frame(ideal=(0.0,) * m, nadir=(1.0,) * m) for m in (1, 2, 3)}


def matrices(elements):
    shapes = st.tuples(st.integers(0, 6), st.integers(1, 3))
    return shapes.flatmap(lambda shape: arrays(float, shape, elements=elements))


coarse = st.integers(-1, 5).map(lambda k: k / 4)
bad = st.sampled_from([math.nan, math.inf, -math.inf])


@given(matrices(coarse | bad), st.integers(0, 2**32))
def test_without_error_the_probability_is_certainty(values, seed):
    found = probability_nondominated(values, np.zeros_like(values), draws=3, seed=seed)
    assert found.tolist() == nondominated(values).astype(float).tolist()


@pytest.mark.parametrize("gap", [0.0, 0.5, 1.0, 3.0])
def test_probability_of_two_rows_is_the_closed_form(gap):
    values = np.array([[0.0, 0.0, 1.0], [gap, 2 * gap, 1.0]])
    errors = np.array([[0.6, 0.0, 0.0], [0.8, 1.0, 0.0]])  # differences have unit errors
    beaten = NormalDist().cdf(gap) * NormalDist().cdf(2 * gap)
    beats = NormalDist().cdf(-gap) * NormalDist().cdf(-2 * gap)
    found = probability_nondominated(values, errors, draws=4000, seed=1)
    assert found == pytest.approx([1 - beats, 1 - beaten], abs=5 * 0.5 / 4000**0.5)
    assert (found == probability_nondominated(values, errors, draws=4000, seed=1)).all()


@pytest.mark.parametrize("common", [0.0, 0.6, -0.6, 1.0])
def test_the_probability_of_two_rows_is_that_of_their_paired_difference(common):
    values, errors = np.array([[0.0], [0.1]]), np.array([[1.0], [1.0]])
    shared = np.array([[[abs(common) ** 0.5], [math.copysign(abs(common) ** 0.5, common)]]])
    spread = (2 - 2 * common) ** 0.5  # of the difference
    worse = NormalDist().cdf(0.1 / spread) if spread else 1.0
    found = probability_nondominated(values, errors, shared, draws=4000, seed=0)
    assert found == pytest.approx([worse, 1 - worse], abs=5 * 0.5 / 4000**0.5)


def test_redrawn_values_have_the_mean_and_the_covariance_asked_for():
    rng = np.random.default_rng(0)
    values, shared = rng.normal(size=(3, 2)), 0.4 * rng.normal(size=(4, 3, 2))
    rest = np.array([[0.0, 0.3], [0.2, 0.0], [0.5, 0.5]])
    errors = np.sqrt((shared**2).sum(0) + rest**2)
    own, parts = rest.reshape(-1), shared.reshape(4, -1)
    for alike in (False, True):
        draws = np.array([*redrawn(values, errors, shared, alike=alike, draws=40_000, seed=2)])
        expected = parts.T @ parts + np.diag(own**2)
        if alike:  # every column's rest is one number
            same = np.tile(np.eye(2), (3, 3))
            expected = parts.T @ parts + same * np.outer(own, own)
        found = np.cov(draws.reshape(len(draws), -1).T)
        assert found == pytest.approx(expected, abs=0.03)
        assert draws.mean(0) == pytest.approx(values, abs=0.03)


@given(matrices(coarse), st.integers(0, 100))
def test_without_error_the_interval_is_the_hypervolume(values, seed):
    frame = UNIT[values.shape[1]]
    ends = hypervolume_interval(values, np.zeros_like(values), frame=frame, draws=3, seed=seed)
    volume = min(hypervolume(values, frame=frame), 1.0)
    assert ends == pytest.approx((volume, volume))


def test_the_interval_of_one_value_is_that_of_a_normal_mean():
    values, errors = np.array([[0.5]]), np.array([[0.05]])
    low, high = hypervolume_interval(values, errors, frame=UNIT[1], draws=20_000, seed=0)
    assert (low, high) == pytest.approx(
        ((0.6 - 1.96 * 0.05) / 1.1, (0.6 + 1.96 * 0.05) / 1.1), abs=0.003
    )


def simulated(rng, *, trials=24, networks=3):
    """A true front, and values (R, n, 2) of networks, with errors of the records."""
    along = rng.random(trials)
    truth = np.stack([0.15 + 0.3 * along**1.6, 0.4 + 0.4 * (1 - along) ** 1.6], 1)
    truth += np.abs(rng.normal(0, 0.02, truth.shape))
    common = rng.normal(0, 0.01, (networks, 1, 2)) + rng.normal(0, 0.02, 2)
    own = rng.normal(0, 0.012, (networks, *truth.shape)) + rng.normal(0, 0.012, truth.shape)
    return truth, truth + common + own, np.full(truth.shape, math.hypot(0.02, 0.012))


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng, covered, naive = np.random.default_rng(3), 0, 0
    for repeat in range(100):
        truth, replicates, records = simulated(rng)
        values, count = replicates.mean(0), len(replicates)
        shared = (replicates - values) / math.sqrt(count * (count - 1))
        errors = np.sqrt(records**2 + (shared**2).sum(0))
        worth = hypervolume(truth, frame=UNIT[2])
        low, high = hypervolume_interval(
            values, errors, shared, frame=UNIT[2], draws=200, seed=repeat
        )
        covered += low <= worth <= high
        drawn = [
            hypervolume(one, frame=UNIT[2])
            for one in redrawn(values, errors, draws=200, seed=repeat)
        ]
        naive += np.quantile(drawn, 0.025) <= worth <= np.quantile(drawn, 0.975)
    assert 88 <= covered <= 100
    assert naive < 75  # quantiles of independent draws, which the mirrored common ones replace


def halves_by_hand(replicates, frame):
    even, odd = [np.mean(list(some), axis=0) for some in (replicates[0::2], replicates[1::2])]
    found = []
    for chosen, reported in ((even, odd), (odd, even)):
        front = [
            i
            for i, row in enumerate(chosen)
            if not any((o <= row).all() and (o < row).any() for o in chosen)
        ]
        found.append(hypervolume(reported[front], frame=frame))
    return sum(found) / 2


@given(st.integers(2, 5), st.integers(1, 6), st.integers(1, 3), st.integers(0, 10_000))
def test_halves_are_what_they_are_by_hand(networks, rows, objectives, seed):
    replicates = np.random.default_rng(seed).integers(0, 5, (networks, rows, objectives)) / 4
    frame = UNIT[objectives]
    found = hypervolume_of_halves(replicates, frame=frame)
    assert found == pytest.approx(halves_by_hand(replicates, frame), abs=1e-12)


@given(matrices(coarse), st.integers(2, 4))
def test_halves_of_equal_networks_are_the_hypervolume(values, networks):
    frame = UNIT[values.shape[1]]
    replicates = np.repeat(values[None], networks, axis=0)
    assert hypervolume_of_halves(replicates, frame=frame) == pytest.approx(
        hypervolume(values, frame=frame)
    )


def test_halves_do_not_have_the_winners_curse():
    """Of forty sets that are equally good, the best on all networks looks better than it is."""
    rng, truth = np.random.default_rng(0), np.full((40, 1), 0.5)
    worth = hypervolume(truth, frame=UNIT[1])
    plain, halves = [], []
    for _ in range(2000):
        replicates = truth + rng.normal(0, 0.05, (4, 40, 1))
        plain.append(hypervolume(replicates.mean(0), frame=UNIT[1]))
        halves.append(hypervolume_of_halves(replicates, frame=UNIT[1]))
    assert np.mean(plain) - worth > 0.04
    assert np.mean(halves) == pytest.approx(worth, abs=4 * np.std(halves) / 2000**0.5)


def test_halves_keep_what_the_records_that_both_share_gave_by_luck():
    rng, truth = np.random.default_rng(0), np.full((40, 1), 0.5)
    worth, halves, fresh = hypervolume(truth, frame=UNIT[1]), [], []
    for _ in range(500):
        networks, records = rng.normal(0, 0.02, (4, 40, 1)), rng.normal(0, 0.05, (40, 1))
        replicates = truth + networks + records
        halves.append(hypervolume_of_halves(replicates, frame=UNIT[1]))
        again = truth + rng.normal(0, 0.05, (40, 1))
        chosen = nondominated(replicates.mean(0))
        fresh.append(hypervolume(again[chosen], frame=UNIT[1]))
    assert np.mean(halves) - worth > 0.05
    assert np.mean(fresh) == pytest.approx(worth, abs=4 * np.std(fresh) / 500**0.5)


def test_halves_need_two_networks():
    with pytest.raises(ValueError, match="At least 2 replicates expected, found 1"):
        hypervolume_of_halves(np.zeros((1, 3, 2)), frame=UNIT[2])
