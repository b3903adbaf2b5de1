"""What a finished synthetic set is worth, measured. Everything is minimised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import covariance


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured mean with its standard error (both in the unit of the measured quantity).

    Attributes:
        mean: Over networks and records.
        se: Its standard error; 0 where it is exact.
        replicates: The value of each network, in the order of the seeds that all sets of a study
            share; empty where there is none or it was not kept.
    """

    mean: float
    se: float = 0.0
    replicates: tuple[float, ...] = ()

    def __format__(self, spec: str) -> str:
        """Format as `mean ± se` with the given format for both."""
        return f"{self.mean:{spec or '.3f'}} ± {self.se:{spec or '.3f'}}"


Scores = Mapping[str, Estimate]
"""Scores of one synthetic set: an estimate for every objective of its study, by name."""


def error_of_difference(one: Estimate, other: Estimate) -> float:
    """Standard error of the difference of two sets' estimates, paired by networks.

    Var(a - b) = se_a² + se_b² - 2 cov(a_r, b_r) / R, with the sample covariance over the R networks
    that both sets met. The records are the same too, but the outcome of a single one is never kept:
    their part is added in squares, which is cautious where networks fail on the same records. So is
    all of it where the values of the networks are not known.
    """
    shared, count = 0.0, len(one.replicates)
    if count > 1 and count == len(other.replicates):
        shared = covariance(one.replicates, other.replicates) / count
    return math.sqrt(max(one.se**2 + other.se**2 - 2 * shared, 0.0))
