from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moc.data import DataInfo, Decoder, SyntheticSet, balanced_labels, one_hot
from moc.data.synthetic import balanced_index
from moc.errors import DataError

INFO = DataInfo(name="toy", shape=(1, 8, 8), classes=("a", "b", "c"), count=100)


def a_set(**change):
    fields = {"x": torch.rand(6, 1, 8, 8), "labels": one_hot(balanced_labels(2, 3), 3)}
    return SyntheticSet(info=INFO, **{**fields, **change})


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("factor", [1, 2])
def test_training_records_carry_the_label_of_what_they_are_decoded_from(factor, copies):
    labels = torch.eye(6)[:, :3] * 0.6 + 0.4 / 3
    labels = labels / labels.sum(1, keepdim=True)
    flat = torch.linspace(0, 1, 6).reshape(6, 1, 1, 1).expand(6, 1, 8, 8)
    decoder = Decoder(multi_formation=factor, noise_copies=copies, noise=0.05)
    synthetic = a_set(decoder=decoder, x=flat, labels=labels)
    x, y = synthetic.training_records()
    assert len(x) == len(y) == 6 * factor**2 * copies
    stored = (x.mean((1, 2, 3)) * 5).round().long()
    assert torch.equal(y, labels[stored])
    assert len(synthetic) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.rand(6, 64)}, r"records \(1, 8, 8\) expected, found \(64,\)"),
        ({"x": torch.rand(5, 1, 8, 8)}, r"Labels of shape \(5, 3\) expected"),
        ({"labels": torch.ones(6)}, r"Labels of shape \(6, 3\) expected"),
        ({"labels": torch.ones(6, 3)}, "sum to one"),
        ({"labels": torch.full((6, 3), torch.nan)}, "sum to one"),
        ({"x": torch.rand(6, 1, 8, 8) + 1}, r"lie in \[0, 1\]"),
        ({"x": torch.rand(6, 1, 8, 8) - 1}, r"lie in \[0, 1\]"),
        ({"x": torch.full((6, 1, 8, 8), torch.nan)}, "finite"),
        ({"x": torch.rand(0, 1, 8, 8), "labels": torch.ones(0, 3)}, "at least one record"),
    ],
)
def test_what_is_no_set_is_refused_in_one_sentence(change, message):
    with pytest.raises(DataError, match=message):
        a_set(**change)


def test_balanced_labels_are_in_class_order():
    assert balanced_labels(2, 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert one_hot(torch.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


@given(
    counts=st.lists(st.integers(1, 6), min_size=3, max_size=3),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_balanced_places_are_of_the_wanted_classes_and_never_twice_the_same(counts, seed, data):
    there = torch.cat([torch.full((n,), k) for k, n in enumerate(counts)])
    there = there[torch.randperm(len(there), generator=torch.Generator().manual_seed(seed))]
    wanted = [k for k, n in enumerate(counts) for _ in range(data.draw(st.integers(0, n)))]
    y = torch.tensor(wanted, dtype=torch.int64)
    index = balanced_index(there, y, INFO.classes, seed=seed)
    assert torch.equal(there[index], y)
    assert len(set(index.tolist())) == len(y)
    assert torch.equal(index, balanced_index(there, y, INFO.classes, seed=seed))
    with pytest.raises(DataError, match=f"Class 'b' has {counts[1]} records"):
        balanced_index(there, torch.ones(7, dtype=torch.int64), INFO.classes, seed=seed)
