"""Processes that do jobs: each is known by its job, so that what ends it ends nothing else."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from threading import Thread

from typing_extensions import override

from moc.study.executors._pool import LOOK, Heard, Pool, Worker, outcome, prepare
from moc.study.work import JobContext


class Processes(Pool["_Process"]):
    """Several processes on one machine; one that is lost was killed, or out of memory."""

    def __init__(
        self, context: JobContext, *, workers: int, time_limit: float | None = None
    ) -> None:
        """Start `workers` processes, which import at once; they get the context once."""
        super().__init__(context, _Process, workers=workers, time_limit=time_limit)

    @override
    def _listen(self, workers: list[_Process]) -> Iterator[tuple[_Process, Heard | None]]:
        ends = {worker.connection: worker for worker in workers}
        for one in wait(list(ends), timeout=LOOK):
            assert isinstance(one, Connection)
            try:
                yield ends[one], pickle.loads(one.recv_bytes())
            except (EOFError, OSError):
                yield ends[one], None


class _Process(Worker):
    """One process.

    Attributes:
        connection: Where it is talked to.
    """

    def __init__(self) -> None:
        """Start it."""
        home = _home()
        self.connection, its = home.Pipe()
        self.process = home.Process(target=_work, args=(its,), daemon=True)
        self.process.start()
        its.close()  # so that its end is heard here

    @override
    def send(self, message: bytes) -> None:
        with suppress(BrokenPipeError):  # then it is gone, which is heard next
            self.connection.send_bytes(message)

    @override
    def end(self, patience: float) -> str:
        self.connection.close()
        self.process.join(patience)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        code = self.process.exitcode or 0
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _home() -> ForkServerContext | SpawnContext:
    """Where processes come from.

    On Linux they are copies of one that has imported what jobs need and has done nothing else: no
    record ever reaches it, and what jobs draw has seeds of its own. (Threads that numpy starts are
    ended by OpenBLAS before a copy is made.) Elsewhere that is not safe.
    """
    if sys.platform != "linux":
        return get_context("spawn")
    home = get_context("forkserver")
    home.set_forkserver_preload([f"{__package__}._beforehand"])
    return home


def _work(connection: Connection) -> None:
    """Do jobs until the study lets go."""
    # A key pressed at the terminal reaches its whole group: the study says when to leave.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    prepare()
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        connection.send_bytes(pickle.dumps(("awake",)))
        context = pickle.loads(connection.recv_bytes())
        connection.send_bytes(pickle.dumps(("ready",)))
        tell = partial(_tell, connection)
        while True:
            connection.send_bytes(outcome(connection.recv_bytes(), context, tell))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _tell(connection: Connection, done: int, total: int) -> None:
    connection.send_bytes(pickle.dumps(("told", done, total)))


def _end_with_parent() -> None:
    """Leave when the study is gone, however it ended."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
