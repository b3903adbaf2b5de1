"""Epsilon of composed Gaussian mechanisms. The only file that imports opacus' accountants.

Every claim goes through opacus' PRV accountant (arXiv 2106.02848), which returns an upper bound.
The GDP accountant is not offered: it under-reports epsilon for subsampled mechanisms. The exact
formula for the Gaussian mechanism (Balle and Wang, arXiv 1805.06530) is the oracle of the tests and
the starting point of the calibration; the larger of the two values is what moc reports.
"""

from __future__ import annotations

import math
import warnings
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


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """`count` full-batch Gaussian mechanisms.

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
    """Upper bound on epsilon at `delta` of the adaptive composition, add/remove one record.

    Zero for no mechanism; infinity as soon as one adds no noise.
    """
    used = tuple(m for m in mechanisms if m.count > 0)
    exact = exact_epsilon(used, delta=delta)
    return max(_prv_epsilon(used, delta), exact) if 0 < exact < math.inf else exact


@lru_cache
def noise_multiplier(target: float, *, delta: float) -> float:
    """Smallest noise multiplier (to 1e-4 relative) whose claimed epsilon is at most `target`."""
    if not (0.0 < target < math.inf and 0.0 < delta < 1.0):
        raise PrivacyError(
            f"A finite epsilon above 0 and a delta in (0, 1) expected, found {target} and {delta}."
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


def exact_epsilon(mechanisms: Sequence[Gaussian], *, delta: float) -> float:
    """Exact epsilon of composed full-batch Gaussians: one Gaussian with mu² = Σ count / sigma²."""
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
    first = norm.cdf(-eps / mu + mu / 2)
    return float(first - math.exp(eps + norm.logcdf(-eps / mu - mu / 2)))


@lru_cache
def _prv_epsilon(mechanisms: tuple[Gaussian, ...], delta: float) -> float:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(m.noise_multiplier, 1.0, m.count) for m in mechanisms]
    with warnings.catch_warnings():
        # At sampling rate 1 the subsampled density divides by zero on a set of measure zero.
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta, eps_error=_EPS_ERROR))
