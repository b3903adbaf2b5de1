"""The audit of DP training: how well a worst-case record's presence in all steps can be told.

What it exercises is the training's own code: `ClippedGradients` (attack, per-record clip, grid) on
public records under the study's network, made loud; `PrivateTraining.sample`; and `noisy_mean`.
The adversary is the one that DP-SGD is accounted for (Nasr et al., arXiv 2302.07956): it sees every
noisy sum, knows all other records, and so is left with the canary's direction in each step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from moc.errors import PrivacyError
from moc.evidence import dp_training
from moc.evidence.accountant import Gaussian, epsilon
from moc.evidence.gaussian_audit import mu_of, told_mu, upper_rate
from moc.evidence.isolation import largest_move, probes
from moc.evidence.noise import Tier
from moc.evidence.statistics import GRID

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from moc.data.real import DataInfo
    from moc.evidence.dp_training import PrivateTraining

_RUNS: dict[Tier, int] = {"standard": 100_000, "hardened": 5_000}
_REFERENCE_RUNS = 200_000
_LOUD = 100.0  # parameters of the head are made so large that no gradient is below the clip


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """How well one record's presence in a DP training could be told, against what is claimed.

    Attributes:
        name: What was trained.
        moved: How far one record moved a step's sum at most, over the clip.
        fault: Why records are not kept apart; empty if they are.
        mu_allowed: PhiInv(1 - FPR) - PhiInv(FNR) of the best test on what was paid for.
        mu_lower: Lower bound on the same for what was done.
        claimed_epsilon: What the accountant charges at delta.
        delta: Of `claimed_epsilon`.
        runs: Trainings with the record, and as many without it.
    """

    name: str
    moved: float
    fault: str
    mu_allowed: float
    mu_lower: float
    claimed_epsilon: float
    delta: float
    runs: int

    @property
    def passed(self) -> bool:
        """Whether records are kept apart and none is told better than what was paid for allows."""
        return not self.fault and self.moved <= 1.0 and self.mu_lower <= self.mu_allowed

    def words(self) -> str:
        """One line for a person."""
        verdict = "passed" if self.passed else "FAILED"
        apart = f"{self.fault}; " if self.fault else ""
        return (
            f"{self.name}: {verdict}; {apart}one public record moved a step's sum by at most "
            f"{self.moved:.6f} of the clip; from all steps it was told with mu at least "
            f"{self.mu_lower:.3f} (what was paid for, epsilon {self.claimed_epsilon:.3g} at delta "
            f"{self.delta:g}, allows {self.mu_allowed:.3f}); {self.runs} runs with it and "
            f"{self.runs} without"
        )


def audit_training(
    training: PrivateTraining, info: DataInfo, *, delta: float, runs: int | None = None
) -> TrainingReport:
    """Audit all steps of all networks together, without reading T.

    The score of a run is the log-likelihood ratio that the claimed mechanism gives: of samples at
    rate q = batch / N and noise multiplier sigma, Σ log(1 - q + q exp((2s - 1) / 2σ²)) over the
    steps, where s is the step's sum along the canary's direction in units of the clip. No test on
    the claimed mechanism tells more (Neyman and Pearson). Above the median of the scores without
    the canary the answer is "present"; that threshold and what it allows come from a simulation of
    the claim by a seeded generator of its own, and the Clopper-Pearson bounds on the rates of both
    are at 1e-6 in all. A sound training fails with at most that chance.

    Args:
        training: The study's.
        info: Public facts about T, with its declared number of records.
        delta: Of the study.
        runs: Trainings with the canary, and as many without; by default 100,000, of the hardened
            tier, which is slower, 5,000.
    """
    runs = _RUNS[training.tier] if runs is None else runs
    moved, fault = _moved(training, info)
    claim = training.mechanism(info.count)
    threshold, allowed = _allowed(claim)
    present, absent = (
        _scores(claim, runs, partial(_observed, training, info.count, runs, canary))
        for canary in (round(moved * GRID), 0)
    )
    networks = f"{training.count} network" + ("s" if training.count > 1 else "")
    return TrainingReport(
        name=f"DP training of {networks}",
        moved=moved,
        fault=fault,
        mu_allowed=allowed,
        mu_lower=told_mu(present, absent, threshold),
        claimed_epsilon=epsilon([claim], delta=delta),
        delta=delta,
        runs=runs,
    )


def _moved(training: PrivateTraining, info: DataInfo) -> tuple[float, str]:
    """How far public records move the sum of a step, over the clip, and why they are not apart."""
    network, fault = training.start(0, info), ""
    network.head.weight.data *= _LOUD
    public = probes(info, 8)
    with dp_training.gradients_of(training, network) as gradients:
        try:
            gradients.require_isolated(info)
        except PrivacyError as error:
            fault = str(error)
        return largest_move(gradients.sums, public), fault


def _observed(training: PrivateTraining, records: int, runs: int, canary: int) -> Tensor:
    """One step's sum along the canary in units of the clip, for many runs (runs,).

    Runs stand beside one another as records do in a sample and coordinates in a sum: each is drawn
    by itself.
    """
    sums = torch.zeros(runs, dtype=torch.int64)
    sums[training.sample(runs, records)] = canary
    return dp_training.noisy_mean(sums, training) * (training.batch / training.clip)


def _allowed(claim: Gaussian) -> tuple[float, float]:
    """Threshold on the scores, and an upper bound on the mu that the claim has there."""
    rng, runs = np.random.default_rng(0), _REFERENCE_RUNS

    def step(rate: float) -> Tensor:
        there = rng.random(runs) < rate
        return torch.from_numpy(there + claim.noise_multiplier * rng.standard_normal(runs))

    present, absent = (_scores(claim, runs, partial(step, q)) for q in (claim.sample_rate, 0.0))
    threshold = float(absent.median())
    hit = upper_rate(int((present > threshold).sum()), runs)
    right = upper_rate(int((absent <= threshold).sum()), runs)
    return threshold, mu_of(1 - right, 1 - hit)


def _scores(claim: Gaussian, runs: int, step: Callable[[], Tensor]) -> Tensor:
    """Log-likelihood ratios (runs,) of the claim, summed over its steps."""
    q, variance = claim.sample_rate, claim.noise_multiplier**2
    total = torch.zeros(runs, dtype=torch.float64)
    for _ in range(claim.count):
        total += torch.log1p(q * torch.expm1((2 * step() - 1) / (2 * variance)))
    return total
