from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from idx_files import IMAGES, LABELS, encode, write

from moc.data.sources.idx import find_fashion_mnist, load_idx, read_idx
from moc.data.vault import unseal
from moc.errors import DataError


@pytest.mark.parametrize("mark", "-.")
@pytest.mark.parametrize("end", ["", ".gz"])
def test_all_usual_file_names_are_found(tmp_path, mark, end):
    data = load_idx(write(tmp_path / "toy", mark=mark, end=end))
    assert torch.equal(unseal(data).x, torch.from_numpy(IMAGES)[:, None])
    assert unseal(data).x.dtype == torch.uint8
    assert unseal(data).y.tolist() == LABELS.tolist()
    assert (data.info.name, data.info.shape) == ("toy", (1, 4, 4))


def test_parts_are_told_apart_and_agree_on_the_classes(tmp_path):
    write(tmp_path, "t10k", images=IMAGES[:2], labels=LABELS[:2])
    write(tmp_path)
    test = load_idx(tmp_path, part="test")
    assert test.info.count == 2
    assert test.info.classes == load_idx(tmp_path).info.classes == ("0", "1", "2")


def test_well_known_sets_bring_their_constants(tmp_path):
    fashion = load_idx(write(tmp_path), name="fashion_mnist").info
    assert fashion.classes[0] == "T-shirt/top"
    assert fashion.classes[9] == "Ankle boot"
    assert (fashion.mean, fashion.std, fashion.mirrored) == ((0.2861,), (0.3530,), True)
    digits = load_idx(tmp_path, name="mnist").info
    assert (digits.mean, digits.std, digits.mirrored) == ((0.1307,), (0.3081,), False)
    assert len(digits.classes) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": LABELS[:5]}, "6 records but 5 labels"),
        ({"labels": LABELS * 0}, "at least two classes"),
        ({"labels": LABELS[:, None, None]}, "one label a record"),
        ({"images": IMAGES[0, 0]}, r"found an array of shape \(4,\)"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "found no label"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        load_idx(write(tmp_path, **change))


def test_a_label_beyond_the_known_classes_is_refused(tmp_path):
    write(tmp_path, labels=LABELS + 9)
    with pytest.raises(DataError, match=r"labels in 0\.\.9 expected, found others"):
        load_idx(tmp_path, name="mnist")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match="A folder of IDX files expected"):
        load_idx(tmp_path / "none")
    with pytest.raises(DataError, match="images of the train part"):
        load_idx(tmp_path)
    (write(tmp_path) / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"labels of the train part .* train-labels-idx1-ubyte"):
        load_idx(tmp_path)
    with pytest.raises(DataError, match="t10k-images"):
        load_idx(tmp_path, part="test")


@given(array=st.integers(0, 4).flatmap(lambda n: st.tuples(*[st.integers(0, 3)] * n)))
def test_reading_inverts_writing(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("idx") / "file"
    expected = np.random.default_rng(0).integers(0, 256, array, dtype=np.uint8)
    path.write_bytes(encode(expected))
    assert np.array_equal(read_idx(path), expected)


@given(at=st.integers(0, 10**6), zipped=st.booleans())
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path_factory, at, zipped):
    path = tmp_path_factory.mktemp("idx") / "file"
    raw = gzip.compress(encode(IMAGES)) if zipped else encode(IMAGES)
    path.write_bytes(raw[: at % len(raw)])
    with pytest.raises(DataError, match="Fetch it again"):
        read_idx(path)


def test_a_corrupt_or_foreign_file_is_refused(tmp_path):
    path = tmp_path / "file"
    zipped = bytearray(gzip.compress(encode(IMAGES)))
    zipped[30] ^= 255
    for raw in (
        bytes(zipped),
        encode(IMAGES) + b"\0",
        b"\0\0\x0d" + encode(IMAGES)[3:],
        b"<!DOCTYPE html>",
    ):
        path.write_bytes(raw)
        with pytest.raises(DataError, match="Fetch it again"):
            read_idx(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path)


def test_fashion_mnist_is_looked_for_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("MOC_DATA", str(tmp_path))
    write(tmp_path, end=".gz")
    assert find_fashion_mnist() == tmp_path
    write(tmp_path / "fashion-mnist")
    assert find_fashion_mnist() == tmp_path / "fashion-mnist"


def test_fashion_mnist_is_looked_for_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("MOC_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "fashion-mnist")
    assert find_fashion_mnist().resolve() == tmp_path / "data" / "fashion-mnist"


def test_a_missing_fashion_mnist_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("moc.data.sources.idx.Path.is_file", lambda _: False)
    with pytest.raises(DataError, match="apt-get install dataset-fashion-mnist"):
        find_fashion_mnist()


@pytest.mark.slow
def test_the_real_fashion_mnist_is_as_declared():
    try:
        folder = find_fashion_mnist()
    except DataError:
        pytest.skip("Fashion-MNIST is not installed")
    train, test = (load_idx(folder, part=part, name="fashion_mnist") for part in ("train", "test"))
    assert (train.info.count, test.info.count) == (60_000, 10_000)
    records = unseal(train)
    assert records.y.bincount().tolist() == [6000] * 10
    pixels = records.x.float() / 255
    assert abs(pixels.mean() - train.info.mean[0]) < 1e-4
    assert abs(pixels.std() - train.info.std[0]) < 1e-4
