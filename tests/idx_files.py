"""Small files of the MNIST family, for the tests of what reads them."""

from __future__ import annotations

import gzip
import struct

import numpy as np

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 4), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 2, 1, 0], dtype=np.uint8)


def encode(array: np.ndarray) -> bytes:
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return b"\0\0\x08" + bytes([array.ndim]) + shape + array.tobytes()


def write(folder, prefix="train", mark="-", end="", images=IMAGES, labels=LABELS):
    folder.mkdir(exist_ok=True)
    for kind, rank, array in (("images", 3, images), ("labels", 1, labels)):
        raw = encode(array)
        path = folder / f"{prefix}-{kind}{mark}idx{rank}-ubyte{end}"
        path.write_bytes(gzip.compress(raw) if end else raw)
    return folder
