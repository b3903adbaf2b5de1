"""Studies that end before their trials do, and are taken up where they ended."""

from __future__ import annotations

import fast_trials
import pytest
from ledgers import read_events, write_events
from tiny import TINY

from moc.errors import StudyError
from moc.study.config import parse_config
from moc.study.events import StudyLedger
from moc.study.schedule import Clock, Schedule
from moc.study.store import read_study

OPEN = {**TINY, "name": "stops", "evaluate": fast_trials.TABLES["evaluate"]}


def stopping(tables=fast_trials.TABLES, *, trials: int = 40, **rules):
    search = {"trials": trials, "batch": 2, "engine": "sobol", "stop": rules}
    return {**tables, "search": search}


@pytest.fixture(autouse=True)
def _fake(monkeypatch):
    fast_trials.fake(monkeypatch)


def test_a_search_that_gains_nothing_more_ends_and_the_study_is_complete(tmp_path):
    tables = stopping(gain=0.4, over=4)
    study = fast_trials.run(tmp_path / "study", tables)
    planned = parse_config(tables, where="test").planned_trials
    assert study.complete
    assert 4 + 2 * 4 <= len(study.trials) < planned
    assert len(study.stopped) == 2
    assert study.stopped[0].startswith("The search of epsilon 8 ended after ")
    assert "rose by less than 40 % over the last 4 trials" in study.stopped[0]
    again = fast_trials.run(tmp_path / "study", tables)
    assert (again.trials, again.stopped) == (study.trials, study.stopped)


def test_a_rung_ends_by_its_own_trials_alone(tmp_path):
    """Whether the last trial of the rung above gains nothing or all, the one below ends there."""
    tables = stopping(gain=0.4, over=4)
    study = fast_trials.run(tmp_path / "study", tables)
    (below,) = [words for words in study.stopped if "epsilon 2" in words]
    events = read_events(tmp_path / "study")
    asked = [e for e in events if e["event"] == "asked"]
    above = {row["number"] for e in asked if e["rung"] == 0 for row in e["trials"]}
    last = max(e["batch"] for e in asked if e["rung"] == 1)
    for name, best in (("nothing", 0.99), ("all", 0.1)):
        changed = []
        for event in events:
            if event["event"] == "scored" and event["trial"] in above:
                mean = best if event["trial"] == max(above) else 0.99
                event = {**event, "scores": {k: [mean, 0.0] for k in event["scores"]}}
            if event["event"] not in ("stopped", "finished"):
                changed.append(event)
        folder = tmp_path / name
        folder.mkdir()
        write_events(folder, changed)
        ledger = StudyLedger(folder / "study.jsonl")
        frame = {"error": (0.0, 1.0), "robust_error": (0.0, 1.0)}
        config = parse_config(tables, where="test")
        schedule = Schedule(config, ledger, 1, frame=frame, clock=Clock(ledger))
        assert schedule.goes_on(last)
        assert not schedule.goes_on(last + 1)
        assert [event["why"] for event in ledger.all("stopped")] == [below]


def test_no_trial_is_left_out_for_a_rule_that_never_holds(tmp_path):
    tables = stopping(trials=8, gain=0.01, over=30)
    study = fast_trials.run(tmp_path / "study", tables)
    assert len(study.trials) == parse_config(tables, where="test").planned_trials
    assert study.stopped == ()


def test_hours_of_running_count_over_all_runs(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("moc.study.schedule.time.monotonic", lambda: now[0])
    ledger = StudyLedger(tmp_path / "study.jsonl")
    clock = Clock(ledger)
    now[0] = 1800.0
    clock.note()
    now[0] = 2000.0  # is killed before the next note, and rests for a day
    now[0] = 90_000.0
    clock = Clock(StudyLedger(tmp_path / "study.jsonl"))
    now[0] = 91_800.0
    assert clock.hours == pytest.approx(1.0)
    clock.note()
    assert clock.hours == pytest.approx(1.0)


def test_a_study_ends_after_its_hours_and_not_before_its_anchors(tmp_path):
    study = fast_trials.run(tmp_path / "study", stopping(OPEN, hours=1e-9))
    assert study.complete
    assert [trial.kind for trial in study.trials] == ["anchor", "anchor"]
    assert study.stopped == ("The search ended after 2 of 42 trials: it ran for 1e-09 hours",)


def test_a_study_ends_after_the_hours_of_its_jobs(tmp_path):
    study = fast_trials.run(tmp_path / "study", stopping(OPEN, job_hours=1e-9))
    assert len(study.trials) == 2
    assert "its jobs took" in read_study(tmp_path / "study").stopped[0]


@pytest.mark.parametrize("rule", ["hours", "job_hours"])
def test_the_time_of_one_rung_may_not_end_the_search_of_another(rule):
    with pytest.raises(StudyError, match="how long the rungs above it take"):
        parse_config(stopping(trials=8, **{rule: 1.0}), where="test")


def test_the_study_in_miniature_runs_to_its_end(tmp_path, dry_runs):
    study = fast_trials.run(tmp_path / "study", stopping(OPEN, trials=2, hours=1e-9))
    assert study.complete
