"""The pass over T on workers, one of which is killed."""

import os
import signal

import pytest
from passes_over_t import dies_at, pass_over, shards_count_once
from tiny import PRIVATE, unreported

from moc.data import SOURCES
from moc.errors import StudyError
from moc.privacy.ladder import Ladder
from moc.study import passes
from moc.study.config import parse_config
from moc.study.context import StudyContext
from moc.study.executors import EXECUTORS
from moc.study.executors._processes import _Process
from moc.study.reporter import Silent
from moc.study.run import run_study


@pytest.fixture
def sources():
    """The digits, sealed as often as a test loads them."""
    return lambda: SOURCES.make("digits").load("train")


def test_a_shard_whose_worker_is_killed_is_summed_once(sources, tmp_path, monkeypatch):
    def kill(worker):
        os.kill(worker.process.pid, signal.SIGKILL)

    given = dies_at(monkeypatch, _Process, 3, kill)
    table = {"kind": "local", "workers": 2}
    shards_count_once(sources(), sources(), tmp_path, given, table)


def test_a_private_pass_is_written_once_by_the_studys_process_alone(sources, tmp_path):
    ladder = Ladder(epsilons=(8.0, 2.0))
    table = {"kind": "local", "workers": 2}
    found, events = pass_over(sources(), tmp_path, ladder=ladder, executor=table)
    assert [round(one.rung.epsilon, 2) for one in found] == [8.0, 2.0]
    assert events == [(name, "release/0") for name in ("reserved", "begun", "finished")]


def test_a_pass_that_fails_has_drawn_nothing(sources, tmp_path):
    table = {"kind": "local", "workers": 2, "time_limit": 0.001}
    with pytest.raises(StudyError, match="A shard of T was not summed: it took longer"):
        pass_over(sources(), tmp_path, ladder=Ladder(epsilons=(8.0,)), executor=table)
    lines = (tmp_path / "privacy.jsonl").read_bytes()
    assert b'"begun"' not in lines


def test_a_study_sums_on_its_workers_where_that_pays(tmp_path, monkeypatch):
    monkeypatch.setattr(passes, "_WORTH", 0)
    seen = []
    monkeypatch.setattr(
        "moc.study.context.workers_for",
        lambda *a, **k: seen.append(passes.workers_for(*a, **k)) or seen[-1],
    )
    tables = {**unreported(PRIVATE), "executor": {"kind": "local", "workers": 2}}
    run_study(parse_config(tables, where="test"), tmp_path / "study")
    assert [one is not None and one.count for one in seen] == [2]


def test_records_that_leave_this_machine_are_announced(tmp_path, monkeypatch):
    said = []

    class Listening(Silent):
        def say(self, line):
            said.append(line)

    there = {"kind": "ray", "address": "host:1", "workers": 2}
    for count, executor in ((10**6, there), (10**6, PRIVATE["executor"]), (1, there)):
        config = parse_config({**PRIVATE, "executor": executor}, where="test")
        StudyContext.try_out(config, tmp_path, Listening()).summing(count)
    assert [line for line in said if "sent" in line] == [
        "Records of T are sent to the Ray cluster at host:1, to be summed."
    ]


def test_few_records_and_executors_that_write_to_disk_leave_it_to_this_process(tmp_path):
    local = EXECUTORS.make({"kind": "local", "workers": 2})
    slurm = EXECUTORS.make({"kind": "slurm", "folder": tmp_path, "workers": 2})
    assert passes.workers_for(local, device="cpu", work=10**9) is not None
    assert passes.workers_for(local, device="cpu", work=10**4) is None
    assert passes.workers_for(local, device="cuda", work=10**9) is None
    assert passes.workers_for(slurm, device="cpu", work=10**9) is None
