"""Evidence: what T gave. Everything after it sees only this.

B is the number of synthetic sets that are condensed together, c the number of classes, d the number
of features φ of a network and p that of its compact features ψ (`Member.compact`); n is the number
of records of a batch. A leading dimension of one serves all sets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from moc.data.declared import DataInfo
from moc.errors import StudyError
from moc.networks.bank import Bank, Member
from moc.networks.train import BatchSource
from moc.privacy.ladder import Rung
from moc.statistics.base import Statistic

RECORDS = "records"
"""What evidence gives whose records can be seen: any statistic of them, under any network."""


class View(ABC):
    """T under one network, reduced to what discrepancies may ask.

    Attributes:
        member: The network.
        rungs: For each of the B sets the index of the rung that it reads.
        seed: Public seed for whatever is random about this view, such as attacks.
    """

    member: Member
    rungs: tuple[int, ...]
    seed: int

    @abstractmethod
    def statistic(self, statistic: Statistic) -> Tensor:
        """Averages of a statistic over T (B or 1, c or 1, k); NaN for a class that is not there."""

    @abstractmethod
    def class_sums(self) -> Tensor:
        """Sum of the features of each class over N: (B or 1, c, d)."""

    @abstractmethod
    def class_shares(self) -> Tensor:
        """Share of each class in T: (B or 1, c); 0 for a class that a batch lacks."""

    @abstractmethod
    def second_moment(self) -> Tensor:
        """Mean of ψψᵀ over the records: (B or 1, p, p), positive semidefinite."""

    @abstractmethod
    def quadratic(self, predictor: Tensor) -> Tensor:
        """Mean of ‖Wᵀψ‖² over the records for predictors W (B, p, c): (B,)."""

    def batch(self) -> tuple[Tensor, Tensor]:
        """The records (B or 1, n, *shape) in [0, 1], labels (n, c) or (B or 1, n, c).

        Raises:
            StudyError: If the records are not there, as in every release.
        """
        raise _no_records()

    def embedded(self) -> tuple[Tensor, Tensor]:
        """Their features (B or 1, n, d), computed once, with the same labels.

        Raises:
            StudyError: If the records are not there.
        """
        raise _no_records()

    def of(self, x: Tensor, labels: Tensor) -> View:  # noqa: ARG002
        """Other records, such as attacked ones, under the same network.

        Raises:
            StudyError: If the records are not there.
        """
        raise _no_records()

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


def _no_records() -> StudyError:
    return StudyError(
        "Records of T themselves were asked for, and a release holds only sums over them. Use a "
        "proxy of it ([evidence] kind = 'proxy'), or samples of T in an open study."
    )


class Evidence(ABC):
    """The base of `Samples` (open), `Moments` (released, or exact) and `Proxies` (of a release).

    Attributes:
        info: Public facts about T.
        rungs: The rungs of the release behind it, largest epsilon first; none if it is not private.
        device: Where views live.
        bank: The networks under which T is seen.
        gives: What views hold: `RECORDS`, or the kinds of the released statistics.
    """

    gives: ClassVar[frozenset[str]] | frozenset[str]
    info: DataInfo
    rungs: tuple[Rung, ...]
    device: str
    bank: Bank

    @abstractmethod
    def start(self, y: Tensor, *, seed: int, rung: int) -> Tensor:
        """Records (len(y), *shape) of these classes that a set on this rung may start from.

        Public noise where T was released, or a proxy made from that rung; real records in an open
        study, never in a private one.
        """

    @abstractmethod
    def view(self, step: int, rungs: Sequence[int], *, member: Member | None = None) -> View:
        """What step `step` of condensation sees; the same step gives the same view.

        Args:
            step: Counts from 0; picks the network (and for records the batch).
            rungs: For each of the B sets the rung it reads; ignored by open evidence.
            member: Use this network, not the bank's; for records only.

        Raises:
            StudyError: If a release is asked for under a network that it was not drawn under.
        """

    @abstractmethod
    def source(self, rung: int) -> BatchSource:
        """Batches of records that may be seen by readers of this rung, to train networks on.

        Raises:
            StudyError: If there are no records.
        """


def missing(needs: frozenset[str], gives: frozenset[str]) -> frozenset[str]:
    """What evidence lacks; records give everything."""
    return frozenset() if RECORDS in gives else needs - gives


def noise_start(y: Tensor, shape: tuple[int, ...], *, seed: int) -> Tensor:
    """Uniform noise (len(y), *shape) from a public seed."""
    return torch.rand(len(y), *shape, generator=torch.Generator().manual_seed(seed))
