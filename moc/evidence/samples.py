"""Samples: batches of T itself, for open studies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from moc.data.real import as_unit
from moc.data.synthetic import balanced_index, one_hot
from moc.evidence.batches import AttackedBatch, Batches
from moc.evidence.ledger import Access

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from moc.bank import Members
    from moc.evidence.ledger import Ledger


class Samples(Batches):
    """Batches of T and a fresh network in every step; for studies without a budget only."""

    epsilons = ()

    def __init__(
        self,
        ledger: Ledger,
        *,
        bank: Members,
        attacked: AttackedBatch,
        batch: int = 256,
        seed: int = 0,
        data: str = "train",
    ) -> None:
        """Read T as it is; the ledger notes it and refuses if there is a budget."""
        purpose = "batches for condensation and for the training of teachers and other networks"
        records = ledger.read(Access(key="samples", data=data, purpose=purpose, kind="open"))
        super().__init__(bank=bank, attacked=attacked, batch=batch, seed=seed)
        self._x, self._y = records.x, records.y

    def start(self, y: Tensor, *, seed: int, rung: int) -> Tensor:
        """See `Evidence`; real records, the same for every set with this seed."""
        del rung
        return as_unit(self._x[balanced_index(self._y, y, self.info.classes, seed=seed)])

    def shown(self, step: int, size: int, rungs: Sequence[int]) -> tuple[Tensor, Tensor]:
        """See `Batches`; the same records for every set."""
        del rungs
        x, labels = self.batch(step, size)
        return x.unsqueeze(0), labels

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Records (size, *shape) in [0, 1] with one-hot labels, drawn with public seed `step`."""
        generator = torch.Generator().manual_seed(step)
        index = torch.randint(len(self._y), (size,), generator=generator)
        x = as_unit(self._x[index])
        labels = one_hot(self._y[index], len(self.info.classes))
        return x.to(self.device), labels.to(self.device)
