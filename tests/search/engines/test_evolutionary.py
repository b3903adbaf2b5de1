from __future__ import annotations

import numpy as np
import pytest
from analytic import SPACE, Problem, search

from moc.errors import StudyError
from moc.search.engines.base import ENGINES
from moc.search.engines.evolutionary import _reference_directions
from moc.search.space import Space
from moc.testing.engines import EngineContract, tell

ALGORITHMS = ("unsga3", "nsga2", "smsemoa", "nsga3", "moead")
THREE = Space.over("a", "b", "c")


def evolutionary(space=SPACE, *, seed=7, objectives=2, **settings):
    part = ENGINES.make({"kind": "evolutionary", **settings})
    return part.start(space, objectives=objectives, seed=seed)


class TestUnsga3Contract(EngineContract):
    algorithm = "unsga3"

    def make(self, space, objectives, seed):
        settings = {"algorithm": self.algorithm, "population": 4}
        return evolutionary(space, objectives=objectives, seed=seed, **settings)


class TestNsga2Contract(TestUnsga3Contract):
    algorithm = "nsga2"


class TestSmsemoaContract(TestUnsga3Contract):
    algorithm = "smsemoa"


class TestNsga3Contract(TestUnsga3Contract):
    algorithm = "nsga3"


class TestMoeadContract(TestUnsga3Contract):
    algorithm = "moead"


def test_generations_wait_for_results_and_sobol_fills_the_wait():
    sobol = ENGINES.make("sobol").start(THREE, objectives=2, seed=7).ask(100)
    engine = evolutionary(THREE, population=6)
    generation = engine.ask(9)
    assert generation == sobol[:9]
    for _ in range(3):
        tell(engine, generation[:5])
        assert engine.ask(1)[0] in sobol  # five results of six
        tell(engine, generation[5:6])
        generation = engine.ask(6)
        assert sum(point in sobol for point in generation) <= 1  # one like its parent gave way
        assert engine.ask(1)[0] in sobol  # the queue is empty again


def test_a_failed_trial_does_not_stop_the_generations():
    engine = evolutionary(population=4)
    sobol = ENGINES.make("sobol").start(SPACE, objectives=2, seed=7).ask(100)
    bred = 0
    for _ in range(40):
        (point,) = engine.ask(1)
        bred += point not in sobol
        if point["robust_error"] < 0.7:  # all others fail
            tell(engine, [point])
    assert bred >= 16


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_moves_towards_what_scores_well(algorithm):
    late = []
    for seed in range(3):
        engine = evolutionary(seed=seed, algorithm=algorithm)
        for i in range(60):
            (point,) = engine.ask(1)
            share = point["robust_error"]
            engine.tell(point, (abs(share - 0.7), abs(share - 0.9)), (0.0, 0.0))
            if i >= 24:
                late.append(0.7 < share < 0.9)
    # a fifth of the space is optimal; MOEA/D keeps returning to its two ends
    assert np.mean(late) > (0.4 if algorithm == "moead" else 0.5)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("curve", ["concave", "convex"])
def test_covers_a_known_front(algorithm, curve):
    problem = Problem(curve=curve)
    engine = evolutionary(seed=1, algorithm=algorithm)
    assert 0.9 < problem.share(search(engine, problem, 48, batch=4)) <= 1


@pytest.mark.parametrize(
    ("objectives", "population", "directions"),
    [(3, 12, 10), (3, 15, 15), (3, 14, 10), (3, 4, 3), (2, 12, 12), (2, 4, 4), (1, 8, 1)],
)
def test_reference_directions_fit_the_population(objectives, population, directions):
    assert _reference_directions(objectives, population).shape == (directions, objectives)


def test_refuses_settings_that_cannot_work():
    with pytest.raises(StudyError, match="unsga3"):
        evolutionary(algorithm="spea2")
    with pytest.raises(StudyError, match="greater than or equal to 4"):
        evolutionary(population=3)
