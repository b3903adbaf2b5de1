from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch
from cifar_files import LABELS, NAMES, PIXELS, dump, table, write_10, write_100

from moc.data import SOURCES
from moc.data.vault import unseal
from moc.errors import DataError


@pytest.fixture(params=[("cifar10", write_10), ("cifar100", write_100)], ids=lambda one: one[0])
def source(request, tmp_path):
    kind, write = request.param
    return SOURCES.make({"kind": kind, "path": write(tmp_path / kind)})


def test_both_are_read_as_published(source):
    train, test = source.load("train"), source.load("test")
    assert train.info.classes == tuple(NAMES)
    assert (train.info.shape, train.info.count, test.info.count) == ((3, 32, 32), 10, 4)
    assert torch.equal(unseal(train).x, torch.from_numpy(PIXELS[:10]))
    assert unseal(test).y.tolist() == LABELS[8:]
    assert train.info.mirrored


class Harmful:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_no_code_of_a_pickle_is_run(source, tmp_path, protocol):
    mark = tmp_path / "ran"
    file = source.path / source.files["train"][0]
    dump(file, {**table(slice(0, 2), source.labels), b"more": Harmful(mark)}, protocol)
    with pytest.raises(DataError, match=r"asks for (posix|nt)\.mkdir.*it was not run"):
        source.load()
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [np.array([Harmful]), np.zeros((2, 3072)), range(2), np.float64(1)],
    ids=["objects", "floats", "range", "scalar"],
)
def test_whatever_is_no_array_of_bytes_is_refused(source, content):
    dump(source.path / source.files["train"][0], {b"data": content, source.labels: [0, 1]})
    with pytest.raises(DataError, match="asks for"):
        source.load()


@pytest.mark.parametrize(
    "raw",
    [b"", b"words", pickle.dumps([1]), pickle.dumps({b"data": [1]}), pickle.dumps({})],
)
def test_a_damaged_file_is_refused_in_a_sentence(source, raw):
    file = source.path / source.files["train"][0]
    for content in (raw, file.read_bytes()[:-40]):
        file.write_bytes(content)
        with pytest.raises(DataError, match="fetch it again"):
            source.load()


def test_a_missing_file_is_named(source):
    (source.path / source.meta).unlink()
    with pytest.raises(DataError, match=rf"expected at .*{source.meta}, found none"):
        source.load()
