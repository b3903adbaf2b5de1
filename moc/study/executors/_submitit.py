"""Jobs that a scheduler starts one by one, sent by files in a folder that all nodes see."""

from __future__ import annotations

import pickle
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from typing_extensions import override

from moc.study.executors._pool import LOOK, Heard, Pool, Worker, optional, outcome, prepare
from moc.study.work import Job, JobContext


class Submitted(Pool["_Slot"]):
    """So many jobs at a time with a scheduler; one that is lost was killed, or its node was."""

    def __init__(
        self,
        context: JobContext,
        *,
        cluster: str,
        folder: Path,
        parameters: Mapping[str, Any],
        workers: int,
        time_limit: float | None = None,
        retries: int = 1,
    ) -> None:
        """Use a folder of its own in `folder`, open to its owner alone and removed in the end."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="moc-", dir=folder))
        executor = _submitit().AutoExecutor(self._folder / "%j", cluster=cluster)
        executor.update_parameters(**parameters)
        super().__init__(
            context,
            partial(_Slot, executor, self._folder / "context.pkl"),
            workers=workers,
            time_limit=time_limit,
            retries=retries,
        )

    @override
    def _listen(self, workers: list[_Slot]) -> Iterator[tuple[_Slot, Heard | None]]:
        begun = [one for one in workers if not one.ready]
        found = [(one, (word,)) for one in begun for word in ("awake", "ready")]
        found += [(one, one.heard()) for one in workers if one.job is not None and one.ended()]
        if not found:
            time.sleep(LOOK)
        yield from found

    @override
    def close(self) -> None:
        super().close()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Slot(Worker):
    """A place for one job of the scheduler after the other."""

    def __init__(self, executor: Any, context: Path) -> None:  # noqa: ANN401
        self._executor, self._context = executor, context
        self._submitted: Any = None
        self._how = ""

    @property
    @override
    def seconds(self) -> float:
        return max(super().seconds, 0.0)

    @override
    def begin(self, job: Job[Any]) -> None:
        super().begin(job)
        self._since = float("inf")  # it waits for a node

    @override
    def send(self, message: bytes) -> None:
        if self.job is not None:
            self._submitted = self._executor.submit(_work, self._context, message)
        elif not self._context.exists():
            self._context.write_bytes(message)

    def ended(self) -> bool:
        """Whether its job is over, well or not."""
        if self._since == float("inf") and self._submitted.state == "RUNNING":
            self._since = time.monotonic()
        return self._submitted.done()

    def heard(self) -> Heard | None:
        """What came of its job; None if nothing did."""
        try:
            return pickle.loads(self._submitted.result())
        except _submitit().core.utils.UncompletedJobError as error:
            self._how = str(error).strip().splitlines()[-1]
            return None

    @override
    def end(self, patience: float) -> str:
        if self._submitted is not None and not self._submitted.done():
            self._submitted.cancel(check=False)
        return self._how


def _work(context: Path, job: bytes) -> bytes:
    """What a job gives, as a message."""
    prepare()
    return outcome(job, pickle.loads(context.read_bytes()), _nothing)


def _nothing(done: int, total: int) -> None:
    del done, total


def _submitit() -> Any:  # noqa: ANN401 - the package is optional
    return optional("submitit", "submitit", kind="slurm")
