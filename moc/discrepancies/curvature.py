"""Curvature regularisation: a baseline for the adversarial loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from moc.attacks.threat import Threat
from moc.discrepancies.base import DISCREPANCIES, Discrepancy, Loss, LossContext, LossPart
from moc.errors import StudyError
from moc.evidence.base import View
from moc.networks.bank import Encoded


class Curvature(LossPart):
    """A discrepancy on clean records plus λ times the curvature of the risk there.

    CURE (arXiv 1811.09716), as GUARD uses it for condensation (2403.10045): with ℓ the squared
    error of the predictor that S induces, the mean over records of ‖∇ℓ(x + hz) - ∇ℓ(x)‖², z the
    sign (Linf) or the direction (L2) of ∇ℓ(x), frozen, h the size of the threat. We differ in
    keeping x + hz in [0, 1], in taking h from the threat, and in multiplying by h² for L2 and by
    h²·pixels for Linf, so that the term is the square of a change of the loss across the ball and
    λ does not depend on units.

    A baseline to be compared with, not to be relied on: the family makes gradients near the
    records small or straight, which masks them as readily as it removes what they point at (CURE
    loses 3 points from PGD to AutoAttack; GUARD reports nothing sound above 1/255). Believe its
    robust error only where the masking checks pass.

    Attributes:
        discrepancy: That of the objective `error` if left out.
        weight: λ.
        records: How many records of the batch are used.
    """

    kind: Literal["curvature"] = "curvature"
    discrepancy: Annotated[Discrepancy, DISCREPANCIES] | None = None
    weight: float = Field(default=1.0, ge=0)
    records: int = Field(default=64, gt=0)

    @override
    def check(self, discrepancy: Discrepancy) -> None:
        chosen = self.discrepancy or discrepancy
        if not chosen.has_predictor:
            raise StudyError(
                "Curvature is that of a classifier fitted on S: a discrepancy such as 'ridge-risk' "
                f"or 'feature-mean' expected, found {chosen.kind!r}."
            )

    @override
    def build(self, context: LossContext) -> CurvatureRisk:
        return CurvatureRisk(
            self.discrepancy or context.discrepancy,
            threat=context.threat,
            weight=self.weight,
            records=self.records,
        )


class CurvatureRisk(Loss):
    """A discrepancy plus λ times the curvature of its risk; see `Curvature`."""

    def __init__(
        self, discrepancy: Discrepancy, *, threat: Threat, weight: float = 1.0, records: int = 64
    ) -> None:
        """Add the curvature of `discrepancy`'s predictor to its value."""
        super().__init__()
        self.discrepancy, self.threat = discrepancy, threat
        self.weight, self.records = weight, records

    def forward(self, encoded: Encoded, view: View, /) -> Tensor:
        """One value for each synthetic set: (B,)."""
        heads = self.discrepancy.predictor(encoded)
        assert heads is not None, "Curvature.check refuses what has no predictor"
        records, labels = view.batch()
        x, y = records[:, : self.records], labels[..., : self.records, :]
        residual = y - 1.0 / y.shape[-1]

        def losses(copies: Tensor) -> Tensor:
            features = encoded.member(copies.flatten(0, 1)).unflatten(0, copies.shape[:2])
            return (features @ heads - residual).square().sum(2)

        copies = x.expand(len(heads), *x.shape[1:])
        bend = curvature(losses, copies, threat=self.threat).mean(1)
        return self.discrepancy.value(encoded, view) + self.weight * bend


def curvature(losses: Callable[[Tensor], Tensor], x: Tensor, *, threat: Threat) -> Tensor:
    """h²‖∇ℓ(x + hz) - ∇ℓ(x)‖² of every record, times the number of pixels for Linf: (B, n).

    Args:
        losses: Maps records (B, n, *shape) to losses (B, n), each of its own record alone.
        x: Records (B, n, *shape) in [0, 1].
        threat: Gives h and the norm that z is a step of.
    """
    tail = tuple(range(2, x.dim()))
    here = _slope(losses, x)
    slope = here.detach()
    if threat.norm == "Linf":
        z, scale = slope.sign(), threat.eps**2 * x[0, 0].numel()
    else:
        size = slope.flatten(2).norm(dim=2).clamp_min(1e-12)
        z, scale = slope / size.reshape(*size.shape, *[1] * len(tail)), threat.eps**2
    there = _slope(losses, (x.detach() + threat.eps * z).clamp(0.0, 1.0))
    return scale * (there - here).square().sum(tail)


def _slope(losses: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Gradients (B, n, *shape), differentiable in whatever else the losses depend on."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(losses(x).sum(), x, create_graph=True)[0]
