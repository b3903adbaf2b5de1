"""Expected calibration error: whether networks are as sure as they are right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from moc.evaluate.measure import Measure, network_variance
from moc.evaluate.scores import Estimate
from moc.networks.network import Network
from moc.networks.train import Training
from moc.objectives.base import FrameContext, MeasureContext, Objective
from moc.objectives.error import in_batches
from moc.privacy.held_out import Rates


class CalibrationError(Objective):
    """Expected calibration error (Naeini et al., 2015; Guo et al., arXiv 1706.04599).

    Σ_b |Σ_{i in b} (confidence_i - right_i)| / n over bins b of equal width of the confidence, the
    largest probability.

    Attributes:
        bins: Number of bins.
    """

    kind: Literal["calibration_error"] = "calibration_error"
    words: ClassVar[str] = "calibration error"
    bins: int = Field(default=15, gt=0)

    @override
    def measure(self, context: MeasureContext) -> Measure:
        return Confidence(training=context.training, columns=2 * self.bins + 1)

    @override
    def frame(self, context: FrameContext) -> tuple[float, float]:
        return 0.0, 1.0


@dataclass(frozen=True, kw_only=True)
class Confidence(Measure):
    """Columns: confidence by bin, right answers by bin, and the squared gap between the two."""

    training: Training
    columns: int
    bound: float = math.sqrt(3.0)

    @override
    def outcomes(self, network: Network, x: Tensor, y: Tensor, *, seed: int) -> Tensor:
        sure, said = in_batches(network, x, lambda logits: logits.softmax(1)).max(1)
        return self._columns(sure, (said == y).float())

    @override
    def diverged(self, y: Tensor) -> Tensor:
        """Sure of everything and never right."""
        ones = torch.ones(len(y), device=y.device)
        return self._columns(ones, torch.zeros_like(ones))

    def _columns(self, sure: Tensor, right: Tensor) -> Tensor:
        bins = self.columns // 2
        place = F.one_hot((sure * bins).ceil().long().clamp(1, bins) - 1, bins)
        gap = (sure - right).square().unsqueeze(1)
        return torch.cat([place * sure[:, None], place * right[:, None], gap], dim=1)

    @override
    def estimate(self, rates: Rates) -> Estimate:
        """The mean over networks, with the spread of these and of the records.

        The records' part is the mean squared gap over n, at least the variance of a signed sum of
        the gaps. Taking absolute values makes the error itself too large where records, or noise,
        are all that moves a bin.
        """
        sure, right, square = rates.values.split([self.columns // 2] * 2 + [1], dim=1)
        errors = (sure - right).abs().sum(1)
        gap = max(float(square.mean()), 0.0) / rates.records
        noise = rates.noise * math.sqrt(self.columns - 1)
        return Estimate(
            mean=float(errors.mean()),
            se=math.sqrt(network_variance(errors, noise) + gap),
            replicates=tuple(errors.tolist()),
        )
