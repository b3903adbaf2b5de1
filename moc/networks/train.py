"""The training loop, and what a training on a set is."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from moc.attacks.base import ATTACKS, Attack
from moc.attacks.threat import Threat
from moc.data.augment import AugmentationDraw
from moc.data.declared import DataInfo
from moc.data.synthetic import SyntheticSet
from moc.networks.architectures import AnyNetwork
from moc.networks.network import Network, build
from moc.networks.steps import augmentation_of, plan

_CONFIG = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)
_DECAY = 0.1


class Progress(Protocol):
    """Told how far a long piece of work has come."""

    def __call__(self, done: int, total: int, /) -> None:
        """Say that `done` of `total` steps are done."""


class BatchSource(Protocol):
    """Whatever hands out batches of records: samples of T in an open study, or a proxy."""

    info: DataInfo
    device: str

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Records (size, *shape) in [0, 1] and label distributions (size, c); fixed by `step`."""
        ...


class SGD(BaseModel):
    """Stochastic gradient descent with momentum, on all parameters.

    Attributes:
        lr: Learning rate at first; a tenth of it at the end.
        momentum: Momentum.
        weight_decay: Weight decay.
    """

    model_config = _CONFIG
    lr: float = Field(gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)


class Trainer:
    """A network, or several as one module, and their optimiser."""

    def __init__(self, network: nn.Module, sgd: SGD, *, networks: int = 1) -> None:
        """Train `network` in place; it is so many, each with as many of the records of a step."""
        self.network, self._sgd, self._networks = network, sgd, networks
        self._optimiser = torch.optim.SGD(
            network.parameters(),
            lr=sgd.lr,
            momentum=sgd.momentum,
            weight_decay=sgd.weight_decay,
            fused=True,
        )

    def step(self, x: Tensor, labels: Tensor, *, decayed: bool = False) -> None:
        """One step on the cross-entropy.

        Args:
            x: Records (n, *shape), as the network is to see them.
            labels: Label distributions (n, classes), or right labels (n,).
            decayed: Whether the learning rate is at its end.
        """
        self._optimiser.param_groups[0]["lr"] = self._sgd.lr * (_DECAY if decayed else 1.0)
        self._optimiser.zero_grad(set_to_none=True)
        (self._networks * F.cross_entropy(self.network(x), labels)).backward()
        self._optimiser.step()


class Training(BaseModel):
    """How a network is trained on a set, the same for every set that is compared.

    Attributes:
        network: Architecture.
        epochs: Full passes over the set, E; one step each if the set fits into a batch.
        batch: Records a step.
        sgd: Optimiser; the learning rate of epochs 0..E // 2, a tenth of it in the rest.
        augmentation: `dsa` (every record its own draw) or `none`.
        attack: What every batch is attacked by within `threat` (Madry et al., arXiv 1706.06083);
            none for plain training. A set is claimed to be robust under plain training;
            adversarial training on S is another recipe.
        threat: Norm and budget of that attack.
    """

    model_config = _CONFIG
    network: AnyNetwork
    epochs: int = Field(gt=0)
    batch: int = Field(default=256, gt=0)
    sgd: SGD
    augmentation: Literal["dsa", "none"] = "none"
    attack: Annotated[Attack, ATTACKS] | None = None
    threat: Threat = Threat(eps=0.0)

    def decayed(self, epoch: int) -> bool:
        """Whether an epoch, counted from 0, has the smaller learning rate."""
        return epoch >= self.epochs // 2 + 1

    def under(self, attack: Attack, threat: Threat) -> Training:
        """The same with every batch attacked within `threat`."""
        return self.model_copy(update={"attack": attack, "threat": threat})


def train(
    synthetic: SyntheticSet, training: Training, *, seed: int, device: torch.device | str = "cpu"
) -> Network:
    """Train on the decoded records of a set; see `fit`."""
    x, labels = synthetic.training_records()
    return fit(x, labels, synthetic.info, training, seed=seed, device=device)


def fit(
    x: Tensor,
    labels: Tensor,
    info: DataInfo,
    training: Training,
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
        training: Architecture, schedule, augmentation, and whether batches are attacked.
        seed: Public seed of the weights, of the order of the records and of the augmentation; the
            random state of the process is neither read nor changed.
        device: Where to train.

    Returns:
        A network in evaluation mode whose parameters take no gradient, on `device`.

    Raises:
        StudyError: If network or augmentation need images and records are vectors.
    """
    network = build(training.network, info, seed=seed).to(device).train()
    trainer = Trainer(network, training.sgd)
    x, labels = x.detach().to(device), labels.detach().to(device)
    augmentation, generator = augmentation_of(training, info), torch.Generator().manual_seed(seed)
    for epoch, rows, draw in plan(len(x), training, augmentation, info, [generator], device):
        images, targets = (x, labels) if rows is None else (x[rows[0]], labels[rows[0]])
        if training.attack is not None:
            images = training.attack(
                Augmented(draw, network),
                images,
                targets if targets.dim() == 1 else targets.argmax(1),
                threat=training.threat,
                classes=network.head.out_features,
                seed=int(torch.randint(2**31, (), generator=generator)),
                trusted=True,
            )
        trainer.step(draw(images), targets, decayed=training.decayed(epoch))
    network.zero_grad(set_to_none=True)
    return network.eval().requires_grad_(False)


class Augmented(nn.Module):
    """A network, or a stack, behind one draw: an attack stays in [0, 1], augmentation may not."""

    def __init__(self, draw: AugmentationDraw, network: nn.Module) -> None:
        """Put `network` behind `draw`."""
        super().__init__()
        self.draw, self.network = draw, network

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of the augmented records."""
        return self.network(self.draw(x))
