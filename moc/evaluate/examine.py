"""A closer look at a set: can its robust error be believed, and how does it grow with eps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from moc.attacks.gradient import Fgsm, PgdCe, PgdMargin
from moc.attacks.threat import Threat
from moc.evaluate.masking import Check, masking_report
from moc.evaluate.robust import Robustness
from moc.evaluate.suites import CustomSuite
from moc.evaluate.together import Together, stackable
from moc.evaluate.trained import Trained, networks_by
from moc.networks.network import Network, finite_weights
from moc.networks.train import Training
from moc.privacy.held_out import Counts, HeldOut

CURVE = CustomSuite(
    attacks=(Fgsm(), PgdCe(steps=20, random_start=True), PgdMargin(steps=20, random_start=True))
)
"""The attacks of the robustness curve: those of the fast suite, without Square."""

SHARES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
"""Budgets of the robustness curve, over that of the threat."""


def budgets(threat: Threat) -> tuple[Threat, ...]:
    """The rising budgets (m) of the curve, from no perturbation to twice the threat's."""
    limit = 1.0 if threat.norm == "Linf" else float("inf")
    sizes = sorted({float(f"{min(share * threat.eps, limit):.9g}") for share in SHARES})
    return tuple(Threat(norm=threat.norm, eps=eps) for eps in sizes)


def check_first(
    trained: Trained,
    *,
    training: Training,
    threat: Threat,
    held_out: HeldOut,
    transferred: Sequence[Tensor] = (),
) -> tuple[Check, ...]:
    """Masking checks of the first of the networks trained on a set.

    Args:
        trained: The networks.
        training: By which training.
        threat: What to attack within.
        held_out: Records that may be shown to an attack.
        transferred: The same records made adversarial to other networks; see `masking_report`.

    Raises:
        PrivacyError: If the records are private.
    """
    x, y = (part.to(trained.device) for part in held_out.examine(len(held_out)))
    network = trained.by(training)[0]
    if not finite_weights(network):
        return (Check(name="training ends in finite weights", passed=False, detail="diverged"),)
    found = masking_report(
        network,
        x,
        y,
        threat=threat,
        classes=network.head.out_features,
        seed=trained.seeds[0],
        transferred=[moved.to(trained.device) for moved in transferred],
    )
    return tuple(found)


def curves_together(
    trained: Sequence[Trained], *, training: Training, threat: Threat, held_out: HeldOut
) -> list[Counts]:
    """Robustness curves of sets, whose networks are trained and attacked as one stack.

    Args:
        trained: The R networks of each set.
        training: By which training.
        threat: Its budgets, see `budgets`, are attacked within.
        held_out: The records; if they are private, counts must still be published with noise.

    Returns:
        For each set (R, m) records right under attack, by network and budget.
    """
    networks, threats = networks_by(trained, training), budgets(threat)
    seeds = [seed for one in trained for seed in one.seeds]

    def outcomes(x: Tensor, y: Tensor) -> Tensor:
        found = _right(networks, x, y, threats, seeds)
        return found.permute(2, 1, 0).float().unflatten(1, (len(trained), -1))

    bound = math.sqrt(len(trained[0].seeds) * len(threats))
    return held_out.count_each(outcomes, bound=bound)


def _right(
    networks: Sequence[Network],
    x: Tensor,
    y: Tensor,
    threats: Sequence[Threat],
    seeds: Sequence[int],
) -> Tensor:
    """Which records each network gets right within each budget, (m, R, n) bool on the CPU."""
    device, classes = networks[0].mean.device, networks[0].head.out_features
    x, y = x.to(device), y.to(device)
    if stackable(networks):
        attacked = Together(networks=networks, suite=CURVE, threat=threats[-1], seeds=seeds)
        return attacked.curve(x, y, threats).cpu()
    rows = []
    for network, seed in zip(networks, seeds, strict=True):
        row = torch.zeros(len(threats), len(x), dtype=torch.bool)
        if finite_weights(network):
            alone = Robustness(
                model=network, suite=CURVE, threat=threats[-1], classes=classes, seed=seed
            )
            row = alone.curve(x, y, threats).cpu()
        rows.append(row)
    return torch.stack(rows, dim=1)
