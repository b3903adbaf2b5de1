"""Networks trained on one set, each kind of training once, whatever they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from moc.data.synthetic import SyntheticSet
from moc.networks.network import Network
from moc.networks.stack import fit_stack, stacks_pay
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
            self._known[training] = train_all(
                [self.synthetic] * len(self.seeds), training, seeds=self.seeds, device=self.device
            )
        return self._known[training]


def train_all(
    sets: Sequence[SyntheticSet],
    training: Training,
    *,
    seeds: Sequence[int],
    device: torch.device | str = "cpu",
) -> list[Network]:
    """Train a network on each set: side by side on a GPU where sets are of one size, else in turn.

    Args:
        sets: One for each network; a set may come several times.
        training: How.
        seeds: Public seed of each network.
        device: Where.
    """
    pairs = [one.training_records() for one in sets] if stacks_pay(device) else []
    if len({x.shape for x, _ in pairs}) != 1 or len(pairs) < 2 or training.attack is not None:
        each = zip(sets, seeds, strict=True)
        return [train(one, training, seed=seed, device=device) for one, seed in each]
    x, labels = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    return fit_stack(x, labels, sets[0].info, training, seeds=seeds, device=device)
