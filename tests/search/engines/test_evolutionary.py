from __future__ import annotations

import math

import numpy as np
import pytest
from analytic import LADDER, Problem, search
from engine_contract import EngineContract, told

from moc.errors import StudyError
from moc.search.engines.evolutionary import ALGORITHMS, EvolutionaryEngine, _reference_directions
from moc.search.engines.sobol import SobolEngine
from moc.search.space import SearchSpace

PRIVATE = SearchSpace(epsilons=LADDER)


class TestUnsga3Contract(EngineContract):
    algorithm = "unsga3"

    def make(self, space, seed):
        return EvolutionaryEngine(space, seed=seed, algorithm=self.algorithm, population=4)


class TestNsga2Contract(TestUnsga3Contract):
    algorithm = "nsga2"


class TestSmsemoaContract(TestUnsga3Contract):
    algorithm = "smsemoa"


def test_generations_wait_for_results_and_sobol_fills_the_wait():
    sobol = SobolEngine(PRIVATE, seed=7).ask(100)
    engine = EvolutionaryEngine(PRIVATE, seed=7, population=6)
    generation = engine.ask(9)
    assert generation == sobol[:9]
    for _ in range(3):
        told(engine, generation[:5])
        assert engine.ask(1)[0] in sobol  # five results of six
        told(engine, generation[5:6])
        generation = engine.ask(6)
        assert len(set(generation) & set(sobol)) <= 1  # an offspring like its parent gave way
        assert engine.ask(1)[0] in sobol  # the queue is empty again


def test_a_failed_trial_does_not_stop_the_generations():
    engine = EvolutionaryEngine(PRIVATE, seed=7, population=4)
    sobol = set(SobolEngine(PRIVATE, seed=7).ask(100))
    bred = 0
    for _ in range(40):
        (point,) = engine.ask(1)
        bred += point not in sobol
        if point.robust_share < 0.7:  # all others fail
            told(engine, [point])
    assert bred >= 16


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("space", [SearchSpace(), PRIVATE], ids=["open", "private"])
def test_moves_towards_what_scores_well(algorithm, space):
    late = []
    for seed in range(3):
        engine = EvolutionaryEngine(space, seed=seed, algorithm=algorithm)
        for i in range(60):
            (point,) = engine.ask(1)
            share = point.robust_share
            values = abs(share - 0.7), abs(share - 0.9), 4.0 if space.epsilons else math.inf
            engine.tell(point, values, (0.0, 0.0, 0.0))
            if i >= 24:
                late.append(0.7 < share < 0.9)
    assert np.mean(late) > 0.5  # a fifth of the space is optimal


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("curve", ["concave", "convex"])
def test_covers_a_known_front(algorithm, curve):
    problem = Problem(space=PRIVATE, curve=curve)
    engine = EvolutionaryEngine(PRIVATE, seed=1, algorithm=algorithm)
    assert 0.9 < problem.share(search(engine, problem, 48, batch=4)) <= 1


@pytest.mark.parametrize(
    ("objectives", "population", "directions"),
    [(3, 12, 10), (3, 15, 15), (3, 14, 10), (3, 4, 3), (2, 12, 12), (2, 4, 4)],
)
def test_reference_directions_fit_the_population(objectives, population, directions):
    assert _reference_directions(objectives, population).shape == (directions, objectives)


def test_refuses_settings_that_cannot_work():
    with pytest.raises(StudyError, match="unsga3"):
        EvolutionaryEngine(PRIVATE, seed=0, algorithm="spea2")
    with pytest.raises(StudyError, match="at least 4"):
        EvolutionaryEngine(PRIVATE, seed=0, population=3)
