"""The audit that a study file asks for: its own networks, attack, ladders and noise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moc.errors import StudyError
from moc.evidence.audit import audit_study, stand_in
from moc.evidence.training_audit import TrainingReport, audit_training
from moc.study.releases import attack_under_heads, rounds_of, statistics_of, training_of
from moc.study.setup import declared_info

if TYPE_CHECKING:
    from moc.evidence.audit import Report
    from moc.study.config import StudyConfig


def audit_config(config: StudyConfig) -> tuple[Report | TrainingReport, ...]:
    """Audit what this study would draw from T; no record takes part, and nothing is spent.

    A study of two rounds has both audited, each against its own share of the budget, the second
    with the study's attack under heads that public records of noise stand in for T to make. DP
    training of teachers is audited beside them.

    Raises:
        StudyError: If the study is open: it claims nothing that could be audited.
    """
    if config.privacy is None:
        raise StudyError(
            "An open study claims no privacy, so there is nothing to audit. A private study has a "
            "[privacy] table, as in studies/digits.toml."
        )
    info = declared_info(config)
    statistics = statistics_of(config, info)
    rounds, tier = rounds_of(config), config.privacy.tier
    reports: list[Report | TrainingReport] = []
    for key, ladder in rounds.items():
        attack = None
        if key == "release/attacked":
            attack = attack_under_heads(config, statistics, stand_in(statistics, ladder, tier))
        found = audit_study(statistics, ladder, tier, attack=attack)
        titled = len(rounds) > 1
        reports += [replace(r, name=f"{key}: {r.name}") if titled else r for r in found]
    if (training := training_of(config)) is not None:
        reports.append(audit_training(training, info, delta=config.privacy.delta))
    return tuple(reports)
