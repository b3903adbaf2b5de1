"""Samples: batches of T itself, for open studies."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from moc.attacks import Attack, Threat
from moc.data.real import as_unit
from moc.data.synthetic import one_hot
from moc.errors import DataError
from moc.evidence.base import Evidence
from moc.evidence.ledger import Access
from moc.evidence.views import FeatureTarget, View
from moc.networks import mean_prediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from moc.bank import Member, Members
    from moc.evidence.ledger import Ledger
    from moc.networks import Network


@dataclass(frozen=True, kw_only=True)
class AttackedBatch:
    """How an open view attacks.

    Attributes:
        attack: The attack on the current predictor, usually a few steps of PGD.
        threat: Norm and radius in pixel units.
        batch: How many records of the batch each set attacks.
        teachers: Networks whose mean prediction for a record as it is takes the place of its label
            once it has been attacked (robust distillation, RSLAD, arXiv 2108.07969); none keeps
            the labels.
    """

    attack: Attack
    threat: Threat
    batch: int
    teachers: tuple[Network, ...] = ()

    @torch.no_grad()
    def targets(self, x: Tensor, labels: Tensor) -> Tensor:
        """What a predictor should say (n, c) of records x (n, *shape) after the attack."""
        if not self.teachers:
            return labels
        return mean_prediction(self.teachers, x)


class Samples(Evidence):
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
        access = Access(key="samples", data=data, purpose="batches for condensation", kind="open")
        records = ledger.read(access)
        self.info, self.device = bank.info, bank.device
        self._x, self._y = records.x, records.y
        self.bank, self._attacked, self._batch, self._seed = bank, attacked, batch, seed

    def under(self, bank: Members) -> Samples:
        """The same batches under other networks."""
        other = copy.copy(self)
        other.bank = bank
        return other

    def taught(self, teachers: Sequence[Network]) -> Samples:
        """The same batches with the teachers' predictions as targets of attacked records."""
        other = copy.copy(self)
        other._attacked = replace(self._attacked, teachers=tuple(teachers))
        return other

    def start(self, y: Tensor, *, seed: int) -> Tensor:
        """See `Evidence`; real records, the same for every set with this seed."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self._y), generator=generator)
        index = torch.empty(len(y), dtype=torch.int64)
        for k in range(len(self.info.classes)):
            of_class = order[self._y[order] == k]
            wanted = int((y == k).sum())
            if len(of_class) < wanted:
                raise DataError(
                    f"Class {self.info.classes[k]!r} has {len(of_class)} records; {wanted} are "
                    "needed to start from. Ask for fewer images a class."
                )
            index[y == k] = of_class[:wanted]
        return as_unit(self._x[index])

    def view(self, step: int, rungs: Sequence[int], *, member: Member | None = None) -> SampleView:
        """See `Evidence`; a fresh network and a batch drawn with replacement."""
        x, labels = self.batch(self._seed * 1_000_003 + step, self._batch)
        return SampleView(
            member=member or self.bank.member(step),
            rungs=tuple(rungs),
            x=x,
            labels=labels,
            attacked_batch=self._attacked,
            seed=step,
        )

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Records (size, *shape) in [0, 1] with one-hot labels, drawn with public seed `step`."""
        generator = torch.Generator().manual_seed(step)
        index = torch.randint(len(self._y), (size,), generator=generator)
        x = as_unit(self._x[index])
        labels = one_hot(self._y[index], len(self.info.classes))
        return x.to(self.device), labels.to(self.device)


@dataclass(frozen=True, kw_only=True)
class SampleView(View):
    """A batch of records x (n, *shape), labels (n, c), under one fresh network."""

    member: Member
    rungs: tuple[int, ...]
    x: Tensor
    labels: Tensor
    attacked_batch: AttackedBatch
    seed: int

    def clean(self) -> FeatureTarget:
        """See `View`."""
        return self._target(self.x.unsqueeze(0), self.labels)

    def attacked(self, predictor: Tensor | None) -> FeatureTarget:
        """See `View`; each set's predictor is attacked on the same records."""
        sets = 1 if predictor is None else len(predictor)
        n = min(self.attacked_batch.batch, len(self.x))
        x, labels = self.x[:n], self.labels[:n]
        adversarial = self.attacked_batch.attack(
            _Own(self.member) if predictor is None else _Heads(self.member, predictor),
            x.repeat(sets, *[1] * (x.dim() - 1)),
            labels.argmax(1).repeat(sets),
            threat=self.attacked_batch.threat,
            classes=labels.shape[1],
            seed=self.seed,
        )
        targets = self.attacked_batch.targets(x, labels)
        return self._target(adversarial.unflatten(0, (sets, n)), targets)

    @torch.no_grad()
    def _target(self, records: Tensor, labels: Tensor) -> FeatureTarget:
        features = self.member(records.flatten(0, 1)).unflatten(0, records.shape[:2])
        return FeatureTarget(member=self.member, features=features, labels=labels, records=records)


class _Own(torch.nn.Module):
    """The network of a member with its own head."""

    def __init__(self, member: Member) -> None:
        super().__init__()
        self.member = member

    def forward(self, x: Tensor) -> Tensor:
        return self.member.logits(x)


class _Heads(torch.nn.Module):
    """B linear heads over one network; a batch holds the records of set 0, then of set 1, ..."""

    def __init__(self, member: Member, heads: Tensor) -> None:
        super().__init__()
        self.member = member
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        features = self.member(x).unflatten(0, (len(self.heads), -1))
        return (features @ self.heads).flatten(0, 1)
