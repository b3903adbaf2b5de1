from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moc.data.arrays import numbered_classes
from moc.data.sources.npz import load_npz
from moc.data.vault import unseal
from moc.errors import DataError

RNG = np.random.default_rng(0)
X = RNG.random((6, 5, 4), dtype=np.float32)
Y = np.array([0, 1, 2, 0, 1, 2])


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.fixture
def file(tmp_path):
    return tmp_path / "toy.npz"


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (X, X[:, None]),
        (X[..., None], X[:, None]),
        (X[:, None], X[:, None]),
        (np.stack([X] * 3, axis=3), np.stack([X] * 3, axis=1)),
        (np.stack([X] * 3, axis=1), np.stack([X] * 3, axis=1)),
        (X.reshape(6, 20), X.reshape(6, 20)),
        (X.astype(np.float64), X[:, None]),
        (X.astype(np.float16), X.astype(np.float16).astype(np.float32)[:, None]),
        ((X * 255).astype(np.uint8), (X * 255).astype(np.uint8)[:, None]),
    ],
)
def test_layouts_come_out_channels_first(file, x, expected):
    data = load_npz(save(file, x=x, y=Y))
    assert torch.equal(unseal(data).x, torch.from_numpy(expected))
    assert data.info.shape == expected.shape[1:]
    assert len(data.info.mean) == (expected.shape[1] if expected.ndim == 4 else 1)
    assert data.info.name == "toy"


def test_parts_are_told_apart_and_agree_on_the_classes(file):
    save(file, x_train=X, y_train=Y, x_test=X[:2] / 2, y_test=Y[:2, None])
    train, test = load_npz(file), load_npz(file, part="test")
    assert (train.info.count, test.info.count) == (6, 2)
    assert train.info.classes == test.info.classes == ("0", "1", "2")
    assert torch.equal(unseal(test).x, unseal(train).x[:2] / 2)
    assert unseal(test).y.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "y is missing. Found: x"),
        ({"a": X}, "x is missing. Found: none"),
        ({"x_train": X, "y": Y}, "y_train is missing"),
        ({"x": X, "y": Y[:5]}, "6 records but 5 labels"),
        ({"x": X, "y": Y.astype(float)}, "integer labels"),
        ({"x": X, "y": np.eye(3, dtype=int)[Y]}, "one label a record"),
        ({"x": X, "y": Y - 1}, "without a gap expected, found others"),
        ({"x": X, "y": Y + 1}, "the first is 0 and each number has a record"),
        ({"x": X, "y": 2 * Y}, "without a gap"),
        ({"x": X, "y": 0 * Y}, "at least two classes expected, found only one"),
        ({"x": X[:0], "y": Y[:0]}, "found no label"),
        ({"x": X[:0], "y": Y}, r"shape \(0, 5, 4\)"),
        ({"x": X[:, 0, 0], "y": Y}, r"found an array of shape \(6,\)"),
        ({"x": X[:, None, None], "y": Y}, r"found an array of shape \(6, 1, 1, 5, 4\)"),
        ({"x": np.stack([X] * 2, axis=1), "y": Y}, "does not say which axis"),
        ({"x": X[:, None, :, :1], "y": Y}, "does not say which axis"),
        ({"x": (X * 9).astype(np.int32), "y": Y}, "found int32"),
        ({"x": X.astype(str), "y": Y}, "uint8 records, or floats"),
        ({"x": X.astype(object), "y": Y}, "The array x of .* holds Python objects"),
        ({"x": X, "y": Y.astype(object)}, "The array y of .* holds Python objects"),
        ({"x": np.where(X < 0.9, X, np.nan), "y": Y}, "NaN"),
        ({"x": np.where(X < 0.9, X.astype(np.float64), 1e300), "y": Y}, "NaN or infinity"),
        ({"x": X * 255, "y": Y}, r"values in \[0, 1\] expected"),
    ],
)
def test_bad_arrays_are_refused_in_one_sentence(file, arrays, message):
    with pytest.raises(DataError, match=message):
        load_npz(save(file, **arrays))


def test_a_file_without_a_test_part_says_to_split(file):
    with pytest.raises(DataError, match="split"):
        load_npz(save(file, x=X, y=Y), part="test")


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="found no file"):
        load_npz(tmp_path / "none.npz")
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(DataError, match="single array"):
        load_npz(tmp_path / "one.npy")


@given(data=st.data())
def test_a_damaged_file_is_refused_or_read_but_never_crashes(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("damaged") / "toy.npz"
    raw = save(file, x=X[:2], y=Y[:2]).read_bytes()
    at = data.draw(st.integers(0, len(raw) - 1))
    file.write_bytes(raw[:at])
    with pytest.raises(DataError):
        load_npz(file)
    file.write_bytes(raw[:at] + bytes([data.draw(st.integers(0, 255))]) + raw[at + 1 :])
    try:
        records = unseal(load_npz(file))
    except DataError:
        return
    assert torch.equal(records.x[:, 0], torch.from_numpy(X[:2]))


def test_classes_are_counted_over_all_parts():
    parts = [torch.tensor([0, 2]), torch.tensor([1])]
    assert numbered_classes(parts, where="toy") == ("0", "1", "2")
