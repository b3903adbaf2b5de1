"""What one record can do to the sums, in exact integers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy.gates import UNKNOWN, check_one_record_moves_at_most_c
from privacy.private_tools import (
    INFO,
    Brightness,
    Cubes,
    moments,
    part,
    real,
    sharded,
    squared,
    worst_case,
)
from torch import nn

from moc.data.augment import Augmentation
from moc.data.declared import DataInfo
from moc.data.vault import Records, unseal
from moc.errors import PrivacyError
from moc.networks.architectures import parse_network
from moc.networks.bank import Bank, Member
from moc.privacy.collect import Collection, weights_of
from moc.privacy.isolation import probes
from moc.privacy.sums import GRID, Sums, norm_of, to_grid
from moc.statistics.base import STATISTICS
from moc.statistics.class_counts import ClassCounts
from moc.statistics.class_means import ClassMeans
from moc.statistics.second_moments import SecondMoments, unvech

PIXEL = st.sampled_from([0.0, 1e-6, 0.25, 0.5, 0.999, 1.0])
RECORD = st.tuples(st.tuples(PIXEL, PIXEL, PIXEL), st.integers(0, 2))
LISTS = {
    "unknown": UNKNOWN,
    "all": tuple(STATISTICS.make(kind) for kind in sorted(STATISTICS.parts)),
    "with-unknown": (*moments(second=0.3)[:1], Cubes(), Brightness(weight=0.1, gain=1e20)),
}
"""Lists of statistics beside those of class means, second moments and counts."""


def records_of(rows) -> Records:
    x = torch.tensor([x for x, _ in rows]).reshape(-1, 3)
    return Records(x=x, y=torch.tensor([y for _, y in rows], dtype=torch.int64))


@settings(max_examples=150)
@given(
    rows=st.lists(RECORD, max_size=9),
    one=RECORD,
    place=st.integers(0, 9),
    size=st.sampled_from([1e-9, 0.1, 1.0, 3.0, 1e6, 1e25]),
    second=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    counts=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    width=st.sampled_from([None, 1, 3]),
    networks=st.integers(1, 3),
    batch=st.integers(1, 5),
    chosen=st.sampled_from([None, None, *LISTS]),
)
def test_one_record_moves_the_sums_by_at_most_c(
    rows, one, place, size, second, counts, width, networks, batch, chosen
):
    # Duplicates, empty classes, no record at all, and the saturated and broken are all in here.
    statistics = LISTS[chosen] if chosen else moments(second=second, counts=counts)
    collection = worst_case(
        size=size, networks=networks, batch=batch, width=width, statistics=statistics
    )
    check_one_record_moves_at_most_c(
        collection, records_of(rows), records_of([one]), place=min(place, len(rows))
    )


@given(
    rows=st.lists(RECORD, max_size=12),
    order=st.randoms(use_true_random=False),
    batch=st.integers(1, 13),
    shards=st.integers(1, 15),
    statistics=st.sampled_from([moments(second=0.5, counts=0.1), *LISTS.values()]),
)
def test_order_batch_and_shards_change_no_bit(rows, order, batch, shards, statistics):
    records = records_of(rows)
    sums = worst_case(statistics=statistics, batch=4).sums(records).flat()
    shuffled = order.sample(range(len(rows)), len(rows))
    other = worst_case(statistics=statistics, batch=batch)
    assert torch.equal(other.sums(part(records, shuffled)).flat(), sums)
    assert torch.equal(sharded(other, records, shards).flat(), sums)


@pytest.mark.parametrize(
    "statistics",
    [moments(), moments(second=0.5), moments(second=1.0), moments(second=0.5, counts=0.1), UNKNOWN],
)
def test_a_large_record_uses_all_of_c_so_that_noise_is_not_wasted(statistics):
    one = Records(x=torch.full((1, 3), 0.5), y=torch.zeros(1, dtype=torch.int64))
    norm = math.sqrt(squared(worst_case(size=100.0, statistics=statistics).sums(one)))
    assert 0.9999 < norm / GRID <= 1


@pytest.mark.parametrize(("second", "counts"), [(0.0, 0.0), (0.3, 0.0), (1.0, 0.0), (0.3, 0.2)])
def test_sums_are_the_formula(second, counts):
    """A plain float64 computation of the definition, record by record, agrees to a grid step."""
    collection = worst_case(size=0.7, second=second, counts=counts, width=3, batch=3)
    first_weight, second_weight = (1 - counts) * (1 - second), (1 - counts) * second
    counted = torch.zeros(3, dtype=torch.float64)
    records = probes(INFO, 7)
    records = Records(x=records.x.clamp(max=0.9), y=records.y)
    first = torch.zeros(2, 3, 4, dtype=torch.float64)
    seconds = torch.zeros(2, 3, 3, dtype=torch.float64)
    for x, y in zip(records.x, records.y, strict=True):
        phi = [collection.bank.member(k)(x[None])[0].double() for k in range(2)]
        psi = [collection.bank.member(k).compact(f) for k, f in enumerate(phi)]
        square = sum(
            first_weight / 2 * float(f @ f) + second_weight / 2 * float(p @ p) ** 2
            for f, p in zip(phi, psi, strict=True)
        )
        scale = 1 / max(1.0, math.sqrt(counts + square))
        counted[y] += scale * math.sqrt(counts)
        for k in range(2):
            first[k, y] += scale * math.sqrt(first_weight / 2) * phi[k]
            seconds[k] += scale * math.sqrt(second_weight / 2) * torch.outer(psi[k], psi[k])
    expected = {"class-means": first, "class-counts": counted[:, None]}
    blocks = collection.sums(records).blocks
    assert blocks.keys() == {part.kind for part in collection.statistics}
    for name, block in blocks.items():
        if name == "second-moments":
            found, exact = unvech(block.double())[:, 0] / GRID, seconds
        else:
            found, exact = block / GRID, expected[name]
        assert (found - exact).abs().max() < 7 / GRID


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_broken_records_are_refused(bad):
    with pytest.raises(PrivacyError, match="NaN or infinity"):
        worst_case().sums(Records(x=torch.tensor([[0.0, bad, 0.0]]), y=torch.tensor([0])))


def test_bytes_count_as_the_numbers_they_stand_for():
    x = torch.tensor([[0, 51, 204]], dtype=torch.uint8)
    y = torch.tensor([1])
    floats = Records(x=x.float() / 255, y=y)
    assert torch.equal(
        worst_case().sums(Records(x=x, y=y)).flat(), worst_case().sums(floats).flat()
    )


def test_progress_ends_with_all_records():
    seen = []
    worst_case(batch=4).sums(
        probes(INFO, 10), progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(4, 10), (8, 10), (10, 10)]


@pytest.mark.parametrize(
    "statistics",
    [
        (),
        (ClassMeans(weight=0.5),),
        (ClassMeans(weight=0.5), SecondMoments(weight=0.6)),
        (ClassMeans(weight=1.0), SecondMoments()),
        (ClassMeans(), ClassMeans()),
    ],
)
def test_weights_share_one_norm(statistics):
    with pytest.raises(PrivacyError, match="weights sum to one"):
        worst_case(statistics=statistics)


def test_what_has_no_weight_shares_the_rest():
    chosen = (ClassMeans(), ClassCounts(weight=0.1), Cubes(), SecondMoments(weight=0.3))
    expected = {"class-means": 0.3, "class-counts": 0.1, "cubes": 0.3, "second-moments": 0.3}
    assert weights_of(chosen) == pytest.approx(expected)


NETWORKS = {
    "convnet": {"name": "convnet2-w8", "statistics": moments(second=0.5), "width": 6},
    "deep": {"name": "convnet3-w16"},
    "augmented": {"name": "convnet1-w8", "augmentation": Augmentation.dsa(False)},
    "mlp": {"name": "mlp2-w32", "statistics": LISTS["all"]},
}


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_real_networks_embed_a_record_the_same_in_any_company(digits, network):
    records = part(unseal(digits), slice(0, 150))
    collection = real(digits.info, **NETWORKS[network])
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    sums = collection.sums(records).flat()
    assert torch.equal(collection.sums(part(records, order)).flat(), sums)
    assert torch.equal(sharded(collection, records, 7).flat(), sums)
    check_one_record_moves_at_most_c(
        collection, part(records, slice(1, 150)), part(records, slice(0, 1))
    )


def test_networks_of_other_sizes_are_refused_before_t_is_read(digits):
    networks = (parse_network("convnet2-w8"), parse_network("convnet3-w8"))
    with pytest.raises(PrivacyError, match=r"same number of features, found \[8, 32\]"):
        Collection(
            bank=Bank(info=digits.info, networks=networks, seed=0),
            networks=2,
            statistics=moments(),
        )


def test_averages_undo_weight_grid_and_declared_number():
    """Within what truncation may take: a grid step a record, over the scale."""
    collection = worst_case(size=0.1, second=0.4, counts=0.2, width=2)
    records = probes(INFO, INFO.count)
    records = Records(x=records.x.clamp(max=0.9), y=records.y)
    blocks = collection.sums(records).blocks
    counted = collection.average("class-counts", blocks["class-counts"])[:, 0]
    assert torch.allclose(counted, records.y.bincount().double() / INFO.count, atol=1e-4)
    phi = collection.bank.member(1)(records.x).double()
    means = torch.zeros(3, 4, dtype=torch.float64).index_add_(0, records.y, phi) / INFO.count
    found = collection.average("class-means", blocks["class-means"])[1]
    assert torch.allclose(found, means, atol=1e-4)


class _Fixed(Member):
    """Two features and a projection that are the same on every machine, in exact arithmetic."""

    def __init__(self, k: int) -> None:
        nn.Module.__init__(self)
        self.k = k
        self.register_buffer("projection", torch.tensor([[0.5, -0.25], [1.0, 0.75]]) * (k + 1))
        self.dimension, self.compact_dimension = 2, 2

    def forward(self, x):
        a, b, c = x.unbind(1)
        return torch.stack([a + (self.k + 1) * b, c - self.k * a], 1)


@dataclass(frozen=True, kw_only=True)
class _FixedBank(Bank):
    def member(self, k):
        return _Fixed(k)


FROZEN = {
    "class means": {
        "class-means": [
            [[590256, 223890], [1058119, 479295], [87230, 87230]],
            [[598979, -357643], [1736468, 99526], [145383, 58153]],
        ],
    },
    "all three": {
        "class-means": [
            [[417374, 158314], [433318, 194231], [61680, 61680]],
            [[423542, -252891], [717259, 44854], [102801, 41120]],
        ],
        "second-moments": [[[676208, 85302, 7205]], [[1630057, -733997, 761090]]],
        "class-counts": [[937874], [294082], [468937]],
    },
}
"""Sums by the code of git e4d3b37, before statistics were parts, at weights (0.5, 0.3, 0.2)."""


@pytest.mark.parametrize("name", FROZEN)
def test_sums_are_those_of_before_to_the_last_bit(name):
    statistics = {
        "class means": (ClassMeans(weight=1.0),),
        "all three": (ClassMeans(weight=0.5), SecondMoments(weight=0.3), ClassCounts(weight=0.2)),
    }[name]
    info = DataInfo(name="frozen", shape=(3,), classes=("a", "b", "c"), count=5)
    bank = _FixedBank(info=info, networks=(), seed=0, width=2)
    rows = [[0, 0, 0], [255, 255, 255], [51, 204, 102], [10, 20, 30], [200, 3, 77]]
    records = Records(x=torch.tensor(rows, dtype=torch.uint8), y=torch.tensor([0, 1, 1, 2, 0]))
    sums = Collection(bank=bank, networks=2, statistics=statistics, batch=4).sums(records)
    assert {name: block.tolist() for name, block in sums.items()} == FROZEN[name]


def test_norms_of_sums_are_exact_and_shards_join_by_name():
    one = Sums(blocks={"a": torch.tensor([[3 * 2**30, 0]]), "b": torch.tensor([4 * 2**30])})
    assert norm_of(one.flat()) == 5 * 2**30
    assert torch.equal((one + one - one).flat(), one.flat())


@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=6), st.floats(0, 2))
def test_rounding_on_the_grid_shrinks_every_coordinate(row, scale):
    values = torch.tensor([row], dtype=torch.float64)
    steps = to_grid(values, torch.tensor([scale], dtype=torch.float64))
    exact = values * scale * GRID
    assert (steps.abs() <= exact.abs()).all()
    assert ((steps - exact).abs() < 1).all()
