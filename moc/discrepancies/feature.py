"""Distance between the class means of S and T in feature space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moc.discrepancies.base import Discrepancy, Encoded

if TYPE_CHECKING:
    from torch import Tensor

    from moc.evidence.views import Target


class FeatureMean(Discrepancy):
    """Distribution matching, DM (arXiv 2110.04181): the mean over the classes of ‖s_k - t_k‖².

    s_k and t_k are the mean features of class k, so that S need not have the class shares of T.
    A release gives sums over N, public, and shares from noisy counts, or even shares without
    them: no private count is divided by. A class that a batch of T lacks adds nothing. Where the
    paper draws a fresh network in every step, a release offers the K networks of its bank.
    """

    def forward(self, encoded: Encoded, target: Target, /) -> Tensor:
        """See `Discrepancy`."""
        shares = target.class_shares()
        there = shares > 0
        t = target.class_sums() / shares.where(there, 1.0).unsqueeze(-1)
        gaps = (self._means(encoded) - t).square().sum(2)
        return (gaps * there).mean(1)

    def predictor(self, encoded: Encoded, /) -> Tensor:
        """See `Discrepancy`; the class-mean classifier: heads are the centred class means of S."""
        means = self._means(encoded)
        return (means - means.mean(1, keepdim=True)).transpose(1, 2)

    @staticmethod
    def _means(encoded: Encoded) -> Tensor:
        """Mean features of each class (B, c, d); S has some of each."""
        sums = encoded.labels.transpose(1, 2) @ encoded.features
        return sums / encoded.labels.sum(1).unsqueeze(-1)
