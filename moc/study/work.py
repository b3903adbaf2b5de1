"""Work that executors do, whatever it is: jobs, and what workers are given once for all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from moc.networks.train import Progress

Result = TypeVar("Result")


class JobContext(Protocol):
    """What workers are given once, whatever their jobs are."""

    @property
    def device(self) -> str:
        """Where networks live."""
        ...


class Job(ABC, Generic[Result]):
    """A piece of work.

    Attributes:
        key: Its name, unique in a study.
        lane: The search that it belongs to, by rung.
        divided: Fields of equal length that hold an entry for each part that can be done alone.
    """

    key: str
    lane: int = 0
    divided: ClassVar[tuple[str, ...]] = ()

    @property
    def size(self) -> int:
        """How many sets it is work on."""
        return 1

    @abstractmethod
    def run(self, context: Any, progress: Progress, /) -> Result:  # noqa: ANN401
        """Do the work."""

    def halves(self) -> list[Self]:
        """Two jobs that do the same with less memory; none if it cannot be divided."""
        whole: Any = self
        fields = {name: getattr(self, name) for name in self.divided}
        half = len(next(iter(fields.values()), ())) // 2
        parts = (slice(half), slice(half, None)) if half else ()
        return [replace(whole, **{k: one[part] for k, one in fields.items()}) for part in parts]

    def joined(self, results: Sequence[Any]) -> Any:  # noqa: ANN401
        """The result of this job from those of its halves."""
        return [one for result in results for one in result]
