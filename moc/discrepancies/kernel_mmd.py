"""Maximum mean discrepancy of a kernel on features, class by class."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from moc.discrepancies._clouds import both_clouds, squared_distances
from moc.discrepancies.base import Discrepancy
from moc.evidence.base import View
from moc.networks.bank import Encoded

_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
_NARROWEST = 1e-3  # of a bandwidth; squared distances of features are at most 4


class KernelMmd(Discrepancy):
    """M3D (arXiv 2312.15927): the mean over the classes of the squared MMD between S and T.

    MMD² = mean k(t, t') - 2 mean k(t, s) + mean k(s, s'), the biased estimate, 0 for equal sets.
    The Gaussian mixture k(x, y) = Σ exp(-‖x - y‖² / (2^q b)), q = -2..2, matches all moments; the
    linear kernel xᵀy is DM. We differ in the bandwidth b, the mean squared distance of the records
    of T in the class: the paper takes those of S with it, and so another kernel for every S.

    Attributes:
        kernel: `gaussians` or `linear`.
    """

    kind: Literal["kernel-mmd"] = "kernel-mmd"
    kernel: Literal["gaussians", "linear"] = "gaussians"

    @override
    def value(self, encoded: Encoded, view: View, /) -> Tensor:
        t, a, s, b, known = both_clouds(encoded, view)
        a = a.nan_to_num()
        b_k = _bandwidth(t, a)

        def mean(x: Tensor, v: Tensor, y: Tensor, w: Tensor) -> Tensor:
            values = x @ y.mT if self.kernel == "linear" else _gaussians(x, y, b_k)
            return (v.unsqueeze(-2) @ values @ w.unsqueeze(-1)).squeeze((-2, -1))

        gaps = mean(t, a, t, a) - 2 * mean(t, a, s, b) + mean(s, b, s, b)
        return torch.where(known, gaps, 0.0).mean(1)


def _gaussians(x: Tensor, y: Tensor, bandwidth: Tensor) -> Tensor:
    """The mixture (..., c, n, m) of points (..., c, n, d) and (..., c, m, d)."""
    scaled = squared_distances(x, y) / bandwidth[..., None, None]
    return torch.stack([(-scaled / scale).exp() for scale in _SCALES]).sum(0)


def _bandwidth(t: Tensor, weights: Tensor) -> Tensor:
    """Mean squared distance (..., c) of two different records of each class."""
    pairs = weights.unsqueeze(-1) * weights.unsqueeze(-2)
    apart = 1.0 - weights.square().sum(-1)  # the weight of pairs of different records
    found = (pairs * squared_distances(t, t)).sum((-2, -1)) / apart.clamp_min(1e-6)
    return found.clamp_min(_NARROWEST)
