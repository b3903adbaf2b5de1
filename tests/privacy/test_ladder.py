"""The ladder: rungs in order, each with the noise and the cost it names; shares of 1/σ²."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from privacy.private_tools import LADDER
from pydantic import ValidationError

from moc.errors import PrivacyError
from moc.privacy.accountant import Gaussian, epsilon, exact_epsilon
from moc.privacy.ladder import Ladder, PrivacySettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilons": ()}, "largest first"),
        ({"epsilons": (1.0, 2.0)}, "largest first"),
        ({"epsilons": (2.0, 2.0)}, "largest first"),
        ({"epsilons": (8.0, 7.9999999)}, "1 % or more below .* found 8, 7.9999999"),
        ({"epsilons": (2.0, 0.0)}, "largest first"),
        ({"epsilons": (math.inf, 1.0)}, "largest first"),
        ({"epsilons": (math.nan,)}, "largest first"),
        ({"epsilons": (2.0,), "share": 0.0}, "share"),
        ({"epsilons": (2.0,), "share": 1.5}, "share"),
    ],
)
def test_a_ladder_that_would_mislabel_its_rungs_is_refused(settings, message):
    with pytest.raises(PrivacyError, match=message):
        Ladder(**settings)


def test_multipliers_meet_their_epsilons():
    for share in (1.0, 0.25):
        for target, sigma in zip(
            LADDER.epsilons, replace(LADDER, share=share).multipliers, strict=True
        ):
            whole = [Gaussian(noise_multiplier=sigma * math.sqrt(share))]
            assert target * 0.99 < exact_epsilon(whole, delta=1e-5) <= target


def test_rungs_are_made_once_and_say_what_reading_them_costs():
    rungs = LADDER.rungs
    assert rungs is LADDER.rungs
    assert [rung.index for rung in rungs] == [0, 1, 2]
    assert [rung.sigma for rung in rungs] == sorted(rung.sigma for rung in rungs)
    for rung, target in zip(rungs, LADDER.epsilons, strict=True):
        cost = epsilon([Gaussian(noise_multiplier=rung.sigma)], delta=LADDER.delta)
        assert target * 0.99 < rung.epsilon == cost <= target


@given(shares=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5))
def test_rounds_with_all_shares_cost_the_whole(shares):
    whole = Ladder(epsilons=(8.0, 2.0), share=0.6)
    parts = [whole.part(share / sum(shares)) for share in shares]
    for rung, sigma in enumerate(whole.multipliers):
        precision = sum(part.multipliers[rung] ** -2 for part in parts)
        assert precision == pytest.approx(sigma**-2)


@pytest.mark.parametrize("scoring", [0.0, 0.2, 0.7])
def test_scores_and_release_share_the_budget(scoring):
    settings = PrivacySettings(epsilons=(4.0, 1.0), scoring=scoring)
    used = [Gaussian(noise_multiplier=settings.ladder.multipliers[0])]
    if scoring:
        used.append(Gaussian(noise_multiplier=settings.score_noise(40), count=40))
    assert 4.0 * 0.99 < epsilon(used, delta=settings.delta) <= 4.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"epsilons": ()},
        {"epsilons": (1.0, 2.0)},
        {"epsilons": (2.0, 2.0)},
        {"epsilons": (2.0, -1.0)},
        {"epsilons": (2.0,), "delta": 0.0},
        {"epsilons": (2.0,), "delta": 1.0},
        {"epsilons": (2.0,), "scoring": 1.0},
        {"epsilons": (2.0,), "unheard": 1},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        PrivacySettings.model_validate(wrong)
