"""Train a fresh network on a synthetic set, or on any small set of records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from moc.data.augment import Augmentation
from moc.evaluate.protocol import TRAINING_ATTACK
from moc.networks import Network, build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Generator, Tensor

    from moc.attacks import Threat
    from moc.data.augment import Draw
    from moc.data.real import DataInfo
    from moc.data.synthetic import SyntheticSet
    from moc.evaluate.protocol import Protocol


def train(
    synthetic: SyntheticSet, protocol: Protocol, *, seed: int, device: torch.device | str = "cpu"
) -> Network:
    """Train on the decoded records of a set; see `fit`."""
    x, labels = synthetic.training_records()
    return fit(x, labels, synthetic.info, protocol, seed=seed, device=device)


def fit(
    x: Tensor,
    labels: Tensor,
    info: DataInfo,
    protocol: Protocol,
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> Network:
    """Train a fresh network by SGD on the cross-entropy, and return that of the last epoch.

    Never the best epoch: that would need held-out records, and flatters the set.

    Args:
        x: Records (n, *shape) float32 in [0, 1].
        labels: Label distributions (n, classes), or right labels (n,).
        info: Public facts about the data.
        protocol: Architecture, schedule, augmentation, and whether batches are attacked.
        seed: Public seed of the weights, of the order of the records and of the augmentation; the
            random state of the process is neither read nor changed.
        device: Where to train.

    Returns:
        A network in evaluation mode whose parameters take no gradient, on `device`.

    Raises:
        StudyError: If network or augmentation need images and records are vectors.
    """
    network = build(protocol.network, info, seed=seed).to(device).train()
    x, labels = x.detach().to(device), labels.detach().to(device)
    dsa = protocol.augmentation == "dsa"
    augmentation = Augmentation.dsa(info.mirrored) if dsa else Augmentation.none()
    adversarial = protocol.training == "adversarial"
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=protocol.lr,
        momentum=protocol.momentum,
        weight_decay=protocol.weight_decay,
    )
    for epoch in range(protocol.epochs):
        optimiser.param_groups[0]["lr"] = protocol.rate(epoch)
        for images, targets in _batches(x, labels, protocol.batch, generator):
            draw = augmentation.draw(len(images), info.shape, generator=generator)
            if adversarial:
                images = _attacked(network, draw, images, targets, protocol.threat, generator)
            optimiser.zero_grad(set_to_none=True)
            F.cross_entropy(network(draw(images)), targets).backward()
            optimiser.step()
    network.zero_grad(set_to_none=True)
    return network.eval().requires_grad_(False)


def _batches(
    x: Tensor, labels: Tensor, batch: int, generator: Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass in a fresh order; a set that fits into a batch is taken whole, without a copy."""
    if len(x) <= batch:
        yield x, labels
        return
    for rows in torch.randperm(len(x), generator=generator).split(batch):
        yield x[rows], labels[rows]


def _attacked(
    network: Network, draw: Draw, x: Tensor, labels: Tensor, threat: Threat, generator: Generator
) -> Tensor:
    """The batch under attack: the inner maximum of adversarial training, frozen."""
    return TRAINING_ATTACK(
        _Augmented(draw, network),
        x,
        labels if labels.dim() == 1 else labels.argmax(1),
        threat=threat,
        classes=network.head.out_features,
        seed=int(torch.randint(2**31, (), generator=generator)),
    )


class _Augmented(nn.Module):
    """A network behind one draw, so that an attack stays in [0, 1] where augmentation does not."""

    def __init__(self, draw: Draw, network: Network) -> None:
        super().__init__()
        self.draw, self.network = draw, network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.draw(x))
