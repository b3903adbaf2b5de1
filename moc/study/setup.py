"""From a study file to evidence, objectives and held-out records."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from moc.attacks import Attack, Threat
from moc.bank import Bank
from moc.condense.loop import CondenseSettings
from moc.condense.proxy import make_proxies
from moc.condense.scalarise import make_scalariser
from moc.condense.teacher import TeacherSettings, train_teachers
from moc.data.augment import Augmentation
from moc.data.sources import load
from moc.discrepancies import (
    Adversarial,
    Generalization,
    Objective,
    PrivacyBudget,
    TeacherAgreement,
    make_discrepancy,
)
from moc.errors import DataError, StudyError
from moc.evidence.held_out import HeldOut
from moc.evidence.ledger import Budget, Ledger
from moc.evidence.moments import Moments
from moc.evidence.reference import reference_records
from moc.evidence.release import Ladder, draw
from moc.evidence.samples import AttackedBatch, Samples
from moc.evidence.statistics import Statistics
from moc.networks import NetworkSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from moc.condense.teacher import BatchSource
    from moc.data.real import DataInfo, RealData
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


def device_of(config: StudyConfig) -> str:
    """The device to condense on: `auto` takes a GPU where there is one."""
    if config.device != "auto":
        return config.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def rungs_of(config: StudyConfig) -> int:
    """Number of rungs; an open study has one."""
    return len(config.privacy.epsilons) if config.privacy else 1


def planned_trials(config: StudyConfig) -> int:
    """Anchors (each discrepancy alone, on every rung) and the search's own trials."""
    return 2 * rungs_of(config) + config.search.trials


def statistics_of(config: StudyConfig, info: DataInfo) -> Statistics:
    """What a private study sums; all of it fixed before T is read."""
    if config.privacy is None:
        raise StudyError("An open study releases nothing: its file has no [privacy] table.")
    return Statistics(
        bank=bank_of(config, info),
        networks=config.privacy.networks,
        mean=1.0 - config.privacy.second,
        second=config.privacy.second,
    )


def ladder_of(config: StudyConfig) -> Ladder:
    """The rungs of a private study, less what scoring takes."""
    if config.privacy is None:
        raise StudyError("An open study has no ladder: its file has no [privacy] table.")
    p = config.privacy
    return Ladder(epsilons=p.epsilons, delta=p.delta, share=1.0 - p.scoring)


def declared_info(config: StudyConfig) -> DataInfo:
    """What is declared public about the records that a study condenses."""
    return _parts(config)["train"].info


def bank_of(config: StudyConfig, info: DataInfo) -> Bank:
    """The public networks."""
    return Bank(
        info=info,
        specs=tuple(NetworkSpec.parse(name) for name in config.bank.networks),
        seed=config.seed,
        augmentation=Augmentation.dsa(info.mirrored) if config.bank.augmentation else None,
        width=config.privacy.width if config.privacy else None,
        device=device_of(config),
    )


def prepare(config: StudyConfig, folder: Path, reporter: Reporter) -> Materials:
    """Load T, hand it to the ledger, draw (or read back) the release, make the objectives."""
    ledger = _own(config, folder)
    settings = _condense_settings(config)
    evidence: Samples | Moments
    if config.privacy is None:
        evidence = _samples(config, ledger)
    else:
        evidence = _moments(config, ledger, folder, reporter)
    generalization = make_discrepancy(
        config.objectives.generalization, ridge=config.objectives.ridge
    )
    adversarial = (
        Adversarial(generalization)
        if config.objectives.adversarial == "attack"
        else _teacher_agreement(config, evidence, settings, reporter)
    )
    multipliers = ladder_of(config).multipliers() if config.privacy else ()
    delta = config.privacy.delta if config.privacy else 1e-5
    budget = PrivacyBudget(multipliers, delta=delta).to(device_of(config))
    return Materials(
        ledger=ledger,
        evidence=evidence,
        objectives=(Generalization(generalization), adversarial, budget),
        settings=settings,
        validation=_validation(config, ledger),
        test=None if config.privacy_pays_for_scores else HeldOut(ledger, "test"),
        reference=_reference(config, ledger),
    )


def _own(config: StudyConfig, folder: Path) -> Ledger:
    """Split T and hand every part to the ledger."""
    parts = _parts(config)
    p = config.privacy
    budget = Budget(epsilon=p.epsilons[0], delta=p.delta) if p else None
    ledger = Ledger(budget, path=folder / "privacy.jsonl")
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


def _condense_settings(config: StudyConfig) -> CondenseSettings:
    c = config.condense
    return CondenseSettings(
        per_class=c.per_class,
        steps=c.steps,
        warm=c.warm,
        networks=c.networks,
        lr=c.lr,
        labels=c.labels,
        factor=c.factor,
        scalariser=make_scalariser(c.scalariser),
    )


def _samples(config: StudyConfig, ledger: Ledger) -> Samples:
    o = config.objectives
    attacked = AttackedBatch(
        attack=Attack(name="pgd-margin", steps=o.attack_steps),
        threat=threat_of(config),
        batch=o.attacked,
    )
    bank = bank_of(config, ledger.info("train"))
    return Samples(ledger, bank=bank, attacked=attacked, batch=o.batch, seed=config.seed)


def _moments(config: StudyConfig, ledger: Ledger, folder: Path, reporter: Reporter) -> Moments:
    assert config.privacy is not None
    statistics = statistics_of(config, ledger.info("train"))
    with reporter.stage("one pass over the private records") as progress:
        rungs = draw(
            ledger,
            statistics,
            ladder_of(config),
            folder=folder / "release",
            tier=config.privacy.tier,
            progress=progress,
        )
    return Moments(statistics, rungs)


def _teacher_agreement(
    config: StudyConfig, evidence: Samples | Moments, settings: CondenseSettings, reporter: Reporter
) -> TeacherAgreement:
    t = config.teacher
    sources: Sequence[BatchSource]
    if isinstance(evidence, Samples):
        sources = [evidence]
    else:
        with reporter.stage("a proxy from the release, for every rung") as progress:
            sources = make_proxies(
                evidence,
                per_class=t.proxy_per_class,
                settings=replace(settings, steps=t.proxy_steps),
                seed=config.seed,
                progress=progress,
            )
    taught = TeacherSettings(
        network=NetworkSpec.parse(t.network),
        count=t.count,
        steps=t.steps,
        batch=t.batch,
        lr=t.lr,
        attack_steps=config.objectives.attack_steps,
    )
    teachers = []
    for number, source in enumerate(sources, start=1):
        with reporter.stage(f"robust teacher {number} of {len(sources)}") as progress:
            trained = train_teachers(
                source,
                settings=taught,
                threat=threat_of(config),
                seed=config.seed,
                progress=progress,
            )
            teachers.append(trained)
    return TeacherAgreement(teachers)


def threat_of(config: StudyConfig) -> Threat:
    """What robustness is measured against."""
    return Threat(norm=config.threat.norm, eps=config.threat.eps)


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
