from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moc.data import DataInfo, RealData
from moc.data.vault import unseal
from moc.errors import DataError

INFO = DataInfo(name="toy", shape=(1, 2, 2), classes=("a", "b"), count=4)
X = torch.arange(16).reshape(4, 1, 2, 2) / 16
Y = torch.tensor([0, 1, 0, 1])


def test_records_come_back_as_they_were():
    records = unseal(RealData(info=INFO, x=X, y=Y))
    assert torch.equal(records.x, X)
    assert torch.equal(records.y, Y)


def test_bytes_stay_bytes_and_doubles_become_floats():
    as_bytes = (X * 255).to(torch.uint8)
    assert unseal(RealData(info=INFO, x=as_bytes, y=Y)).x.dtype == torch.uint8
    assert unseal(RealData(info=INFO, x=X.double(), y=Y)).x.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X[:3]}, "3 records but 4 labels"),
        ({"x": X[:3], "y": Y[:3]}, "declared count is 4, but 3"),
        ({"x": X.reshape(4, 4)}, r"shape \(1, 2, 2\) expected, found \(4,\)"),
        ({"info": replace(INFO, classes=("a",))}, "at least two classes"),
        ({"y": Y + 1}, r"labels in 0\.\.1 expected, found others"),
        ({"y": Y - 1}, r"labels in 0\.\.1 expected, found others"),
        ({"x": X.to(torch.int64)}, "uint8 or float records expected"),
        ({"x": X.where(X < 0.9, torch.nan)}, "NaN"),
        ({"x": X.where(X < 0.9, torch.inf)}, "infinity"),
        ({"x": X * 2}, r"values in \[0, 1\] expected"),
        ({"x": X - 0.5}, r"values in \[0, 1\] expected"),
    ],
)
def test_bad_records_are_refused_in_one_sentence(change, message):
    with pytest.raises(DataError, match=message):
        RealData(**{"info": INFO, "x": X, "y": Y, **change})


def test_records_can_be_reached_through_nothing_but_the_vault():
    data = RealData(info=INFO, x=X, y=Y)
    assert [name for name in dir(data) if not name.startswith("__")] == [
        "described",
        "digests",
        "fingerprint",
        "info",
        "split",
        "thinned",
    ]
    assert "0." not in repr(data)
    with pytest.raises(TypeError, match="cannot be copied out"):
        pickle.dumps(data)
    with pytest.raises(TypeError, match="cannot be copied out"):
        copy.copy(data)


@given(cuts=st.tuples(*[st.integers(0, 12)] * 3), seed=st.integers(0, 2**31))
def test_parts_of_a_split_are_disjoint_and_keep_their_labels(cuts, seed):
    n = 40
    x = torch.arange(n).reshape(n, 1) / n
    info = DataInfo(name="line", shape=(1,), classes=("even", "odd"), count=n)
    parts = RealData(info=info, x=x, y=torch.arange(n) % 2).split(cuts, seed=seed)
    assert [len(part) for part in parts] == list(cuts)
    records = [unseal(part) for part in parts]
    numbers = torch.cat([(r.x[:, 0] * n).round().long() for r in records])
    assert len(numbers.unique()) == sum(cuts)
    assert torch.equal(torch.cat([r.y for r in records]), numbers % 2)


def test_a_split_depends_on_its_seed_only(digits):
    first, again, other = (unseal(digits.split([300], seed=s)[0]).x for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_split_cannot_ask_for_more_than_there_is(digits):
    with pytest.raises(DataError, match=r"need 1798 records; there are 1797"):
        digits.split([1000, 798], seed=0)


class TestFingerprint:
    def test_neither_order_nor_stored_form_changes_it(self) -> None:
        info = DataInfo(name="bytes", shape=(1, 2, 2), classes=("a", "b"), count=5)
        x = torch.randint(256, (5, 1, 2, 2), dtype=torch.uint8)
        y = torch.tensor([0, 1, 0, 1, 1])
        order = torch.tensor([3, 0, 4, 2, 1])
        one = RealData(info=info, x=x, y=y).fingerprint()
        assert RealData(info=info, x=x[order], y=y[order]).fingerprint() == one
        assert RealData(info=info, x=x.float() / 255, y=y).fingerprint() == one

    @pytest.mark.parametrize("changed", ["value", "label", "twice"])
    def test_any_change_of_a_record_changes_it(self, changed: str) -> None:
        info = DataInfo(name="bytes", shape=(1, 2, 2), classes=("a", "b"), count=4)
        x, y = torch.arange(16, dtype=torch.uint8).view(4, 1, 2, 2), torch.tensor([0, 1, 0, 1])
        one = RealData(info=info, x=x, y=y).fingerprint()
        if changed == "value":
            x = x.clone()
            x[2, 0, 1, 1] += 1
        elif changed == "label":
            y = torch.tensor([0, 1, 1, 1])
        else:
            x, y = x[[0, 1, 2, 2]], y[[0, 1, 2, 2]]
        assert RealData(info=info, x=x, y=y).fingerprint() != one
