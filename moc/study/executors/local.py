"""Jobs on this machine: one after the other, or side by side in processes of one thread each."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.queues import Queue
from queue import Empty
from threading import Thread
from typing import Any, Literal

import torch
from pydantic import Field
from typing_extensions import override

from moc.errors import StudyError
from moc.memory import keep_freed_memory
from moc.study.executors.base import Done, Executor, ExecutorPart, Tell
from moc.study.jobs import Job, WorkerContext

_LOSSES = 3  # times that a worker may be lost before a study gives up
_LOOK = 0.2  # seconds between looks at the progress of jobs


class Local(ExecutorPart):
    """Processes on this machine.

    Attributes:
        workers: How many; by default one a core, at most 8, and none on a GPU. With 1, jobs are
            done in the study's own process.
    """

    kind: Literal["local"] = "local"
    workers: int | None = Field(default=None, gt=0)

    @override
    def start(self, context: WorkerContext) -> Executor:
        count = self.workers or min(os.cpu_count() or 1, 8)
        if count == 1 or context.device != "cpu":
            return Inline(context)
        return Processes(context, workers=count)


class Inline(Executor):
    """One job after the other in this process; for GPUs, and for a single worker."""

    def __init__(self, context: WorkerContext) -> None:
        """Work in `context`."""
        self._context = context
        self._queue: deque[Job[Any]] = deque()

    @override
    def submit(self, job: Job[Any]) -> None:
        self._queue.append(job)

    @override
    def results(self, tell: Tell) -> Iterator[Done]:
        while self._queue:
            job = self._queue.popleft()
            result, seconds = _timed(job, self._context, tell)
            yield Done(job=job, result=result, seconds=seconds)

    @override
    def close(self) -> None:
        self._queue.clear()


class Processes(Executor):
    """Several processes on one machine. A lost worker, killed or out of memory, is replaced."""

    def __init__(self, context: WorkerContext, *, workers: int) -> None:
        """Start `workers` processes; they get the context once."""
        self._context, self._workers = context, workers
        self._jobs: dict[Future[Any], Job[Any]] = {}
        self._lost = 0
        self._start()

    def _start(self) -> None:
        spawn = get_context("spawn")
        self._told: Queue[tuple[str, int, int]] = spawn.Queue()
        self._pool = ProcessPoolExecutor(
            self._workers,
            mp_context=spawn,
            initializer=_enter,
            initargs=(self._context, self._told),
        )
        for _ in range(self._workers):
            self._pool.submit(os.getpid)  # let them import at once

    @override
    def submit(self, job: Job[Any]) -> None:
        self._jobs[self._pool.submit(_do, job)] = job

    @override
    def results(self, tell: Tell) -> Iterator[Done]:
        while self._jobs:
            done, _ = wait(self._jobs, timeout=_LOOK, return_when=FIRST_COMPLETED)
            self._pass_on(tell)
            for future in done:
                try:
                    result, seconds = future.result()
                except BrokenProcessPool:
                    self._replace_workers()
                    break
                yield Done(job=self._jobs.pop(future), result=result, seconds=seconds)

    @override
    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _replace_workers(self) -> None:
        """Start new workers and give them everything that has no result."""
        self._lost += 1
        jobs = list(self._jobs.values())
        if self._lost >= _LOSSES:
            raise StudyError(
                f"A worker was lost {self._lost} times, the last time while {jobs[0].key} or a job "
                "beside it ran: the system may be out of memory. Nothing that was finished is "
                "lost; go on with fewer workers: [executor] workers = 1."
            )
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._jobs.clear()
        self._start()
        for job in jobs:
            self.submit(job)

    def _pass_on(self, tell: Tell) -> None:
        while True:
            try:
                tell(*self._told.get_nowait())
            except Empty:
                return


_HERE: list[tuple[WorkerContext, Tell]] = []


def _enter(context: WorkerContext, told: Queue[tuple[str, int, int]]) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    Thread(target=_end_with_parent, daemon=True).start()
    _HERE[:] = [(context, lambda *progress: told.put(progress))]


def _end_with_parent() -> None:
    """Leave when the study is gone, however it ended."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(job: Job[Any]) -> tuple[Any, float]:
    return _timed(job, *_HERE[0])


def _timed(job: Job[Any], context: WorkerContext, tell: Tell) -> tuple[Any, float]:
    start = time.perf_counter()
    return job.run(context, partial(tell, job.key)), time.perf_counter() - start
