"""Samples: batches of T itself, for open studies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor
from typing_extensions import override

from moc.data.synthetic import balanced_index, one_hot
from moc.data.vault import as_unit
from moc.evidence.records import RecordEvidence
from moc.networks.bank import Bank
from moc.privacy.access import Access
from moc.privacy.ledger import Ledger

_PURPOSE = "batches for condensation and for the training of teachers and other networks"


class Samples(RecordEvidence):
    """Batches of T and a fresh network in every step; for studies without a budget only."""

    rungs = ()

    def __init__(
        self, ledger: Ledger, *, bank: Bank, batch: int = 256, seed: int = 0, data: str = "train"
    ) -> None:
        """Read T as it is; the ledger notes it and refuses if there is a budget."""
        records = ledger.read(Access(key="samples", data=data, purpose=_PURPOSE, kind="open"))
        super().__init__(bank=bank, batch=batch, seed=seed)
        self._x, self._y = resident(records.x, self.device), records.y
        self._labels = self._y.to(self._x.device)

    @override
    def start(self, y: Tensor, *, seed: int, rung: int) -> Tensor:
        index = balanced_index(self._y, y, self.info.classes, seed=seed)
        return as_unit(self._x[index.to(self._x.device)]).cpu()

    @override
    def shown(self, step: int, size: int, rungs: Sequence[int]) -> tuple[Tensor, Tensor]:
        x, labels = self.batch(step, size)
        return x.unsqueeze(0), labels

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Records (size, *shape) in [0, 1] with one-hot labels, drawn with public seed `step`."""
        generator = torch.Generator().manual_seed(step)
        index = torch.randint(len(self._y), (size,), generator=generator)
        index = index.to(self._x.device, non_blocking=True)
        x, y = self._x[index].to(self.device), self._labels[index].to(self.device)
        return as_unit(x), one_hot(y, len(self.info.classes))

    @override
    def source(self, rung: int) -> Self:
        return self


def resident(x: Tensor, device: str) -> Tensor:
    """The records as they are stored, on the device if half of its free memory holds them.

    Indexed there, a batch costs a kernel; else it is copied in every step.
    """
    if torch.device(device).type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if x.nbytes > free // 2:
            return x
    return x.to(device)
