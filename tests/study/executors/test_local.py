"""Executors on this machine: the contract, real jobs, and workers that get lost."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from tiny import TINY

from moc.errors import StudyError
from moc.study.config import parse_config
from moc.study.context import StudyContext
from moc.study.executors import _processes
from moc.study.executors._processes import Processes
from moc.study.executors.local import Inline, Local
from moc.study.jobs import Examine, Job
from moc.study.reporter import Silent
from moc.study.worklist import Worklist
from moc.testing.executors import ExecutorContract, Square, _Context


class TestInlineContract(ExecutorContract):
    def make(self, context):
        return Inline(context)


class TestProcessesContract(ExecutorContract):
    def make(self, context):
        return Processes(context, workers=2)


def ignore(key, done, total):
    pass


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return StudyContext.load(parse_config(TINY, where="test"), folder, Silent())


def run(executor, jobs):
    for job in jobs:
        executor.submit(job)
    try:
        return {done.job.key: done.result for done in executor.results(ignore)}
    finally:
        executor.close()


def test_processes_count_and_examine_as_this_process_does(context, tiny_open):
    config = context.config
    worker = context.worker()
    with Worklist(context) as work:
        score = work.score("trial-000", "validation")
    path = tiny_open.folder / "sets" / "trial-000.safetensors"
    fields = {**vars(score), "path": path}
    examine = Examine(
        key="examine",
        name="trial-000",
        path=path,
        records="examined",
        seeds=score.seeds,
        checked=True,
        scored="validation",
    )
    jobs = [type(score)(**fields), examine]
    here = run(Inline(worker), jobs)
    there = run(Processes(worker, workers=2), jobs)
    assert torch.equal(here[score.key]._sums, there[score.key]._sums)
    assert here[score.key]._sums.shape == (config.evaluate.replicates, 2)
    for done in (here, there):
        assert torch.equal(done["examine"].counts._sums, here[score.key]._sums)
    here, there = here["examine"].found, there["examine"].found
    assert torch.equal(here.counts._sums, there.counts._sums)
    assert here.checks == there.checks
    assert len(here.checks) == 9


@dataclass(frozen=True, kw_only=True)
class DiesOnce(Job[int]):
    """Kills the process that does it the first time, as the system does when memory is out."""

    key: str
    lane: int = 0
    mark: Path

    def run(self, context, progress, /):
        if not self.mark.exists():
            self.mark.write_text("was here")
            os.kill(os.getpid(), signal.SIGKILL)
        return 7


@dataclass(frozen=True, kw_only=True)
class AlwaysDies(Job[int]):
    """Needs more memory than there is."""

    key: str
    lane: int = 0

    def run(self, context, progress, /):
        os.kill(os.getpid(), signal.SIGKILL)


def test_the_jobs_of_a_lost_worker_run_again(tmp_path):
    jobs = [Square(key=f"job {k}", number=k) for k in range(4)]
    jobs.insert(1, DiesOnce(key="dies", mark=tmp_path / "mark"))
    found = run(Processes(_Context(), workers=1), jobs)
    assert found == {"dies": 7, **{f"job {k}": k**2 for k in range(4)}}


def test_a_job_that_loses_every_worker_has_failed_and_the_others_go_on():
    jobs = [Square(key=f"job {k}", number=k) for k in range(3)]
    found = run(Processes(_Context(), workers=2), [AlwaysDies(key="large"), *jobs])
    assert "lost its worker 2 times (killed by signal 9)" in found.pop("large").cause
    assert found == {f"job {k}": k**2 for k in range(3)}


def test_workers_that_never_begin_end_the_study_in_words(monkeypatch):
    monkeypatch.setattr(_processes, "_work", os._exit)  # its argument is no exit code
    with pytest.raises(StudyError, match=r"end before they have begun .exit code 1.*workers = 1"):
        run(Processes(_Context(), workers=1), [Square(key="job", number=1)])


@dataclass(frozen=True, kw_only=True)
class Hangs(Job[int]):
    """Never ends."""

    key: str
    lane: int = 0

    def run(self, context, progress, /):
        while True:
            time.sleep(0.01)


@pytest.mark.parametrize("make", [Inline, partial(Processes, workers=2)])
def test_a_job_that_hangs_has_failed_after_its_limit_and_the_others_go_on(make):
    jobs = [Square(key=f"job {k}", number=k) for k in range(3)]
    found = run(make(_Context(), time_limit=0.5), [Hangs(key="hangs"), *jobs])
    assert found.pop("hangs").cause.endswith("longer than the 0.5 s of [executor] time_limit")
    assert found == {f"job {k}": k**2 for k in range(3)}


def test_workers_that_are_at_work_are_let_go_at_once():
    executor = Processes(_Context(), workers=1)
    executor.submit(Square(key="first", number=1))
    executor.submit(Hangs(key="hangs"))
    assert next(executor.results(ignore)).result == 1
    process = executor._workers[0].process
    executor.close()
    assert not alive(process.pid)


def test_workers_end_with_the_study_however_it_ends(tmp_path):
    program = (
        "import os, sys, time\n"
        "from moc.study.executors.local import Processes\n"
        "from moc.testing.executors import Square, _Context\n"
        "if __name__ == '__main__':\n"
        "    executor = Processes(_Context(), workers=1)\n"
        "    executor.submit(Square(key='job', number=1))\n"
        "    list(executor.results(lambda *told: None))\n"
        "    print(*(one.process.pid for one in executor._workers), flush=True)\n"
        "    time.sleep(60)\n"
    )
    path = tmp_path / "program.py"
    path.write_text(program)
    study = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True)
    assert study.stdout is not None
    workers = [int(pid) for pid in study.stdout.readline().split()]
    assert len(workers) == 1
    study.kill()
    study.wait()
    deadline = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers))


def alive(pid):
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_one_worker_or_a_gpu_means_this_process():
    assert isinstance(Local(workers=1).start(_Context()), Inline)
    hanging = Local(workers=1, time_limit=60).start(_Context())
    assert isinstance(hanging, Processes)
    hanging.close()
    assert isinstance(Local().start(_Context(device="cuda")), Inline)
