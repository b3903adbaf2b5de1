"""Distance between the class means of S and T in feature space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moc.discrepancies.base import Discrepancy, Encoded

if TYPE_CHECKING:
    from torch import Tensor

    from moc.evidence.views import Target


class FeatureMean(Discrepancy):
    """Distribution matching, DM (arXiv 2110.04181): c Σ_k ‖s_k - t_k‖² over the classes k.

    s_k and t_k are the sums of the features of class k over the number of records, so a class
    counts by its share and no private class count is divided by. Where the paper draws a fresh
    network in every step, a release offers the K networks of its bank.
    """

    def forward(self, encoded: Encoded, target: Target, /) -> Tensor:
        """See `Discrepancy`."""
        gap = self._sums(encoded) - target.class_sums()
        return gap.square().sum((1, 2)) * gap.shape[1]

    def predictor(self, encoded: Encoded, /) -> Tensor:
        """See `Discrepancy`; the class-mean classifier: heads are the centred class means of S."""
        means = self._sums(encoded) * encoded.labels.shape[-1]
        return (means - means.mean(1, keepdim=True)).transpose(1, 2)

    @staticmethod
    def _sums(encoded: Encoded) -> Tensor:
        return encoded.labels.transpose(1, 2) @ encoded.features / encoded.features.shape[1]
