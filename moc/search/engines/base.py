"""What every search engine does: ask for points, be told what they were worth."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.quasirandom import SobolEngine as SobolGenerator

from moc.parts import Family, Part
from moc.search.space import Point, Space


class EngineSettings(Part, ABC):
    """An engine as a study file names it; its optimisation library is imported when it starts."""

    @abstractmethod
    def start(self, space: Space, *, objectives: int, seed: int) -> Engine:
        """Start a search.

        Args:
            space: What may be searched.
            objectives: Number of measured objectives m, at least 1, all minimised.
            seed: Public, not negative.
        """


ENGINES: Family[EngineSettings] = Family("engines", EngineSettings, "moc.search.engines")


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one finished trial was worth.

    Attributes:
        point: The point that was tried.
        values: Measured means (m,), all minimised.
        errors: Their standard errors.
    """

    point: Point
    values: tuple[float, ...]
    errors: tuple[float, ...]


class Engine(ABC):
    """A search driven by ask and tell.

    An engine is a deterministic function of its space, its seed and the calls it got: built again
    and given the same calls in the same order, it asks for the same points. A study resumes that
    way; nothing of an engine is ever stored. Trials may finish in any order, points that were
    never asked for may be told, and a failed trial is simply not told: it counts as under way for
    ever, so that the search does not go back to it. No engine asks for the same trial twice.
    """

    tolerance: ClassVar[float] = 1e-3
    """Two points closer than this (in `Space.encode`) count as the same trial."""

    def __init__(self, space: Space, *, objectives: int, seed: int) -> None:
        """Start a search; see `EngineSettings.start`.

        Raises:
            ValueError: The seed is negative, or there is nothing to search or to measure.
        """
        if seed < 0:
            raise ValueError(f"A seed is not negative, found {seed}.")
        if objectives < 1 or space.dimension < 1:
            raise ValueError(
                f"Expected at least one objective and one coordinate, found {objectives} and "
                f"{space.dimension}."
            )
        self.space, self.objectives, self.seed = space, objectives, seed
        self._asked: list[Point] = []
        self._results: list[Observation] = []
        self._sequence = SobolGenerator(space.dimension, scramble=True, seed=seed)
        self._points: list[Point] = []

    def ask(self, n: int, pending: Sequence[Point] = ()) -> list[Point]:
        """The next n points to try, at once or one after the other.

        Args:
            n: How many.
            pending: Points under way that this engine did not ask for itself. Those it asked for
                it remembers until they are told, so naming them again changes nothing.
        """
        for _ in range(n):
            running = self._running(pending)
            taken = [*running, *self._tried]
            proposal = self._propose(running)
            if proposal is None or self._nearness([proposal], taken)[0] < self.tolerance:
                proposal = self._unused_sobol_point(taken)
            self._asked.append(proposal)
        return self._asked[len(self._asked) - n :]

    def replay(self, asked: Sequence[Point], pending: Sequence[Point] = ()) -> None:
        """Repeat an earlier `ask` whose answer is known, leaving the engine as that ask did.

        Same as asking again and ignoring the answer, but without the work where an engine can do
        without it; resuming a long study is then a matter of milliseconds.

        Args:
            asked: The answer at the time.
            pending: What was pending at the time.
        """
        self.ask(len(asked), pending)

    def tell(
        self, point: Mapping[str, float], values: Sequence[float], errors: Sequence[float]
    ) -> None:
        """Report a finished trial.

        Args:
            point: The point that was tried; it need not have been asked for.
            values: Measured objectives (m,), all minimised.
            errors: Their standard errors.

        Raises:
            ValueError: Not m of each, something is NaN or infinite, or a standard error is
                negative. A failed trial is not told at all.
        """
        if not len(values) == len(errors) == self.objectives:
            raise ValueError(
                f"Expected {self.objectives} values and standard errors, found {tuple(values)} and "
                f"{tuple(errors)}."
            )
        if not all(map(math.isfinite, [*values, *errors])) or min(errors) < 0:
            raise ValueError(
                "Expected finite values and standard errors of at least 0, found "
                f"{tuple(values)} and {tuple(errors)}; do not tell a trial that failed."
            )
        self._results.append(
            Observation(point=dict(point), values=tuple(values), errors=tuple(errors))
        )

    @abstractmethod
    def _propose(self, running: Sequence[Point]) -> Point | None:
        """One more point, given those under way; None leaves the choice to the Sobol sequence."""

    @property
    def _tried(self) -> list[Point]:
        """The points of all results, in the order told."""
        return [observation.point for observation in self._results]

    def _running(self, pending: Sequence[Point]) -> list[Point]:
        """Points under way, each once: asked for here or pending elsewhere, and not told."""
        told = {_key(point) for point in self._tried}
        running = {_key(point): point for point in [*self._asked, *pending]}
        return [point for key, point in running.items() if key not in told]

    def _nearness(self, points: Sequence[Point], taken: Sequence[Point]) -> np.ndarray:
        """Distance from each point to the nearest taken one, shape (points,)."""
        if not taken:
            return np.full(len(points), np.inf)
        here = np.array([self.space.encode(point) for point in points])
        there = np.array([self.space.encode(point) for point in taken])
        return np.linalg.norm(here[:, None] - there[None], axis=-1).min(axis=1)

    def _unused_sobol_point(self, taken: Sequence[Point]) -> Point:
        """The first point of the scrambled Sobol sequence that is not taken.

        The sequence has no end but the space fills up at the tolerance; the point farthest from
        all others is taken then.
        """
        needed = 2 * len(taken) + 16 - len(self._points)
        if needed > 0:
            drawn = self._sequence.draw(needed, dtype=torch.float64).tolist()
            self._points += [self.space.decode(u) for u in drawn]
        nearness = self._nearness(self._points, taken)
        free = np.flatnonzero(nearness >= self.tolerance)
        return self._points[int(free[0]) if free.size else int(nearness.argmax())]


def _key(point: Mapping[str, float]) -> tuple[float, ...]:
    """Equal for a point and the same point written to a file and read back."""
    return tuple(round(value, 9) for value in point.values())
