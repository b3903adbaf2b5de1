"""The adversarial loss: a discrepancy on records of T under attack."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from moc.attacks.base import ATTACKS, Attack
from moc.attacks.gradient import PgdMargin
from moc.attacks.threat import Threat
from moc.discrepancies.base import DISCREPANCIES, Discrepancy, Loss, LossContext, LossPart
from moc.evidence.base import View
from moc.networks.bank import Encoded, Member
from moc.networks.network import Ensembles

_TOGETHER = 1024
"""Records attacked at once on a CPU: activations of more leave the memory that is kept."""


class Attacked(LossPart):
    """The discrepancy on records that are attacked in every step.

    What is attacked is the classifier fitted on S or, where the discrepancy has none, the network
    itself.

    Attributes:
        discrepancy: That of the objective `error` if left out.
        records: How many records of a batch each set attacks.
        attack: The inner maximum.
        share: Size of its perturbations over that of the threat.
        targets: What classifiers should call attacked records: their `labels`, or what robust
            `teachers` call them unattacked (RSLAD, arXiv 2108.07969).
    """

    kind: Literal["attacked"] = "attacked"
    discrepancy: Annotated[Discrepancy, DISCREPANCIES] | None = None
    records: int = Field(default=64, gt=0)
    attack: Annotated[Attack, ATTACKS] = PgdMargin(steps=4)
    share: float = Field(default=1.0, gt=0, le=1)
    targets: Literal["labels", "teachers"] = "labels"

    @override
    def build(self, context: LossContext) -> Adversarial:
        threat = context.threat
        return Adversarial(
            self.discrepancy or context.discrepancy,
            attack=self.attack,
            threat=Threat(norm=threat.norm, eps=self.share * threat.eps),
            records=self.records,
            teachers=context.teachers() if self.targets == "teachers" else None,
        )


class Adversarial(Loss):
    """L = E max over ‖δ‖ <= eps of ℓ(predictor_S(x + δ), y).

    The inner maximum is found by an attack and frozen, which is exact for the gradient in S by
    Danskin's theorem.
    """

    def __init__(
        self,
        discrepancy: Discrepancy,
        *,
        attack: Attack,
        threat: Threat,
        records: int,
        teachers: Ensembles | None = None,
    ) -> None:
        """Measure by `discrepancy`; see `Attacked`."""
        super().__init__()
        self.discrepancy, self.attack, self.threat = discrepancy, attack, threat
        self.records, self.teachers = records, teachers

    def forward(self, encoded: Encoded, view: View, /) -> Tensor:
        """One value for each synthetic set: (B,); all attack the same places of the batch."""
        heads = self.discrepancy.predictor(encoded)
        x, labels = view.batch()
        n, sets = min(self.records, x.shape[1]), len(x) if heads is None else len(heads)
        x, labels = x[:, :n], labels[..., :n, :]
        hard = labels.argmax(-1).expand(sets, n)
        attacked = self._attacked(view, heads, x.expand(sets, *x.shape[1:]), hard)
        if self.teachers is not None:
            with torch.no_grad():
                labels = self.teachers(x, view.rungs[: len(x)])
        return self.discrepancy.value(encoded, view.of(attacked, labels))

    def _attacked(self, view: View, heads: Tensor | None, x: Tensor, y: Tensor) -> Tensor:
        """The records x (B, n, *shape) with labels (B, n), as each set's classifier fears them."""
        together = len(x)
        if x.device.type == "cpu" and self.attack.per_record:
            together = max(1, _TOGETHER // x.shape[1])
        found = [
            self.attack(
                _Own(view.member) if heads is None else _Heads(view.member, heads[some].detach()),
                x[some].flatten(0, 1),
                y[some].flatten(),
                threat=self.threat,
                classes=view.member.network.head.out_features,
                seed=view.seed,
                trusted=True,
            )
            for some in (slice(b, b + together) for b in range(0, len(x), together))
        ]
        return torch.cat(found).unflatten(0, x.shape[:2])


class _Own(nn.Module):
    """The network of a member with its own head."""

    def __init__(self, member: Member) -> None:
        super().__init__()
        self.member = member

    def forward(self, x: Tensor) -> Tensor:
        return self.member.logits(x)


class _Heads(nn.Module):
    """B linear heads over one network; a batch holds the records of set 0, then of set 1, ..."""

    def __init__(self, member: Member, heads: Tensor) -> None:
        super().__init__()
        self.member, self.heads = member, heads

    def forward(self, x: Tensor) -> Tensor:
        features = self.member(x).unflatten(0, (len(self.heads), -1))
        return (features @ self.heads).flatten(0, 1)
