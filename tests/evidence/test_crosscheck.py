"""Three accountants agree: opacus PRV (the claims), the exact Gaussian, and Google's dp-accounting.

`make install` brings dp-accounting without its dependencies, whose pins are older than moc's.
"""

from __future__ import annotations

import pytest

from moc.evidence.accountant import Gaussian, epsilon, exact_noise_multiplier, noise_multiplier

dp = pytest.importorskip("dp_accounting")
pld = pytest.importorskip("dp_accounting.pld")

DELTA = 1e-5
GOLDEN = {1.0: 3.7306, 2.0: 1.9938, 4.0: 1.0812, 8.0: 0.6002, 10.0: 0.4999}
HISTORIES = {
    "two rounds and scores": [(4.0, 1.0, 1), (2.0, 1.0, 1), (30.0, 1.0, 100)],
    "DP-SGD": [(1.0, 1 / 120, 1000)],
    "DP-SGD, little noise": [(0.7, 0.02, 300)],
    "NDPDC": [(3.239, 1 / 120, 10_000)],
    "a release and DP-SGD": [(2.0, 1.0, 1), (1.2, 0.01, 500)],
}


def theirs(history) -> float:
    """Epsilon by privacy loss distributions, add or remove one record."""
    accountant = pld.PLDAccountant(dp.NeighboringRelation.ADD_OR_REMOVE_ONE)
    for sigma, rate, count in history:
        event = dp.GaussianDpEvent(sigma)
        event = event if rate == 1.0 else dp.PoissonSampledDpEvent(rate, event)
        accountant.compose(event, count)
    return accountant.get_epsilon(DELTA)


@pytest.mark.parametrize("target", GOLDEN)
def test_golden_noise_multipliers_are_theirs_too(target):
    exact = dp.get_sigma_gaussian(target, DELTA)
    assert exact == pytest.approx(GOLDEN[target], rel=1e-4)
    assert exact_noise_multiplier(target, delta=DELTA) == pytest.approx(exact, rel=1e-6)
    claimed = noise_multiplier(target, delta=DELTA)
    assert exact <= claimed < 1.002 * exact
    assert theirs([(claimed, 1.0, 1)]) == pytest.approx(target, rel=0.02)


@pytest.mark.parametrize("name", HISTORIES)
def test_composed_histories_agree_within_two_percent(name):
    used = [
        Gaussian(noise_multiplier=sigma, sample_rate=rate, count=count)
        for sigma, rate, count in HISTORIES[name]
    ]
    assert epsilon(used, delta=DELTA) == pytest.approx(theirs(HISTORIES[name]), rel=0.02)
