"""What one record can do to the sums, in exact integers."""

from __future__ import annotations

import math

import pytest
import torch
from evidence_checks import (
    check_hostile_records_are_clipped,
    check_one_record_moves_at_most_c,
    check_records_are_kept_apart,
    check_sums_are_sums,
)
from evidence_tools import WILD, HeadAttack, part, squared, tame, wild
from hypothesis import given, settings
from hypothesis import strategies as st

from moc.attacks import Attack, Threat
from moc.bank import Bank
from moc.data._vault import Records, unseal
from moc.data.augment import Augmentation
from moc.errors import PrivacyError
from moc.evidence.isolation import probes, require_isolated
from moc.evidence.release import sharded_sums
from moc.evidence.statistics import GRID, Statistics
from moc.evidence.triangle import unvech, vech
from moc.networks import NetworkSpec

PIXEL = st.sampled_from([0.0, 1e-6, 0.25, 0.5, 0.999, 1.0])
RECORD = st.tuples(st.tuples(PIXEL, PIXEL, PIXEL), st.integers(0, 2))
ATTACKS = {
    "none": None,
    "invert": lambda *seen: 1 - seen[2],
    "breaks": lambda *seen: seen[2] / seen[2],
    "explodes": lambda *seen: seen[2] * 1e30 + seen[3][:, None],
}


def records_of(rows) -> Records:
    x = torch.tensor([x for x, _ in rows]).reshape(-1, 3)
    return Records(x=x, y=torch.tensor([y for _, y in rows], dtype=torch.int64))


@settings(max_examples=150)
@given(
    rows=st.lists(RECORD, max_size=9),
    one=RECORD,
    place=st.integers(0, 9),
    loud=st.sampled_from([1e-9, 0.1, 1.0, 3.0, 1e6, 1e25]),
    second=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    counts=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    width=st.sampled_from([None, 1, 3]),
    networks=st.integers(1, 3),
    batch=st.integers(1, 5),
    attack=st.sampled_from(sorted(ATTACKS)),
)
def test_one_record_moves_the_sums_by_at_most_c(
    rows, one, place, loud, second, counts, width, networks, batch, attack
):
    # Duplicates, empty classes, no record at all, and the saturated and broken are all in here.
    blocks = {"second": second, "counts": counts, "width": width}
    statistics = wild(loud=loud, networks=networks, batch=batch, **blocks)
    check_one_record_moves_at_most_c(
        statistics,
        records_of(rows),
        records_of([one]),
        place=min(place, len(rows)),
        attack=ATTACKS[attack],
    )


@given(
    rows=st.lists(RECORD, max_size=12),
    order=st.randoms(use_true_random=False),
    batch=st.integers(1, 13),
    shards=st.integers(1, 15),
)
def test_order_batch_and_shards_change_no_bit(rows, order, batch, shards):
    records = records_of(rows)
    sums = wild(second=0.5, counts=0.1, batch=4).sums(records).flat()
    shuffled = order.sample(range(len(rows)), len(rows))
    other = wild(second=0.5, counts=0.1, batch=batch)
    assert torch.equal(other.sums(part(records, shuffled)).flat(), sums)
    assert torch.equal(sharded_sums(other, records, shards).flat(), sums)


def test_hostile_records_are_clipped_and_broken_ones_add_nothing():
    check_hostile_records_are_clipped()


def test_sums_are_not_divided_by_a_private_number():
    check_sums_are_sums()


def test_a_loud_record_uses_all_of_c_so_that_noise_is_not_wasted():
    for second, counts in ((0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (0.5, 0.1)):
        one = Records(x=torch.full((1, 3), 0.5), y=torch.zeros(1, dtype=torch.int64))
        norm = math.sqrt(squared(wild(loud=100.0, second=second, counts=counts).sums(one)))
        assert 0.9999 < norm / GRID <= 1


@pytest.mark.parametrize(("second", "counts"), [(0.0, 0.0), (0.3, 0.0), (1.0, 0.0), (0.3, 0.2)])
def test_sums_are_the_formula(second, counts):
    """A plain float64 computation of the definition, record by record, agrees to a grid step."""
    statistics = wild(loud=0.7, second=second, counts=counts, width=3, batch=3)
    first_weight, second_weight = (1 - counts) * (1 - second), (1 - counts) * second
    counted = torch.zeros(3, dtype=torch.float64)
    records = probes(WILD, 7)
    records = Records(x=records.x.clamp(max=0.9), y=records.y)
    first = torch.zeros(2, 3, 4, dtype=torch.float64)
    seconds = torch.zeros(2, 3, 3, dtype=torch.float64)
    for x, y in zip(records.x, records.y, strict=True):
        phi = [statistics.bank.member(k)(x[None])[0].double() for k in range(2)]
        psi = [statistics.bank.member(k).compact(f) for k, f in enumerate(phi)]
        square = sum(
            first_weight / 2 * float(f @ f) + second_weight / 2 * float(p @ p) ** 2
            for f, p in zip(phi, psi, strict=True)
        )
        scale = 1 / max(1.0, math.sqrt(counts + square))
        counted[y] += scale * math.sqrt(counts)
        for k in range(2):
            first[k, y] += scale * math.sqrt(first_weight / 2) * phi[k]
            seconds[k] += scale * math.sqrt(second_weight / 2) * torch.outer(psi[k], psi[k])
    sums = statistics.sums(records)
    assert (sums.first / GRID - first).abs().max() < 7 / GRID
    if second > 0:
        assert (unvech(sums.second.double()) / GRID - seconds).abs().max() < 7 / GRID
    if counts > 0:
        assert (sums.counts / GRID - counted).abs().max() < 7 / GRID
    else:
        assert sums.counts.numel() == 0


@given(psi=st.lists(st.floats(-3, 3, allow_subnormal=False), min_size=1, max_size=5))
def test_vech_keeps_norms_and_unvech_undoes_it(psi):
    psi = torch.tensor([psi], dtype=torch.float64)
    assert vech(psi).norm().item() == pytest.approx(psi.square().sum().item(), abs=1e-12)
    assert torch.allclose(unvech(vech(psi)), psi.mT @ psi, atol=1e-12)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_broken_records_are_refused(bad):
    with pytest.raises(PrivacyError, match="NaN or infinity"):
        wild().sums(Records(x=torch.tensor([[0.0, bad, 0.0]]), y=torch.tensor([0])))


def test_bytes_count_as_the_numbers_they_stand_for():
    x = torch.tensor([[0, 51, 204]], dtype=torch.uint8)
    y = torch.tensor([1])
    floats = Records(x=x.float() / 255, y=y)
    assert torch.equal(wild().sums(Records(x=x, y=y)).flat(), wild().sums(floats).flat())


def test_progress_ends_with_all_records():
    told = []
    wild(batch=4).sums(probes(WILD, 10), progress=lambda done, total: told.append((done, total)))
    assert told == [(4, 10), (8, 10), (10, 10)]


@pytest.mark.parametrize(("mean", "second"), [(0.5, 0.6), (1.5, -0.5), (0.0, 0.0)])
def test_weights_share_one_norm(mean, second):
    with pytest.raises(PrivacyError, match="sum to one"):
        Statistics(bank=wild().bank, networks=1, mean=mean, second=second)


NETWORKS = {
    "convnet": {"name": "convnet2-w8", "second": 0.5, "width": 6},
    "deep": {"name": "convnet3-w16"},
    "augmented": {"name": "convnet1-w8", "augmentation": Augmentation.dsa(False)},
    "mlp": {"name": "mlp2-w32", "second": 0.5},
}


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_real_networks_embed_a_record_the_same_in_any_company(digits, network):
    records = part(unseal(digits), slice(0, 150))
    statistics = tame(digits.info, **NETWORKS[network])
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    sums = statistics.sums(records).flat()
    assert torch.equal(statistics.sums(part(records, order)).flat(), sums)
    assert torch.equal(sharded_sums(statistics, records, 7).flat(), sums)
    check_one_record_moves_at_most_c(
        statistics, part(records, slice(1, 150)), part(records, slice(0, 1))
    )


ALLOWED = {
    "fgsm": (Attack(name="fgsm", steps=1), Threat(norm="Linf", eps=0.1)),
    "mifgsm": (Attack(name="mifgsm", steps=3), Threat(norm="Linf", eps=0.1)),
    "pgd-ce": (Attack(name="pgd-ce", steps=3), Threat(norm="L2", eps=1.0)),
    "pgd-margin": (Attack(name="pgd-margin", steps=3), Threat(norm="Linf", eps=0.1)),
}


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_attacked_records_are_kept_apart_and_clipped(digits, name):
    attack, threat = ALLOWED[name]
    statistics = tame(digits.info, networks=1, second=0.5, width=6)
    attacked = HeadAttack(attack, digits.info, threat)
    require_isolated(statistics, attacked)
    records = part(unseal(digits), slice(0, 70))
    one = part(unseal(digits), slice(100, 101))
    assert not torch.equal(
        statistics.sums(one).flat(), statistics.sums(one, attack=attacked).flat()
    )
    check_one_record_moves_at_most_c(statistics, records, one, attack=attacked)


@pytest.mark.parametrize(
    "attack",
    [
        Attack(name="pgd-ce", steps=2, random_start=True),
        Attack(name="square", steps=5),
        Attack(name="apgd-ce", steps=3),
    ],
    ids=lambda attack: attack.label,
)
def test_attacks_that_couple_records_are_refused(digits, attack):
    assert not attack.per_record
    with pytest.raises(PrivacyError, match="treat each record by itself"):
        require_isolated(tame(digits.info, networks=1), HeadAttack(attack, digits.info))


def test_the_default_study_keeps_records_apart(digits):
    check_records_are_kept_apart(digits)


def test_networks_of_other_sizes_are_refused_before_t_is_read(digits):
    specs = (NetworkSpec.parse("convnet2-w8"), NetworkSpec.parse("convnet3-w8"))
    with pytest.raises(PrivacyError, match=r"same number of features, found \[8, 32\]"):
        Statistics(bank=Bank(info=digits.info, specs=specs, seed=0), networks=2)
