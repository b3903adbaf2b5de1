"""What executors do: run jobs, hand over results as they come, and lose none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from moc.parts import Family, Part
from moc.study.work import Job, JobContext

Tell = Callable[[str, int, int], None]
"""Told (key of a job, steps done, steps in all) while a job runs."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished job.

    Attributes:
        job: The job, of whatever class was submitted.
        result: What `Job.run` returned; a `Failure` where there is none to be had.
        seconds: Wall-clock time it took.
    """

    job: Any
    result: Any
    seconds: float


class Executor(ABC):
    """Runs jobs. A job is a pure function of itself and the context, so it may be run again."""

    @abstractmethod
    def submit(self, job: Job[Any]) -> None:
        """Queue a job."""

    @abstractmethod
    def results(self, tell: Tell) -> Iterator[Done]:
        """Results as they come, until no job is left; more may be submitted meanwhile.

        A job that loses its worker is done again, and has failed if it loses the next one too.

        Raises:
            MocError: Whatever a job raises.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of processes, at once if jobs are left."""


class ExecutorPart(Part, ABC):
    """The table `[executor]`.

    Attributes:
        on_disk: Whether what jobs work on, and what they give, is written to files on the way.
    """

    on_disk: ClassVar[bool] = False

    @property
    def elsewhere(self) -> str:
        """Where beyond this machine a context is sent, and with it held-out records; or empty."""
        return ""

    def side_by_side(self, device: str) -> int:
        """How many jobs run at a time on such a device, about."""
        del device
        return 1

    @abstractmethod
    def start(self, context: JobContext) -> Executor:
        """Make workers that know `context`."""


EXECUTORS: Family[ExecutorPart] = Family("executors", ExecutorPart, "moc.study.executors")
