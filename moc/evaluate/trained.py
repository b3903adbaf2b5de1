"""Networks trained on one set, each kind of training once, whatever they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from moc.data.synthetic import SyntheticSet
from moc.networks.network import Network
from moc.networks.stack import fit_stack, may_be_stacked, stacks_pay
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
        networks_by([self], training)
        return self._known[training]


def networks_by(trained: Sequence[Trained], training: Training) -> list[Network]:
    """The networks of a training on several sets, one set after the other, on one device.

    Those that are still to be trained are trained as one stack where that is faster.
    """
    new = [one for one in trained if training not in one._known]
    sets = [one.synthetic for one in new for _ in one.seeds]
    seeds = [seed for one in new for seed in one.seeds]
    made = train_all(sets, training, seeds=seeds, device=trained[0].device)
    for one in new:
        one._known[training], made = made[: len(one.seeds)], made[len(one.seeds) :]
    return [network for one in trained for network in one._known[training]]


def train_all(
    sets: Sequence[SyntheticSet],
    training: Training,
    *,
    seeds: Sequence[int],
    device: torch.device | str = "cpu",
) -> list[Network]:
    """Train a network on each set: on a GPU those of equal size side by side, else in turn.

    Args:
        sets: One for each network; a set may come several times.
        training: How.
        seeds: Public seed of each network.
        device: Where.
    """
    alike: dict[object, list[int]] = {}
    stacked = stacks_pay(device) and may_be_stacked(training.attack)
    records = [one.training_records() for one in sets] if stacked else []
    for place, (x, _) in enumerate(records):
        alike.setdefault(x.shape, []).append(place)
    found: dict[int, Network] = {}
    for places in (places for places in alike.values() if len(places) > 1):
        x, labels = (torch.stack([records[k][part] for k in places]) for part in (0, 1))
        own = [seeds[k] for k in places]
        made = fit_stack(x, labels, sets[0].info, training, seeds=own, device=device)
        found.update(zip(places, made, strict=True))
    return [
        found[k] if k in found else train(one, training, seed=seed, device=device)
        for k, (one, seed) in enumerate(zip(sets, seeds, strict=True))
    ]
