"""What every search engine does: ask for weightings, be told what they were worth."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch.quasirandom import SobolEngine as SobolGenerator

from moc.errors import StudyError
from moc.evaluate.scores import OBJECTIVES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moc.search.space import SearchSpace, Weighting

_HOMES = {
    "sobol": ("moc.search.sobol", "SobolEngine"),
    "bayesian": ("moc.search.bayesian", "BayesianEngine"),
    "evolutionary": ("moc.search.evolutionary", "EvolutionaryEngine"),
}

ENGINES = tuple(_HOMES)
"""The names that `make_engine` knows."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one finished trial was worth, in the order of `OBJECTIVES`, all minimised.

    Attributes:
        weighting: The point that was tried.
        values: Measured means; epsilon is infinite in an open study.
        errors: Their standard errors; 0 for epsilon.
    """

    weighting: Weighting
    values: tuple[float, ...]
    errors: tuple[float, ...]


class Engine(ABC):
    """A search over weightings, driven by ask and tell.

    An engine is a deterministic function of its space, its seed and the calls it got: built again
    and given the same calls in the same order, it asks for the same points. A study resumes that
    way; nothing of an engine is ever stored. Trials may finish in any order, points that were
    never asked for may be told, and a failed trial is simply not told: it counts as under way for
    ever, so that the search does not go back to it.

    The objectives are (error, robust error, log epsilon), or the first two in an open study. No
    engine asks for the same trial twice.
    """

    tolerance: ClassVar[float] = 1e-3
    """Two points closer than this (in `SearchSpace.inputs`) count as the same trial."""

    def __init__(self, space: SearchSpace, *, seed: int) -> None:
        """Start a search.

        Args:
            space: What may be searched.
            seed: Public, not negative.

        Raises:
            ValueError: The seed is negative.
        """
        if seed < 0:
            raise ValueError(f"A seed is not negative, found {seed}.")
        self.space = space
        self.seed = seed
        self._asked: list[Weighting] = []
        self._told: list[Observation] = []
        self._sequence = SobolGenerator(space.dimension, scramble=True, seed=seed)
        self._points: list[Weighting] = []

    def ask(self, n: int, pending: Sequence[Weighting] = ()) -> list[Weighting]:
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

    def replay(self, asked: Sequence[Weighting], pending: Sequence[Weighting] = ()) -> None:
        """Repeat an earlier `ask` whose answer is known, leaving the engine as that ask did.

        Same as asking again and ignoring the answer, but without the work where an engine can do
        without it; resuming a long study is then a matter of milliseconds.

        Args:
            asked: The answer at the time.
            pending: What was pending at the time.
        """
        self.ask(len(asked), pending)

    def tell(self, weighting: Weighting, values: Sequence[float], errors: Sequence[float]) -> None:
        """Report a finished trial.

        Args:
            weighting: The point that was tried; it need not have been asked for.
            values: (error, robust error, epsilon), all minimised. Epsilon is not read in an open
                study.
            errors: Standard errors of the values.

        Raises:
            ValueError: Not three of each, something is NaN or infinite (epsilon apart, in an open
                study), or a standard error is negative. A failed trial is not told at all.
        """
        read = len(OBJECTIVES) if self.space.epsilons else len(OBJECTIVES) - 1
        if not len(values) == len(errors) == len(OBJECTIVES):
            raise ValueError(f"Expected {OBJECTIVES} and their standard errors, found {values}.")
        if not all(map(math.isfinite, [*values[:read], *errors[:read]])) or math.isnan(values[-1]):
            raise ValueError(
                f"Expected finite values and standard errors of {OBJECTIVES[:read]}, found "
                f"{tuple(values)} and {tuple(errors)}; do not tell a trial that failed."
            )
        if min(errors[:read]) < 0 or values[-1] <= 0:
            raise ValueError(
                "Expected standard errors of at least 0 and a positive epsilon, found "
                f"{tuple(errors)} and {values[-1]}."
            )
        self._told.append(
            Observation(weighting=weighting, values=tuple(values), errors=tuple(errors))
        )

    @abstractmethod
    def _propose(self, running: Sequence[Weighting]) -> Weighting | None:
        """One more point, given those under way; None leaves the choice to the Sobol sequence."""

    @property
    def _tried(self) -> list[Weighting]:
        """The points of all results, in the order told."""
        return [observation.weighting for observation in self._told]

    def _running(self, pending: Sequence[Weighting]) -> list[Weighting]:
        """Points under way, each once: asked for here or pending elsewhere, and not told."""
        told = {_key(weighting) for weighting in self._tried}
        running = {_key(weighting): weighting for weighting in [*self._asked, *pending]}
        return [weighting for key, weighting in running.items() if key not in told]

    def _nearness(self, points: Sequence[Weighting], taken: Sequence[Weighting]) -> np.ndarray:
        """Distance from each point to the nearest taken one, shape (points,)."""
        if not taken:
            return np.full(len(points), np.inf)
        here = np.array([self.space.inputs(point) for point in points])
        there = np.array([self.space.inputs(point) for point in taken])
        return np.linalg.norm(here[:, None] - there[None], axis=-1).min(axis=1)

    def _unused_sobol_point(self, taken: Sequence[Weighting]) -> Weighting:
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


def _key(weighting: Weighting) -> tuple[float, ...]:
    """Equal for a point and the same point written to a file and read back."""
    return tuple(round(value, 9) for value in weighting.values())


def make_engine(name: str, space: SearchSpace, seed: int, **settings: object) -> Engine:
    """Build an engine by name; its optimisation library is imported only now.

    Args:
        name: One of `ENGINES`.
        space: What may be searched.
        seed: Public, not negative.
        **settings: The engine's own keyword arguments, e.g. `initial=8` for `bayesian` or
            `algorithm="nsga2"` for `evolutionary`.

    Raises:
        StudyError: No engine of that name, or a setting that it does not have.
    """
    if name not in _HOMES:
        raise StudyError(f"Expected a search engine of {', '.join(ENGINES)}, found {name!r}.")
    module, attribute = _HOMES[name]
    engine: Callable[..., Engine] = getattr(import_module(module), attribute)
    known = sorted(set(inspect.signature(engine).parameters) - {"space", "seed"})
    if unknown := sorted(set(settings) - set(known)):
        raise StudyError(
            f"The {name} engine has no setting {', '.join(unknown)}; "
            f"it has {', '.join(known) or 'none'}."
        )
    return engine(space, seed=seed, **settings)
