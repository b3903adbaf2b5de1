"""Executors on this machine: the contract, real jobs, and workers that get lost."""

import os
import subprocess
import sys
from functools import partial

import pytest
import torch
from processes import alive, wait_until
from tiny import TINY

from moc.errors import StudyError
from moc.study.config import parse_config
from moc.study.context import StudyContext
from moc.study.executors import _processes
from moc.study.executors._processes import Processes
from moc.study.executors.local import Inline, Local
from moc.study.measuring_jobs import Examine
from moc.study.reporter import Silent
from moc.study.worklist import Worklist
from moc.testing.executors import (
    ExecutorContract,
    Hangs,
    Square,
    WorkersContract,
    _Context,
    check_that_a_context_may_take_long,
    results_of,
)


class TestInlineContract(ExecutorContract):
    def make(self, context):
        return Inline(context)


class TestProcessesContract(ExecutorContract):
    def make(self, context):
        return Processes(context, workers=2)


class TestProcessesThatAreLost(WorkersContract):
    def make(self, context, *, workers=2, time_limit=None):
        return Processes(context, workers=workers, time_limit=time_limit)


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return StudyContext.load(parse_config(TINY, where="test"), folder, Silent())


@pytest.mark.usefixtures("in_full")
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
    here = results_of(Inline(worker), jobs)
    there = results_of(Processes(worker, workers=2), jobs)
    assert torch.equal(here[score.key]._sums, there[score.key]._sums)
    assert here[score.key]._sums.shape == (config.evaluate.replicates, 2)
    for done in (here, there):
        assert torch.equal(done["examine"].counts._sums, here[score.key]._sums)
    here, there = here["examine"], there["examine"]
    assert torch.equal(here.curve._sums, there.curve._sums)
    assert here.checks == there.checks
    assert len(here.checks) == 9


def test_a_context_may_take_long():
    check_that_a_context_may_take_long(partial(Processes, workers=2))


def test_workers_that_never_begin_end_the_study_in_words(monkeypatch):
    monkeypatch.setattr(_processes, "_work", os._exit)  # its argument is no exit code
    with pytest.raises(StudyError, match=r"end before they have begun .exit code 1.*workers = 1"):
        results_of(Processes(_Context(), workers=1), [Square(key="job", number=1)])


def test_a_job_that_hangs_in_this_process_has_failed_after_its_limit_and_the_others_go_on():
    jobs = [Square(key=f"job {k}", number=k) for k in range(3)]
    found = results_of(Inline(_Context(), time_limit=0.5), [Hangs(key="hangs"), *jobs])
    assert found.pop("hangs").cause.endswith("longer than the 0.5 s of [executor] time_limit")
    assert found == {f"job {k}": k**2 for k in range(3)}


def test_workers_that_are_at_work_are_let_go_at_once():
    executor = Processes(_Context(), workers=1)
    executor.submit(Square(key="first", number=1))
    executor.submit(Hangs(key="hangs"))
    assert next(executor.results(lambda *_: None)).result == 1
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
    assert wait_until(lambda: not any(map(alive, workers)))


def test_one_worker_or_a_gpu_means_this_process():
    assert isinstance(Local(workers=1).start(_Context()), Inline)
    hanging = Local(workers=1, time_limit=60).start(_Context())
    assert isinstance(hanging, Processes)
    hanging.close()
    assert isinstance(Local().start(_Context(device="cuda")), Inline)
