"""The end of a study: baselines, and the front measured again on test records."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moc.data.storage import save_set
from moc.evaluate import BASELINES, select
from moc.study.folder import read_study, scores_to_json

if TYPE_CHECKING:
    from pathlib import Path

    from moc.study.config import StudyConfig
    from moc.study.ledger import StudyLedger
    from moc.study.scorer import Scorer
    from moc.study.setup import Materials


def score_baselines(
    config: StudyConfig, folder: Path, ledger: StudyLedger, materials: Materials, scorer: Scorer
) -> None:
    """Score real images of the same budget by the same protocol, on the same records.

    They are chosen from T itself in an open study and from records declared public in a private
    one. A study that pays for scores has none: its held-out records are for trials only.
    """
    if materials.reference is None or config.privacy_pays_for_scores:
        return
    x, y = materials.reference
    names = [name for name in BASELINES if ledger.find("baseline", name=name) is None]
    per_class, seed = config.condense.per_class, config.seed
    for name in names:
        chosen = select(name, x, y, materials.evidence.info, per_class=per_class, seed=seed)
        save_set(chosen, folder / "sets" / f"{name}.safetensors")
    reports = {
        name: scores_to_json(scores)
        for name, scores, _ in scorer.measure(names, "test", "testing baselines")
    }
    for name, scores, _ in scorer.measure(names, "validation", "scoring baselines"):
        ledger.append(
            "baseline", name=name, scores=scores_to_json(scores), report=reports.get(name)
        )


def report_front(folder: Path, ledger: StudyLedger, scorer: Scorer) -> None:
    """Measure every trial of the front once more: fresh networks, test records."""
    study = read_study(folder)
    missing = {
        f"trial-{number:03d}": number
        for number in study.front
        if ledger.find("reported", trial=number) is None
    }
    for name, measured, _ in scorer.measure(list(missing), "test", "testing the front"):
        epsilon = study.trial(missing[name]).scores.epsilon
        scores = replace(measured, epsilon=epsilon)
        ledger.append("reported", trial=missing[name], scores=scores_to_json(scores))
