"""Several networks under one suite of attacks at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from moc.attacks.base import Attack
from moc.attacks.threat import Threat
from moc.attacks.victim import untouched
from moc.evaluate.robust import BATCH, Robustness
from moc.evaluate.suites import Suite
from moc.networks.network import Network, finite_weights
from moc.networks.stack import OwnNumbers, Stack, stacks_pay


@dataclass(frozen=True, kw_only=True)
class Together:
    """A suite set on R networks of one architecture, as `Robustness` would be on each in turn.

    Gradient attacks see all networks as one stack, and every network its own random numbers; of
    each, only records that have not fallen yet are attacked, as in turn. Other attacks choose for
    themselves which records to show a model: they are run in turn.

    Attributes:
        networks: The networks, with finite weights, on the device of the records.
        suite: The attacks.
        threat: The norm and the budget.
        seeds: Public seed of the attacks on each network.
        batch: Records of each network that are attacked at once.
    """

    networks: Sequence[Network]
    suite: Suite
    threat: Threat
    seeds: Sequence[int]
    batch: int = BATCH

    def correct(self, x: Tensor, y: Tensor) -> Tensor:
        """Which records (n, *shape) in [0, 1] are right under every attack, (R, n) bool."""
        return self.curve(x, y, [self.threat])[0]

    def curve(self, x: Tensor, y: Tensor, threats: Sequence[Threat]) -> Tensor:
        """The same within each of rising budgets of one norm: (m, R, n) bool."""
        stack, y = Stack(self.networks), y.to(x.device)
        everywhere = torch.ones(stack.size, len(x), dtype=torch.bool, device=x.device)
        alive, rows = self._left(stack, x, y, everywhere, whole=True), []
        for threat in threats:
            draws = [torch.Generator().manual_seed(seed) for seed in self.seeds]
            for attack in self.suite.attacks:
                first = [int(torch.randint(2**31, (), generator=draw)) for draw in draws]
                if attack.in_order:
                    perturb = partial(self._perturb, attack, threat, stack, first)
                    whole = self.suite.per_record
                    alive = self._left(stack, x, y, alive, whole=whole, perturb=perturb)
                else:
                    alive = self._in_turn(attack, threat, x, y, alive, first)
            rows.append(alive)
        return torch.stack(rows)

    def _left(
        self,
        stack: Stack,
        x: Tensor,
        y: Tensor,
        alive: Tensor,
        *,
        whole: bool,
        perturb: Callable[[int, Sequence[int], Tensor, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Which of the records `alive` (R, n) are right after `perturb`; `whole` shows all."""
        every = torch.arange(len(x), device=x.device)
        shown = [every if whole else own.nonzero().squeeze(1) for own in alive]
        left = torch.zeros_like(alive)
        for call, start in enumerate(range(0, max(map(len, shown)), self.batch)):
            parts = [rows[start : start + self.batch] for rows in shown]
            counts = [len(part) for part in parts]
            size = self.batch if whole else max(counts)
            images, labels = (
                x.new_zeros(stack.size, size, *x.shape[1:]),
                y.new_zeros(stack.size, size),
            )
            for r, part in enumerate(parts):
                images[r, : counts[r]], labels[r, : counts[r]] = x[part], y[part]
            found = images.flatten(0, 1)
            if perturb is not None:
                found = perturb(call, counts, found, labels.flatten())
            with untouched(stack), torch.no_grad():
                logits = stack(found).unflatten(0, labels.shape)
            right = (logits.argmax(2) == labels) & ~logits.isnan().any(2)
            for r, part in enumerate(parts):
                left[r, part] = right[r, : counts[r]]
        return alive & left

    def _perturb(
        self,
        attack: Attack,
        threat: Threat,
        stack: Stack,
        first: Sequence[int],
        call: int,
        counts: Sequence[int],
        x: Tensor,
        y: Tensor,
    ) -> Tensor:
        """Records (R * size, *shape) under attack, of which each network has so many."""
        with OwnNumbers([one + call for one in first], counts, x.device):
            return attack(stack, x, y, threat=threat, classes=self._classes, seed=0)

    def _in_turn(
        self,
        attack: Attack,
        threat: Threat,
        x: Tensor,
        y: Tensor,
        alive: Tensor,
        first: Sequence[int],
    ) -> Tensor:
        """Which of the records `alive` (R, n) are right after an attack on each network."""
        found = []
        for network, seed, own, number in zip(self.networks, self.seeds, alive, first, strict=True):
            one = Robustness(
                model=network,
                suite=self.suite,
                threat=threat,
                classes=self._classes,
                seed=seed,
                batch=self.batch,
            )
            found.append(one.after(attack, x, y, threat=threat, alive=own, first=number))
        return torch.stack(found)

    @property
    def _classes(self) -> int:
        return self.networks[0].head.out_features


def stackable(networks: Sequence[Network]) -> bool:
    """Whether several finite networks are where a stack of them is faster than each in turn."""
    pays = len(networks) > 1 and stacks_pay(networks[0].mean.device)
    return pays and all(finite_weights(network) for network in networks)
