"""Studies that end before their trials do, and are taken up where they ended."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import fast_trials
import pytest
from ledgers import read_events, write_events
from tiny import TINY

from moc.errors import StudyError
from moc.study.config import parse_config
from moc.study.dial import Dial
from moc.study.events import StudyLedger
from moc.study.reporter import Silent
from moc.study.run import run_study
from moc.study.schedule import Clock, Schedule
from moc.study.settings import held_to
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
    (below,) = [words for words in study.stopped.values() if "epsilon 2" in words]
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
    assert study.stopped == {}


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
    assert study.stopped == {0: "The search ended after 2 of 42 trials: it ran for 1e-09 hours"}


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


def test_rules_that_are_raised_let_an_ended_search_go_on_to_where_it_would_have_come(tmp_path):
    folder = tmp_path / "study"
    first = fast_trials.run(folder, stopping(OPEN, trials=6, hours=1e-9))
    events = read_events(folder)
    fast_trials.run(folder, stopping(OPEN, trials=6, hours=1e-9))
    assert read_events(folder) == events, "the same rules end it there, and nothing is done"
    study = fast_trials.run(folder, stopping(OPEN, trials=6, hours=100.0))
    whole = fast_trials.run(tmp_path / "whole", stopping(OPEN, trials=6))
    assert len(first.trials) == 2
    assert study.complete
    assert study.stopped == {}
    assert (study.front, study.hypervolume) == (whole.front, whole.hypervolume)
    assert [(t.number, t.point, t.scores) for t in study.trials] == [
        (t.number, t.point, t.scores) for t in whole.trials
    ]


def test_rules_that_change_and_still_hold_start_nothing(tmp_path):
    folder = tmp_path / "study"
    fast_trials.run(folder, stopping(OPEN, hours=1e-9))
    events = read_events(folder)
    study = fast_trials.run(folder, stopping(OPEN, hours=2e-9))
    assert study.complete
    assert read_events(folder) == events


def test_a_study_that_is_taken_up_again_is_not_complete_until_it_ends(tmp_path, monkeypatch):
    folder = tmp_path / "study"
    fast_trials.run(folder, stopping(OPEN, trials=6, hours=1e-9))
    with monkeypatch.context() as plant:
        plant.setattr(fast_trials.Score, "run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fast_trials.run(folder, stopping(OPEN, trials=6))
    assert not read_study(folder).complete
    study = fast_trials.run(folder, stopping(OPEN, trials=6))
    assert study.complete
    assert len(study.trials) == 8


def test_rules_of_several_epsilons_stay_as_they_were(tmp_path):
    """Whoever changes them may have seen the scores of all, which the smaller may not."""
    fast_trials.run(tmp_path / "study", stopping(trials=8, gain=0.9, over=1))
    with pytest.raises(StudyError, match="with other settings"):
        fast_trials.run(tmp_path / "study", stopping(trials=8, gain=0.01, over=1))


def test_settings_from_before_there_were_rules_are_those_of_none(tmp_path):
    for tables in (OPEN, fast_trials.TABLES):
        config = parse_config(tables, where="test")
        settings = config.model_dump(mode="json")
        before = {**settings, "search": dict(settings["search"])}
        del before["search"]["stop"]
        assert held_to(before, config) == held_to(settings, config)


def test_a_point_dialled_after_an_early_end_takes_no_number_of_a_trial_to_come(tmp_path):
    tables = stopping(OPEN, trials=6, hours=1e-9)
    study = fast_trials.run(tmp_path / "study", tables)
    dial, point = Dial(study, Silent()), {"robust_error": 0.37}
    scores = study.trials[0].scores
    with pytest.MonkeyPatch.context() as plant:
        found = SimpleNamespace(scores=scores)
        plant.setattr("moc.study.dial.measure", lambda *_, **__: [found])
        assert dial.trial(point, 0, epsilon=float("inf")) == 8
    again = fast_trials.run(tmp_path / "study", stopping(OPEN, trials=6))
    assert [trial.number for trial in again.trials] == list(range(9))
    assert again.complete


def test_wherever_a_study_is_cut_off_it_ends_at_the_same_trial(tmp_path):
    tables, folder = stopping(OPEN, gain=0.4, over=4), tmp_path / "study"
    study = fast_trials.run(folder, tables)
    events = read_events(folder)
    (stop,) = [k for k, event in enumerate(events) if event["event"] == "stopped"]
    for kept in sorted({2, stop // 2, stop - 2, stop - 1, stop, stop + 1, len(events) - 1}):
        write_events(folder, events[:kept])
        again = fast_trials.run(folder, tables)
        assert again.stopped == study.stopped, kept
        assert [replace(t, seconds=0) for t in again.trials] == [
            replace(t, seconds=0) for t in study.trials
        ]
        twice = fast_trials.doubled(folder)
        assert [name for name in twice if not name.startswith("baseline ")] == []


class Watched(Silent):
    """Keeps what is told of how far work has come, by its title."""

    def __init__(self):
        self.told = {}

    @contextmanager
    def stage(self, title):
        yield lambda done, total: self.told.setdefault(title, []).append((done, total))

    @property
    def trials(self):
        """(done, total) of the work on trials, in order."""
        titles = [title for title in self.told if title.startswith("condensing and scoring")]
        return self.told[titles[0]]


def test_no_more_work_is_announced_than_the_trials_that_there_will_be(tmp_path):
    config, watched = parse_config(stopping(gain=0.4, over=4), where="test"), Watched()
    study = run_study(config, tmp_path / "study", reporter=watched)
    work = watched.trials
    assert len(study.stopped) == 2
    assert work[0][1] == 200 * config.planned_trials
    anchors = 4  # for which curves are condensed; all other sets are points of these
    assert work[-1] == (100 * (len(study.trials) + anchors),) * 2


def test_the_progress_of_a_study_that_is_taken_up_again_reaches_its_end(tmp_path):
    """Points of curves that are there already are no work but for their scores."""
    config, watched = parse_config(fast_trials.TABLES, where="test"), Watched()

    def cut_off(study):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(config, tmp_path / "study", on_batch=cut_off)
    study = run_study(config, tmp_path / "study", reporter=watched)
    assert len(study.trials) == config.planned_trials
    assert watched.trials[-1][0] == watched.trials[-1][1] > 0
