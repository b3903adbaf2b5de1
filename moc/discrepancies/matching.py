"""Matching: a distance between a statistic of S and the same statistic of T."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor
from typing_extensions import override

from moc.discrepancies.base import Discrepancy
from moc.discrepancies.distances import DISTANCES, Distance, Squared
from moc.evidence.base import View
from moc.networks.bank import Encoded
from moc.statistics.base import STATISTICS, Statistic


class Matching(Discrepancy):
    """The mean over classes of the distance between a statistic of S and of T.

    Class means and the squared distance are DM; Fourier features and the squared distance
    approximate the maximum mean discrepancy of a Gaussian kernel (Rahimi and Recht, 2007);
    gradients of the head and the cosine are last-layer gradient matching. Each reads samples and
    releases that hold the statistic alike. A class that a batch of T lacks adds nothing.

    Attributes:
        statistic: What is compared.
        distance: How.
    """

    kind: Literal["matching"] = "matching"
    statistic: Annotated[Statistic, STATISTICS]
    distance: Annotated[Distance, DISTANCES] = Squared()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        fitting = self.distance.statistics
        if fitting and self.statistic.kind not in fitting:
            raise ValueError(
                f"distance {self.distance.kind!r} compares {' and '.join(sorted(fitting))}, "
                f"found {self.statistic.kind!r}"
            )
        return self

    @property
    @override
    def needs(self) -> frozenset[str]:
        return frozenset({self.statistic.kind})

    @override
    def value(self, encoded: Encoded, view: View, /) -> Tensor:
        s, t = self.statistic.of(encoded).flatten(2), view.statistic(self.statistic).flatten(2)
        known = ~t.isnan().any(-1)
        gaps = self.distance.between(s, t.nan_to_num())
        return torch.where(known, gaps, 0.0).mean(1)
