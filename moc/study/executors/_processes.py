"""Processes that do jobs: each is known by its job, so that what ends it ends nothing else."""

from __future__ import annotations

import os
import pickle
import signal
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any

import torch
from typing_extensions import override

from moc.errors import StudyError
from moc.memory import keep_freed_memory
from moc.study.attempts import Failure, overdue
from moc.study.executors.base import Done, Executor, Tell
from moc.study.jobs import Job, WorkerContext

_LOSSES = 2  # times that a job may lose its worker; times a worker that workers may end unready
_LOOK = 0.2  # seconds between looks at the clock
_FAREWELL = 5.0  # seconds that an idle worker has to leave


class Processes(Executor):
    """Several processes on one machine.

    A worker that is lost, killed or out of memory, is replaced and its job done again; a job that
    loses two, or takes longer than its limit, has failed.
    """

    def __init__(
        self, context: WorkerContext, *, workers: int, time_limit: float | None = None
    ) -> None:
        """Start `workers` processes, which import at once; they get the context once."""
        self._context, self._limit = pickle.dumps(context), time_limit
        self._queue: deque[Job[Any]] = deque()
        self._losses: dict[str, int] = {}
        self._unready = 0
        self._workers = [_Worker() for _ in range(workers)]

    @override
    def submit(self, job: Job[Any]) -> None:
        self._queue.append(job)

    @override
    def results(self, tell: Tell) -> Iterator[Done]:
        while self._queue or any(worker.job is not None for worker in self._workers):
            for worker in self._workers:
                if self._queue and worker.ready and worker.job is None:
                    worker.begin(self._queue.popleft())
            ends = {worker.connection: worker for worker in self._workers}
            ready = wait(list(ends), timeout=_LOOK)
            for worker in [ends[one] for one in ready if isinstance(one, Connection)]:
                yield from self._hear(worker, tell)
            for worker in [one for one in self._workers if one.lasts(self._limit)]:
                yield self._overdue(worker)

    @override
    def close(self) -> None:
        for worker in self._workers:
            worker.end(_FAREWELL if worker.job is None and not self._queue else 0.0)
        self._workers = []

    def _hear(self, worker: _Worker, tell: Tell) -> Iterator[Done]:
        """What a worker has to say, or that it is gone."""
        try:
            kind, *said = pickle.loads(worker.connection.recv_bytes())
        except (EOFError, OSError):
            yield from self._lost(worker)
            return
        if kind == "ready":
            with suppress(BrokenPipeError):  # then it is gone, which is seen next
                worker.connection.send_bytes(self._context)
            worker.ready, self._unready = True, 0
        elif kind == "told" and worker.job is not None:
            tell(worker.job.key, *said)
        elif kind == "raised":
            worker.job = None
            raise said[0]
        elif kind == "done" and worker.job is not None:
            job, worker.job = worker.job, None
            yield Done(job=job, result=said[0], seconds=said[1])

    def _lost(self, worker: _Worker) -> Iterator[Done]:
        """Replace a worker, and do its job again unless it has lost others."""
        how = self._replace(worker, _FAREWELL)
        job = worker.job
        if job is None:
            self._unready += 1
            if self._unready >= _LOSSES * len(self._workers):
                raise StudyError(
                    f"Workers end before they have begun ({how}): the system may be out of memory. "
                    "Nothing that was finished is lost; go on with [executor] workers = 1."
                )
            return
        self._losses[job.key] = self._losses.get(job.key, 0) + 1
        if self._losses[job.key] < _LOSSES:
            self._queue.appendleft(job)
            return
        words = f"it lost its worker {_LOSSES} times ({how}): the system may be out of memory"
        yield Done(job=job, result=Failure(cause=words), seconds=worker.seconds)

    def _overdue(self, worker: _Worker) -> Done:
        self._replace(worker, 0.0)
        assert worker.job is not None
        assert self._limit is not None
        return Done(job=worker.job, result=overdue(self._limit), seconds=worker.seconds)

    def _replace(self, worker: _Worker, patience: float) -> str:
        """Start another worker in the place of one; says how that one ended."""
        code = worker.end(patience)
        self._workers[self._workers.index(worker)] = _Worker()
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


class _Worker:
    """One process as the study sees it.

    Attributes:
        connection: Where it is talked to.
        ready: Whether it has imported everything.
        job: What it does now.
    """

    def __init__(self) -> None:
        """Start it."""
        spawn = get_context("spawn")
        self.connection, its = spawn.Pipe()
        self.process = spawn.Process(target=_work, args=(its,), daemon=True)
        self.process.start()
        its.close()  # so that its end is heard here
        self.ready = False
        self.job: Job[Any] | None = None
        self._since = 0.0

    @property
    def seconds(self) -> float:
        """Since its job was begun."""
        return time.monotonic() - self._since

    def begin(self, job: Job[Any]) -> None:
        """Give it a job."""
        self.job, self._since = job, time.monotonic()
        with suppress(BrokenPipeError):  # then it is gone, which is heard next
            self.connection.send_bytes(pickle.dumps(job))

    def lasts(self, limit: float | None) -> bool:
        """Whether its job takes longer than the limit."""
        return limit is not None and self.job is not None and self.seconds > limit

    def end(self, patience: float) -> int:
        """Let it leave within so many seconds, or kill it; gives its exit code."""
        self.connection.close()
        self.process.join(patience)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        return self.process.exitcode or 0


def _work(connection: Connection) -> None:
    """Do jobs until the study lets go."""
    # A key pressed at the terminal reaches its whole group: the study says when to leave.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    keep_freed_memory()
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        connection.send_bytes(pickle.dumps(("ready",)))
        context: WorkerContext = pickle.loads(connection.recv_bytes())
        while True:
            job: Job[Any] = pickle.loads(connection.recv_bytes())
            connection.send_bytes(_outcome(job, context, connection))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _outcome(job: Job[Any], context: WorkerContext, connection: Connection) -> bytes:
    """What came of a job, as a message."""
    start = time.perf_counter()
    tell = partial(_tell, connection)
    try:
        result = job.run(context, tell)
        return pickle.dumps(("done", result, time.perf_counter() - start))
    except Exception as error:  # noqa: BLE001 - it is raised again where the study is
        error.add_note(f"In a worker:\n{traceback.format_exc()}")
        try:
            return pickle.dumps(("raised", error))
        except (pickle.PicklingError, TypeError, AttributeError):
            return pickle.dumps(("raised", RuntimeError(repr(error))))


def _tell(connection: Connection, done: int, total: int) -> None:
    connection.send_bytes(pickle.dumps(("told", done, total)))


def _end_with_parent() -> None:
    """Leave when the study is gone, however it ended."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
