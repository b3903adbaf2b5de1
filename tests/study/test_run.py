"""Whole studies, small: what they record, what they cost, and that a kill loses nothing."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from moc.errors import StudyError
from moc.evidence.accountant import Gaussian, epsilon
from moc.report.page import write_page
from moc.study.config import parse_config
from moc.study.folder import read_study
from moc.study.ledger import StudyLedger
from moc.study.run import run_study
from moc.study.setup import planned_trials

TINY = {
    "name": "tiny",
    "seed": 3,
    "workers": 1,
    "data": {"source": "digits", "train": 300, "validation": 60, "test": 60, "reference": 150},
    "bank": {"networks": ["convnet2-w8"]},
    "condense": {"per_class": 2, "steps": 4},
    "teacher": {"network": "convnet2-w8", "steps": 3, "proxy_steps": 3, "proxy_per_class": 3},
    "evaluate": {"replicates": 1, "report_replicates": 1},
    "search": {"trials": 4, "batch": 2},
}
PRIVATE = {**TINY, "name": "tiny-private", "privacy": {"epsilons": [8.0, 2.0], "networks": 4}}


def asks(folder):
    events = StudyLedger(folder / "study.jsonl").all("asked")
    return [(row["kind"], row["weighting"]) for event in events for row in event["trials"]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open") / "tiny"
    return run_study(parse_config(TINY, where="test"), folder), folder


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    folder = tmp_path_factory.mktemp("private") / "tiny"
    return run_study(parse_config(PRIVATE, where="test"), folder), folder


def test_an_open_study_has_no_epsilon_anywhere(finished):
    study, folder = finished
    assert study.complete
    assert study.delta is None
    assert math.isinf(study.epsilon)
    assert len(study.trials) == planned_trials(parse_config(TINY, where="test")) == 6
    assert all(not trial.scores.is_private for trial in study.trials)
    assert "Infinity" not in (folder / "study.jsonl").read_text()
    assert "not private" in study.privacy[-1]


def test_every_set_of_the_front_is_measured_again_on_test_records(finished):
    study, _ = finished
    assert study.front
    assert {t.number for t in study.trials if t.report is not None} == set(study.front)
    assert {b.name for b in study.baselines} == {"random", "herding", "kmeans"}
    assert all(b.report is not None for b in study.baselines)
    assert all((study.folder / trial.set_path).is_file() for trial in study.trials)
    assert list(study.hypervolume) == sorted(study.hypervolume)


def test_every_set_of_the_front_is_checked_and_has_a_curve_and_so_have_the_baselines(finished):
    study, _ = finished
    assert {checks.trial for checks in study.masking} == set(study.front)
    for checks in study.masking:
        assert len(checks.checks) == 11
        assert "both on samples of the real records" in checks.transfer
    names = {study.trial(n).name for n in study.front} | {"random", "herding", "kmeans"}
    assert {curve.name for curve in study.curves} == names
    for curve in study.curves:
        errors = [error.mean for error in curve.errors]
        assert errors == sorted(errors)
        assert (curve.eps[0], curve.eps[-1]) == (0.0, 0.2)
        assert (curve.records, curve.networks) == (60, 1)
    assert study.unexamined == ""
    assert (
        "suite 'fast') ran on 60 validation records and, on fresh networks, on 60 test records"
        in (study.protocol)
    )


def events_of(folder):
    return [json.loads(line) for line in (folder / "study.jsonl").read_text().splitlines()]


def with_events(source, folder, events):
    """A copy of a study whose ledger holds other events."""
    shutil.copytree(source, folder)
    (folder / "study.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def test_a_closer_look_that_was_killed_goes_on_with_the_next_set(finished, tmp_path):
    study, source = finished
    events = events_of(source)
    left = [e for e in events if e["event"] == "examined"][:2]
    kept = [e for e in events if e["event"] not in ("examined", "finished")]
    folder = with_events(source, tmp_path / "killed", [*kept, *left])
    assert not read_study(folder).complete
    resumed = run_study(parse_config(TINY, where="test"), folder)
    assert sorted(resumed.curves, key=str) == sorted(study.curves, key=str)
    assert resumed.masking == study.masking
    examined = [e for e in events_of(folder) if e["event"] == "examined"]
    assert examined[:2] == left
    assert len(examined) == len(study.curves)


def test_a_study_of_before_has_the_checks_of_one_set_and_can_be_finished(finished, tmp_path):
    """Then one event `masking` told of the most robust set, and two options were not there."""
    study, source = finished
    events = [e for e in events_of(source) if e["event"] != "examined"]
    row = ["PGD is no weaker than FGSM", True, "49.0% against 63.0%"]
    masking = {"event": "masking", "trial": study.front[-1], "checks": [row]}
    folder = with_events(source, tmp_path / "old", [*events[:-1], masking, events[-1]])
    config = json.loads((folder / "config.json").read_text())
    del config["evaluate"]["report_suite"], config["evaluate"]["report_records"]
    (folder / "config.json").write_text(json.dumps(config))
    old = run_study(parse_config(TINY, where="test"), folder)
    assert [(c.trial, c.passed, c.transfer) for c in old.masking] == [(study.front[-1], True, "")]
    assert old.curves == ()
    (folder / "study.jsonl").write_text(
        "".join(json.dumps(e) + "\n" for e in [*events[:-1], masking])
    )
    again = run_study(parse_config(TINY, where="test"), folder)
    assert again.complete
    assert {checks.trial for checks in again.masking} == set(study.front)
    assert all(checks.transfer for checks in again.masking)


def test_the_report_may_use_another_suite_on_fewer_records(tmp_path):
    evaluate = {**TINY["evaluate"], "report_suite": "standard", "report_records": 10}
    search = {"trials": 1, "batch": 1, "engine": "sobol"}
    tables = {**TINY, "evaluate": evaluate, "search": search}
    study = run_study(parse_config(tables, where="test"), tmp_path / "tiny")
    assert (
        "(suite 'fast') ran on 60 validation records; others, apgd-ce-30, apgd-t-20, square-500 "
        "(suite 'standard'), on 10 test records" in study.protocol
    )
    reports = [study.trial(n).report for n in study.front] + [b.report for b in study.baselines]
    for report in reports:
        for mean in report.values()[:2]:
            assert 10 * mean == pytest.approx(round(10 * mean))
    assert {curve.records for curve in study.curves} == {60}


def test_a_finished_study_is_not_run_again(finished):
    study, folder = finished
    before = (folder / "study.jsonl").read_bytes()
    assert run_study(parse_config(TINY, where="test"), folder) == study
    assert (folder / "study.jsonl").read_bytes() == before


def test_a_study_is_never_continued_under_other_settings(finished):
    _, folder = finished
    other = parse_config({**TINY, "seed": 4}, where="test")
    with pytest.raises(StudyError, match="seed"):
        run_study(other, folder)


def test_each_private_trial_reports_its_rung_and_the_total_is_the_largest(private):
    study, folder = private
    events = [json.loads(line) for line in (folder / "privacy.jsonl").read_text().splitlines()]
    ladder = next(e["ladder"] for e in events if e.get("kind") == "gaussian")
    by_hand = [epsilon([Gaussian(noise_multiplier=s)], delta=1e-5) for s in ladder]
    for trial in study.trials:
        rung = [8.0, 2.0].index(trial.rung)
        assert trial.scores.epsilon == pytest.approx(by_hand[rung], abs=1e-3)
    assert study.epsilon == pytest.approx(by_hand[0], abs=1e-3)
    assert {trial.rung for trial in study.trials if trial.kind == "anchor"} == {8.0, 2.0}


def test_a_private_study_transfers_from_networks_of_its_declared_reference_records(private):
    study, _ = private
    assert {checks.trial for checks in study.masking} == set(study.front)
    assert all("both on 150 reference records" in checks.transfer for checks in study.masking)


def test_more_trials_cost_no_more_epsilon(private, tmp_path):
    study, _ = private
    longer = {**PRIVATE, "search": {"trials": 6, "batch": 3}, "name": "longer"}
    again = run_study(parse_config(longer, where="test"), tmp_path / "longer")
    assert len(again.trials) > len(study.trials)
    assert again.epsilon == study.epsilon


def test_paid_scores_stay_within_the_budget_and_leave_the_test_records_alone(tmp_path):
    tables = {**PRIVATE, "privacy": {"epsilons": [8.0, 2.0], "networks": 4, "scoring": 0.3}}
    tables["data"] = {**TINY["data"], "validation": 300}
    study = run_study(parse_config(tables, where="test"), tmp_path / "paid")
    assert study.epsilon == pytest.approx(8.0, abs=0.02)
    assert study.epsilon <= 8.0 + 1e-3
    assert all(t.scores.epsilon > 2.0 for t in study.trials)
    assert any("counts of correct" in line for line in study.privacy)
    assert all(trial.report is None for trial in study.trials)
    assert not study.baselines
    assert study.masking == study.curves == ()
    assert "paid for" in study.unexamined
    assert "none on test records" in study.protocol
    text = write_page(study, tmp_path / "report.html").read_text()
    assert "Not run: the held-out records are private" in text
    assert "Not measured: the held-out records are private" in text


def test_a_second_process_is_kept_out(tmp_path):
    import fcntl

    folder = tmp_path / "tiny"
    folder.mkdir()
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StudyError, match="Another process"):
            run_study(parse_config(TINY, where="test"), folder)


RUN = """
import json, sys, torch
from pathlib import Path
from moc.study.config import parse_config
from moc.study.run import run_study
torch.set_num_threads(1)
if __name__ == "__main__":
    run_study(parse_config(json.loads(sys.argv[1]), where="test"), Path(sys.argv[2]))
"""


def start(tables, folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps(tables), str(folder)], env=environment
    )


def kill_after(process, ledger, events):
    """Kill without a warning as soon as the ledger holds so many lines."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if ledger.exists() and ledger.read_bytes().count(b"\n") >= events:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            return
        time.sleep(0.01)
    pytest.fail("the study ended before it could be killed")


def test_a_study_killed_twice_ends_as_if_it_had_not_been(finished, tmp_path):
    study, folder = finished
    killed = tmp_path / "killed"
    for events in (5, 9):  # in the middle of the anchors, and of a batch of the search
        kill_after(start(TINY, killed), killed / "study.jsonl", events)
    assert not read_study(killed).complete
    resumed = run_study(parse_config(TINY, where="test"), killed)
    assert resumed.complete
    assert asks(killed) == asks(folder)
    scored = [e["trial"] for e in StudyLedger(killed / "study.jsonl").all("scored")]
    assert sorted(scored) == list(range(6))
    assert [t.scores for t in resumed.trials] == [t.scores for t in study.trials]


def test_a_private_study_killed_after_its_release_never_draws_another(tmp_path):
    folder = tmp_path / "killed"
    kill_after(start(PRIVATE, folder), folder / "study.jsonl", 3)
    before = (folder / "release" / "rung-0.safetensors").read_bytes()
    study = run_study(parse_config(PRIVATE, where="test"), folder)
    assert study.complete
    assert (folder / "release" / "rung-0.safetensors").read_bytes() == before
    assert sum("moments" in line for line in study.privacy) == 1
