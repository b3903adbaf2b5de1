"""What discrepancies and losses are: differentiable distances between S and the evidence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from typing_extensions import override

from moc.attacks.threat import Threat
from moc.evidence.base import RECORDS, Evidence, View
from moc.networks.bank import Encoded
from moc.networks.network import Ensembles
from moc.parts import Family, Part


class Discrepancy(Part, ABC):
    """A distance between S and T under one network.

    With F a class of functions, D_F(P, Q) = sup over h in F of |E_P h - E_Q h|, or, for ridge risk,
    the risk on T of the predictor fitted on S.
    """

    @property
    @override
    def needs(self) -> frozenset[str]:
        """Records, unless it says that sums over them will do."""
        return frozenset({RECORDS})

    @abstractmethod
    def value(self, encoded: Encoded, view: View, /) -> Tensor:
        """One value for each synthetic set: (B,)."""

    @property
    def has_predictor(self) -> bool:
        """Whether a classifier is fitted on S."""
        return type(self).predictor is not Discrepancy.predictor

    def predictor(self, encoded: Encoded, /) -> Tensor | None:
        """The linear classifier (B, d, c) fitted on S, which adversarial losses attack.

        None, the default, where the network itself is attacked, with its own head.
        """
        del encoded


DISCREPANCIES: Family[Discrepancy] = Family("discrepancies", Discrepancy, "moc.discrepancies")


class Loss(nn.Module, ABC):
    """A loss of the study: one of its objectives, one value for each synthetic set of a batch."""

    @abstractmethod
    def forward(self, encoded: Encoded, view: View, /) -> Tensor:
        """One value for each synthetic set: (B,)."""


@dataclass(frozen=True, kw_only=True)
class LossContext:
    """What a study offers to losses.

    Attributes:
        evidence: What T gave.
        threat: What robustness is measured against.
        discrepancy: That of the objective `error`, for losses that name none of their own.
        teachers: Trains, at the first call, robust networks for every rung on what its readers may
            see.
    """

    evidence: Evidence
    threat: Threat
    discrepancy: Discrepancy
    teachers: Callable[[], Ensembles]


class LossPart(Part, ABC):
    """How an objective becomes a loss, as a study file says it."""

    @property
    @override
    def needs(self) -> frozenset[str]:
        """Records, unless it says that sums over them will do."""
        return frozenset({RECORDS})

    def check(self, discrepancy: Discrepancy) -> None:
        """Refuse what cannot work, before anything is read; `discrepancy` is the study's.

        Raises:
            StudyError: With what to change.
        """
        del discrepancy

    @abstractmethod
    def build(self, context: LossContext) -> Loss:
        """The loss module."""


LOSSES: Family[LossPart] = Family("losses", LossPart, "moc.discrepancies")


class Generalization(Loss):
    """A discrepancy on the records of T as they are."""

    def __init__(self, discrepancy: Discrepancy) -> None:
        """Measure by `discrepancy`."""
        super().__init__()
        self.discrepancy = discrepancy

    def forward(self, encoded: Encoded, view: View, /) -> Tensor:
        """One value for each synthetic set: (B,)."""
        return self.discrepancy.value(encoded, view)
