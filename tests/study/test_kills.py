"""A study that meets signals at whatever step writes loses nothing, and does nothing twice."""

import errno
import os
import random
import shutil
import signal
from collections import Counter

import pytest
from fast_trials import (
    FINISHED,
    SPENT,
    STOPPED,
    TABLES,
    doubled,
    draws_of,
    fake,
    full_disk,
    outcome,
    read_only,
    run,
    run_apart,
    run_killed,
)
from ledgers import read_events, write_events

from moc.study.store import read_study

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ENDS = {-signal.SIGKILL, FINISHED, SPENT, STOPPED}


@pytest.fixture
def uninterrupted(tmp_path, monkeypatch):
    fake(monkeypatch)
    monkeypatch.setenv("MOC_LEDGER", str(tmp_path / "ledger.jsonl"))
    run(tmp_path / "whole")
    return outcome(tmp_path / "whole")


def kill_until_finished(folder, rng, left):
    """Run a study again and again, each time with a signal; gives how often it met one."""
    met, drawn, ends = 0, False, Counter()
    while True:
        number = rng.choice(SIGNALS)
        code = run_killed(folder, rng.randint(1, 120), number, rng.randrange(10**6))
        assert code in ENDS, f"it ended with {code}"
        ends[code] += 1
        stored = (folder / "release-0").exists()
        assert stored or not drawn, "a release that was drawn is there"
        drawn = stored
        if code == FINISHED:
            return met, ends
        met += 1
        if code == SPENT:  # the noise was drawn and lost: it counts, and is not made good
            assert not drawn
            assert draws_of(folder) == 1
            return met, ends
        if met >= left:
            run(folder)
            return met, ends


def run_chains(tmp_path, uninterrupted, kills, seed):
    rng, met, chains, ended, ends = random.Random(seed), 0, 0, 0, Counter()
    while met < kills:
        folder = tmp_path / f"study-{chains}"
        os.environ["MOC_LEDGER"] = str(tmp_path / f"ledger-{chains}.jsonl")
        more, how = kill_until_finished(folder, rng, kills - met)
        met, ends, chains = met + more, ends + how, chains + 1
        if draws_of(folder) == 1 and (folder / "release-0").exists():
            ended += 1
            assert doubled(folder) == []
            found = outcome(folder)
            for name, value in uninterrupted.items():
                if name not in ("trials", "sets"):
                    assert found[name] == value, name
            assert found["trials"] == uninterrupted["trials"]
            assert found["sets"] == uninterrupted["sets"]
    assert ended > chains / 2
    assert min(ends[-signal.SIGKILL], ends[STOPPED]) > kills / 8


def test_signals_change_nothing(tmp_path, uninterrupted, monkeypatch):
    monkeypatch.setenv("MOC_LEDGER", "")
    run_chains(tmp_path, uninterrupted, 40, seed=0)


def begun(tmp_path, name):
    """A copy of the study as it was when its release was drawn, and no more."""
    folder = tmp_path / name
    shutil.copytree(tmp_path / "whole", folder)
    write_events(folder, read_events(folder)[:1])
    for part in ("sets", "curves"):
        shutil.rmtree(folder / part)
    return folder


def test_a_disk_that_is_full_at_any_size_of_a_file_loses_nothing(tmp_path, uninterrupted):
    for size in (600, 2500, 4000, 7000, 9000):
        folder = begun(tmp_path, f"full-{size}")
        code = run_apart(lambda size=size: full_disk(size), lambda folder=folder: run(folder))
        assert code == errno.EFBIG
        read_study(folder)
        run(folder)
        assert outcome(folder) == uninterrupted
        assert doubled(folder) == []


def test_a_disk_too_small_for_the_release_is_met_before_anything_is_spent(tmp_path, monkeypatch):
    fake(monkeypatch)
    monkeypatch.setenv("MOC_LEDGER", str(tmp_path / "ledger.jsonl"))
    folder, rounds = tmp_path / "study", [{**TABLES["rounds"][0], "count": 8}]
    tables = {**TABLES, "rounds": rounds}
    assert run_apart(lambda: full_disk(8000), lambda: run(folder, tables)) == errno.EFBIG
    assert draws_of(folder) == 0
    assert run(folder, tables).complete
    assert (folder / "release-0" / "rung-0.safetensors").stat().st_size > 8000
    assert draws_of(folder) == 1


def test_a_folder_that_cannot_be_written_is_read_and_a_study_in_it_named(tmp_path, uninterrupted):
    folder = begun(tmp_path, "fixed")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run_apart(lambda: read_only(folder), lambda: read_study(folder)) == FINISHED
    assert run_apart(lambda: read_only(folder), lambda: run(folder)) == errno.EROFS
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_folder_that_was_moved_while_the_study_rests_goes_on(tmp_path, uninterrupted):
    folder = begun(tmp_path, "here")
    run_killed(folder, 60, signal.SIGKILL, 0)
    moved = folder.rename(tmp_path / "there")
    run(moved)
    assert outcome(moved) == uninterrupted


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_thousand_signals_change_nothing(tmp_path, uninterrupted, monkeypatch):
    monkeypatch.setenv("MOC_LEDGER", "")
    run_chains(tmp_path, uninterrupted, 1000, seed=1)
