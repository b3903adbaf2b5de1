"""The audit that a study file asks for: its own networks, statistics, ladder and noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from moc.audit.finding import Finding
from moc.audit.release import audit_round
from moc.errors import StudyError
from moc.privacy.accountant import Gaussian, epsilon
from moc.privacy.ledger import Ledger
from moc.study.config import StudyConfig
from moc.study.context import StudyContext, budget_of
from moc.study.division import parts_of
from moc.study.reporter import Silent
from moc.study.rounds import collection_of


def audit_config(config: StudyConfig) -> list[Finding]:
    """Audit what this study would draw from T; no record takes part, and nothing is spent.

    A study of several rounds has each audited against its own share of the budget, and all that it
    draws against the whole.

    Raises:
        StudyError: If the study is open: it claims nothing that could be audited.
    """
    if config.privacy is None:
        raise StudyError(
            "An open study claims no privacy, so there is nothing to audit. A private study has a "
            "[privacy] table, as in studies/digits.toml."
        )
    ledger = Ledger(budget_of(config))
    ledger.own("train", parts_of(config)["train"])
    context = StudyContext(config, ledger, folder=Path(), reporter=Silent())
    findings = [_total(context)]
    for number, one in enumerate(config.rounds):
        ladder = config.privacy.ladder.part(one.share)
        found = audit_round(collection_of(context, number), ladder, config.privacy.tier)
        title = f"round {number}: " if len(config.rounds) > 1 else ""
        findings += [replace(finding, name=f"{title}{finding.name}") for finding in found]
    return findings


def _total(context: StudyContext) -> Finding:
    """Whether all that the study will draw, scores beside the release, is within its budget."""
    config, privacy = context.config, context.config.privacy
    assert privacy is not None
    ladders = [privacy.ladder.part(one.share).multipliers for one in config.rounds]
    drawn = [Gaussian(noise_multiplier=ladder[0]) for ladder in ladders]
    if planned := context.planned_scores:
        drawn.append(Gaussian(noise_multiplier=privacy.score_noise(planned), count=planned))
    spent, budget = epsilon(drawn, delta=privacy.delta), privacy.epsilons[0]
    beside = f" and {planned} paid scores" if planned else ""
    return Finding(
        name="budget",
        passed=spent <= budget * (1 + 1e-9),
        details=(
            f"{len(ladders)} round(s) of the release{beside} cost epsilon {spent:.4g} together, of "
            f"{budget:g} at delta {privacy.delta:g}"
        ),
        values={"epsilon": spent, "claimed_epsilon": budget},
    )
