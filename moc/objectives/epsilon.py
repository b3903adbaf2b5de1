"""The privacy budget: what the rung that a set reads costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor
from typing_extensions import override

from moc.discrepancies.base import Encoded, Loss, LossContext
from moc.evidence.base import View
from moc.objectives.base import Facts, FrameContext, Objective


class Epsilon(Objective):
    """Epsilon at the study's delta that the privacy ledger charges for a set."""

    kind: Literal["epsilon"] = "epsilon"
    words: ClassVar[str] = "epsilon"
    unit: ClassVar[Literal["share", "epsilon", "bytes"]] = "epsilon"
    scale: ClassVar[Literal["linear", "log2"]] = "log2"
    exact: ClassVar[bool] = True

    @override
    def loss(self, context: LossContext) -> PrivacyBudget:
        return PrivacyBudget([rung.epsilon for rung in context.evidence.rungs])

    @override
    def value(self, facts: Facts) -> float:
        return facts.epsilon

    @override
    def frame(self, context: FrameContext) -> tuple[float, float]:
        """Half of the smallest rung, so that it counts too, to the largest."""
        return min(context.epsilons) / 2, max(context.epsilons)


class PrivacyBudget(Loss):
    """Epsilon at delta between the release's outputs on neighbouring data sets, by rung.

    The hockey-stick divergence as a function of the noise multiplier, from opacus' accountant. It
    does not depend on S: a weighting acts through the rung that it picks, so condensation never
    computes it.

    Attributes:
        epsilons: Epsilon of each rung, largest first (rungs,).
    """

    epsilons: Tensor

    def __init__(self, epsilons: Sequence[float]) -> None:
        """Charge `epsilons`, by rung."""
        super().__init__()
        self.register_buffer("epsilons", torch.tensor(epsilons))

    @override
    def forward(self, encoded: Encoded, view: View, /) -> Tensor:
        del encoded
        return self.epsilons[torch.tensor(view.rungs, device=self.epsilons.device)]
