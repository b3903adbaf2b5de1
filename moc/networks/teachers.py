"""Robust teachers: networks trained under attack on what condensation may read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from moc.attacks.base import ATTACKS, Attack
from moc.attacks.gradient import PgdCe
from moc.attacks.threat import Threat
from moc.networks.architectures import AnyNetwork, Architecture
from moc.networks.network import Network, build
from moc.networks.stack import OwnNumbers, Stack, may_be_stacked, stacks_pay
from moc.networks.train import SGD, BatchSource, Progress, Trainer

_CONFIG = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)


class TeacherSettings(BaseModel):
    """`[teacher]`: how robust teachers are trained on what condensation may read.

    Attributes:
        network: Architecture; by the records' shape if left out.
        count: How many teachers; their predictions are averaged.
        steps: SGD steps; the learning rate falls by 10 after 70 % of them.
        batch: Records a step.
        lr: Learning rate.
        adversarial: Whether batches are attacked (PGD adversarial training, arXiv 1706.06083).
        attack: By what.
    """

    model_config = _CONFIG
    network: AnyNetwork | None = None
    count: int = Field(default=1, gt=0)
    steps: int = Field(default=300, gt=0)
    batch: int = Field(default=128, gt=0)
    lr: float = Field(default=0.03, gt=0, allow_inf_nan=False)
    adversarial: bool = True
    attack: Annotated[Attack, ATTACKS] = PgdCe(steps=4)


def train_teachers(
    source: BatchSource,
    *,
    network: Architecture,
    settings: TeacherSettings,
    threat: Threat,
    seed: int,
    progress: Progress | None = None,
) -> list[Network]:
    """Train teachers on batches of `source`, with public seeds; several side by side on a GPU.

    If the source is made from a release, so are the teachers: post-processing, at no cost.
    """
    numbers = [seed * 1009 + number for number in range(settings.count)]
    attack = settings.attack if settings.adversarial else None
    together = len(numbers) > 1 and may_be_stacked(attack) and stacks_pay(source.device)
    groups = [numbers] if together else [[number] for number in numbers]
    teachers: list[Network] = []
    for place, group in enumerate(groups):
        networks = [build(network, source.info, seed=own).to(source.device) for own in group]
        model = Stack(networks).to(source.device) if together else networks[0].train()
        trainer = Trainer(model, SGD(lr=settings.lr), networks=len(group))
        for step in range(settings.steps):
            x, labels = _batch(source, group, step, settings.batch)
            if attack is not None:
                x = _attacked(model, x, labels, step, len(group), attack, threat)
            trainer.step(x, labels, decayed=step >= int(0.7 * settings.steps))
            if progress is not None:
                progress(place * settings.steps + step + 1, len(groups) * settings.steps)
        found = model.networks() if isinstance(model, Stack) else networks
        teachers += [one.eval().requires_grad_(False) for one in found]
    return teachers


def _batch(
    source: BatchSource, group: Sequence[int], step: int, size: int
) -> tuple[Tensor, Tensor]:
    """The batches that the networks of a group see in a step, one after the other."""
    batches = [source.batch(own * 1_000_003 + step, size) for own in group]
    x, labels = zip(*batches, strict=True)
    return torch.cat(x), torch.cat(labels)


def _attacked(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    step: int,
    networks: int,
    attack: Attack,
    threat: Threat,
) -> Tensor:
    """The records of a step under attack on their own network, with its own random numbers."""
    counts = [len(x) // networks] * networks
    with OwnNumbers([step] * networks, counts, x.device) if networks > 1 else nullcontext():
        return attack(
            model,
            x,
            labels.argmax(1),
            threat=threat,
            classes=labels.shape[1],
            seed=step,
            trusted=True,
        )
