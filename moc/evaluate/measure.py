"""Measures: what is counted of trained networks on held-out records, and what the counts say."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from moc.evaluate.scores import Estimate
from moc.networks.network import Network, finite_weights

if TYPE_CHECKING:
    from torch import Tensor

    from moc.networks.train import Training
    from moc.privacy.held_out import Rates


class Measure(ABC):
    """One objective as outcomes of each record by itself, whose sums may be published with noise.

    Measures are sent to other processes: keep them small and picklable.

    Attributes:
        training: How the networks are trained on the set; measures with equal trainings share
            networks.
        columns: Number of values k for each record and network.
        bound: Largest L2 norm of the k values of one record; larger ones are scaled down. Noise on
            private records is proportional to it, so it should be as small as is true.
    """

    training: Training
    columns: int = 1
    bound: float = 1.0

    @abstractmethod
    def outcomes(self, network: Network, x: Tensor, y: Tensor, *, seed: int) -> Tensor:
        """Values (n, k) in [0, 1], each of its own record alone.

        Args:
            network: Trained on the set, with finite weights, on the device of `x`.
            x: Held-out records (n, *shape) in [0, 1].
            y: Their labels (n,).
            seed: Public seed of whatever is random, such as attacks.
        """

    def together(
        self, networks: Sequence[Network], x: Tensor, y: Tensor, *, seeds: Sequence[int]
    ) -> Tensor:
        """Values (n, R, k) of R networks of one architecture, some of which may have diverged.

        Whoever can do better than one after the other may, with the same outcome up to rounding.
        """
        found = [
            self.outcomes(network, x, y, seed=seed).float()
            if finite_weights(network)
            else self.diverged(y).float()
            for network, seed in zip(networks, seeds, strict=True)
        ]
        return torch.stack(found, dim=1)

    @abstractmethod
    def estimate(self, rates: Rates) -> Estimate:
        """The objective from published means (R, k) over the records."""

    def diverged(self, y: Tensor) -> Tensor:
        """Values (n, k) for a network whose training diverged: nothing right, unless overridden."""
        return y.new_zeros(len(y), self.columns, dtype=y.new_empty(0).float().dtype)


def error_estimate(rates: Rates) -> Estimate:
    """One minus the mean rate of right answers (R, 1), with its standard error.

    The variance has two parts. The networks': the sample variance of their rates over R, never less
    than that of the noise, which is inside their spread; a single network shows no spread, so only
    the noise is counted. The records': p (1 - p) / n, with one success and one failure added to the
    n, since not a single mistake is no certainty. Averaging over networks makes the second part at
    most smaller, so it is right where they fail on the same records and a little too large
    elsewhere. Noise may have carried rates outside [0, 1], and they stay there.
    """
    column = rates.values[:, 0]
    mean = float(column.mean())
    return Estimate(
        mean=1 - mean,
        se=math.sqrt(network_variance(column, rates.noise) + binomial(mean, rates.records)),
        replicates=tuple((1 - column).tolist()),
    )


def network_variance(values: Tensor, noise: float) -> float:
    """Variance of the mean of replicates (R,), whose spread holds noise of this deviation."""
    spread = float(values.var()) if len(values) > 1 else 0.0
    return max(spread, noise**2) / len(values)


def binomial(rate: float, records: float) -> float:
    """Variance of a rate over so many records, with one success and one failure added."""
    share = (min(max(rate, 0.0), 1.0) * records + 1) / (records + 2)
    return share * (1 - share) / max(records, 1.0)
