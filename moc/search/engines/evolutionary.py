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
    """U-NSGA-III, NSGA-III, NSGA-II, SMS-EMOA or MOEA/D over the unit box of weights.

    Attributes:
        algorithm: Which.
        population: Results in a generation.
    """

    kind: Literal["evolutionary"] = "evolutionary"
    algorithm: Literal["unsga3", "nsga3", "nsga2", "smsemoa", "moead"] = "unsga3"
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
    algorithms models noise: a lucky draw survives until it is dominated. MOEA/D has as many
    members as the largest Das-Dennis set within the population has directions, and gives each
    result to the direction that it serves best (Wang et al. 2014, global replacement), since
    results may come in any number and from anywhere.
    """

    def __init__(self, space: Space, *, objectives: int, seed: int, settings: Evolutionary) -> None:
        """Start a search."""
        super().__init__(space, objectives=objectives, seed=seed)
        self._population = settings.population
        self._decomposes = settings.algorithm == "moead"
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
        infills = Population.new("X", points, "F", values)
        if self._decomposes and not self._algorithm.is_initialized:
            infills = infills[self._served(values).argmin(axis=0)]  # the best for each direction
        elif self._decomposes:
            vars(self._algorithm)["indices"] = self._served(values).argmin(axis=1)
        self._algorithm.tell(infills=infills)
        offspring = self._algorithm.ask()
        if offspring is None:
            return []
        return [self.space.decode(u) for u in np.asarray(offspring.get("X")).tolist()]

    def _served(self, values: np.ndarray) -> np.ndarray:
        """How little each result (n, m) is worth to each direction of MOEA/D: (n, directions)."""
        algorithm: Any = self._algorithm
        return algorithm.decomposition.do(
            values,
            weights=algorithm.ref_dirs,
            ideal_point=values.min(0),
            _type="many_to_many",
        )

    def _set_up(self, name: str) -> Algorithm:
        """The pymoo algorithm on an unevaluated box; it draws from a generator of its own."""
        from pymoo.algorithms.moo.moead import ParallelMOEAD
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.algorithms.moo.nsga3 import NSGA3
        from pymoo.algorithms.moo.sms import SMSEMOA
        from pymoo.algorithms.moo.unsga3 import UNSGA3
        from pymoo.core.duplicate import DefaultDuplicateElimination
        from pymoo.core.problem import Problem
        from pymoo.core.termination import NoTermination

        directions = _reference_directions(self.objectives, self._population)
        shared: dict[str, Any] = {
            "pop_size": self._population,
            "eliminate_duplicates": DefaultDuplicateElimination(epsilon=self.tolerance),
        }
        algorithm: Algorithm
        if name == "nsga2":
            algorithm = NSGA2(**shared)
        elif name == "smsemoa":
            algorithm = SMSEMOA(n_offsprings=self._population, **shared)
        elif name == "nsga3":
            algorithm = NSGA3(directions, **shared)
        elif name == "moead":
            if self.objectives == 1:  # parents come from neighbours, of which there must be some
                directions = np.ones((self._population, 1))
            algorithm = ParallelMOEAD(directions, n_neighbors=min(len(directions), 20))
        else:
            algorithm = UNSGA3(directions, **shared)
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
