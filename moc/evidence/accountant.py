"""Epsilon of composed Gaussian mechanisms. The only file that imports opacus' accountants.

Every claim goes through opacus' PRV accountant (arXiv 2106.02848), which returns an upper bound.
The GDP accountant is not offered: it under-reports epsilon for subsampled mechanisms. The exact
formula for the Gaussian mechanism (Balle and Wang, arXiv 1805.06530) is the oracle of the tests and
the starting point of the calibration; the larger of the two values is what moc reports. For
Poisson samples there is no such formula: there the exact value of what reads all records is a
lower bound, and PRV alone the claim.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from scipy.optimize import root_scalar
from scipy.stats import norm

from moc.errors import PrivacyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ACCOUNTANT = "opacus PRV"
_EPS_ERROR = 1e-3  # numerical error that the PRV accountant adds to its bound
_POINTS = 2**20  # most points of its grid; where they are too few, the error it adds grows
_WIDE = 300.0  # beyond this epsilon exp() leaves float64, and the RDP bound is good enough


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """`count` Gaussian mechanisms, each on all records or on a fresh Poisson sample of them.

    Attributes:
        noise_multiplier: Standard deviation of the noise over the L2 sensitivity.
        sample_rate: Probability q with which every record, by itself, takes part in each of them;
            1 for mechanisms on all records. A step of DP-SGD has q < 1.
        count: How many times it is applied; the uses may be adaptive.
    """

    noise_multiplier: float
    sample_rate: float = 1.0
    count: int = 1

    def __post_init__(self) -> None:
        """Refuse what would be charged less than it costs."""
        if not self.noise_multiplier >= 0 or self.count < 0:
            raise PrivacyError(
                "A noise multiplier and a count of at least 0 expected, "
                f"found {self.noise_multiplier} and {self.count}."
            )
        if not 0 < self.sample_rate <= 1:
            raise PrivacyError(f"A sample rate in (0, 1] expected, found {self.sample_rate}.")

    def words(self) -> str:
        """One line for a person."""
        return (
            f"{self.count} Gaussian mechanism(s) at sample rate {self.sample_rate:.4g}, "
            f"noise multiplier {self.noise_multiplier:.4g}"
        )


def epsilon(mechanisms: Sequence[Gaussian], *, delta: float) -> float:
    """Upper bound on epsilon at `delta` of the adaptive composition, add/remove one record.

    Zero for no mechanism; infinity as soon as one adds no noise. How a composition is told makes
    no difference: mechanisms in another order, or a release in several shares, cost the same.
    """
    used = tuple(m for m in mechanisms if m.count > 0)
    least = least_epsilon(used, delta=delta)
    if least == math.inf or (least == 0 and all(m.sample_rate == 1 for m in used)):
        return least
    return max(_prv_epsilon(_merged(used), delta), least)


def least_epsilon(mechanisms: Sequence[Gaussian], *, delta: float) -> float:
    """What a composition costs at the least: the exact epsilon of those on all records.

    Quick, where the accountant is slow. Infinity as soon as one mechanism adds no noise.
    """
    used = [m for m in mechanisms if m.count > 0]
    if any(m.noise_multiplier == 0 for m in used):
        return math.inf
    return exact_epsilon([m for m in used if m.sample_rate == 1], delta=delta)


@lru_cache
def noise_multiplier(target: float, *, delta: float, beside: tuple[Gaussian, ...] = ()) -> float:
    """Smallest noise multiplier (to 1e-4 relative) whose claimed epsilon is at most `target`.

    Args:
        target: Epsilon of one Gaussian mechanism on all records, composed with `beside`.
        delta: Delta.
        beside: What else is charged.

    Raises:
        PrivacyError: If `beside` leaves nothing.
    """
    if not (0.0 < target < math.inf and 0.0 < delta < 1.0):
        raise PrivacyError(
            f"A finite epsilon above 0 and a delta in (0, 1) expected, found {target} and {delta}."
        )
    if beside:
        taken = epsilon(beside, delta=delta)
        if taken >= target:
            raise PrivacyError(
                f"Epsilon {target:g} is the limit, and {taken:.4g} of it is taken by what goes "
                "beside; nothing is left. Give that a smaller share."
            )
        whole = noise_multiplier(target, delta=delta)
        rest = 1.0 - (whole / exact_noise_multiplier(taken, delta=delta)) ** 2
        return _smallest(
            lambda sigma: epsilon([Gaussian(noise_multiplier=sigma), *beside], delta=delta),
            target,
            near=whole / math.sqrt(max(rest, 0.01)),
        )
    low = exact_noise_multiplier(target, delta=delta)
    high = low * 1.01
    while epsilon([Gaussian(noise_multiplier=high)], delta=delta) > target:
        high *= 1.05
    while high / low > 1.0 + 1e-4:
        middle = math.sqrt(low * high)
        above = epsilon([Gaussian(noise_multiplier=middle)], delta=delta) > target
        low, high = (middle, high) if above else (low, middle)
    return math.ceil(high * 1e6) / 1e6  # upwards, and the same on any machine


@lru_cache
def sampled_noise_multiplier(
    target: float, *, delta: float, sample_rate: float, count: int
) -> float:
    """Smallest noise multiplier (to 1e-4 relative) of `count` mechanisms on Poisson samples.

    Raises:
        PrivacyError: If no noise brings them to `target`.
    """
    mu = 1.0 / exact_noise_multiplier(target, delta=delta)
    # Where the central limit theorem for DP-SGD (arXiv 1911.11607) puts it: near, not a bound.
    near = math.log1p(mu**2 / (count * sample_rate**2)) ** -0.5

    def cost(sigma: float) -> float:
        steps = Gaussian(noise_multiplier=sigma, sample_rate=sample_rate, count=count)
        return epsilon([steps], delta=delta)

    return _smallest(cost, target, near=near)


def _smallest(cost: Callable[[float], float], target: float, *, near: float) -> float:
    """Smallest noise, from above and to 1e-4 relative, whose falling `cost` is at most `target`."""
    low = high = near
    while cost(high) > target:
        low, high = high, high * 1.1
        if high > 1e6:
            raise PrivacyError(f"No noise brings the cost down to epsilon {target:.4g}.")
    while cost(low) <= target:
        low, high = low / 1.1, low
    ends = math.log(low), math.log(high)
    gap = _root(lambda log: cost(math.exp(log)) - target, *ends, tolerance=5e-5)
    found = math.ceil(math.exp(gap) * 1e6) / 1e6  # upwards, and the same on any machine
    while cost(found) > target:
        found = math.ceil(found * (1 + 5e-5) * 1e6) / 1e6
    return found


def exact_epsilon(mechanisms: Sequence[Gaussian], *, delta: float) -> float:
    """Exact epsilon of composed Gaussians on all records: one with mu² = Σ count / sigma².

    Raises:
        PrivacyError: If one of them reads a sample: no exact formula is known for those.
    """
    used = [m for m in mechanisms if m.count > 0]
    if any(m.sample_rate < 1 for m in used):
        raise PrivacyError("No exact epsilon is known of mechanisms on Poisson samples.")
    if any(m.noise_multiplier == 0 for m in used):
        return math.inf
    mu = math.sqrt(sum(m.count / m.noise_multiplier**2 for m in used))
    if mu == 0 or _hockey_stick(0.0, mu) <= delta:
        return 0.0
    high = mu * mu / 2 + mu * math.sqrt(2 * math.log(1 / delta)) + 1.0
    return _root(lambda eps: _hockey_stick(eps, mu) - delta, 0.0, high)


def exact_noise_multiplier(target: float, *, delta: float) -> float:
    """Noise multiplier at which one Gaussian mechanism costs exactly (`target`, `delta`)."""
    return _root(lambda sigma: _hockey_stick(target, 1.0 / sigma) - delta, 1e-3, 1e6)


def _root(
    function: Callable[[float], float], low: float, high: float, tolerance: float = 1e-12
) -> float:
    bracket = (low, high)
    found = root_scalar(function, bracket=bracket, method="brentq", xtol=tolerance, rtol=1e-12)
    return float(found.root)


def _hockey_stick(eps: float, mu: float) -> float:
    """Delta at `eps` between N(0, 1) and N(mu, 1)."""
    first = norm.cdf(-eps / mu + mu / 2)
    return float(first - math.exp(eps + norm.logcdf(-eps / mu - mu / 2)))


def _merged(mechanisms: Sequence[Gaussian]) -> tuple[Gaussian, ...]:
    """The same composition as at most one mechanism on all records and one for each kind of sample.

    Gaussians on all records compose to one, exactly. Its noise is rounded to ten digits, so that
    shares of a release add up to the release they are shares of.
    """
    precision, counts = 0.0, defaultdict[tuple[float, float], int](int)
    for m in mechanisms:
        if m.sample_rate == 1:
            precision += m.count / m.noise_multiplier**2
        else:
            counts[m.sample_rate, m.noise_multiplier] += m.count
    merged = [
        Gaussian(noise_multiplier=sigma, sample_rate=rate, count=count)
        for (rate, sigma), count in sorted(counts.items())
    ]
    if precision > 0:
        merged.append(Gaussian(noise_multiplier=float(f"{precision**-0.5:.10g}")))
    return tuple(merged)


@lru_cache(maxsize=1024)
def _prv_epsilon(mechanisms: tuple[Gaussian, ...], delta: float) -> float:
    from opacus.accountants import PRVAccountant, RDPAccountant

    prv, rdp = PRVAccountant(), RDPAccountant()
    history = [(m.noise_multiplier, m.sample_rate, m.count) for m in mechanisms]
    prv.history = rdp.history = history
    with warnings.catch_warnings():
        # At sampling rate 1 the subsampled density divides by zero on a set of measure zero.
        warnings.simplefilter("ignore")
        span = rdp.get_epsilon(delta / 4000) + 3.0  # half the width of the PRV accountant's grid
        if span > _WIDE:
            return float(rdp.get_epsilon(delta))
        steps = sum(m.count for m in mechanisms)
        coarse = 2.0 * span * math.sqrt(steps * math.log(12_000 / delta) / 2.0) / _POINTS
        return float(prv.get_epsilon(delta, eps_error=max(_EPS_ERROR, coarse)))
