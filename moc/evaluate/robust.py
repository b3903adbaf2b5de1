"""Robust correctness: per record, the worst of several attacks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import torch

from moc.attacks import Attack, AttackError, Threat
from moc.attacks.victim import untouched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

BATCH = 250
"""Records attacked at once; part of a per-record result, which holds for one shape of call."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Attacks whose worst case is the robust correctness of a record.

    Attributes:
        name: Name in reports.
        attacks: The attacks in the order in which they are run, cheap ones first.
    """

    name: str
    attacks: tuple[Attack, ...]

    def __post_init__(self) -> None:
        """Check that there is something to run, each under its own label."""
        labels = [attack.label for attack in self.attacks]
        if not labels or len(set(labels)) != len(labels):
            raise AttackError(f"Suite {self.name!r} needs attacks that differ, found {labels}.")

    @property
    def per_record(self) -> bool:
        """Whether a record's outcome does not depend on the other records."""
        return all(attack.per_record for attack in self.attacks)


PRIVATE = Suite(
    name="private",
    attacks=(Attack(name="pgd-ce", steps=20), Attack(name="pgd-margin", steps=20)),
)
"""For scores on private records: nothing random, each record on its own."""

FAST = Suite(
    name="fast",
    attacks=(
        Attack(name="pgd-ce", steps=20, random_start=True),
        Attack(name="pgd-margin", steps=20, random_start=True),
        Attack(name="square", steps=100),
    ),
)
"""For the scores of a search."""

STANDARD = Suite(
    name="standard",
    attacks=(
        Attack(name="apgd-ce", steps=30),
        Attack(name="apgd-t", steps=20),
        Attack(name="square", steps=500),
    ),
)
"""For a front on a CPU: measured within a point of `FULL` at a fraction of its cost."""

FULL = Suite(
    name="full",
    attacks=(
        Attack(name="apgd-ce", steps=100),
        Attack(name="apgd-t", steps=100),
        Attack(name="fab-t", steps=100),
        Attack(name="square", steps=5000),
    ),
)
"""For numbers that are claimed: AutoAttack, standard version (arXiv 2003.01690), all its steps."""

SUITES = {suite.name: suite for suite in (FAST, STANDARD, FULL)}
"""The suites that a study file may ask for, by name."""


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


@dataclass(frozen=True, kw_only=True)
class RobustCurve:
    """Which records a model gets right as the budget grows.

    Attributes:
        threats: The budgets, rising.
        robust: Right under every attack within that budget or a smaller one, (budgets, n) bool.
    """

    threats: tuple[Threat, ...]
    robust: Tensor


def correct(model: nn.Module, x: Tensor, y: Tensor, *, batch: int = BATCH) -> Tensor:
    """Which records (n, *shape) in [0, 1] the model gets right in evaluation mode, (n,) bool.

    Every call to the model has exactly `batch` records, the last one filled up with zeros, so
    that the outcome of a record does not depend on how many there are.
    """
    return _outcomes(model, lambda images, _labels: images, x, y, batch=batch, fill=True)


def robust_result(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    suite: Suite,
    threat: Threat,
    classes: int,
    seed: int,
    batch: int = BATCH,
) -> RobustResult:
    """Attack records with every attack of a suite and keep the worst outcome of each.

    A record that fell to one attack is not attacked again, unless the suite is per record: then
    all are attacked in calls of one fixed shape, and no outcome depends on another record.

    Args:
        model: Maps records in [0, 1] to logits (n, classes).
        x: Records (n, *shape) in [0, 1].
        y: Right labels (n,).
        suite: The attacks.
        threat: The norm and the budget.
        classes: Number of logits.
        seed: Public seed of the attacks' random numbers.
        batch: Records attacked at once.

    Returns:
        The outcome of each record, clean, after each attack, and at worst.

    Raises:
        AttackError: If the records are outside [0, 1] or the model cannot be attacked.
    """
    clean = correct(model, x, y, batch=batch)
    trial = _Trial(model=model, suite=suite, classes=classes, seed=seed, batch=batch)
    per_attack = trial.run(x, y, threat=threat, alive=clean)
    return RobustResult(
        clean=clean, robust=per_attack[suite.attacks[-1].label], per_attack=per_attack
    )


def correct_under_attack(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    suite: Suite,
    threat: Threat,
    classes: int,
    seed: int,
    batch: int = BATCH,
) -> Tensor:
    """Which records the model gets right under every attack, (n,) bool; see `robust_result`."""
    return robust_result(
        model, x, y, suite=suite, threat=threat, classes=classes, seed=seed, batch=batch
    ).robust


def curve(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threats: Sequence[Threat],
    suite: Suite,
    classes: int,
    seed: int,
    batch: int = BATCH,
) -> RobustCurve:
    """Robust correctness against a growing budget.

    A perturbation within one budget is within all larger ones, so a record that fell stays
    fallen: the curve falls by construction. Whether an attack gets stronger with its budget on
    its own is asked in `moc.evaluate.masking`.

    Args:
        model: Maps records in [0, 1] to logits (n, classes).
        x: Records (n, *shape) in [0, 1].
        y: Right labels (n,).
        threats: Budgets of one norm, rising.
        suite: The attacks.
        classes: Number of logits.
        seed: Public seed, the same at each budget.
        batch: Records attacked at once.

    Raises:
        AttackError: If the budgets do not rise or differ in norm.
    """
    budgets = [threat.eps for threat in threats]
    if not budgets or sorted(set(budgets)) != budgets or len({t.norm for t in threats}) > 1:
        raise AttackError(f"Rising budgets of one norm expected, found {list(threats)}.")
    trial = _Trial(model=model, suite=suite, classes=classes, seed=seed, batch=batch)
    alive, rows = correct(model, x, y, batch=batch), []
    for threat in threats:
        alive = trial.run(x, y, threat=threat, alive=alive)[suite.attacks[-1].label]
        rows.append(alive)
    return RobustCurve(threats=tuple(threats), robust=torch.stack(rows))


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A suite set on a model."""

    model: nn.Module
    suite: Suite
    classes: int
    seed: int
    batch: int

    def run(self, x: Tensor, y: Tensor, *, threat: Threat, alive: Tensor) -> dict[str, Tensor]:
        """Which of the records `alive` (n,) bool are left after each attack, by label."""
        draw = torch.Generator().manual_seed(self.seed)
        left: dict[str, Tensor] = {}
        for attack in self.suite.attacks:
            seeds = count(int(torch.randint(2**31, (), generator=draw)))
            perturb = partial(self._perturb, attack, threat, seeds)
            if self.suite.per_record:
                alive = alive & _outcomes(self.model, perturb, x, y, batch=self.batch, fill=True)
            else:
                rows = alive.nonzero().squeeze(1)
                alive = alive.clone()
                alive[rows] = _outcomes(
                    self.model, perturb, x[rows], y[rows], batch=self.batch, fill=False
                )
            left[attack.label] = alive
        return left

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
