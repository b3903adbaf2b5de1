"""Entropic optimal transport between the features of S and T, class by class."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from moc.discrepancies._clouds import both_clouds, squared_distances
from moc.discrepancies.base import Discrepancy
from moc.evidence.base import View
from moc.networks.bank import Encoded


class Sinkhorn(Discrepancy):
    """The mean over the classes of the Sinkhorn divergence between S and T.

    S_ε = OT_ε(s, t) - OT_ε(s, s)/2 - OT_ε(t, t)/2 with OT_ε = min over plans of the cost
    ½‖x - y‖² plus ε times the relative entropy (Feydy et al., arXiv 1810.08278): the squared
    Wasserstein distance for small ε, half the squared distance of the means, as in DM, for large.
    Its gradient holds the dual potentials (envelope theorem). WMDD (arXiv 2311.18531) goes by
    barycenters of a trained network's features instead.

    Attributes:
        epsilon: ε, in units of the cost; features have norm one, so that costs are at most 2.
        iterations: Sinkhorn updates of both potentials.
    """

    kind: Literal["sinkhorn"] = "sinkhorn"
    epsilon: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    iterations: int = Field(default=20, gt=0)

    @override
    def value(self, encoded: Encoded, view: View, /) -> Tensor:
        t, a, s, b, known = both_clouds(encoded, view)
        a = torch.where(known.unsqueeze(-1), a, 1.0 / a.shape[-1])
        between = self.transport(t, a, s, b)
        gaps = between - (self.transport(t, a, t, a) + self.transport(s, b, s, b)) / 2
        return torch.where(known, gaps, 0.0).mean(1)

    def transport(self, x: Tensor, a: Tensor, y: Tensor, b: Tensor) -> Tensor:
        """OT_ε of weighted points x (..., n, d), a (..., n) and y (..., m, d), b (..., m): (...).

        Differentiable in points and weights, for potentials that have converged.
        """
        cost = squared_distances(x, y) / 2
        with torch.no_grad():
            f, g = self._potentials(cost, a.log(), b.log())
            weights = a.log().unsqueeze(-1) + b.log().unsqueeze(-2)
            plan = (weights + (f.unsqueeze(-1) + g.unsqueeze(-2) - cost) / self.epsilon).exp()
        moved = (plan * (cost - cost.detach())).sum((-2, -1))
        return (a * f).sum(-1) + (b * g).sum(-1) + moved

    def _potentials(self, cost: Tensor, log_a: Tensor, log_b: Tensor) -> tuple[Tensor, Tensor]:
        """Dual potentials (..., n) and (..., m), by averaged updates, which also suit x = y."""
        f, g = torch.zeros_like(cost[..., 0]), torch.zeros_like(cost[..., 0, :])
        for _ in range(self.iterations):
            f, g = (f + self._soft(cost, g, log_b)) / 2, (g + self._soft(cost.mT, f, log_a)) / 2
        return self._soft(cost, g, log_b), self._soft(cost.mT, f, log_a)

    def _soft(self, cost: Tensor, potential: Tensor, log_weights: Tensor) -> Tensor:
        """-ε log Σ_j w_j exp((g_j - C_ij) / ε)."""
        inside = log_weights.unsqueeze(-2) + (potential.unsqueeze(-2) - cost) / self.epsilon
        return -self.epsilon * inside.logsumexp(-1)
