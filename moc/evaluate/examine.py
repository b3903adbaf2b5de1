"""A closer look at a set: can its robust error be believed, and how does it grow with eps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moc.attacks.gradient import Fgsm, PgdCe, PgdMargin
from moc.attacks.threat import Threat
from moc.evaluate.masking import Check, masking_report
from moc.evaluate.robust import Robustness
from moc.evaluate.suites import CustomSuite
from moc.evaluate.together import Together, stackable
from moc.evaluate.trained import Trained
from moc.networks.network import Network, finite_weights
from moc.networks.train import Training
from moc.privacy.held_out import Counts, HeldOut

CURVE = CustomSuite(
    attacks=(Fgsm(), PgdCe(steps=20, random_start=True), PgdMargin(steps=20, random_start=True))
)
"""The attacks of the robustness curve: those of the fast suite, without Square."""

SHARES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
"""Budgets of the robustness curve, over that of the threat."""


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What was found.

    Attributes:
        checks: Masking checks of the first network; empty where they were not asked for.
        counts: (R, m) records right under attack, by network and budget.
    """

    checks: tuple[Check, ...]
    counts: Counts


def budgets(threat: Threat) -> tuple[Threat, ...]:
    """The rising budgets (m) of the curve, from no perturbation to twice the threat's."""
    limit = 1.0 if threat.norm == "Linf" else float("inf")
    sizes = sorted({float(f"{min(share * threat.eps, limit):.9g}") for share in SHARES})
    return tuple(Threat(norm=threat.norm, eps=eps) for eps in sizes)


def examine(
    trained: Trained,
    *,
    training: Training,
    threat: Threat,
    held_out: HeldOut,
    checked: bool,
    transferred: Sequence[Tensor] = (),
) -> Examination:
    """Check the first of the networks trained on a set, and measure the curve of all.

    Args:
        trained: The R networks.
        training: By which training.
        threat: What to attack within.
        held_out: Records that may be shown to an attack.
        checked: Whether to run the masking checks.
        transferred: The same records made adversarial to other networks, for those checks; see
            `masking_report`.

    Raises:
        PrivacyError: If the records are private.
    """
    x, y = (part.to(trained.device) for part in held_out.examine(len(held_out)))
    networks, seeds = trained.by(training), trained.seeds
    checks: Sequence[Check] = ()
    if checked and not finite_weights(networks[0]):
        checks = [Check(name="training ends in finite weights", passed=False, detail="diverged")]
    elif checked:
        checks = masking_report(
            networks[0],
            x,
            y,
            threat=threat,
            classes=networks[0].head.out_features,
            seed=seeds[0],
            transferred=[moved.to(trained.device) for moved in transferred],
        )
    threats = budgets(threat)
    bound = math.sqrt(len(seeds) * len(threats))
    counts = held_out.count(_outcomes(networks, threats, seeds), bound=bound)
    return Examination(checks=tuple(checks), counts=counts)


def _outcomes(
    networks: Sequence[Network], threats: Sequence[Threat], seeds: Sequence[int]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Records (n, *shape) and labels (n,) to right or wrong (n, R, m) under each budget."""

    def measure(x: Tensor, y: Tensor) -> Tensor:
        if stackable(networks):
            device = networks[0].mean.device
            attacked = Together(networks=networks, suite=CURVE, threat=threats[-1], seeds=seeds)
            found = attacked.curve(x.to(device), y.to(device), threats)
            return found.permute(2, 1, 0).float().cpu()
        rows = [_right(net, x, y, threats, seed) for net, seed in zip(networks, seeds, strict=True)]
        return torch.stack(rows, dim=1)

    return measure


def _right(network: Network, x: Tensor, y: Tensor, threats: Sequence[Threat], seed: int) -> Tensor:
    """Outcomes (n, m) of one network, on the CPU."""
    if not finite_weights(network):
        return torch.zeros(len(x), len(threats))
    device, classes = network.mean.device, network.head.out_features
    attacked = Robustness(
        model=network, suite=CURVE, threat=threats[-1], classes=classes, seed=seed
    )
    return attacked.curve(x.to(device), y.to(device), threats).T.float().cpu()
