"""The audit of a release: its networks, how it is handled, then every rung of it."""

from __future__ import annotations

from moc.audit.finding import Finding
from moc.audit.gaussian import audit_release
from moc.audit.release_checks import audit_handling, audit_isolation
from moc.privacy.collect import Collection
from moc.privacy.ladder import Ladder
from moc.privacy.noise import Tier


def audit_round(collection: Collection, ladder: Ladder, tier: Tier) -> list[Finding]:
    """Examine one round of a release, without reading T.

    Args:
        collection: What the round sums.
        ladder: The rungs, with the round's share.
        tier: How the study draws noise.
    """
    return [
        audit_isolation(collection),
        audit_handling(collection, ladder, tier),
        *audit_release(collection, ladder, tier=tier),
    ]
