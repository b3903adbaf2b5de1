"""What executors with workers of their own share: who does what, and what a lost worker costs."""

from __future__ import annotations

import pickle
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any, Generic, TypeVar

import torch
from typing_extensions import override

from moc.errors import StudyError
from moc.memory import keep_freed_memory
from moc.networks.train import Progress
from moc.study.attempts import Failure, overdue
from moc.study.executors.base import Done, Executor, Tell
from moc.study.work import Job

LOOK = 0.2  # seconds between looks at the clock
_FAREWELL = 5.0  # seconds that an idle worker has to leave

Heard = tuple[Any, ...]
"""What a worker says: ("awake",) and, once it has the context, ("ready",); then, of its jobs,
("told", done, total), ("raised", error) and ("done", result, seconds)."""


class Worker(ABC):
    """One worker as the study sees it.

    Attributes:
        ready: Whether it has imported everything and has the context.
        job: What it does now.
    """

    ready: bool = False
    job: Job[Any] | None = None
    _since: float = 0.0

    @property
    def seconds(self) -> float:
        """Since its job was begun."""
        return time.monotonic() - self._since

    def begin(self, job: Job[Any]) -> None:
        """Give it a job."""
        self.job, self._since = job, time.monotonic()
        self.send(pickle.dumps(job))

    def lasts(self, limit: float | None) -> bool:
        """Whether its job takes longer than the limit."""
        return limit is not None and self.job is not None and self.seconds > limit

    @abstractmethod
    def send(self, message: bytes) -> None:
        """Let it have its context, first, or a job; nothing happens where it is gone."""

    @abstractmethod
    def end(self, patience: float) -> str:
        """Let it leave within so many seconds, or end it; says how it ended."""


W = TypeVar("W", bound=Worker)


class Pool(Executor, Generic[W]):
    """Workers side by side, each with one job at a time.

    A worker that is lost is replaced and its job done again; a job that loses more of them than
    `retries`, or takes longer than its limit, has failed.
    """

    def __init__(
        self,
        context: object,
        make: Callable[[], W],
        *,
        workers: int,
        time_limit: float | None = None,
        retries: int = 1,
    ) -> None:
        """Start `workers` workers, which get the context once."""
        self._context, self._limit, self._retries = pickle.dumps(context), time_limit, retries
        self._queue: deque[Job[Any]] = deque()
        self._losses: dict[str, int] = {}
        self._unready, self._make = 0, make
        self._workers = [make() for _ in range(workers)]

    @abstractmethod
    def _listen(self, workers: list[W]) -> Iterable[tuple[W, Heard | None]]:
        """What workers say within `LOOK` seconds; None of one that is gone."""

    @override
    def submit(self, job: Job[Any]) -> None:
        self._queue.append(job)

    @override
    def results(self, tell: Tell) -> Iterator[Done]:
        while self._queue or any(worker.job is not None for worker in self._workers):
            for worker in self._workers:
                if self._queue and worker.ready and worker.job is None:
                    worker.begin(self._queue.popleft())
            for worker, heard in self._listen(self._workers):
                yield from self._lost(worker) if heard is None else self._hear(worker, heard, tell)
            for worker in [one for one in self._workers if one.lasts(self._limit)]:
                yield self._overdue(worker)

    @override
    def close(self) -> None:
        for worker in self._workers:
            worker.end(_FAREWELL if worker.job is None and not self._queue else 0.0)
        self._workers = []

    def _hear(self, worker: W, heard: Heard, tell: Tell) -> Iterator[Done]:
        """What a worker has to say."""
        kind, *said = heard
        if kind == "awake":
            worker.send(self._context)
        elif kind == "ready":
            worker.ready, self._unready = True, 0
        elif kind == "told" and worker.job is not None:
            tell(worker.job.key, *said)
        elif kind == "raised":
            worker.job = None
            raise said[0]
        elif kind == "done" and worker.job is not None:
            job, worker.job = worker.job, None
            yield Done(job=job, result=said[0], seconds=said[1])

    def _lost(self, worker: W) -> Iterator[Done]:
        """Replace a worker, and do its job again unless it has lost others."""
        how = self._replace(worker, _FAREWELL)
        job = worker.job
        if job is None:
            self._unready += not worker.ready
            if self._unready > self._retries * len(self._workers):
                raise StudyError(
                    f"Workers end before they have begun ({how}): the system may be out of memory. "
                    "Nothing that was finished is lost; go on with [executor] workers = 1."
                )
            return
        losses = self._losses[job.key] = self._losses.get(job.key, 0) + 1
        if losses <= self._retries:
            self._queue.appendleft(job)
            return
        words = f"it lost its worker {losses} times ({how}): the system may be out of memory"
        yield Done(job=job, result=Failure(cause=words), seconds=worker.seconds)

    def _overdue(self, worker: W) -> Done:
        self._replace(worker, 0.0)
        assert worker.job is not None
        assert self._limit is not None
        return Done(job=worker.job, result=overdue(self._limit), seconds=worker.seconds)

    def _replace(self, worker: W, patience: float) -> str:
        """Start another worker in the place of one; says how that one ended."""
        how = worker.end(patience)
        self._workers[self._workers.index(worker)] = self._make()
        return how


def optional(package: str, title: str, *, kind: str) -> Any:  # noqa: ANN401
    """The package that an executor is made of, which comes with the extra of the same name."""
    try:
        return import_module(package)
    except ImportError:
        raise StudyError(
            f"The executor {kind!r} needs {title}, which is not installed: type "
            f"pip install 'moc-condensation[{kind}]', or use kind = 'local'."
        ) from None


def prepare() -> None:
    """Set a process up for jobs: one thread, and memory that is used again."""
    torch.set_num_threads(1)
    keep_freed_memory()


def outcome(job: bytes, context: Any, tell: Progress) -> bytes:  # noqa: ANN401
    """What came of a job, as a message."""
    start = time.perf_counter()
    try:
        result = pickle.loads(job).run(context, tell)
        return pickle.dumps(("done", result, time.perf_counter() - start))
    except Exception as error:  # noqa: BLE001 - it is raised again where the study is
        error.add_note(f"In a worker:\n{traceback.format_exc()}")
        try:
            return pickle.dumps(("raised", error))
        except (pickle.PicklingError, TypeError, AttributeError):
            return pickle.dumps(("raised", RuntimeError(repr(error))))
