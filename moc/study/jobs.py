"""Jobs that make sets; each a pure function of its fields."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from moc.condense.loop import Condensed, Start, Task, condense, condense_curves, losses_of
from moc.condense.settings import CondenseSettings
from moc.data.curve import Curve, load_curve
from moc.discrepancies.base import Loss
from moc.errors import NotFiniteError
from moc.evidence.base import Evidence
from moc.networks.train import Progress
from moc.search.space import Point
from moc.study.measuring_jobs import ScoringContext
from moc.study.work import Job


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How sets are condensed.

    Attributes:
        losses: What is minimised, by objective.
        condense: Size, schedule and labels.
    """

    losses: Mapping[str, Loss]
    condense: CondenseSettings


@dataclass(frozen=True, kw_only=True)
class WorkerContext(ScoringContext):
    """What all jobs of a study need.

    Attributes:
        evidence: What condensation sees.
        recipes: How, by the number of the recipe.
    """

    evidence: Evidence
    recipes: tuple[Recipe, ...]


@dataclass(frozen=True, kw_only=True)
class Condense(Job[list[Condensed]]):
    """Condense sets together.

    Attributes:
        numbers: Trials of the sets.
        tasks: What to condense, in their order.
    """

    key: str
    lane: int = 0
    numbers: tuple[int, ...]
    tasks: tuple[Task, ...]
    divided = ("numbers", "tasks")

    @property
    @override
    def size(self) -> int:
        return len(self.tasks)

    @override
    def run(self, context: WorkerContext, progress: Progress, /) -> list[Condensed]:
        recipe = context.recipes[0]
        return _finite(
            condense(
                self.tasks,
                evidence=context.evidence,
                losses=tuple(recipe.losses.values()),
                settings=recipe.condense,
                progress=progress,
            )
        )


@dataclass(frozen=True, kw_only=True)
class CondenseCurves(Job[list[Curve]]):
    """Condense the whole front of some rungs.

    Attributes:
        starts: One for each rung.
        recipe: Number of the recipe.
        counts: How many sets wait for it; the display of progress counts these.
    """

    key: str
    lane: int = 0
    starts: tuple[Start, ...]
    recipe: int = 0
    counts: int = 1
    divided = ("starts",)

    @property
    @override
    def size(self) -> int:
        return self.counts

    @override
    def run(self, context: WorkerContext, progress: Progress, /) -> list[Curve]:
        recipe = context.recipes[self.recipe]
        return condense_curves(
            self.starts,
            evidence=context.evidence,
            losses=recipe.losses,
            settings=recipe.condense,
            progress=progress,
        )


@dataclass(frozen=True, kw_only=True)
class Dial(Job[list[Condensed]]):
    """Take sets from a curve and measure their losses; no step is taken.

    Attributes:
        numbers: Trials of the sets.
        points: Where on the curve, in their order.
        recipe: Number of the recipe.
        path: The stored curve.
    """

    key: str
    lane: int = 0
    numbers: tuple[int, ...]
    points: tuple[Point, ...]
    recipe: int = 0
    path: Path
    divided = ("numbers", "points")

    @property
    @override
    def size(self) -> int:
        return 0

    @override
    def run(self, context: WorkerContext, progress: Progress, /) -> list[Condensed]:
        curve = load_curve(self.path)
        sets = [curve.at(**point) for point in self.points]
        losses = tuple(context.recipes[self.recipe].losses.values())
        found = losses_of(sets, rung=self.lane, evidence=context.evidence, losses=losses)
        pairs = zip(sets, found, strict=True)
        return _finite([Condensed(synthetic=one, losses=row) for one, row in pairs])


def _finite(sets: list[Condensed]) -> list[Condensed]:
    """The sets, whose losses must be finite.

    Raises:
        NotFiniteError: If they are not.
    """
    if not all(math.isfinite(loss) for one in sets for loss in one.losses):
        raise NotFiniteError("a loss of the finished set is infinite or not a number")
    return sets
