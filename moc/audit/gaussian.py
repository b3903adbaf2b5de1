"""The mu-GDP audit of the release: how well a worst-case record's presence can be distinguished.

What it exercises is the release's own code: `Collection.sums` (weights, the clip, the grid, the
sums) and `release.noised` (the noise of every rung, from the operating system's entropy). What
stands in for the study's networks are two features without any bound, so that nothing but the clip
keeps the record in check. The sums have no randomness, so they are taken once with the record and
once without; the noise is drawn afresh for every run. What is around them is for
`moc.audit.release_checks` and the tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.stats import beta, norm
from torch import Tensor

from moc.audit.canary import neighbours
from moc.audit.finding import Finding
from moc.privacy import release
from moc.privacy.accountant import Gaussian, exact_epsilon
from moc.privacy.collect import Collection
from moc.privacy.ladder import Ladder
from moc.privacy.noise import Tier
from moc.privacy.sums import Sums

_RUNS: dict[Tier, int] = {"standard": 200_000, "hardened": 20_000}
_BETA = 1e-6  # the chance that a sound release fails one comparison
_CALLS = 50  # the noise of this many calls is compared, so that noise used twice shows


def audit_release(
    collection: Collection, ladder: Ladder, *, tier: Tier = "standard", runs: int | None = None
) -> list[Finding]:
    """Audit every rung, and all rungs read together, by the mu-GDP test of arXiv 2302.07956.

    20 public records are summed with and without one more, the canary. A run projects a fresh
    release on the direction in which the canary moves the sums; "present" is answered above half of
    that move, a threshold that no noise has touched. With Clopper-Pearson bounds FPR and FNR on the
    rates of wrong answers, mu is at least PhiInv(1 - FPR) - PhiInv(FNR); a Gaussian mechanism of
    noise multiplier sigma has mu at most 1 / sigma, and so do all nested rungs together by their
    first. A sound release fails with a chance of at most 1e-6 a rung.

    Args:
        collection: What the study sums.
        ladder: The rungs.
        tier: How noise is drawn.
        runs: Runs with the canary, and as many without it; by default 200,000, of the hardened
            tier, which is slower, 20,000.
    """
    runs = runs or _RUNS[tier]
    without, present = neighbours(collection)
    move = (present - without).flat().double()
    size = float(move.norm())
    multipliers = ladder.multipliers
    scores = [_scores(s, without, move / size, ladder, tier, runs) for s in (present, without)]
    findings = [
        _finding(f"rung epsilon {epsilon:g}", 1 / sigma, pair, size / 2, ladder.delta)
        for epsilon, sigma, *pair in zip(ladder.epsilons, multipliers, *scores, strict=True)
    ]
    if len(multipliers) > 1:
        # The best weights if the noises of the rungs were independent, which they must not be.
        weights = torch.tensor(multipliers, dtype=torch.float64) ** -2
        joined = [weights @ torch.stack(rungs) / weights.sum() for rungs in scores]
        name = "all rungs together"
        findings.append(_finding(name, 1 / multipliers[0], joined, size / 2, ladder.delta))
    return findings


def _scores(
    sums: Sums, origin: Sums, direction: Tensor, ladder: Ladder, tier: Tier, runs: int
) -> list[Tensor]:
    """Projections (runs,) in grid steps for every rung, each run a release of its own.

    A call of `noised` serves many runs, as if they were networks of one release: noise is drawn
    for each coordinate by itself.
    """
    each = -(-runs // _CALLS)
    many = Sums(
        blocks={name: block.expand(each, *block.shape).clone() for name, block in sums.items()}
    )
    shift = float(direction @ origin.flat().double())
    found: list[list[Tensor]] = [[] for _ in ladder.epsilons]
    for _ in range(_CALLS):
        for rung, noised in zip(found, release.noised(many, ladder, tier), strict=True):
            blocks = [noised[name].reshape(each, -1) for name, _ in many.items()]
            rung.append(torch.cat(blocks, dim=1) @ direction - shift)
    return [torch.cat(rung)[:runs] for rung in found]


def _finding(
    name: str, claimed: float, scores: Sequence[Tensor], threshold: float, delta: float
) -> Finding:
    """Compare with the claim what the scores with and without the canary (runs,) establish."""
    present, absent = scores
    mu, runs = mu_bound(present, absent, threshold), len(present)
    values = {
        "claimed_mu": claimed,
        "mu": mu,
        "claimed_epsilon": _epsilon(claimed, delta),
        "epsilon": _epsilon(mu, delta),
    }
    return Finding(
        name=name,
        passed=mu <= claimed,
        details=(
            f"a worst-case record was distinguished with mu at least {mu:.3f} (claimed: at most "
            f"{claimed:.3f}), that is epsilon at least {values['epsilon']:.3g} (claimed: "
            f"{values['claimed_epsilon']:.3g}) at delta {delta:g}; {runs} runs with it and {runs} "
            "without"
        ),
        values=values,
    )


def mu_bound(present: Tensor, absent: Tensor, threshold: float) -> float:
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
