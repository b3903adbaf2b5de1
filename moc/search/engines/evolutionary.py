"""Evolutionary search by pymoo, its generations freed from waiting for the slowest trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from moc.search.engines.base import Engine, EngineSettings
from moc.search.space import Point, Space

if TYPE_CHECKING:
    from pymoo.core.algorithm import Algorithm


class Evolutionary(EngineSettings):
    """U-NSGA-III, NSGA-II or SMS-EMOA over the unit box of weights.

    Attributes:
        algorithm: Which.
        population: Results in a generation.
    """

    kind: Literal["evolutionary"] = "evolutionary"
    algorithm: Literal["unsga3", "nsga2", "smsemoa"] = "unsga3"
    population: int = Field(default=12, ge=4)

    @override
    def start(self, space: Space, *, objectives: int, seed: int) -> Engine:
        return EvolutionaryEngine(space, objectives=objectives, seed=seed, settings=self)


class EvolutionaryEngine(Engine):
    """A pymoo algorithm behind ask and tell.

    The first generation is the first `population` results, whoever asked for them; until they are
    in, points come from the Sobol sequence. From then on the offspring wait in a queue. When the
    queue is empty and fewer than `population` results came in since the last generation, further
    points come from the Sobol sequence, so no worker ever waits and a trial that failed is
    replaced by another; each result takes part in the selection that follows it. None of these
    algorithms models noise: a lucky draw survives until it is dominated.
    """

    def __init__(self, space: Space, *, objectives: int, seed: int, settings: Evolutionary) -> None:
        """Start a search."""
        super().__init__(space, objectives=objectives, seed=seed)
        self._population = settings.population
        self._algorithm = self._set_up(settings.algorithm)
        self._queue: list[Point] = []
        self._digested = 0

    @override
    def _propose(self, running: Sequence[Point]) -> Point | None:
        """The next of the queue, breeding a generation first when one is due."""
        if not self._queue and len(self._results) - self._digested >= self._population:
            self._queue = self._breed()
        return self._queue.pop(0) if self._queue else None

    def _breed(self) -> list[Point]:
        """Select among the new results and the survivors, and return the offspring."""
        from pymoo.core.population import Population

        results = self._results[self._digested :]
        self._digested = len(self._results)
        points = np.array([self.space.encode(result.point) for result in results])
        values = np.array([result.values for result in results])
        if not self._algorithm.is_initialized:
            self._algorithm.ask()  # its own first generation is not wanted, its set-up is
        self._algorithm.tell(infills=Population.new("X", points, "F", values))
        offspring = self._algorithm.ask()
        if offspring is None:
            return []
        return [self.space.decode(u) for u in np.asarray(offspring.get("X")).tolist()]

    def _set_up(self, name: str) -> Algorithm:
        """The pymoo algorithm on an unevaluated box; it draws from a generator of its own."""
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.algorithms.moo.sms import SMSEMOA
        from pymoo.algorithms.moo.unsga3 import UNSGA3
        from pymoo.core.duplicate import DefaultDuplicateElimination
        from pymoo.core.problem import Problem
        from pymoo.core.termination import NoTermination

        shared: dict[str, Any] = {
            "pop_size": self._population,
            "eliminate_duplicates": DefaultDuplicateElimination(epsilon=self.tolerance),
        }
        if name == "nsga2":
            algorithm = NSGA2(**shared)
        elif name == "smsemoa":
            algorithm = SMSEMOA(n_offsprings=self._population, **shared)
        else:
            algorithm = UNSGA3(_reference_directions(self.objectives, self._population), **shared)
        problem = Problem(n_var=self.space.dimension, n_obj=self.objectives, xl=0.0, xu=1.0)
        return algorithm.setup(problem, seed=self.seed, termination=NoTermination())


def _reference_directions(objectives: int, at_most: int) -> np.ndarray:
    """The largest Das-Dennis set that a population can fill, shape (directions, objectives)."""
    from pymoo.util.ref_dirs import get_reference_directions

    if objectives == 1:
        return np.ones((1, 1))
    partitions = 1
    while math.comb(partitions + objectives, objectives - 1) <= at_most:
        partitions += 1
    return get_reference_directions("das-dennis", objectives, n_partitions=partitions)
