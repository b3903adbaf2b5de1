from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from analytic import LADDER, Problem, search
from botorch.acquisition.multi_objective import logei
from botorch.exceptions import ModelFittingError
from engine_contract import EngineContract, distinct, told

from moc.errors import StudyError
from moc.search import bayesian
from moc.search.engines.bayesian import BayesianEngine
from moc.search.engines.sobol import SobolEngine
from moc.search.space import SearchSpace, Weighting

PRIVATE = SearchSpace(epsilons=LADDER)


class TestBayesianContract(EngineContract):
    def make(self, space, seed):
        return BayesianEngine(space, seed=seed, initial=4)


def test_begins_with_sobol_points_until_as_many_results_are_in():
    engine = BayesianEngine(PRIVATE, seed=4, initial=3)
    sobol = SobolEngine(PRIVATE, seed=4).ask(6)
    first = engine.ask(5)
    told(engine, first[:2])
    assert first + engine.ask(1) == sobol
    told(engine, first[2:3])
    assert engine.ask(1)[0] not in SobolEngine(PRIVATE, seed=4).ask(50)


def test_asks_at_once_what_it_asks_one_by_one():
    engines = [BayesianEngine(PRIVATE, seed=4, initial=4) for _ in range(2)]
    for engine in engines:
        told(engine, engine.ask(4))
    assert engines[0].ask(3) == [engines[1].ask(1)[0] for _ in range(3)]


def test_gives_the_acquisition_what_it_needs(monkeypatch):
    seen = []

    class Spy(logei.qLogNoisyExpectedHypervolumeImprovement):
        def __init__(self, **arguments):
            seen.append(arguments)
            super().__init__(**arguments)

    monkeypatch.setattr(logei, "qLogNoisyExpectedHypervolumeImprovement", Spy)
    engine = BayesianEngine(PRIVATE, seed=4, initial=4)
    first = engine.ask(6)
    told(engine, first[:4])
    elsewhere = Weighting.of(robust_share=0.123, privacy=0.2)
    second = engine.ask(2, pending=[elsewhere])
    pending = [[*first[4:], elsewhere], [*first[4:], second[0], elsewhere]]
    for arguments, points in zip(seen, pending, strict=True):
        assert arguments["X_pending"].tolist() == [list(PRIVATE.inputs(p)) for p in points]
        assert arguments["X_baseline"].dtype == torch.float64
        # one seed for all objectives would make their draws perfectly correlated
        assert len({sampler.seed for sampler in arguments["sampler"].samplers}) == 3
        assert arguments["ref_point"][-1] < 0  # the largest epsilon still counts
    known = seen[0]["model"].models[2]
    ladder = torch.tensor([PRIVATE.inputs(PRIVATE.on_rung(0.3, k)) for k in range(4)])
    assert torch.allclose(known(ladder).squeeze(-1), 1 - torch.tensor(LADDER).log2() / 3)


def test_believes_a_result_as_far_as_its_standard_error_allows():
    means = []
    for error in (0.0, 1.0):
        engine = BayesianEngine(SearchSpace(), seed=0, initial=2)
        told(engine, engine.ask(6))
        outlier = Weighting.of(robust_share=0.5, privacy=0.0)
        engine.tell(outlier, (3.0, 3.0, math.inf), (error, error, 0.0))
        with bayesian._quiet():
            posterior = engine._model().posterior(engine._inputs([outlier]))
        means.append(-posterior.mean[0, 0].item())
    assert means[0] == pytest.approx(3.0, abs=0.1)
    assert means[1] < 2.0


def test_falls_back_to_sobol_where_no_model_can_be_fitted(monkeypatch):
    def fail(mll):
        raise ModelFittingError("no")

    monkeypatch.setattr(bayesian, "fit_gpytorch_mll", fail)
    engine = BayesianEngine(PRIVATE, seed=4, initial=2)
    first = engine.ask(2)
    told(engine, first)
    assert first + engine.ask(1) == SobolEngine(PRIVATE, seed=4).ask(3)


def test_goes_on_when_the_whole_grid_is_tried(monkeypatch):
    monkeypatch.setattr(bayesian, "GRID", 3)
    engine = BayesianEngine(SearchSpace(), seed=4, initial=2)
    points = []
    for _ in range(7):
        points += engine.ask(1)
        told(engine, points[-1:])
    assert {0.0, 0.5, 1.0} <= {point.robust_share for point in points}
    assert distinct(SearchSpace(), points)


def test_neither_compiles_nor_warns_nor_changes_warning_filters():
    filters = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = BayesianEngine(PRIVATE, seed=4, initial=2)
        told(engine, engine.ask(2))
        engine.ask(1)
    assert logei._C is None
    assert list(warnings.filters) == filters


def test_moves_towards_what_scores_well():
    engine = BayesianEngine(PRIVATE, seed=0, initial=6)
    misses = []
    for _ in range(10):
        (point,) = engine.ask(1)
        miss = abs(point.robust_share - 0.8) + 0.3 * point.rung(LADDER)
        epsilon = LADDER[point.rung(LADDER)]
        engine.tell(point, (miss, miss, epsilon), (0.01, 0.01, 0.0))
        misses.append(abs(point.robust_share - 0.8))
    assert np.mean(misses[-4:]) < 0.1 < np.mean(misses[:6])


@pytest.mark.parametrize("curve", ["concave", "convex"])
def test_covers_a_known_front_no_worse_than_sobol(curve):
    problem = Problem(space=PRIVATE, curve=curve)
    found = problem.share(search(BayesianEngine(PRIVATE, seed=1), problem, 16))
    sobol = problem.share(search(SobolEngine(PRIVATE, seed=1), problem, 16))
    assert max(0.9, sobol - 0.02) < found <= 1


@pytest.mark.parametrize("curve", ["concave", "convex"])
def test_beats_sobol_where_the_front_is_crammed_into_a_corner(curve):
    problem = Problem(space=SearchSpace(), curve=curve, width=0.1)
    found = problem.share(search(BayesianEngine(problem.space, seed=1), problem, 18))
    sobol = problem.share(search(SobolEngine(problem.space, seed=1), problem, 18))
    assert found > sobol + 0.02


def test_refuses_too_few_initial_points():
    with pytest.raises(StudyError, match="at least 2"):
        BayesianEngine(PRIVATE, seed=0, initial=1)
