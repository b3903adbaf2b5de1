from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moc.search.space import Space, Weights

NAMES = ("a", "b", "c", "d")
unit = st.floats(0, 1)
inner = st.floats(0, 0.99)


def over(losses: int) -> Space:
    return Space.over(*NAMES[:losses])


@given(st.integers(2, 4).flatmap(lambda m: st.lists(inner, min_size=m - 1, max_size=m - 1)))
def test_decode_gives_the_simplex_and_encode_undoes_it(u):
    space = over(len(u) + 1)
    point = space.decode(u)
    values = space.weights.values(point)
    assert list(point) == list(NAMES[1 : len(u) + 1])
    assert min(values) >= 0
    assert sum(values) == pytest.approx(1)
    assert space.encode(point) == pytest.approx(tuple(u), abs=1e-6)


@given(unit)
def test_of_two_losses_the_coordinate_is_the_weight_of_the_second(u):
    assert over(2).decode((u,)) == {"b": u}
    assert over(2).weights.named({"b": u}) == {"a": 1 - u, "b": u}


@pytest.mark.parametrize("losses", [2, 3, 4])
def test_uniform_coordinates_give_uniform_weights(losses):
    space = over(losses)
    u = np.random.default_rng(0).random((20_000, losses - 1))
    values = np.array([space.weights.values(space.decode(row)) for row in u])
    assert values.mean(axis=0) == pytest.approx(1 / losses, abs=0.01)
    variance = (losses - 1) / (losses**2 * (losses + 1))  # of a flat Dirichlet law
    assert values.var(axis=0) == pytest.approx(variance, abs=0.003)


@given(st.integers(1, 4).flatmap(lambda m: st.lists(st.floats(0.01, 1), min_size=m, max_size=m)))
def test_a_point_has_the_weights_that_it_was_made_of(raw):
    weights = np.array(raw) / sum(raw)
    space = over(len(raw))
    assert space.weights.values(space.point(weights.tolist())) == pytest.approx(tuple(weights))


@pytest.mark.parametrize("losses", [2, 3, 4])
def test_candidates_include_each_loss_alone_and_spread(losses):
    space = over(losses)
    found = [space.weights.values(point) for point in space.candidates()]
    for own in range(losses):
        assert tuple(float(k == own) for k in range(losses)) in [
            tuple(round(v, 9) for v in values) for values in found
        ]
    assert len({tuple(round(v, 6) for v in values) for values in found}) == len(found)


def test_one_loss_leaves_nothing_to_search():
    space = Space(Weights(names=("a",)))
    assert space.dimension == 0
    assert space.weights.named(space.point([1.0])) == {"a": 1.0}
