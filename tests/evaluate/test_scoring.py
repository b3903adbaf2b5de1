from __future__ import annotations

import math

import pytest
import torch

from moc.attacks import Attack, Threat
from moc.evaluate import make_protocol, score, select, suite_for, to_scores, train
from moc.evaluate.robust import FAST, PRIVATE, Suite, correct, correct_under_attack
from moc.evaluate.scoring import outcome
from moc.privacy.held_out import HeldOut, Rates
from moc.privacy.ledger import Budget, Ledger
from moc.privacy.reference import reference_records


@pytest.fixture(scope="module")
def parts(digits):
    return digits.split([300, 60], seed=0)


@pytest.fixture(scope="module")
def held_out(parts):
    ledger = Ledger(None)
    ledger.own("validation", parts[1])
    return HeldOut(ledger, "validation")


@pytest.fixture(scope="module")
def private(parts):
    ledger = Ledger(Budget(epsilon=8.0))
    ledger.own("validation", parts[1])
    return HeldOut(ledger, "validation", planned=3, noise_multiplier=3.0)


@pytest.fixture(scope="module")
def records(parts):
    ledger = Ledger(None)
    ledger.own("validation", parts[1])
    return reference_records(ledger, "validation")


@pytest.fixture(scope="module")
def sets(parts):
    ledger = Ledger(None)
    ledger.own("train", parts[0])
    x, y = reference_records(ledger, "train")
    return [select("random", x, y, parts[0].info, per_class=3, seed=seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def protocol(digits):
    suite = Suite(name="short", attacks=(Attack(name="pgd-ce", steps=3, random_start=True),))
    options = {"network": "convnet2-w16", "epochs": 20, "suite": suite}
    return make_protocol("fast", digits.info, Threat(eps=0.1), **options)


def rates(values, *, noise=0.0, records=100):
    return Rates(values=torch.tensor(values, dtype=torch.float64), noise=noise, records=records)


# The score of one set


def test_counts_are_those_of_networks_trained_one_by_one(sets, protocol, held_out, records):
    x, y = records
    found = score(sets[0], protocol=protocol, held_out=held_out, seeds=[4, 9]).sums
    for row, seed in zip(found, (4, 9), strict=True):
        network = train(sets[0], protocol, seed=seed)
        options = {"suite": protocol.suite, "threat": protocol.threat, "classes": 10}
        robust = correct_under_attack(network, x, y, seed=seed, **options)
        assert row.tolist() == [correct(network, x, y).sum(), robust.sum()]
    assert (found[:, 1] < found[:, 0]).all()
    assert (found[:, 0] > 20).all()


def test_a_score_does_not_depend_on_what_was_scored_before(sets, protocol, held_out):
    options = {"protocol": protocol, "held_out": held_out, "seeds": [0]}
    alone = score(sets[1], **options).sums
    torch.manual_seed(7)
    state = torch.get_rng_state()
    other = score(sets[0], **options).sums
    assert torch.equal(score(sets[1], **options).sums, alone)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(other, alone)


def test_a_network_that_diverged_gets_nothing_right(sets, protocol, records):
    good, bad = (train(sets[0], protocol, seed=0) for _ in range(2))
    bad.head.bias.data[0] = math.nan
    right = outcome([good, bad], protocol, suite=protocol.suite, seeds=[0, 0])(*records)
    assert right.shape == (60, 2, 2)
    assert right[:, 0].sum() > 0
    assert not right[:, 1].any()


# Private records


def test_private_records_are_attacked_one_by_one(protocol, held_out, private):
    assert suite_for(protocol, held_out) is protocol.suite
    assert suite_for(protocol, private) is PRIVATE
    assert not FAST.per_record


def test_a_suite_that_is_per_record_is_kept(digits, private):
    own = Suite(name="own", attacks=(Attack(name="fgsm", steps=1),))
    protocol = make_protocol("fast", digits.info, Threat(eps=0.1), suite=own)
    assert suite_for(protocol, private) is own


def test_a_score_of_private_records_uses_no_other_attacks(sets, protocol, private, records):
    x, y = records
    found = score(sets[0], protocol=protocol, held_out=private, seeds=[0]).sums[0, 1]
    network = train(sets[0], protocol, seed=0)
    options = {"threat": protocol.threat, "classes": 10, "seed": 0}
    robust = [
        correct_under_attack(network, x, y, suite=suite, **options).sum()
        for suite in (PRIVATE, protocol.suite)
    ]
    assert found == robust[0] != robust[1]


def test_without_one_record_the_others_keep_their_outcomes(sets, protocol, records):
    x, y = records
    networks = [train(sets[0], protocol, seed=0)]
    measure = outcome(networks, protocol, suite=PRIVATE, seeds=[0])
    kept = torch.arange(60) != 17
    assert torch.equal(measure(x[kept], y[kept]), measure(x, y)[kept])


def test_private_scores_know_their_noise(sets, protocol, private, held_out):
    counts = score(sets[0], protocol=protocol, held_out=private, seeds=[0, 1])
    published = private.publish(counts)
    noise = 3.0 * math.sqrt(4) / 60
    assert published.noise == pytest.approx(noise)
    exact = to_scores(held_out.publish(counts), epsilon=math.inf)
    noisy = to_scores(published, epsilon=8.0)
    assert noisy.epsilon == 8.0
    for known, found in zip(exact.values()[:2], noisy.values()[:2], strict=True):
        assert abs(found - known) < 6 * noise / math.sqrt(2)
    assert min(noisy.errors()[:2]) >= noise / math.sqrt(2)


# Standard errors


def test_standard_errors_by_hand():
    found = to_scores(rates([[0.92, 0.5], [0.88, 0.6]], records=98), epsilon=2.0)
    # Networks: variance 0.0008 / 2. Records: (88.2 + 1) / 100 = 0.892; 0.892 * 0.108 / 98.
    assert found.error.mean == pytest.approx(0.1)
    assert found.error.se == pytest.approx(math.sqrt(0.0004 + 0.096336 / 98))
    # Networks: variance 0.005 / 2. Records: (53.9 + 1) / 100 = 0.549; 0.549 * 0.451 / 98.
    assert found.robust_error.mean == pytest.approx(0.45)
    assert found.robust_error.se == pytest.approx(math.sqrt(0.0025 + 0.247599 / 98))
    assert found.epsilon == 2.0


def test_one_network_shows_no_spread():
    found = to_scores(rates([[0.88, 0.0]], records=98, noise=0.3), epsilon=2.0)
    assert found.error.se == pytest.approx(math.sqrt(0.09 + 0.8724 * 0.1276 / 98))


def test_the_spread_is_never_below_the_noise_and_never_added_to_it():
    quiet = to_scores(rates([[0.5, 0.2]] * 3, noise=0.1), epsilon=2.0).error.se
    assert quiet == pytest.approx(math.sqrt(0.01 / 3 + 0.25 / 100))
    wide = [[0.2, 0.2], [0.5, 0.2], [0.8, 0.2]]
    known = to_scores(rates(wide, noise=0.1), epsilon=2.0).error.se
    assert known == to_scores(rates(wide), epsilon=2.0).error.se


def test_noise_may_carry_a_mean_outside():
    found = to_scores(rates([[1.3, -0.2]], noise=0.2), epsilon=1.0)
    assert found.values()[:2] == pytest.approx((-0.3, 1.2))
    assert all(math.isfinite(se) and se > 0.2 for se in found.errors()[:2])


def test_no_mistake_is_no_certainty():
    found = to_scores(rates([[1.0, 0.0]] * 3), epsilon=1.0)
    assert found.error.se == pytest.approx(found.robust_error.se)
    assert found.error.se == pytest.approx(1 / 102, rel=0.01)  # one mistake among n + 2


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("shared", [True, False], ids=["same-records", "any-records"])
def test_intervals_cover_what_they_should(noise, shared):
    """Networks of skill p + N(0, 0.01) that fail on the same records, or on any of their own."""
    generator = torch.Generator().manual_seed(0)
    runs, n, replicates, p = 1500, 200, 3, 0.8
    skill = p + 0.01 * torch.randn(runs, 1, replicates, generator=generator)
    hardness = torch.rand(runs, n, 1 if shared else replicates, generator=generator)
    values = (hardness < skill).double().mean(1)
    values += noise * torch.randn(values.shape, generator=generator)
    covered = 0
    for value in values:
        both = value[:, None].expand(-1, 2)
        error = to_scores(Rates(values=both, noise=noise, records=n), epsilon=1.0).error
        covered += abs(error.mean - (1 - p)) < error.se
    share = covered / runs
    if shared:
        assert 0.64 < share < 0.75  # 0.68, a little more where noise is the floor of the spread
    else:
        assert share > 0.75  # networks that fail apart are surer together than is claimed
