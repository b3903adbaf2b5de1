"""The audit that a study file asks for: its own networks, ladder and noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moc.errors import StudyError
from moc.evidence.audit import audit_study
from moc.study.setup import declared_info, ladder_of, statistics_of

if TYPE_CHECKING:
    from moc.evidence.audit import BankReport
    from moc.evidence.gaussian_audit import AuditReport
    from moc.study.config import StudyConfig


def audit_config(config: StudyConfig) -> tuple[AuditReport | BankReport, ...]:
    """Audit the release that this study would draw; no record takes part, and nothing is spent.

    Raises:
        StudyError: If the study is open: it claims nothing that could be audited.
    """
    if config.privacy is None:
        raise StudyError(
            "An open study claims no privacy, so there is nothing to audit. A private study has a "
            "[privacy] table, as in studies/digits.toml."
        )
    statistics = statistics_of(config, declared_info(config))
    return audit_study(statistics, ladder_of(config), config.privacy.tier)
