"""The objectives of a study, from its file and its evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moc.condense.pretrained import pretrain
from moc.condense.proxy import make_proxies
from moc.condense.teacher import TeacherSettings, train_teachers
from moc.discrepancies import (
    Adversarial,
    CurvatureRisk,
    Generalization,
    Objective,
    PrivacyBudget,
    TeacherAgreement,
    make_discrepancy,
)
from moc.evidence.samples import Samples
from moc.networks import NetworkSpec
from moc.study.releases import bank_of, device_of, ladder_of, threat_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moc.condense.loop import CondenseSettings
    from moc.condense.teacher import BatchSource
    from moc.evidence.moments import Moments
    from moc.networks import Network
    from moc.study.config import StudyConfig
    from moc.study.reporter import Reporter


def make_objectives(
    config: StudyConfig,
    evidence: Samples | Moments,
    settings: CondenseSettings,
    reporter: Reporter,
    teachers: Sequence[Network] = (),
) -> tuple[Objective, ...]:
    """Generalization, adversarial and privacy budget; trains robust teachers where they are used.

    Args:
        config: The study file.
        evidence: What condensation sees.
        settings: Of condensation, for the proxies that teachers of a private study are trained on.
        reporter: Told of the training.
        teachers: Those that were trained on T itself, for every rung; none to train them here.
    """
    discrepancy = make_discrepancy(config.objectives.generalization, ridge=config.objectives.ridge)
    if teachers:
        adversarial = TeacherAgreement([teachers])
    elif config.objectives.adversarial == "teacher":
        adversarial = _teacher_agreement(config, evidence, settings, reporter)
    elif config.objectives.adversarial == "curvature":
        adversarial = CurvatureRisk(
            discrepancy,
            threat=threat_of(config),
            weight=config.objectives.curvature,
            records=config.objectives.attacked,
        )
    else:
        adversarial = Adversarial(discrepancy)
    return Generalization(discrepancy), adversarial, _budget(config).to(device_of(config))


def _budget(config: StudyConfig) -> PrivacyBudget:
    if config.privacy is None:
        return PrivacyBudget((), delta=1e-5)
    ladder = ladder_of(config)
    return PrivacyBudget(ladder.multipliers(), delta=ladder.delta, beside=ladder.beside)


def pretrained(config: StudyConfig, samples: Samples, reporter: Reporter) -> Samples:
    """Samples under the bank that an open study asks for: random networks, or trained ones."""
    b = config.bank
    if b.pretrained == "none":
        return samples
    threat = threat_of(config)
    with reporter.stage(f"{b.count} networks of the bank, {b.pretrained} training") as progress:
        bank = pretrain(
            bank_of(config, samples.info),
            samples,
            settings=_taught(config, network=b.networks[0], count=b.count, steps=b.steps),
            stages=b.stages,
            threat=threat if b.pretrained == "adversarial" else replace(threat, eps=0.0),
            progress=progress,
        )
    return samples.under(bank)


def taught(config: StudyConfig, samples: Samples, reporter: Reporter) -> Samples:
    """Samples whose attacked records have the targets that an open study asks for."""
    if config.objectives.targets == "labels":
        return samples
    return samples.taught(_teachers(config, [samples], reporter)[0])


def _taught(config: StudyConfig, *, network: str, count: int, steps: int) -> TeacherSettings:
    return TeacherSettings(
        network=NetworkSpec.parse(network),
        count=count,
        steps=steps,
        batch=config.teacher.batch,
        lr=config.teacher.lr,
        attack_steps=config.objectives.attack_steps,
    )


def _teacher_agreement(
    config: StudyConfig, evidence: Samples | Moments, settings: CondenseSettings, reporter: Reporter
) -> TeacherAgreement:
    t = config.teacher
    if isinstance(evidence, Samples):
        return TeacherAgreement(_teachers(config, [evidence], reporter))
    with reporter.stage("a proxy from the release, for every rung") as progress:
        proxies = make_proxies(
            evidence,
            per_class=t.proxy_per_class,
            settings=replace(settings, steps=t.proxy_steps),
            seed=config.seed,
            progress=progress,
        )
    return TeacherAgreement(_teachers(config, proxies, reporter))


def _teachers(
    config: StudyConfig, sources: Sequence[BatchSource], reporter: Reporter
) -> list[list[Network]]:
    """Networks trained adversarially on each source."""
    t, teachers = config.teacher, []
    threat = threat_of(config) if t.adversarial else replace(threat_of(config), eps=0.0)
    for number, source in enumerate(sources, start=1):
        with reporter.stage(f"robust teacher {number} of {len(sources)}") as progress:
            trained = train_teachers(
                source,
                settings=_taught(config, network=t.network, count=t.count, steps=t.steps),
                threat=threat,
                seed=config.seed,
                progress=progress,
            )
            teachers.append(trained)
    return teachers
