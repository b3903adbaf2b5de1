"""Whether records are kept apart: checked by the machine that will do it, on public records.

The sensitivity of a sum is the clip only if what a record adds depends on nothing but this record.
Batch norm in training mode breaks that, and so might a statistic that is no sum, or a kernel that
rounds differently in another row. Each of them shows when public records change company and place.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from moc.data.declared import DataInfo
from moc.data.vault import Records
from moc.errors import PrivacyError
from moc.privacy.collect import Collection
from moc.privacy.sums import GRID, norm_of


def require_isolated(collection: Collection) -> None:
    """Refuse statistics in which one record touches what another one adds.

    Raises:
        PrivacyError: If a batch of public records does not add up, to the last bit, to its first
            record alone and the others, each one place further up.
    """
    records = probes(collection.bank.info, collection.batch)
    require_additive(lambda part: collection.sums(part).flat(), records)


def require_additive(sums: Callable[[Records], Tensor], records: Records) -> None:
    """Refuse sums (m,) in which one of `records`, which are public, touches what another one adds.

    Raises:
        PrivacyError: See `require_isolated`.
    """
    first, others = sums(_part(records, 0, 1)), sums(_part(records, 1, len(records.y)))
    if not torch.equal(sums(records), first + others):
        raise PrivacyError(
            "What a record adds to the sums depends on the other records or on its place among "
            "them, so no noise can hide it. Private studies need networks without batch norm, and "
            "statistics that treat each record by itself."
        )


def largest_move(sums: Callable[[Records], Tensor], records: Records) -> float:
    """How far one of `records`, which are public, moves sums (m,) in grid steps, in units of 1."""
    alone = (sums(_part(records, i, i + 1)) for i in range(len(records.y)))
    return max(norm_of(steps) for steps in alone) / GRID


def probes(info: DataInfo, count: int) -> Records:
    """Public records of noise: black first, then white, then noise; all classes in turn."""
    x = torch.rand(count, *info.shape, generator=torch.Generator().manual_seed(0))
    x[:1], x[1:2] = 0.0, 1.0
    return Records(x=x, y=torch.arange(count) % len(info.classes))


def _part(records: Records, start: int, stop: int) -> Records:
    return Records(x=records.x[start:stop], y=records.y[start:stop])
