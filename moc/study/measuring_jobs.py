"""Jobs that measure stored sets; each a pure function of its fields."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor
from typing_extensions import override

from moc.attacks.threat import Threat
from moc.data.storage import load_set
from moc.evaluate.examine import check_first, curves_together
from moc.evaluate.masking import Check
from moc.evaluate.measure import Measure
from moc.evaluate.scoring import count_together
from moc.evaluate.trained import Trained
from moc.networks.train import Progress, Training
from moc.privacy.held_out import Counts, HeldOut
from moc.study.work import Job, Result


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

    def closer(self, records: str) -> dict[str, Any]:
        """What looking closer at a set takes, on a kind of held-out records."""
        held_out = self.held_out[records]
        return {"training": self.training, "threat": self.threat, "held_out": held_out}


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

    @property
    def alike(self) -> tuple[object, ...]:
        """What jobs have in common that can be done side by side."""
        return type(self), self.lane, self.records, self.seeds

    @abstractmethod
    def together(self, trained: Sequence[Trained], context: ScoringContext) -> list[Result]:
        """Results of this and of jobs that are alike, whose networks may form one stack.

        Args:
            trained: The networks of each job.
            context: What jobs need.
        """

    def finished(self, found: Result, trained: Trained, context: ScoringContext) -> Result:
        """The result of this job, with what no stack of networks helps to find."""
        del trained, context
        return found

    @override
    def run(self, context: ScoringContext, progress: Progress, /) -> Result:
        return _run([self], context)[0]

    def trained(self, context: ScoringContext) -> Trained:
        """The networks."""
        return Trained(load_set(self.path), seeds=self.seeds, device=context.device)


class Score(Trains[Counts]):
    """Count outcomes of every measure on held-out records."""

    divided = ("seeds",)

    @override
    def together(self, trained: Sequence[Trained], context: ScoringContext) -> list[Counts]:
        return count(trained, self.records, context)

    @override
    def joined(self, results: Sequence[Counts]) -> Counts:
        return Counts.joined(results)


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What a closer look has found.

    Attributes:
        checks: Masking checks of the first network; empty where they were not asked for.
        curve: (R, m) records right under attack, by network and budget.
        counts: Outcomes of every measure, where these were asked for.
    """

    checks: tuple[Check, ...]
    curve: Counts
    counts: Counts | None


@dataclass(frozen=True, kw_only=True)
class Examine(Trains[Examined]):
    """Run masking checks on a network trained on a set, and measure its robustness curve.

    Attributes:
        checked: Whether to run the masking checks.
        transferred: Those records made adversarial to other networks, which the checks try.
        scored: Held-out records on which the same networks are also scored, as `Score` would.
    """

    checked: bool
    transferred: tuple[Tensor, ...] = ()
    scored: str | None = None

    @property
    @override
    def alike(self) -> tuple[object, ...]:
        return *super().alike, self.scored

    @override
    def together(self, trained: Sequence[Trained], context: ScoringContext) -> list[Examined]:
        counts = [None] * len(trained)
        if self.scored is not None:
            counts = count(trained, self.scored, context)
        curves = curves_together(trained, **context.closer(self.records))
        pairs = zip(curves, counts, strict=True)
        return [Examined(checks=(), curve=curve, counts=counted) for curve, counted in pairs]

    @override
    def finished(self, found: Examined, trained: Trained, context: ScoringContext) -> Examined:
        if not self.checked:
            return found
        options = context.closer(self.records)
        return replace(found, checks=check_first(trained, **options, transferred=self.transferred))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one job has found.

    Attributes:
        counts: Outcomes of every measure.
        checks: Masking checks of the first network, where its training was attacked.
    """

    counts: Counts
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class ScoreAndCheck(Trains[Outcome]):
    """Count outcomes of every measure, and check a network whose training was attacked.

    Attributes:
        hardened: That training; none where networks are trained as usual.
    """

    hardened: Training | None

    @override
    def together(self, trained: Sequence[Trained], context: ScoringContext) -> list[Outcome]:
        counts = count(trained, self.records, context)
        return [Outcome(counts=counted, checks=()) for counted in counts]

    @override
    def finished(self, found: Outcome, trained: Trained, context: ScoringContext) -> Outcome:
        if self.hardened is None:
            return found
        options = {**context.closer("examined"), "training": self.hardened}
        return replace(found, checks=check_first(trained, **options))


@dataclass(frozen=True, kw_only=True)
class SideBySide(Job[list[Any]]):
    """Several jobs that are alike, as one: a result for each.

    Attributes:
        jobs: Work on a set each, see `Trains.alike`.
    """

    key: str
    lane: int = 0
    jobs: tuple[Trains[Any], ...]
    divided = ("jobs",)

    @property
    @override
    def size(self) -> int:
        return len(self.jobs)

    @override
    def run(self, context: ScoringContext, progress: Progress, /) -> list[Any]:
        return _run(self.jobs, context)


def _run(jobs: Sequence[Trains[Result]], context: ScoringContext) -> list[Result]:
    trained = [job.trained(context) for job in jobs]
    found = jobs[0].together(trained, context)
    rows = zip(jobs, found, trained, strict=True)
    return [job.finished(one, own, context) for job, one, own in rows]


def count(trained: Sequence[Trained], records: str, context: ScoringContext) -> list[Counts]:
    """Outcomes of every measure on a kind of held-out records, for each set."""
    measures, held_out = context.measures[records], context.held_out[records]
    return count_together(trained, measures=measures, held_out=held_out)
