"""MLflow as a view of the study folder: rebuilt from it, brought up to date, never read back.

One flat run a trial and a baseline, and one for the study itself, in the experiment `moc/<study>`.
A run is known by what cannot change any more; what may is brought up to date in place. Runs belong
to a study folder, wherever it is moved: those that it does not know any more are marked as deleted,
those that a person deleted are restored, and those of another folder with a study of the same name,
or of a copy, are left alone. Whatever MLflow raises becomes one sentence, within seconds.
Only one process at a time may write: two that meet a new sqlite file break each other.

This file is longer than others because all of MLflow is in it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

from typing_extensions import override

from moc.data.curve import load_curve
from moc.data.storage import load_set
from moc.errors import MocError, PolicyError, StudyError
from moc.study.records import Baseline, StudyRecord, Trial, curve_path
from moc.study.settings import identity_of
from moc.views._mlflow_view import TAG, VIEW, saved_view
from moc.views.base import View
from moc.views.checks import checks_word
from moc.views.contact_sheet import contact_sheet, curve_sheet
from moc.views.table import front_rows, measured_values
from moc.views.words import (
    budget_words,
    epsilon_words,
    flat_settings,
    scores_words,
    shared_settings,
    trial_epsilon,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""What moc sets before MLflow is imported or its server started, unless it is set already."""

KEY, FOLDER, KIND, PLACE = "moc.key", "moc.folder", "moc.kind", "moc.place"
_WHOLE = "moc.whole"
_NOTE = "mlflow.note.content"
_FILE = "sqlite:///"
_LEDGERS = (".jsonl", ".json", ".toml")
_PRIVATE = ("privacy.jsonl", "config.json")
"""Fingerprints of T, by which a candidate for it is confirmed; and where its files lie."""
_LATER = "`moc sync` makes it whole once MLflow answers."
_PATIENCE = 3.0  # seconds until a store that does not answer is taken for one that is down
_BATCH = 100
"""Parameters that MLflow takes at once."""


class Mlflow(View):
    """Runs for MLflow's comparison of trials.

    Attributes:
        uri: Where MLflow keeps them; by default `MLFLOW_TRACKING_URI`, or a file here.
    """

    kind: Literal["mlflow"] = "mlflow"
    live: ClassVar[bool] = True
    uri: str | None = None

    @override
    def reach(self) -> None:
        uri = self.uri or default_uri()
        if not uri.startswith(_FILE) or Path(_file(uri)).exists():
            with _in_words(uri, _LATER):
                pass

    @override
    def write(self, study: StudyRecord) -> str:
        sync(study, tracking_uri=self.uri)
        return "Compare the trials in MLflow:          make ui      (moc ui)"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run.

    Attributes:
        name: Shown in tables.
        identity: What cannot change any more.
        params: Parameters, written once.
        metrics: Numbers; None where there is none.
        tags: Tags.
        set_path: The stored set, relative to the study folder; None for what has none.
        seconds: How long the trial took.
    """

    name: str
    identity: object
    params: dict[str, str]
    metrics: dict[str, float | None]
    tags: dict[str, str]
    set_path: str | None = None
    seconds: float = 0.0

    @property
    def key(self) -> str:
        """Tells the run from those of other studies in the folder."""
        return f"{self.name}:{digest(self.identity)}"


def entries(study: StudyRecord) -> list[Entry]:
    """One entry a trial, then one a baseline."""
    shared = _shared_params(study)
    return [
        *(_trial(study, trial, shared) for trial in study.trials),
        *(_baseline(study, baseline, shared) for baseline in study.baselines),
    ]


def digest(value: object) -> str:
    """Short hash of JSON-like data."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def folder_key(study: StudyRecord) -> str:
    """Identity of a study folder among others that hold a study of the same name."""
    return identity_of(study.folder)


def _shared_params(study: StudyRecord) -> dict[str, str]:
    """The settings by which studies are compared."""
    config = study.config
    return {
        "seed": str(config["seed"]),
        "images_per_class": str(config["condense"]["images_per_class"]),
        "engine": config["search"]["engine"]["kind"],
        "protocol": config["evaluate"]["protocol"]["kind"],
    }


def _trial(study: StudyRecord, trial: Trial, shared: dict[str, str]) -> Entry:
    checks = study.checks(trial.number)
    rung = "open" if trial.rung is None else epsilon_words(trial.rung.epsilon)
    chance = study.p_nondominated.get(trial.number)
    notes = [f"Validation: {scores_words(trial.scores, study.objectives)}."]
    if trial.report is not None:
        notes.append(f"Test: {scores_words(trial.report, study.measured)}.")
    notes.append(f"Epsilon: {trial_epsilon(trial)}.")
    scores = measured_values(trial.scores, study.objectives)
    return Entry(
        name=trial.name,
        identity=[trial.point, trial.rung, scores, trial.losses, trial.seconds, shared],
        params={
            **{f"weight_{name}": f"{weight:.6g}" for name, weight in trial.weights.items()},
            "rung": rung,
            **shared,
        },
        metrics={
            **scores,
            **measured_values(trial.report, study.measured, "report_"),
            **{f"loss_{name}": loss for name, loss in trial.losses.items()},
            "checks_failed": float(len(checks.failed)) if checks else None,
            # It drifts with every trial: two digits spare most updates.
            "p_nondominated": chance if chance is None else round(chance, 2),
            "seconds": trial.seconds,
        },
        tags={
            KIND: "trial",
            "moc.study": study.name,
            "moc.trial": trial.name,
            "moc.trial_kind": trial.kind,
            **_curve_tags(study, trial),
            "moc.rung": rung,
            "moc.private": str(trial.is_private).lower(),
            "moc.pareto": str(trial.number in study.front).lower(),
            "moc.masking_checks": checks_word(study, trial.number),
            _NOTE: "\n\n".join([*notes, "All metrics: lower is better, but for p_nondominated."]),
        },
        set_path=trial.set_path,
        seconds=trial.seconds,
    )


def _curve_tags(study: StudyRecord, trial: Trial) -> dict[str, str]:
    """The curve that a trial is a point of, and what was chosen for it."""
    if not study.on_curves:
        return {}
    recipe = study.space.recipe(trial.point)
    tags = {"moc.curve": curve_path(trial.rung_index, recipe)}
    return tags | ({"moc.recipe": words} if (words := study.recipe_words(recipe)) else {})


def _baseline(study: StudyRecord, baseline: Baseline, shared: dict[str, str]) -> Entry:
    words = scores_words(baseline.scores, study.objectives)
    scores = measured_values(baseline.scores, study.objectives)
    return Entry(
        name=baseline.name,
        identity=[scores, shared],
        params=shared,
        metrics={
            **scores,
            **measured_values(baseline.report, study.measured, "report_"),
        },
        tags={
            KIND: "baseline",
            "moc.study": study.name,
            "moc.trial": baseline.name,
            "moc.private": "false",
            _NOTE: f"Validation: {words}.\n\nReal records: not private.",
        },
    )


def _study(study: StudyRecord) -> Entry:
    failed = sum(not checks.passed for checks in study.masking) if study.masking else None
    note = "\n".join([f"{budget_words(study)}.".capitalize(), "", *study.privacy])
    volume = asdict(study.volume) if study.volume else {}
    return Entry(
        name=study.name,
        identity=shared_settings(study),
        params=flat_settings(shared_settings(study)),
        metrics={
            "epsilon": study.epsilon,
            "front_size": float(len(study.front)),
            "sets_failing_checks": None if failed is None else float(failed),
            **{f"hypervolume_{name}": value for name, value in volume.items()},
        },
        tags={
            KIND: "study",
            "moc.study": study.name,
            "moc.trials": str(len(study.trials)),
            "moc.failed": str(len(study.failed)),
            "moc.complete": str(study.complete).lower(),
            _NOTE: note[:8000],
        },
    )


def sync(study: StudyRecord, *, tracking_uri: str | None = None) -> str:
    """Bring MLflow up to date with a study; doing it twice adds nothing.

    Args:
        study: The study as read back from its folder.
        tracking_uri: Where MLflow keeps its runs; by default `default_uri()`.

    Returns:
        End of the address, after the server's, of the page that compares the trials.

    Raises:
        StudyError: If MLflow cannot be reached, or written to; what was written stays.
    """
    uri = tracking_uri or default_uri()
    with _in_words(uri, _LATER), client_of(uri) as client:
        return link_of(_sync(client, study, uri))


def _sync(client: MlflowClient, study: StudyRecord, uri: str) -> str:
    """See `sync`; returns the experiment."""
    experiment = _experiment(client, study, uri)
    written = [*entries(study), _study(study)]
    kept, others = _sorted_out(runs_of(client, experiment, study), {e.key for e in written})
    for entry in written:
        run = kept.get(entry.key)
        if run is not None:
            if run.info.lifecycle_stage == "deleted":
                client.restore_run(run.info.run_id)
            changed, identity = _update(client, run, entry, study), run.info.run_id
        else:
            changed, identity = True, _write(client, experiment, study, entry)
        if changed and entry.tags[KIND] == "study":
            _write_study(client, identity, study)
        if run is None:
            client.set_tag(identity, _WHOLE, "true")
            client.set_terminated(identity, "FINISHED")
    for run in others:
        if run.info.lifecycle_stage == "active" and not _of_a_copy(run, study):
            client.delete_run(run.info.run_id)
    return experiment


def _sorted_out(runs: list[Run], keys: set[str]) -> tuple[dict[str, Run], list[Run]]:
    """One whole run for each of these keys, active rather than deleted; and the others."""
    runs = sorted(runs, key=lambda run: run.info.lifecycle_stage != "active")
    kept: dict[str, Run] = {}
    for run in runs:
        key = run.data.tags[KEY]
        if key in keys and run.data.tags.get(_WHOLE) == "true":
            kept.setdefault(key, run)
    return kept, [run for run in runs if run is not kept.get(run.data.tags[KEY])]


def _of_a_copy(run: Run, study: StudyRecord) -> bool:
    """Whether a run was written from a copy of a study folder that is still there."""
    place = Path(run.data.tags.get(PLACE, _place(study)))
    return place != Path(_place(study)) and (place / "config.json").is_file()


def _place(study: StudyRecord) -> str:
    """Where a study folder lies now."""
    return str(study.folder.resolve())


def runs_of(client: MlflowClient, experiment: str, study: StudyRecord) -> list[Run]:
    """The runs of a study folder, those that are marked as deleted too."""
    from mlflow.entities import ViewType

    wanted = f"tags.`{FOLDER}` = '{folder_key(study)}'"
    found = client.search_runs([experiment], wanted, ViewType.ALL, max_results=50_000)
    return list(found)


def _update(client: MlflowClient, run: Run, entry: Entry, study: StudyRecord) -> bool:
    """Bring a run up to date; returns whether anything has changed."""
    found, identity = finite_only(entry.metrics), run.info.run_id
    metrics = {k: v for k, v in found.items() if run.data.metrics.get(k) != v}
    wanted = {**entry.tags, PLACE: _place(study)}
    tags = {k: v for k, v in wanted.items() if run.data.tags.get(k) != v}
    for key, value in metrics.items():
        client.log_metric(identity, key, value)
    for key, value in tags.items():
        client.set_tag(identity, key, value)
    return bool(metrics or tags)


def _write(client: MlflowClient, experiment: str, study: StudyRecord, entry: Entry) -> str:
    """Write one run but for the sign that it is whole: a half-written one is done again."""
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    tags = {**entry.tags, KEY: entry.key, FOLDER: folder_key(study), PLACE: _place(study)}
    begun = now - int(1000 * entry.seconds)
    run = client.create_run(experiment, begun, tags, run_name=entry.name).info.run_id
    if entry.set_path is not None:
        path = study.folder / entry.set_path
        client.log_artifact(run, str(path), "synthetic")
        client.log_image(run, contact_sheet(load_set(path)), key="synthetic", step=0)
    found = finite_only(entry.metrics)
    if found:
        client.log_batch(run, metrics=[Metric(k, v, now, 0) for k, v in found.items()])
    names = list(entry.params)
    for start in range(0, len(names), _BATCH):
        some = names[start : start + _BATCH]
        client.log_batch(run, params=[Param(k, entry.params[k][:6000]) for k in some])
    return run


def _write_study(client: MlflowClient, run: str, study: StudyRecord) -> None:
    """Write the search's progress, pictures, the front, ledgers and, at the end, the report."""
    from mlflow.entities import Metric

    from moc.views.checks import CURVES, write_curves
    from moc.views.figures import front_figure, hypervolume_figure
    from moc.views.page import write_page

    now, logged = int(time.time() * 1000), len(client.get_metric_history(run, "hypervolume"))
    history = [Metric("hypervolume", v, now, k) for k, v in enumerate(study.hypervolume, start=1)]
    for start in range(logged, len(history), 1000):
        client.log_batch(run, metrics=history[start : start + 1000])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        front_figure(study).savefig(folder / "front.png")
        hypervolume_figure(study).savefig(folder / "hypervolume.png")
        (folder / "front.json").write_text(json.dumps(front_rows(study), indent=2))
        if study.on_curves and len(study.weighed) == 2:
            for path in sorted(study.folder.glob("curves/*.safetensors")):
                curve_sheet(load_curve(path)).save(folder / f"curve-{path.stem}.png")
        (folder / "ledgers").mkdir()
        settings = json.dumps(shared_settings(study), indent=2)
        (folder / "ledgers" / "config.json").write_text(settings, encoding="utf-8")
        (folder / "privacy.txt").write_text("\n".join(study.privacy) + "\n", encoding="utf-8")
        if study.complete:
            write_page(study, folder / "report.html")
            write_curves(study, folder / CURVES)
        client.log_artifacts(run, name)
    for path in sorted(study.folder.iterdir()):
        if path.suffix in _LEDGERS and path.name not in _PRIVATE:
            client.log_artifact(run, str(path), "ledgers")


def finite_only(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Drop what is not a finite number: MLflow stores infinity as 1.8e308, ruining every axis."""
    return {k: v for k, v in metrics.items() if v is not None and abs(v) < float("inf")}


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
        StudyError: If MLflow cannot be reached, or written to.
    """
    trial = next((trial for trial in study.trials if trial.number == number), None)
    if trial is None:
        raise PolicyError(f"Study {study.name} has no finished trial with number {number}.")
    uri, name = tracking_uri or default_uri(), f"moc-{study.name}"
    then = (
        "The set is exported; the same command names it the policy once MLflow answers, and "
        "--no-mlflow leaves that out."
    )
    with _in_words(uri, then), client_of(uri) as client:
        runs = runs_of(client, _sync(client, study, uri), study)
        run = next(
            run.info.run_id
            for run in runs
            if run.data.tags.get("moc.trial") == trial.name and run.info.lifecycle_stage == "active"
        )
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


@contextmanager
def _in_words(uri: str, then: str) -> Iterator[None]:
    """Turn what MLflow raises when its store cannot be used into a sentence.

    Args:
        uri: Where MLflow keeps its runs; whether anybody answers there is tried first.
        then: What to do, in words.

    Raises:
        StudyError: Instead.
    """
    try:
        _require_answer(uri)
        yield
    except MocError:
        raise
    except Exception as error:
        why = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise StudyError(f"MLflow at {uri} cannot be written to ({why}). {then}") from error


def _require_answer(uri: str) -> None:
    """Fail within seconds where MLflow itself would try again for minutes.

    Raises:
        OSError: If no server answers.
        sqlite3.Error: If a database is locked or cannot be written.
    """
    address = urlsplit(uri)
    if uri.startswith(_FILE):
        with closing(sqlite3.connect(_file(uri), timeout=_PATIENCE, isolation_level=None)) as base:
            base.execute("begin immediate")
            base.execute("rollback")
    elif address.scheme in ("http", "https") and address.hostname:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname, port), timeout=_PATIENCE).close()


def _file(uri: str) -> str:
    """Path of the file that a database is."""
    return uri.removeprefix(_FILE).partition("?")[0]


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

    quiet = {"mlflow": logging.WARNING, "alembic": logging.WARNING, "urllib3": logging.ERROR}
    loggers = [logging.getLogger(name) for name in quiet]
    levels = [logger.level for logger in loggers]
    for logger, level in zip(loggers, quiet.values(), strict=True):
        logger.setLevel(level)
    try:
        yield MlflowClient(tracking_uri=uri, registry_uri=uri)
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _experiment(client: MlflowClient, study: StudyRecord, uri: str) -> str:
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
        weighed = [name for name, one in study.objectives.items() if one.weighed]
        tags: dict[str, Any] = {
            TAG: saved_view(list(study.objectives), weighed),
            _NOTE: "One run a trial. All objectives: lower is better.",
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
    with _in_words(uri, _LATER), client_of(uri) as client:
        found = client.get_experiment_by_name(f"moc/{name}")
    if found is None:
        raise StudyError(
            f"MLflow at {uri} knows no study {name!r}. "
            "Run the study there, or name the database it was written to."
        )
    return f"http://127.0.0.1:{port}/{link_of(found.experiment_id)}"


def server_command(tracking_uri: str, port: int) -> list[str]:
    """Command that serves MLflow's page on this machine; run it with `server_environment()`.

    One worker and no job runner, which spares memory and time.
    """
    store = ["--backend-store-uri", tracking_uri]
    place = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", *store, *place]


def server_environment() -> dict[str, str]:
    """The environment for `server_command`: telemetry and job execution are off."""
    return {**os.environ, **ENVIRONMENT}
