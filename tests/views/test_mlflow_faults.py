"""MLflow out of reach, slow, locked, cut off or tidied up: a sentence, and whole later."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from contextlib import closing
from dataclasses import replace

import pytest
from fake_study import fake_study
from mlflow import MlflowClient
from mlflow.entities import ViewType

from moc.errors import StudyError
from moc.views import mlflow as view
from moc.views.mlflow import sync


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(view, "_PATIENCE", 0.2)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")


def runs_of(uri, kind=ViewType.ACTIVE_ONLY):
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("moc/demo").experiment_id
    return client.search_runs([experiment], run_view_type=kind)


def told(uri):
    """What a person sees: of every run its name, numbers, settings and tags, and all curves."""
    client, found = MlflowClient(uri), []
    for run in runs_of(uri):
        history = client.get_metric_history(run.info.run_id, "hypervolume")
        tags = {k: v for k, v in run.data.tags.items() if k.startswith("moc.")}
        steps = [(one.step, one.value) for one in history]
        found.append((run.info.run_name, run.data.metrics, run.data.params, tags, steps))
    return sorted(found, key=str)


def test_a_server_that_is_down_is_one_sentence(tmp_path):
    study = fake_study(tmp_path / "study", trials=1)
    with pytest.raises(StudyError, match=r"http://127.0.0.1:9 cannot be written to .* `moc sync`"):
        sync(study, tracking_uri="http://127.0.0.1:9")


def test_what_is_out_of_reach_is_found_out_beforehand_and_nothing_is_left(tmp_path):
    with pytest.raises(StudyError, match=r"http://127.0.0.1:9 cannot be written to"):
        view.Mlflow(uri="http://127.0.0.1:9").reach()
    view.Mlflow(uri=f"sqlite:///{tmp_path / 'mlflow.db'}").reach()
    assert not any(tmp_path.iterdir())
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("create table one (k)")
        other.execute("begin exclusive")
        with pytest.raises(StudyError, match=r"locked"):
            view.Mlflow(uri=f"sqlite:///{tmp_path / 'other.db'}").reach()


def test_a_server_that_never_answers_is_one_sentence(tmp_path):
    study = fake_study(tmp_path / "study", trials=1)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        where = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(StudyError, match=r"cannot be written to .* `moc sync`"):
            sync(study, tracking_uri=where)


def test_a_locked_database_is_one_sentence_and_whole_afterwards(tmp_path, uri):
    study = fake_study(tmp_path / "study", trials=1)
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as base:
        base.execute("begin exclusive")
        with pytest.raises(StudyError, match="database is locked"):
            sync(study, tracking_uri=uri)
        base.execute("rollback")
    sync(study, tracking_uri=uri)
    assert len(runs_of(uri)) == len(study.trials) + len(study.baselines) + 1


def test_a_database_that_cannot_be_written_is_one_sentence(tmp_path):
    study = fake_study(tmp_path / "study", trials=1)
    with pytest.raises(StudyError, match="unable to open database file"):
        sync(study, tracking_uri=f"sqlite:///{tmp_path}/nowhere/mlflow.db")


def test_a_database_of_another_version_is_one_sentence(tmp_path, uri):
    study = fake_study(tmp_path / "study", trials=1)
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as base:
        base.execute("update alembic_version set version_num = 'of another time'")
        base.commit()
    with pytest.raises(StudyError, match=r"cannot be written to \("):
        sync(study, tracking_uri=uri)


ONCE = ("create_experiment", "log_artifacts", "delete_run")
CALLS = (*ONCE, "create_run", "log_artifact", "log_batch", "set_tag", "set_terminated")


@pytest.mark.parametrize("done", [True, False], ids=["after the effect", "before the effect"])
@pytest.mark.parametrize("name", CALLS)
def test_what_was_cut_off_at_any_call_is_whole_after_a_sync_and_nothing_is_twice(
    tmp_path, uri, monkeypatch, name, done
):
    study = fake_study(tmp_path / "study", trials=2)
    call, calls = getattr(MlflowClient, name), []

    def cut(*arguments, **options):
        calls.append(name)
        if len(calls) == 2 or name in ONCE:
            if done:
                call(*arguments, **options)
            raise ConnectionError("cut off")
        return call(*arguments, **options)

    if name == "delete_run":  # there is one to delete
        sync(fake_study(tmp_path / "study", trials=3), tracking_uri=uri)
        study = fake_study(tmp_path / "study", trials=2)
    with monkeypatch.context() as plant:
        plant.setattr(MlflowClient, name, cut)
        with pytest.raises(StudyError, match="cut off"):
            sync(study, tracking_uri=uri)
    sync(study, tracking_uri=uri)
    names = [run.info.run_name for run in runs_of(uri)]
    assert sorted(names) == ["demo", "herding", "kmeans", "random", "trial-000", "trial-001"]
    mended = told(uri)
    assert [steps for one, *_, steps in mended if one == "demo"] == [
        [(k, v) for k, v in enumerate(study.hypervolume, start=1)]
    ]
    sync(study, tracking_uri=uri)
    assert told(uri) == mended


def test_a_run_that_was_written_twice_is_kept_once(tmp_path, uri):
    """A request that timed out after it had taken effect leaves a whole twin."""
    study = fake_study(tmp_path / "study", trials=2)
    sync(study, tracking_uri=uri)
    first = told(uri)
    twin = next(run for run in runs_of(uri) if run.info.run_name == "trial-001")
    client = MlflowClient(uri)
    client.create_run(twin.info.experiment_id, tags=twin.data.tags, run_name="trial-001")
    assert len(runs_of(uri)) == len(first) + 1
    sync(study, tracking_uri=uri)
    assert len(runs_of(uri)) == len(first)


def test_a_run_that_a_person_deleted_is_restored_as_it_was(tmp_path, uri):
    study = fake_study(tmp_path / "study", trials=3)
    sync(study, tracking_uri=uri)
    before, identities = told(uri), {run.info.run_id for run in runs_of(uri)}
    for run in runs_of(uri):
        if run.info.run_name in ("trial-001", "demo"):
            MlflowClient(uri).delete_run(run.info.run_id)
    sync(study, tracking_uri=uri)
    assert told(uri) == before
    assert {run.info.run_id for run in runs_of(uri)} == identities


def test_a_folder_that_was_moved_keeps_its_runs(tmp_path, uri):
    study = fake_study(tmp_path / "study", trials=2)
    sync(study, tracking_uri=uri)
    before = {run.info.run_id for run in runs_of(uri, ViewType.ALL)}
    (tmp_path / "study").rename(tmp_path / "elsewhere")

    sync(replace(study, folder=tmp_path / "elsewhere"), tracking_uri=uri)
    assert {run.info.run_id for run in runs_of(uri, ViewType.ALL)} == before
    assert len(runs_of(uri)) == len(before)


def test_a_copy_that_went_another_way_and_the_original_leave_each_others_runs(tmp_path, uri):

    study = fake_study(tmp_path / "study", trials=3)
    sync(study, tracking_uri=uri)
    shutil.copytree(study.folder, tmp_path / "copy")
    other = replace(study.trials[2], seconds=77.0)
    copy = replace(study, folder=tmp_path / "copy", trials=(*study.trials[:2], other))
    for _ in range(2):
        sync(copy, tracking_uri=uri)
        sync(study, tracking_uri=uri)
    third = [run for run in runs_of(uri) if run.info.run_name == "trial-002"]
    assert sorted(run.data.metrics["seconds"] for run in third) == [study.trials[2].seconds, 77.0]


@pytest.mark.slow
def test_a_real_server_that_goes_down_and_comes_back_has_everything_once(tmp_path, uri):
    """With artefacts through its proxy."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    where, store = f"http://127.0.0.1:{port}", tmp_path / "artefacts"

    def serve():
        command = [*view.server_command(uri, port), "--artifacts-destination", str(store)]
        process = subprocess.Popen(
            command,
            env=view.server_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
            start_new_session=True,
        )
        for _ in range(240):
            try:
                with urllib.request.urlopen(f"{where}/health", timeout=5) as answer:
                    assert answer.read() == b"OK"
                return process
            except OSError:
                time.sleep(0.5)
        raise AssertionError("no server")

    server = serve()
    try:
        sync(fake_study(tmp_path / "study", trials=2, complete=False), tracking_uri=where)
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        study = fake_study(tmp_path / "study", trials=4)
        with pytest.raises(StudyError, match="moc sync"):
            sync(study, tracking_uri=where)
        server = serve()
        sync(study, tracking_uri=where)
        sync(study, tracking_uri=where)
        names = sorted(run.info.run_name for run in runs_of(where))
        assert names == sorted(
            [*(t.name for t in study.trials), *(b.name for b in study.baselines), "demo"]
        )
        assert len(list(store.rglob("trial-*.safetensors"))) == 4
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
