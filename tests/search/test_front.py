from __future__ import annotations

import math
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from moc.evaluate.scores import Estimate, Scores
from moc.search.front import (
    Reference,
    error_matrix,
    hypervolume,
    hypervolume_history,
    nondominated,
    objective_matrix,
    probability_nondominated,
)

FRAME = {
    2: Reference(ideal=(0.0, 1.0), nadir=(4.0, 3.0)),
    3: Reference(ideal=(0.0, 1.0, -1.0), nadir=(4.0, 3.0, 3.0)),
}


def matrices(elements, most=6):
    """Small matrices of 2 or 3 objectives, with many ties."""
    shapes = st.tuples(st.integers(0, most), st.sampled_from([2, 3]))
    return shapes.flatmap(lambda shape: arrays(float, shape, elements=elements))


coarse = st.integers(-1, 5).map(float)
bad = st.sampled_from([math.nan, math.inf, -math.inf])


def dominated_by_any(values: np.ndarray, i: int) -> bool:
    finite = np.isfinite(values).all(axis=1)
    return any(
        (values[j] <= values[i]).all() and (values[j] < values[i]).any()
        for j in np.flatnonzero(finite)
    )


def inclusion_exclusion(values: np.ndarray, reference: Reference) -> float:
    ideal, nadir = np.array(reference.ideal), np.array(reference.nadir)
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
    assert hypervolume(values, reference=frame) == pytest.approx(expected, abs=1e-9)


def test_hypervolume_is_what_monte_carlo_says():
    rng = np.random.default_rng(0)
    values = rng.random((30, 3)) * 0.8 + 0.2
    frame = Reference(ideal=(0.0, 0.0, 0.0), nadir=(1.0, 1.0, 1.0))
    darts = rng.random((100_000, 3)) * 1.1
    hit = (values[None] <= darts[:, None]).all(axis=-1).any(axis=1).mean()
    assert hypervolume(values, reference=frame) == pytest.approx(hit, abs=5 * 0.5 / 100_000**0.5)


@given(matrices(coarse), st.randoms(use_true_random=False))
def test_hypervolume_depends_on_the_front_only(values, random):
    frame = FRAME[values.shape[1]]
    full = hypervolume(values, reference=frame)
    order = random.sample(range(len(values)), len(values))
    worse = np.concatenate([values[order], values + 1, np.full((1, values.shape[1]), np.nan)])
    assert hypervolume(values[nondominated(values)], reference=frame) == pytest.approx(full)
    assert hypervolume(worse, reference=frame) == pytest.approx(full)


@given(matrices(coarse | bad))
def test_history_rises_to_the_whole(values):
    frame = FRAME[values.shape[1]]
    history = hypervolume_history(values, reference=frame)
    assert history.shape == (len(values),)
    assert (np.diff(history) >= -1e-12).all()
    if len(values):
        assert history[-1] == hypervolume(values, reference=frame)


def test_hypervolume_of_corners():
    frame = FRAME[3]
    assert hypervolume(np.array([frame.ideal]), reference=frame) == pytest.approx(1)
    assert hypervolume(np.array([frame.nadir]), reference=frame) == pytest.approx((0.1 / 1.1) ** 3)
    assert hypervolume(np.zeros((0, 3)), reference=frame) == 0
    with pytest.raises(ValueError, match="Expected 3 objectives, found 2"):
        hypervolume(np.zeros((1, 2)), reference=frame)


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


def scores(error: float, robust_error: float, epsilon: float) -> Scores:
    return Scores(
        error=Estimate(mean=error, se=0.01),
        robust_error=Estimate(mean=robust_error, se=0.02),
        epsilon=epsilon,
    )


def test_objectives_of_scores():
    private = [scores(0.1, 0.4, 8.0), scores(0.2, 0.3, 0.5)]
    assert objective_matrix(private).tolist() == [[0.1, 0.4, 3.0], [0.2, 0.3, -1.0]]
    assert error_matrix(private).tolist() == [[0.01, 0.02, 0.0]] * 2
    open_ = [scores(0.1, 0.4, math.inf)]
    assert objective_matrix(open_).tolist() == [[0.1, 0.4]]
    assert error_matrix(open_).tolist() == [[0.01, 0.02]]
    assert objective_matrix([]).shape == error_matrix([]).shape == (0, 3)
    with pytest.raises(ValueError, match="one study"):
        objective_matrix([*private, *open_])


def test_frame_of_a_study():
    frame = Reference.for_study(10, (8.0, 2.0, 1.0))
    assert frame == Reference(ideal=(0.0, 0.0, -1.0), nadir=(0.9, 1.0, 3.0))
    assert frame == Reference.for_study(10, (1.0, 2.0, 8.0))
    assert Reference.for_study(4, ()) == Reference(ideal=(0.0, 0.0), nadir=(0.75, 1.0))
    single = Reference.for_study(2, (4.0,))
    assert hypervolume(objective_matrix([scores(0.0, 0.0, 4.0)]), reference=single) > 0


@pytest.mark.parametrize(
    ("ideal", "nadir"),
    [((0.0, 1.0), (1.0, 1.0)), ((0.0, 0.0), (1.0, math.inf)), ((0.0,), (1.0, 1.0))],
)
def test_a_frame_is_a_box(ideal, nadir):
    with pytest.raises(ValueError, match=r"ideal point below|zip\(\)"):
        Reference(ideal=ideal, nadir=nadir)
