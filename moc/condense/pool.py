"""Pools: networks that are trained on a synthetic set while it is being condensed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moc.condense.settings import PoolSettings
from moc.networks.bank import Bank, Member
from moc.networks.train import SGD, Trainer

_SGD = SGD(lr=0.03, momentum=0.9, weight_decay=5e-4)  # as in the fast protocol's first epochs
_CENTRE_IMAGES = 64
_BATCH = 128
"""Records of the set in each step of training, at most."""


@dataclass
class _Growing:
    """A network of a pool, its training, and the steps before it is replaced."""

    member: Member
    trainer: Trainer
    left: int


class Pool:
    """Networks at all ages between fresh and trained on one set, as in FRePo (arXiv 2206.00719).

    Random networks stand for what a network is before it is trained on S; what counts is what it
    becomes. Every network takes a few steps on the set each time it has been used, and is replaced
    by a fresh one when it is old.
    """

    def __init__(self, bank: Bank, settings: PoolSettings, *, seed: int) -> None:
        """Fill the pool with fresh networks, to be replaced one after the other.

        Args:
            bank: Gives architectures, device and the law of fresh networks; its members are used
                by nobody else.
            settings: How many networks, their age and their steps.
            seed: Public seed of the set that the networks are trained on.
        """
        self._bank, self._settings = bank, settings
        self._next = seed * 1_000_003
        self._generator = torch.Generator().manual_seed(self._next)
        noise = torch.rand(_CENTRE_IMAGES, *bank.info.shape, generator=self._generator)
        self._noise = noise.to(bank.device)
        size = settings.size
        self._networks = [self._fresh(settings.age * (i + 1) // size) for i in range(size)]

    def member(self, step: int) -> Member:
        """The network of this step; the networks take turns."""
        return self._networks[step % len(self._networks)].member

    def train(self, step: int, records: Tensor, labels: Tensor) -> None:
        """Train this step's network on the set: records (M, *shape), label distributions (M, c)."""
        place = step % len(self._networks)
        one = self._networks[place]
        one.member.network.requires_grad_(True)
        for _ in range(self._settings.inner):
            index = torch.randperm(len(records), generator=self._generator)[:_BATCH]
            index = index.sort().values.to(records.device)
            one.trainer.step(records[index], labels[index])
        one.member.network.requires_grad_(False)
        one.member.set_centre(self._noise)
        one.left -= self._settings.inner
        if one.left <= 0:
            self._networks[place] = self._fresh(self._settings.age)

    def _fresh(self, left: int) -> _Growing:
        """A fresh network with so many steps before it."""
        member = self._bank.fresh(self._next)
        self._next += 1
        return _Growing(member=member, trainer=Trainer(member.network, _SGD), left=left)


class Pools:
    """The pools of B sets or curves, one for each group of the points of every one."""

    def __init__(
        self, bank: Bank, settings: PoolSettings, *, seeds: Sequence[int], groups: Sequence[slice]
    ) -> None:
        """Fill them; those of one set or curve are alike until they are trained.

        Args:
            bank: Gives their networks.
            settings: Of every pool.
            seeds: Public seed of each of the B sets or curves.
            groups: The points as parts of 0 .. n.
        """
        self._own = [
            [(group, Pool(bank, settings, seed=seed)) for group in groups] for seed in seeds
        ]

    def members(self, step: int) -> list[list[tuple[slice, Member]]]:
        """For each set or curve, its groups with the network that each has in this step."""
        return [[(group, pool.member(step)) for group, pool in own] for own in self._own]

    def train(self, steps: Iterable[int], records: Tensor, labels: Tensor) -> None:
        """Train every pool on a point of its group, the next in turn.

        Args:
            steps: The steps that it was used in.
            records: Of all points (B, n, M, *shape).
            labels: Their distributions (B, n, M, c).
        """
        for own, x, y in zip(self._own, records, labels, strict=True):
            for group, pool in own:
                shown, targets = x[group].detach(), y[group].detach()
                for step in steps:
                    place = step % len(shown)
                    pool.train(step, shown[place], targets[place])
