"""Reference records: what baselines are selected from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moc.data.real import as_unit
from moc.evidence.ledger import Access

if TYPE_CHECKING:
    from torch import Tensor

    from moc.evidence.ledger import Ledger


def reference_records(ledger: Ledger, data: str) -> tuple[Tensor, Tensor]:
    """Records (n, *shape) float32 in [0, 1] and labels (n,), for baselines of real images.

    In a study with a budget the ledger refuses this unless the records were declared public.
    """
    public = ledger.is_public(data)
    access = Access(
        key=f"baselines/{data}",
        data=data,
        purpose="real images for baselines",
        kind="public" if public else "open",
    )
    records = ledger.read(access)
    return as_unit(records.x), records.y
