"""Evidence: the only stage that reads T, and what it gives to all others.

T belongs to a `Ledger`. Open studies read `Samples` of it; private ones `draw` a release once and
work on its `Moments`, and may `train_privately` besides. `HeldOut` scores on records that no set
was made from, `audit_study` attacks the release.
"""

from moc.evidence.access import ADJACENCY, UNIT, Access, Budget
from moc.evidence.accountant import ACCOUNTANT
from moc.evidence.audit import BankReport, audit_bank, audit_study
from moc.evidence.base import Evidence
from moc.evidence.batches import AttackedBatch, Batches
from moc.evidence.dp_training import PrivateTraining, train_privately
from moc.evidence.gaussian_audit import AuditReport, audit_release
from moc.evidence.heads import HeadsAttack, linear_heads
from moc.evidence.held_out import Counts, HeldOut, Rates
from moc.evidence.isolation import require_isolated
from moc.evidence.ledger import Ledger
from moc.evidence.membership import MembershipReport
from moc.evidence.moments import Moments
from moc.evidence.noise import Tier
from moc.evidence.reference import reference_records
from moc.evidence.release import Ladder, draw
from moc.evidence.rungs import Rung
from moc.evidence.samples import Samples
from moc.evidence.statistics import RecordAttack, Statistics
from moc.evidence.views import Target, View

__all__ = [
    "ACCOUNTANT",
    "ADJACENCY",
    "UNIT",
    "Access",
    "AttackedBatch",
    "AuditReport",
    "BankReport",
    "Batches",
    "Budget",
    "Counts",
    "Evidence",
    "HeadsAttack",
    "HeldOut",
    "Ladder",
    "Ledger",
    "MembershipReport",
    "Moments",
    "PrivateTraining",
    "Rates",
    "RecordAttack",
    "Rung",
    "Samples",
    "Statistics",
    "Target",
    "Tier",
    "View",
    "audit_bank",
    "audit_release",
    "audit_study",
    "draw",
    "linear_heads",
    "reference_records",
    "require_isolated",
    "train_privately",
]
