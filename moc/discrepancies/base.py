"""Discrepancies: differentiable distances between synthetic sets and the evidence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

if TYPE_CHECKING:
    from moc.bank import Member
    from moc.evidence.views import Target, View


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """B synthetic sets as one network sees them.

    Attributes:
        member: The network.
        records: Training records of the sets (B, M, *shape) in [0, 1].
        features: (B, M, d), differentiable in the records.
        labels: Label distributions (B, M, c).
    """

    member: Member
    records: Tensor
    features: Tensor
    labels: Tensor


def encode(records: Tensor, labels: Tensor, member: Member) -> Encoded:
    """Send all sets through `member` at once: records (B, M, *shape), labels (B, M, c)."""
    features = member(records.flatten(0, 1)).unflatten(0, records.shape[:2])
    return Encoded(member=member, records=records, features=features, labels=labels)


class Discrepancy(nn.Module, ABC):
    """A distance between S and T under one network.

    To add one: subclass, implement the two methods, add a line to `DISCREPANCIES` in
    `moc/discrepancies/__init__.py`; the contract tests find it there.

    Attributes:
        needs_records: Whether it asks for the records of T themselves, which only open studies
            have.
    """

    needs_records: ClassVar[bool] = False

    @abstractmethod
    def forward(self, encoded: Encoded, target: Target, /) -> Tensor:
        """One value for each synthetic set: (B,)."""

    @abstractmethod
    def predictor(self, encoded: Encoded, /) -> Tensor | None:
        """The linear heads (B, d, c) that S induces, which the adversarial version attacks.

        None where the network itself is attacked, with its own head.
        """


class Objective(nn.Module, ABC):
    """A loss of the study: one of its objectives, one value for each synthetic set of a batch."""

    @abstractmethod
    def forward(self, encoded: Encoded, view: View, /) -> Tensor:
        """One value for each synthetic set: (B,)."""


class Generalization(Objective):
    """A discrepancy on the records of T as they are."""

    def __init__(self, discrepancy: Discrepancy) -> None:
        """Measure by `discrepancy`."""
        super().__init__()
        self.discrepancy = discrepancy

    def forward(self, encoded: Encoded, view: View, /) -> Tensor:
        """See `Objective`."""
        return self.discrepancy(encoded, view.clean())


class Adversarial(Objective):
    """The same discrepancy on the records of T under attack.

    L = E max over ‖δ‖ <= eps of ℓ(predictor_S(x + δ), y). The inner maximum is found by the view
    and frozen, which is exact for the gradient in S by Danskin's theorem.
    """

    def __init__(self, discrepancy: Discrepancy) -> None:
        """Measure by `discrepancy`."""
        super().__init__()
        self.discrepancy = discrepancy

    def forward(self, encoded: Encoded, view: View, /) -> Tensor:
        """See `Objective`."""
        heads = self.discrepancy.predictor(encoded)
        attacked = view.attacked(None if heads is None else heads.detach())
        return self.discrepancy(encoded, attacked)
