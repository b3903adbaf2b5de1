"""Jobs: condensing sets, scoring one, looking closer at one; each a pure function of its fields."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from typing_extensions import override

from moc.attacks.threat import Threat
from moc.condense.loop import Condensed, Start, Task, condense, condense_curves, losses_of
from moc.condense.settings import CondenseSettings
from moc.data.curve import Curve, load_curve
from moc.data.storage import load_set
from moc.discrepancies.base import Loss
from moc.errors import NotFiniteError
from moc.evaluate.examine import Examination, examine
from moc.evaluate.measure import Measure
from moc.evaluate.scoring import count_outcomes, count_together
from moc.evaluate.trained import Trained
from moc.evidence.base import Evidence
from moc.networks.train import Progress, Training
from moc.privacy.held_out import Counts, HeldOut
from moc.search.space import Point
from moc.study.work import Job, Result


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
class ScoringContext:
    """What jobs need that measure stored sets, and no job changes.

    Attributes:
        training: How networks are trained on a set to look closer at them.
        threat: What they are attacked with then.
        measures: What is counted, by kind of held-out records and objective.
        held_out: Held-out records by kind.
        device: Where networks live.
    """

    training: Training
    threat: Threat
    measures: Mapping[str, Mapping[str, Measure]]
    held_out: Mapping[str, HeldOut]
    device: str


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


@dataclass(frozen=True, kw_only=True)
class Trains(Job[Result]):
    """Work on networks that are trained on a stored set.

    Attributes:
        name: Trial or baseline.
        path: The stored set.
        records: Which held-out records.
        seeds: Public seeds of the networks to train, the same for all sets that are compared.
    """

    key: str
    lane: int = 0
    name: str
    path: Path
    records: str
    seeds: tuple[int, ...]

    def trained(self, context: ScoringContext) -> Trained:
        """The networks."""
        return Trained(load_set(self.path), seeds=self.seeds, device=context.device)


class Score(Trains[Counts]):
    """Count outcomes of every measure on held-out records."""

    divided = ("seeds",)

    @override
    def run(self, context: ScoringContext, progress: Progress, /) -> Counts:
        return _counts(self.trained(context), self.records, context)

    @override
    def joined(self, results: Sequence[Counts]) -> Counts:
        return Counts.joined(results)


@dataclass(frozen=True, kw_only=True)
class ScoreTogether(Job[list[Counts]]):
    """Score several sets by the same networks on the same records, side by side.

    Attributes:
        jobs: The scoring of each, with equal `records` and `seeds`.
    """

    key: str
    lane: int = 0
    jobs: tuple[Score, ...]
    divided = ("jobs",)

    @property
    @override
    def size(self) -> int:
        return len(self.jobs)

    @override
    def run(self, context: ScoringContext, progress: Progress, /) -> list[Counts]:
        trained, records = [job.trained(context) for job in self.jobs], self.jobs[0].records
        measures, held_out = context.measures[records], context.held_out[records]
        return count_together(trained, measures=measures, held_out=held_out)


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What a closer look has found.

    Attributes:
        found: Masking checks and the robustness curve.
        counts: Outcomes of every measure, where these were asked for.
    """

    found: Examination
    counts: Counts | None


@dataclass(frozen=True, kw_only=True)
class Examine(Trains[Examined]):
    """Run masking checks on a network trained on a set, and measure its robustness curve.

    Attributes:
        checked: Whether to run the masking checks.
        transferred: Those records made adversarial to other networks, which the checks try.
        scored: Held-out records on which the same networks are also scored, as `Score` would.
        training: How networks are trained; as the study has it if left out.
    """

    checked: bool
    transferred: tuple[Tensor, ...] = ()
    scored: str | None = None
    training: Training | None = None

    @override
    def run(self, context: ScoringContext, progress: Progress, /) -> Examined:
        trained = self.trained(context)
        counts = None if self.scored is None else _counts(trained, self.scored, context)
        found = examine(
            trained,
            training=self.training or context.training,
            threat=context.threat,
            held_out=context.held_out[self.records],
            checked=self.checked,
            transferred=self.transferred,
        )
        return Examined(found=found, counts=counts)


def _counts(trained: Trained, records: str, context: ScoringContext) -> Counts:
    """Outcomes of every measure on a kind of held-out records."""
    measures, held_out = context.measures[records], context.held_out[records]
    return count_outcomes(trained, measures=measures, held_out=held_out)


def _finite(sets: list[Condensed]) -> list[Condensed]:
    """The sets, whose losses must be finite.

    Raises:
        NotFiniteError: If they are not.
    """
    if not all(math.isfinite(loss) for one in sets for loss in one.losses):
        raise NotFiniteError("a loss of the finished set is infinite or not a number")
    return sets
