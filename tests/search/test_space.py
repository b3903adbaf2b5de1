from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.quasirandom import SobolEngine

from moc.search.space import Space, Weights

NAMES = ("a", "b", "c", "d")
unit = st.floats(0, 1)


def over(losses: int) -> Space:
    return Space.over(*NAMES[:losses])


def vectors(elements, least=1, most=3):
    return st.integers(least, most).flatmap(lambda m: st.lists(elements, min_size=m, max_size=m))


@given(vectors(unit))
def test_decode_gives_the_simplex_and_encode_undoes_it(u):
    space = over(len(u) + 1)
    point = space.decode(u)
    values = space.weights.values(point)
    assert list(point) == list(NAMES[1 : len(u) + 1])
    assert min(values) >= 0
    assert sum(values) == pytest.approx(1)
    back = space.encode(point)
    assert all(0 <= coordinate <= 1 for coordinate in back)
    assert space.decode(back) == pytest.approx(point, abs=1e-9)
    if max(u[1:], default=0.0) < 1 - 1e-6:  # else nothing is left to share
        assert back == pytest.approx(tuple(u), abs=1e-6)


@given(unit)
def test_of_two_losses_the_coordinate_is_the_weight_of_the_second(u):
    assert over(2).decode((u,)) == {"b": u}
    assert over(2).weights.named({"b": u}) == {"a": 1 - u, "b": u}


@cache
def spread(losses: int) -> np.ndarray:
    """Weights (8192, losses) at evenly spread coordinates."""
    space = over(losses)
    u = SobolEngine(losses - 1, scramble=True, seed=1).draw(8192, dtype=torch.float64)
    return np.array([space.weights.values(space.decode(row)) for row in u.tolist()])


@given(vectors(st.floats(0.01, 1), least=3, most=5))
def test_uniform_coordinates_give_uniform_weights(raw):
    *least, _ = np.array(raw) / sum(raw)
    share = (spread(len(least)) >= least).all(axis=1).mean()
    simplex = (1 - sum(least)) ** (len(least) - 1)  # what these bounds leave is a smaller simplex
    assert share == pytest.approx(simplex, abs=0.01)


@given(vectors(st.floats(0.01, 1), most=4))
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
