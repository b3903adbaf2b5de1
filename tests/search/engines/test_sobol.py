from __future__ import annotations

import numpy as np
import pytest
from analytic import SPACE, Problem, search

from moc.errors import StudyError
from moc.search.engines.base import ENGINES
from moc.search.engines.sobol import SobolEngine
from moc.search.space import Space
from moc.testing.engines import EngineContract

THREE = Space.over("a", "b", "c")


def sobol(space=SPACE, seed=0):
    return ENGINES.make("sobol").start(space, objectives=2, seed=seed)


class TestSobolContract(EngineContract):
    def make(self, space, objectives, seed):
        return ENGINES.make("sobol").start(space, objectives=objectives, seed=seed)


def test_a_longer_search_begins_with_the_shorter_one():
    long = sobol(THREE, 2).ask(49)
    engine = sobol(THREE, 2)
    assert engine.ask(20) + engine.ask(28) == long[:48]


def test_fills_the_simplex_evenly():
    shares = np.sort([point["robust_error"] for point in sobol().ask(64)])
    assert abs(shares - (np.arange(64) + 0.5) / 64).max() < 1 / 64 + 1e-6
    weights = [THREE.weights.values(point) for point in sobol(THREE).ask(64)]
    assert np.mean(weights, axis=0) == pytest.approx(1 / 3, abs=0.02)


def test_a_full_space_still_gets_points(monkeypatch):
    monkeypatch.setattr(SobolEngine, "tolerance", 0.02)
    points = sobol().ask(100)
    assert len({point["robust_error"] for point in points}) == 100


@pytest.mark.parametrize(("curve", "share"), [("concave", 0.96), ("convex", 0.98)])
def test_covers_a_known_front(curve, share):
    problem = Problem(curve=curve)
    found = problem.share(search(sobol(seed=1), problem, 24))
    assert share < found <= 1


def test_engines_are_made_by_name():
    assert ENGINES.make({"kind": "evolutionary", "population": 6}).start(
        THREE, objectives=2, seed=1
    )
    with pytest.raises(StudyError, match="'bayesian', 'evolutionary', 'grid', 'sobol'"):
        ENGINES.make("random")
    with pytest.raises(StudyError, match=r"sobol\.initial"):
        ENGINES.make({"kind": "sobol", "initial": 3})
