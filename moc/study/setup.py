"""From a study file to evidence, objectives and held-out records."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moc.data.sources import load
from moc.errors import DataError
from moc.evidence.held_out import HeldOut
from moc.evidence.ledger import Budget, Ledger
from moc.evidence.reference import reference_records
from moc.study.evidence import condense_settings, evidence_of
from moc.study.objectives import make_objectives, taught
from moc.study.releases import draw_teachers, ladder_of

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from moc.condense.loop import CondenseSettings
    from moc.data.real import DataInfo, RealData
    from moc.discrepancies import Objective
    from moc.evidence.base import Evidence
    from moc.study.config import StudyConfig
    from moc.study.reporter import Reporter


@dataclass(frozen=True, kw_only=True)
class Materials:
    """All that a study works with once T has been read.

    Attributes:
        ledger: The owner of T.
        evidence: What condensation sees.
        objectives: Generalization, adversarial, privacy budget.
        settings: Of condensation.
        validation: Records that the search is steered by.
        test: Records that the finished front is measured on, once; None where that is not paid for.
        reference: Records and labels that baselines are selected from; None for no baselines.
    """

    ledger: Ledger
    evidence: Evidence
    objectives: tuple[Objective, ...]
    settings: CondenseSettings
    validation: HeldOut
    test: HeldOut | None
    reference: tuple[Tensor, Tensor] | None


def rungs_of(config: StudyConfig) -> int:
    """Number of rungs; an open study has one."""
    return len(config.privacy.epsilons) if config.privacy else 1


def planned_trials(config: StudyConfig) -> int:
    """Anchors (each discrepancy alone, on every rung) and the search's own trials."""
    return 2 * rungs_of(config) + config.search.trials


def declared_info(config: StudyConfig) -> DataInfo:
    """What is declared public about the records that a study condenses."""
    return sealed_records(config).info


def sealed_records(config: StudyConfig) -> RealData:
    """T, as a study hands it to its ledger."""
    return _parts(config)["train"]


def budget_of(config: StudyConfig) -> Budget | None:
    """What a study may spend; None if it is open."""
    p = config.privacy
    return Budget(epsilon=p.epsilons[0], delta=p.delta) if p else None


def prepare(config: StudyConfig, folder: Path, reporter: Reporter) -> Materials:
    """Load T, hand it to the ledger, draw (or read back) the release, make the objectives."""
    ledger = _own(config, folder)
    seen = evidence_of(config, ledger, folder, reporter)
    trained = draw_teachers(config, ledger, folder, reporter)
    evidence = taught(config, seen, reporter, trained)
    return Materials(
        ledger=ledger,
        evidence=evidence,
        objectives=make_objectives(config, evidence, reporter, trained),
        settings=condense_settings(config),
        validation=_validation(config, ledger),
        test=None if config.privacy_pays_for_scores else HeldOut(ledger, "test"),
        reference=_reference(config, ledger),
    )


def _own(config: StudyConfig, folder: Path) -> Ledger:
    """Split T and hand every part to the ledger."""
    parts = _parts(config)
    p = config.privacy
    ledger = Ledger(budget_of(config), path=folder / "privacy.jsonl")
    declared = p is not None and p.scoring == 0
    ledger.own("train", parts["train"])
    ledger.own("validation", parts["validation"], public=declared)
    ledger.own("test", parts["test"], public=declared)
    if "reference" in parts:
        ledger.own("reference", parts["reference"], public=p is not None)
    return ledger


def _parts(config: StudyConfig) -> dict[str, RealData]:
    d = config.data
    whole = load(d.source, path=d.path, part="train")
    separate = None if d.source in ("digits", "folder") else _test_part(config)
    sizes = {"reference": d.reference, "validation": d.validation}
    if separate is None:
        sizes["test"] = d.test
    left = max(len(whole) - sum(sizes.values()), 1)
    sizes = {"train": d.train or left, **{name: size for name, size in sizes.items() if size}}
    parts = dict(zip(sizes, whole.split(list(sizes.values()), seed=config.seed), strict=True))
    if separate is not None:
        parts["test"] = separate.split([d.test], seed=config.seed)[0]
    return parts


def _test_part(config: StudyConfig) -> RealData | None:
    """The source's own test records; None where it has none and the split has to give them."""
    try:
        return load(config.data.source, path=config.data.path, part="test")
    except DataError:
        if config.data.source == "npz":
            return None
        raise


def _validation(config: StudyConfig, ledger: Ledger) -> HeldOut:
    if config.privacy is None or not config.privacy_pays_for_scores:
        return HeldOut(ledger, "validation")
    # `planned` uses at noise multiplier z take planned / z² = share / σ² of the whole.
    sigma = replace(ladder_of(config), share=1.0).multipliers()[0]
    # Two to spare: a kill between publishing a score and noting it uses that score up.
    planned = planned_trials(config) + 2
    multiplier = sigma * math.sqrt(planned / config.privacy.scoring)
    return HeldOut(ledger, "validation", planned=planned, noise_multiplier=multiplier)


def _reference(config: StudyConfig, ledger: Ledger) -> tuple[Tensor, Tensor] | None:
    if config.data.reference:
        return reference_records(ledger, "reference")
    return None if config.privacy else reference_records(ledger, "train")
