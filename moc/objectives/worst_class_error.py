"""Error of the class that fares worst: fairness between classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from moc.evaluate.measure import Measure, binomial, network_variance
from moc.evaluate.robust import correct
from moc.evaluate.scores import Estimate
from moc.networks.network import Network
from moc.networks.train import Training
from moc.objectives.base import FrameContext, MeasureContext, Objective
from moc.privacy.held_out import Rates


class WorstClassError(Objective):
    """Largest clean error of any one class."""

    kind: Literal["worst_class_error"] = "worst_class_error"
    words: ClassVar[str] = "worst-class error"

    @override
    def measure(self, context: MeasureContext) -> Measure:
        return RightByClass(training=context.training, columns=2 * len(context.info.classes))

    @override
    def frame(self, context: FrameContext) -> tuple[float, float]:
        return 0.0, 1.0


@dataclass(frozen=True, kw_only=True)
class RightByClass(Measure):
    """Columns: right answers of each class, then records of each class (2c)."""

    training: Training
    columns: int
    bound: float = math.sqrt(2.0)

    @override
    def outcomes(self, network: Network, x: Tensor, y: Tensor, *, seed: int) -> Tensor:
        member = F.one_hot(y, self.columns // 2)
        return torch.cat([member * correct(network, x, y).unsqueeze(1), member], dim=1)

    @override
    def diverged(self, y: Tensor) -> Tensor:
        member = F.one_hot(y, self.columns // 2)
        return torch.cat([torch.zeros_like(member), member], dim=1)

    @override
    def estimate(self, rates: Rates) -> Estimate:
        """One minus the least rate over classes, with the standard error of that class.

        The least of several noisy rates is too low on average, so the error is overestimated where
        classes fare alike and have few records. Classes without a record say nothing.
        """
        right, member = rates.values.chunk(2, dim=1)
        shares = member.mean(0)
        known = shares * rates.records >= 1
        if not known.any():
            return Estimate(mean=1.0, se=1.0)
        accuracy = right / shares.clamp_min(1 / rates.records)
        worst = int(accuracy.mean(0).where(known, torch.inf).argmin())
        share = float(shares[worst])
        rate = float(accuracy[:, worst].mean())
        variance = network_variance(accuracy[:, worst], rates.noise / share)
        return Estimate(
            mean=min(max(1 - rate, 0.0), 1.0),
            se=math.sqrt(variance + binomial(rate, share * rates.records)),
            replicates=tuple((1 - accuracy[:, worst]).tolist()),
        )
