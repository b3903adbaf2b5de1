"""The pass over T on the workers of a study's executor, where there are several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from typing_extensions import override

from moc.errors import StudyError
from moc.networks.train import Progress
from moc.privacy.shards import Shard, ShardSums, Workers
from moc.study.attempts import Failure
from moc.study.executors.base import ExecutorPart
from moc.study.work import Job, JobContext

_WORTH = 500_000  # records times networks: with fewer, workers take longer to start than to sum


@dataclass(frozen=True, kw_only=True)
class SumShard(Job[ShardSums]):
    """Sum a shard of T, which the job holds."""

    key: str
    lane: int = 0
    shard: Shard

    @override
    def run(self, context: JobContext, progress: Progress, /) -> ShardSums:
        return self.shard.sum(progress)


@dataclass(frozen=True, kw_only=True)
class _Nothing:
    """The context of jobs that hold all they need."""

    device: str


def workers_for(executor: ExecutorPart, *, device: str, work: int) -> Workers | None:
    """Who sums T, if it is more than this process.

    Args:
        executor: Where trials run; none of those that write what jobs work on to disk.
        device: Of the study.
        work: Records times networks.
    """
    count = 1 if executor.on_disk else executor.side_by_side(device)
    if count == 1 or work < _WORTH:
        return None
    return Workers(count=count, run=partial(_run, executor, device))


def _run(
    executor: ExecutorPart, device: str, shards: Sequence[Shard], progress: Progress | None
) -> Iterator[tuple[int, ShardSums]]:
    """Sum shards on workers, which end with the last."""
    total, ended, running = sum(map(len, shards)), 0, dict[str, int]()

    def tell(key: str, done: int, size: int) -> None:
        del size
        running[key] = done
        if progress is not None:
            progress(min(ended + sum(running.values()), total), total)

    started = executor.start(_Nothing(device=device))
    try:
        numbers = {f"shard {number}": number for number in range(len(shards))}
        for key, number in numbers.items():
            started.submit(SumShard(key=key, shard=shards[number]))
        for one in started.results(tell):
            if isinstance(one.result, Failure):
                raise StudyError(f"A shard of T was not summed: {one.result.cause}.")
            number = numbers[one.job.key]
            ended += len(shards[number])
            tell(one.job.key, 0, 0)
            yield number, one.result
    finally:
        started.close()
