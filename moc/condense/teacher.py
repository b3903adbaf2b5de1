"""Robust teachers: networks trained adversarially on records that condensation may read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from moc.attacks import Attack, Threat
from moc.networks import Network, NetworkSpec, build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from moc.condense.loop import Progress
    from moc.data.real import DataInfo


class BatchSource(Protocol):
    """Whatever hands out batches of records: samples of T in an open study, or a proxy."""

    info: DataInfo
    device: str

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Records (size, *shape) in [0, 1] and label distributions (size, c); fixed by `step`."""
        ...


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """How teachers are trained (PGD adversarial training, Madry et al., arXiv 1706.06083).

    Attributes:
        network: Architecture.
        count: How many teachers; their predictions are averaged.
        steps: SGD steps; the learning rate falls by 10 after 70 % of them.
        batch: Records a step.
        lr: Learning rate, with momentum 0.9 and weight decay 5e-4.
        attack_steps: PGD steps of the inner maximum.
    """

    network: NetworkSpec
    count: int = 1
    steps: int = 300
    batch: int = 128
    lr: float = 0.03
    attack_steps: int = 4


def train_teachers(
    source: BatchSource,
    *,
    settings: TeacherSettings,
    threat: Threat,
    seed: int,
    progress: Progress | None = None,
) -> list[Network]:
    """Train teachers on attacked batches of `source`, with public seeds.

    If the source is made from a release, so are the teachers: post-processing, at no cost.
    """
    total = settings.count * settings.steps
    teachers = []
    for number in range(settings.count):
        network = build(settings.network, source.info, seed=seed * 1009 + number)
        network = network.to(source.device).train()
        for step in training_steps(network, source, settings, threat, seed * 1009 + number):
            if progress is not None:
                progress(number * settings.steps + step + 1, total)
        teachers.append(network.eval().requires_grad_(False))
    return teachers


def training_steps(
    network: Network, source: BatchSource, s: TeacherSettings, threat: Threat, seed: int
) -> Iterator[int]:
    """Train `network` in place on attacked batches of public seed `seed`; yields every step."""
    attack = Attack(name="pgd-ce", steps=s.attack_steps)
    optimiser = torch.optim.SGD(network.parameters(), lr=s.lr, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [int(0.7 * s.steps)])
    classes = len(source.info.classes)
    for step in range(s.steps):
        x, labels = source.batch(seed * 1_000_003 + step, s.batch)
        attacked = attack(network, x, labels.argmax(1), threat=threat, classes=classes, seed=step)
        loss = -(labels * network(attacked).log_softmax(1)).sum(1).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        yield step
