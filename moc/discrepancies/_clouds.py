"""The features of each class as weighted points, for discrepancies that compare pairs of points."""

from __future__ import annotations

from torch import Tensor

from moc.evidence.base import View
from moc.networks.bank import Encoded


def both_clouds(encoded: Encoded, view: View) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """T and S under one network as clouds: t (B or 1, c, n, d), a (B or 1, c, n), s, b, known.

    `known` (B or 1, c) tells the classes that T has; a is NaN for the others. See `clouds`.
    """
    features, labels = view.embedded()
    t, a = clouds(features, labels.expand(len(features), *labels.shape[-2:]))
    s, b = clouds(encoded.features, encoded.labels)
    return t, a, s, b, ~a.isnan().any(-1)


def clouds(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Features and weights of the records of each class, padded to one number m of records.

    Args:
        features: (B, n, d).
        labels: Label distributions (B, n, c); a record counts for each class by its share.

    Returns:
        Points (B, c, m, d), and weights (B, c, m) that sum to one, 0 for what only pads, NaN for a
        class without records. With one label a record, m is the largest class; else it is up to n.
    """
    m = int((labels > 0).sum(1).max())
    shares, index = labels.mT.topk(m, dim=-1)
    chosen = index.unsqueeze(-1).expand(*index.shape, features.shape[-1])
    points = features.unsqueeze(1).expand(-1, index.shape[1], -1, -1).gather(2, chosen)
    return points, shares / shares.sum(-1, keepdim=True)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """‖a_i - b_j‖² (..., n, m) of points (..., n, d) and (..., m, d); differentiable everywhere."""
    inner = a @ b.mT
    sizes = a.square().sum(-1).unsqueeze(-1) + b.square().sum(-1).unsqueeze(-2)
    return (sizes - 2 * inner).clamp_min(0.0)
