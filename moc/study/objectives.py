"""The objectives of a study, from its file and its evidence, and the teachers that they ask."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moc.condense.proxy import Proxies
from moc.condense.teacher import train_teachers
from moc.discrepancies import (
    Adversarial,
    CurvatureRisk,
    Generalization,
    Objective,
    PrivacyBudget,
    TeacherAgreement,
    make_discrepancy,
)
from moc.evidence.batches import Batches
from moc.evidence.samples import Samples
from moc.networks import Ensembles
from moc.study.evidence import proxies_of, teacher_settings
from moc.study.releases import device_of, ladder_of, threat_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moc.condense.teacher import BatchSource
    from moc.evidence.moments import Moments
    from moc.networks import Network
    from moc.study.config import StudyConfig
    from moc.study.reporter import Reporter


def make_objectives(
    config: StudyConfig,
    evidence: Batches | Moments,
    reporter: Reporter,
    trained: Sequence[Network] = (),
) -> tuple[Objective, ...]:
    """Generalization, adversarial and privacy budget; trains robust teachers where they are used.

    Args:
        config: The study file.
        evidence: What condensation sees.
        reporter: Told of the training.
        trained: Teachers that were trained on T itself, for every rung; none to train them here.
    """
    discrepancy = make_discrepancy(config.objectives.generalization, ridge=config.objectives.ridge)
    if config.objectives.adversarial == "teacher":
        adversarial = TeacherAgreement(_teachers(config, evidence, reporter, trained))
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


def taught(
    config: StudyConfig,
    evidence: Batches | Moments,
    reporter: Reporter,
    trained: Sequence[Network] = (),
) -> Batches | Moments:
    """The evidence with the targets of attacked records that a study asks for."""
    if config.objectives.targets == "labels" or not isinstance(evidence, Batches):
        return evidence
    return evidence.taught(_teachers(config, evidence, reporter, trained))


def _budget(config: StudyConfig) -> PrivacyBudget:
    if config.privacy is None:
        return PrivacyBudget((), delta=1e-5)
    ladder = ladder_of(config)
    return PrivacyBudget(ladder.multipliers(), delta=ladder.delta, beside=ladder.beside)


def _teachers(
    config: StudyConfig,
    evidence: Batches | Moments,
    reporter: Reporter,
    trained: Sequence[Network],
) -> Ensembles:
    """Teachers for every rung: those `trained` on T, or trained here on what its readers may see.

    That is samples of T in an open study, and the proxy of each rung in a private one.
    """
    if trained:
        return Ensembles([trained])
    if isinstance(evidence, Samples):
        return Ensembles(_train(config, [evidence], reporter))
    if isinstance(evidence, Proxies):
        return Ensembles(_train(config, evidence.proxies, reporter))
    assert not isinstance(evidence, Batches)
    return Ensembles(_train(config, proxies_of(config, evidence, reporter), reporter))


def _train(
    config: StudyConfig, sources: Sequence[BatchSource], reporter: Reporter
) -> list[list[Network]]:
    """Networks trained on each source, adversarially unless the study says otherwise."""
    t, teachers = config.teacher, []
    threat = threat_of(config) if t.adversarial else replace(threat_of(config), eps=0.0)
    settings = teacher_settings(config, network=t.network, count=t.count, steps=t.steps)
    for number, source in enumerate(sources, start=1):
        with reporter.stage(f"robust teacher {number} of {len(sources)}") as progress:
            teachers.append(
                train_teachers(
                    source, settings=settings, threat=threat, seed=config.seed, progress=progress
                )
            )
    return teachers
