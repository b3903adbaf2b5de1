"""Round two: heads from the smallest rung alone, and an attack that keeps records apart."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from evidence_checks import check_one_record_moves_at_most_c
from evidence_tools import LADDER, ledger_of, part, small, tame, toy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from moc.attacks import Attack, Threat
from moc.data._vault import Records, unseal
from moc.data.sources import load
from moc.errors import BudgetExceededError, PrivacyError
from moc.evidence import HeadsAttack, Moments, Rung, Statistics, accountant, draw, linear_heads
from moc.evidence.accountant import Gaussian
from moc.evidence.audit import stand_in
from moc.evidence.isolation import probes, require_isolated
from moc.evidence.release import noised
from moc.evidence.rungs import as_rungs

DIGITS = load("digits")
KINDS = {"means": {}, "ridge": {"second": 0.5}, "projected": {"second": 0.5, "width": 6}}
ALLOWED = {
    "fgsm": Attack(name="fgsm", steps=1),
    "pgd-margin": Attack(name="pgd-margin", steps=3),
}
THREATS = {"Linf": Threat(norm="Linf", eps=0.1), "L2": Threat(norm="L2", eps=1.0)}


def statistics_of(kind: str) -> Statistics:
    return tame(DIGITS.info, **KINDS[kind])


def exact_rung(statistics: Statistics, records: Records, epsilon=1.0) -> Rung:
    sums = statistics.sums(records)
    (rung,) = as_rungs(noised(sums, None, "standard"), None)
    return replace(rung, epsilon=epsilon)


def attack_of(statistics, clean=None, *, name="pgd-margin", threat="Linf", **options):
    clean = clean if clean is not None else stand_in(statistics, LADDER, "standard")
    given = {"attack": ALLOWED[name], "threat": THREATS[threat], **options}
    return HeadsAttack(statistics, clean, LADDER, **given)


@pytest.fixture(scope="module", params=sorted(KINDS))
def knowing(request):
    """Statistics, and the attack under heads from exact moments of 300 digits."""
    statistics = statistics_of(request.param)
    records = part(unseal(DIGITS), slice(0, 300))
    clean = [exact_rung(statistics, records, epsilon) for epsilon in LADDER.epsilons]
    return statistics, attack_of(statistics, clean)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_heads_depend_on_the_last_rung_and_on_nothing_above(kind):
    statistics = statistics_of(kind)
    clean = stand_in(statistics, LADDER, "standard")
    heads = attack_of(statistics, clean).heads
    other = stand_in(statistics, LADDER, "standard")
    assert torch.equal(attack_of(statistics, [*other[:-1], clean[-1]]).heads, heads)
    assert not torch.equal(attack_of(statistics, [*clean[:-1], other[-1]]).heads, heads)


def test_class_mean_heads_are_the_formula():
    statistics = statistics_of("means")
    records = part(unseal(DIGITS), slice(0, 100))
    found = linear_heads(statistics, exact_rung(statistics, records))
    for k, head in enumerate(found):
        phi = statistics.bank.member(k)(records.x)
        sums = torch.stack([phi[records.y == c].sum(0) for c in range(10)]) / DIGITS.info.count
        assert torch.allclose(head.T, 10 * (sums - sums.mean(0)), atol=1e-4)


@pytest.mark.parametrize("kind", ["ridge", "projected"])
def test_ridge_heads_solve_the_ridge_equations(kind):
    statistics = statistics_of(kind)
    records = part(unseal(DIGITS), slice(0, 200))
    found = linear_heads(statistics, exact_rung(statistics, records))
    assert found.shape == (2, 32, 10)
    for k, head in enumerate(found):
        member = statistics.bank.member(k)
        phi = member(records.x).double()
        psi = member.compact(phi)
        # Quadratic in compact heads w: the gradient at the minimum is zero.
        w = torch.linalg.lstsq(member.compact(torch.eye(len(head))).double(), head.double())
        targets = torch.eye(10, dtype=torch.float64)[records.y] - 0.1
        scale = clip_of(statistics, records)
        w, n = w.solution, DIGITS.info.count
        moment = psi.T @ (scale * psi) / n
        shift = 0.1 * moment.trace() / len(moment)
        gradient = moment @ w + shift * w - psi.T @ (scale * targets) / n
        assert gradient.abs().max() < 1e-3 * (psi.T @ targets / n).abs().max()


@pytest.mark.parametrize("share", [1e-6, 1e-2, 1.0])
def test_ridge_heads_point_where_their_class_is_whatever_the_noise(share):
    """They would not if noise had left the system with a negative eigenvalue."""
    statistics = statistics_of("ridge")
    rung = stand_in(statistics, replace(LADDER, share=share), "standard")[-1]
    first, _ = statistics.normalise(rung.first, rung.second)
    heads = linear_heads(statistics, rung)
    for sums, head in zip(first - first.mean(1, keepdim=True), heads, strict=True):
        assert ((head.T * sums).sum(1) > 0).all()


def clip_of(statistics, records):
    """Factors (n, 1) of the joint clip, from its definition."""
    square = torch.zeros(len(records.y), dtype=torch.float64)
    for k in range(statistics.networks):
        phi = statistics.bank.member(k)(records.x).double()
        psi = statistics.bank.member(k).compact(phi)
        square = square + statistics.mean / statistics.networks * phi.square().sum(1)
        square = square + statistics.second / statistics.networks * psi.square().sum(1) ** 2
    return (1 / square.sqrt()).clamp(max=1.0)[:, None]


def test_heads_know_the_classes_and_the_attack_fools_them(knowing):
    statistics, attack = knowing
    fresh = part(unseal(DIGITS), slice(1000, 1064))
    for k in range(2):
        member = statistics.bank.member(k)
        clean = (member(fresh.x) @ attack.heads[k]).argmax(1) == fresh.y
        seen = attack(k, member, fresh.x, fresh.y)
        fooled = (member(seen) @ attack.heads[k]).argmax(1) == fresh.y
        assert clean.float().mean() > 0.35  # 10 classes; 6 projected features of one net at worst
        assert fooled.float().mean() < clean.float().mean() / 2
        assert (seen - fresh.x).abs().max() <= 0.1 + 1e-6


@settings(max_examples=15)
@given(
    order=st.permutations(range(64)),
    dropped=st.sets(st.integers(0, 63), max_size=63),
    name=st.sampled_from(sorted(ALLOWED)),
    threat=st.sampled_from(sorted(THREATS)),
)
def test_an_attacked_record_is_the_same_to_the_bit_in_any_company(order, dropped, name, threat):
    statistics = statistics_of("projected")
    attack = attack_of(statistics, CLEAN, name=name, threat=threat)
    member, records = statistics.bank.member(1), part(unseal(DIGITS), slice(0, 64))
    whole = attack(1, member, records.x, records.y)
    moved = part(records, list(order))
    assert torch.equal(attack(1, member, moved.x, moved.y), whole[list(order)])
    kept = [i for i in order if i not in dropped]
    x, y = torch.zeros_like(records.x), torch.zeros_like(records.y)
    x[: len(kept)], y[: len(kept)] = records.x[kept], records.y[kept]
    assert torch.equal(attack(1, member, x, y)[: len(kept)], whole[kept])


CLEAN = stand_in(statistics_of("projected"), LADDER, "standard")


@pytest.mark.parametrize("name", sorted(ALLOWED))
@pytest.mark.parametrize("threat", sorted(THREATS))
def test_the_attacked_block_obeys_the_clip_on_the_grid(name, threat):
    statistics = statistics_of("projected")
    attack = attack_of(statistics, CLEAN, name=name, threat=threat)
    require_isolated(statistics, attack)
    records = part(unseal(DIGITS), slice(0, 70))
    for one in (part(unseal(DIGITS), slice(100, 101)), part(probes(DIGITS.info, 2), slice(0, 1))):
        check_one_record_moves_at_most_c(statistics, records, one, place=35, attack=attack)


@pytest.mark.parametrize("attacked", [0.2, 0.5, 0.9])
def test_two_rounds_cost_by_hand_what_the_ledger_says(tmp_path, attacked):
    data = toy()
    statistics, ledger = small(data.info), ledger_of(data)
    one = replace(LADDER, share=1 - attacked)
    two = replace(LADDER, share=attacked)
    clean = draw(ledger, statistics, one, folder=tmp_path / "release")
    attack = attack_of(statistics, clean)
    again = {"key": "release/attacked", "attack": attack}
    found = draw(ledger, statistics, two, folder=tmp_path / "release-attacked", **again)
    pairs = zip(one.multipliers(), two.multipliers(), LADDER.epsilons, strict=True)
    for rung, (first, second, nominal) in enumerate(pairs):
        mu = math.sqrt(1 / first**2 + 1 / second**2)
        epsilon = ledger.epsilon(rung)
        assert epsilon <= nominal
        # Both rounds are one Gaussian of this mu; the accountant adds 1e-3 to be an upper bound.
        by_hand = accountant.epsilon([Gaussian(noise_multiplier=1 / mu)], delta=LADDER.delta)
        assert epsilon == pytest.approx(by_hand, abs=1e-3)
        assert hockey_stick(epsilon - 2e-3, mu) > LADDER.delta >= hockey_stick(epsilon, mu)
    view = Moments(statistics, clean, found).view(0, [0, 2])
    sums = view.attacked(torch.zeros(())).class_sums()
    assert sums.shape == (2, 2, 5)
    assert not torch.equal(sums, view.clean().class_sums())
    third = replace(LADDER, share=0.01)
    with pytest.raises(BudgetExceededError):
        draw(ledger, statistics, third, folder=tmp_path / "third", key="release/third")


OTHERS = {
    "attack": {"attack": ALLOWED["fgsm"]},
    "steps": {"attack": Attack(name="pgd-margin", steps=4)},
    "norm": {"threat": THREATS["L2"]},
    "eps": {"threat": Threat(norm="Linf", eps=0.09)},
}


@pytest.mark.parametrize("change", sorted(OTHERS))
def test_round_two_is_not_read_back_under_another_attack(tmp_path, change):
    data = toy()
    statistics, ledger = small(data.info), ledger_of(data)
    half = replace(LADDER, share=0.5)
    clean = draw(ledger, statistics, half, folder=tmp_path / "release")
    settings = {"attack": ALLOWED["pgd-margin"], "threat": THREATS["Linf"]}

    def second(settings):
        attack = HeadsAttack(statistics, clean, half, **settings)
        folder = tmp_path / "release-attacked"
        return draw(ledger, statistics, half, folder=folder, key="release/attacked", attack=attack)

    first, again = second(settings), second(settings)
    assert all(torch.equal(a.first, b.first) for a, b in zip(first, again, strict=True))
    assert "(pgd-margin-3, Linf at most 0.1, under heads" in ledger.words()[1]
    with pytest.raises(PrivacyError, match="Settings of a release cannot change"):
        second(settings | OTHERS[change])


def hockey_stick(epsilon: float, mu: float) -> float:
    """Exact delta of a Gaussian mechanism (Balle and Wang, arXiv 1805.06530)."""
    second = norm.cdf(-mu / 2 - epsilon / mu)
    return float(norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * second)


@pytest.mark.parametrize(
    "chosen",
    [slice(0, 1), slice(0, 2), slice(None, None, -1), slice(2, 3), slice(0, 0)],
    ids=["the top rung", "without the last", "upside down", "the last alone", "none"],
)
def test_heads_of_another_rung_than_the_last_cannot_be_had(chosen):
    with pytest.raises(PrivacyError, match="the smallest rung of the clean release"):
        attack_of(statistics_of("projected"), CLEAN[chosen])


@pytest.mark.parametrize(
    "attack",
    [
        Attack(name="pgd-margin", steps=2, random_start=True),
        Attack(name="pgd-ce", steps=2),
        Attack(name="apgd-ce", steps=2),
        Attack(name="square", steps=2),
    ],
    ids=lambda attack: attack.label,
)
def test_other_attacks_and_random_starts_are_refused(attack):
    with pytest.raises(PrivacyError, match="without random start"):
        attack_of(statistics_of("projected"), CLEAN, attack=attack)


def test_batches_of_another_shape_are_refused():
    statistics = statistics_of("projected")
    records = part(unseal(DIGITS), slice(0, 63))
    with pytest.raises(PrivacyError, match="batch of 64"):
        attack_of(statistics, CLEAN)(0, statistics.bank.member(0), records.x, records.y)


def test_heads_need_class_sums():
    statistics = tame(DIGITS.info, second=1.0, width=6)
    with pytest.raises(PrivacyError, match="class sums"):
        attack_of(statistics)
