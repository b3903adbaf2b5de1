"""Clean error: the objective of generalization."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor
from typing_extensions import override

from moc.discrepancies.base import DISCREPANCIES, Discrepancy, Generalization, LossContext
from moc.discrepancies.feature_mean import FeatureMean
from moc.evaluate.measure import Measure, error_estimate
from moc.evaluate.robust import correct
from moc.evaluate.scores import Estimate
from moc.networks.network import Network
from moc.networks.train import Training
from moc.objectives.base import FrameContext, MeasureContext, Objective
from moc.privacy.held_out import Rates


class Error(Objective):
    """Share of clean records that networks trained on S get wrong.

    Its loss in S is a discrepancy on the records of T as they are.

    Attributes:
        discrepancy: The distance between S and T, for the other losses too unless they name one.
    """

    kind: Literal["error"] = "error"
    words: ClassVar[str] = "clean error"
    weighed: ClassVar[bool] = True
    discrepancy: Annotated[Discrepancy, DISCREPANCIES] = FeatureMean()

    @property
    @override
    def needs(self) -> frozenset[str]:
        return self.discrepancy.needs

    @override
    def loss(self, context: LossContext) -> Generalization:
        return Generalization(self.discrepancy)

    @override
    def measure(self, context: MeasureContext) -> Measure:
        return Right(training=context.training)

    @override
    def frame(self, context: FrameContext) -> tuple[float, float]:
        return 0.0, 1 - 1 / len(context.info.classes)


@dataclass(frozen=True, kw_only=True)
class Right(Measure):
    """Records that are classified right as they are, one column."""

    training: Training

    @override
    def outcomes(self, network: Network, x: Tensor, y: Tensor, *, seed: int) -> Tensor:
        return correct(network, x, y).unsqueeze(1)

    @override
    def estimate(self, rates: Rates) -> Estimate:
        return error_estimate(rates)


@torch.no_grad()
def in_batches(network: Network, x: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
    """A function of the network's logits for all records x (n, *shape): (n, ...)."""
    return torch.cat([of(network(part)) for part in x.split(250)])
