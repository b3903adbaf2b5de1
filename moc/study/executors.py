"""Where jobs are done: in this process, or in several side by side."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TYPE_CHECKING

import torch

from moc.memory import keep_freed_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moc.study.jobs import Job, Result, Workplace


class Executor(ABC):
    """Runs jobs and yields (key, result, seconds) as they finish."""

    @abstractmethod
    def run(self, jobs: Sequence[Job[Result]]) -> Iterator[tuple[str, Result, float]]:
        """Run all jobs, in any order."""

    @abstractmethod
    def close(self) -> None:
        """Let go of processes."""


class Inline(Executor):
    """One job after the other in this process; for GPUs, and for a single worker."""

    def __init__(self, workplace: Workplace) -> None:
        """Work at `workplace`."""
        self._workplace = workplace

    def run(self, jobs: Sequence[Job[Result]]) -> Iterator[tuple[str, Result, float]]:
        """See `Executor`."""
        for job in jobs:
            yield _timed(job, self._workplace)

    def close(self) -> None:
        """See `Executor`."""


class Processes(Executor):
    """Several processes of one thread each, on one machine."""

    def __init__(self, workplace: Workplace, *, workers: int) -> None:
        """Start `workers` processes; they get the workplace once."""
        self._pool = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_enter, initargs=(workplace,)
        )
        for _ in range(workers):
            self._pool.submit(os.getpid)  # let them import while this process condenses

    def run(self, jobs: Sequence[Job[Result]]) -> Iterator[tuple[str, Result, float]]:
        """See `Executor`."""
        futures = [self._pool.submit(_do, job) for job in jobs]
        for future in as_completed(futures):
            yield future.result()

    def close(self) -> None:
        """See `Executor`."""
        self._pool.shutdown(cancel_futures=True)


_HERE: list[Workplace] = []


def _enter(workplace: Workplace) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    _HERE[:] = [workplace]


def _do(job: Job[Result]) -> tuple[str, Result, float]:
    return _timed(job, _HERE[0])


def _timed(job: Job[Result], workplace: Workplace) -> tuple[str, Result, float]:
    start = time.perf_counter()
    return job.key, job.do(workplace), time.perf_counter() - start


def make_executor(workplace: Workplace, *, workers: int | None) -> Executor:
    """As many processes as asked for, by default one a core (at most 8); inline on a GPU."""
    count = workers or min(os.cpu_count() or 1, 8)
    if count == 1 or workplace.device != "cpu":
        return Inline(workplace)
    return Processes(workplace, workers=count)
