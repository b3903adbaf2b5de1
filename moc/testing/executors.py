"""The contract of executors: jobs give what they give in this process, and none is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from typing_extensions import override

from moc.errors import MocError, StudyError
from moc.networks.train import Progress
from moc.study.executors import Executor
from moc.study.jobs import Job, WorkerContext


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


@dataclass(frozen=True)
class _Context:
    """All that the jobs of the contract read of a context."""

    device: str = "cpu"


def _ignore(key: str, done: int, total: int) -> None:
    del key, done, total
