"""Networks that learn from a synthetic set, kept at several ages: the bank of a later round.

Class means under random networks stop telling sets apart; under networks that have learned from
what earlier rounds released they tell more. The set that they learn from is made from the smallest
epsilon of those rounds, which every reader of the later round may see, so that one pass over T
serves every rung.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from typing_extensions import override

from moc.data.augment import Augmentation
from moc.data.declared import DataInfo
from moc.networks.architectures import Architecture
from moc.networks.bank import Bank
from moc.networks.network import Network, build, copied
from moc.networks.train import SGD, Progress, Trainer


class LearnedSettings(BaseModel):
    """`learned` in `[[rounds]]`: its networks learn from a set made of the rounds before.

    Attributes:
        images_per_class: Records a class of that set.
        steps: Optimiser steps that it is made in.
        lr: Learning rate of these.
        ages: Steps of training after which a network is kept; each training gives one of every age.
        batch: Records a step of training.
        sgd: Optimiser of training, at one learning rate throughout.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)
    images_per_class: int = Field(default=50, gt=0)
    steps: int = Field(default=300, gt=0)
    lr: float = Field(default=0.05, gt=0)
    ages: tuple[int, ...] = Field(default=(10, 20, 40, 80, 160, 320), min_length=1)
    batch: int = Field(default=128, gt=0)
    sgd: SGD = SGD(lr=0.01)


@dataclass(frozen=True, kw_only=True)
class LearnedBank(Bank):
    """A bank of given networks; augmentation, projection and centre are drawn as in any other.

    Attributes:
        weights: The networks, member by member.
        centre: Records (n, *shape) that all readers know, whose mean embedding is the centre of
            every member.
        digest: Of weights and centre, for the ledger.
    """

    weights: tuple[Network, ...] = field(repr=False, compare=False)
    centre: Tensor = field(repr=False, compare=False)
    digest: str

    @override
    def network(self, k: int, seed: int) -> Network:
        return copied(self.weights[k])

    @override
    def middle(self, generator: torch.Generator) -> Tensor:
        return self.centre

    @override
    def describe(self) -> str:
        return f"networks that learned (sha256 {self.digest}) from {super().describe()}"


def train_aged(
    x: Tensor,
    labels: Tensor,
    info: DataInfo,
    *,
    networks: Sequence[Architecture],
    count: int,
    settings: LearnedSettings,
    seed: int,
    progress: Progress | None = None,
) -> list[Network]:
    """Train on a set, and keep a network whenever it reaches one of the ages.

    Args:
        x: Records (n, *shape) in [0, 1].
        labels: Label distributions (n, classes).
        info: Public facts about the data.
        networks: Architectures, used in turn, one a training.
        count: How many networks to keep.
        settings: Ages and schedule.
        seed: Public seed of the weights, the batches and the augmentation.
        progress: Told (networks kept, networks in all).

    Returns:
        Networks in evaluation mode on the device of `x`, ages in turn.
    """
    kept: list[Network] = []
    augmentation = Augmentation.dsa(info.mirrored) if info.is_image else Augmentation.none()
    for number, start in enumerate(range(0, count, len(settings.ages))):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        own = int(torch.randint(2**62, (), generator=generator))
        network = build(networks[number % len(networks)], info, seed=own).to(x.device).train()
        trainer, age = Trainer(network, settings.sgd), 0
        for wanted in sorted(settings.ages)[: count - start]:
            for _ in range(wanted - age):
                rows = torch.randint(len(x), (settings.batch,), generator=generator)
                draw = augmentation.draw(len(rows), info.shape, generator=generator)
                trainer.step(draw(x[rows]), labels[rows])
            age = wanted
            kept.append(copied(network).eval().requires_grad_(False))
            if progress is not None:
                progress(len(kept), count)
    return kept
