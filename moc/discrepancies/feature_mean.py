"""Distance between the class means of S and T in feature space."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from typing_extensions import override

from moc.discrepancies.base import Discrepancy
from moc.evidence.base import View
from moc.networks.bank import Encoded


class FeatureMean(Discrepancy):
    """Distribution matching, DM (arXiv 2110.04181): the mean over the classes of ‖s_k - t_k‖².

    s_k and t_k are the mean features of class k, so that S need not have the class shares of T.
    A release gives sums over N, public, and shares from noisy counts, or even shares without
    them: no private count is divided by. A class that a batch of T lacks adds nothing. Where the
    paper draws a fresh network in every step, a release offers the K networks of its bank.
    """

    kind: Literal["feature-mean"] = "feature-mean"

    @property
    @override
    def needs(self) -> frozenset[str]:
        return frozenset({"class-means"})

    @override
    def value(self, encoded: Encoded, view: View, /) -> Tensor:
        shares = view.class_shares()
        known = shares > 0
        t = view.class_sums() / shares.where(known, 1.0).unsqueeze(-1)
        gaps = (_means(encoded) - t).square().sum(2)
        return (gaps * known).mean(1)

    @override
    def predictor(self, encoded: Encoded, /) -> Tensor:
        """The class-mean classifier: heads are the centred class means of S."""
        means = _means(encoded)
        return (means - means.mean(1, keepdim=True)).transpose(1, 2)


def _means(encoded: Encoded) -> Tensor:
    """Mean features of each class (B, c, d); S has some of each."""
    sums = encoded.labels.transpose(1, 2) @ encoded.features
    return sums / encoded.labels.sum(1).unsqueeze(-1)
