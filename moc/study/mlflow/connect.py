"""Where MLflow keeps its runs, how to reach it quietly, and how to serve its page."""

from __future__ import annotations

import logging
import math
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from moc.errors import StudyError
from moc.study.mlflow.entries import NOTE
from moc.study.mlflow.saved_view import TAG, VIEW, saved_view

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient

    from moc.study.records import StudyRecord

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
"""What moc sets before MLflow is imported or its server started, unless it is set already."""

_FILE = "sqlite:///"


def default_uri() -> str:
    """The environment's `MLFLOW_TRACKING_URI`, or the file `mlflow.db` in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_FILE}{Path('mlflow.db').resolve()}"


@contextmanager
def client_of(uri: str) -> Iterator[MlflowClient]:
    """Open a client; while it is used, MLflow's and its migrations' notices stay off the console.

    Warnings still come through.
    """
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    # Importing configures MLflow's loggers, so it comes before they are silenced.
    from mlflow import MlflowClient

    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield MlflowClient(tracking_uri=uri, registry_uri=uri)
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def experiment_of(client: MlflowClient, study: StudyRecord, uri: str) -> str:
    """Id of the study's experiment, made or restored where needed, with its saved view.

    With an sqlite file, artifacts go to the folder `mlartifacts` beside it.
    """
    name = f"moc/{study.name}"
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    place = None
    if uri.startswith(_FILE):
        place = (Path(uri.removeprefix(_FILE)).resolve().parent / "mlartifacts" / name).as_uri()
    experiment = found.experiment_id if found else client.create_experiment(name, place)
    if found is None or TAG not in found.tags:
        tags = {
            TAG: saved_view(private=math.isfinite(study.epsilon)),
            NOTE: "One run a trial. Errors and epsilon: lower is better.",
            "mlflow.experimentKind": "custom_model_development",
        }
        for key, value in tags.items():
            client.set_experiment_tag(experiment, key, value)
    return experiment


def link_of(experiment: str) -> str:
    """End of the address of the page that compares the trials of an experiment."""
    query = f"viewStateShareKey={VIEW}&compareRunsMode=CHART&workflowType=machine_learning"
    return f"#/experiments/{experiment}/runs?{query}"


def comparison_link(name: str, *, port: int, tracking_uri: str | None = None) -> str:
    """Address of the comparison of the trials of study `name` on a server of this machine.

    Raises:
        StudyError: If MLflow does not know the study.
    """
    uri = tracking_uri or default_uri()
    with client_of(uri) as client:
        found = client.get_experiment_by_name(f"moc/{name}")
    if found is None:
        raise StudyError(
            f"MLflow at {uri} knows no study {name!r}. "
            "Run the study there, or name the database it was written to."
        )
    return f"http://127.0.0.1:{port}/{link_of(found.experiment_id)}"


def server_command(tracking_uri: str, port: int) -> list[str]:
    """Command that serves MLflow's page on this machine; run it with `server_environment()`.

    One worker and no job runner: 0.6 GB and a few seconds instead of 2.5 GB and half a minute.
    """
    store = ["--backend-store-uri", tracking_uri]
    place = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", *store, *place]


def server_environment() -> dict[str, str]:
    """The environment for `server_command`: telemetry and job execution are off."""
    return {**os.environ, **ENVIRONMENT}
