"""The steps of trainings, side by side: which records each sees, and how they are augmented."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from moc.data.augment import Augmentation, AugmentationDraw, Chances
from moc.data.declared import DataInfo

if TYPE_CHECKING:
    from moc.networks.train import Training

_AHEAD = 64  # steps whose augmentation is drawn together


def augmentation_of(training: Training, info: DataInfo) -> Augmentation:
    """What may be done to records of such data in a training."""
    return Augmentation.dsa(info.mirrored) if training.augmentation == "dsa" else Augmentation()


_Step = tuple[int, Tensor | None, AugmentationDraw]
"""Epoch, rows (R, m) of the sets (all without a copy if None), and how R * m are augmented."""
_Waiting = tuple[int, Tensor | None, Chances]


def plan(
    n: int,
    training: Training,
    augmentation: Augmentation,
    info: DataInfo,
    generators: Sequence[Generator],
    device: torch.device | str,
) -> Iterator[_Step]:
    """Every step of R trainings side by side, each on n records and with a generator of its own.

    Draws are made, and moved to the device, for several steps together, unless an attack takes its
    seed in between.
    """
    waiting: list[_Waiting] = []
    for epoch in range(training.epochs):
        for each in zip(*(_orders(n, training.batch, one) for one in generators), strict=True):
            rows = (
                None if each[0] is None else torch.stack([one for one in each if one is not None])
            )
            size = n if rows is None else rows.shape[1]
            chances = [augmentation.chances(size, generator=one) for one in generators]
            waiting.append((epoch, rows, Chances.together(chances)))
            if len(waiting) == _AHEAD or training.attack is not None:
                yield from _drawn(waiting, info.shape, augmentation, device)
                waiting.clear()
    yield from _drawn(waiting, info.shape, augmentation, device)


def _drawn(
    waiting: Sequence[_Waiting],
    shape: tuple[int, ...],
    augmentation: Augmentation,
    device: torch.device | str,
) -> Iterator[_Step]:
    if not waiting:
        return
    together = Chances.together([one for *_, one in waiting])
    draws = augmentation.of(together, shape).to(device)
    first = 0
    for epoch, rows, chances in waiting:
        last = first + len(chances.u)
        yield epoch, None if rows is None else rows.to(device), draws.rows(first, last)
        first = last


def _orders(n: int, batch: int, generator: Generator) -> Iterator[Tensor | None]:
    """The batches of one pass in a fresh order; None for all records if they fit into one."""
    if n <= batch:
        yield None
    else:
        yield from torch.randperm(n, generator=generator).split(batch)
