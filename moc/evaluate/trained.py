"""Networks trained on one set, each kind of training once, whatever they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from moc.data.synthetic import SyntheticSet
from moc.networks.network import Network
from moc.networks.train import Training, train


class Trained:
    """Networks trained on a set, when they are first asked for.

    Attributes:
        synthetic: The set.
        seeds: Public seed of each of the R networks, and of attacks on it. Use the same seeds for
            all sets that are compared (common random numbers), and others for the final report.
        device: Where they are trained and attacked.
    """

    def __init__(
        self,
        synthetic: SyntheticSet,
        *,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        """Nothing is trained yet."""
        self.synthetic, self.seeds, self.device = synthetic, tuple(seeds), device
        self._known: dict[Training, list[Network]] = {}

    def by(self, training: Training) -> list[Network]:
        """The R networks of a training, in evaluation mode, on the device."""
        if training not in self._known:
            self._known[training] = [
                train(self.synthetic, training, seed=seed, device=self.device)
                for seed in self.seeds
            ]
        return self._known[training]
