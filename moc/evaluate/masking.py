"""Signs that a network only hides its gradients: checks to pass before a robust score is believed.

After arXiv 1802.00420 (Athalye et al.), 1902.06705 (Carlini et al.) and the flags of AutoAttack.
Every comparison is between outcomes on the same records, so its standard error is a paired one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moc.attacks.autoattack import ApgdT, Square
from moc.attacks.base import Attack
from moc.attacks.gradient import Fgsm, PgdCe, PgdMargin
from moc.attacks.threat import Threat
from moc.attacks.victim import untouched
from moc.evaluate.robust import BATCH, Robustness, correct
from moc.evaluate.suites import CustomSuite

_STEPS, _FEW = 40, 10
"""Steps of PGD in the checks, and of a PGD that should be weaker."""

_QUERIES = 200
"""Queries of Square."""

_SHARE = 0.01
"""How far the share of right records may be off beside its sampling error."""

_LOSS_GAP = 0.02
"""The same for cross-entropy against margin."""

_ERRORS = 2.0
"""Standard errors that count as chance."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The answer to one question.

    Attributes:
        name: What should hold.
        passed: Whether it does.
        detail: The numbers behind it.
    """

    name: str
    passed: bool
    detail: str


def masking_report(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threat: Threat,
    classes: int,
    seed: int,
    transferred: Sequence[Tensor] = (),
) -> list[Check]:
    """Run every check on one network.

    Args:
        model: Maps records in [0, 1] to logits (n, classes).
        x: Records (n, *shape) in [0, 1]; 200 or more, else the checks have little power.
        y: Right labels (n,).
        threat: The norm and the budget of the robust score.
        classes: Number of logits.
        seed: Public seed of the attacks and of the noise.
        transferred: The same records made adversarial to other networks, (n, *shape) each, see
            `adversarial_to`: the model must not mind them more than those made to itself. Best is
            one network trained plainly and one adversarially.

    Returns:
        One `Check` for each question, in a fixed order.

    Raises:
        AttackError: If the records are outside [0, 1] or the model cannot be attacked.
    """
    probe = _Probe(model=model, x=x, y=y, classes=classes, seed=seed)
    ce, margin = probe.under(threat, _ce()), probe.under(threat, _margin())
    white = ce & margin
    levels = [correct(model, x, y)]
    levels += [probe.under(_scaled(threat, share), _ce()) for share in (0.25, 0.5)]
    flooded = probe.under(_flood(threat, x), _ce(), _margin())
    few = probe.under(threat, _ce(_FEW))
    single = probe.under(threat, Fgsm())
    square = probe.under(threat, Square(steps=_QUERIES))
    noise = correct(model, _noisy(x, threat, seed), y)
    agree = alike("cross-entropy and margin agree", ce, margin)
    if not agree.passed:
        targeted = probe.under(threat, ApgdT(steps=20))
        agree = settled(agree, no_weaker("", strong=white, weak=targeted))
    return [
        same_twice(model, x),
        few_zero_gradients(model, x, y),
        no_weaker("PGD is no weaker than FGSM", strong=ce, weak=single),
        no_weaker("more steps are no weaker", strong=ce, weak=few),
        falling("accuracy falls as eps grows", [*levels, ce, flooded]),
        near_chance("large eps leaves no more than chance", flooded, classes),
        agree,
        no_weaker("PGD is no weaker than noise", strong=white, weak=noise),
        no_weaker("white box is no weaker than Square", strong=white, weak=square),
        *(
            no_weaker(
                f"white box is no weaker than transfer from network {number}",
                strong=white,
                weak=correct(model, moved, y),
            )
            for number, moved in enumerate(transferred, start=1)
        ),
    ]


def adversarial_to(
    model: nn.Module, x: Tensor, y: Tensor, *, threat: Threat, classes: int, seed: int
) -> Tensor:
    """Attack a network by PGD on the margin: records (n, *shape) for the checks of other networks.

    Made once, they serve every network that is checked on the same records.

    Args:
        model: As for `masking_report`.
        x: Likewise.
        y: Likewise.
        threat: Likewise.
        classes: Likewise.
        seed: Public seed of the attack.
    """
    attack = _margin()
    moved = [
        attack(model, images, labels, threat=threat, classes=classes, seed=seed)
        for images, labels in zip(x.split(BATCH), y.split(BATCH), strict=True)
    ]
    return torch.cat(moved)


def no_weaker(name: str, *, strong: Tensor, weak: Tensor) -> Check:
    """Check that the attack behind `strong` leaves no more right than that behind `weak`.

    Args:
        name: Name of the check.
        strong: Which records are right under the attack that should be stronger, (n,) bool.
        weak: The same under the other one, on the same records.
    """
    gap, allowed = _gap(strong, weak), _SHARE + _chance(strong, weak)
    return Check(name=name, passed=gap <= allowed, detail=_against(strong, weak, allowed))


def alike(name: str, first: Tensor, second: Tensor) -> Check:
    """Check that two attacks leave the same share right, to two points; (n,) bool each."""
    gap, allowed = abs(_gap(first, second)), _LOSS_GAP + _chance(first, second)
    return Check(name=name, passed=gap <= allowed, detail=_against(first, second, allowed))


def settled(disagreement: Check, targeted: Check) -> Check:
    """Let APGD-T decide where cross-entropy and margin disagree, as on soft labels.

    The score counts the worst of both, so that one of them may be weak; what matters is whether
    an attack on every wrong class, whose loss knows no scale, finds more than they do together.

    Args:
        disagreement: The failed comparison of the two losses.
        targeted: Whether both together are no weaker than APGD-T.
    """
    return Check(
        name=f"{disagreement.name}, or APGD-T finds no more",
        passed=targeted.passed,
        detail=f"{disagreement.detail}; both and APGD-T {targeted.detail}",
    )


def falling(name: str, levels: Sequence[Tensor]) -> Check:
    """Check that no step to a larger budget leaves more right; one (n,) bool a budget, rising."""
    steps = [no_weaker(name, strong=b, weak=a) for a, b in pairwise(levels)]
    shares = ", ".join(f"{_share(level):.1%}" for level in levels)
    return Check(name=name, passed=all(step.passed for step in steps), detail=shares)


def near_chance(name: str, right: Tensor, classes: int) -> Check:
    """Check that the share of `right` (n,) bool is no more than that of a blind guess."""
    chance = 1 / classes
    allowed = chance + _SHARE + _ERRORS * math.sqrt(chance * (1 - chance) / len(right))
    share = _share(right)
    return Check(name=name, passed=share <= allowed, detail=f"{share:.1%}, at most {allowed:.1%}")


def same_twice(model: nn.Module, x: Tensor) -> Check:
    """Check that the model answers the same records (n, *shape) twice alike."""
    with untouched(model), torch.no_grad():
        same = torch.equal(model(x[:BATCH]), model(x[:BATCH]))
    detail = "equal logits" if same else "logits differ between two calls"
    return Check(name="the forward pass is deterministic", passed=same, detail=detail)


def few_zero_gradients(model: nn.Module, x: Tensor, y: Tensor) -> Check:
    """Check that plain cross-entropy has a gradient at all but one record in a hundred.

    Our own PGD does not stall where this gradient underflows, but a network where it does is too
    confident for most other attacks, and its robustness must not be compared by them.
    """
    flat, gaps = [], []
    for images, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
        images = images.detach().clone().requires_grad_()
        with untouched(model), torch.enable_grad():
            logits = model(images)
            loss = F.cross_entropy(logits, labels.to(logits.device), reduction="sum")
            gradient = (
                torch.autograd.grad(loss, images)[0]
                if loss.requires_grad
                else torch.zeros_like(images)
            )
        flat.append((gradient.nan_to_num() == 0).flatten(1).all(dim=1))
        top = logits.detach().topk(2, dim=1).values
        gaps.append(top[:, 0] - top[:, 1])
    share, gap = _share(torch.cat(flat)), float(torch.cat(gaps).median())
    return Check(
        name="few gradients are zero",
        passed=share <= _SHARE,
        detail=f"{share:.1%} of records, at most {_SHARE:.0%}; median gap of logits {gap:.3g}",
    )


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """A network and the records on which it is probed."""

    model: nn.Module
    x: Tensor
    y: Tensor
    classes: int
    seed: int

    def under(self, threat: Threat, *attacks: Attack) -> Tensor:
        """Which records are right under all of the attacks, (n,) bool."""
        attacked = Robustness(
            model=self.model,
            suite=CustomSuite(attacks=attacks),
            threat=threat,
            classes=self.classes,
            seed=self.seed,
        )
        return attacked.correct(self.x, self.y)


def _ce(steps: int | None = None) -> Attack:
    return PgdCe(steps=steps or _STEPS, random_start=True)


def _margin() -> Attack:
    return PgdMargin(steps=_STEPS, random_start=True)


def _scaled(threat: Threat, share: float) -> Threat:
    return Threat(norm=threat.norm, eps=threat.eps * share)


def _flood(threat: Threat, x: Tensor) -> Threat:
    """A budget that can turn every record grey, so that no classifier can tell them apart."""
    grey = 0.5 if threat.norm == "Linf" else 0.5 * math.sqrt(x[0].numel())
    return Threat(norm=threat.norm, eps=max(threat.eps, grey))


def _noisy(x: Tensor, threat: Threat, seed: int) -> Tensor:
    """Records with random noise of the whole budget: random signs, or a random direction."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).to(x)
    if threat.norm == "Linf":
        return (x + threat.eps * noise.sign()).clamp(0, 1)
    size = threat.size(noise).reshape(-1, *(1,) * (x.dim() - 1))
    return (x + threat.eps * noise / size).clamp(0, 1)


def _share(right: Tensor) -> float:
    return float(right.float().mean())


def _gap(first: Tensor, second: Tensor) -> float:
    return _share(first) - _share(second)


def _chance(first: Tensor, second: Tensor) -> float:
    """What sampling the records may add to the gap: its paired standard error, times two."""
    difference = first.float() - second.float()
    return _ERRORS * float(difference.std(correction=0)) / math.sqrt(len(difference))


def _against(first: Tensor, second: Tensor, allowed: float) -> str:
    return f"{_share(first):.1%} against {_share(second):.1%}, gap at most {allowed:.1%}"
