"""Matching filtered correlations of features and labels."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from moc.discrepancies.base import Discrepancy
from moc.evidence.base import View
from moc.networks.bank import Encoded


class Spectral(Discrepancy):
    """UniDD (arXiv 2503.01212): ‖f(Σ_S) C_S - f(Σ_T) C_T‖² over the number of classes.

    Σ = E ψψᵀ and C = E ψ(y - 1/c)ᵀ of compact features ψ; f acts on the eigenvalues λ of Σ. f = 1
    is DM on sums by class and passes what all records share; 1 / (λ + β) compares the ridge
    predictors that S and T would be fitted with, and weighs fine detail. We differ in holding β:
    the paper lets it fall along a curriculum.

    Attributes:
        filter: f: `one`, `value` (λ) or `inverse` (1 / (λ + β)).
        ridge: β, in units of an eigenvalue of Σ, whose sum is at most one.
    """

    kind: Literal["spectral"] = "spectral"
    filter: Literal["one", "value", "inverse"] = "inverse"
    ridge: float = Field(default=0.01, gt=0)

    @property
    @override
    def needs(self) -> frozenset[str]:
        sums = frozenset({"class-means"})
        return sums if self.filter == "one" else sums | {"second-moments"}

    @override
    def value(self, encoded: Encoded, view: View, /) -> Tensor:
        psi = encoded.member.compact(encoded.features)
        centred = encoded.labels - 1.0 / encoded.labels.shape[-1]
        ours = self._filtered(psi.mT @ psi / psi.shape[1], psi.mT @ centred / psi.shape[1])
        return (ours - self._of(view)).square().sum((1, 2)) / centred.shape[-1]

    def _of(self, view: View) -> Tensor:
        """f(Σ_T) C_T (B or 1, p, c)."""
        sums = view.compact_sums()
        cross = (sums - sums.mean(1, keepdim=True)).mT
        return cross if self.filter == "one" else self._filtered(view.second_moment(), cross)

    def _filtered(self, second: Tensor, cross: Tensor) -> Tensor:
        if self.filter == "one":
            return cross
        if self.filter == "value":
            return second @ cross
        shift = self.ridge * torch.eye(second.shape[-1], device=second.device, dtype=second.dtype)
        return torch.linalg.solve(second + shift, cross)
