"""Three accountants agree: opacus PRV (the claims), the exact Gaussian, and Google's dp-accounting.

`make install` brings dp-accounting without its dependencies, whose pins are older than moc's.
"""

from __future__ import annotations

import pytest

from moc.privacy.accountant import Gaussian, epsilon, exact_noise_multiplier, noise_multiplier

dp = pytest.importorskip("dp_accounting")
pld = pytest.importorskip("dp_accounting.pld")

DELTA = 1e-5
GOLDEN = {1.0: 3.7306, 2.0: 1.9938, 4.0: 1.0812, 8.0: 0.6002, 10.0: 0.4999}
HISTORIES = {
    "two rounds and scores": [(4.0, 1), (2.0, 1), (30.0, 100)],
    "one release": [(1.08, 1)],
    "little noise": [(0.6, 1), (1.5, 2)],
}


def theirs(history) -> float:
    """Epsilon by privacy loss distributions; their relation has no zero-out, and costs the same."""
    accountant = pld.PLDAccountant(dp.NeighboringRelation.ADD_OR_REMOVE_ONE)
    for sigma, count in history:
        accountant.compose(dp.GaussianDpEvent(sigma), count)
    return accountant.get_epsilon(DELTA)


@pytest.mark.parametrize("target", GOLDEN)
def test_golden_noise_multipliers_are_theirs_too(target):
    exact = dp.get_sigma_gaussian(target, DELTA)
    assert exact == pytest.approx(GOLDEN[target], rel=1e-4)
    assert exact_noise_multiplier(target, delta=DELTA) == pytest.approx(exact, rel=1e-6)
    claimed = noise_multiplier(target, delta=DELTA)
    assert exact <= claimed < 1.002 * exact
    assert theirs([(claimed, 1)]) == pytest.approx(target, rel=0.02)


@pytest.mark.parametrize("name", HISTORIES)
def test_composed_histories_agree_within_two_percent(name):
    used = [Gaussian(noise_multiplier=sigma, count=count) for sigma, count in HISTORIES[name]]
    assert epsilon(used, delta=DELTA) == pytest.approx(theirs(HISTORIES[name]), rel=0.02)
