"""Workers of Ray: actors that are sent everything in pieces, so that nothing is in its store.

Ray keeps what is longer than 100 KiB in an object store, which it writes to disk where memory is
short, and on a cluster that others run nobody here can forbid that. A context may hold held-out
records, and a shard of T does: they travel in pieces that Ray carries within its messages.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from typing_extensions import override

from moc.errors import StudyError
from moc.study.executors._pool import LOOK, Heard, Pool, Worker, optional, outcome, prepare
from moc.study.stopping import STOPS
from moc.study.work import JobContext

PIECE = 64 * 1024  # bytes of a message, well below the 100 KiB from which Ray stores an object
_STORE = 80 * 2**20  # bytes of the object store of a cluster of our own; the least that Ray takes
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it tells nobody that it runs
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # warns of nothing
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # and prints nothing over the progress of a study
}
_CLOSED = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid4().hex + uuid4().hex}
"""Ray listens on every interface of the machine: only who has this may connect."""


class RayWorkers(Pool["_Actor"]):
    """Actors side by side; one that is lost was killed, out of memory, or on a node that went."""

    def __init__(
        self,
        context: JobContext,
        make: Callable[[], _Actor],
        leave: Callable[[], None],
        *,
        workers: int,
        time_limit: float | None = None,
        retries: int = 1,
    ) -> None:
        """Start `workers` actors by `make`; `leave` is called when all is over."""
        self._leave = leave
        super().__init__(context, make, workers=workers, time_limit=time_limit, retries=retries)

    @override
    def _listen(self, workers: list[_Actor]) -> Iterator[tuple[_Actor, Heard | None]]:
        waiting = {one.answer: one for one in workers if one.answer is not None}
        ended, _ = _ray().wait(list(waiting), timeout=LOOK)
        for one in ended:
            yield waiting[one], waiting[one].heard()
        for worker in [] if ended else workers:
            yield from ((worker, told) for told in worker.told())

    @override
    def close(self) -> None:
        super().close()
        self._leave()


class _Actor(Worker):
    """One actor.

    Attributes:
        answer: What it is to say next; None while it waits for a job.
    """

    def __init__(self, *, cpus: float, gpus: float) -> None:
        """Start it, with so many CPUs and GPUs to itself, or shares of them."""
        made = _ray().remote(num_cpus=cpus, num_gpus=gpus, concurrency_groups={"progress": 1})
        self._actor = made(_Desk).remote()
        self.answer: Any = self._actor.awake.remote()
        self._progress: Any = None

    @override
    def send(self, message: bytes) -> None:
        for start in range(0, len(message), PIECE):
            self._actor.take.remote(message[start : start + PIECE])
        self.answer = (self._actor.settle if self.job is None else self._actor.work).remote()

    def heard(self) -> Heard | None:
        """What it says; None if it is gone."""
        ray = _ray()
        try:
            found = ray.get(self.answer)
            self.answer = None
            if not isinstance(found, int):
                return found
            parts = ray.get([self._actor.give.remote(one) for one in range(found)])
            return pickle.loads(b"".join(parts))
        except ray.exceptions.RayTaskError as error:
            return "raised", error.cause
        except ray.exceptions.RayError:
            return None

    def told(self) -> Iterator[Heard]:
        """How far its job is, as it said when it was last asked."""
        ray = _ray()
        if self.job is None:
            return
        if self._progress is not None:
            ready, _ = ray.wait([self._progress], timeout=0)
            if not ready:
                return
            with suppress(ray.exceptions.RayError):  # it is gone, which is heard otherwise
                found = ray.get(self._progress)
                if found is not None:
                    yield "told", *found
        self._progress = self._actor.progress.options(concurrency_group="progress").remote()

    @override
    def end(self, patience: float) -> str:
        with suppress(_ray().exceptions.RayError):
            _ray().kill(self._actor, no_restart=True)
        return "its process or node went away"


class _Desk:
    """The actor's side: where pieces are put together, and jobs done."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._context: Any = None
        self._done: bytes = b""
        self._told: tuple[int, int] | None = None

    def awake(self) -> tuple[str]:
        """All is imported, or this would not be here."""
        return ("awake",)

    def take(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def settle(self) -> tuple[str]:
        """Keep the context."""
        prepare()
        self._context = pickle.loads(self._message())
        return ("ready",)

    def work(self) -> int:
        """Do a job; gives in how many pieces the outcome can be had."""
        prepare()  # torch counts the threads of each thread by itself
        self._told = None
        self._done = outcome(self._message(), self._context, self._tell)
        return -(-len(self._done) // PIECE)

    def give(self, number: int) -> bytes:
        return self._done[number * PIECE : (number + 1) * PIECE]

    def progress(self) -> tuple[int, int] | None:
        """Steps done and in all, as far as the job has told."""
        return self._told

    def _message(self) -> bytes:
        message, self._pieces = b"".join(self._pieces), []
        return message

    def _tell(self, done: int, total: int) -> None:
        self._told = (done, total)


def connect(address: str | None, *, cpus: int) -> Callable[[], None]:
    """Join the cluster at `address`, or make one on this machine; gives what leaves it again.

    One of our own listens to this study alone, spills nothing to disk, and keeps its logs where
    only its owner can look. What a study has joined before stays joined.
    """
    before = {one: signal.getsignal(one) for one in STOPS}
    if address is None:
        _require_closed()
    for name, value in (_QUIET if address else {**_QUIET, **_CLOSED}).items():
        os.environ.setdefault(name, value)
    ray = _ray()
    if ray.is_initialized():
        return _stay
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is not None:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise StudyError(f"No Ray cluster found at {address!r}: {error}") from error
        leave = ray.shutdown
    else:
        home = Path(tempfile.mkdtemp(prefix="moc-ray-", dir="/tmp"))  # short: sockets lie in it
        ray.init(
            num_cpus=cpus,
            include_dashboard=False,
            object_store_memory=_STORE,
            _temp_dir=str(home / "ray"),  # which Ray opens to everybody: the one above is closed
            _system_config={"automatic_object_spilling_enabled": False},
            **quiet,
        )
        leave = _Leave(home)
    for number, handler in before.items():  # Ray has put its own in their place
        with suppress(ValueError):  # outside the main thread, where it has not
            signal.signal(number, handler)
    return leave


def _require_closed() -> None:
    """Refuse a cluster of our own that anybody could join, since Ray reads this when imported."""
    if "ray" in sys.modules and os.environ.get("RAY_AUTH_MODE") != "token":
        raise StudyError(
            "Ray was imported before moc could close its cluster to others. Set RAY_AUTH_MODE=token"
            " and RAY_AUTH_TOKEN before, or start a cluster and name it: [executor] address."
        )


def resources() -> dict[str, float]:
    """What the cluster has in all, such as CPU and GPU."""
    return _ray().cluster_resources()


def actors(*, cpus: float, gpus: float) -> Callable[[], _Actor]:
    """What makes an actor with so many CPUs and GPUs."""
    return lambda: _Actor(cpus=cpus, gpus=gpus)


class _Leave:
    """Ends a cluster of our own, and what it has written.

    Its workers end within seconds of a study that is killed, but its agents only after a minute:
    a process of our own sees to them, and to the folder.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        words = [sys.executable, "-S", "-E", "-c", _REAPER, str(home), *_agents()]
        self._reaper = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)

    def __call__(self) -> None:
        _ray().shutdown()
        self._reaper.communicate()  # which ends its waiting


_REAPER = """
import os, shutil, sys
sys.stdin.read()  # until the study is gone
for pid in sys.argv[2:]:
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            if "ray" in file.read():
                os.kill(int(pid), 9)
    except OSError:
        pass
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


def _agents() -> list[str]:
    """Processes that Ray has begun below this one."""
    psutil = importlib.import_module("psutil")  # which Ray brings
    return [str(one.pid) for one in psutil.Process().children(recursive=True) if _is_ray(one)]


def _is_ray(process: Any) -> bool:  # noqa: ANN401
    return "ray" in " ".join(process.cmdline())


def _stay() -> None:
    """Leave a cluster that somebody else has joined to them."""


def _ray() -> Any:  # noqa: ANN401 - the package is optional
    return optional("ray", "Ray", kind="ray")
