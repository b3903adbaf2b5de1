"""What every engine must do; each engine's test class inherits it."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest
import torch
from analytic import LADDER, Problem

from moc.search.engines.base import Engine
from moc.search.space import SearchSpace, Weighting

SPACES = {
    "open": SearchSpace(),
    "private": SearchSpace(epsilons=LADDER),
    "one rung": SearchSpace(epsilons=(4.0,)),
}
ERRORS = (0.01, 0.01, 0.0)


def told(engine: Engine, weightings: list[Weighting]) -> None:
    problem = Problem(space=engine.space)
    for weighting in weightings:
        engine.tell(weighting, problem.truth(weighting), ERRORS)


def distinct(space: SearchSpace, weightings: list[Weighting]) -> bool:
    points = np.array([space.inputs(weighting) for weighting in weightings])
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1)
    return gaps[~np.eye(len(points), dtype=bool)].min() >= 1e-3


class EngineContract:
    """Subclasses give `make` with settings under which 4 results start the engine's own choice."""

    def make(self, space: SearchSpace, seed: int) -> Engine:
        raise NotImplementedError

    @pytest.fixture(params=list(SPACES))
    def space(self, request) -> SearchSpace:
        return SPACES[request.param]

    def started(self, space: SearchSpace, seed: int = 3) -> Engine:
        engine = self.make(space, seed)
        told(engine, engine.ask(4))
        return engine

    def test_points_lie_in_the_space_and_never_repeat(self, space):
        engine = self.make(space, 0)
        points = []
        for n in (0, 1, 4, 2):
            asked = engine.ask(n)
            assert len(asked) == n
            told(engine, asked)
            points += asked
        values = np.array([point.values() for point in points])
        assert all(type(value) is float for point in points for value in point.values())
        assert (values >= 0).all()
        assert values.sum(axis=1) == pytest.approx(1.0)
        if not space.epsilons:
            assert (values[:, 2] == 0).all()
        assert distinct(space, points)

    def test_seed_and_calls_determine_the_points(self, space):
        asked = []
        for seed in (3, 3, 4):
            engine = self.started(space, seed)
            first = engine.ask(2)
            told(engine, first[1:])
            asked.append(first + engine.ask(1))
        assert asked[0] == asked[1]
        assert asked[0] != asked[2]

    def test_resumes_from_a_written_ledger(self, space):
        engine = self.make(space, 5)
        ledger = []
        for n, finished in ((3, 3), (2, 1), (1, 1)):
            asked = engine.ask(n)
            told(engine, asked[:finished])
            ledger.append(([point.values() for point in asked], finished))
        again = self.make(space, 5)
        for written, finished in json.loads(json.dumps(ledger)):
            names = ("generalization", "adversarial", "privacy")
            asked = [Weighting(**dict(zip(names, row, strict=True))) for row in written]
            again.replay(asked)
            told(again, asked[:finished])
        assert again.ask(2) == engine.ask(2)

    def test_goes_on_while_trials_are_under_way_or_have_failed(self, space):
        engine = self.make(space, 1)
        asked = engine.ask(6)
        told(engine, [asked[i] for i in (5, 0, 3, 2)])
        asked += engine.ask(1)
        asked += engine.ask(2)
        assert distinct(space, asked)

    def test_does_not_ask_for_what_is_pending_elsewhere(self, space):
        wanted = self.started(space).ask(2)
        instead = self.started(space).ask(2, pending=wanted)
        assert distinct(space, wanted + instead)

    def test_naming_its_own_pending_points_changes_nothing(self, space):
        named, silent = self.started(space), self.started(space)
        under_way = named.ask(1)
        assert silent.ask(1) == under_way
        assert named.ask(1, pending=under_way) == silent.ask(1)

    def test_takes_repeated_and_foreign_points(self, space):
        engine = self.started(space)
        corner = Weighting(generalization=1.0, adversarial=0.0, privacy=0.0)
        epsilon = space.epsilons[0] if space.epsilons else math.inf
        for error in (0.3, 0.32, 0.31):
            engine.tell(corner, (error, 0.8, epsilon), ERRORS)
        assert distinct(space, [corner, *engine.ask(2)])

    def test_takes_results_that_are_all_alike_and_without_error(self, space):
        engine = self.make(space, 0)
        for point in engine.ask(5):
            epsilon = space.epsilons[0] if space.epsilons else math.inf
            engine.tell(point, (0.9, 0.9, epsilon), (0.0, 0.0, 0.0))
        assert len(engine.ask(1)) == 1

    @pytest.mark.parametrize(
        ("values", "errors"),
        [
            ((math.nan, 0.5, 4.0), ERRORS),
            ((0.5, math.inf, 4.0), ERRORS),
            ((0.5, 0.5, math.nan), ERRORS),
            ((0.5, 0.5, 4.0), (math.nan, 0.0, 0.0)),
            ((0.5, 0.5, 4.0), (-0.1, 0.0, 0.0)),
            ((0.5, 0.5, 0.0), ERRORS),
            ((0.5, 0.5), (0.0, 0.0)),
        ],
    )
    def test_refuses_what_is_no_result_and_is_not_changed_by_it(self, space, values, errors):
        engine, untouched = self.started(space), self.started(space)
        with pytest.raises(ValueError, match="Expected"):
            engine.tell(Weighting.of(robust_share=0.5, privacy=0.0), values, errors)
        assert engine._told == untouched._told

    def test_infinite_epsilon_is_for_open_studies_only(self, space):
        point, values = Weighting.of(robust_share=0.5, privacy=0.0), (0.5, 0.5, math.inf)
        if space.epsilons:
            with pytest.raises(ValueError, match="finite"):
                self.make(space, 0).tell(point, values, ERRORS)
        else:
            self.make(space, 0).tell(point, values, ERRORS)

    def test_leaves_global_generators_alone(self, space):
        before = torch.get_rng_state(), np.random.get_state(), random.getstate()
        told_engine = self.started(space)
        told_engine.ask(2)
        after = torch.get_rng_state(), np.random.get_state(), random.getstate()
        assert torch.equal(before[0], after[0])
        np.testing.assert_equal(before[1], after[1])
        assert before[2] == after[2]

    def test_refuses_a_negative_seed(self, space):
        with pytest.raises(ValueError, match="seed"):
            self.make(space, -1)
