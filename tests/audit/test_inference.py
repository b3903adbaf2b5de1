"""Membership inference on made-up log-odds, where it is known what there is to find."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import norm

from moc.audit.inference import ATTACKS, attack_runs, likelihood_ratio, log_odds, relative


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def coins(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.5


def test_log_odds_are_those_of_the_softmax():
    logits, y = 3 * normal(50, 4), torch.arange(50) % 4
    p = logits.softmax(1)[torch.arange(50), y]
    assert torch.allclose(log_odds(logits, y), (p / (1 - p)).log())


def test_log_odds_stay_finite_where_probabilities_do_not():
    logits = torch.tensor([[900.0, 0.0], [0.0, 900.0], [math.nan, 0.0], [math.inf, 0.0]])
    assert log_odds(logits, torch.zeros(4, dtype=torch.int64)).tolist() == [900.0, -900.0, 0.0, 0.0]


def test_the_likelihood_ratio_is_that_of_two_normals():
    shadows = torch.tensor([[1.0, 5.0], [3.0, 6.0], [0.0, 2.0], [-1.0, 3.0], [1.0, 1.0]]).double()
    member = torch.tensor([[True, True], [True, True], [False] * 2, [False] * 2, [False] * 2])
    target = torch.tensor([1.5, 4.0]).double()
    inside = math.sqrt((1 + 1 + 0.25 + 0.25) / 2)
    outside = math.sqrt((0 + 1 + 1 + 0 + 1 + 1) / 4)
    means = [(2.0, 0.0), (5.5, 2.0)]
    by_hand = [
        norm.logpdf(float(t), a, inside) - norm.logpdf(float(t), b, outside)
        for t, (a, b) in zip(target, means, strict=True)
    ]
    assert likelihood_ratio(target, shadows, member).tolist() == pytest.approx(by_hand)


def test_a_record_that_was_never_in_or_never_out_scores_nothing():
    shadows, member = normal(6, 4), coins(6, 4)
    member[:, 0], member[:, 1] = True, False
    scores = likelihood_ratio(normal(4, seed=2), shadows, member)
    assert scores[:2].tolist() == [0.0, 0.0]
    assert (scores[2:] != 0).all()


def test_relative_gains_are_ranks_of_probability_over_its_mean():
    target, shadows = normal(30, seed=3), normal(5, 30)
    gain = target.sigmoid() / shadows.sigmoid().mean(0)
    by_hand = [(gain <= g).double().mean().item() for g in gain]
    assert relative(target, shadows, coins(5, 30)).tolist() == pytest.approx(by_hand)


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_an_attack_finds_a_shift_and_nothing_where_there_is_none(name):
    runs, n = 12, 400
    member, noise = coins(runs, n), normal(runs, n) + 2 * normal(n, seed=5)

    def others(t):
        return [s for s in range(runs) if s != t]

    for shift, low, high in ((0.0, 0.48, 0.52), (1.0, 0.65, 0.8), (3.0, 0.9, 1.0)):
        scores = attack_runs(ATTACKS[name], noise + shift * member, member, others)
        inside, outside = scores[member], scores[~member]
        auc = torch.searchsorted(outside.sort().values, inside).double().mean() / len(outside)
        assert low < auc < high


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_an_attack_sees_only_the_shadows_it_is_given(name):
    odds, member = normal(6, 50), coins(6, 50)
    before = attack_runs(ATTACKS[name], odds, member, lambda t: [(t + 1) % 6, (t + 2) % 6])[0]
    member[0] = ~member[0]  # above all, not who was in the target
    odds[3:], member[3:] = 7.0, True
    after = attack_runs(ATTACKS[name], odds, member, lambda t: [(t + 1) % 6, (t + 2) % 6])[0]
    assert torch.equal(before, after)
