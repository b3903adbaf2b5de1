"""The privacy objective: what the rung that a set reads costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from moc.discrepancies.base import Encoded, Objective
from moc.evidence.accountant import Gaussian, epsilon

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from moc.evidence.views import View


class PrivacyBudget(Objective):
    """Epsilon at delta between the release's outputs on neighbouring data sets, by rung.

    The hockey-stick divergence as a function of the noise multiplier, from opacus' accountant. It
    does not depend on S, so its gradient in the records is zero: the weighting acts through the
    rung that it picks.

    Attributes:
        epsilons: Epsilon of each rung, largest first (rungs,); infinity without a release.
    """

    epsilons: Tensor

    def __init__(
        self, multipliers: Sequence[float], *, delta: float, beside: Sequence[Gaussian] = ()
    ) -> None:
        """Charge for the noise `multipliers` of the rungs, and for what goes `beside` each.

        No multipliers mean an open study.
        """
        super().__init__()
        rungs = ([Gaussian(noise_multiplier=m), *beside] for m in multipliers)
        costs = [epsilon(rung, delta=delta) for rung in rungs]
        self.register_buffer("epsilons", torch.tensor(costs or [math.inf]))

    def forward(self, encoded: Encoded, view: View, /) -> Tensor:
        """See `Objective`."""
        del encoded
        rungs = torch.tensor(view.rungs, device=self.epsilons.device)
        return self.epsilons[rungs.clamp_max(len(self.epsilons) - 1)]
