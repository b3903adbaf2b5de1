"""The study folder, and a study read back from it.

config.json      the resolved settings
study.jsonl      every event of the search, append-only
privacy.jsonl    every access to T, append-only
release-0/ ...   the rungs of every round of the release (private studies)
proxies/         synthetic sets made from the rungs, where a study reads them
teachers/        networks trained adversarially on what each rung's readers see
curves/          the front of every rung as a curve, whose points are sets
sets/            every synthetic set and baseline
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from moc.evaluate.masking import Check
from moc.evaluate.scores import Estimate, Scores
from moc.objectives.base import read_objectives
from moc.privacy.access import Budget
from moc.privacy.ladder import Rung
from moc.privacy.ledger import Ledger
from moc.study.attempts import Failed
from moc.study.events import StudyLedger
from moc.study.findings import Confirmation, MaskingChecks, RobustnessCurve
from moc.study.records import (
    Baseline,
    StudyRecord,
    Trial,
    set_path,
    trial_name,
)
from moc.study.settings import read_settings
from moc.study.standing import standing


def scores_to_json(scores: Scores) -> dict[str, list[float]]:
    """JSON form of scores: (mean, standard error) of every objective."""
    return {name: [estimate.mean, estimate.se] for name, estimate in scores.items()}


def scores_from_json(
    data: Mapping[str, Sequence[float]], replicates: Mapping[str, Sequence[float]] | None = None
) -> dict[str, Estimate]:
    """Inverse of `scores_to_json`, with what each network gave where that was kept."""
    known = replicates or {}
    return {
        name: Estimate(mean=mean, se=se, replicates=tuple(known.get(name, ())))
        for name, (mean, se) in data.items()
    }


def scored_fields(scores: Scores) -> dict[str, Any]:
    """JSON form of a trial's scores, and of what each network gave, so that trials can be paired.

    In a private study these are what `HeldOut.publish` released for all networks at once, and what
    was computed from it: nothing more is told of a record than was paid for.
    """
    replicates = {name: list(one.replicates) for name, one in scores.items() if one.replicates}
    return {"scores": scores_to_json(scores), "replicates": replicates}


def curve_to_json(curve: RobustnessCurve) -> dict[str, Any]:
    """JSON form of a curve, without its name."""
    return {
        "eps": curve.eps,
        "errors": [[error.mean, error.se] for error in curve.errors],
        "attacks": curve.attacks,
        "records": curve.records,
        "networks": curve.networks,
    }


def checks_to_json(checks: Sequence[Check]) -> list[list[Any]]:
    """JSON form of masking checks."""
    return [[check.name, check.passed, check.detail] for check in checks]


def read_study(folder: Path) -> StudyRecord:
    """Read a study, finished or not.

    Raises:
        StudyError: If the folder holds no study.
    """
    config = read_settings(folder)
    ledger, p = StudyLedger(folder / "study.jsonl"), config["privacy"]
    objectives, started = read_objectives(config["objectives"]), ledger.find("started") or {}
    budget = Budget(epsilon=p["epsilons"][0], delta=p["delta"]) if p else None
    privacy = Ledger(budget, path=folder / "privacy.jsonl")
    trials = read_trials(ledger)
    return StudyRecord(
        name=config["name"],
        folder=folder,
        config=config,
        objectives=objectives,
        trials=trials,
        failed=tuple(
            Failed(number=event["trial"], stage=event["stage"], cause=event["cause"])
            for event in ledger.all("failed")
        ),
        baselines=_baselines(ledger),
        epsilon=privacy.epsilon(),
        delta=budget.delta if budget else None,
        privacy=privacy.describe(),
        protocol=started.get("protocol", ""),
        **_examined(config, ledger),
        confirmations=_confirmations(ledger),
        stopped={event["rung"]: event["why"] for event in ledger.stops},
        complete=ledger.finished,
        **standing(trials, objectives, started.get("frame"), seed=config["seed"]),
    )


def rung_to_json(rung: Rung) -> dict[str, float]:
    """JSON form of a rung."""
    return {"index": rung.index, "epsilon": rung.epsilon, "sigma": rung.sigma}


def read_trials(ledger: StudyLedger) -> tuple[Trial, ...]:
    """All finished trials by number."""
    started = ledger.find("started") or {"rungs": []}
    rungs = [Rung(**rung) for rung in started["rungs"]]
    asked = {row["number"]: row for event in ledger.all("asked") for row in event["trials"]}
    condensed = {event["trial"]: event for event in ledger.all("condensed")}
    reports = {e["trial"]: scores_from_json(e["scores"]) for e in ledger.all("reported")}
    trials = []
    for event in sorted(ledger.all("scored"), key=lambda e: e["trial"]):
        number = event["trial"]
        row, made = asked[number], condensed[number]
        trials.append(
            Trial(
                number=number,
                kind=row["kind"],
                point=row["point"],
                weights=row["weights"],
                rung=rungs[row["rung"]] if rungs else None,
                epsilon=math.inf if event["epsilon"] is None else event["epsilon"],
                scores=scores_from_json(event["scores"], event.get("replicates")),
                report=reports.get(number),
                losses=made["losses"],
                set_path=set_path(trial_name(number)),
                seconds=event["seconds"] + made["seconds"],
            )
        )
    return tuple(trials)


def _baselines(ledger: StudyLedger) -> tuple[Baseline, ...]:
    return tuple(
        Baseline(
            name=event["name"],
            scores=scores_from_json(event["scores"]),
            report=scores_from_json(event["report"]) if event["report"] else None,
        )
        for event in ledger.all("baseline")
    )


def _confirmations(ledger: StudyLedger) -> dict[int, Confirmation]:
    plain, hardened = (
        {
            event["trial"]: Confirmation(
                suite=event["suite"],
                attacks=tuple(event["attacks"]),
                scores=scores_from_json(event["scores"]),
                records=event["records"],
                networks=event["networks"],
                training_attack=event.get("training_attack", ""),
                masking=_masking(event) if event.get("checks") else None,
            )
            for event in ledger.all(kind)
        }
        for kind in ("confirmed", "hardened")
    )
    return {trial: replace(one, hardened=hardened.get(trial)) for trial, one in plain.items()}


def _examined(config: Mapping[str, Any], ledger: StudyLedger) -> dict[str, Any]:
    """Masking checks and robustness curves."""
    events = ledger.all("examined")
    return {
        "masking": tuple(_masking(event) for event in events if event["trial"] is not None),
        "curves": tuple(_curve(event) for event in events),
        "unexamined": "" if events else _unexamined(config, ledger),
    }


def _masking(event: Mapping[str, Any]) -> MaskingChecks:
    return MaskingChecks(
        trial=event["trial"],
        checks=tuple((name, ok, words) for name, ok, words in event["checks"]),
        transfer=event.get("transfer", ""),
    )


def _curve(event: Mapping[str, Any]) -> RobustnessCurve:
    curve = event["curve"]
    return RobustnessCurve(
        name=event["name"],
        eps=tuple(curve["eps"]),
        errors=tuple(Estimate(mean=mean, se=se) for mean, se in curve["errors"]),
        attacks=tuple(curve["attacks"]),
        records=curve["records"],
        networks=curve["networks"],
    )


def _unexamined(config: Mapping[str, Any], ledger: StudyLedger) -> str:
    data, paid = config["data"], (config["privacy"] or {}).get("scoring")
    if config["privacy"] and "test" not in data["public"] and not data["public_source"]:
        how = " and their scores are paid for" if paid else ""
        return f"the held-out records are private{how}, so that none may be shown to an attack"
    if config["evaluate"]["report_replicates"] == 0:
        return "the study measures nothing on test records (report_replicates = 0)"
    if not ledger.finished:
        return "they come at the end of the study"
    return "no set was examined"
