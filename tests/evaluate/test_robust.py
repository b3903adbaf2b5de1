from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn

from moc.attacks import AttackError, Threat
from moc.attacks.gradient import PgdCe
from moc.evaluate.robust import BATCH, Robustness, correct
from moc.evaluate.suites import (
    SUITES,
    CustomSuite,
    FastSuite,
    FullSuite,
    PrivateSuite,
    StandardSuite,
)

PRIVATE = PrivateSuite()
EVERY_SUITE = pytest.mark.parametrize(
    "suite", [PRIVATE, FastSuite(), StandardSuite()], ids=lambda suite: suite.kind
)
THREATS = pytest.mark.parametrize(
    "threat", [Threat(eps=0.05), Threat(norm="L2", eps=0.3)], ids=lambda threat: threat.norm
)


class Counting(nn.Module):
    """Counts the calls and the records that a network sees."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.calls, self.sizes = inner, 0, set()

    def forward(self, x):
        self.calls += 1
        self.sizes.add(len(x))
        return self.inner(x)


class Shrug(nn.Module):
    """Gives every record to class 0; or to no class at all."""

    def __init__(self, value=1.0):
        super().__init__()
        self.value = value

    def forward(self, x):
        return F.pad(x.flatten(1)[:, :1] * 0 + self.value, (0, 3))


@pytest.fixture(scope="module")
def network():
    generator = torch.Generator().manual_seed(0)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))
    for parameter in layers.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return layers.eval()


@pytest.fixture(scope="module")
def records(network):
    """Images, half of them near a boundary, and labels of which every fifth is wrong."""
    x = 0.3 + 0.4 * torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = network(x).argmax(1)
    y[::5] = (y[::5] + 1) % 4
    return x, y


def set_on(network, suite, threat, *, classes=4, seed=0, batch=BATCH):
    return Robustness(
        model=network, suite=suite, threat=threat, classes=classes, seed=seed, batch=batch
    )


def run(network, records, suite, threat, **options):
    return set_on(network, suite, threat, **options).result(*records)


@EVERY_SUITE
@THREATS
def test_outcomes_are_nested(network, records, suite, threat):
    result = run(network, records, suite, threat)
    assert torch.equal(result.clean, torch.arange(60) % 5 != 0)
    assert list(result.per_attack) == [attack.label for attack in suite.attacks]
    before = result.clean
    for after in result.per_attack.values():
        assert (after <= before).all()
        before = after
    assert torch.equal(before, result.robust)
    assert 0 < result.robust.sum() < result.clean.sum()


@THREATS
def test_worst_case_is_the_intersection_of_the_attacks(network, records, threat):
    result = run(network, records, PRIVATE, threat)
    alone = [
        run(network, records, CustomSuite(attacks=(attack,)), threat).robust
        for attack in PRIVATE.attacks
    ]
    assert torch.equal(result.robust, alone[0] & alone[1])


@EVERY_SUITE
@THREATS
def test_no_budget_costs_nothing(network, records, suite, threat):
    result = run(network, records, suite, Threat(norm=threat.norm, eps=0.0))
    assert torch.equal(result.robust, result.clean)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_a_linear_network_gets_its_exact_worst_case(norm):
    generator = torch.Generator().manual_seed(2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4, bias=False))
    weight = torch.randn(4, 64, generator=generator)
    model[1].weight.data = weight
    x = 0.3 + 0.4 * torch.rand(80, 1, 8, 8, generator=generator)
    logits = model(x).detach()
    y = logits.argmax(1)
    threat = Threat(norm=norm, eps=0.01 if norm == "Linf" else 0.07)
    reach = (weight[y][:, None] - weight).norm(p=1 if norm == "Linf" else 2, dim=2)
    gaps = logits.gather(1, y[:, None]) - logits - threat.eps * reach
    worst = gaps.scatter(1, y[:, None], math.inf).amin(1)
    robust = run(model, (x, y), StandardSuite(), threat).robust
    clear = worst.abs() > 0.05
    assert 10 < (worst > 0).sum() < 70
    assert torch.equal(robust[clear], (worst > 0)[clear])


@EVERY_SUITE
def test_the_seed_decides_everything(network, records, suite):
    torch.manual_seed(1)
    first = run(network, records, suite, Threat(eps=0.05), seed=3)
    torch.manual_seed(2)
    second = run(network, records, suite, Threat(eps=0.05), seed=3)
    assert torch.equal(first.robust, second.robust)


def test_only_the_shorthand_is_shorter(network, records):
    attacked = set_on(network, FastSuite(), Threat(eps=0.05))
    assert torch.equal(attacked.correct(*records), attacked.result(*records).robust)


# One record on its own


@THREATS
@settings(max_examples=10)
@given(kept=st.lists(st.booleans(), min_size=60, max_size=60).filter(any), batch=st.just(16))
def test_private_outcomes_do_not_depend_on_other_records(network, records, threat, kept, batch):
    x, y = records
    kept = torch.tensor(kept)
    everyone = run(network, records, PRIVATE, threat, batch=batch)
    some = run(network, (x[kept], y[kept]), PRIVATE, threat, batch=batch)
    assert torch.equal(some.clean, everyone.clean[kept])
    assert torch.equal(some.robust, everyone.robust[kept])


@pytest.mark.parametrize("count", [1, 16, 37])
def test_private_calls_have_one_shape(network, records, count):
    x, y = (part[:count] for part in records)
    seen = Counting(network)
    run(seen, (x, y), PRIVATE, Threat(eps=0.05), batch=16)
    assert seen.sizes == {16}


def test_which_suites_are_per_record():
    assert PRIVATE.per_record
    assert not any(suite().per_record for suite in (FastSuite, StandardSuite, FullSuite))


# Time is not spent on what is decided


def test_wrong_records_are_not_attacked(records):
    x, _ = records
    seen = Counting(Shrug())
    result = run(
        seen, (x, torch.ones(60, dtype=torch.long)), FullSuite(), Threat(eps=0.1), batch=60
    )
    assert seen.calls == 1
    assert not result.robust.any()


def test_the_full_suite_is_autoattack_at_its_own_strength():
    assert [attack.label for attack in FullSuite().attacks] == [
        "apgd-ce-100",
        "apgd-t-100",
        "fab-t-100",
        "square-5000",
    ]


# Clean records


@pytest.mark.parametrize("batch", [1, 7, 60, 100])
def test_correct_is_plain_accuracy(network, records, batch):
    x, y = records
    assert torch.equal(correct(network, x, y, batch=batch), torch.arange(60) % 5 != 0)


def test_correct_leaves_the_network_in_training_mode(network, records):
    model = nn.Sequential(nn.Dropout(0.9), network).train()
    assert torch.equal(correct(model, *records), torch.arange(60) % 5 != 0)
    assert model.training
    assert model[0].training


def test_logits_that_are_no_numbers_are_wrong(records):
    x, _ = records
    y = torch.zeros(60, dtype=torch.long)
    assert correct(Shrug(), x, y).all()
    assert not correct(Shrug(math.nan), x, y).any()


# The curve


@EVERY_SUITE
@THREATS
def test_the_curve_falls_from_clean_to_nothing(network, records, suite, threat):
    threats = [Threat(norm=threat.norm, eps=threat.eps * k) for k in (0.0, 0.5, 1.0, 8.0)]
    rows = set_on(network, suite, threat).curve(*records, threats)
    assert rows.shape == (4, 60)
    assert torch.equal(rows[0], correct(network, *records))
    assert (rows[1:] <= rows[:-1]).all()
    shares = rows.float().mean(1)
    assert shares[1] > shares[2] > shares[3]
    single = run(network, records, suite, threats[1]).robust
    assert torch.equal(rows[1], single)


@pytest.mark.parametrize(
    "threats",
    [
        [],
        [Threat(eps=0.2), Threat(eps=0.1)],
        [Threat(eps=0.1), Threat(eps=0.1)],
        [Threat(eps=0.1), Threat(norm="L2", eps=0.5)],
    ],
)
def test_budgets_that_do_not_rise_are_refused(network, records, threats):
    with pytest.raises(AttackError, match="Rising budgets"):
        set_on(network, PRIVATE, Threat(eps=0.1)).curve(*records, threats)


@pytest.mark.parametrize("attacks", [(), (PgdCe(steps=5),) * 2])
def test_suites_of_nothing_or_twice_the_same_are_refused(attacks):
    with pytest.raises(ValueError, match=r"differ|at least 1"):
        CustomSuite(attacks=attacks)


def test_every_suite_but_ones_own_stands_as_it_is():
    kinds = set(SUITES.parts) - {"custom"}
    assert kinds == {SUITES.make(kind).kind for kind in kinds}


# Against the reference implementation


@pytest.mark.slow
@THREATS
@pytest.mark.parametrize("confidence", [1.0, 20.0], ids=["calm", "loud"])
def test_the_full_suite_agrees_with_the_official_autoattack(threat, confidence):
    official = pytest.importorskip("pyautoattack")
    digits = load_digits()
    x = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
    y = torch.tensor(digits.target)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1, generator=generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(confidence * model(x[:1000]), y[:1000]).backward()
        optimizer.step()
    x, y = x[1000:1500], y[1000:1500]
    ours = set_on(model, FullSuite(), threat, classes=10).correct(x, y)
    reference = official.AutoAttack(model, norm=threat.norm, eps=threat.eps, device="cpu", seed=0)
    found, *_ = reference.run_standard_evaluation(x, y, batch_size=500)
    theirs = correct(model, found, y)
    assert 0.05 < theirs.float().mean() < 0.95
    assert abs(float(ours.float().mean() - theirs.float().mean())) <= 0.01
