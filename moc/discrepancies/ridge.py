"""The risk on T of the ridge predictor fitted on S."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from moc.discrepancies.base import Discrepancy
from moc.evidence.base import View
from moc.networks.bank import Encoded


class RidgeRisk(Discrepancy):
    """Kernel inducing points on random features: KIP (arXiv 2107.13034), FRePo (2206.00719).

    W = Φᵀ (ΦΦᵀ + λI)⁻¹ (Y - 1/c) with the features Φ (M, d) and labels Y (M, c) of S; the value is
    the mean of ‖Wᵀφ(x) - (y - 1/c)‖² over T. It needs no more of T than the moments (XᵀY, XᵀX), so
    it reads samples and releases alike. We differ from the papers in the kernel (one random
    network of the bank at a time, features of norm one) and in fixing λ instead of scaling it by
    the trace.

    Attributes:
        ridge: λ, in units of a squared feature norm; features have norm one.
    """

    kind: Literal["ridge-risk"] = "ridge-risk"
    ridge: float = Field(default=0.5, gt=0)

    @property
    @override
    def needs(self) -> frozenset[str]:
        return frozenset({"class-means", "second-moments"})

    @override
    def value(self, encoded: Encoded, view: View, /) -> Tensor:
        return view.squared_risk(self._solve(encoded))

    @override
    def predictor(self, encoded: Encoded, /) -> Tensor:
        """The ridge solution."""
        heads = self._solve(encoded)
        projection = encoded.member.projection
        return heads if projection is None else projection @ heads

    def _solve(self, encoded: Encoded) -> Tensor:
        """Heads (B, p, c) on compact features, differentiable in features and labels."""
        features = encoded.member.compact(encoded.features)
        centred = encoded.labels - 1.0 / encoded.labels.shape[-1]
        kernel = features @ features.transpose(1, 2)
        shift = self.ridge * torch.eye(kernel.shape[-1], device=kernel.device, dtype=kernel.dtype)
        factor = torch.linalg.cholesky(kernel + shift)
        return features.transpose(1, 2) @ torch.cholesky_solve(centred, factor)
