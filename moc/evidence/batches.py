"""Batches of records under networks: of T itself in an open study, of proxies in a private one."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from moc.evidence.base import Evidence
from moc.evidence.views import FeatureTarget, View

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from torch import Tensor

    from moc.attacks import Attack, Threat
    from moc.bank import Member, Members
    from moc.networks import Ensembles


@dataclass(frozen=True, kw_only=True)
class AttackedBatch:
    """How a view of records attacks them.

    Attributes:
        attack: The attack on the current predictor, usually a few steps of PGD.
        threat: Norm and radius in pixel units.
        batch: How many records of the batch each set attacks.
        teachers: Networks whose mean prediction for a record as it is takes the place of its label
            once it has been attacked (robust distillation, RSLAD, arXiv 2108.07969); None keeps
            the labels.
    """

    attack: Attack
    threat: Threat
    batch: int
    teachers: Ensembles | None = None

    @torch.no_grad()
    def targets(self, x: Tensor, labels: Tensor, rungs: Sequence[int]) -> Tensor:
        """What predictors should say of attacked records: (n, c), or (B or 1, n, c) of teachers.

        Args:
            x: The records as they are (B or 1, n, *shape).
            labels: Their labels (n, c).
            rungs: Of each of the B sets; a teacher says what a reader of its rung may hear.
        """
        if self.teachers is None:
            return labels
        return self.teachers(x, rungs[: len(x)])


class Batches(Evidence):
    """A batch of records and a network of the bank, or of a pool, in every step."""

    def __init__(
        self, *, bank: Members, attacked: AttackedBatch, batch: int = 256, seed: int = 0
    ) -> None:
        """Look at `batch` records a step, drawn with public seed `seed`, under `bank`."""
        self.info, self.device = bank.info, bank.device
        self.bank, self._attacked, self._batch, self._seed = bank, attacked, batch, seed

    @abstractmethod
    def shown(self, step: int, size: int, rungs: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Records (B or 1, size, *shape) in [0, 1] and labels (size, c) that all sets share.

        Args:
            step: Public seed of the draw.
            size: How many.
            rungs: Of each of the B sets, which sees nothing of a larger rung's.
        """

    def under(self, bank: Members) -> Self:
        """The same batches under other networks."""
        other = copy.copy(self)
        other.bank = bank
        return other

    def taught(self, teachers: Ensembles) -> Self:
        """The same batches with the teachers' predictions as targets of attacked records."""
        other = copy.copy(self)
        other._attacked = replace(self._attacked, teachers=teachers)
        return other

    def view(self, step: int, rungs: Sequence[int], *, member: Member | None = None) -> BatchView:
        """See `Evidence`; a fresh network and a batch drawn with replacement."""
        x, labels = self.shown(self._seed * 1_000_003 + step, self._batch, rungs)
        return BatchView(
            member=member or self.bank.member(step),
            rungs=tuple(rungs),
            x=x,
            labels=labels,
            attacked_batch=self._attacked,
            seed=step,
        )


@dataclass(frozen=True, kw_only=True)
class BatchView(View):
    """Records x (B or 1, n, *shape), labels (n, c), under one network."""

    member: Member
    rungs: tuple[int, ...]
    x: Tensor
    labels: Tensor
    attacked_batch: AttackedBatch
    seed: int

    def clean(self) -> FeatureTarget:
        """See `View`."""
        return self._target(self.x, self.labels)

    def attacked(self, predictor: Tensor | None) -> FeatureTarget:
        """See `View`; each set's predictor is attacked on the same places of the batch."""
        sets = len(self.x) if predictor is None else len(predictor)
        n = min(self.attacked_batch.batch, self.x.shape[1])
        x, labels = self.x[:, :n], self.labels[:n]
        adversarial = self.attacked_batch.attack(
            _Own(self.member) if predictor is None else _Heads(self.member, predictor),
            x.expand(sets, *x.shape[1:]).flatten(0, 1),
            labels.argmax(1).repeat(sets),
            threat=self.attacked_batch.threat,
            classes=labels.shape[1],
            seed=self.seed,
        )
        targets = self.attacked_batch.targets(x, labels, self.rungs)
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
