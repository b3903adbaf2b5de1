"""Jobs on this machine: one after the other, or side by side in processes of one thread each."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import current_thread, main_thread
from types import FrameType
from typing import Any, Literal

from pydantic import Field
from typing_extensions import override

from moc.study.attempts import overdue
from moc.study.executors._processes import Processes
from moc.study.executors.base import Done, Executor, ExecutorPart, Tell
from moc.study.work import Job, JobContext


class Local(ExecutorPart):
    """Processes on this machine.

    Attributes:
        workers: How many; by default one a core, at most 8, and none on a GPU. With 1, jobs are
            done in the study's own process.
        time_limit: Seconds that one job, such as condensing a curve or scoring a set, may take; a
            longer one has failed, and its trials with it. No limit if left out.
    """

    kind: Literal["local"] = "local"
    workers: int | None = Field(default=None, gt=0)
    time_limit: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @override
    def side_by_side(self, device: str) -> int:
        return (self.workers or min(os.cpu_count() or 1, 8)) if device == "cpu" else 1

    @override
    def start(self, context: JobContext) -> Executor:
        count = self.side_by_side(context.device)
        # A job that hangs in a process of its own can be ended, wherever it hangs.
        if context.device != "cpu" or (count == 1 and self.time_limit is None):
            return Inline(context, time_limit=self.time_limit)
        return Processes(context, workers=count, time_limit=self.time_limit)


class Inline(Executor):
    """One job after the other in this process; for GPUs, and for a single worker."""

    def __init__(self, context: JobContext, *, time_limit: float | None = None) -> None:
        """Work in `context`."""
        self._context: Any = context
        self._limit = time_limit
        self._queue: deque[Job[Any]] = deque()

    @override
    def submit(self, job: Job[Any]) -> None:
        self._queue.append(job)

    @override
    def results(self, tell: Tell) -> Iterator[Done]:
        while self._queue:
            job, start = self._queue.popleft(), time.perf_counter()
            try:
                with _limited(self._limit):
                    result = job.run(self._context, partial(tell, job.key))
            except _TooLong:
                assert self._limit is not None
                result = overdue(self._limit)
            yield Done(job=job, result=result, seconds=time.perf_counter() - start)

    @override
    def close(self) -> None:
        self._queue.clear()


class _TooLong(BaseException):
    """Raised in a job that takes too long; nothing in a job should catch it."""


@contextmanager
def _limited(seconds: float | None) -> Iterator[None]:
    """Raise `_TooLong` after so many seconds, between two steps of Python; in the main thread."""
    if seconds is None or current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _too_long(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise _TooLong
