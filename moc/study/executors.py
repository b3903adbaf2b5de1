"""Where trials are evaluated: in this process, or in several side by side."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from moc.data.storage import load_set
from moc.evaluate import score

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moc.evaluate import Protocol
    from moc.evidence.held_out import Counts, HeldOut


@dataclass(frozen=True, kw_only=True)
class Job:
    """One set to score; a pure function of its fields.

    Attributes:
        key: Name of the job in results.
        path: The stored set.
        held_out: Which of the executor's held-out records: `validation` or `test`.
        seeds: Public seeds of the networks to train, the same for all sets that are compared.
    """

    key: str
    path: Path
    held_out: str
    seeds: tuple[int, ...]


class Executor(ABC):
    """Runs jobs and yields (key, counts, seconds) as they finish."""

    @abstractmethod
    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[str, Counts, float]]:
        """Run all jobs, in any order."""

    @abstractmethod
    def close(self) -> None:
        """Let go of processes."""


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What every job needs and no job changes.

    Attributes:
        protocol: How networks are trained and attacked.
        held_out: Held-out records by name.
        device: Where networks are trained.
    """

    protocol: Protocol
    held_out: dict[str, HeldOut]
    device: str

    def do(self, job: Job) -> tuple[str, Counts, float]:
        """Train on the set and count what the networks get right."""
        start = time.perf_counter()
        counts = score(
            load_set(job.path),
            protocol=self.protocol,
            held_out=self.held_out[job.held_out],
            seeds=job.seeds,
            device=self.device,
        )
        return job.key, counts, time.perf_counter() - start


class Inline(Executor):
    """One job after the other in this process; for GPUs, and for a single worker."""

    def __init__(self, workplace: Workplace) -> None:
        """Work at `workplace`."""
        self._workplace = workplace

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[str, Counts, float]]:
        """See `Executor`."""
        for job in jobs:
            yield self._workplace.do(job)

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

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[str, Counts, float]]:
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
    _HERE[:] = [workplace]


def _do(job: Job) -> tuple[str, Counts, float]:
    return _HERE[0].do(job)


def make_executor(workplace: Workplace, *, workers: int | None) -> Executor:
    """As many processes as asked for, by default one a core (at most 8); inline on a GPU."""
    count = workers or min(os.cpu_count() or 1, 8)
    if count == 1 or workplace.device != "cpu":
        return Inline(workplace)
    return Processes(workplace, workers=count)
