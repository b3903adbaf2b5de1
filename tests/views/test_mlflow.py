"""MLflow mirrors the study folder: once, completely, quietly, and without infinities."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
from dataclasses import asdict, replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from fake_study import fake_study
from mlflow import MlflowClient
from PIL import Image

from moc.data.storage import load_set
from moc.errors import PolicyError, StudyError
from moc.export import export_set
from moc.search.certainty import Volume
from moc.views.mlflow import (
    comparison_link,
    default_uri,
    server_command,
    server_environment,
    set_policy_alias,
    sync,
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "study"


def runs_by_name(uri, name="moc/demo"):
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(name)
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def artifacts(uri, run, path=None):
    return sorted(item.path for item in MlflowClient(uri).list_artifacts(run.info.run_id, path))


def contents(uri):
    """All rows of the tables that runs are made of, and all artifact files."""
    path = uri.removeprefix("sqlite:///")
    with sqlite3.connect(path) as base:
        rows = {
            table: sorted(map(repr, base.execute(f"select * from {table}")))
            for table in ("runs", "metrics", "params", "tags", "experiments", "experiment_tags")
        }
    root = path.replace("mlflow.db", "mlartifacts")
    files = subprocess.run(["find", root, "-type", "f"], capture_output=True).stdout
    return rows, sorted(files.split())


def test_each_trial_and_baseline_is_one_flat_run_with_its_scores(folder, uri):
    study = fake_study(folder, trials=6)
    sync(study, tracking_uri=uri)
    runs = runs_by_name(uri)
    assert set(runs) == {t.name for t in study.trials} | {"random", "herding", "kmeans", "demo"}
    assert not any("mlflow.parentRunId" in run.data.tags for run in runs.values())
    for trial in study.trials:
        data = runs[trial.name].data
        assert data.metrics["error"] == trial.scores["error"].mean
        assert data.metrics["error_se"] == trial.scores["error"].se
        assert data.metrics["robust_error"] == trial.scores["robust_error"].mean
        assert data.metrics["epsilon"] == trial.epsilon
        assert data.metrics["p_nondominated"] == round(study.p_nondominated[trial.number], 2)
        assert ("report_error" in data.metrics) == (trial.report is not None)
        assert data.params["rung"] == f"{trial.epsilon:g}"
        assert data.params["engine"] == "sobol"
        assert data.params["images_per_class"] == "3"
        for name, weight in trial.weights.items():
            assert float(data.params[f"weight_{name}"]) == pytest.approx(weight, abs=1e-5)
        assert data.tags["moc.kind"] == "trial"
        assert data.tags["moc.pareto"] == str(trial.number in study.front).lower()
        assert runs[trial.name].info.status == "FINISHED"
    assert runs["herding"].data.tags["moc.private"] == "false"
    assert "epsilon" not in runs["herding"].data.metrics


def test_each_set_says_whether_it_passed_its_masking_checks(folder, uri):
    study = fake_study(folder, failing=(0,))
    sync(replace(study, masking=(), curves=()), tracking_uri=uri)
    before = runs_by_name(uri)
    assert {r.data.tags.get("moc.masking_checks") for r in before.values()} == {"not run", None}
    sync(study, tracking_uri=uri)
    runs = runs_by_name(uri)
    for place, number in enumerate(study.front):
        run = runs[study.trial(number).name]
        assert run.info.run_id == before[study.trial(number).name].info.run_id
        assert run.data.metrics["checks_failed"] == (place == 0)
        assert run.data.tags["moc.masking_checks"] == ("1 FAILED" if place == 0 else "passed")
    assert runs["demo"].data.metrics["sets_failing_checks"] == 1
    assert "robustness.csv" in artifacts(uri, runs["demo"])


def test_a_second_sync_adds_nothing(folder, uri):
    study = fake_study(folder, trials=4)
    first = sync(study, tracking_uri=uri)
    before = contents(uri)
    assert before[1]
    assert sync(study, tracking_uri=uri) == first
    assert contents(uri) == before


def test_a_growing_study_writes_only_new_trials_and_moves_the_front(folder, uri):
    sync(fake_study(folder, trials=3, reports=False, complete=False), tracking_uri=uri)
    early = runs_by_name(uri)
    study = fake_study(folder, trials=10)
    sync(study, tracking_uri=uri)
    late = runs_by_name(uri)
    assert all(
        late[f"trial-{k:03d}"].info.run_id == early[f"trial-{k:03d}"].info.run_id for k in range(3)
    )
    for trial in study.trials:
        run = late[trial.name]
        assert run.data.tags["moc.pareto"] == str(trial.number in study.front).lower()
        assert run.data.metrics["p_nondominated"] == round(study.p_nondominated[trial.number], 2)
        if trial.report:
            assert run.data.metrics["report_robust_error"] == trial.report["robust_error"].mean
    assert any(
        early[name].data.tags["moc.pareto"] != late[name].data.tags["moc.pareto"]
        for name in early
        if name.startswith("trial")
    )


VOLUME = Volume(low=0.2, high=0.4, halves=0.3, tested=0.25)


def test_the_hypervolume_is_a_curve_over_trials_of_one_study_run(folder, uri):
    study = fake_study(folder, trials=5, complete=False)
    sync(replace(study, hypervolume=study.hypervolume[:3]), tracking_uri=uri)
    sync(study, tracking_uri=uri)
    sync(replace(study, complete=True), tracking_uri=uri)
    run = runs_by_name(uri)["demo"]
    history = MlflowClient(uri).get_metric_history(run.info.run_id, "hypervolume")
    assert [(m.step, m.value) for m in history] == list(enumerate(study.hypervolume, start=1))
    assert run.info.status == "FINISHED"
    assert run.data.metrics["epsilon"] == 8.31


def test_how_far_the_hypervolume_is_believed_goes_along_and_is_written_once(folder, uri):
    study = fake_study(folder, trials=3, complete=False)
    early = replace(study, volume=Volume(low=0.2, high=0.4, halves=0.3))
    for one in (early, early, replace(early, volume=replace(early.volume, tested=0.25))):
        sync(one, tracking_uri=uri)
    run = runs_by_name(uri)["demo"]
    found = {k: v for k, v in run.data.metrics.items() if k.startswith("hypervolume_")}
    assert found == {f"hypervolume_{k}": v for k, v in asdict(VOLUME).items()}
    assert len(MlflowClient(uri).get_metric_history(run.info.run_id, "hypervolume_low")) == 1


def test_an_unfinished_study_says_so_and_has_no_report_yet(folder, uri):
    study = fake_study(folder, trials=3, complete=False)
    sync(study, tracking_uri=uri)
    run = runs_by_name(uri)["demo"]
    assert run.data.tags["moc.complete"] == "false"
    assert artifacts(uri, run) == [
        "front.json",
        "front.png",
        "hypervolume.png",
        "ledgers",
        "privacy.txt",
    ]
    sync(replace(study, complete=True), tracking_uri=uri)
    assert "report.html" in artifacts(uri, runs_by_name(uri)["demo"])


def test_artifacts_are_the_set_its_picture_and_the_ledgers(folder, uri, tmp_path):
    study = fake_study(folder, trials=2)
    (folder / "privacy.jsonl").write_text("fingerprints\n")
    sync(study, tracking_uri=uri)
    runs, client = runs_by_name(uri), MlflowClient(uri)
    path = client.download_artifacts(
        runs["trial-001"].info.run_id, "synthetic/trial-001.safetensors", str(tmp_path)
    )
    assert torch.equal(load_set(tmp_path / path).x, load_set(folder / study.trials[1].set_path).x)
    images = artifacts(uri, runs["trial-001"], "images")
    assert any(name.endswith(".png") and "synthetic" in name for name in images)
    assert artifacts(uri, runs["demo"], "ledgers") == [
        "ledgers/config.json",
        "ledgers/study.jsonl",
    ]
    front = client.download_artifacts(runs["demo"].info.run_id, "front.png", str(tmp_path))
    words = client.download_artifacts(runs["demo"].info.run_id, "privacy.txt", str(tmp_path))
    assert tuple(Path(words).read_text().splitlines()) == study.privacy
    assert b"fingerprints" not in b"".join(
        Path(name.decode()).read_bytes() for name in contents(uri)[1]
    )
    assert np.asarray(Image.open(front)).std() > 1


def test_where_the_data_lie_is_not_handed_on(folder, uri):
    study, path = fake_study(folder, trials=1), folder / "config.json"
    source = {"kind": "npz", "path": "/home/me/patients.npz"}
    config = {**study.config, "data": {**study.config["data"], "source": source}}
    known = {"moc": json.loads(path.read_text())["moc"]}
    path.write_text(json.dumps({**known, **config}))
    sync(replace(study, config=config), tracking_uri=uri)
    assert runs_by_name(uri)["demo"].data.params["data.source.kind"] == "npz"
    rows, files = contents(uri)
    assert "patients" not in str(rows)
    assert all(b"patients" not in Path(name.decode()).read_bytes() for name in files)


def test_an_open_study_logs_no_epsilon_and_nothing_infinite(folder, uri):
    sync(fake_study(folder, private=False, trials=4), tracking_uri=uri)
    runs = runs_by_name(uri, "moc/demo-open")
    assert all("epsilon" not in run.data.metrics for run in runs.values())
    assert runs["trial-000"].data.tags["moc.private"] == "false"
    assert runs["trial-000"].data.params["rung"] == "open"
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as base:
        (largest,) = base.execute("select max(value) from metrics").fetchone()
    assert largest < 1000


def test_an_infinite_standard_error_is_left_out(folder, uri):
    study = fake_study(folder, trials=1)
    first = study.trials[0]
    scores = {**first.scores, "error": replace(first.scores["error"], se=math.inf)}
    sync(replace(study, trials=(replace(first, scores=scores),)), tracking_uri=uri)
    metrics = runs_by_name(uri)["trial-000"].data.metrics
    assert "error_se" not in metrics
    assert "error" in metrics


def test_a_half_written_run_is_written_again(folder, uri):
    study = fake_study(folder, trials=2)
    sync(study, tracking_uri=uri)
    client, broken = MlflowClient(uri), runs_by_name(uri)["trial-001"].info.run_id
    client.delete_tag(broken, "moc.whole")
    sync(study, tracking_uri=uri)
    again = runs_by_name(uri)["trial-001"]
    assert again.info.run_id != broken
    assert again.info.status == "FINISHED"
    assert client.get_run(broken).info.lifecycle_stage == "deleted"


def test_runs_of_an_earlier_study_go_and_those_of_others_stay(folder, uri):
    study = fake_study(folder, trials=3)
    sync(study, tracking_uri=uri)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("moc/demo").experiment_id
    mine = client.create_run(experiment, run_name="mine").info.run_id
    again = tuple(replace(trial, seconds=99.0) for trial in study.trials[:2])
    rerun = replace(study, trials=again, front=(0, 1))
    sync(rerun, tracking_uri=uri)
    runs = runs_by_name(uri)
    assert sorted(n for n in runs if n.startswith("trial")) == ["trial-000", "trial-001"]
    assert runs["trial-000"].data.metrics["seconds"] == 99.0
    assert runs["mine"].info.run_id == mine


def test_studies_of_one_name_in_two_folders_leave_each_other_alone(tmp_path, uri):
    here, there = (fake_study(tmp_path / name, trials=2) for name in ("a", "b"))
    sync(here, tracking_uri=uri)
    before = MlflowClient(uri).get_experiment_by_name("moc/demo").experiment_id
    sync(replace(there, trials=there.trials[:1], front=(0,)), tracking_uri=uri)
    sync(here, tracking_uri=uri)
    names = [run.info.run_name for run in MlflowClient(uri).search_runs([before])]
    assert sorted(n for n in names if n.startswith("trial")) == [
        "trial-000",
        "trial-000",
        "trial-001",
    ]


def test_a_deleted_experiment_is_restored(folder, uri):
    study = fake_study(folder, trials=1)
    sync(study, tracking_uri=uri)
    client = MlflowClient(uri)
    client.delete_experiment(client.get_experiment_by_name("moc/demo").experiment_id)
    sync(study, tracking_uri=uri)
    assert client.get_experiment_by_name("moc/demo").lifecycle_stage == "active"


@pytest.mark.parametrize("private", [True, False])
def test_the_saved_view_compares_the_objectives_that_are_logged(folder, uri, private):
    study = fake_study(folder, trials=1, private=private)
    link = sync(study, tracking_uri=uri)
    tags = MlflowClient(uri).get_experiment_by_name(f"moc/{study.name}").tags
    state = json.loads(json.loads(tags["mlflow.sharedViewState.moc"])["state"])
    charts = state["compareRunCharts"]
    assert charts[0]["type"] == "PARALLEL"
    assert charts[0]["selectedMetrics"] == list(study.objectives)
    assert charts[0]["selectedParams"] == ["weight_robust_error"]
    assert {chart["metricSectionId"] for chart in charts} == {
        section["uuid"] for section in state["compareRunSections"]
    }
    assert state["runsHiddenMode"] == "SHOW_ALL"
    assert "viewStateShareKey=moc" in link
    assert "workflowType=machine_learning" in link


def test_a_choice_gets_the_alias_policy_and_its_files(folder, uri, tmp_path):
    study = fake_study(folder, trials=4)
    best = study.front[0]
    exported = export_set(study, best, tmp_path / "out")
    assert set_policy_alias(study, best, exported, "Lowest clean error.", tracking_uri=uri) == "1"
    client = MlflowClient(uri, registry_uri=uri)
    version = client.get_model_version_by_alias("moc-demo", "policy")
    assert version.description == "Lowest clean error."
    assert version.tags["moc.trial"] == f"trial-{best:03d}"
    place = client.get_model_version_download_uri("moc-demo", "1")
    got = Path(mlflow.artifacts.download_artifacts(place, tracking_uri=uri))
    for path in exported.iterdir():
        assert (got / path.name).read_bytes() == path.read_bytes()
    other = export_set(study, study.front[-1], tmp_path / "other")
    assert set_policy_alias(study, study.front[-1], other, "Changed.", tracking_uri=uri) == "2"
    assert str(client.get_model_version_by_alias("moc-demo", "policy").version) == "2"


def test_an_unknown_trial_cannot_be_chosen(folder, uri, tmp_path):
    with pytest.raises(PolicyError, match="99"):
        set_policy_alias(fake_study(folder, trials=1), 99, tmp_path, "why", tracking_uri=uri)


def test_the_default_is_a_file_in_the_current_folder(folder, tmp_path, migrated, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    shutil.copy(migrated, here / "mlflow.db")
    monkeypatch.chdir(here)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    sync(fake_study(folder, trials=1))
    assert (here / "mlartifacts" / "moc" / "demo").is_dir()
    assert "demo" in runs_by_name(default_uri())
    assert sorted(path.name for path in here.iterdir()) == ["mlartifacts", "mlflow.db"]


def test_the_environment_names_another_place(folder, uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    sync(fake_study(folder, trials=1))
    assert "trial-000" in runs_by_name(uri)


def test_nothing_is_printed_and_loggers_keep_their_levels(folder, tmp_path, capfd):
    """With a database that has to be made first, which is when MLflow talks most."""
    import logging

    levels = [logging.getLogger(name).level for name in ("mlflow", "alembic")]
    sync(fake_study(folder, trials=1), tracking_uri=f"sqlite:///{tmp_path / 'new.db'}")
    assert capfd.readouterr() == ("", "")
    assert [logging.getLogger(name).level for name in ("mlflow", "alembic")] == levels


def test_mlflow_is_imported_late_and_with_telemetry_off():
    code = (
        "import os, sys; os.environ.pop('MLFLOW_DISABLE_TELEMETRY', None)\n"
        "from moc.views.mlflow import client_of\n"
        "assert 'mlflow' not in sys.modules\n"
        "class Watch:\n"
        "    def find_spec(self, name, *_):\n"
        "        assert name != 'mlflow' or os.environ['MLFLOW_DISABLE_TELEMETRY'] == 'true'\n"
        "sys.meta_path.insert(0, Watch())\n"
        "with client_of('sqlite:///:memory:'): pass\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_server_is_light_and_private():
    command = server_command("sqlite:////tmp/a.db", 5001)
    assert command[command.index("--workers") + 1] == "1"
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "5001"
    assert server_environment()["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert server_environment()["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_the_link_opens_a_known_study_only(folder, uri):
    study = fake_study(folder, trials=1)
    link = sync(study, tracking_uri=uri)
    found = comparison_link("demo", port=5001, tracking_uri=uri)
    assert found == f"http://127.0.0.1:5001/{link}"
    with pytest.raises(StudyError, match="knows no study 'nothing'"):
        comparison_link("nothing", port=5001, tracking_uri=uri)


@pytest.mark.slow
def test_the_server_answers_with_the_trials(folder, uri):
    sync(fake_study(folder, trials=2), tracking_uri=uri)
    server = subprocess.Popen(
        server_command(uri, 5913), env=server_environment(), stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(120):
            time.sleep(0.5)
            try:
                with urllib.request.urlopen("http://127.0.0.1:5913/health") as answer:
                    assert answer.read() == b"OK"
                break
            except OSError:
                continue
        assert "trial-001" in runs_by_name("http://127.0.0.1:5913")
    finally:
        server.terminate()
        server.wait(20)
