"""The contract of search engines: deterministic, never the same point twice, resumed by replay."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import pytest
import torch

from moc.search.engines.base import Engine
from moc.search.space import Point, Space

TWO, THREE = Space.over("a", "b"), Space.over("a", "b", "c")
CHOSEN = Space(TWO.weights, choices={"steps": 3, "labels": 2}, recipe_cost=5.0)
BAD = (math.nan, math.inf, -math.inf)


def tell(engine: Engine, points: Sequence[Point]) -> None:
    """Report what a smooth problem would give at these points."""
    for point in points:
        weights = np.array(engine.space.weights.values(point))
        centres = (np.arange(engine.objectives) + 0.5) / engine.objectives
        values = [float(abs(weights[-1] - centre) + 0.1 * weights[0]) for centre in centres]
        engine.tell(point, values, [0.01] * engine.objectives)


def distinct(space: Space, points: Sequence[Point]) -> bool:
    """Whether no two points are the same trial."""
    rows = np.array([space.encode(point) for point in points])
    gaps = np.linalg.norm(rows[:, None] - rows[None], axis=-1)
    return bool(gaps[~np.eye(len(rows), dtype=bool)].min() >= Engine.tolerance)


class EngineContract:
    """Subclasses give `make` with settings under which 4 results start the engine's own choice.

    Attributes:
        spaces: Every space that the engine is held to, by title.
        numbers: Every number of objectives.
    """

    spaces: ClassVar[Mapping[str, Space]] = {
        "two losses": TWO,
        "three losses": THREE,
        "choices": CHOSEN,
    }
    numbers: ClassVar[Sequence[int]] = (1, 2, 3)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Every test in every space, with every number of objectives."""
        if {"space", "objectives"} <= set(metafunc.fixturenames):
            metafunc.parametrize("space", list(self.spaces.values()), ids=list(self.spaces))
            metafunc.parametrize("objectives", self.numbers)

    def make(self, space: Space, objectives: int, seed: int) -> Engine:  # noqa: ARG002
        """An engine of the kind that is tested."""
        raise AssertionError("name the engine")

    def started(self, space: Space, objectives: int, seed: int = 3) -> Engine:
        """An engine with four results."""
        engine = self.make(space, objectives, seed)
        tell(engine, engine.ask(4))
        return engine

    def test_points_lie_in_the_space_and_never_repeat(self, space: Space, objectives: int) -> None:
        """Weights on the simplex, each trial once."""
        engine = self.make(space, objectives, 0)
        points: list[Point] = []
        for n in (0, 1, 4, 2):
            asked = engine.ask(n)
            assert len(asked) == n
            tell(engine, asked)
            points += asked
        assert all(type(value) is float for point in points for value in point.values())
        values = np.array([space.weights.values(point) for point in points])
        assert (values >= 0).all()
        assert values.sum(axis=1) == pytest.approx(1.0)
        assert distinct(space, points)

    def test_seed_and_calls_determine_the_points(self, space: Space, objectives: int) -> None:
        """And another seed gives other points."""
        asked = []
        for seed in (3, 3, 4):
            engine = self.started(space, objectives, seed)
            first = engine.ask(2)
            tell(engine, first[1:])
            asked.append(first + engine.ask(1))
        assert asked[0] == asked[1]
        assert asked[0] != asked[2]

    def test_resumes_from_a_written_ledger(self, space: Space, objectives: int) -> None:
        """Nothing of an engine is stored but what it was asked and told."""
        engine, ledger = self.make(space, objectives, 5), []
        for n, finished in ((3, 3), (2, 1), (1, 1)):
            asked = engine.ask(n)
            tell(engine, asked[:finished])
            ledger.append((asked, finished))
        again = self.make(space, objectives, 5)
        for asked, finished in json.loads(json.dumps(ledger)):
            again.replay(asked)
            tell(again, asked[:finished])
        assert again.ask(2) == engine.ask(2)

    def test_goes_on_while_trials_are_under_way_or_have_failed(
        self, space: Space, objectives: int
    ) -> None:
        """Whatever order they finish in."""
        engine = self.make(space, objectives, 1)
        asked = engine.ask(6)
        tell(engine, [asked[i] for i in (5, 0, 3, 2)])
        asked += engine.ask(1)
        asked += engine.ask(2)
        assert distinct(space, asked)

    def test_does_not_ask_for_what_is_pending_elsewhere(
        self, space: Space, objectives: int
    ) -> None:
        """Points that other workers try count as taken."""
        wanted = self.started(space, objectives).ask(2)
        instead = self.started(space, objectives).ask(2, pending=wanted)
        assert distinct(space, wanted + instead)

    def test_naming_its_own_pending_points_changes_nothing(
        self, space: Space, objectives: int
    ) -> None:
        """It remembers them anyway."""
        named, silent = (self.started(space, objectives) for _ in range(2))
        under_way = named.ask(1)
        assert silent.ask(1) == under_way
        assert named.ask(1, pending=under_way) == silent.ask(1)

    def test_takes_repeated_and_foreign_points(self, space: Space, objectives: int) -> None:
        """A point may be measured again, and need not have been asked for."""
        engine = self.started(space, objectives)
        corner = space.point([1.0] + [0.0] * space.weights.dimension)
        for value in (0.3, 0.32, 0.31):
            engine.tell(corner, [value] * objectives, [0.01] * objectives)
        assert distinct(space, [corner, *engine.ask(2)])

    def test_takes_results_that_are_all_alike_and_without_error(
        self, space: Space, objectives: int
    ) -> None:
        """Nothing to learn is no reason to stop."""
        engine = self.make(space, objectives, 0)
        for point in engine.ask(5):
            engine.tell(point, [0.9] * objectives, [0.0] * objectives)
        assert len(engine.ask(1)) == 1

    def test_refuses_what_is_no_result_and_is_not_changed_by_it(
        self, space: Space, objectives: int
    ) -> None:
        """NaN, infinity, a negative standard error, or another number of objectives."""
        engine, untouched = (self.started(space, objectives) for _ in range(2))
        point, good, errors = space.decode([0.5] * space.dimension), [0.5], [0.01]
        for values, spread in (
            *(([*good * (objectives - 1), bad], errors * objectives) for bad in BAD),
            *((good * objectives, [*errors * (objectives - 1), bad]) for bad in (*BAD, -0.1)),
            (good * (objectives + 1), errors * (objectives + 1)),
            (good * objectives, errors * (objectives + 1)),
        ):
            with pytest.raises(ValueError, match="Expected"):
                engine.tell(point, values, spread)
        assert engine.ask(1) == untouched.ask(1)

    def test_leaves_global_generators_alone(self, space: Space, objectives: int) -> None:
        """Of torch, NumPy and Python."""
        before = torch.get_rng_state(), np.random.get_state(), random.getstate()
        self.started(space, objectives).ask(2)
        after = torch.get_rng_state(), np.random.get_state(), random.getstate()
        assert torch.equal(before[0], after[0])
        np.testing.assert_equal(before[1], after[1])
        assert before[2] == after[2]

    def test_refuses_what_is_no_search(self, space: Space, objectives: int) -> None:
        """A negative seed, nothing to measure, or a single loss."""
        for arguments, fault in (
            ((space, objectives, -1), "seed"),
            ((space, 0, 0), "objective"),
            ((Space.over("a"), objectives, 0), "coordinate"),
        ):
            with pytest.raises(ValueError, match=fault):
                self.make(*arguments)
