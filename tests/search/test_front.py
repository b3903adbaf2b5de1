from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moc.search.front import (
    Frame,
    hypervolume,
    hypervolume_history,
    nondominated,
)

FRAME = {
    1: Frame(ideal=(0.0,), nadir=(4.0,)),
    2: Frame(ideal=(0.0, 1.0), nadir=(4.0, 3.0)),
    3: Frame(ideal=(0.0, 1.0, -1.0), nadir=(4.0, 3.0, 3.0)),
    4: Frame(ideal=(0.0, 1.0, -1.0, 0.0), nadir=(4.0, 3.0, 3.0, 2.0)),
}


def matrices(elements, most=6):
    """Small matrices of 1 to 4 objectives, with many ties."""
    shapes = st.tuples(st.integers(0, most), st.sampled_from(list(FRAME)))
    return shapes.flatmap(lambda shape: arrays(float, shape, elements=elements))


coarse = st.integers(-1, 5).map(float)
bad = st.sampled_from([math.nan, math.inf, -math.inf])


def dominated_by_any(values: np.ndarray, i: int) -> bool:
    finite = np.isfinite(values).all(axis=1)
    return any(
        (values[j] <= values[i]).all() and (values[j] < values[i]).any()
        for j in np.flatnonzero(finite)
    )


def inclusion_exclusion(values: np.ndarray, frame: Frame) -> float:
    ideal, nadir = np.array(frame.ideal), np.array(frame.nadir)
    z = (values - ideal) / (nadir - ideal)
    return sum(
        (-1) ** (k + 1) * np.clip(1.1 - z[list(subset)].max(axis=0), 0, None).prod()
        for k in range(1, len(z) + 1)
        for subset in combinations(range(len(z)), k)
    ) / 1.1 ** len(ideal)


@given(matrices(coarse | bad, most=9))
def test_nondominated_is_what_brute_force_says(values):
    expected = [
        np.isfinite(row).all() and not dominated_by_any(values, i) for i, row in enumerate(values)
    ]
    assert nondominated(values).tolist() == expected


@given(matrices(coarse | st.floats(-1, 5)))
def test_hypervolume_is_what_inclusion_and_exclusion_say(values):
    frame = FRAME[values.shape[1]]
    expected = inclusion_exclusion(values, frame)
    assert hypervolume(values, frame=frame) == pytest.approx(expected, abs=1e-9)


def test_hypervolume_is_what_monte_carlo_says():
    rng = np.random.default_rng(0)
    values = rng.random((30, 3)) * 0.8 + 0.2
    frame = Frame(ideal=(0.0, 0.0, 0.0), nadir=(1.0, 1.0, 1.0))
    darts = rng.random((100_000, 3)) * 1.1
    hit = (values[None] <= darts[:, None]).all(axis=-1).any(axis=1).mean()
    assert hypervolume(values, frame=frame) == pytest.approx(hit, abs=5 * 0.5 / 100_000**0.5)


@given(matrices(coarse), st.randoms(use_true_random=False))
def test_hypervolume_depends_on_the_front_only(values, random):
    frame = FRAME[values.shape[1]]
    full = hypervolume(values, frame=frame)
    order = random.sample(range(len(values)), len(values))
    worse = np.concatenate([values[order], values + 1, np.full((1, values.shape[1]), np.nan)])
    assert hypervolume(values[nondominated(values)], frame=frame) == pytest.approx(full)
    assert hypervolume(worse, frame=frame) == pytest.approx(full)


@given(matrices(coarse | bad))
def test_history_rises_to_the_whole(values):
    frame = FRAME[values.shape[1]]
    history = hypervolume_history(values, frame=frame)
    assert history.shape == (len(values),)
    assert (np.diff(history) >= -1e-12).all()
    if len(values):
        assert history[-1] == hypervolume(values, frame=frame)


def test_hypervolume_of_corners():
    frame = FRAME[3]
    assert hypervolume(np.array([frame.ideal]), frame=frame) == pytest.approx(1)
    assert hypervolume(np.array([frame.nadir]), frame=frame) == pytest.approx((0.1 / 1.1) ** 3)
    assert hypervolume(np.zeros((0, 3)), frame=frame) == 0
    with pytest.raises(ValueError, match="Expected 3 objectives, found 2"):
        hypervolume(np.zeros((1, 2)), frame=frame)


@pytest.mark.parametrize(
    ("ideal", "nadir"),
    [((0.0, 1.0), (1.0, 1.0)), ((0.0, 0.0), (1.0, math.inf)), ((0.0,), (1.0, 1.0))],
)
def test_a_frame_is_a_box(ideal, nadir):
    with pytest.raises(ValueError, match=r"ideal point below|zip\(\)"):
        Frame(ideal=ideal, nadir=nadir)
