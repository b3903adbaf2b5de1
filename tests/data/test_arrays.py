from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moc.data.labels import class_labels
from moc.data.sources.npz import load_npz
from moc.data.vault import unseal
from moc.errors import DataError

RNG = np.random.default_rng(0)
X = RNG.random((6, 5, 4), dtype=np.float32)
Y = np.array([0, 1, 2, 0, 1, 2])
WORDS = np.array(["cat", "dog", "owl"])


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
        ({"x": X, "y": Y + 0.5}, "whole numbers, words or one-hot rows as labels expected"),
        ({"x": X, "y": 1 - np.eye(3, dtype=int)[Y]}, "rows of 3 that are not one-hot"),
        ({"x": X, "y": Y[:, None, None]}, r"one label a record.*found shape \(6, 1, 1\)"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": WORDS[Y]}, "found both"),
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
        ({"x": X, "y": Y.astype(object)}, r"array y of .* holds Python objects.*y\.astype\(str\)"),
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
    labels, classes = class_labels([np.array([0, 2]), np.array([1])], where="toy")
    assert classes == ("0", "1", "2")
    assert [part.tolist() for part in labels] == [[0, 2], [1]]


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (Y, ("0", "1", "2")),
        (Y[:, None], ("0", "1", "2")),
        (Y + 1, ("1", "2", "3")),
        (2 * Y - 2, ("-2", "0", "2")),
        (Y.astype(">i2"), ("0", "1", "2")),
        (Y.astype(float), ("0", "1", "2")),
        (WORDS[Y], ("cat", "dog", "owl")),
        (WORDS[Y].astype("S")[:, None], ("cat", "dog", "owl")),
        (np.eye(3)[Y], ("0", "1", "2")),
        (np.eye(3, dtype=bool)[Y], ("0", "1", "2")),
    ],
)
def test_labels_of_every_form_become_places_in_the_list_of_classes(file, y, classes):
    data = load_npz(save(file, x=X, y=y))
    assert unseal(data).y.tolist() == Y.tolist()
    assert data.info.classes == classes


def test_a_column_that_no_label_is_in_stays_a_class():
    labels, classes = class_labels([np.eye(4)[Y]], where="toy")
    assert (labels[0].tolist(), classes) == (Y.tolist(), ("0", "1", "2", "3"))


def test_a_label_is_the_name_of_its_class_or_else_its_place():
    def numbered(y, classes):
        return class_labels([np.array(y)], where="toy", classes=classes)[0][0].tolist()

    assert numbered([1, 2, 1], ("1", "2", "3")) == [0, 1, 0]
    assert numbered([1, 2, 1], ("cat", "dog", "owl")) == [1, 2, 1]
    assert numbered(["owl", "cat"], ("owl", "cat")) == [0, 1]
    for y, classes in (([3], ("a", "b", "c")), (["eel"], ("owl", "cat")), ([0], ("1", "2"))):
        with pytest.raises(DataError, match="declared classes expected, found others"):
            numbered(y, classes)


def test_numbers_in_a_declared_range_become_zero_to_one(file):
    x = np.array([[0, 1023], [4095, 2048]], np.uint16)
    rounded = x.astype(np.float32) * np.float32(1.000001)
    for stored in (x, x.astype(">u2"), np.asfortranarray(x), x.astype(np.float64), rounded):
        data = load_npz(save(file, x=stored, y=[0, 1]), bounds=(0, 4095))
        np.testing.assert_allclose(unseal(data).x.numpy(), x / 4095, atol=2e-6)
        assert float(unseal(data).x.max()) <= 1
    for bounds, message in (
        (None, r"found uint16.*range = \[0, 4095\]"),
        ((0, 4000), r"declared range \[0, 4000\] expected, found others"),
        ((5, 5), r"range = \[LOW, HIGH\] expected"),
    ):
        with pytest.raises(DataError, match=message):
            load_npz(save(file, x=x, y=[0, 1]), bounds=bounds)


@pytest.mark.parametrize("order", ["C", "F"])
def test_byte_order_and_layout_in_memory_change_nothing(file, order):
    x = np.array(np.stack([X] * 3, axis=3), dtype=">f8", order=order)
    data = load_npz(save(file, x=x, y=Y))
    np.testing.assert_array_equal(unseal(data).x, np.stack([X] * 3, axis=1))


def test_medmnist_files_are_read_by_their_own_names(file):
    x = (np.stack([X] * 3, axis=3) * 255).astype(np.uint8)
    y = Y.astype(np.uint8)[:, None]
    parts = {"train": slice(0, 3), "val": slice(3, 4), "test": slice(2, 6)}
    arrays = {f"{part}_images": x[rows] for part, rows in parts.items()}
    save(file, **arrays, **{f"{part}_labels": y[rows] for part, rows in parts.items()})
    train, test = load_npz(file), load_npz(file, part="test")
    assert (train.info.shape, train.info.count, test.info.count) == ((3, 5, 4), 3, 4)
    assert unseal(test).y.tolist() == Y[2:].tolist()
    assert torch.equal(unseal(train).x, torch.from_numpy(x[:3].transpose(0, 3, 1, 2).copy()))
    with pytest.raises(DataError, match="at least two classes"):  # one record: it is not ignored
        load_npz(file, part="validation")
