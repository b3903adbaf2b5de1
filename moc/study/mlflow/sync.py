"""Bring MLflow up to date with a study folder."""

from __future__ import annotations

import json
import math
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from moc.data.storage import load_set
from moc.report.sheet import contact_sheet
from moc.report.table import front_rows
from moc.report.words import budget_words, flat_settings
from moc.study.mlflow.connect import client_of, default_uri, experiment_of, link_of
from moc.study.mlflow.entries import (
    KEY,
    KIND,
    NOTE,
    STATE,
    Entry,
    entries,
    finite_only,
    study_key,
    study_state,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from moc.study.records import StudyRecord

_LEDGERS = (".jsonl", ".json", ".toml")
_BATCH = 100
"""Parameters that MLflow takes at once."""


def sync(study: StudyRecord, *, tracking_uri: str | None = None) -> str:
    """Bring MLflow up to date with a study; doing it twice adds nothing.

    New trials are written with their set and contact sheet; of the others only what has changed
    (the tag `moc.pareto`, `p_nondominated`, `report_*`). Runs that the folder does not know, of an
    earlier study of this name, are marked as deleted (MLflow can restore them). The report is
    written once the study is complete.

    Args:
        study: The study as read back from its folder.
        tracking_uri: Where MLflow keeps its runs; by default `default_uri()`.

    Returns:
        End of the address, after the server's, of the page that compares the trials.
    """
    uri = tracking_uri or default_uri()
    with client_of(uri) as client:
        experiment = experiment_of(client, study, uri)
        runs = {run.data.tags[KEY]: run for run in runs_of(client, experiment)}
        for entry in entries(study):
            run = runs.pop(entry.key, None)
            if run is not None and run.info.status == "FINISHED":
                _update(client, run, entry, complete=study.complete)
            else:
                _discard(client, run)
                _write(client, experiment, study, entry)
        _sync_study(client, experiment, study, runs.pop(study_key(study), None))
        for stale in runs.values():
            _discard(client, stale)
    return link_of(experiment)


def runs_of(client: MlflowClient, experiment: str) -> list[Run]:
    """The runs of an experiment that moc wrote and that are not marked as deleted."""
    found = client.search_runs([experiment], f"tags.`{KEY}` != ''", max_results=50_000)
    return list(found)


def _discard(client: MlflowClient, run: Run | None) -> None:
    if run is not None:
        client.delete_run(run.info.run_id)


def _write(client: MlflowClient, experiment: str, study: StudyRecord, entry: Entry) -> None:
    """Write one finished run. It is marked as finished last: a half-written one is done again."""
    now = int(time.time() * 1000)
    tags = {**entry.tags, KEY: entry.key}
    begun = now - int(1000 * entry.seconds)
    run = client.create_run(experiment, begun, tags, run_name=entry.name).info.run_id
    if entry.set_path is not None:
        path = study.folder / entry.set_path
        client.log_artifact(run, str(path), "synthetic")
        client.log_image(run, contact_sheet(load_set(path)), key="synthetic", step=0)
    _log(client, run, entry.metrics, entry.params)
    client.set_terminated(run, "FINISHED", now)


def _log(
    client: MlflowClient, run: str, metrics: dict[str, float], params: dict[str, str], step: int = 0
) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    if metrics:
        client.log_batch(run, metrics=[Metric(k, v, now, step) for k, v in metrics.items()])
    names = list(params)
    for start in range(0, len(names), _BATCH):
        some = names[start : start + _BATCH]
        client.log_batch(run, params=[Param(k, params[k][:6000]) for k in some])


def _update(client: MlflowClient, run: Run, entry: Entry, *, complete: bool) -> None:
    """Write what has changed in a run; small drifts of a probability only at the end."""
    for key, value in entry.tags.items():
        if run.data.tags.get(key) != value:
            client.set_tag(run.info.run_id, key, value)
    slack = {} if complete else {"p_nondominated": 5e-3}
    known = run.data.metrics
    changed = {
        key: value
        for key, value in entry.metrics.items()
        if abs(known.get(key, math.inf) - value) > slack.get(key, 0.0)
    }
    _log(client, run.info.run_id, changed, {})


def _sync_study(client: MlflowClient, experiment: str, study: StudyRecord, run: Run | None) -> None:
    """Bring the run of the study itself up to date; `moc.state` is written last."""
    logged = _hypervolume(client, run) if run else []
    if run is not None and logged != list(study.hypervolume[: len(logged)]):
        _discard(client, run)
        run, logged = None, []
    state = study_state(study)
    if run is not None and run.data.tags.get(STATE) == state:
        return
    if run is None:
        tags = {KIND: "study", "moc.study": study.name, KEY: study_key(study)}
        run = client.create_run(experiment, None, tags, run_name=study.name)
        _log(client, run.info.run_id, {}, flat_settings(study.config))
    identity = run.info.run_id
    for step, value in enumerate(study.hypervolume[len(logged) :], start=len(logged) + 1):
        _log(client, identity, {"hypervolume": value}, {}, step)
    failed = sum(not checks.passed for checks in study.masking) if study.masking else None
    size = float(len(study.front))
    totals = {"epsilon": study.epsilon, "front_size": size, "sets_failing_checks": failed}
    _log(client, identity, finite_only(totals), {}, len(study.trials))
    _study_artifacts(client, identity, study)
    note = "\n".join([f"{budget_words(study)}.".capitalize(), "", *study.privacy])
    client.set_tag(identity, NOTE, note[:8000])
    client.set_tag(identity, STATE, state)
    client.update_run(identity, "FINISHED" if study.complete else "RUNNING")


def _hypervolume(client: MlflowClient, run: Run) -> list[float]:
    history = client.get_metric_history(run.info.run_id, "hypervolume")
    return [metric.value for metric in sorted(history, key=lambda metric: metric.step)]


def _study_artifacts(client: MlflowClient, run: str, study: StudyRecord) -> None:
    """Write the pictures, the rows of the front, the ledgers and, at the end, the report."""
    from moc.report.checks import CURVES, write_curves
    from moc.report.figures import front_figure, hypervolume_figure
    from moc.report.page import write_page

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        front_figure(study).savefig(folder / "front.png")
        hypervolume_figure(study).savefig(folder / "hypervolume.png")
        (folder / "front.json").write_text(json.dumps(front_rows(study), indent=2))
        if study.complete:
            write_page(study, folder / "report.html")
            write_curves(study, folder / CURVES)
        client.log_artifacts(run, name)
    for path in sorted(study.folder.iterdir()):
        if path.suffix in _LEDGERS:
            client.log_artifact(run, str(path), "ledgers")
