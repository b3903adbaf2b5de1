"""What each MLflow run of a study says, as plain records; nothing here knows MLflow."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moc.report.checks import checks_word
from moc.report.words import epsilon_words, flat_settings, percent, trial_epsilon

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moc.evaluate.scores import Scores
    from moc.study.records import Baseline, StudyRecord, Trial

KEY, KIND, STATE = "moc.trial_key", "moc.kind", "moc.state"
NOTE = "mlflow.note.content"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run.

    Attributes:
        key: Identifies the run by what cannot change any more; written as the tag `moc.trial_key`.
        name: Shown in tables.
        params: Written once.
        metrics: Finite numbers; may grow or change while the study runs.
        tags: May change while the study runs.
        set_path: The stored set, relative to the study folder; None for baselines.
        seconds: How long the trial took; 0 for baselines.
    """

    key: str
    name: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    set_path: str | None = None
    seconds: float = 0.0


def entries(study: StudyRecord) -> list[Entry]:
    """One entry a trial, then one a baseline."""
    shared = _shared_params(study)
    return [
        *(_trial(study, trial, shared) for trial in study.trials),
        *(_baseline(study, baseline, shared) for baseline in study.baselines),
    ]


def study_key(study: StudyRecord) -> str:
    """Key of the run of the study itself: a change of settings makes it another study."""
    return f"study:{digest(study.config)}"


def study_state(study: StudyRecord) -> str:
    """Changes whenever the pictures and the report would."""
    reported = [item.report is not None for item in (*study.trials, *study.baselines)]
    keys = [entry.key for entry in entries(study)]
    examined = [study.masking, study.curves, study.unexamined]
    return digest([keys, study.front, reported, study.complete, study.privacy, examined])


def digest(value: object) -> str:
    """Short hash of JSON-like data."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def finite_only(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Drop what is not a finite number: MLflow stores infinity as 1.8e308, ruining every axis."""
    return {k: v for k, v in metrics.items() if v is not None and math.isfinite(v)}


def _shared_params(study: StudyRecord) -> dict[str, str]:
    """The settings by which studies are compared, wherever in the file they stand."""
    flat = flat_settings(study.config)
    wanted = ("seed", "engine", "images_per_class", "protocol")
    found = {}
    for name in wanted:
        keys = [key for key in flat if key.rsplit(".", 1)[-1] == name]
        if keys:
            found[name] = flat[min(keys, key=len)]
    return found


def _trial(study: StudyRecord, trial: Trial, shared: dict[str, str]) -> Entry:
    generalization, adversarial, privacy = trial.weighting.values()
    rung, checks = epsilon_words(trial.rung), study.checks(trial.number)
    identity = [trial.name, trial.weighting.values(), _measured(trial.scores), trial.set_path]
    return Entry(
        key=f"{trial.name}:{digest([*identity, trial.losses, trial.seconds])}",
        name=trial.name,
        params={
            "weight_generalization": f"{generalization:.6g}",
            "weight_adversarial": f"{adversarial:.6g}",
            "weight_privacy": f"{privacy:.6g}",
            "robust_share": f"{trial.weighting.robust_share:.6g}",
            "rung": rung,
            **shared,
        },
        metrics=finite_only(
            {
                **_measured(trial.scores),
                **_measured(trial.report, "report_"),
                "checks_failed": len(checks.failed) if checks else None,
                "p_nondominated": study.p_nondominated.get(trial.number),
                "loss_generalization": trial.losses[0],
                "loss_adversarial": trial.losses[1],
                "seconds": trial.seconds,
            }
        ),
        tags={
            KIND: "trial",
            "moc.study": study.name,
            "moc.trial": trial.name,
            "moc.trial_kind": trial.kind,
            "moc.rung": rung,
            "moc.private": str(trial.scores.is_private).lower(),
            "moc.pareto": str(trial.number in study.front).lower(),
            "moc.masking_checks": checks_word(study, trial.number),
            NOTE: _note(trial.scores, trial.report, f"Epsilon: {trial_epsilon(trial)}."),
        },
        set_path=trial.set_path,
        seconds=trial.seconds,
    )


def _baseline(study: StudyRecord, baseline: Baseline, shared: dict[str, str]) -> Entry:
    measured = _measured(baseline.scores) | _measured(baseline.report, "report_")
    return Entry(
        key=f"baseline-{baseline.name}:{digest(_measured(baseline.scores))}",
        name=baseline.name,
        params=shared,
        metrics=finite_only(measured),
        tags={
            KIND: "baseline",
            "moc.study": study.name,
            "moc.trial": baseline.name,
            "moc.private": "false",
            NOTE: _note(baseline.scores, baseline.report, "Real records: not private."),
        },
    )


def _measured(scores: Scores | None, prefix: str = "") -> dict[str, float | None]:
    if scores is None:
        return {}
    measured = {
        "error": scores.error.mean,
        "error_se": scores.error.se,
        "robust_error": scores.robust_error.mean,
        "robust_error_se": scores.robust_error.se,
        "epsilon": scores.epsilon,
    }
    return {
        prefix + key: value for key, value in measured.items() if not prefix or key != "epsilon"
    }


def _note(scores: Scores, report: Scores | None, last: str) -> str:
    lines = [
        f"{where}: clean error {percent(values.error)} %, "
        f"robust error {percent(values.robust_error)} %."
        for where, values in (("Validation", scores), ("Test", report))
        if values is not None
    ]
    return "\n\n".join([*lines, last, "All metrics: lower is better, but for p_nondominated."])
