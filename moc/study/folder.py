"""The study folder, and a study read back from it.

config.json      the resolved settings
study.jsonl      every event of the search, append-only
privacy.jsonl    every access to T, append-only
release/         the rungs of the release (private studies)
teacher/         networks trained on T by DP-SGD (private studies that ask for them)
sets/            every synthetic set and baseline
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from moc.errors import StudyError
from moc.evaluate.scores import Estimate, Scores
from moc.evidence.ledger import Budget, Ledger
from moc.search.front import (
    Reference,
    error_matrix,
    hypervolume_history,
    nondominated,
    objective_matrix,
    probability_nondominated,
)
from moc.search.space import Weighting
from moc.study.examined import read_examined
from moc.study.ledger import StudyLedger
from moc.study.records import Baseline, StudyRecord, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def scores_to_json(scores: Scores) -> dict[str, Any]:
    """JSON form of scores; an infinite epsilon becomes null."""
    return {
        "error": [scores.error.mean, scores.error.se],
        "robust_error": [scores.robust_error.mean, scores.robust_error.se],
        "epsilon": scores.epsilon if scores.is_private else None,
    }


def scores_from_json(data: dict[str, Any]) -> Scores:
    """Inverse of `scores_to_json`."""
    error, robust = data["error"], data["robust_error"]
    return Scores(
        error=Estimate(mean=error[0], se=error[1]),
        robust_error=Estimate(mean=robust[0], se=robust[1]),
        epsilon=math.inf if data["epsilon"] is None else data["epsilon"],
    )


def weighting_from_json(values: Sequence[float]) -> Weighting:
    """A weighting from its three weights in their fixed order."""
    generalization, adversarial, privacy = values
    return Weighting(generalization=generalization, adversarial=adversarial, privacy=privacy)


def read_study(folder: Path) -> StudyRecord:
    """Read a study, finished or not.

    Raises:
        StudyError: If the folder holds no study.
    """
    if not (folder / "config.json").is_file():
        raise StudyError(f"{folder} holds no study. Run one first: moc study studies/digits.toml")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    ledger = StudyLedger(folder / "study.jsonl")
    trials = read_trials(ledger)
    privacy = _privacy(config, folder)
    return StudyRecord(
        name=config["name"],
        folder=folder,
        config=config,
        trials=trials,
        baselines=_baselines(ledger),
        epsilon=privacy.epsilon(),
        delta=privacy.budget.delta if privacy.budget else None,
        privacy=privacy.words(),
        protocol=(ledger.find("started") or {}).get("protocol", ""),
        **read_examined(config, ledger),
        complete=ledger.find("finished") is not None,
        **_front(trials, reference_of(ledger), seed=config["seed"]),
    )


def read_trials(ledger: StudyLedger) -> tuple[Trial, ...]:
    """All finished trials by number."""
    asked = {row["number"]: row for event in ledger.all("asked") for row in event["trials"]}
    condensed = {row["number"]: row for event in ledger.all("condensed") for row in event["trials"]}
    reports = {e["trial"]: scores_from_json(e["scores"]) for e in ledger.all("reported")}
    trials = []
    for event in sorted(ledger.all("scored"), key=lambda e: e["trial"]):
        number = event["trial"]
        row, made = asked[number], condensed[number]
        trials.append(
            Trial(
                number=number,
                kind=row["kind"],
                weighting=weighting_from_json(row["weighting"]),
                rung=row["rung"],
                scores=scores_from_json(event["scores"]),
                report=reports.get(number),
                losses=(made["losses"][0], made["losses"][1]),
                set_path=made["path"],
                seconds=event["seconds"] + made["seconds"],
            )
        )
    return tuple(trials)


def reference_of(ledger: StudyLedger) -> Reference | None:
    """The study's fixed frame for hypervolumes; None before the study knows its classes."""
    started = ledger.find("started")
    if started is None:
        return None
    return Reference.for_study(started["classes"], tuple(started["epsilons"]))


def _front(trials: Sequence[Trial], reference: Reference | None, *, seed: int) -> dict[str, Any]:
    if not trials or reference is None:
        return {}
    scores = [trial.scores for trial in trials]
    values = objective_matrix(scores)
    mask = nondominated(values)
    chosen = sorted(
        (trial for trial, keep in zip(trials, mask, strict=True) if keep),
        key=lambda trial: trial.scores.values(),
    )
    chances = probability_nondominated(values, error_matrix(scores), seed=seed)
    return {
        "front": tuple(trial.number for trial in chosen),
        "p_nondominated": {
            trial.number: float(chance) for trial, chance in zip(trials, chances, strict=True)
        },
        "hypervolume": tuple(float(v) for v in hypervolume_history(values, reference=reference)),
    }


def _baselines(ledger: StudyLedger) -> tuple[Baseline, ...]:
    return tuple(
        Baseline(
            name=event["name"],
            scores=scores_from_json(event["scores"]),
            report=scores_from_json(event["report"]) if event["report"] else None,
        )
        for event in ledger.all("baseline")
    )


def _privacy(config: dict[str, Any], folder: Path) -> Ledger:
    p = config["privacy"]
    budget = Budget(epsilon=p["epsilons"][0], delta=p["delta"]) if p else None
    return Ledger(budget, path=folder / "privacy.jsonl")
