"""The contract of executors: jobs give what they give in this process, and none is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from moc.errors import MocError, StudyError
from moc.networks.train import Progress
from moc.study.executors import Executor
from moc.study.jobs import WorkerContext
from moc.study.work import Job


@dataclass(frozen=True, kw_only=True)
class Square(Job[int]):
    """A job that anybody can check."""

    key: str
    lane: int = 0
    number: int

    @override
    def run(self, context: WorkerContext, progress: Progress, /) -> int:
        progress(1, 2)
        if self.number < 0:
            raise StudyError(f"{self.number} has no square here.")
        return self.number**2 + len(context.device) - len("cpu")


@dataclass(frozen=True, kw_only=True)
class Echo(Job[bytes]):
    """A job that may be as large as one likes, and so may what it gives."""

    key: str
    lane: int = 0
    payload: bytes

    @override
    def run(self, context: WorkerContext, progress: Progress, /) -> bytes:
        return self.payload


@dataclass(frozen=True, kw_only=True)
class DiesOnce(Job[int]):
    """Kills the process that does it the first time, as the system does when memory is out."""

    key: str
    lane: int = 0
    mark: Path

    @override
    def run(self, context: WorkerContext, progress: Progress, /) -> int:
        if not self.mark.exists():
            self.mark.write_text("was here")
            os.kill(os.getpid(), signal.SIGKILL)
        return 7


@dataclass(frozen=True, kw_only=True)
class AlwaysDies(Job[int]):
    """Needs more memory than there is."""

    key: str
    lane: int = 0

    @override
    def run(self, context: WorkerContext, progress: Progress, /) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@dataclass(frozen=True, kw_only=True)
class Hangs(Job[int]):
    """Never ends."""

    key: str
    lane: int = 0

    @override
    def run(self, context: WorkerContext, progress: Progress, /) -> int:
        while True:
            time.sleep(0.01)


class ExecutorContract:
    """Subclasses give `make`, an executor that works in `context`."""

    def make(self, context: Any) -> Executor:  # noqa: ANN401, ARG002
        """An executor of the kind that is tested."""
        raise AssertionError("name the executor")

    @pytest.fixture(scope="class")
    def executor(self):  # noqa: ANN201
        """An executor for all tests of the contract, closed in the end."""
        made = self.make(_Context())
        yield made
        made.close()

    def test_every_job_has_its_own_result(self, executor: Executor) -> None:
        """Whatever order they come in."""
        jobs = [Square(key=f"job {k}", number=k) for k in range(7)]
        for job in jobs:
            executor.submit(job)
        found = {done.job.key: done.result for done in executor.results(_ignore)}
        assert found == {job.key: job.number**2 for job in jobs}

    def test_what_is_large_comes_whole(self, executor: Executor) -> None:
        """To the worker and back."""
        payload = bytes(range(256)) * 4000
        executor.submit(Echo(key="echo", payload=payload))
        assert [done.result == payload for done in executor.results(_ignore)] == [True]

    def test_jobs_may_be_submitted_while_others_run(self, executor: Executor) -> None:
        """A study goes on as results come."""
        executor.submit(Square(key="job 0", number=0))
        seen = []
        for done in executor.results(_ignore):
            seen.append(done.job.number)
            if done.job.number < 3:
                number = done.job.number + 1
                executor.submit(Square(key=f"job {number}", number=number))
        assert seen == [0, 1, 2, 3]

    def test_it_can_be_used_again_and_nothing_is_nothing(self, executor: Executor) -> None:
        """Between stages of a study no job is left."""
        assert list(executor.results(_ignore)) == []
        for _ in range(2):
            executor.submit(Square(key="job", number=4))
            assert [done.result for done in executor.results(_ignore)] == [16]

    def test_progress_is_told_under_the_jobs_key(self, executor: Executor) -> None:
        """So that a person sees long work move."""
        told: list[tuple[str, int, int]] = []
        executor.submit(Square(key="job", number=4))
        list(executor.results(lambda *progress: told.append(progress)))
        assert set(told) <= {("job", 1, 2)}

    def test_what_a_job_refuses_reaches_the_study(self, executor: Executor) -> None:
        """As the error that it was."""
        executor.submit(Square(key="job", number=-4))
        with pytest.raises(MocError, match="-4 has no square"):
            list(executor.results(_ignore))


class WorkersContract:
    """For executors whose jobs are done by other processes, which may be lost.

    Attributes:
        limit: Seconds in which an easy job is done for sure.
    """

    limit: float = 0.5

    def make(self, context: Any, *, workers: int = 2, time_limit: float | None = None) -> Executor:  # noqa: ANN401, ARG002
        """An executor of the kind that is tested."""
        raise AssertionError("name the executor")

    def test_the_job_of_a_lost_worker_runs_again(self, tmp_path: Path) -> None:
        """And no other one twice, nor not at all."""
        jobs: list[Job[int]] = [Square(key=f"job {k}", number=k) for k in range(4)]
        jobs.insert(1, DiesOnce(key="dies", mark=tmp_path / "mark"))
        found = results_of(self.make(_Context(), workers=1), jobs)
        assert found == {"dies": 7, **{f"job {k}": k**2 for k in range(4)}}

    def test_a_job_that_loses_every_worker_has_failed_and_the_others_go_on(self) -> None:
        """With words for whoever wonders why."""
        jobs = [Square(key=f"job {k}", number=k) for k in range(3)]
        found = results_of(self.make(_Context()), [AlwaysDies(key="large"), *jobs])
        assert "lost its worker 2 times" in found.pop("large").cause
        assert found == {f"job {k}": k**2 for k in range(3)}

    def test_a_job_that_hangs_has_failed_after_its_limit_and_the_others_go_on(self) -> None:
        """Wherever it hangs."""
        jobs = [Square(key=f"job {k}", number=k) for k in range(3)]
        found = results_of(
            self.make(_Context(), time_limit=self.limit), [Hangs(key="hangs"), *jobs]
        )
        words = f"longer than the {self.limit:g} s of [executor] time_limit"
        assert found.pop("hangs").cause.endswith(words)
        assert found == {f"job {k}": k**2 for k in range(3)}


def check_that_a_context_may_take_long(make: Callable[..., Executor]) -> None:
    """It may be large, and come from afar: none of that is the first job's time."""
    limit = WorkersContract.limit
    jobs = [Square(key=f"job {k}", number=k) for k in range(2)]
    found = results_of(make(_Slow(), time_limit=limit), jobs)
    assert found == {f"job {k}": k**2 for k in range(2)}


def results_of(executor: Executor, jobs: Iterable[Job[Any]]) -> dict[str, Any]:
    """Results of jobs by key; the executor is closed in the end, and each may come once."""
    found: dict[str, Any] = {}
    try:
        for job in jobs:
            executor.submit(job)
        for done in executor.results(_ignore):
            assert done.job.key not in found, f"{done.job.key} came twice"
            found[done.job.key] = done.result
    finally:
        executor.close()
    return found


@dataclass(frozen=True)
class _Context:
    """All that the jobs of the contract read of a context."""

    device: str = "cpu"


class _Slow(_Context):
    """One that takes longer to unpack than an easy job may take."""

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return _slowly, ()


def _slowly() -> _Context:
    time.sleep(2 * WorkersContract.limit)
    return _Context()


def _ignore(key: str, done: int, total: int) -> None:
    del key, done, total
