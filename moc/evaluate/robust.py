"""Robust correctness: per record, the worst of several attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

import torch
from torch import Tensor, nn

from moc.attacks.base import Attack
from moc.attacks.threat import AttackError, Threat
from moc.attacks.victim import untouched
from moc.evaluate.suites import Suite

BATCH = 250
"""Records attacked at once; part of a per-record result, which holds for one shape of call."""


@dataclass(frozen=True, kw_only=True)
class RobustResult:
    """Which records a model still gets right.

    Attributes:
        clean: Right without an attack, (n,) bool.
        robust: Right under every attack, (n,) bool; never more than `clean`.
        per_attack: By label of the attack, in order: right under this attack and all before it.
            The last one is `robust`.
    """

    clean: Tensor
    robust: Tensor
    per_attack: dict[str, Tensor]


def correct(model: nn.Module, x: Tensor, y: Tensor, *, batch: int = BATCH) -> Tensor:
    """Which records (n, *shape) in [0, 1] the model gets right in evaluation mode, (n,) bool.

    Every call to the model has exactly `batch` records, the last one filled up with zeros, so
    that the outcome of a record does not depend on how many there are.
    """
    return _outcomes(model, lambda images, _labels: images, x, y, batch=batch, fill=True)


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """A suite set on a model.

    A record that fell to one attack is not attacked again, unless the suite is per record: then
    all are attacked in calls of one fixed shape, and no outcome depends on another record.

    Attributes:
        model: Maps records in [0, 1] to logits (n, classes).
        suite: The attacks.
        threat: The norm and the budget.
        classes: Number of logits.
        seed: Public seed of the attacks' random numbers.
        batch: Records attacked at once.
    """

    model: nn.Module
    suite: Suite
    threat: Threat
    classes: int
    seed: int
    batch: int = BATCH

    def correct(self, x: Tensor, y: Tensor) -> Tensor:
        """Which records (n, *shape) in [0, 1] are right under every attack, (n,) bool.

        Raises:
            AttackError: If the records are outside [0, 1] or the model cannot be attacked.
        """
        return self.result(x, y).robust

    def result(self, x: Tensor, y: Tensor) -> RobustResult:
        """The outcome of each record, clean, after each attack, and at worst; see `correct`."""
        clean = correct(self.model, x, y, batch=self.batch)
        per_attack = self._run(x, y, self.threat, clean)
        last = self.suite.attacks[-1].label
        return RobustResult(clean=clean, robust=per_attack[last], per_attack=per_attack)

    def curve(self, x: Tensor, y: Tensor, threats: Sequence[Threat]) -> Tensor:
        """Right under every attack within each of rising budgets of one norm: (m, n) bool.

        A perturbation within one budget is within all larger ones, so a record that fell stays
        fallen: the curve falls by construction. Whether an attack gets stronger with its budget on
        its own is asked in `moc.evaluate.masking`.

        Raises:
            AttackError: If the budgets do not rise or differ in norm.
        """
        sizes = [threat.eps for threat in threats]
        if not sizes or sorted(set(sizes)) != sizes or len({t.norm for t in threats}) > 1:
            raise AttackError(f"Rising budgets of one norm expected, found {list(threats)}.")
        alive, rows = correct(self.model, x, y, batch=self.batch), []
        for threat in threats:
            alive = self._run(x, y, threat, alive)[self.suite.attacks[-1].label]
            rows.append(alive)
        return torch.stack(rows)

    def _run(self, x: Tensor, y: Tensor, threat: Threat, alive: Tensor) -> dict[str, Tensor]:
        """Which of the records `alive` (n,) bool are left after each attack, by label."""
        draw = torch.Generator().manual_seed(self.seed)
        left: dict[str, Tensor] = {}
        for attack in self.suite.attacks:
            first = int(torch.randint(2**31, (), generator=draw))
            alive = self.after(attack, x, y, threat=threat, alive=alive, first=first)
            left[attack.label] = alive
        return left

    def after(
        self, attack: Attack, x: Tensor, y: Tensor, *, threat: Threat, alive: Tensor, first: int
    ) -> Tensor:
        """Which of the records `alive` (n,) bool are right after one attack, (n,) bool.

        Its calls have the seeds `first`, `first` + 1, ...
        """
        perturb = partial(self._perturb, attack, threat, count(first))
        if self.suite.per_record:
            return alive & _outcomes(self.model, perturb, x, y, batch=self.batch, fill=True)
        rows, alive = alive.nonzero().squeeze(1), alive.clone()
        alive[rows] = _outcomes(self.model, perturb, x[rows], y[rows], batch=self.batch, fill=False)
        return alive

    def _perturb(
        self, attack: Attack, threat: Threat, seeds: Iterator[int], x: Tensor, y: Tensor
    ) -> Tensor:
        return attack(self.model, x, y, threat=threat, classes=self.classes, seed=next(seeds))


def _outcomes(
    model: nn.Module,
    perturb: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    *,
    batch: int,
    fill: bool,
) -> Tensor:
    """Which records are right after `perturb`, (n,) bool; `fill` makes all calls of one shape.

    A record whose logits are not numbers is wrong.
    """
    right = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    y = y.to(x.device)
    for start in range(0, len(x), batch):
        images, labels = x[start : start + batch], y[start : start + batch]
        size = len(images)
        if fill and size < batch:
            images = torch.cat((images, images.new_zeros(batch - size, *x.shape[1:])))
            labels = torch.cat((labels, labels.new_zeros(batch - size)))
        images = perturb(images, labels)
        with untouched(model), torch.no_grad():
            logits = model(images)
        known = (logits.argmax(1) == labels) & ~logits.isnan().any(1)
        right[start : start + size] = known[:size]
    return right
