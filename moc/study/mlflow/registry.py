"""The chosen set in MLflow's registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moc.errors import PolicyError
from moc.study.mlflow.connect import client_of, default_uri, experiment_of
from moc.study.mlflow.entries import KEY, entries
from moc.study.mlflow.sync import runs_of, sync

if TYPE_CHECKING:
    from pathlib import Path

    from moc.study.records import StudyRecord


def set_policy_alias(
    study: StudyRecord,
    number: int,
    exported_folder: Path,
    reason: str,
    *,
    tracking_uri: str | None = None,
) -> str:
    """Register an exported set as the next version of the model `moc-<study>`, alias `policy`.

    The study is synchronised first, so that the trial has its run.

    Args:
        study: The study.
        number: The chosen trial.
        exported_folder: What `moc.export.export_set` wrote; kept with the trial's run.
        reason: Why it was chosen, in words; kept as the version's description.
        tracking_uri: Where MLflow keeps its runs; by default `default_uri()`.

    Returns:
        The new version. MLflow finds its files under `models:/moc-<study>@policy`.

    Raises:
        PolicyError: If there is no such trial.
    """
    trial = next((trial for trial in study.trials if trial.number == number), None)
    if trial is None:
        raise PolicyError(f"Study {study.name} has no finished trial with number {number}.")
    uri, name = tracking_uri or default_uri(), f"moc-{study.name}"
    sync(study, tracking_uri=uri)
    key = next(entry.key for entry in entries(study) if entry.name == trial.name)
    with client_of(uri) as client:
        runs = runs_of(client, experiment_of(client, study, uri))
        run = next(run for run in runs if run.data.tags[KEY] == key).info.run_id
        if not client.search_registered_models(f"name = {name!r}"):
            client.create_registered_model(name, description=f"Synthetic sets of {study.name}.")
        place = f"policy-{len(client.search_model_versions(f'name = {name!r}')) + 1}"
        client.log_artifacts(run, str(exported_folder), place)
        # mlflow.register_model refuses plain folders since MLflow 3; this call does not.
        version = client.create_model_version(
            name,
            source=f"runs:/{run}/{place}",
            run_id=run,
            description=reason,
            tags={"moc.study": study.name, "moc.trial": trial.name},
        ).version
        client.set_registered_model_alias(name, "policy", str(version))
    return str(version)
