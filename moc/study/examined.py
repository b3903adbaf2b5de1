"""Masking checks and robustness curves as events of the study ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moc.evaluate.scores import Estimate
from moc.study.records import Curve, MaskingChecks

if TYPE_CHECKING:
    from moc.study.ledger import StudyLedger


def curve_to_json(curve: Curve) -> dict[str, Any]:
    """JSON form of a curve, without its name."""
    return {
        "eps": curve.eps,
        "errors": [[error.mean, error.se] for error in curve.errors],
        "attacks": curve.attacks,
        "records": curve.records,
        "networks": curve.networks,
    }


def read_examined(config: dict[str, Any], ledger: StudyLedger) -> dict[str, Any]:
    """Masking checks and curves. Older studies have one event `masking`, of one set."""
    events = ledger.all("examined")
    checked = {event["trial"]: event for event in [*ledger.all("masking"), *events]}
    return {
        "masking": tuple(
            MaskingChecks(
                trial=number,
                checks=tuple((name, ok, words) for name, ok, words in event["checks"]),
                transfer=event.get("transfer", ""),
            )
            for number, event in checked.items()
            if number is not None
        ),
        "curves": tuple(_curve(event) for event in events),
        "unexamined": "" if checked else _unexamined(config, ledger),
    }


def _curve(event: dict[str, Any]) -> Curve:
    curve = event["curve"]
    return Curve(
        name=event["name"],
        eps=tuple(curve["eps"]),
        errors=tuple(Estimate(mean=mean, se=se) for mean, se in curve["errors"]),
        attacks=tuple(curve["attacks"]),
        records=curve["records"],
        networks=curve["networks"],
    )


def _unexamined(config: dict[str, Any], ledger: StudyLedger) -> str:
    if config["privacy"] and config["privacy"].get("scoring"):
        return (
            "the held-out records are private and their scores are paid for, so that none may be "
            "shown to an attack"
        )
    if config["evaluate"]["report_replicates"] == 0:
        return "the study measures nothing on test records (report_replicates = 0)"
    if ledger.find("finished") is None:
        return "they come at the end of the study"
    return "an earlier version of moc, without them, ran the study"
