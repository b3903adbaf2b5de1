"""The law of the noise, by tests that have been shown to see a tenth more or less of it.

The gates of the standard tier are run in `test_mutations.py`, beside the defects that they catch.
"""

from __future__ import annotations

from multiprocessing import get_context

import pytest
import torch
from privacy.gates import (
    NOTHING,
    check_noise_is_fresh,
    check_noise_of_every_rung,
    check_standard_normal,
    check_tails,
)

from moc.errors import PrivacyError
from moc.privacy.ladder import Ladder
from moc.privacy.noise import TIERS, gaussian
from moc.privacy.sums import GRID, Sums

NARROW = Sums(blocks={"class-means": NOTHING.blocks["class-means"][..., :40_000]})


@pytest.mark.parametrize("tier", sorted(TIERS))
def test_noise_is_gaussian_and_the_test_would_see_a_tenth(tier):
    values = gaussian(100_000, std=3.7 * GRID, tier=tier) / (3.7 * GRID)
    check_standard_normal(values)
    for scale in (0.9, 1.1):
        with pytest.raises(AssertionError, match="not a standard normal"):
            check_standard_normal(values * scale)


@pytest.mark.parametrize("std", [0.4, 2.0])
def test_discrete_noise_of_a_few_steps_has_its_exact_law(std):
    values = gaussian(40_000, std=std, tier="hardened")
    assert torch.equal(values, values.round())
    steps = torch.arange(-12, 13, dtype=torch.float64)
    law = (-(steps**2) / (2 * std**2)).exp()
    law /= law.sum()
    found = torch.stack([(values == step).double().mean() for step in steps])
    spread = (law * (1 - law) / len(values)).sqrt()
    assert ((found - law).abs() <= 6 * spread + 1e-4).all()


def test_hardened_noise_keeps_sums_on_the_grid():
    values = gaussian(1000, std=5e5, tier="hardened")
    assert torch.equal(values, values.round())


def test_hardened_rungs_and_increments_have_the_law_they_claim():
    check_noise_of_every_rung("hardened", NARROW, Ladder(epsilons=(8.0, 1.0)))


def test_hardened_noise_is_fresh():
    check_noise_is_fresh("hardened")


def test_two_processes_of_one_state_draw_different_noise():
    # A fork copies every generator there is: only new entropy tells the two apart.
    context = get_context("fork")
    with context.Pool(2, maxtasksperchild=1) as pool:
        one, two = pool.map(_draw, range(2), chunksize=1)
    assert not set(one) & set(two)


def _draw(_: int) -> list[float]:
    return gaussian(100, std=1.0, tier="standard").tolist()


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_noise_needs_a_scale(std):
    with pytest.raises(PrivacyError, match="positive standard deviation"):
        gaussian(3, std=std, tier="standard")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_tails_reach_six_sigma():
    check_tails(1_000_000, furthest=4.5, tier="hardened")
    check_tails(8_000_000_000, furthest=6.0)
