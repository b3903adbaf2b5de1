from __future__ import annotations

import numpy as np
import pytest
from analytic import LADDER, Problem, search
from engine_contract import EngineContract

from moc.errors import StudyError
from moc.search import make_engine
from moc.search.engines.sobol import SobolEngine
from moc.search.space import SearchSpace

PRIVATE = SearchSpace(epsilons=LADDER)


class TestSobolContract(EngineContract):
    def make(self, space, seed):
        return SobolEngine(space, seed=seed)


def test_a_longer_search_begins_with_the_shorter_one():
    long = SobolEngine(PRIVATE, seed=2).ask(49)
    engine = SobolEngine(PRIVATE, seed=2)
    assert engine.ask(20) + engine.ask(28) == long[:48]


def test_fills_the_simplex_evenly():
    points = SobolEngine(PRIVATE, seed=0).ask(64)
    rungs = np.bincount([point.rung(LADDER) for point in points], minlength=4)
    assert (abs(rungs - 16) <= 1).all()
    shares = np.sort([point.robust_share for point in points])
    assert abs(shares - (np.arange(64) + 0.5) / 64).max() < 1 / 64 + 1e-6
    assert np.mean([point.values() for point in points], axis=0) == pytest.approx(1 / 3, abs=0.02)


def test_a_full_space_still_gets_points(monkeypatch):
    monkeypatch.setattr(SobolEngine, "tolerance", 0.02)
    points = SobolEngine(SearchSpace(), seed=0).ask(100)
    assert len({point.values() for point in points}) == 100


@pytest.mark.parametrize(
    ("space", "curve", "share"),
    [
        (SearchSpace(), "concave", 0.96),
        (SearchSpace(), "convex", 0.98),
        (PRIVATE, "concave", 0.93),
        (PRIVATE, "convex", 0.94),
    ],
)
def test_covers_a_known_front(space, curve, share):
    problem = Problem(space=space, curve=curve)
    found = problem.share(search(SobolEngine(space, seed=1), problem, 24))
    assert share < found <= 1


def test_engines_are_made_by_name():
    assert isinstance(make_engine("sobol", PRIVATE, 1), SobolEngine)
    assert make_engine("evolutionary", PRIVATE, 1, population=6).ask(1)
    with pytest.raises(StudyError, match="bayesian"):
        make_engine("random", PRIVATE, 1)
    with pytest.raises(StudyError, match=r"no setting initial; it has none"):
        make_engine("sobol", PRIVATE, 1, initial=3)
