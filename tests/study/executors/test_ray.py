"""Workers of Ray: the contracts, a study that loses one, and what Ray may not do."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
from fast_trials import doubled, outcome
from ledgers import read_events, rewrite_settings, write_events
from passes_over_t import dies_at, shards_count_once
from processes import alive, below, wait_until
from tiny import PRIVATE, unreported

from moc.data import SOURCES
from moc.errors import StudyError
from moc.lines import from_line
from moc.study.config import parse_config
from moc.study.executors import EXECUTORS, _ray
from moc.study.executors._ray import RayWorkers
from moc.study.run import run_study
from moc.testing.executors import (
    Echo,
    ExecutorContract,
    Square,
    WorkersContract,
    _Context,
    check_that_a_context_may_take_long,
    results_of,
)

if importlib.util.find_spec("ray") is None:  # importing it here would be before moc has set it up
    pytest.skip("pip install 'moc-condensation[ray]'", allow_module_level=True)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One of our own, which every executor of these tests joins."""
    with pytest.MonkeyPatch.context() as patch:  # else its workers wait for all other tests
        patch.setenv("RAY_worker_niceness", "0")
        leave = _ray.connect(None, cpus=2)
        yield
        leave()


def make(context, *, workers=2, time_limit=None):
    return EXECUTORS.make({"kind": "ray", "workers": workers, "time_limit": time_limit}).start(
        context
    )


class TestRayContract(ExecutorContract):
    def make(self, context):
        return make(context)


class TestRayThatIsLost(WorkersContract):
    def make(self, context, *, workers=2, time_limit=None):
        return make(context, workers=workers, time_limit=time_limit)


def spent(folder):
    """What the study's ledger and that of its data set say, but for names of draws and times."""
    own = [from_line(line) for line in (folder / "privacy.jsonl").read_bytes().splitlines(True)]
    shared = Path(os.environ["MOC_LEDGER"]).read_bytes().splitlines()
    return [{k: v for k, v in event.items() if k != "draw"} for event in own], len(shared)


@pytest.mark.usefixtures("in_full")
def test_a_study_that_loses_a_worker_in_a_batch_loses_nothing_and_counts_nothing_twice(
    tmp_path, monkeypatch, capfd
):
    here_only = unreported(PRIVATE)
    config = parse_config(here_only, where="test")
    there = parse_config({**here_only, "executor": {"kind": "ray", "workers": 2}}, where="test")
    monkeypatch.setenv("MOC_LEDGER", str(tmp_path / "here.jsonl"))
    run_study(config, here := tmp_path / "here")
    shutil.copytree(here, folder := tmp_path / "ray")  # the same noise, and no trial yet
    shutil.copy(tmp_path / "here.jsonl", tmp_path / "ray.jsonl")
    expected = (outcome(here), spent(here))
    monkeypatch.setenv("MOC_LEDGER", str(tmp_path / "ray.jsonl"))
    write_events(folder, read_events(folder)[:1])
    shutil.rmtree(folder / "sets")
    rewrite_settings(folder, there)
    killed, lost = [], []

    def kill():
        wait_until(lambda: b'"condensed"' in (folder / "study.jsonl").read_bytes(), 120)
        killed.extend(wait_until(lambda: below(os.getpid(), "ray::_Desk.work"))[:1])
        os.kill(killed[0], signal.SIGKILL)

    def replace(self, worker):
        lost.append(worker.job and worker.job.key)
        return first(self, worker)

    first = RayWorkers._lost
    monkeypatch.setattr(RayWorkers, "_lost", replace)
    killer = Thread(target=kill)
    killer.start()
    run_study(there, folder)
    killer.join()
    assert len(killed) == 1
    assert len(lost) == 1
    assert lost[0], "the worker was at work when it was killed"
    assert (outcome(folder), spent(folder)) == expected
    assert doubled(folder) == doubled(here)
    assert capfd.readouterr() == ("", ""), "Ray says nothing"


def test_a_shard_of_t_whose_worker_is_killed_is_summed_once(tmp_path, monkeypatch):
    given = dies_at(monkeypatch, _ray._Actor, 3, lambda worker: worker.end(0.0))
    table = {"kind": "ray", "workers": 2}
    here, there = (SOURCES.make("digits").load("train") for _ in range(2))
    shards_count_once(here, there, tmp_path, given, table)


def test_nothing_is_put_into_the_store_that_ray_may_write_to_disk():
    import ray

    context = _Context(device="cpu" + "-" * 3_000_000)
    executor = RayWorkers(context, _ray.actors(cpus=1, gpus=0), list, workers=1)
    jobs = [Square(key="square", number=2), Echo(key="echo", payload=os.urandom(3_000_000))]
    found = results_of(executor, jobs)
    assert found == {"square": 4 + 3_000_000, "echo": jobs[1].payload}
    total, free = ray.cluster_resources(), ray.available_resources()
    assert free["object_store_memory"] == total["object_store_memory"]
    kept = ray.put(os.urandom(3_000_000))
    used = wait_until(
        lambda: ray.available_resources()["object_store_memory"] < total["object_store_memory"]
    )
    assert used, "what is put there is seen there"
    del kept


def test_what_is_asked_of_workers_must_be_there():
    with pytest.raises(StudyError, match="gpus = 0 cannot work on device = 'cuda'"):
        make(_Context(device="cuda"))
    with pytest.raises(StudyError, match=r"gpus = 0.25 cannot work on device = 'cpu'"):
        EXECUTORS.make({"kind": "ray", "gpus": 0.25}).start(_Context())
    with pytest.raises(StudyError, match="A worker of 500 CPUs and 0 GPUs does not fit into this"):
        EXECUTORS.make({"kind": "ray", "cpus": 500}).start(_Context())


STUDY = """
import sys, time
from moc.study.executors import EXECUTORS
from moc.testing.executors import Square, _Context
executor = EXECUTORS.make({"kind": "ray", "workers": 1}).start(_Context())
executor.submit(Square(key="job", number=1))
assert [done.result for done in executor.results(lambda *told: None)] == [1]
import ray
print(ray.get_runtime_context().gcs_address, executor._leave.home, flush=True)
if sys.stdin.read(1):
    executor.close()
"""
JOIN = """
import ray, sys
ray.init(address=sys.argv[1], log_to_driver=False)
"""


def test_a_context_may_take_long():
    check_that_a_context_may_take_long(make)


@pytest.mark.parametrize("killed", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_cluster_of_its_own_is_closed_quiet_and_ends_with_the_study_however_it_ends(killed):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    study = subprocess.Popen([sys.executable, "-c", STUDY], **pipes, text=True)
    address, home = study.stdout.readline().split()
    assert wait_until(lambda: below(study.pid, "ray::_Desk"))
    begun = below(study.pid)
    assert Path(home).stat().st_mode & 0o077 == 0
    if killed:
        others = {name: one for name, one in os.environ.items() if not name.startswith("RAY_")}
        words = [sys.executable, "-c", JOIN, address]
        other = subprocess.run(words, env=others, capture_output=True, text=True, check=False)
        assert other.returncode
        assert "AuthenticationError" in other.stderr
        study.kill()
    said = study.communicate("" if killed else "x")
    assert said == ("", "")
    assert study.returncode == (-signal.SIGKILL if killed else 0)
    assert wait_until(lambda: not any(map(alive, begun))), "within half a minute"
    assert wait_until(lambda: not Path(home).exists())


def test_without_ray_it_says_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(StudyError, match=r"pip install 'moc-condensation\[ray\]'"):
        make(_Context())
