from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moc.data.declared import DataInfo
from moc.data.decoder import Decoder
from moc.errors import DataError, StudyError
from moc.evaluate.baselines import BASELINES, DECODED, select

INFO = DataInfo(name="points", shape=(3,), classes=("a", "b"), count=40)


def points(seed, n=40, shape=(3,)):
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))
    return x, torch.arange(n) % 2


@pytest.mark.parametrize("name", BASELINES)
@settings(max_examples=15)
@given(seed=st.integers(0, 1000), per_class=st.integers(1, 20))
def test_each_class_gives_as_many_different_records_of_its_own(name, seed, per_class):
    x, y = points(seed)
    chosen = select(name, x, y, INFO, per_class=per_class, seed=seed)
    rows = (chosen.x[:, None] == x).all(2).float().argmax(1)
    assert torch.equal(chosen.x, x[rows])
    assert len(set(rows.tolist())) == 2 * per_class
    assert torch.equal(y[rows], chosen.labels.argmax(1))
    assert chosen.labels.sum(0).tolist() == [per_class, per_class]
    assert set(chosen.labels.flatten().tolist()) == {0.0, 1.0}
    assert chosen.decoder.multi_formation == 1


@pytest.mark.parametrize("name", BASELINES)
def test_the_seed_decides_everything(name):
    x, y = points(0)
    torch.manual_seed(1)
    np.random.seed(1)  # the generator of old, which scikit-learn falls back to
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()
    first = select(name, x, y, INFO, per_class=5, seed=3).x
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    torch.manual_seed(2)
    assert torch.equal(first, select(name, x, y, INFO, per_class=5, seed=3).x)


def test_random_records_differ_by_seed():
    x, y = points(0)
    seen = [select("random", x, y, INFO, per_class=5, seed=seed).x for seed in (0, 1)]
    assert not torch.equal(*seen)


@pytest.mark.parametrize("name", BASELINES)
def test_bytes_are_records_too(name):
    x, y = points(0, shape=(1, 4, 4))
    info = replace(INFO, shape=(1, 4, 4))
    grey = (255 * x).to(torch.uint8)
    from_bytes = select(name, grey, y, info, per_class=4, seed=0)
    from_floats = select(name, grey.float() / 255, y, info, per_class=4, seed=0)
    assert torch.equal(from_bytes.x, from_floats.x)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_herding_keeps_the_mean_as_close_as_one_more_record_can(seed):
    x, y = points(seed, n=16)
    chosen = select("herding", x, y, INFO, per_class=5, seed=0)
    for label in (0, 1):
        pool = [row.numpy().astype(np.float64) for row in x[y == label]]
        mean = np.mean(pool, axis=0)
        picked: list[int] = []
        for _ in range(5):
            gaps = {
                k: np.linalg.norm(np.mean([pool[i] for i in [*picked, k]], axis=0) - mean)
                for k in range(len(pool))
                if k not in picked
            }
            picked.append(min(gaps, key=gaps.__getitem__))
        expected = np.stack([pool[k] for k in picked])
        np.testing.assert_array_equal(chosen.x[chosen.labels[:, label] == 1].numpy(), expected)


def test_herding_starts_at_the_record_nearest_to_the_mean_of_its_class():
    x, y = points(3)
    first = select("herding", x, y, INFO, per_class=1, seed=0).x
    for label in (0, 1):
        pool = x[y == label]
        assert torch.equal(first[label], pool[(pool - pool.mean(0)).norm(dim=1).argmin()])


def test_kmeans_takes_the_middle_of_each_cluster():
    corners = torch.tensor([[0.2, 0.2, 0.2], [0.8, 0.2, 0.5], [0.2, 0.8, 0.8]])
    spread = torch.tensor([0.0, 0.05, -0.05])  # of a cluster's three records, the first is central
    x = (corners[:, None] + spread[None, :, None]).flatten(0, 1).repeat(2, 1)
    y = torch.arange(2).repeat_interleave(9)
    chosen = select("kmeans", x, y, INFO, per_class=3, seed=0).x
    for half in chosen.split(3):
        assert torch.equal(half[half[:, 0].mul(10).add(half[:, 1]).argsort()], corners[[0, 2, 1]])


def test_kmeans_takes_no_record_twice():
    """In many dimensions the record in the middle is the nearest one to all centres."""
    x, y = points(0, n=80, shape=(50,))
    x[:2] = 0.5
    chosen = select("kmeans", x, y, replace(INFO, shape=(50,)), per_class=4, seed=0).x
    for half in chosen.split(4):
        assert len(half.unique(dim=0)) == 4
        assert (half == 0.5).all(1).sum() == 1


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_kmeans_gets_by_with_equal_records():
    x, y = points(0, n=12)
    x[2:] = x[:2].repeat(5, 1)
    chosen = select("kmeans", x, y, INFO, per_class=6, seed=0).x
    assert torch.equal(chosen, x[:2].repeat_interleave(6, dim=0))


# Random records behind a decoder


def shrunk(x, info):
    y = torch.arange(len(x)) % 2
    return select(DECODED, x, y, info, per_class=2, seed=0, decoder=Decoder(multi_formation=2))


@pytest.mark.parametrize(("factor", "side"), [(2, 8), (2, 7), (3, 10)])
def test_packed_records_decode_to_what_was_packed(factor, side):
    info = replace(INFO, shape=(1, side, side))
    greys = torch.linspace(0, 1, 40)
    x, y = greys[:, None, None, None].expand(-1, 1, side, side), torch.arange(40) % 2
    chosen = select(
        DECODED, x, y, info, per_class=2, seed=0, decoder=Decoder(multi_formation=factor)
    )
    assert chosen.x.shape == (4, 1, side, side)
    assert chosen.decoder.multi_formation == factor
    images, labels = chosen.training_records()
    values = images.flatten(1)
    assert len(values) == 4 * factor**2
    torch.testing.assert_close(values, values[:, :1].expand_as(values))
    rows = (values[:, :1] - greys).abs().argmin(1)
    torch.testing.assert_close(values[:, 0], greys[rows])
    assert len(set(rows.tolist())) == len(rows)
    assert torch.equal(y[rows], labels.argmax(1))


def test_copies_are_of_the_same_records_as_without_them():
    info = replace(INFO, shape=(1, 4, 4))
    data, options = points(0, shape=(1, 4, 4)), {"per_class": 3, "seed": 0}
    copied = select(DECODED, *data, info, decoder=Decoder(noise_copies=5), **options)
    assert torch.equal(copied.x, select("random", *data, info, **options).x)
    assert len(copied.training_records()[0]) == 5 * len(copied)


def test_packing_keeps_where_things_are():
    info = replace(INFO, shape=(1, 8, 8))
    x = torch.zeros(16, 1, 8, 8)
    x[:, :, :4, 4:] = 1.0  # bright in the upper right
    chosen = select(
        DECODED,
        x,
        torch.arange(16) % 2,
        info,
        per_class=2,
        seed=0,
        decoder=Decoder(multi_formation=2),
    )
    images, _ = chosen.training_records()
    assert (images[:, 0, :3, 5:] == 1).all()
    assert (images[:, 0, 5:] == 0).all()
    assert (images[:, 0, :, :3] == 0).all()


def test_packing_averages_what_it_shrinks():
    info = replace(INFO, shape=(1, 8, 8))
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2
    x = board.float().expand(16, 1, 8, 8)
    chosen = select(
        DECODED,
        x,
        torch.arange(16) % 2,
        info,
        per_class=2,
        seed=0,
        decoder=Decoder(multi_formation=2),
    )
    assert (chosen.x == 0.5).all()


# What is refused


@pytest.mark.parametrize(("name", "factor"), [*((n, 1) for n in BASELINES), (DECODED, 2)])
def test_a_class_with_too_few_records_is_named(name, factor):
    info = replace(INFO, shape=(1, 4, 4))
    x, y = points(0, n=30, shape=(1, 4, 4))
    y[:-2] = 0
    y[-2:] = 1
    with pytest.raises(DataError, match="class 'b' has 2"):
        select(name, x, y, info, per_class=3, seed=0, decoder=Decoder(multi_formation=factor))


@pytest.mark.parametrize(("name", "factor"), [("best", 1), ("random", 2), (DECODED, 1)])
def test_baselines_that_do_not_exist_are_refused(name, factor):
    with pytest.raises(StudyError, match=name):
        select(name, *points(0), INFO, per_class=2, seed=0, decoder=Decoder(multi_formation=factor))


def test_vectors_cannot_be_packed():
    with pytest.raises(DataError, match="needs images"):
        select(DECODED, *points(0), INFO, per_class=2, seed=0, decoder=Decoder(multi_formation=2))
