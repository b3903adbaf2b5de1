"""A set measured after its study: fresh networks are trained on it, each a job of the executor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from moc.attacks.base import Attack
from moc.data.storage import load_set
from moc.errors import StudyError
from moc.evaluate.masking import Check
from moc.evaluate.scores import Estimate
from moc.evaluate.scoring import estimates
from moc.evaluate.suites import Suite
from moc.networks.train import Training
from moc.objectives.base import Facts
from moc.privacy.held_out import Counts
from moc.study.attempts import Failure
from moc.study.context import StudyContext
from moc.study.jobs import Examine, Examined, Score, ScoringContext
from moc.study.records import set_path, trial_name
from moc.study.worklist import Worklist


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a set is measured.

    Attributes:
        event: What it is noted as, each way as another.
        records: On which held-out records.
        seeds: Of the networks.
        attack: What attacks every batch of their training; none where they are trained as usual.
    """

    event: str
    records: str
    seeds: tuple[int, ...]
    attack: Attack | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was found.

    Attributes:
        way: How it was measured.
        scores: By objective.
        checks: Masking checks of networks whose training was attacked; the study makes those of
            the others.
    """

    way: Way
    scores: dict[str, Estimate]
    checks: tuple[Check, ...]


def measure(
    context: StudyContext, number: int, ways: Sequence[Way], *, suite: Suite, epsilon: float
) -> Iterator[Measured]:
    """Measure a stored set in every way; each comes as soon as it is whole.

    Args:
        context: The study, whose held-out records are free.
        number: The trial.
        ways: How, one or more. Those that take long are best the first.
        suite: The attacks of robust errors.
        epsilon: Of the trial.

    Raises:
        StudyError: If a job has failed.
    """
    worker = _worker(context, ways, suite)
    jobs = {way.event: [_job(context, number, way, seed) for seed in way.seeds] for way in ways}
    queue, results = [job for own in jobs.values() for job in own], dict[str, Any]()
    with Worklist(context, worker) as work:
        title = f"measuring {trial_name(number)} on {ways[0].records} records"
        for done in work.results(title, queue, steps=len(queue)):
            if isinstance(done.result, Failure):
                raise StudyError(f"{done.job.key} failed: {done.result.cause}.")
            results[done.job.key] = done.result
            way = next(way for way in ways if done.job in jobs[way.event])
            if any(job.key not in results for job in jobs[way.event]):
                continue
            found = [results[job.key] for job in jobs[way.event]]
            closer = [one for one in found if isinstance(one, Examined)]
            counts = [one.counts for one in closer if one.counts is not None] or found
            rates = worker.held_out[way.event].publish(Counts.joined(counts))
            facts = Facts(synthetic=load_set(done.job.path), epsilon=epsilon)
            yield Measured(
                way=way,
                scores=context.complete(estimates(rates, worker.measures[way.event]), facts),
                checks=tuple(check for one in closer for check in one.found.checks),
            )


def _worker(context: StudyContext, ways: Sequence[Way], suite: Suite) -> ScoringContext:
    """What the jobs need; measures and records go by the way's event."""
    return ScoringContext(
        training=context.training,
        threat=context.config.threat,
        measures={way.event: context.measures_of(suite, _training(context, way)) for way in ways},
        held_out={**context.held_out, **{way.event: context.held_out[way.records] for way in ways}},
        device=context.device,
    )


def _training(context: StudyContext, way: Way) -> Training:
    plain, threat = context.training, context.config.threat
    return plain if way.attack is None else plain.under(way.attack, threat)


def _job(context: StudyContext, number: int, way: Way, seed: int) -> Score | Examine:
    """Count the outcomes of one network; look closer at it where its training is attacked."""
    name = trial_name(number)
    score = Score(
        key=f"{way.event}: {name} by network {seed}",
        name=name,
        path=context.folder / set_path(name),
        records=way.event,
        seeds=(seed,),
    )
    if way.attack is None:
        return score
    return Examine(
        **{**vars(score), "records": "examined"},
        scored=way.event,
        training=_training(context, way),
        checked=True,
    )
