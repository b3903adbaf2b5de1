"""Small files in the form of CIFAR's Python version, for the tests of what reads them."""

from __future__ import annotations

import pickle

import numpy as np

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
LABELS = [0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0]
NAMES = ["boat", "cat", "frog"]


def table(rows, key):
    return {b"data": PIXELS[rows].reshape(-1, 3072), key: LABELS[rows]}


def dump(path, content, protocol=2):
    """Python 2 wrote protocol 2, and strings as bytes."""
    path.write_bytes(pickle.dumps(content, protocol=protocol))


def write_10(folder):
    folder.mkdir()
    dump(folder / "batches.meta", {b"label_names": [name.encode() for name in NAMES]})
    for k in range(5):
        dump(folder / f"data_batch_{k + 1}", table(slice(2 * k, 2 * k + 2), b"labels"))
    dump(folder / "test_batch", table(slice(8, 12), b"labels"))
    return folder


def write_100(folder):
    folder.mkdir()
    dump(folder / "meta", {"fine_label_names": NAMES, "coarse_label_names": ["all"]}, 4)
    dump(folder / "train", table(slice(0, 10), b"fine_labels"))
    dump(folder / "test", table(slice(8, 12), b"fine_labels"))
    return folder
