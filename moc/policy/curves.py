"""The best point of all curves within limits, by what its set should score, and its price."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moc.errors import PolicyError
from moc.evaluate.scores import Estimate
from moc.policy.rules import (
    BALANCED,
    Limits,
    advice_on,
    check_limits,
    compromise,
    describe_limits,
    normalise,
    value_words,
)
from moc.search.space import Point
from moc.study.expected import Expected, expected
from moc.study.records import StudyRecord

_RELAXED = 0.02
"""By how much a limit on a share is relaxed to say what it costs."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A point of a curve that a policy chooses.

    Attributes:
        rung: Index of the curve's rung.
        recipe: What was chosen for its recipe, in words; empty without choices.
        point: The point.
        scores: What its set should score, with the standard error of that; validation records.
        reason: Why it is chosen, in words.
        prices: What relaxing a limit would gain, a sentence each.
        compared: Largest epsilon of the curves that took part in the choice; infinity in an open
            study.
    """

    rung: int
    recipe: str
    point: Point
    scores: dict[str, Estimate]
    reason: str
    prices: tuple[str, ...]
    compared: float


def best_place(study: StudyRecord, limits: Limits, prefer: str = BALANCED) -> Place:
    """The best point of all curves that keeps within the limits.

    Best is lowest in the preferred objective; without one, in the only measured objective that has
    no limit, where limits leave one; else the most even compromise. Limits are held to expected
    scores, which are then to be confirmed: the best of many expectations is an optimistic one.

    Args:
        study: The study, whose sets are points of curves.
        limits: What the choice must keep to.
        prefer: The objective that matters most, or `balanced`.

    Raises:
        PolicyError: If no point keeps within the limits: says which comes closest; or if a limit or
            preference does not go with the study.
    """
    check_limits(limits, study)
    if prefer != BALANCED:
        check_limits({prefer: 1.0}, study)
    # Rungs above the limit on epsilon take no part in the choice, so that it costs no more.
    most = limits.get("epsilon", math.inf)
    curves = [one for one in expected(study) if one.epsilon <= most or not study.is_private]
    if not curves:
        raise PolicyError(f"No rung of study {study.name} has an epsilon of at most {most:g}.")
    found = _Candidates(curves, study)
    kept = found.within(limits)
    if not len(kept):
        raise PolicyError(found.closest_miss(limits))
    aim = _aim(limits, prefer, study)
    here = found.best(kept, aim)
    what = f"lowest expected {study.objectives[aim].words}" if aim else "most even compromise"
    prices = [found.price(here, limits, name, aim) for name in limits] if aim else []
    return Place(
        rung=found.rung(here),
        recipe=study.recipe_words(found.recipe(here)),
        point=found.points[here],
        scores=found.estimates(here),
        reason=f"The {what} within {describe_limits(limits, study.objectives)}.",
        prices=tuple(price for price in prices if price),
        compared=max(one.epsilon for one in curves),
    )


def place_at(study: StudyRecord, point: Point, epsilon: float | None, *, recipe: int = 0) -> Place:
    """A point that a person asks for, with what its set should score.

    Raises:
        StudyError: If there is no such rung.
        PolicyError: If it is no point of the curve.
    """
    rung, others = study.rung_index(epsilon), study.weighed[1:]
    if set(point) != set(others) or min(point.values()) < 0 or sum(point.values()) > 1:
        raise PolicyError(
            f"A point of the curve is a weight of {' and of '.join(others)}, from 0 to 1 together; "
            f"found {point}."
        )
    curves = [
        one
        for one in expected(study)
        if (one.rung.index if one.rung else 0, one.recipe) == (rung, recipe)
    ]
    if not curves:
        raise PolicyError(f"No set of such a curve of study {study.name} is scored; run it first.")
    found = _Candidates(curves, study)
    nearest = min(
        range(len(found.points)),
        key=lambda k: math.dist(study.space.place(found.points[k]).values(), point.values()),
    )
    return Place(
        rung=rung,
        recipe=study.recipe_words(recipe),
        point=dict(point) | study.space.choice(found.points[nearest]),
        scores=found.estimates(nearest),
        reason="Asked for.",
        prices=(),
        # A person may have seen the scores of every rung.
        compared=study.epsilon,
    )


def _aim(limits: Limits, prefer: str, study: StudyRecord) -> str | None:
    """The one objective to minimise; None for a compromise of all."""
    if prefer != BALANCED:
        return prefer
    free = [name for name in study.measured if name not in limits]
    return free[0] if limits and len(free) == 1 else None


class _Candidates:
    """All points of some curves, with functions drawn from what their scores leave open."""

    def __init__(self, curves: Sequence[Expected], study: StudyRecord) -> None:
        objectives = study.objectives
        self.curves, self.objectives, self._space = curves, objectives, study.space
        self.points = [point for one in curves for point in one.points]
        self._curve = np.repeat(np.arange(len(curves)), [len(one.points) for one in curves])
        self._draws = {
            name: np.concatenate(
                np.broadcast_arrays(*[np.atleast_2d(one.draws[name]) for one in curves]), axis=1
            )
            for name in objectives
        }
        self._means = {name: draws.mean(0) for name, draws in self._draws.items()}

    def rung(self, place: int) -> int:
        rung = self.curves[self._curve[place]].rung
        return rung.index if rung else 0

    def recipe(self, place: int) -> int:
        return self.curves[self._curve[place]].recipe

    def estimates(self, place: int) -> dict[str, Estimate]:
        return {
            name: Estimate(mean=float(draws[:, place].mean()), se=float(draws[:, place].std()))
            for name, draws in self._draws.items()
        }

    def within(self, limits: Limits) -> NDArray[np.int64]:
        """Points that should keep within the limits."""
        fine = np.ones(len(self.points), dtype=bool)
        for name, most in limits.items():
            fine &= self._means[name] <= most
        return np.flatnonzero(fine)

    def best(self, kept: NDArray[np.int64], aim: str | None) -> int:
        """The best of these points."""
        table = np.array(
            [[one.scaled(v) for v in self._means[name]] for name, one in self.objectives.items()]
        ).T
        z = normalise(table)
        if aim is not None:
            lowest = self._means[aim][kept]
            kept = kept[np.isclose(lowest, lowest.min(), rtol=0, atol=1e-9)]
        return int(kept[compromise(z[kept])])

    def price(self, here: int, limits: Limits, name: str, aim: str | None) -> str:
        """What relaxing one limit would gain; empty where that is not a measured share."""
        objective = self.objectives[name]
        if aim is None or objective.exact:
            return ""
        there = self.best(self.within({**limits, name: limits[name] + _RELAXED}), aim)
        gain = self._draws[aim][:, here] - self._draws[aim][:, there]
        words = f"Relaxing {objective.words} by {_RELAXED:g}"
        if gain.mean() <= gain.std() or here == there:
            return f"{words} gains nothing that the scores can tell."
        goal = self.objectives[aim]
        unit = goal.shown
        return (
            f"{words} gains {unit.text(gain.mean())} ± {unit.text(gain.std())} {unit.step} of "
            f"{goal.words}."
        )

    def closest_miss(self, limits: Limits) -> str:
        """Which point comes closest, by the sum of misses relative to each limit."""
        over = sum(
            np.maximum(self._means[name] - most, 0) / max(most, 1e-3)
            for name, most in limits.items()
        )
        place = int(np.argmin(over))
        missed = [name for name, most in limits.items() if self._means[name][place] > most]
        words = ", ".join(
            f"{self.objectives[name].words} "
            f"{value_words(self.objectives[name], float(self._means[name][place]))}"
            for name in limits
        )
        return (
            f"No point of a curve should keep within {describe_limits(limits, self.objectives)}. "
            f"Closest comes {point_words(self._space.place(self.points[place]))}"
            f"{_rung_words(self.curves[self._curve[place]])}: expected {words}. Loosen a limit."
            f"{advice_on(missed, self.objectives)}"
        )


def point_words(point: Point) -> str:
    """A point in words: `w(robust_error) = 0.30`."""
    return ", ".join(f"w({name}) = {weight:.2f}" for name, weight in point.items())


def _rung_words(curve: Expected) -> str:
    return "" if curve.rung is None else f" of rung {curve.rung.epsilon:g}"
