"""The audit of a study: its networks, its release, then every rung of it. Reads nothing of T.

An audit gives lower bounds. Passing proves nothing; failing proves a defect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moc.errors import PrivacyError
from moc.evidence.gaussian_audit import AuditReport, audit_release
from moc.evidence.handling import HandlingReport, audit_handling
from moc.evidence.isolation import largest_move, probes, require_isolated
from moc.evidence.release import noised
from moc.evidence.rungs import as_rungs
from moc.evidence.statistics import CLIP

if TYPE_CHECKING:
    from moc.evidence.noise import Tier
    from moc.evidence.release import Ladder
    from moc.evidence.rungs import Rung
    from moc.evidence.statistics import RecordAttack, Statistics


@dataclass(frozen=True, kw_only=True)
class BankReport:
    """What the study's own networks do with public records.

    Attributes:
        name: What was examined.
        moved: How far one record moved the sums at most, over the sensitivity that is claimed.
        fault: Why records are not kept apart; empty if they are.
    """

    name: str
    moved: float
    fault: str

    @property
    def passed(self) -> bool:
        """Whether records are kept apart and none moves the sums by more than is claimed."""
        return not self.fault and self.moved <= 1.0

    def words(self) -> str:
        """One line for a person."""
        verdict = "passed" if self.passed else "FAILED"
        apart = self.fault or "what a record adds is the same in any company, to the last bit"
        return (
            f"{self.name}: {verdict}; {apart}; one public record moved the sums by at most "
            f"{self.moved:.6f} of the sensitivity"
        )


Report = AuditReport | BankReport | HandlingReport


def audit_study(
    statistics: Statistics, ladder: Ladder, tier: Tier, *, attack: RecordAttack | None = None
) -> tuple[Report, ...]:
    """Examine a study's networks and its release, then audit every rung of it, without reading T.

    Args:
        statistics: The study's.
        ladder: The study's.
        tier: How the study draws noise.
        attack: The study's attack on records, if its release holds attacked ones.
    """
    return (
        audit_bank(statistics, attack=attack),
        audit_handling(statistics, ladder, tier),
        *audit_release(
            ladder,
            tier=tier,
            mean=statistics.mean,
            second=statistics.second,
            counts=statistics.counts,
        ),
    )


def audit_bank(statistics: Statistics, *, attack: RecordAttack | None = None) -> BankReport:
    """Whether networks (and attack) keep records apart, and how far one record moves the sums."""
    fault = ""
    try:
        require_isolated(statistics, attack)
    except PrivacyError as error:
        fault = str(error)
    public = probes(statistics.bank.info, 3)
    moved = largest_move(lambda part: statistics.sums(part, attack=attack).flat(), public)
    return BankReport(
        name=f"{statistics.networks} networks of the study",
        moved=moved / CLIP,
        fault=fault,
    )


def stand_in(statistics: Statistics, ladder: Ladder, tier: Tier) -> list[Rung]:
    """A release of public records of noise, for what an audit needs a release to make.

    Args:
        statistics: The study's.
        ladder: The rungs, with their noise.
        tier: How noise is drawn.
    """
    sums = statistics.sums(probes(statistics.bank.info, statistics.batch))
    return as_rungs(noised(sums, ladder, tier), ladder)
