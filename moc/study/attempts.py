"""Trying a job: what fails in it for reasons of its own is a result, and the study goes on."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

import torch
from typing_extensions import override

from moc.errors import NotFiniteError
from moc.networks.train import Progress
from moc.study.work import Job, JobContext

_NO_NUMBERS = (
    NotFiniteError,
    ArithmeticError,
    torch.linalg.LinAlgError,  # pyright: ignore[reportPrivateImportUsage]
)
_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
_OVERFLOW = "without overflow"  # of a number that an optimiser cannot hold


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a job has no result.

    Attributes:
        cause: In words.
    """

    cause: str


def overdue(limit: float) -> Failure:
    """That of a job that took longer than so many seconds."""
    return Failure(cause=f"it took longer than the {limit:g} s of [executor] time_limit")


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A trial that has no scores; no engine was told of it, and no front shows it.

    Attributes:
        number: Of the trial.
        stage: `condensing` or `scoring`.
        cause: In words.
    """

    number: int
    stage: str
    cause: str


@dataclass(frozen=True, kw_only=True)
class Attempt(Job[Any]):
    """Another job, or why it failed: out of memory, or with numbers that are not finite.

    One that runs out of memory is done again in halves, and halves of these, which gives the same
    up to rounding; what cannot be divided is tried once more with what gradients need kept in the
    machine's own memory. Everything else that a job raises is no matter of its trial, and ends the
    study.
    """

    job: Job[Any]

    @property
    def key(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the job."""
        return self.job.key

    @property
    def lane(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the job."""
        return self.job.lane

    @property
    @override
    def size(self) -> int:
        return self.job.size

    @override
    def run(self, context: JobContext, progress: Progress, /) -> Any:
        found = self._sparing(self.job, context, progress)
        if isinstance(found, MemoryError):
            return Failure(cause=f"out of memory, in the smallest parts too ({found})")
        return found

    def _sparing(self, job: Job[Any], context: JobContext, progress: Progress) -> Any:  # noqa: ANN401
        """The result of a job, at once or in parts; a failure; or the last error of memory."""
        found = self._try(job, context, progress)
        if not isinstance(found, MemoryError):
            return found
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if not (halves := job.halves()):
            with torch.autograd.graph.save_on_cpu():
                return self._try(job, context, progress)
        results = []
        for half in halves:
            results.append(self._sparing(half, context, progress))
            if isinstance(results[-1], Failure | MemoryError):
                return results[-1]
        return job.joined(results)

    def _try(self, job: Job[Any], context: JobContext, progress: Progress) -> Any:  # noqa: ANN401
        """The result of a job, a failure, or the error that memory ran out with."""
        try:
            return job.run(context, progress)
        except _NO_NUMBERS as error:
            return Failure(cause=_line(error))
        except MemoryError as error:
            return MemoryError(_line(error))
        except RuntimeError as error:
            if any(words in str(error).lower() for words in _MEMORY):
                return MemoryError(_line(error))
            if _OVERFLOW in str(error):
                return Failure(cause=_line(error))
            raise


def _line(error: Exception) -> str:
    """What an error says, in a line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
