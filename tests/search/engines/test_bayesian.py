from __future__ import annotations

import warnings
from typing import ClassVar

import moocore
import numpy as np
import pytest
import torch
from analytic import SPACE, Problem, search
from botorch.acquisition.multi_objective import logei
from botorch.exceptions import ModelFittingError

from moc.errors import StudyError
from moc.search import space as space_module
from moc.search.engines import _botorch
from moc.search.engines.base import ENGINES
from moc.search.space import Space
from moc.testing.engines import CHOSEN, EngineContract, distinct, tell

THREE = Space.over("a", "b", "c")


def bayesian(space=SPACE, *, seed=4, objectives=2, initial=4, acquisition="nehvi"):
    part = ENGINES.make({"kind": "bayesian", "initial": initial, "acquisition": acquisition})
    return part.start(space, objectives=objectives, seed=seed)


def sobol(space=SPACE, *, seed=4):
    return ENGINES.make("sobol").start(space, objectives=2, seed=seed)


class TestBayesianContract(EngineContract):
    acquisition = "nehvi"

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch):
        """What is promised holds at any size."""
        monkeypatch.setattr(_botorch, "SAMPLES", 4)
        monkeypatch.setattr(space_module, "_CANDIDATES", 32)

    def make(self, space, objectives, seed):
        return bayesian(space, seed=seed, objectives=objectives, acquisition=self.acquisition)


class TestPlugInContract(TestBayesianContract):
    """The same models, asked in another way: what is asked of both is not asked again."""

    acquisition = "ehvi"
    spaces: ClassVar = {"choices": CHOSEN}


class TestParegoContract(TestPlugInContract):
    acquisition = "parego"


def test_begins_with_sobol_points_until_as_many_results_are_in():
    engine = bayesian(initial=3)
    expected = sobol().ask(6)
    first = engine.ask(5)
    tell(engine, first[:2])
    assert first + engine.ask(1) == expected
    tell(engine, first[2:3])
    assert engine.ask(1)[0] not in sobol().ask(50)


def test_asks_at_once_what_it_asks_one_by_one():
    engines = [bayesian() for _ in range(2)]
    for engine in engines:
        tell(engine, engine.ask(4))
    assert engines[0].ask(3) == [engines[1].ask(1)[0] for _ in range(3)]


def test_gives_the_acquisition_what_it_needs(monkeypatch):
    seen = []

    class Spy(logei.qLogNoisyExpectedHypervolumeImprovement):
        def __init__(self, **arguments):
            seen.append(arguments)
            super().__init__(**arguments)

    monkeypatch.setattr(logei, "qLogNoisyExpectedHypervolumeImprovement", Spy)
    engine = bayesian(THREE, objectives=3)
    first = engine.ask(6)
    tell(engine, first[:4])
    elsewhere = THREE.decode((0.123, 0.2))
    second = engine.ask(2, pending=[elsewhere])
    pending = [[*first[4:], elsewhere], [*first[4:], second[0], elsewhere]]
    for arguments, points in zip(seen, pending, strict=True):
        expected = torch.tensor([THREE.encode(point) for point in points], dtype=torch.float64)
        assert torch.equal(arguments["X_pending"], expected)
        assert arguments["X_baseline"].dtype == torch.float64
        # objectives that shared their draws would be taken for perfectly correlated
        draws = arguments["sampler"].base_samples
        assert draws.shape[-1] == 3
        assert len(draws.flatten(0, -2).T.unique(dim=0)) == 3


def test_believes_a_result_as_far_as_its_standard_error_allows():
    means = []
    for error in (0.0, 1.0):
        engine = bayesian(seed=0, initial=2)
        tell(engine, engine.ask(6))
        outlier = {"robust_error": 0.5}
        engine.tell(outlier, (3.0, 3.0), (error, error))
        with _botorch._quiet():
            posterior = engine._model().posterior(engine._inputs([outlier]))
        means.append(-posterior.mean[0, 0].item())
    assert means[0] == pytest.approx(3.0, abs=0.1)
    assert means[1] < 2.0


def test_the_plug_in_improvement_is_that_of_a_simulation():
    engine = bayesian(THREE, seed=0, objectives=3, initial=2)
    tell(engine, engine.ask(8))
    tried, places = engine._inputs(engine._tried), engine._inputs(THREE.candidates()[:20])
    with _botorch._quiet():
        model = engine._model()
    with torch.no_grad():
        found = _botorch._plug_in(model, tried, None)(places.unsqueeze(1)).exp().numpy()
        means = model.posterior(tried).mean
        posterior = model.posterior(places)
        centre, spread = posterior.mean.numpy(), posterior.variance.sqrt().numpy()
    front = means[_botorch.is_non_dominated(means)]
    reference = -_botorch.infer_reference_point(front).numpy()
    here = moocore.hypervolume(-front.numpy(), ref=reference)
    shake = np.random.default_rng(0).standard_normal((2000, 3))
    for i in found.argsort()[[0, 10, 19]]:
        drawn = -(centre[i] + spread[i] * shake)
        gains = [
            moocore.hypervolume(np.vstack([-front.numpy(), row]), ref=reference) - here
            for row in drawn
        ]
        assert found[i] == pytest.approx(np.mean(gains), rel=0.15, abs=1e-9)


def test_the_plug_in_mode_believes_points_under_way():
    engine = bayesian(THREE, seed=0, objectives=3, initial=2, acquisition="ehvi")
    tell(engine, engine.ask(8))
    place = engine._inputs([THREE.decode((0.31, 0.42))])
    with _botorch._quiet():
        model, tried = engine._model(), engine._inputs(engine._tried)
        before = _botorch._plug_in(model, tried, None)(place.unsqueeze(1))
        after = _botorch._plug_in(model, tried, place)(place.unsqueeze(1))
    assert after < before - 1


@pytest.mark.parametrize("acquisition", ["nehvi", "ehvi", "parego"])
def test_leaves_out_objectives_that_do_not_vary(acquisition):
    engines = [bayesian(seed=2, objectives=m, acquisition=acquisition) for m in (2, 3)]
    points = engines[0].ask(6)
    engines[1].replay(points)
    for number, point in enumerate(points):
        values = [number / 7, (number * 5 % 7) / 7]
        engines[0].tell(point, values, [0.01] * 2)
        engines[1].tell(point, [*values, 4.0], [0.01, 0.01, 0.0])
    assert engines[0].ask(2) == engines[1].ask(2)


def test_results_that_are_all_alike_cost_nothing_and_leave_it_to_sobol():
    engine = bayesian(THREE, objectives=3)
    points = engine.ask(75)
    for point in points:
        engine.tell(point, [0.9] * 3, [0.01] * 3)
    assert engine._model() is None
    assert engine.ask(1) == ENGINES.make("sobol").start(THREE, objectives=3, seed=4).ask(76)[75:]


def test_falls_back_to_sobol_where_no_model_can_be_fitted(monkeypatch):
    def fail(mll):
        raise ModelFittingError("no")

    monkeypatch.setattr(_botorch, "fit_gpytorch_mll", fail)
    engine = bayesian(initial=2)
    first = engine.ask(2)
    tell(engine, first)
    assert first + engine.ask(1) == sobol().ask(3)


def test_goes_on_when_the_whole_grid_is_tried(monkeypatch):
    monkeypatch.setattr(space_module, "_GRID", 3)
    engine = bayesian(initial=2)
    points = []
    for _ in range(7):
        points += engine.ask(1)
        tell(engine, points[-1:])
    assert {0.0, 0.5, 1.0} <= {point["robust_error"] for point in points}
    assert distinct(SPACE, points)


def test_neither_compiles_nor_warns_nor_changes_warning_filters():
    filters = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = bayesian(initial=2)
        tell(engine, engine.ask(2))
        engine.ask(1)
    assert getattr(logei, "_C", None) is None
    assert list(warnings.filters) == filters


@pytest.mark.parametrize("objectives", [1, 2])
def test_moves_towards_what_scores_well(objectives):
    engine = bayesian(seed=0, objectives=objectives, initial=6)
    misses = []
    for _ in range(10):
        (point,) = engine.ask(1)
        miss = abs(point["robust_error"] - 0.8)
        engine.tell(point, [miss] * objectives, [0.01] * objectives)
        misses.append(miss)
    assert np.mean(misses[-4:]) < 0.1 < np.mean(misses[:6])


def test_searches_three_losses_too():
    engine = bayesian(THREE, seed=0, objectives=2, initial=6)
    for _ in range(14):
        (point,) = engine.ask(1)
        gaps = [abs(weight - 1 / 3) for weight in THREE.weights.values(point)]
        engine.tell(point, [max(gaps), sum(gaps)], [0.01, 0.01])
    last = THREE.weights.values(engine.ask(1)[0])
    assert max(abs(weight - 1 / 3) for weight in last) < 0.2


@pytest.mark.parametrize("acquisition", ["nehvi", "ehvi", "parego"])
@pytest.mark.parametrize("curve", ["concave", pytest.param("convex", marks=pytest.mark.slow)])
def test_covers_a_known_front_no_worse_than_sobol(curve, acquisition):
    problem = Problem(curve=curve)
    engine = bayesian(seed=1, initial=8, acquisition=acquisition)
    found = problem.share(search(engine, problem, 16))
    other = problem.share(search(sobol(seed=1), problem, 16))
    assert max(0.9, other - 0.02) < found <= 1


@pytest.mark.parametrize("curve", ["concave", pytest.param("convex", marks=pytest.mark.slow)])
def test_beats_sobol_where_the_front_is_crammed_into_a_corner(curve):
    problem = Problem(curve=curve, width=0.1)
    found = problem.share(search(bayesian(seed=1, initial=8), problem, 18))
    other = problem.share(search(sobol(seed=1), problem, 18))
    assert found > other + 0.02


def test_refuses_too_few_initial_points():
    with pytest.raises(StudyError, match="greater than or equal to 2"):
        bayesian(initial=1)
