"""A set measured after its study: fresh networks are trained on it, each a job of the executor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from moc.attacks.base import Attack
from moc.data.storage import load_set
from moc.errors import StudyError
from moc.evaluate.masking import Check
from moc.evaluate.measure import Measure
from moc.evaluate.scores import Estimate
from moc.evaluate.scoring import estimates
from moc.evaluate.suites import Suite
from moc.networks.train import Training
from moc.objectives.base import Facts
from moc.privacy.held_out import Counts, HeldOut
from moc.study.attempts import Failure
from moc.study.context import StudyContext
from moc.study.executors import Done
from moc.study.measuring_jobs import Examine, Examined, Outcome, ScoreAndCheck, ScoringContext
from moc.study.records import set_path, trial_name
from moc.study.work import Job
from moc.study.worklist import Worklist, network_seeds


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
    worker = _worker(
        context,
        {way.event: context.measures_of(suite, _training(context, way)) for way in ways},
        {way.event: context.held_out[way.records] for way in ways},
    )
    jobs = {way.event: [_job(context, number, way, seed) for seed in way.seeds] for way in ways}
    queue, results = [job for own in jobs.values() for job in own], dict[str, Any]()
    title = f"measuring {trial_name(number)} on {ways[0].records} records"
    for done in _done(context, worker, title, queue):
        results[done.job.key] = done.result
        way = next(way for way in ways if done.job in jobs[way.event])
        if any(job.key not in results for job in jobs[way.event]):
            continue
        found: list[Outcome] = [results[job.key] for job in jobs[way.event]]
        counts = Counts.joined([one.counts for one in found])
        rates = worker.held_out[way.event].publish(counts)
        facts = Facts(synthetic=load_set(done.job.path), epsilon=epsilon)
        yield Measured(
            way=way,
            scores=context.complete(estimates(rates, worker.measures[way.event]), facts),
            checks=tuple(check for one in found for check in one.checks),
        )


def look_closer(context: StudyContext, number: int, *, transferred: Sequence[Tensor]) -> Examined:
    """Masking checks of a stored set and its robustness curve, on the networks of the report.

    Args:
        context: The study, whose held-out records are free.
        number: The trial.
        transferred: Its examined records made adversarial to other networks.

    Raises:
        StudyError: If a job has failed.
    """
    name = trial_name(number)
    jobs = [
        Examine(
            key=f"examine {name} by network {seed}",
            name=name,
            path=context.folder / set_path(name),
            records="examined",
            seeds=(seed,),
            checked=not place,
            transferred=() if place else tuple(transferred),
        )
        for place, seed in enumerate(network_seeds(context.config, test=True))
    ]
    title = f"checking the attacks on {name}"
    results = {d.job.key: d.result for d in _done(context, _worker(context, {}, {}), title, jobs)}
    found: list[Examined] = [results[job.key] for job in jobs]
    return replace(found[0], curve=Counts.joined([one.curve for one in found]))


def _done(
    context: StudyContext, worker: ScoringContext, title: str, jobs: Sequence[Job[Any]]
) -> Iterator[Done]:
    """What the study's executor has done, as it comes.

    Raises:
        StudyError: If a job has failed.
    """
    with Worklist(context, worker) as work:
        for done in work.results(title, jobs, steps=len(jobs)):
            if isinstance(done.result, Failure):
                raise StudyError(f"{done.job.key} failed: {done.result.cause}.")
            yield done


def _worker(
    context: StudyContext,
    measures: Mapping[str, Mapping[str, Measure]],
    held_out: Mapping[str, HeldOut],
) -> ScoringContext:
    """What jobs need, with measures, and records besides the study's, by name."""
    return ScoringContext(
        training=context.training,
        threat=context.config.threat,
        measures=measures,
        held_out={**context.held_out, **held_out},
        device=context.device,
    )


def _training(context: StudyContext, way: Way) -> Training:
    plain, threat = context.training, context.config.threat
    return plain if way.attack is None else plain.under(way.attack, threat)


def _job(context: StudyContext, number: int, way: Way, seed: int) -> ScoreAndCheck:
    """Measure one network."""
    name = trial_name(number)
    return ScoreAndCheck(
        key=f"{way.event}: {name} by network {seed}",
        name=name,
        path=context.folder / set_path(name),
        records=way.event,
        seeds=(seed,),
        hardened=None if way.attack is None else _training(context, way),
    )
