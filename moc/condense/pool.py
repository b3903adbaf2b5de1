"""Pools: networks that are trained on a synthetic set while it is being condensed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor

    from moc.bank import Member, Members

_LR, _MOMENTUM, _DECAY = 0.03, 0.9, 5e-4  # SGD as in the fast protocol's first epochs
_CENTRE_IMAGES = 64
_BATCH = 128
"""Records of the set in each step of training, at most."""


@dataclass
class _Trained:
    """A network of a pool: the member that is looked through, and its training."""

    member: Member
    optimiser: torch.optim.Optimizer
    left: int


class Pool:
    """Networks at all ages between fresh and trained on one set, as in FRePo (arXiv 2206.00719).

    Random networks stand for what a network is before it is trained on S; what counts is what it
    becomes. Every network takes a few steps on the set each time it has been looked through, and
    is replaced by a fresh one when it is `age` steps old. Measured on Fashion-MNIST (10 images a
    class, ridge risk under attack at Linf 0.1, 250 steps): 72.3 % clean and 26.4 % robust accuracy
    against 66.9 and 24.6 under random networks.
    """

    def __init__(self, bank: Members, *, size: int, age: int, inner: int, seed: int) -> None:
        """Fill the pool with fresh networks, to be replaced one after the other.

        Args:
            bank: Gives architectures, device and the law of fresh networks; its members are used
                by nobody else.
            size: How many networks.
            age: Steps on the set after which a network is replaced.
            inner: Steps that a network takes each time.
            seed: Public seed of the set that the networks are trained on.
        """
        self._bank, self._age, self._inner = bank, age, inner
        self._next = seed * 1_000_003
        self._generator = torch.Generator().manual_seed(self._next)
        noise = torch.rand(_CENTRE_IMAGES, *bank.info.shape, generator=self._generator)
        self._noise = noise.to(bank.device)
        self._networks = [self._fresh(age * (i + 1) // size) for i in range(size)]

    def member(self, step: int) -> Member:
        """The network that this step looks through; the networks take turns."""
        return self._networks[step % len(self._networks)].member

    def train(self, step: int, records: Tensor, labels: Tensor) -> None:
        """Train this step's network on the set: records (M, *shape), label distributions (M, c)."""
        place = step % len(self._networks)
        one = self._networks[place]
        network = one.member.network.requires_grad_(True)
        for _ in range(self._inner):
            index = torch.randperm(len(records), generator=self._generator)[:_BATCH]
            index = index.sort().values.to(records.device)
            one.optimiser.zero_grad(set_to_none=True)
            F.cross_entropy(network(records[index]), labels[index]).backward()
            one.optimiser.step()
        network.requires_grad_(False)
        one.member.set_centre(self._noise)
        one.left -= self._inner
        if one.left <= 0:
            self._networks[place] = self._fresh(self._age)

    def _fresh(self, left: int) -> _Trained:
        """A fresh network with so many steps before it."""
        member = self._bank.fresh(self._next)
        self._next += 1
        optimiser = torch.optim.SGD(
            member.network.parameters(), lr=_LR, momentum=_MOMENTUM, weight_decay=_DECAY
        )
        return _Trained(member=member, optimiser=optimiser, left=left)
