"""Where sealed records live.

Only `moc.data.real` (which seals) and `moc.evidence` may import this module, and of the latter only
`moc.evidence.ledger` (which counts every access) unseals; `tests/test_architecture.py` says so.
Nothing else in moc can reach a record of T.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from torch import Tensor

    from moc.data.real import RealData


@dataclass(frozen=True, kw_only=True)
class Records:
    """The records: `x` (n, *shape), uint8 in 0..255 or float32 in [0, 1]; `y` (n,) int64."""

    x: Tensor
    y: Tensor


_VAULT: WeakKeyDictionary[RealData, Records] = WeakKeyDictionary()


def seal(data: RealData, records: Records) -> None:
    """Put records behind `data`. Each `RealData` is sealed once."""
    if data in _VAULT:
        raise RuntimeError("These records are sealed already.")
    _VAULT[data] = records


def unseal(data: RealData) -> Records:
    """Return the records behind `data`. The caller answers to the ledger for it."""
    return _VAULT[data]
