"""The end of a study: baselines, the front measured again on test records, and a closer look."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moc.data.storage import save_set
from moc.data.synthetic import AS_STORED
from moc.evaluate import BASELINES, DECODED, select
from moc.study.examined import curve_to_json
from moc.study.folder import read_study, scores_to_json
from moc.study.records import set_path, trial_name
from moc.study.transfer import train_transfer

if TYPE_CHECKING:
    from pathlib import Path

    from moc.study.config import StudyConfig
    from moc.study.ledger import StudyLedger
    from moc.study.reporter import Reporter
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
    info, per_class = materials.evidence.info, config.condense.per_class
    decoders = dict.fromkeys(BASELINES, AS_STORED)
    if not config.condense.decoder.is_trivial:
        decoders[DECODED] = config.condense.decoder
    names = [name for name in decoders if ledger.find("baseline", name=name) is None]
    for name in names:
        chosen = select(
            name, x, y, info, per_class=per_class, seed=config.seed, decoder=decoders[name]
        )
        save_set(chosen, folder / set_path(name))
    reports = {
        name: scores_to_json(scores)
        for name, scores, _ in scorer.measure(names, "test", "testing baselines")
    }
    for name, scores, _ in scorer.measure(names, "validation", "scoring baselines"):
        ledger.append(
            "baseline", name=name, scores=scores_to_json(scores), report=reports.get(name)
        )


def examine_front(
    config: StudyConfig,
    folder: Path,
    ledger: StudyLedger,
    materials: Materials,
    scorer: Scorer,
    reporter: Reporter,
) -> None:
    """Masking checks of every set of the front, and robustness curves, of the baselines too."""
    study = read_study(folder)
    numbers = {trial_name(number): number for number in study.front}
    names = [*numbers, *(baseline.name for baseline in study.baselines)]
    missing = [name for name in names if ledger.find("examined", name=name) is None]
    if not missing or (shown := scorer.examined) is None:
        return
    transfer = None
    if numbers.keys() & set(missing):
        transfer = train_transfer(
            config, folder, materials, reporter, best=study.front[0], shown=shown
        )
    others = transfer.networks if transfer else ()
    for name, checks, curve in scorer.examine(missing, checked=numbers, transfer=others):
        ledger.append(
            "examined",
            name=name,
            trial=numbers.get(name),
            checks=[[check.name, check.passed, check.detail] for check in checks],
            transfer=transfer.words if transfer and name in numbers else "",
            curve=curve_to_json(curve),
        )


def report_front(folder: Path, ledger: StudyLedger, scorer: Scorer) -> None:
    """Measure every trial of the front once more: fresh networks, test records."""
    study = read_study(folder)
    missing = {
        trial_name(number): number
        for number in study.front
        if ledger.find("reported", trial=number) is None
    }
    for name, measured, _ in scorer.measure(list(missing), "test", "testing the front"):
        epsilon = study.trial(missing[name]).scores.epsilon
        scores = replace(measured, epsilon=epsilon)
        ledger.append("reported", trial=missing[name], scores=scores_to_json(scores))
