from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moc.search.space import SearchSpace, Weighting

LADDER = (10.0, 8.0, 2.0, 1.0, 0.5)
PRIVATE = SearchSpace(epsilons=LADDER)
unit = st.floats(0, 1)


@given(unit, unit)
def test_decode_gives_the_simplex_and_encode_undoes_it(r, q):
    point = PRIVATE.decode((r, q))
    assert min(point.values()) >= 0
    assert sum(point.values()) == pytest.approx(1)
    if q < 1 - 1e-6:
        assert PRIVATE.encode(point) == pytest.approx((r, q), abs=1e-6)
    assert SearchSpace().encode(SearchSpace().decode((r,))) == pytest.approx((r,))


def test_uniform_points_give_uniform_weightings_and_even_rungs():
    u = np.random.default_rng(0).random((20_000, 2))
    points = [PRIVATE.decode(row) for row in u]
    values = np.array([point.values() for point in points])
    assert values.mean(axis=0) == pytest.approx(1 / 3, abs=0.01)
    assert values.var(axis=0) == pytest.approx(1 / 18, abs=0.002)  # of a flat Dirichlet law
    rungs = np.bincount([point.rung(LADDER) for point in points]) / len(points)
    assert rungs == pytest.approx(np.full(5, 0.2), abs=0.02)


@given(unit, st.integers(0, 4))
def test_a_point_placed_on_a_rung_reads_it(r, rung):
    point = PRIVATE.on_rung(r, rung)
    assert point.rung(LADDER) == rung
    share, position = PRIVATE.inputs(point)
    assert share == pytest.approx(r)
    assert LADDER[0] * (LADDER[-1] / LADDER[0]) ** position == pytest.approx(LADDER[rung])


@given(unit, unit, unit)
def test_inputs_are_all_that_a_trial_depends_on(r, p, q):
    one, other = (Weighting.of(robust_share=r, privacy=x * 0.999) for x in (p, q))
    same = PRIVATE.inputs(one)[1] == PRIVATE.inputs(other)[1]
    assert same == (one.rung(LADDER) == other.rung(LADDER))


def test_spaces_with_one_rung_or_none():
    assert SearchSpace(epsilons=(4.0,)).inputs(Weighting.of(robust_share=0.25, privacy=0.5)) == (
        pytest.approx(0.25),
        0.0,
    )
    assert SearchSpace().inputs(SearchSpace().on_rung(0.25, 0)) == (0.25,)


@pytest.mark.parametrize("values", [(0.5, 0.5, 0.5), (1.2, -0.2, 0.0), (float("nan"), 0.0, 1.0)])
def test_a_weighting_lies_on_the_simplex(values):
    with pytest.raises(ValueError, match="simplex"):
        Weighting(generalization=values[0], adversarial=values[1], privacy=values[2])
