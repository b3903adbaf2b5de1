"""Evolutionary search by pymoo, its generations freed from waiting for the slowest trial."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.sms import SMSEMOA
from pymoo.algorithms.moo.unsga3 import UNSGA3
from pymoo.core.duplicate import DefaultDuplicateElimination
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination
from pymoo.util.ref_dirs import get_reference_directions

from moc.errors import StudyError
from moc.search.base import Engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymoo.core.algorithm import Algorithm

    from moc.search.space import SearchSpace, Weighting

ALGORITHMS = ("unsga3", "nsga2", "smsemoa")
"""The algorithms that `EvolutionaryEngine` knows."""


class EvolutionaryEngine(Engine):
    """U-NSGA-III, NSGA-II or SMS-EMOA over the unit box of weightings.

    The first generation is the first `population` results, whoever asked for them; until they are
    in, points come from the Sobol sequence. From then on the offspring wait in a queue. When the
    queue is empty and fewer than `population` results came in since the last generation, further
    points come from the Sobol sequence, so no worker ever waits and a trial that failed is
    replaced by another; each result takes part in the selection that follows it. None of these
    algorithms models noise: a lucky draw survives until it is dominated.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        algorithm: str = "unsga3",
        population: int = 12,
    ) -> None:
        """Start a search.

        Args:
            space: What may be searched.
            seed: Public, not negative.
            algorithm: One of `ALGORITHMS`.
            population: Results in a generation, at least 4.

        Raises:
            StudyError: An unknown algorithm or a population below 4.
        """
        super().__init__(space, seed=seed)
        if algorithm not in ALGORITHMS:
            raise StudyError(
                f"Expected an algorithm of {', '.join(ALGORITHMS)}, found {algorithm!r}."
            )
        if population < 4:
            raise StudyError(f"Expected a population of at least 4, found {population}.")
        self._population = population
        self._algorithm = self._set_up(algorithm)
        self._queue: list[Weighting] = []
        self._digested = 0

    def _propose(self, running: Sequence[Weighting]) -> Weighting | None:  # noqa: ARG002
        """The next of the queue, breeding a generation first when one is due."""
        if not self._queue and len(self._told) - self._digested >= self._population:
            self._queue = self._breed()
        return self._queue.pop(0) if self._queue else None

    def _breed(self) -> list[Weighting]:
        """Select among the new results and the survivors, and return the offspring."""
        results = self._told[self._digested :]
        self._digested = len(self._told)
        points = np.array([self.space.encode(result.weighting) for result in results])
        objectives = np.array([self._objectives(result.values) for result in results])
        if not self._algorithm.is_initialized:
            self._algorithm.ask()  # its own first generation is not wanted, its set-up is
        self._algorithm.tell(infills=Population.new("X", points, "F", objectives))
        offspring = self._algorithm.ask()
        if offspring is None:
            return []
        return [self.space.decode(u) for u in np.asarray(offspring.get("X")).tolist()]

    def _trials(self, population: Population) -> np.ndarray:
        """What distinguishes individuals as trials, shape (individuals, dimension)."""
        boxes = np.asarray(population.get("X")).tolist()
        return np.array([self.space.inputs(self.space.decode(u)) for u in boxes])

    def _objectives(self, values: Sequence[float]) -> list[float]:
        error, robust_error, epsilon = values
        known = [math.log2(epsilon)] if self.space.epsilons else []
        return [error, robust_error, *known]

    def _set_up(self, name: str) -> Algorithm:
        """The pymoo algorithm on an unevaluated box; it draws from a generator of its own."""
        objectives = 3 if self.space.epsilons else 2
        shared = {
            "pop_size": self._population,
            "eliminate_duplicates": DefaultDuplicateElimination(
                epsilon=self.tolerance, func=self._trials
            ),
        }
        if name == "nsga2":
            algorithm = NSGA2(**shared)
        elif name == "smsemoa":
            algorithm = SMSEMOA(n_offsprings=self._population, **shared)
        else:
            algorithm = UNSGA3(_reference_directions(objectives, self._population), **shared)
        problem = Problem(n_var=self.space.dimension, n_obj=objectives, xl=0.0, xu=1.0)
        return algorithm.setup(problem, seed=self.seed, termination=NoTermination())


def _reference_directions(objectives: int, at_most: int) -> np.ndarray:
    """The largest Das-Dennis set that a population can fill, shape (directions, objectives)."""
    partitions = 1
    while math.comb(partitions + objectives, objectives - 1) <= at_most:
        partitions += 1
    return get_reference_directions("das-dennis", objectives, n_partitions=partitions)
