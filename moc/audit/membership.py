"""What membership inference finds in repeated runs (see `moc.audit.subject`), beside the claim.

It establishes a lower bound on what leaks, and can never show that nothing does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import binomtest, rankdata
from torch import Tensor

from moc.audit.finding import Finding
from moc.audit.inference import ATTACKS, attack_runs
from moc.audit.one_run_bound import epsilon_lower

WARNING = (
    "This audit shows records of T to the networks without noise. What it prints is for the owner "
    "of the records: it is not private, and the budget of the study does not cover it."
)
LEVELS = (0.01, 0.001)
"""False-positive rates at which true-positive rates are given."""

_CONFIDENCE = 0.95
_GUESSED = (0.01, 0.1, 1.0)  # shares of the records that are guessed, fixed beforehand


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How well one attack tells members from others.

    Attributes:
        attack: Its name.
        auc: Area under the ROC curve; 0.5 for guessing.
        rates: (FPR, TPR, lower, upper) for each of `LEVELS`, with the Clopper-Pearson interval at
            95 %, which takes scores as independent (those of one run are not quite).
    """

    attack: str
    auc: float
    rates: tuple[tuple[float, float, float, float], ...]

    def describe(self) -> str:
        """The result in a line, for a person."""
        rates = "; ".join(
            f"{tpr:.2%} ({low:.2%} to {high:.2%}) at {level:.1%}"
            for level, tpr, low, high in self.rates
        )
        return (
            f"{self.attack}: AUC {self.auc:.3f}; members found, at a rate of false alarms: {rates}"
        )


def infer(odds: Tensor, member: Tensor, *, claimed: float, delta: float) -> Finding:
    """Attack every run and compare what was found with the claim.

    Rates and areas come from leaving one run out at a time. The bound on epsilon needs an attack
    that owes nothing to the coins it guesses, so there the runs of even number are attacked with
    those of odd number and the other way round.

    Args:
        odds: Log-odds (R, n) of the records in R >= 4 runs.
        member: Who was in (R, n), bool.
        claimed: Epsilon of each run.
        delta: Its delta.
    """
    runs = len(odds)
    if runs < 4:
        raise ValueError(f"At least 4 runs expected, found {runs}.")
    detections, bounds = [], []
    beta = (1 - _CONFIDENCE) / (2 * len(ATTACKS) * len(_GUESSED))
    for name, attack in ATTACKS.items():
        others = attack_runs(attack, odds, member, lambda t: [s for s in range(runs) if s != t])
        detections.append(_detection(name, others[member], others[~member]))
        crossed = attack_runs(attack, odds, member, lambda t: list(range(1 - t % 2, runs, 2)))
        for fold in (0, 1):
            scores, coins = crossed[fold::2].flatten(), member[fold::2].flatten()
            bounds += [_bound(scores, coins, share, delta, beta) for share in _GUESSED]
    return _finding(detections, max(bounds), odds, claimed=claimed, delta=delta)


def _finding(
    detections: Sequence[Detection], bound: float, odds: Tensor, *, claimed: float, delta: float
) -> Finding:
    runs, records = odds.shape
    claim = "no privacy" if math.isinf(claimed) else f"{claimed:.3g}"
    lines = (
        f"{records} records in {runs} runs, each in with chance 1/2",
        *(detection.describe() for detection in detections),
        f"epsilon at least {bound:.3g} (claimed: {claim}) at delta {delta:g}, with 95 % "
        "confidence. A lower bound only: a better attack may find more, and nothing found proves "
        "nothing.",
        WARNING,
    )
    return Finding(
        name="membership",
        passed=bound <= claimed,
        details="\n".join(lines),
        values={"epsilon": bound, "claimed_epsilon": claimed}
        | {f"auc_{detection.attack}": detection.auc for detection in detections},
    )


def _detection(name: str, inside: Tensor, outside: Tensor) -> Detection:
    """ROC of scores of members and of others."""
    ranks = rankdata(torch.cat([inside, outside]).numpy())
    least = len(inside) * (len(inside) + 1) / 2
    auc = (ranks[: len(inside)].sum() - least) / (len(inside) * len(outside))
    falling = outside.sort(descending=True).values
    rates = []
    for level in LEVELS:
        threshold = falling[int(level * len(outside))]
        found = binomtest(int((inside > threshold).sum()), len(inside))
        interval = found.proportion_ci(_CONFIDENCE, method="exact")
        rates.append((level, found.statistic, interval.low, interval.high))
    return Detection(attack=name, auc=float(auc), rates=tuple(rates))


def _bound(scores: Tensor, coins: Tensor, share: float, delta: float, beta: float) -> float:
    """Guess that the highest scores were in and the lowest out, the same number of each."""
    each = max(round(share * len(scores) / 2), 1)
    order = scores.argsort()
    right = int(coins[order[-each:]].sum()) + int((~coins[order[:each]]).sum())
    return epsilon_lower(right, 2 * each, len(scores), delta=delta, beta=beta)
