"""The jobs of a study: who scores what with which networks, and how far the work has come."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from moc.networks.stack import stacks_pay
from moc.study.attempts import Attempt, Failure
from moc.study.config import StudyConfig
from moc.study.context import StudyContext
from moc.study.executors import Done
from moc.study.measuring_jobs import Score, ScoringContext, SideBySide, Trains
from moc.study.records import set_path
from moc.study.work import Job

_FINE = 100  # steps of the display for each step of the work
_TEST_SEEDS = 500_000  # networks of the report are none of those that the search saw


class Worklist:
    """Hands jobs to the study's executor and tells a person how far they are.

    Every set meets the same networks (common random numbers): those of the search on validation
    records, fresh ones on test records.

    Attributes:
        measures: What is counted, by kind of held-out records and objective.
    """

    def __init__(self, context: StudyContext, worker: ScoringContext | None = None) -> None:
        """Start the executor, for what measures stored sets alone where it is given `worker`."""
        sent = "Evidence and held-out records" if worker is None else "Held-out records"
        worker = context.worker() if worker is None else worker
        self._context, self.measures = context, worker.measures
        self._sizes: dict[str, int] = {}
        self._steps = 0  # of the work in hand, or less than none: what of it was spared beforehand
        if where := context.config.executor.elsewhere:
            context.reporter.say(f"{sent} are sent to {where}.")
        self._executor = context.config.executor.start(worker)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the executor go."""
        self._executor.close()

    def submit(self, jobs: Iterable[Job[Any]]) -> None:
        """Queue jobs, while others run; on a GPU sets of one batch are measured side by side."""
        self._queue(self._side_by_side(list(jobs)))

    def _queue(self, jobs: Iterable[Job[Any]]) -> None:
        for job in jobs:
            self._sizes[job.key] = job.size
            self._executor.submit(Attempt(job=job))

    def _side_by_side(self, jobs: Sequence[Job[Any]]) -> list[Job[Any]]:
        """The jobs, with those that measure alike joined where a stack of networks is faster.

        As many joined ones as there are workers at the most, so that all of them have work.
        """
        if not stacks_pay(self._context.device):
            return list(jobs)
        alike: dict[tuple[object, ...], list[Trains[Any]]] = {}
        for job in jobs:
            if isinstance(job, Trains):
                alike.setdefault(job.alike, []).append(job)
        workers = self._context.config.executor.side_by_side(self._context.device)
        joined = [job for job in jobs if not isinstance(job, Trains)]
        for group in alike.values():
            size = math.ceil(len(group) / workers)
            parts = (group[k : k + size] for k in range(0, len(group), size))
            joined += [_together(part) if len(part) > 1 else part[0] for part in parts]
        return joined

    def results(self, title: str, jobs: Iterable[Job[Any]], *, steps: int) -> Iterator[Done]:
        """Results, or failures, of these jobs and those submitted meanwhile, as they come.

        Args:
            title: What the work is.
            jobs: To begin with.
            steps: How many jobs there will be, a job on several sets counted for each.
        """
        self._steps += steps
        self.submit(jobs)
        with self._context.reporter.stage(title) as progress:
            ended, running = 0, dict[str, float]()

            def show() -> None:
                progress(round(_FINE * (ended + sum(running.values()))), _FINE * self._steps)

            def tell(key: str, done: int, total: int) -> None:
                running[key] = self._sizes[key] * done / max(total, 1)
                show()

            show()
            for tried in self._executor.results(tell):
                running.pop(tried.job.key, None)
                for done in self._apart(replace(tried, job=tried.job.job)):
                    ended += done.job.size
                    yield done
                show()
        self._steps = 0

    def _apart(self, done: Done) -> Iterator[Done]:
        """A result as it is; those of sets that were measured side by side one by one.

        Where that failed, each is measured by itself: what is wrong with one is no matter of
        others.
        """
        if not isinstance(done.job, SideBySide):
            yield done
        elif isinstance(done.result, Failure):
            words = f"{done.job.key} failed: {done.result.cause}. Each is measured by itself."
            self._context.reporter.say(words)
            self._queue(done.job.jobs)
        else:
            seconds = done.seconds / len(done.job.jobs)
            for job, result in zip(done.job.jobs, done.result, strict=True):
                yield Done(job=job, result=result, seconds=seconds)

    def spare(self, steps: int) -> None:
        """Expect so many jobs less than was said: those of trials that there will not be."""
        self._steps -= steps

    def score(self, name: str, records: str, *, lane: int = 0) -> Score:
        """Measure the stored set of a trial or baseline on `validation` or `test` records."""
        return Score(
            key=f"score {name} on {records}",
            lane=lane,
            name=name,
            path=self._context.folder / set_path(name),
            records=records,
            seeds=network_seeds(self._context.config, test=records == "test"),
        )


def _together(jobs: Sequence[Trains[Any]]) -> SideBySide:
    first = jobs[0]
    words = f"{first.key} and {len(jobs) - 1} more"
    return SideBySide(key=words, lane=first.lane, jobs=tuple(jobs))


def network_seeds(config: StudyConfig, *, test: bool) -> tuple[int, ...]:
    """Public seeds of the networks that sets are measured by, on validation or test records."""
    first = config.seed * 1_000_000 + (_TEST_SEEDS if test else 0)
    e = config.evaluate
    return tuple(range(first, first + (e.report_replicates if test else e.replicates)))
