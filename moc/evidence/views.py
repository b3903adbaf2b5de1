"""What one step of condensation sees of the evidence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moc.errors import StudyError

if TYPE_CHECKING:
    from torch import Tensor

    from moc.bank import Member


class Target(ABC):
    """Records of T as one network sees them, reduced to what discrepancies may ask.

    B is the number of synthetic sets that are condensed together, c the number of classes, d the
    number of features φ and p that of compact features ψ (`Member.compact`); a leading dimension
    of one serves all sets.

    Attributes:
        member: The network.
    """

    member: Member

    @abstractmethod
    def class_sums(self) -> Tensor:
        """Sum of the features of each class over N: (B or 1, c, d)."""

    @abstractmethod
    def class_shares(self) -> Tensor:
        """Share of each class in the records: (B or 1, c); 0 for a class that has none."""

    @abstractmethod
    def quadratic(self, predictor: Tensor) -> Tensor:
        """Mean of ‖Wᵀψ‖² over the records for predictors W (B, p, c): (B,)."""

    def batch(self) -> tuple[Tensor, Tensor]:
        """The records (B or 1, n, *shape) in [0, 1], labels (n, c) or (B or 1, n, c).

        Raises:
            StudyError: If the records are not there, as in every release.
        """
        raise StudyError(
            "Records of T themselves were asked for, and a release holds only moments of them. "
            "Use ridge risk or feature means, or a proxy (evidence = 'proxy' in [privacy]), or "
            "samples of T in an open study."
        )

    def compact_sums(self) -> Tensor:
        """Sum of the compact features of each class over N: (B or 1, c, p)."""
        return self.member.compact(self.class_sums())

    def squared_risk(self, predictor: Tensor) -> Tensor:
        """Mean of ‖Wᵀψ - (y - 1/c)‖² for predictors W (B, p, c): (B,)."""
        sums = self.compact_sums()
        cross = (sums - sums.mean(1, keepdim=True)).transpose(1, 2)
        return (
            self.quadratic(predictor)
            - 2.0 * (predictor * cross).sum((1, 2))
            + self.label_energy(sums.shape[1])
        )

    def label_energy(self, classes: int) -> float | Tensor:
        """Mean of ‖y - 1/c‖² over the records; here of one-hot labels."""
        return 1.0 - 1.0 / classes


@dataclass(frozen=True, kw_only=True)
class FeatureTarget(Target):
    """The features themselves: (B or 1, n, d), with labels (n, c) or (B or 1, n, c), maybe soft.

    And the records (B or 1, n, *shape) that they are of, where these may be seen.
    """

    member: Member
    features: Tensor
    labels: Tensor
    records: Tensor | None = None

    def batch(self) -> tuple[Tensor, Tensor]:
        """See `Target`."""
        return super().batch() if self.records is None else (self.records, self.labels)

    def class_sums(self) -> Tensor:
        """See `Target`."""
        return self.labels.mT @ self.features / self.features.shape[1]

    def class_shares(self) -> Tensor:
        """See `Target`."""
        shares = self.labels.mean(-2)
        return shares if shares.dim() == 2 else shares[None]

    def quadratic(self, predictor: Tensor) -> Tensor:
        """See `Target`."""
        return (self.member.compact(self.features) @ predictor).square().sum(2).mean(1)

    def label_energy(self, classes: int) -> Tensor:
        """See `Target`."""
        return (self.labels - 1.0 / classes).square().sum(-1).mean(-1)


@dataclass(frozen=True, kw_only=True)
class MomentTarget(Target):
    """First moments (B, c, d) and, where they were released, second moments (B, p, p), over N.

    And the share of each class (B, c), above 0, as far as it is known.
    """

    member: Member
    sums: Tensor
    second: Tensor | None
    shares: Tensor

    def class_sums(self) -> Tensor:
        """See `Target`."""
        return self.sums

    def class_shares(self) -> Tensor:
        """See `Target`."""
        return self.shares

    def quadratic(self, predictor: Tensor) -> Tensor:
        """See `Target`."""
        if self.second is None:
            raise StudyError(
                "Ridge risk needs second moments, and this release holds class means only. "
                "Give `second` a weight in the study's [privacy], or use feature means."
            )
        return (predictor * (self.second @ predictor)).sum((1, 2))


class View(ABC):
    """One network of the bank, and T as this network sees it.

    Attributes:
        member: The network under which S is compared with T.
        rungs: For each of the B sets the rung that it reads.
    """

    member: Member
    rungs: tuple[int, ...]

    @abstractmethod
    def clean(self) -> Target:
        """The records as they are."""

    @abstractmethod
    def attacked(self, predictor: Tensor | None) -> Target:
        """The records under attack, the inner maximum frozen.

        Args:
            predictor: Linear heads (B, d, c) on the features, one for each set, or None for the
                network's own head. An open view attacks each of them; a release holds records
                attacked beforehand and ignores it.
        """
