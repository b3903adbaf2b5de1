"""The mu-GDP audit of the release: how well a worst-case record's presence can be told.

What it exercises is the release's own code: `Statistics.sums` (weights, the clip after the attack,
the grid, the sums) and `release.noised` (the noise of every rung, from the operating system's
entropy). What stands in for the study's networks are two features without any bound, and for its
attack one that makes a quiet record loud, so that nothing but the clip keeps the record in check.
The sums have no randomness, so they are taken once with the record and once without; the noise is
drawn afresh for every run. What is around them is for `moc.evidence.handling` and the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scipy.stats import beta, norm

from moc.evidence import release
from moc.evidence.accountant import Gaussian, exact_epsilon
from moc.evidence.canary import neighbours
from moc.evidence.noise import Tier
from moc.evidence.sums import Sums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from moc.evidence.release import Ladder

_RUNS: dict[Tier, int] = {"standard": 200_000, "hardened": 20_000}
_BETA = 1e-6  # the chance that a sound release fails one comparison
_CALLS = 50  # the noise of this many calls is compared, so that noise used twice shows


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """How well one record's presence could be told from a rung, against what is claimed.

    Attributes:
        name: What was read.
        claimed_mu: Largest mu that the noise allows: sensitivity over standard deviation.
        mu_lower: Lower bound on mu that the attack established.
        claimed_epsilon: Epsilon at delta that goes with `claimed_mu`.
        epsilon_lower: Epsilon at delta that goes with `mu_lower`.
        delta: The delta of both.
        runs: Runs with the record, and as many without it.
    """

    name: str
    claimed_mu: float
    mu_lower: float
    claimed_epsilon: float
    epsilon_lower: float
    delta: float
    runs: int

    @property
    def passed(self) -> bool:
        """Whether the lower bound stays within the claim."""
        return self.mu_lower <= self.claimed_mu

    def words(self) -> str:
        """One line for a person."""
        verdict = "passed" if self.passed else "FAILED"
        return (
            f"{self.name}: {verdict}; a worst-case record was told with mu at least "
            f"{self.mu_lower:.3f} (claimed: at most {self.claimed_mu:.3f}), that is epsilon at "
            f"least {self.epsilon_lower:.3g} (claimed: {self.claimed_epsilon:.3g}) at delta "
            f"{self.delta:g}; {self.runs} runs with it and {self.runs} without"
        )


def audit_release(
    ladder: Ladder,
    *,
    tier: Tier = "standard",
    mean: float = 1.0,
    second: float = 0.0,
    counts: float = 0.0,
    runs: int | None = None,
) -> tuple[AuditReport, ...]:
    """Audit every rung, and all rungs read together, by the mu-GDP test of arXiv 2302.07956.

    20 public records are summed with and without one more, the canary. A run projects a fresh
    release on the direction in which the canary moves the sums; "present" is answered above half of
    that move, a threshold that no noise has touched. With Clopper-Pearson bounds FPR and FNR on the
    rates of wrong answers, mu is at least PhiInv(1 - FPR) - PhiInv(FNR); a Gaussian mechanism of
    noise multiplier sigma has mu at most 1 / sigma, and so do all nested rungs together by their
    first. A sound release fails with a chance of at most 1e-6 a rung.

    Args:
        ladder: The rungs.
        tier: How noise is drawn.
        mean: Weight of the class-mean block.
        second: Weight of the second-moment block.
        counts: Weight of the class counts.
        runs: Runs with the canary, and as many without it; by default 200,000, of the hardened
            tier, which is slower, 20,000.
    """
    runs = runs or _RUNS[tier]
    without, present = neighbours(mean, second, counts)
    move = (present - without).flat().double()
    size = float(move.norm())
    multipliers = ladder.multipliers()
    told = [_scores(sums, without, move / size, ladder, tier, runs) for sums in (present, without)]
    reports = [
        _report(f"rung epsilon {epsilon:g}", 1 / sigma, pair, size / 2, ladder.delta)
        for epsilon, sigma, *pair in zip(ladder.epsilons, multipliers, *told, strict=True)
    ]
    if len(multipliers) > 1:
        # The best weights if the noises of the rungs were independent, which they must not be.
        weights = torch.tensor(multipliers, dtype=torch.float64) ** -2
        joined = [weights @ torch.stack(rungs) / weights.sum() for rungs in told]
        name = "all rungs together"
        reports.append(_report(name, 1 / multipliers[0], joined, size / 2, ladder.delta))
    return tuple(reports)


def _scores(
    sums: Sums, origin: Sums, direction: Tensor, ladder: Ladder, tier: Tier, runs: int
) -> list[Tensor]:
    """Projections (runs,) in grid steps for every rung, each run a release of its own.

    A call of `noised` serves many runs, as if they were networks of one release: noise is drawn
    for each coordinate by itself.
    """
    each = -(-runs // _CALLS)
    many = Sums(
        first=sums.first.repeat(each, 1, 1),
        second=sums.second.repeat(each, 1),
        counts=sums.counts.repeat(each),
    )
    shift = float(direction @ origin.flat().double())
    found: list[list[Tensor]] = [[] for _ in ladder.epsilons]
    for _ in range(_CALLS):
        for rung, noised in zip(found, release.noised(many, ladder, tier), strict=True):
            blocks = [noised[name].reshape(each, -1) for name in many.blocks()]
            rung.append(torch.cat(blocks, dim=1) @ direction - shift)
    return [torch.cat(rung)[:runs] for rung in found]


def _report(
    name: str, claimed: float, told: Sequence[Tensor], threshold: float, delta: float
) -> AuditReport:
    """Compare with the claim what the scores with and without the canary (runs,) tell."""
    present, absent = told
    mu = told_mu(present, absent, threshold)
    return AuditReport(
        name=name,
        claimed_mu=claimed,
        mu_lower=mu,
        claimed_epsilon=_epsilon(claimed, delta),
        epsilon_lower=_epsilon(mu, delta),
        delta=delta,
        runs=len(present),
    )


def told_mu(present: Tensor, absent: Tensor, threshold: float) -> float:
    """Lower bound on PhiInv(1 - FPR) - PhiInv(FNR), where scores (runs,) above mean "present"."""
    runs = len(present)
    missed = upper_rate(int((present <= threshold).sum()), runs)
    false = upper_rate(int((absent > threshold).sum()), runs)
    return max(mu_of(false, missed), 0.0)


def mu_of(false: float, missed: float) -> float:
    """The mu of a Gaussian mechanism that these rates of wrong answers would need."""
    return float(norm.ppf(1 - false) - norm.ppf(missed))


def upper_rate(wrong: int, runs: int) -> float:
    """Clopper-Pearson upper bound on a rate, wrong at most once in two million times."""
    return 1.0 if wrong == runs else float(beta.isf(_BETA / 2, wrong + 1, runs - wrong))


def _epsilon(mu: float, delta: float) -> float:
    return exact_epsilon([Gaussian(noise_multiplier=1 / mu)], delta=delta) if mu > 0 else 0.0
