"""Whole studies, small: what they record, what they cost, and that a kill loses nothing."""

import json
import math
import shutil
import time
from multiprocessing import get_context
from types import SimpleNamespace

import pytest
from ledgers import read_events, write_events
from tiny import PRIVATE, TINY, unreported

from moc.condense import Start
from moc.errors import StudyError
from moc.privacy.accountant import Gaussian, epsilon
from moc.study.config import parse_config
from moc.study.events import StudyLedger
from moc.study.jobs import CondenseCurves
from moc.study.run import _Run, run_study
from moc.study.store import read_study


def study_of(tables, folder):
    return run_study(parse_config(tables, where="test"), folder)


def asks(folder):
    events = StudyLedger(folder / "study.jsonl").all("asked")
    rows = [row for event in events for row in event["trials"]]
    return sorted((row["number"], row["kind"], row["rung"], str(row["point"])) for row in rows)


def events_of(folder):
    return read_events(folder)


def with_events(source, folder, events):
    """A copy of a study whose ledger holds other events."""
    shutil.copytree(source, folder)
    write_events(folder, events)
    return folder


def test_an_open_study_has_no_epsilon_anywhere(tiny_open):
    assert tiny_open.complete
    assert tiny_open.delta is None
    assert math.isinf(tiny_open.epsilon)
    assert len(tiny_open.trials) == parse_config(TINY, where="test").planned_trials == 6
    assert not any(trial.is_private or "epsilon" in trial.scores for trial in tiny_open.trials)
    assert "Infinity" not in (tiny_open.folder / "study.jsonl").read_text()
    assert "not private" in tiny_open.privacy[-1]


def test_trials_carry_their_point_and_weights_and_losses_by_name(tiny_open):
    for trial in tiny_open.trials:
        assert list(trial.weights) == list(trial.losses) == ["error", "robust_error"]
        assert sum(trial.weights.values()) == pytest.approx(1.0)
        assert trial.point == {"robust_error": trial.weights["robust_error"]}
        assert list(trial.scores) == list(tiny_open.objectives)
    anchors = [
        trial.weights["robust_error"] for trial in tiny_open.trials if trial.kind == "anchor"
    ]
    assert anchors == [0.0, 1.0]


def test_every_set_of_the_front_is_measured_again_on_test_records(tiny_open):
    assert tiny_open.front
    assert {t.number for t in tiny_open.trials if t.report is not None} == set(tiny_open.front)
    assert {b.name for b in tiny_open.baselines} == {"random", "herding", "kmeans"}
    assert all(b.report is not None for b in tiny_open.baselines)
    assert all((tiny_open.folder / trial.set_path).is_file() for trial in tiny_open.trials)
    assert list(tiny_open.hypervolume) == sorted(tiny_open.hypervolume)


def test_every_set_of_the_front_is_checked_and_has_a_curve_and_so_have_the_baselines(tiny_open):
    assert {checks.trial for checks in tiny_open.masking} == set(tiny_open.front)
    for checks in tiny_open.masking:
        assert len(checks.checks) == 11
        assert "both on samples of the real records" in checks.transfer
    names = {tiny_open.trial(n).name for n in tiny_open.front} | {"random", "herding", "kmeans"}
    assert {curve.name for curve in tiny_open.curves} == names
    for curve in tiny_open.curves:
        errors = [error.mean for error in curve.errors]
        assert errors == sorted(errors)
        assert (curve.eps[0], curve.eps[-1]) == (0.0, 0.2)
        assert (curve.records, curve.networks) == (60, 1)
    assert tiny_open.unexamined == ""
    assert (
        "suite 'custom') ran on 60 validation records and, on fresh networks, on 60 test records"
        in (tiny_open.protocol)
    )


def test_a_closer_look_that_was_killed_goes_on_with_the_next_set(tiny_open, tmp_path):
    events = events_of(tiny_open.folder)
    left = [e for e in events if e["event"] == "examined"][:2]
    kept = [e for e in events if e["event"] not in ("examined", "finished")]
    folder = with_events(tiny_open.folder, tmp_path / "killed", [*kept, *left])
    assert not read_study(folder).complete
    resumed = study_of(TINY, folder)
    assert sorted(resumed.curves, key=str) == sorted(tiny_open.curves, key=str)
    assert sorted(resumed.masking, key=str) == sorted(tiny_open.masking, key=str)
    examined = [e for e in events_of(folder) if e["event"] == "examined"]
    assert examined[:2] == left
    assert len(examined) == len(tiny_open.curves)


def test_a_study_of_five_objectives_measures_and_reports_them_all(tmp_path):
    names = ("error", "robust_error", "worst_class_error", "calibration_error", "stored_bytes")
    objectives = {**{name: {} for name in names}, **TINY["objectives"]}
    search = {"trials": 1, "batch": 1, "engine": "sobol"}
    study = study_of({**TINY, "objectives": objectives, "search": search}, tmp_path / "tiny")
    assert tuple(study.objectives) == names
    for scores in [t.scores for t in study.trials] + [b.report for b in study.baselines]:
        assert tuple(scores) == names
        assert scores["worst_class_error"].mean >= scores["error"].mean - 1e-9
        assert scores["stored_bytes"].se == 0
    assert study.trials[0].weights.keys() == {"error", "robust_error"}


def test_the_report_may_use_another_suite_on_fewer_records(tmp_path):
    suite = {"kind": "custom", "attacks": [{"kind": "apgd-ce", "steps": 3}]}
    evaluate = {**TINY["evaluate"], "report_suite": suite, "report_records": 10}
    search = {"trials": 1, "batch": 1, "engine": "sobol"}
    study = study_of({**TINY, "evaluate": evaluate, "search": search}, tmp_path / "tiny")
    assert (
        "(suite 'custom') ran on 60 validation records; others, apgd-ce-3 (suite 'custom'), on 10 "
        "test records" in study.protocol
    )
    reports = [study.trial(n).report for n in study.front] + [b.report for b in study.baselines]
    for report in reports:
        for estimate in report.values():
            assert 10 * estimate.mean == pytest.approx(round(10 * estimate.mean))
    assert {curve.records for curve in study.curves} == {60}


def test_a_finished_study_is_not_run_again(tiny_open):
    before = (tiny_open.folder / "study.jsonl").read_bytes()
    assert study_of(TINY, tiny_open.folder) == tiny_open
    assert (tiny_open.folder / "study.jsonl").read_bytes() == before


def test_a_study_is_never_continued_under_other_settings(tiny_open, tmp_path):
    shutil.copytree(tiny_open.folder, tmp_path / "tiny")
    with pytest.raises(StudyError, match="seed"):
        study_of({**TINY, "seed": 4}, tmp_path / "tiny")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"teacher": {"network": "convnet2-w8"}}, "needs images"),
        ({"objectives": {"error": {}, "transfer_error": {"network": "mlp1-w4"}}}, "never saw"),
        ({"data": {**TINY["data"], "train": 9999}}, "smaller parts"),
    ],
)
def test_what_does_not_go_with_the_records_is_refused_before_anything_is_written(
    tmp_path, change, words
):
    import numpy as np

    rng = np.random.default_rng(0)
    path = tmp_path / "vectors.npz"
    np.savez(path, x=rng.random((600, 5), dtype=np.float32), y=rng.integers(0, 3, 600))
    tables = {
        **PRIVATE,
        "data": {
            **TINY["data"],
            "source": {"kind": "npz", "path": str(path)},
            "declared": {"classes": 3},
        },
        "rounds": [{"networks": ["mlp1-w4"], "count": 2}],
        "teacher": {},
        "evaluate": {"replicates": 1},
        **change,
    }
    if "data" in change:
        tables["data"] = {**tables["data"], "source": {"kind": "npz", "path": str(path)}}
    folder = tmp_path / "study"
    with pytest.raises(Exception, match=words):
        study_of(tables, folder)
    assert not (folder / "config.json").exists()
    assert not (folder / "privacy.jsonl").exists()


def test_a_private_study_of_vectors_runs_with_networks_that_fit_them(tmp_path):
    import numpy as np

    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 600)
    x = np.clip(0.2 * rng.standard_normal((600, 5)) + 0.3 * y[:, None] + 0.2, 0, 1)
    path = tmp_path / "vectors.npz"
    np.savez(path, x=x.astype(np.float32), y=y)
    tables = {
        **PRIVATE,
        "data": {
            **TINY["data"],
            "source": {"kind": "npz", "path": str(path)},
            "declared": {"classes": 3},
        },
        "rounds": [{"count": 2}],
        "teacher": {"steps": 3},
        "evaluate": {"replicates": 1, "protocol": {"kind": "fast", "epochs": 5}},
        "search": {"trials": 2, "batch": 2, "engine": {"kind": "evolutionary", "population": 4}},
    }
    study = study_of(tables, tmp_path / "study")
    assert study.complete
    assert "mlp2-w128" in study.protocol


def test_each_private_trial_reports_its_rung_and_the_total_is_the_largest(tiny_private):
    events = (tiny_private.folder / "privacy.jsonl").read_text().splitlines()
    ladder = next(e["ladder"] for e in map(json.loads, events) if e.get("kind") == "gaussian")
    by_hand = [epsilon([Gaussian(noise_multiplier=s)], delta=1e-5) for s in ladder]
    for trial in tiny_private.trials:
        assert trial.epsilon == pytest.approx(by_hand[trial.rung.index], abs=1e-3)
        assert trial.epsilon == trial.rung.epsilon == trial.scores["epsilon"].mean
        assert trial.epsilon <= (8.0, 2.0)[trial.rung.index]
    assert tiny_private.epsilon == pytest.approx(by_hand[0], abs=1e-3)
    anchors = {t.rung.index for t in tiny_private.trials if t.kind == "anchor"}
    assert anchors == {0, 1}


def test_each_rung_has_as_many_trials_as_planned_and_an_engine_of_its_own(tiny_private):
    rungs = [trial.rung.index for trial in tiny_private.trials]
    assert rungs == [0, 0, 1, 1, 0, 1, 0, 1]


def test_a_private_study_transfers_from_networks_of_its_declared_reference_records(tiny_private):
    assert {checks.trial for checks in tiny_private.masking} == set(tiny_private.front)
    for checks in tiny_private.masking:
        assert "both on 150 reference records" in checks.transfer


def test_without_reference_records_attacks_transfer_from_networks_of_the_rungs_own_sets(tmp_path):
    data = {key: value for key, value in TINY["data"].items() if key != "reference"}
    tables = {**PRIVATE, "data": data, "search": {"trials": 2, "batch": 2}}
    study = study_of(tables, tmp_path / "study")
    assert not study.baselines
    for checks in study.masking:
        own = next(t for t in study.trials if t.rung == study.trial(checks.trial).rung)
        assert f"both on {own.name}, as no real records may be shown" in checks.transfer


def test_several_rounds_share_the_budget_and_cost_what_their_rung_says(tmp_path):
    rounds = [
        {"networks": ["convnet2-w8"], "count": 3, "share": 0.6},
        {
            "networks": ["convnet2-w8"],
            "count": 2,
            "share": 0.4,
            "statistics": [{"kind": "class-means"}, {"kind": "second-moments", "weight": 0.5}],
        },
    ]
    tables = {
        **PRIVATE,
        "rounds": rounds,
        "evidence": "moments",
        "objectives": {"error": {}, "worst_class_error": {}},
        "search": {"trials": 2, "batch": 2},
    }
    study = study_of(tables, tmp_path / "study")
    events = (study.folder / "privacy.jsonl").read_text().splitlines()
    paid = [e for e in map(json.loads, events) if e.get("kind") == "gaussian"]
    ladders = {e["key"]: e["ladder"] for e in paid}
    assert list(ladders) == ["release/0", "release/1"]
    for trial in study.trials:
        pair = [Gaussian(noise_multiplier=one[trial.rung.index]) for one in ladders.values()]
        assert trial.epsilon == pytest.approx(epsilon(pair, delta=1e-5), abs=1e-3)
        assert trial.epsilon <= (8.0, 2.0)[trial.rung.index]
    assert len(study.trials) == 2, "one loss has one set a rung, and nothing to search"


def test_more_trials_cost_no_more_epsilon(tiny_private, tmp_path):
    longer = {**PRIVATE, "search": {"trials": 6, "batch": 3}, "name": "longer"}
    again = study_of(longer, tmp_path / "longer")
    assert len(again.trials) > len(tiny_private.trials)
    assert again.epsilon == tiny_private.epsilon


def test_paid_scores_stay_within_the_budget_and_leave_the_test_records_alone(tmp_path):
    from moc.views.page import write_page

    tables = {**PRIVATE, "privacy": {"epsilons": [8.0, 2.0], "scoring": 0.3}}
    tables["data"] = {**TINY["data"], "validation": 300, "public": []}
    study = study_of(tables, tmp_path / "paid")
    assert study.epsilon == pytest.approx(8.0, abs=0.02)
    assert study.epsilon <= 8.0
    assert all(t.epsilon > 2.0 for t in study.trials)
    assert any("counts of outcomes" in line for line in study.privacy)
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
            study_of(TINY, folder)


def start(tables, folder):
    """Run a study in a process of its own."""
    config = parse_config(tables, where="test")
    process = get_context("fork").Process(target=run_study, args=(config, folder))
    process.start()
    return process


def kill_after(process, ledger, events):
    """Kill without a warning as soon as the ledger holds so many lines."""
    deadline = time.monotonic() + 120
    while process.is_alive() and time.monotonic() < deadline:
        if ledger.exists() and ledger.read_bytes().count(b"\n") >= events:
            process.kill()
            process.join()
            return
        time.sleep(0.01)
    pytest.fail("the study ended before it could be killed")


def test_a_study_killed_twice_ends_as_if_it_had_not_been(tiny_open, tmp_path):
    killed = tmp_path / "killed"
    for events in (4, 8):  # in the middle of the anchors, and of a batch of the search
        kill_after(start(unreported(TINY), killed), killed / "study.jsonl", events)
    assert not read_study(killed).complete
    resumed = study_of(unreported(TINY), killed)
    assert resumed.complete
    assert asks(killed) == asks(tiny_open.folder)
    scored = [e["trial"] for e in StudyLedger(killed / "study.jsonl").all("scored")]
    assert sorted(scored) == list(range(6))
    assert [t.scores for t in resumed.trials] == [t.scores for t in tiny_open.trials]


def test_a_private_study_killed_after_its_release_never_draws_another(tmp_path):
    folder = tmp_path / "killed"
    kill_after(start(unreported(PRIVATE), folder), folder / "study.jsonl", 3)
    before = (folder / "release-0" / "rung-0.safetensors").read_bytes()
    study = study_of(unreported(PRIVATE), folder)
    assert study.complete
    assert (folder / "release-0" / "rung-0.safetensors").read_bytes() == before
    assert sum("sums under" in line for line in study.privacy) == 1


@pytest.mark.usefixtures("in_full")
@pytest.mark.parametrize("front", ["curve", "apart"])
def test_any_number_of_workers_gives_the_same_study(tmp_path, front):
    tables = {
        **TINY,
        "condense": {**TINY["condense"], "front": front},
        "data": {**TINY["data"], "reference": 0},
        "evaluate": {**TINY["evaluate"], "report_replicates": 0},
    }
    found = []
    for workers in (1, 2):
        executor = {"kind": "local", "workers": workers}
        study = study_of({**tables, "executor": executor}, tmp_path / str(workers))
        assert "1 thread in the study's own process" in study.protocol
        sets = [(study.folder / trial.set_path).read_bytes() for trial in study.trials]
        found.append((asks(study.folder), sets, [trial.scores for trial in study.trials]))
    assert found[0] == found[1]


def test_without_processes_the_curves_of_all_rungs_are_one_job():
    """On a GPU they share every network and batch."""
    jobs = [
        CondenseCurves(
            key=f"condense the curve of rung {k}", lane=k, starts=(Start(rung=k),), counts=3
        )
        for k in range(2)
    ]
    on_gpu = SimpleNamespace(context=SimpleNamespace(device="cuda"))
    (joined,) = _Run._together(on_gpu, jobs)
    assert [start.rung for start in joined.starts] == [0, 1]
    assert joined.size == 6
    on_cpu = SimpleNamespace(context=SimpleNamespace(device="cpu"))
    assert _Run._together(on_cpu, jobs) == jobs
