"""The share of each class in T, from noisy counts: post-processing of a release, at no cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from moc.evidence.statistics import CLIP, GRID

if TYPE_CHECKING:
    from torch import Tensor

    from moc.evidence.rungs import Rung
    from moc.evidence.statistics import Statistics


def class_shares(statistics: Statistics, rung: Rung) -> Tensor:
    """Share of each class (c,), float32, above 0 and summing to one.

    The counts over N, drawn towards classes of one size by as much as noise may have moved them
    apart (the positive-part estimator of James and Stein, 1961), so that counts which say nothing
    do no harm: with deviations d_k from 1/c and noise of variance s² in each, 1/c + max(0, 1 -
    (c - 1) s² / Σ d_k²) d_k. No share is below s, or below one record. A release without counts
    gives 1/c.

    Args:
        statistics: What was summed.
        rung: The sums.
    """
    classes, n = len(statistics.bank.info.classes), statistics.bank.info.count
    if statistics.counts == 0:
        return torch.full((classes,), 1.0 / classes)
    weight = math.sqrt(statistics.counts)
    deviation = rung.counts / (GRID * n * weight) - 1.0 / classes
    std = rung.noise * CLIP / (n * weight)
    spread = float(deviation.square().sum())
    kept = max(0.0, 1.0 - (classes - 1) * std**2 / spread) if spread > 0 else 0.0
    shares = (1.0 / classes + kept * deviation).clamp_min(min(max(std, 1.0 / n), 1.0 / classes))
    return (shares / shares.sum()).float()
