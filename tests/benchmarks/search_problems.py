"""What engines are compared on: an analytic trial loop, and a stored table of scored sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from curve import FRAME
from recipes import CHOICES, NAMES, _at

from moc.search.front import Frame, hypervolume, nondominated
from moc.search.space import Point, Space

STEPS, RATE, MU, NOISE = 200, 0.05, 0.05, 0.03


class Problem(Protocol):
    """A search whose best is known."""

    space: Space
    objectives: int

    def measure(self, point: Point, rng: np.random.Generator) -> tuple[Any, Any]:
        """Values and standard errors of a trial."""

    def share(self, points: Sequence[Point]) -> float:
        """What the points are worth in truth, over what the best ones are."""


@dataclass(frozen=True)
class Analytic:
    """Three objectives of a set of six numbers, found by Adam on smooth Tchebycheff.

    Squared distances d² to three corners (convex), or 1 - exp(-1.5 d²) (concave), each over its
    largest value among the corners. A measurement has Gaussian noise of 3 % of that. The share is
    the true hypervolume of everything tried over that of a dense front, which lies in the
    triangle between the corners.
    """

    concave: bool
    space = Space.over("a", "b", "c")
    objectives = 3

    def values(self, sets: np.ndarray) -> np.ndarray:
        """(..., 6) to (..., 3)."""
        distance = ((sets[..., None, :] - np.eye(6)[:3]) ** 2).sum(-1)
        if self.concave:
            return (1 - np.exp(-1.5 * distance)) / (1 - np.exp(-3.0))
        return distance / 2

    def truth(self, points: Sequence[Point]) -> np.ndarray:
        """(n, 3): Adam on the smooth Tchebycheff value of each, from the same start."""
        weights = np.array([self.space.weights.values(point) for point in points]).clip(0.02)
        weights /= weights.sum(-1, keepdims=True)
        sets = np.full((len(points), 6), 0.3)
        mean, square = np.zeros_like(sets), np.zeros_like(sets)
        for step in range(1, STEPS + 1):
            difference = sets[:, None, :] - np.eye(6)[:3]
            losses = self.values(sets)
            share = np.exp(weights * (losses + 0.05) / MU)
            share /= share.sum(-1, keepdims=True)
            slope = np.ones_like(losses)
            if self.concave:
                slope = 3.0 * np.exp(-1.5 * (difference**2).sum(-1)) / (1 - np.exp(-3.0))
            gradient = ((share * weights * slope)[..., None] * difference).sum(1)
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            size = np.sqrt(square / (1 - 0.999**step)) + 1e-8
            sets = sets - RATE * (mean / (1 - 0.9**step)) / size
        return self.values(sets)

    def measure(self, point: Point, rng: np.random.Generator) -> tuple[Any, Any]:
        """Noisy values; their standard errors are known."""
        values = self.truth([point])[0] + NOISE * rng.standard_normal(3)
        return values.tolist(), [NOISE] * 3

    def share(self, points: Sequence[Point]) -> float:
        """Of the front."""
        return hypervolume(self.truth(points), frame=self._frame) / self._best

    @property
    def _frame(self) -> Frame:
        return Frame(ideal=(0.0,) * 3, nadir=(1.0,) * 3)

    @cached_property
    def _best(self) -> float:
        side = 80
        rows = [
            (i / side, j / side, 1 - (i + j) / side)
            for i in range(side + 1)
            for j in range(side + 1 - i)
        ]
        sets = np.pad(np.array(rows), ((0, 0), (0, 3)))
        return hypervolume(self.values(sets), frame=self._frame)


class Stored:
    """A table by `recipes.py table`: recipes of digits, and points of the curve of each.

    Engines see validation scores; the share is the hypervolume on test records of what is
    non-dominated on validation records, over that of all points of the table.
    """

    objectives = 2

    def __init__(self, table: Sequence[Any]) -> None:
        """Of these rows."""
        counts = {name: len(values) for name, values in CHOICES.items()}
        self.table, self.space = table, Space(Space.over(*NAMES).weights, choices=counts)
        every = [(row, w) for row in table for w in np.linspace(0, 1, 65)]
        self._best = hypervolume(np.array([_at(*one, "test") for one in every]), frame=FRAME)

    def measure(self, point: Point, rng: np.random.Generator) -> tuple[Any, Any]:
        """What is stored, on validation records."""
        row, w = self._place(point)
        return _at(row, w, "validation"), _at(row, w, "validation", place=1)

    def share(self, points: Sequence[Point]) -> float:
        """Of everything in the table."""
        places = [self._place(point) for point in points]
        seen = np.array([_at(*place, "validation") for place in places])
        test = np.array([_at(*place, "test") for place in places])
        return hypervolume(test[nondominated(seen)], frame=FRAME) / self._best

    def _place(self, point: Point) -> tuple[Any, float]:
        return self.table[self.space.recipe(point)], point["robust_error"]
