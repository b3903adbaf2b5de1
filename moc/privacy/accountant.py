"""Epsilon of composed Gaussian mechanisms. The only file that imports opacus' accountants.

Every claim goes through opacus' PRV accountant (arXiv 2106.02848), which returns an upper bound.
The GDP accountant is not offered: it under-reports epsilon for subsampled mechanisms. The exact
formula for the Gaussian mechanism (Balle and Wang, arXiv 1805.06530) is the oracle of the tests and
the starting point of the calibration; the larger of the two values is what moc reports.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from scipy.optimize import root_scalar
from scipy.special import log_ndtr, ndtr  # scipy.stats takes half a second to import

from moc.errors import PrivacyError

ACCOUNTANT = "opacus PRV"
_EPS_ERROR = 1e-3  # numerical error that the PRV accountant adds to its bound
_POINTS = 2**20  # most points of its grid; where they are too few, the error it adds grows
EPSILONS, DELTAS = (0.01, 10_000.0), (1e-12, 0.1)
"""What noise can be calibrated to, least and most: beyond, accountants fail or say little."""
_WIDE = 300.0  # beyond this epsilon exp() leaves float64, and the RDP bound is good enough


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """`count` Gaussian mechanisms, each on all records.

    Attributes:
        noise_multiplier: Standard deviation of the noise over the L2 sensitivity.
        count: How many times it is applied; the uses may be adaptive.
    """

    noise_multiplier: float
    count: int = 1

    def __post_init__(self) -> None:
        """Refuse what would be charged less than it costs."""
        if not self.noise_multiplier >= 0 or self.count < 0:
            raise PrivacyError(
                "A noise multiplier and a count of at least 0 expected, "
                f"found {self.noise_multiplier} and {self.count}."
            )


def epsilon(mechanisms: Sequence[Gaussian], *, delta: float) -> float:
    """Upper bound on epsilon at `delta` of the adaptive composition, for `access.ADJACENCY`.

    Zero for no mechanism; infinity as soon as one adds no noise. Gaussians on all records compose
    to one, exactly, so that mechanisms in another order, or a release in several shares, cost the
    same; its noise is rounded to ten digits, so that the shares of a release add up to it.
    """
    least = exact_epsilon(mechanisms, delta=delta)
    if least in (0.0, math.inf):
        return least
    precision = sum(m.count / m.noise_multiplier**2 for m in mechanisms if m.count > 0)
    return max(_prv_epsilon(float(f"{precision**-0.5:.10g}"), delta), least)


@lru_cache
def noise_multiplier(target: float, *, delta: float) -> float:
    """Smallest noise multiplier (to 1e-4 relative) whose claimed epsilon is at most `target`.

    Raises:
        PrivacyError: If there is none.
    """
    require_range(target, delta)
    low = exact_noise_multiplier(target, delta=delta)
    high = low * 1.01
    while epsilon([Gaussian(noise_multiplier=high)], delta=delta) > target:
        high *= 1.05
    while high / low > 1.0 + 1e-4:
        middle = math.sqrt(low * high)
        above = epsilon([Gaussian(noise_multiplier=middle)], delta=delta) > target
        low, high = (middle, high) if above else (low, middle)
    return math.ceil(high * 1e6) / 1e6  # upwards, and the same on any machine


def require_range(target: float, delta: float) -> None:
    """Refuse an epsilon or a delta that no noise can be calibrated to.

    Raises:
        PrivacyError: With the range.
    """
    if not (EPSILONS[0] <= target <= EPSILONS[1] and DELTAS[0] <= delta <= DELTAS[1]):
        raise PrivacyError(
            f"An epsilon from {EPSILONS[0]:g} to {EPSILONS[1]:g} and a delta from {DELTAS[0]:g} to "
            f"{DELTAS[1]:g} expected, found {target:g} and {delta:g}."
        )


def exact_epsilon(mechanisms: Sequence[Gaussian], *, delta: float) -> float:
    """Exact epsilon of composed Gaussians on all records: one with mu² = Σ count / sigma²."""
    used = [m for m in mechanisms if m.count > 0]
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


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    found = root_scalar(function, bracket=(low, high), method="brentq", xtol=1e-12, rtol=1e-12)
    return float(found.root)


def _hockey_stick(eps: float, mu: float) -> float:
    """Delta at `eps` between N(0, 1) and N(mu, 1)."""
    first = ndtr(-eps / mu + mu / 2)
    return float(first - math.exp(eps + log_ndtr(-eps / mu - mu / 2)))


@lru_cache(maxsize=1024)
def _prv_epsilon(sigma: float, delta: float) -> float:
    from opacus.accountants import PRVAccountant, RDPAccountant

    prv, rdp = PRVAccountant(), RDPAccountant()
    prv.history = rdp.history = [(sigma, 1.0, 1)]
    with warnings.catch_warnings():
        # At sampling rate 1 the subsampled density divides by zero on a set of measure zero.
        warnings.simplefilter("ignore")
        span = rdp.get_epsilon(delta / 4000) + 3.0  # half the width of the PRV accountant's grid
        if span > _WIDE:
            return float(rdp.get_epsilon(delta))
        coarse = 2.0 * span * math.sqrt(math.log(12_000 / delta) / 2.0) / _POINTS
        return float(prv.get_epsilon(delta, eps_error=max(_EPS_ERROR, coarse)))
